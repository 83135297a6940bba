//! One row: what is wrong with it, and what of that can be taken out.

use std::collections::BTreeMap;

use sftprep_quality::signs;
use sftprep_quality::{Word, words};
use sftprep_template::Data;

use super::super::check::{Issue, Part, Role, parts, turns};
use super::super::scan::Reading;
use super::rules::{Action, CleanRules, Rule};
use super::splice;
use super::texts::{Kind, texts};
use crate::error::{Code, Reject};
use crate::format::Parser;
use crate::json;
use crate::types::Sample;

/// Findings that a detail lists.
const LISTED: usize = 6;

/// What becomes of a row.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// It stays as it is; nothing was found.
    Clean,
    /// It stays; something was found, and taken out if there is another line.
    Marked {
        /// Rules that found something, and whether that was taken out.
        rules: Vec<(Rule, bool)>,
        /// Reason of the first that counts.
        code: Code,
        /// What was found and what was taken out.
        detail: String,
        /// The row without what was taken out.
        line: Option<String>,
    },
    /// It goes.
    Dropped {
        /// Why.
        code: Code,
        /// In words.
        detail: String,
    },
    /// It is no row at all.
    Rejected(Reject),
}

/// Looks at rows; holds the buffers between them.
#[derive(Debug, Default)]
pub(super) struct Looker {
    words: Vec<Word>,
}

/// Something that was found.
struct Finding {
    rule: Rule,
    code: Code,
    detail: String,
}

impl Looker {
    /// What becomes of a row that is written as `line`; `repaired` are garbled texts and what they
    /// should be.
    pub(super) fn look(
        &mut self,
        row: Data,
        line: &[u8],
        reading: &mut Reading<'_>,
        rules: &CleanRules,
        repaired: &BTreeMap<String, String>,
    ) -> Outcome {
        let (mends, fixed) = mends(&row, reading.parser, rules, repaired);
        let mended = if mends.is_empty() {
            None
        } else {
            let text = std::str::from_utf8(line).ok();
            text.and_then(|text| splice::replaced(text, &mends))
        };
        let row = match &mended {
            None => row,
            Some(line) => match json::parse(line.as_bytes(), reading.notes) {
                Ok(row) => row,
                Err(reject) => return Outcome::Rejected(reject),
            },
        };
        let findings = match reading.parser.parse(row, reading.notes) {
            Ok(sample) => self.findings(&sample, rules),
            Err(reject) if reject.code.stage() == "row" => return Outcome::Rejected(reject),
            Err(reject) => of_reject(&reject),
        };
        let fixed = if mended.is_some() { fixed } else { Vec::new() };
        outcome(findings, &fixed, mended, rules)
    }

    /// What is wrong with a row, whatever is to be done about it.
    fn findings(&mut self, sample: &Sample, rules: &CleanRules) -> Vec<Finding> {
        let parts = parts(sample);
        let mut found = Vec::new();
        // what a completion goes on from may well be nothing
        let spoken = matches!(sample, Sample::Conversation(_));
        if spoken || matches!(sample, Sample::Completion { .. }) {
            turns(&parts, &mut |issue, detail| {
                if !spoken && issue != Issue::EmptyAnswer {
                    return;
                }
                let rule = match issue {
                    Issue::EmptyAnswer | Issue::NoAnswer => Rule::EmptyAnswer,
                    Issue::EmptyPrompt | Issue::EmptyTurn => Rule::EmptyPrompt,
                    _ => Rule::Roles,
                };
                note(&mut found, rule, format!("{}: {detail}", issue.name()));
            });
        }
        for part in &parts {
            characters(&part.text, &mut found);
            if part.role == Role::Assistant {
                self.answer(part, rules, &mut found);
            } else {
                given(part, &mut found);
            }
        }
        found
    }

    fn answer(&mut self, part: &Part<'_>, rules: &CleanRules, found: &mut Vec<Finding>) {
        let text = &*part.text;
        words(text, &mut self.words);
        let words = &self.words;
        let wanted = |rule: Rule| rules.action(rule) != Action::Off;
        if wanted(Rule::Loops)
            && let Some(it) = signs::find_loop(text, words)
        {
            note(found, Rule::Loops, format!("the same {} times", it.times));
        }
        if let Some(at) = signs::merged_record(text) {
            let at = text[..at].chars().count();
            note(
                found,
                Rule::MergedRecord,
                format!("another record begins at character {at} of an answer"),
            );
        }
        if signs::control_text(text).is_some() {
            note(found, Rule::Leftovers, named(Issue::ControlText));
        }
        if signs::identity(words).is_some() {
            note(found, Rule::Identity, Issue::Identity.title().to_owned());
        }
        if signs::incapable(words).is_some() {
            note(found, Rule::Incapable, Issue::Incapable.title().to_owned());
        }
        if wanted(Rule::Refusal)
            && let Some(score) = signs::refusal(text, words)
        {
            note(found, Rule::Refusal, format!("score {score:.1}"));
        }
    }
}

fn characters(text: &str, found: &mut Vec<Finding>) {
    let seen = signs::characters(text);
    let kinds = [
        (seen.mojibake, Rule::Mojibake, "garbled"),
        (seen.control, Rule::Unicode, "control or invisible"),
        (seen.replaced, Rule::Replacement, "lost"),
    ];
    for (places, rule, what) in kinds {
        if let Some((count, _)) = places {
            let plural = if count == 1 { "" } else { "s" };
            note(found, rule, format!("{count} {what} character{plural}"));
        }
    }
}

/// What stands in a message that is not the assistant's.
fn given(part: &Part<'_>, found: &mut Vec<Finding>) {
    let text = &*part.text;
    let mut leftover = |seen: bool, issue: Issue| {
        if seen {
            note(found, Rule::Leftovers, named(issue));
        }
    };
    leftover(
        signs::broken_template(text).is_some(),
        Issue::BrokenTemplate,
    );
    leftover(signs::control_text(text).is_some(), Issue::ControlText);
    if part.role != Role::User {
        return;
    }
    leftover(
        signs::missing_attachment(text).is_some(),
        Issue::MissingAttachment,
    );
    let line = last_line(text);
    leftover(signs::url_only(line), Issue::UrlOnly);
    if signs::no_input_marker(line) {
        note(found, Rule::NoInput, format!("'{}'", line.trim()));
    }
}

fn named(issue: Issue) -> String {
    format!("{}: {}", issue.name(), issue.title())
}

fn last_line(text: &str) -> &str {
    text.trim_end().rsplit('\n').next().unwrap_or_default()
}

fn note(found: &mut Vec<Finding>, rule: Rule, detail: String) {
    let code = rule.code();
    found.push(Finding { rule, code, detail });
}

/// What a row has that does not fit its format.
fn of_reject(reject: &Reject) -> Vec<Finding> {
    let rule = match reject.code {
        Code::FormatRole => Rule::Roles,
        _ => Rule::Format,
    };
    vec![Finding {
        rule,
        code: reject.code,
        detail: reject.to_string(),
    }]
}

/// Texts of a row that should be others, by place, and what that takes out.
fn mends(
    row: &Data,
    parser: &Parser,
    rules: &CleanRules,
    repaired: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<(Rule, String)>) {
    let mut mends = BTreeMap::new();
    let mut fixed = Vec::new();
    if !rules.fixes() {
        return (mends, fixed);
    }
    let fix = |rule: Rule| rules.action(rule) == Action::Fix;
    texts(row, parser.options(), &mut |path, kind, text| {
        let mut new: Option<String> = None;
        let mut change = |rule: Rule, text: String, what: String| {
            fixed.push((rule, format!("{}: {what}", splice::shown(path))));
            new = Some(text);
        };
        let mut now = text.to_owned();
        if fix(Rule::Mojibake)
            && let Some(right) = repaired.get(text)
        {
            now.clone_from(right);
            change(Rule::Mojibake, now.clone(), "garbled text repaired".into());
        }
        if fix(Rule::Unicode)
            && let Some((without, count)) = signs::without_invisible(&now)
        {
            let plural = if count == 1 { "" } else { "s" };
            let what = format!("{count} control or invisible character{plural} taken out");
            now = without;
            change(Rule::Unicode, now.clone(), what);
        }
        if fix(Rule::NoInput)
            && let Some((left, marker)) = without_marker(&now, kind)
        {
            now = left;
            change(Rule::NoInput, now.clone(), format!("'{marker}' taken out"));
        }
        if fix(Rule::MergedRecord)
            && kind == Kind::Said(Role::Assistant)
            && let Some(at) = signs::merged_record(&now)
        {
            let cut = now[at..].chars().count();
            let left = now[..at].trim_end().to_owned();
            change(
                Rule::MergedRecord,
                left,
                format!("{cut} characters of another record cut"),
            );
        }
        if let Some(new) = new {
            mends.insert(path.to_owned(), new);
        }
    });
    (mends, fixed)
}

/// A text without the marker that stands for an empty input, and the marker. A message that is
/// nothing else stays: it would be empty.
fn without_marker(text: &str, kind: Kind) -> Option<(String, String)> {
    let line = last_line(text);
    if !matches!(kind, Kind::Input | Kind::Said(Role::User)) || !signs::no_input_marker(line) {
        return None;
    }
    let before = &text[..text.trim_end().len() - line.len()];
    let left = before.trim_end();
    let fits = kind == Kind::Input || !left.is_empty();
    fits.then(|| (left.to_owned(), line.trim().to_owned()))
}

/// Weighs what was found: a row goes, stays with a note, or is clean.
fn outcome(
    mut findings: Vec<Finding>,
    fixed: &[(Rule, String)],
    line: Option<String>,
    rules: &CleanRules,
) -> Outcome {
    findings.retain(|it| rules.action(it.rule) != Action::Off);
    findings.sort_by_key(|it| it.rule);
    findings.dedup_by_key(|it| it.rule);
    let drops = |it: &&Finding| rules.action(it.rule) == Action::Drop;
    if let Some(first) = findings.iter().find(drops) {
        let more = findings.iter().filter(drops).skip(1);
        let also: Vec<&str> = more.map(|it| it.rule.name()).collect();
        let detail = if also.is_empty() {
            first.detail.clone()
        } else {
            format!("{}; also {}", first.detail, also.join(", "))
        };
        let code = first.code;
        return Outcome::Dropped { code, detail };
    }
    let mut told: Vec<String> = Vec::new();
    told.extend(fixed.iter().map(|(_, what)| format!("fixed {what}")));
    let flagged = findings.iter();
    told.extend(flagged.map(|it| format!("flagged {}: {}", it.rule.name(), it.detail)));
    let mut seen: Vec<(Rule, bool)> = fixed.iter().map(|(rule, _)| (*rule, true)).collect();
    seen.extend(findings.iter().map(|it| (it.rule, false)));
    seen.sort_unstable();
    seen.dedup();
    // what was changed is the reason before what was only seen
    let code = match (fixed.iter().map(|(rule, _)| rule).min(), findings.first()) {
        (Some(rule), _) => rule.code(),
        (None, Some(finding)) => finding.code,
        (None, None) => return Outcome::Clean,
    };
    if told.len() > LISTED {
        let more = told.len() - LISTED;
        told.truncate(LISTED);
        told.push(format!("and {more} more"));
    }
    Outcome::Marked {
        rules: seen,
        code,
        detail: told.join("; "),
        line,
    }
}
