//! The checks of one packed row, document by document.

use std::collections::BTreeMap;

use crate::config::StopPolicy;
use crate::label::TokenClass;
use crate::shard::{
    FLAG_CONTINUES, FLAG_REPEATED, FLAG_STRADDLES, FLAG_TRAINED, InputInfo, RowView, SpansView,
};
use crate::types::{IGNORE_INDEX, SpanKind};

use super::expect::Expected;
use super::turns::{Group, Groups, Span};
use super::{AuditReport, Check, Finding};

/// Tokens shown on either side of a place.
const SHOWN: usize = 5;

/// A packed row under audit.
pub(super) struct Row<'a> {
    number: u64,
    data: RowView<'a>,
    spans: SpansView<'a>,
    expected: &'a Expected,
    inputs: &'a [InputInfo],
}

/// One document of it.
struct Document<'a> {
    index: usize,
    ids: &'a [u32],
    labels: &'a [i32],
    spans: Vec<Span>,
    /// Whether text of the document may be missing before its first token.
    begins_late: bool,
}

impl<'a> Row<'a> {
    pub(super) fn new(
        row: u64,
        data: RowView<'a>,
        spans: SpansView<'a>,
        expected: &'a Expected,
        inputs: &'a [InputInfo],
    ) -> Self {
        Self {
            number: row,
            data,
            spans,
            expected,
            inputs,
        }
    }

    /// Checks the row; counts trained tokens per input.
    pub(super) fn check(&self, report: &mut AuditReport, trained: &mut [u64]) {
        let mut start = 0;
        let mut span = 0;
        for index in 0..self.spans.doc_tokens.len() {
            let length = usize::try_from(self.spans.doc_tokens[index]).unwrap_or(0);
            let document = match self.document(index, start..start + length, &mut span) {
                Ok(document) => document,
                Err(what) => {
                    report.add(self.finding(index, Check::Spans, None, what));
                    return;
                }
            };
            report.documents += 1;
            let labelled = document.labels.iter().filter(|it| **it != IGNORE_INDEX);
            let labelled = labelled.count() as u64;
            report.trained_tokens += labelled;
            let source = self.spans.doc_source.get(index).copied().unwrap_or(-1);
            if let Some(count) = usize::try_from(source)
                .ok()
                .and_then(|at| trained.get_mut(at))
            {
                *count += labelled;
            }
            self.check_document(&document, labelled, report);
            start += length;
        }
        if start != self.data.input_ids.len() || span != self.spans.span_end.len() {
            let what = format!("its documents hold {start} tokens and {span} spans, not all");
            report.add(self.finding(0, Check::Spans, None, what));
        }
    }

    /// Cuts a document out of the row; `from` is its first span, then that of the next.
    fn document(
        &self,
        index: usize,
        range: std::ops::Range<usize>,
        from: &mut usize,
    ) -> Result<Document<'a>, String> {
        let ids = bytemuck::cast_slice(self.data.input_ids);
        let (Some(ids), Some(labels)) =
            (ids.get(range.clone()), self.data.labels.get(range.clone()))
        else {
            return Err("the row ends inside of it".to_owned());
        };
        let mut spans = Vec::new();
        let mut start = 0;
        while start < ids.len() {
            let view = &self.spans;
            let fields = view.span_end.get(*from).zip(view.span_kind.get(*from));
            let more = view.span_message.get(*from).zip(view.span_flags.get(*from));
            let Some(((end, kind), (message, flags))) = fields.zip(more) else {
                return Err("it has tokens without a span".to_owned());
            };
            let end = usize::try_from(*end)
                .unwrap_or(0)
                .saturating_sub(range.start);
            if end <= start || end > ids.len() {
                return Err(format!("span {from} ends at {end} of {}", ids.len()));
            }
            let kind = SpanKind::from_u8(*kind).ok_or_else(|| format!("no kind {kind}"))?;
            spans.push(Span {
                start,
                end,
                kind,
                message: u32::try_from(*message).ok(),
                trained: flags & FLAG_TRAINED != 0,
                straddles: flags & FLAG_STRADDLES != 0,
                repeated: flags & FLAG_REPEATED != 0,
                continues: flags & FLAG_CONTINUES != 0,
            });
            start = end;
            *from += 1;
        }
        let begins_late = self.spans.doc_start.get(index).is_some_and(|at| *at > 0)
            || spans.first().is_some_and(|first| first.repeated);
        Ok(Document {
            index,
            ids,
            labels,
            spans,
            begins_late,
        })
    }

    fn finding(&self, index: usize, check: Check, message: Option<u32>, what: String) -> Finding {
        let source = self.spans.doc_source.get(index).copied().unwrap_or(-1);
        let input = usize::try_from(source)
            .ok()
            .and_then(|at| self.inputs.get(at));
        let line = self.spans.doc_line.get(index);
        Finding {
            check,
            row: Some(self.number),
            document: Some(index as u32),
            source: input.map(|input| input.name.clone()).unwrap_or_default(),
            line: line.and_then(|line| u64::try_from(*line).ok()),
            message,
            what,
        }
    }

    fn check_document(&self, document: &Document<'_>, labelled: u64, report: &mut AuditReport) {
        let mut add = |check, message, what| {
            report.add(self.finding(document.index, check, message, what));
        };
        self.check_labels(document, &mut add);
        self.check_kinds(document, &mut add);
        self.check_control(document, &mut add);
        self.check_bos(document, &mut add);
        if labelled == 0 && !self.expected.may_cut {
            add(Check::Empty, None, "no token of it has a label".to_owned());
        }
        let groups: Vec<Group<'_>> = Groups::of(&document.spans).collect();
        for group in groups.iter().filter(|group| group.is_trained()) {
            self.check_start(document, group, &mut add);
            self.check_gaps(document, group, &mut add);
        }
        let turns = self.check_stops(document, &groups, &mut add);
        let straddling = document.spans.iter().filter(|span| span.straddles);
        report.straddling_tokens += straddling.count() as u64;
        report.turns += turns;
    }

    fn check_labels(&self, document: &Document<'_>, add: &mut Add<'_>) {
        let vocab = self.expected.tokenizer.vocab_size();
        if let Some(at) = document.ids.iter().position(|id| *id >= vocab) {
            let what = format!("id {} is not below {vocab}", document.ids[at]);
            add(Check::Labels, None, what);
        }
        if document
            .labels
            .first()
            .is_some_and(|label| *label != IGNORE_INDEX)
        {
            add(
                Check::Labels,
                None,
                "its first token has a label, although nothing predicts it".to_owned(),
            );
        }
        for span in &document.spans {
            let wrong = (span.start.max(1)..span.end).find(|&at| {
                let label = document.labels[at];
                let wanted = if span.trained {
                    i64::from(document.ids[at])
                } else {
                    i64::from(IGNORE_INDEX)
                };
                i64::from(label) != wanted
            });
            if let Some(at) = wrong {
                let kind = span.kind.name();
                let what = format!(
                    "label {} of token {at}, id {}, in a {kind} span that is {}trained: {}",
                    document.labels[at],
                    document.ids[at],
                    if span.trained { "" } else { "not " },
                    self.around(document, at)
                );
                add(Check::Labels, span.message, what);
            }
        }
    }

    fn check_kinds(&self, document: &Document<'_>, add: &mut Add<'_>) {
        let mut roles: BTreeMap<u32, SpanKind> = BTreeMap::new();
        for span in &document.spans {
            let foreign = matches!(
                span.kind,
                SpanKind::Scaffold | SpanKind::System | SpanKind::User | SpanKind::ToolOutput
            );
            let foreign = foreign && !self.expected.other_trained.contains(&span.kind);
            if span.trained && (foreign || span.straddles || span.repeated) {
                let what = format!(
                    "{} is trained: {}",
                    if foreign {
                        span.kind.name()
                    } else if span.straddles {
                        "a straddling token"
                    } else {
                        "what an earlier window trains"
                    },
                    self.around(document, span.start)
                );
                add(Check::Foreign, span.message, what);
            }
            let role = match span.assistant() {
                Some(_) => SpanKind::Answer,
                None => span.kind,
            };
            if let Some(message) = span.message.filter(|_| span.kind != SpanKind::Scaffold) {
                let known = *roles.entry(message).or_insert(role);
                if known != role {
                    let what = format!(
                        "{} and {} in one message: {}",
                        known.name(),
                        role.name(),
                        self.around(document, span.start)
                    );
                    add(Check::Roles, Some(message), what);
                }
            }
        }
    }

    fn check_control(&self, document: &Document<'_>, add: &mut Add<'_>) {
        if self.expected.content_is_free {
            return;
        }
        for span in &document.spans {
            if matches!(
                span.kind,
                SpanKind::Scaffold | SpanKind::Stop | SpanKind::Tokens
            ) {
                continue;
            }
            let own = self.expected.own_control.get(&span.kind);
            for at in span.start..span.end {
                let id = document.ids[at];
                let known = || own.is_some_and(|own| own.contains(&id));
                // A stop token that takes the white space before it begins in the answer.
                let ends_turn = || at + 1 == span.end && self.expected.stop_ids.contains(&id);
                let control = self.expected.control.class(id) == TokenClass::Control;
                if control && !known() && !(span.assistant().is_some() && ends_turn()) {
                    let what = format!(
                        "control token {id} in {} text: {}",
                        span.kind.name(),
                        self.around(document, at)
                    );
                    add(Check::Control, span.message, what);
                }
            }
        }
    }

    fn check_bos(&self, document: &Document<'_>, add: &mut Add<'_>) {
        let Some(bos) = self.expected.bos else { return };
        let count = document.ids.iter().filter(|id| **id == bos).count();
        let doubled = document.ids.starts_with(&[bos, bos]);
        if doubled || self.expected.most_bos == 1 && count > 1 {
            let what = format!("{count} beginning-of-sequence tokens");
            add(Check::Bos, None, what);
        }
    }

    fn check_start(&self, document: &Document<'_>, group: &Group<'_>, add: &mut Add<'_>) {
        let expected = &self.expected.headers;
        // a window may begin with the end of a prompt, inside of a thought that is not trained
        let tail = self.expected.windows && group.spans.first().is_some_and(|it| !it.trained);
        let cut = (document.begins_late || tail) && group.start() == 0;
        let Some(header) = group.header(document.ids).filter(|_| !cut) else {
            return;
        };
        if !expected.is_empty() && !expected.iter().any(|known| known.fits(&header)) {
            let what = format!(
                "the turn begins where the template ends no header: {}",
                self.around(document, group.start())
            );
            add(Check::Start, Some(group.message), what);
        }
    }

    /// Within a turn, policy decides by kind: all of a kind is trained, or nothing.
    fn check_gaps(&self, document: &Document<'_>, group: &Group<'_>, add: &mut Add<'_>) {
        let mut trained: BTreeMap<u8, bool> = BTreeMap::new();
        for span in group
            .spans
            .iter()
            .filter(|it| !it.straddles && !it.repeated)
        {
            let known = *trained.entry(span.kind as u8).or_insert(span.trained);
            if known != span.trained {
                let what = format!(
                    "one part of its {} is trained, another is not: {}",
                    span.kind.name(),
                    self.around(document, span.start)
                );
                add(Check::Gaps, Some(group.message), what);
            }
        }
        let ids = &document.ids[group.start()..group.end()];
        let bytes = |id: &u32| self.expected.tokenizer.token_bytes(*id);
        if ids
            .iter()
            .all(|id| bytes(id).is_none_or(|it| it.is_empty()))
        {
            let what = "a trained turn without text".to_owned();
            add(Check::Empty, Some(group.message), what);
        }
    }

    /// Returns the number of trained turns.
    fn check_stops(&self, document: &Document<'_>, groups: &[Group<'_>], add: &mut Add<'_>) -> u64 {
        let mut turns: BTreeMap<u32, Vec<&Group<'_>>> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.is_trained()) {
            turns.entry(group.message).or_default().push(group);
        }
        let last = turns.keys().next_back().copied();
        for (message, groups) in &turns {
            self.check_stop(document, *message, groups, last == Some(*message), add);
        }
        turns.len() as u64
    }

    fn check_stop(
        &self,
        document: &Document<'_>,
        message: u32,
        groups: &[&Group<'_>],
        last: bool,
        add: &mut Add<'_>,
    ) {
        let spans = || groups.iter().flat_map(|group| group.spans);
        let stops: Vec<&Span> = spans()
            .filter(|span| span.kind == SpanKind::Stop && span.trained)
            .collect();
        let end = groups.last().map_or(0, |group| group.end());
        let folded = stops.is_empty()
            && end > 0
            && spans().next_back().is_some_and(|span| span.trained)
            && self.expected.stop_ids.contains(&document.ids[end - 1]);
        let found = stops.len() + usize::from(folded);
        let continues = document.spans.last().filter(|span| span.continues);
        let wanted = match self.expected.stop_policy {
            StopPolicy::Turn => usize::from(self.expected.has_stop),
            StopPolicy::Last => usize::from(self.expected.has_stop && last && continues.is_none()),
            StopPolicy::None => 0,
        };
        // a slice that another follows ends inside of an answer, not with a stop that is masked
        let sliced = continues.is_some_and(|span| span.kind != SpanKind::Stop);
        let cut = (self.expected.may_cut || sliced) && end == document.ids.len();
        let left_out = self.expected.stop_left_out[usize::from(last)];
        if found != wanted && !((cut || left_out) && found < wanted) {
            let what = format!(
                "{found} trained stop tokens, not {wanted}: {}",
                self.around(document, end.saturating_sub(1))
            );
            add(Check::Stop, Some(message), what);
        }
        for stop in stops {
            let text = self.expected.text(&document.ids[stop.start..stop.end]);
            let known = self
                .expected
                .stops
                .iter()
                .any(|known| known.ends_with(&text));
            if text.is_empty() || !known {
                let what = format!("{text:?} is no stop token");
                add(Check::Stop, Some(message), what);
            }
            if spans().any(|span| span.trained && span.start >= stop.end) {
                let what = format!(
                    "trained text after the stop token: {}",
                    self.around(document, stop.end)
                );
                add(Check::Stop, Some(message), what);
            }
        }
    }

    /// The text around a token, with a mark before it.
    fn around(&self, document: &Document<'_>, at: usize) -> String {
        let from = at.saturating_sub(SHOWN);
        let to = (at + SHOWN).min(document.ids.len());
        let decode = |ids: &[u32]| {
            let text = self.expected.tokenizer.decode(ids, false);
            text.unwrap_or_default()
        };
        let (before, after) = (
            decode(&document.ids[from..at]),
            decode(&document.ids[at..to]),
        );
        format!("{before:?} | {after:?}")
    }
}

/// Takes a finding of the document.
type Add<'f> = dyn FnMut(Check, Option<u32>, String) + 'f;
