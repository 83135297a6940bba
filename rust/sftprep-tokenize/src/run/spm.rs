//! Text of sentencepiece vocabularies: nothing splits it, so it is cut where no token can cross.

use super::State;
use crate::cut::char_len;
use crate::encoder::{Encoding, append};
use crate::plan::{Plan, Prefix};

impl State {
    pub(super) fn sentencepiece(
        &mut self,
        plan: &Plan,
        prefix: Prefix,
        t: &[u8],
        start: usize,
        out: &mut Encoding,
    ) {
        let spaced = t[start] == b' ' || t[start..].starts_with("▁".as_bytes());
        let dummy = match prefix {
            Prefix::Never => false,
            Prefix::Always => true,
            Prefix::Unspaced => !spaced,
            Prefix::First => !spaced && start == 0,
        };
        let p = if dummy && !(self.goes_on && start == 0) {
            self.dummy_prefix(plan, t, start, out)
        } else {
            start
        };
        self.push_units(plan, t, p, true, out);
    }

    /// Encodes the first unit with a space in front that is not in the text; returns its end.
    fn dummy_prefix(&mut self, plan: &Plan, t: &[u8], start: usize, out: &mut Encoding) -> usize {
        let mut buffer = std::mem::take(&mut self.prefixed);
        buffer.clear();
        buffer.push(b' ');
        let first = start + char_len(t[start]).max(1);
        buffer.extend_from_slice(&t[start..first.min(t.len())]);
        let mut end = start;
        if plan.bridges.crosses(&buffer, 0, 1, true) {
            end = plan.bridges.unit(t, start, true);
            buffer.truncate(1);
            buffer.extend_from_slice(&t[start..end]);
        } else {
            buffer.truncate(1);
        }
        self.compute(plan, &buffer, true);
        self.lens[0] -= 1;
        append(&self.ids, &self.lens, start, out);
        self.prefixed = buffer;
        end
    }

    /// Cuts `t[p..]` into units and puts them into the batch.
    pub(super) fn push_units(
        &mut self,
        plan: &Plan,
        t: &[u8],
        p: usize,
        spm: bool,
        out: &mut Encoding,
    ) {
        let (mut start, mut at) = (p, p);
        let mut cuts = std::mem::take(&mut self.cuts);
        while at < t.len() {
            at = plan.bridges.block(t, at, spm, &mut cuts);
            for &cut in cuts.found() {
                let whole = start == p && cut as usize == t.len();
                let mark = if whole { 0 } else { plan.unit_mark() };
                self.push_range(plan, t, start, cut as usize, mark, out);
                start = cut as usize;
            }
        }
        self.cuts = cuts;
    }
}
