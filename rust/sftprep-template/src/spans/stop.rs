//! Rule E: where a turn ends.

use super::pieces::Pieces;
use super::{MAX_CACHE, Rule, Session, SpanOptions};
use crate::data::{Data, Map};
use crate::request::Request;

/// End of the span and the stop token, or why there is none.
pub(super) type End = Result<(usize, Option<(usize, usize)>), (Rule, String, usize)>;

impl Session<'_> {
    /// `last`: end of the message's own text (or the start, if it has none); `window`: end of
    /// what the template wrote for the message.
    pub(super) fn end(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        index: u32,
        last: usize,
        window: usize,
    ) -> End {
        if let Some((from, to)) = find(pieces, options, last, window) {
            let to = last + to;
            let to = to + self.second_stop(request, options, pieces, index, to, window);
            return Ok((to, Some((last + from, to))));
        }
        self.unfinished(request, options, pieces, index, last, window)
    }

    /// The length of a mark that stands directly behind the stop token and belongs to it, because
    /// it stands there whatever follows the turn: `</s>` in `<|/assistant|></s>`, where the
    /// tokenizer knows only the first of the two as its own.
    fn second_stop(
        &self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        index: u32,
        at: usize,
        window: usize,
    ) -> usize {
        let Some(mark) = first_mark(&pieces.text[at..window]) else {
            return 0;
        };
        let mut messages = request.messages[..=index as usize].to_vec();
        let always = |messages: &[Data]| {
            let rendered = self.probe(request, messages, false, request.kwargs)?;
            let view = Pieces::new(&rendered);
            let last = view.of(index).map(|piece| piece.end).max()?;
            let window = super::turn::window_end(&view, index, last);
            let (_, to) = find(&view, options, last, window)?;
            view.text[last + to..window].starts_with(mark).then_some(())
        };
        let alone = always(&messages);
        messages.push(user());
        if alone.and_then(|()| always(&messages)).is_some() {
            mark.len()
        } else {
            0
        }
    }

    /// No stop token in the window.
    fn unfinished(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        pieces: &Pieces<'_>,
        index: u32,
        last: usize,
        window: usize,
    ) -> End {
        // A stop token right after the window: after the loop, or the next role's token.
        let after = &pieces.text[window..];
        let skipped = after.len() - after.trim_start().len();
        let next = pieces.list.get(pieces.index_at(window + skipped));
        let literal = next.filter(|piece| !piece.input);
        if let Some(piece) = literal {
            let rest = &after[skipped..];
            let named = options.stop_tokens.iter().filter(|stop| !stop.is_empty());
            let found = named
                .filter(|stop| rest.starts_with(stop.as_str()))
                .map(String::len)
                .max();
            let special = (piece.special && piece.owner.is_none())
                .then_some(piece.end - (window + skipped))
                .filter(|len| *len <= rest.len());
            if let Some(len) = found.or(special)
                && pieces.text[last..window].trim().is_empty()
            {
                let from = window + skipped;
                return Ok((from + len, Some((from, from + len))));
            }
        }
        if !options.allow_no_stop {
            return Err((Rule::E, "no stop token follows the turn".into(), window));
        }
        let has_successor = index as usize + 1 < request.messages.len();
        let usual = if has_successor {
            None
        } else {
            self.stop_when_followed(request, options, index)
        };
        if let Some(usual) = usual {
            // The stop that the same turn gets where it is followed, written after the loop.
            if literal.is_some_and(|piece| piece.owner.is_none())
                && after[skipped..].starts_with(&usual)
                && pieces.text[last..window].trim().is_empty()
            {
                let from = window + skipped;
                let to = from + usual.len();
                return Ok((to, Some((from, to))));
            }
            let detail = "the template writes a stop token only when another message follows, so \
                          the last turn would teach the model never to stop";
            return Err((Rule::E, detail.into(), window));
        }
        let trimmed = last + pieces.text[last..window].trim_end().len();
        Ok((trimmed, None))
    }

    /// The stop token that the same turn gets where a user message follows.
    fn stop_when_followed(
        &mut self,
        request: &Request<'_>,
        options: &SpanOptions,
        index: u32,
    ) -> Option<String> {
        let key = self.key(index);
        if let Some(known) = self.stops.get(&key) {
            return known.clone();
        }
        let mut messages = request.messages.to_vec();
        messages.push(user());
        let found = self
            .probe(request, &messages, false, request.kwargs)
            .and_then(|rendered| {
                let view = Pieces::new(&rendered);
                let last = view.of(index).map(|piece| piece.end).max()?;
                let window = super::turn::window_end(&view, index, last);
                let tail = &view.text[last..window];
                let (from, to) = last_known(tail, &options.stop_tokens)
                    .or_else(|| last_special(&view, last, window))
                    .or_else(|| last_stop_mark(tail))?;
                Some(tail[from..to].to_owned())
            });
        if self.stops.len() >= MAX_CACHE {
            self.stops.clear();
        }
        self.stops.insert(key, found.clone());
        found
    }
}

/// A user message that could follow a turn.
fn user() -> Data {
    let fields = [("role", "user"), ("content", "Zq7xprobe")];
    Data::Map(
        fields
            .into_iter()
            .map(|(key, text)| (key, Data::from(text)))
            .collect::<Map>(),
    )
}

/// The mark that a text begins with, unless it begins something else.
fn first_mark(text: &str) -> Option<&str> {
    let close = match text.chars().next()? {
        '<' => '>',
        '[' => ']',
        _ => return None,
    };
    let mark = &text[..=text.find(close)?];
    (last_mark(mark)?.0 == 0 && !is_opener(mark)).then_some(mark)
}

/// The stop token in a window, relative to `last`.
pub(super) fn find(
    pieces: &Pieces<'_>,
    options: &SpanOptions,
    last: usize,
    window: usize,
) -> Option<(usize, usize)> {
    let tail = &pieces.text[last..window];
    if let Some((from, to)) =
        last_known(tail, &options.stop_tokens).or_else(|| last_special(pieces, last, window))
    {
        // Some templates close a turn twice; what follows the first close is not the turn's.
        let stop = &tail[from..to];
        let from = match from {
            0 => 0,
            _ => tail.find(stop).unwrap_or(from),
        };
        return Some((from, from + stop.len()));
    }
    let (from, to) = last_stop_mark(tail)?;
    let rest = tail[to..].trim_end();
    let frame = rest.contains(['<', ':']) || rest.split_whitespace().count() > 1;
    Some((from, if frame { to } else { to + rest.len() }))
}

/// The last of the caller's stop tokens in `tail`.
fn last_known(tail: &str, stops: &[String]) -> Option<(usize, usize)> {
    stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| rfind(tail, stop).map(|at| (at, at + stop.len())))
        .max_by_key(|(from, to)| (*to, usize::MAX - from))
}

/// The last place of a stop token. Both are a few bytes long: the library's search would spend
/// most of its time on getting ready.
fn rfind(tail: &str, stop: &str) -> Option<usize> {
    let (tail, stop) = (tail.as_bytes(), stop.as_bytes());
    let last = tail.len().checked_sub(stop.len())?;
    (0..=last)
        .rev()
        .find(|at| tail[*at] == stop[0] && tail[*at..].starts_with(stop))
}

/// The last special-token variable in the window.
fn last_special(pieces: &Pieces<'_>, last: usize, window: usize) -> Option<(usize, usize)> {
    pieces.list[..pieces.index_at(window)]
        .iter()
        .rev()
        .take_while(|piece| piece.start >= last)
        .find(|piece| piece.special)
        .map(|piece| (piece.start - last, piece.end - last))
}

/// The last piece of text that is written like a control token: `<...>` or `[...]`.
pub(super) fn last_mark(tail: &str) -> Option<(usize, usize)> {
    let trimmed = tail.trim_end();
    let close = trimmed.chars().next_back()?;
    let open = match close {
        '>' => '<',
        ']' => '[',
        _ => {
            // A mark may be followed by text of the same window.
            let at = trimmed.rfind(['>', ']'])?;
            return last_mark(&trimmed[..=at]);
        }
    };
    let from = trimmed.rfind(open)?;
    let inside = &trimmed[from + 1..trimmed.len() - 1];
    let plain = !inside.is_empty() && !inside.contains(['\n', '{', '}', '"']);
    plain.then_some((from, trimmed.len()))
}

/// The last mark that does not begin something else.
pub(super) fn last_stop_mark(tail: &str) -> Option<(usize, usize)> {
    let mut rest = tail;
    loop {
        let (from, to) = last_mark(rest)?;
        if !is_opener(&rest[from..to]) {
            return Some((from, to));
        }
        rest = &rest[..from];
    }
}

/// A mark that begins the next turn instead of ending this one.
fn is_opener(mark: &str) -> bool {
    const WORDS: [&str; 7] = [
        "im_start",
        "start_header",
        "start_of_turn",
        "start_of_role",
        "assistant",
        "[inst]",
        "begin",
    ];
    let names = |word: &str| {
        let mut places = mark.as_bytes().windows(word.len());
        places.any(|place| place.eq_ignore_ascii_case(word.as_bytes()))
    };
    !mark.contains('/') && WORDS.iter().any(|word| names(word))
}
