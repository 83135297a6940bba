//! One row, looked at by itself: what its text shows, how its messages follow each other, and how
//! many tokens of it are trained.

use sftprep_quality::signs::{self, Script};
use sftprep_quality::{Document, Shingler, Word, words};
use sftprep_template::Data;

use super::super::text::{Field, text_of};
use super::fit::{Stems, Vocabulary};
use super::issues::{Issue, IssueSet};
use super::sketch::{Sketch, key};
use super::turns::{Part, Role, parts, turns};
use crate::error::{Code, Error, Reject};
use crate::pipeline::{Failure, Worker};
use crate::types::Sample;

/// Bytes shown before and after a place.
const BEFORE: usize = 60;
const AFTER: usize = 200;

/// What is kept of every row.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) issues: IssueSet,
    /// Tokens of the rendered row, and those of them that are trained.
    pub(super) tokens: u32,
    pub(super) trained: u32,
    /// What stands before the last answer, and that answer; 0 where there is none.
    pub(super) prompt: u64,
    pub(super) answer: u64,
    pub(super) answer_sketch: Sketch,
    /// Rankings; 0 where there is nothing to rank.
    pub(super) truncation: f32,
    pub(super) fit: f32,
    pub(super) answer_words: u32,
    pub(super) turns: u16,
    pub(super) script: Script,
}

/// Something that was seen in a row.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) issue: Issue,
    /// How bad it is; the worst are shown.
    pub(super) weight: f32,
    pub(super) detail: String,
    pub(super) excerpt: String,
}

/// What one look at a row gives.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) facts: Facts,
    pub(super) seen: Vec<Seen>,
    /// For the search for duplicates; none for rows that cannot be read.
    pub(super) document: Option<Document>,
    /// First word of the prompt.
    pub(super) task: String,
    /// Every row's fault.
    pub(super) fatal: Option<Error>,
}

/// What a thread keeps between rows.
pub(super) struct Looker<'r> {
    worker: Worker<'r>,
    max_len: u32,
    shingler: Shingler,
    words: Vec<Word>,
    all: String,
    prompt: String,
    stems: Stems,
    vocabulary: &'r Vocabulary,
}

impl<'r> Looker<'r> {
    pub(super) fn new(worker: Worker<'r>, max_len: u32, vocabulary: &'r Vocabulary) -> Self {
        Self {
            worker,
            max_len,
            shingler: Shingler::default(),
            words: Vec::new(),
            all: String::new(),
            prompt: String::new(),
            stems: Stems::default(),
            vocabulary,
        }
    }

    /// Looks at one row.
    pub(super) fn look(&mut self, sample: Result<Sample, Reject>) -> Looked {
        let mut out = Looked::default();
        let sample = match sample {
            Ok(sample) => sample,
            Err(reject) => {
                let issue = of_reject(reject.code);
                see(&mut out, issue, 1.0, reject.to_string(), String::new());
                return out;
            }
        };
        let parts = parts(&sample);
        self.all.clear();
        text_of(&sample, Field::All, &mut self.all);
        self.texts(&parts, &mut out);
        if self.stems.take(&parts) {
            self.vocabulary.add(&self.stems);
        }
        if matches!(sample, Sample::Conversation(_)) {
            turns(&parts, &mut |issue, detail| {
                let excerpt = opening(&parts);
                see(&mut out, issue, parts.len() as f32, detail, excerpt);
            });
        }
        self.count(&sample, &parts, &mut out);
        out
    }

    fn texts(&mut self, parts: &[Part<'_>], out: &mut Looked) {
        self.prompt.clear();
        let last = parts.iter().rposition(Part::learnt);
        for part in &parts[..last.unwrap_or(parts.len())] {
            self.prompt.push_str(&part.text);
            self.prompt.push('\n');
        }
        out.document = Some(self.shingler.document(&self.all));
        out.facts.turns = parts.len().min(usize::from(u16::MAX)) as u16;
        out.task = first_word(parts);
        look_at_characters(&self.all, out);
        for part in parts {
            if part.learnt() {
                self.answer(part, out);
            } else {
                look_at_prompt(part, out);
            }
        }
        if let Some(last) = last {
            let answer = &parts[last].text;
            words(answer, &mut self.words);
            out.facts.prompt = key(&self.prompt);
            out.facts.answer = key(answer);
            out.facts.answer_sketch = Sketch::of(&self.words);
            out.facts.answer_words = self.words.len().min(u32::MAX as usize) as u32;
            out.facts.script = signs::main_script(answer).0;
            out.facts.truncation = signs::truncation(answer, &self.words);
            self.against_prompt(answer, out);
        }
    }

    /// Signs in an answer.
    fn answer(&mut self, part: &Part<'_>, out: &mut Looked) {
        let text = &*part.text;
        words(text, &mut self.words);
        let words = &self.words;
        if let Some(found) = signs::find_loop(text, words) {
            let detail = format!("the same {} times", found.times);
            at(
                out,
                Issue::Loop,
                found.times as f32,
                detail,
                text,
                found.start,
            );
        }
        if let Some(start) = signs::merged_record(text) {
            mark(
                out,
                Issue::MergedRecord,
                "another record begins",
                text,
                start,
            );
        }
        if let Some(start) = signs::control_text(text) {
            mark(
                out,
                Issue::ControlText,
                "a control token as text",
                text,
                start,
            );
        }
        if let Some((start, kind)) = signs::private_data(text) {
            at(out, Issue::PrivateData, 1.0, kind.to_owned(), text, start);
        }
        if let Some(start) = signs::wrong_calculation(text) {
            mark(
                out,
                Issue::WrongCalculation,
                "the result is another",
                text,
                start,
            );
        }
        if let Some(word) = signs::identity(words) {
            let start = words[word].start as usize;
            mark(
                out,
                Issue::Identity,
                "names a model, its maker or its data",
                text,
                start,
            );
        }
        if let Some(word) = signs::incapable(words) {
            let start = words[word].start as usize;
            mark(
                out,
                Issue::Incapable,
                "names what models cannot do",
                text,
                start,
            );
        }
        if let Some(word) = signs::ai_phrase(words) {
            let start = words[word].start as usize;
            mark(
                out,
                Issue::AiPhrase,
                "speaks of itself as an AI",
                text,
                start,
            );
        }
        if signs::open_fence(text) {
            let start = text.rfind("```").unwrap_or(0);
            mark(
                out,
                Issue::OpenFence,
                "an odd number of fences",
                text,
                start,
            );
        }
        if let Some(weight) = signs::refusal(text, words) {
            at(
                out,
                Issue::Refusal,
                weight,
                format!("score {weight:.1}"),
                text,
                0,
            );
            if !signs::names_danger(&self.prompt) {
                let detail = "the prompt names nothing dangerous".to_owned();
                at(out, Issue::RefusedSafe, weight, detail, text, 0);
            }
        }
    }

    /// What the last answer is beside its prompt.
    fn against_prompt(&self, answer: &str, out: &mut Looked) {
        let facts = &out.facts;
        if facts.answer != 0 && facts.answer == facts.prompt {
            let weight = facts.answer_words as f32;
            at(
                out,
                Issue::AnswerIsPrompt,
                weight,
                "the same text".into(),
                answer,
                0,
            );
        }
        let (script, share) = signs::main_script(answer);
        let (asked, _) = signs::main_script(&self.prompt);
        let letters = !matches!(script, Script::None) && !matches!(asked, Script::None);
        if letters
            && script != asked
            && share > 0.6
            && out.facts.answer_words > 2
            && !signs::asks_for_language(&self.prompt)
            && !signs::has_script(&self.prompt, script)
        {
            let detail = format!("{} answers {}", script.name(), asked.name());
            at(
                out,
                Issue::OtherScript,
                out.facts.answer_words as f32,
                detail,
                answer,
                0,
            );
        }
    }

    fn count(&mut self, sample: &Sample, parts: &[Part<'_>], out: &mut Looked) {
        match self.worker.prepare(sample) {
            Ok(prepared) => {
                let mut longest = 0;
                for each in &prepared {
                    let tokens = each.example.input_ids.len().min(u32::MAX as usize) as u32;
                    longest = longest.max(tokens);
                    out.facts.tokens = out.facts.tokens.saturating_add(tokens);
                    let trained = each.example.trained_tokens();
                    out.facts.trained = out.facts.trained.saturating_add(trained);
                }
                if longest > self.max_len {
                    let detail = format!("{longest} tokens, {} fit", self.max_len);
                    see(out, Issue::TooLong, longest as f32, detail, opening(parts));
                }
                if out.facts.trained == 0 {
                    let detail = "no token has a label".to_owned();
                    see(out, Issue::NothingTrained, 1.0, detail, opening(parts));
                }
            }
            Err(Failure::Reject(reject)) => {
                let issue = if reject.code == Code::LabelNothingTrained {
                    Issue::NothingTrained
                } else {
                    Issue::NotRendered
                };
                see(out, issue, 1.0, reject.to_string(), opening(parts));
            }
            Err(Failure::Fatal(error)) => out.fatal = Some(error),
        }
    }
}

fn look_at_characters(text: &str, out: &mut Looked) {
    let found = signs::characters(text);
    let kinds = [
        (found.mojibake, Issue::Mojibake, "garbled"),
        (
            found.control,
            Issue::ControlCharacter,
            "control or invisible",
        ),
        (found.replaced, Issue::ReplacementCharacter, "lost"),
    ];
    for (places, issue, what) in kinds {
        if let Some((count, start)) = places {
            let plural = if count == 1 { "" } else { "s" };
            let detail = format!("{count} {what} character{plural}");
            at(out, issue, count as f32, detail, text, start);
        }
    }
}

/// Signs in what is given.
fn look_at_prompt(part: &Part<'_>, out: &mut Looked) {
    let text = &*part.text;
    if let Some((start, kind)) = signs::broken_template(text) {
        let what = match kind {
            signs::Template::NotFilled => "a field is not filled in",
            signs::Template::LostBreak => "a line break after a field lost its backslash",
        };
        mark(out, Issue::BrokenTemplate, what, text, start);
    }
    if let Some(start) = signs::control_text(text) {
        mark(
            out,
            Issue::ControlText,
            "a control token as text",
            text,
            start,
        );
    }
    if part.role != Role::User {
        return;
    }
    if let Some(start) = signs::missing_attachment(text) {
        mark(
            out,
            Issue::MissingAttachment,
            "a picture or file",
            text,
            start,
        );
    }
    let line = text.trim_end().rsplit('\n').next().unwrap_or_default();
    let start = text.trim_end().len() - line.len();
    if signs::no_input_marker(line) {
        at(
            out,
            Issue::NoInputMarker,
            1.0,
            format!("'{}'", line.trim()),
            text,
            start,
        );
    }
    if signs::url_only(line) {
        mark(out, Issue::UrlOnly, "a link and nothing else", text, start);
    }
}

/// The issue that a row has which cannot be read.
fn of_reject(code: Code) -> Issue {
    match code {
        Code::FormatMissing => Issue::MissingField,
        Code::FormatEmpty => Issue::EmptyPrompt,
        Code::FormatRole => Issue::UnknownRole,
        Code::FormatType | Code::FormatJsonString | Code::FormatTokens => Issue::WrongType,
        _ => Issue::Unreadable,
    }
}

fn see(out: &mut Looked, issue: Issue, weight: f32, detail: String, excerpt: String) {
    if out.facts.issues.has(issue) {
        return; // told once per row
    }
    out.facts.issues.add(issue);
    out.seen.push(Seen {
        issue,
        weight,
        detail,
        excerpt,
    });
}

fn at(out: &mut Looked, issue: Issue, weight: f32, detail: String, text: &str, start: usize) {
    if !out.facts.issues.has(issue) {
        see(out, issue, weight, detail, around(text, start));
    }
}

fn mark(out: &mut Looked, issue: Issue, detail: &str, text: &str, start: usize) {
    at(out, issue, 1.0, detail.to_owned(), text, start);
}

/// The text around a byte.
pub(super) fn around(text: &str, at: usize) -> String {
    let from = boundary(text, at.saturating_sub(BEFORE));
    let to = boundary(text, at + AFTER);
    let (before, after) = (
        ["", "…"][usize::from(from > 0)],
        ["", "…"][usize::from(to < text.len())],
    );
    format!("{before}{}{after}", &text[from..to])
}

/// The last place at or before a byte where the text can be cut.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// How a conversation goes, in a line.
fn opening(parts: &[Part<'_>]) -> String {
    let shown = parts.iter().take(6).map(|part| {
        let end = boundary(&part.text, 60);
        format!("{}: {}", part.role.name(), &part.text[..end])
    });
    shown.collect::<Vec<_>>().join(" | ")
}

/// First word of the prompt in lower case, if it is made of letters.
fn first_word(parts: &[Part<'_>]) -> String {
    let asked = parts.iter().find(|part| part.role == Role::User);
    let word = asked
        .and_then(|part| part.text.split_whitespace().next())
        .unwrap_or_default();
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let fits = (1..=20).contains(&word.len()) && word.chars().all(char::is_alphabetic);
    if fits {
        word.to_lowercase()
    } else {
        String::new()
    }
}

/// Text of a message's content.
pub(super) fn content(value: Option<&Data>, out: &mut String) {
    match value {
        None | Some(Data::Null) => {}
        Some(Data::Str(text)) => push_line(text, out),
        Some(Data::List(items)) => {
            for item in items {
                let text = item.as_map().and_then(|map| map.get("text"));
                content(text, out);
            }
        }
        Some(other) => {
            let mut json = String::new();
            super::super::data_json::push(other, &mut json);
            push_line(&json, out);
        }
    }
}

fn push_line(text: &str, out: &mut String) {
    if !out.is_empty() && !text.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
}
