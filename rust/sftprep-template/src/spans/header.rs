//! Rules B and C: where a turn starts.
//!
//! The template is asked what it puts before an answer: the messages before the turn are rendered
//! with the generation prompt. That text, from the last byte of an earlier message on, must stand
//! before the turn in the conversation itself.

use super::pieces::Pieces;
use super::{MAX_CACHE, Method, Rule, Session, StartConvention};
use crate::data::Data;
use crate::request::Request;

/// What the template writes before an answer at one kind of place.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    /// From the last byte of an earlier message to the end of the generation prompt.
    full: Option<String>,
    /// The same, from the last byte that the template wrote for an earlier message.
    tail: String,
    /// By how much the render with generation prompt exceeds the one without.
    extra: String,
    /// Whether the generation prompt can be switched off.
    switched: bool,
}

/// Text that no template contains; stands for an answer in probes.
const PROBE: &str = "Zq7xprobe";

/// A start with its proof, or why there is none.
pub(super) type Start = Result<(usize, Method), (Rule, String, usize)>;

/// Where the text of a turn lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub index: u32,
    /// First byte of the message's own text, if it has any.
    pub first: Option<usize>,
    /// Start of its window.
    pub window: usize,
    /// End of the text of the messages before it.
    pub anchor: usize,
    /// Where the stop token of a turn without text stands.
    pub stop: Option<usize>,
}

impl Place {
    /// Where literals before the turn's text end.
    fn limit(&self, text: &str) -> usize {
        self.first.unwrap_or(text.len())
    }
}

impl Session<'_> {
    pub(super) fn start(
        &mut self,
        request: &Request<'_>,
        pieces: &Pieces<'_>,
        place: Place,
        convention: StartConvention,
    ) -> Start {
        let key = self.key(place.index);
        if let Some(headers) = self.headers.get(&key)
            && let Some(found) = match_full(headers, pieces, place)
        {
            return self.accept(request, pieces, place, headers, found, convention);
        }
        let headers = self.headers(request, place.index);
        let start = match match_full(&headers, pieces, place) {
            Some(found) => self.accept(request, pieces, place, &headers, found, convention),
            None => self.partial(request, pieces, place, &headers),
        };
        if self.headers.len() >= MAX_CACHE {
            self.headers.clear();
        }
        self.headers.insert(key, headers);
        start
    }

    fn headers(&self, request: &Request<'_>, index: u32) -> Headers {
        let before = &request.messages[..index as usize];
        let prompted = self.probe(request, before, true, request.kwargs);
        let mut headers = Headers {
            full: None,
            tail: String::new(),
            extra: String::new(),
            switched: false,
        };
        let Some(prompted) = prompted else {
            self.generic_extra(request, &mut headers);
            return headers;
        };
        let view = Pieces::new(&prompted);
        let text = view.text;
        headers.full = Some(text[view.anchor(index, text.len())..].to_owned());
        let owned = view
            .list
            .iter()
            .filter(|p| p.owner.is_some())
            .map(|p| p.end)
            .max();
        text[owned.unwrap_or(0)..].clone_into(&mut headers.tail);
        match self.probe(request, before, false, request.kwargs) {
            Some(plain) => {
                headers.switched = plain.text != *text;
                let extra = text.strip_prefix(plain.text.as_str()).unwrap_or_default();
                extra.clone_into(&mut headers.extra);
            }
            // Only with the prompt can this prefix be rendered: it is a prompt, then.
            None => headers.switched = true,
        }
        headers
    }

    /// For places whose prefix cannot be rendered alone (a first message of the assistant): the
    /// generation prompt after one user message.
    fn generic_extra(&self, request: &Request<'_>, headers: &mut Headers) {
        let user = [message("user", PROBE)];
        let prompted = self.probe(request, &user, true, request.kwargs);
        let plain = self.probe(request, &user, false, request.kwargs);
        if let (Some(prompted), Some(plain)) = (prompted, plain)
            && let Some(extra) = prompted.text.strip_prefix(plain.text.as_str())
        {
            extra.clone_into(&mut headers.extra);
            headers.switched = !extra.is_empty();
        }
    }

    /// A generation prompt was found in full; what follows up to the text must be the turn's.
    fn accept(
        &self,
        request: &Request<'_>,
        pieces: &Pieces<'_>,
        place: Place,
        headers: &Headers,
        start: usize,
        convention: StartConvention,
    ) -> Start {
        let between = &pieces.text[start..place.limit(pieces.text).max(start)];
        if headers.switched {
            if convention == StartConvention::AfterRoleHeader
                && let Some(plain) = self.plain_gap(request, place.index, "assistant")
                && pieces.text[place.anchor..].starts_with(&plain)
            {
                return Ok((start.min(place.anchor + plain.len()), Method::Origin));
            }
            return Ok((start, Method::Origin));
        }
        if place.first.is_some() && between.trim().is_empty() {
            return Ok((start, Method::Origin));
        }
        // The prompt cannot be switched: it is either always there or never. If a plain turn
        // has more before its text, that is a header, and it must name the role.
        let Some(plain) = self.plain_gap(request, place.index, "assistant") else {
            return Err((
                Rule::B,
                "the template shows no generation prompt".into(),
                start,
            ));
        };
        let gap = &pieces.text[place.anchor..];
        let known = start.saturating_sub(place.anchor);
        let header = plain.get(known..).unwrap_or_default();
        if header.trim().is_empty() {
            return Ok((start, Method::Origin));
        }
        if gap.starts_with(&plain)
            && (names_role(header) || self.differs_by_role(request, place.index, &plain))
        {
            return Ok((place.anchor + plain.len(), Method::RoleContrast));
        }
        Err((
            Rule::C,
            "a literal stands before the text, and no generation prompt tells whether \
                       it is the header"
                .into(),
            start,
        ))
    }

    fn partial(
        &self,
        request: &Request<'_>,
        pieces: &Pieces<'_>,
        place: Place,
        headers: &Headers,
    ) -> Start {
        let gap = &pieces.text[place.anchor..];
        // An empty turn has its stop token where another has its text.
        let Some(first) = place.first.or(place.stop) else {
            let detail = "an empty turn needs the whole generation prompt before it";
            return Err((Rule::C, detail.into(), place.window));
        };
        let literal = &pieces.text[place.anchor..first];
        if let Some(end) = self.switched_prompt(request, gap, place.index, literal.len()) {
            return Ok((place.anchor + end, Method::ThinkingSwitch));
        }
        if place.first.is_none() && pieces.text[place.window..first].trim().is_empty() {
            let detail = "nothing stands before the end of this empty turn that could be a header";
            return Err((Rule::C, detail.into(), first));
        }
        let own = pieces.text.get(place.window..first).unwrap_or_default();
        if let Some(full) = &headers.full
            && full.starts_with(literal)
        {
            return Ok((first, Method::HeaderPart));
        }
        for part in [&headers.tail, &headers.extra] {
            if !part.is_empty() && part.starts_with(own) && !own.trim().is_empty() {
                return Ok((first, Method::HeaderPart));
            }
        }
        let plain = self.plain_gap(request, place.index, "assistant");
        let followed = self.gap(
            request,
            place.index,
            &[message("assistant", PROBE), message("user", PROBE)],
        );
        if let Some(full) = &headers.full {
            for plain in [&plain, &followed].into_iter().flatten() {
                if full.starts_with(plain.as_str()) && gap.starts_with(plain.as_str()) {
                    return Ok((place.anchor + plain.len(), Method::PlainTurn));
                }
            }
        }
        if let Some(full) = &headers.full
            && let Some(shared) = self.shared_header(request, place.index, full)
        {
            let matched = at_border(gap, common(gap, full));
            if matched >= shared && shared > 0 {
                return Ok((place.anchor + matched, Method::ThinkingSwitch));
            }
        }
        if let (Some(full), Some(plain)) = (&headers.full, &plain) {
            if let Some(end) = match_loosely(gap, full, first - place.anchor) {
                return Ok((place.anchor + end, Method::HeaderPart));
            }
            // The prompt and a plain turn share the header and go on with marks of their own.
            let shared = at_border(full, common(full, plain));
            let rest = literal.get(shared..).unwrap_or_default();
            if shared > 0
                && gap.starts_with(&full[..shared])
                && [rest, &full[shared..], &plain[shared..]]
                    .iter()
                    .all(|rest| only_marks(rest))
            {
                return Ok((place.anchor + shared, Method::PlainTurn));
            }
            if literal.trim().is_empty() && plain.trim().is_empty() && place.first.is_some() {
                return Ok((first, Method::PlainTurn));
            }
        }
        if let Some(plain) = &plain
            && gap.starts_with(plain.as_str())
            && (names_role(plain) || self.differs_by_role(request, place.index, plain))
            && headers
                .full
                .as_ref()
                .is_none_or(|full| !full.trim().is_empty() && shares_header(full, plain))
        {
            return Ok((place.anchor + plain.len(), Method::RoleContrast));
        }
        Err((
            Rule::C,
            "what stands before the text is not the template's generation prompt".into(),
            first,
        ))
    }

    /// What stands between the messages before and a plain message of `role` at this place.
    pub(super) fn plain_gap(
        &self,
        request: &Request<'_>,
        index: u32,
        role: &str,
    ) -> Option<String> {
        self.gap(request, index, &[message(role, PROBE)])
    }

    /// The same, for any messages put in the place of the turn.
    fn gap(&self, request: &Request<'_>, index: u32, instead: &[Data]) -> Option<String> {
        let mut messages = request.messages[..index as usize].to_vec();
        messages.extend_from_slice(instead);
        let rendered = self.probe(request, &messages, false, request.kwargs)?;
        let view = Pieces::new(&rendered);
        let first = view.of(index).next()?.start;
        Some(view.text[view.anchor(index, first)..first].to_owned())
    }

    /// Whether a user message at this place gets another header of the same build.
    fn differs_by_role(&self, request: &Request<'_>, index: u32, plain: &str) -> bool {
        self.plain_gap(request, index, "user")
            .is_some_and(|user| user != plain && at_border(plain, common(plain, &user)) > 0)
    }
}

/// The start after a generation prompt that stands before the turn in full.
fn match_full(headers: &Headers, pieces: &Pieces<'_>, place: Place) -> Option<usize> {
    let text = pieces.text;
    let limit = place.limit(text);
    let fits = |from: usize, header: &str| {
        let end = from + header.len();
        (end <= limit && text[from..].starts_with(header)).then_some(end)
    };
    // A prompt that ends with the last message's own text (it is left open) says nothing here.
    if let Some(full) = &headers.full
        && !(headers.switched && full.trim().is_empty())
        && let Some(end) = fits(place.anchor, full)
    {
        return Some(end);
    }
    // The end of the turn before may differ from the prefix's; the prompt itself may not.
    let prompts = || {
        [&headers.tail, &headers.extra]
            .into_iter()
            .filter(|header| !header.trim().is_empty())
    };
    if let Some(end) = prompts().find_map(|header| fits(place.window, header)) {
        return Some(end);
    }
    let first = place.first?;
    prompts()
        .any(|header| text[place.anchor..first].ends_with(header.as_str()))
        .then_some(first)
}

fn message(role: &str, content: &str) -> Data {
    Data::Map(
        [("role", Data::from(role)), ("content", Data::from(content))]
            .into_iter()
            .collect(),
    )
}

pub(super) fn common(a: &str, b: &str) -> usize {
    let mut len = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !a.is_char_boundary(len) {
        len -= 1;
    }
    len
}

/// Cuts back to the end of a line, a token-like mark or a word before a colon.
pub(super) fn at_border(text: &str, len: usize) -> usize {
    if len == text.len() {
        return len;
    }
    text[..len]
        .char_indices()
        .rev()
        .find(|(_, c)| matches!(c, '\n' | '>' | ']' | ':' | '｜'))
        .map_or(0, |(at, c)| at + c.len_utf8())
}

/// The end of `full` at the head of `gap`, where the two differ in white space only.
fn match_loosely(gap: &str, full: &str, limit: usize) -> Option<usize> {
    let mut at = 0;
    let mut any = false;
    for wanted in full.chars().filter(|c| !c.is_whitespace()) {
        at += gap[at..].len() - gap[at..].trim_start().len();
        if !gap[at..].starts_with(wanted) {
            return None;
        }
        at += wanted.len_utf8();
        any = true;
    }
    // The white space that this render puts after the prompt is the template's, not the turn's.
    let literal = gap.get(at..limit)?;
    at += literal.len() - literal.trim_start().len();
    (any && at <= limit).then_some(at)
}

/// Text that begins with a mark and does not name a role.
fn only_marks(text: &str) -> bool {
    text.trim_start().is_empty() || (text.trim_start().starts_with(['<', '[']) && !names_role(text))
}

/// Whether two prompts begin with the same mark or line.
fn shares_header(a: &str, b: &str) -> bool {
    at_border(b, common(a, b)) > 0 || common(a, b) == a.len()
}

/// Whether a literal names the role of who speaks.
fn names_role(literal: &str) -> bool {
    let lower = literal.to_lowercase();
    [
        "assistant",
        "model",
        "bot",
        "gpt",
        "ai",
        "response",
        "answer",
        "output",
        "agent",
        "答",
        "助手",
        "응답",
    ]
    .iter()
    .any(|word| lower.contains(word))
}
