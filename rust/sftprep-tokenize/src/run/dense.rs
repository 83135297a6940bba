//! Encoding text of scripts without spaces, window by window (`window.rs`).

use super::window::{MOST, OTHER, Piece, Stretch, Window};
use super::{State, short_key};
use crate::blocks::{Features, Plain, Rules};
use crate::cache::{Entry, SHORT, hash};
use crate::classes::classes;
use crate::dense::{ID, SEVERAL};
use crate::encoder::Encoding;
use crate::plan::Plan;
use crate::split::Split;

/// Bytes within which a character of dense script has to come for a window to be opened.
const AHEAD: usize = 24;

/// Whether a byte begins a character of the scripts that come here (not those of U+0800 to U+2FFF,
/// which stand between words of other scripts).
const fn begins(b: u8) -> bool {
    matches!(b, 0xE3..=0xEF)
}

/// Whether text at a place is for windows.
#[inline]
pub(super) fn ahead(t: &[u8], p: usize) -> bool {
    let next = &t[p..t.len().min(p + AHEAD)];
    next.first().is_some_and(|&b| begins(b)) || next.iter().any(|&b| begins(b))
}

/// Scratch memory, kept from piece to piece: clearing it took longer than using it.
pub(super) struct Scratch {
    window: Window,
    tokens: Tokens,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            window: Window::default(),
            tokens: Tokens {
                ids: [0; ROOM],
                spans: [[0; 2]; ROOM],
                len: 0,
            },
        }
    }
}

/// Tokens that are kept before they are copied: of several windows, for copying few was a call for
/// each.
const ROOM: usize = 1024;

/// Tokens on their way out.
struct Tokens {
    ids: [u32; ROOM],
    spans: [[u32; 2]; ROOM],
    len: usize,
}

impl Tokens {
    #[inline]
    fn add(&mut self, id: u32, start: u32, end: u32) {
        let at = self.len & (ROOM - 1);
        self.ids[at] = id;
        self.spans[at] = [start, end];
        self.len = at + 1;
    }

    /// Makes room for the tokens of a window.
    #[inline]
    fn make_room(&mut self, out: &mut Encoding) {
        if self.len > ROOM - 3 * (MOST + 1) {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Encoding) {
        out.ids.extend_from_slice(&self.ids[..self.len]);
        out.offsets.extend_from_slice(&self.spans[..self.len]);
        self.len = 0;
    }
}

impl State {
    /// Appends the tokens of text from `at` on as long as it is of dense script, ASCII between
    /// included; returns where that ends.
    pub(super) fn dense(
        &mut self,
        plan: &Plan,
        split: &Split,
        t: &[u8],
        mut at: usize,
        out: &mut Encoding,
    ) -> usize {
        let Some(table) = plan.dense.lookup() else {
            return at;
        };
        let rules = Rules::new(split);
        let s = Stretch {
            plan,
            split,
            rules,
            table,
            t,
        };
        let mut scratch = self.scratch.take().unwrap_or_default();
        let Scratch { window, tokens } = &mut *scratch;
        let mut piece: Option<Piece> = None;
        while at < t.len() && (piece.is_some() || ahead(t, at)) {
            let n = self.look(window, &s, at, piece);
            if n > 0 {
                self.emit(plan, t, window, tokens, out);
                at = window.starts[n & MOST] as usize;
            } else if let Some(Piece { end, whole }) = piece {
                // One unit of many characters.
                let to = plan.bridges.unit(&t[..end], at, false);
                let unit = plan.units_differ && !(whole && to == end);
                tokens.flush(out);
                self.long(plan, &t[at..to], at, unit, out);
                at = to;
            } else {
                let end = split.next(classes(), t, at);
                if t[at..end].iter().any(|&b| begins(b)) {
                    piece = Some(Piece { end, whole: true });
                } else {
                    tokens.make_room(out);
                    self.either(plan, t, [at, end], true, tokens, out);
                    at = end;
                }
                continue;
            }
            piece = piece.filter(|p| at < p.end).map(|p| Piece {
                end: p.end,
                whole: false,
            });
        }
        tokens.flush(out);
        self.scratch = Some(scratch);
        at
    }

    #[inline(always)]
    #[allow(unsafe_code, clippy::inline_always)]
    fn look(&self, window: &mut Window, s: &Stretch<'_>, at: usize, piece: Option<Piece>) -> usize {
        match self.features {
            Features::Plain => window.look::<Plain>(s, at, piece),
            // SAFETY: `detect` has found that the processor has these instructions.
            #[cfg(target_arch = "x86_64")]
            Features::Avx2 => unsafe { look_avx2(window, s, at, piece) },
        }
    }

    /// Appends the tokens that a window has found.
    fn emit(
        &mut self,
        plan: &Plan,
        t: &[u8],
        window: &Window,
        tokens: &mut Tokens,
        out: &mut Encoding,
    ) {
        tokens.make_room(out);
        let mut rest = window.begins;
        loop {
            let i = rest.trailing_zeros() as usize & MOST;
            rest &= rest - 1;
            if rest == 0 {
                break;
            }
            let j = rest.trailing_zeros() as usize & MOST;
            let (token, start, end) = (window.tokens[i], window.starts[i], window.starts[j]);
            if token <= ID {
                tokens.add(token, start, end);
            } else if token == OTHER {
                let whole = window.heads >> i & window.heads >> j & 1 != 0;
                self.either(plan, t, [start as usize, end as usize], whole, tokens, out);
            } else if let Some(&[a, b, c, lens]) = plan.dense.several.get((token & ID) as usize) {
                let mut from = start;
                for (k, id) in [a, b, c].into_iter().enumerate().take(lens as usize & 3) {
                    let to = from + (lens >> (8 + 8 * k) & 3);
                    tokens.add(id, from, to);
                    from = to;
                }
            }
        }
    }

    /// Appends the tokens of a unit or pre-token by way of cache and merging.
    fn either(
        &mut self,
        plan: &Plan,
        t: &[u8],
        [start, end]: [usize; 2],
        whole: bool,
        tokens: &mut Tokens,
        out: &mut Encoding,
    ) {
        let mark = if whole { 0 } else { plan.unit_mark() };
        if end - start > SHORT {
            tokens.flush(out);
            return self.long(plan, &t[start..end], start, mark != 0, out);
        }
        let key = short_key(t, start, end) | mark;
        let h = hash(key);
        let known = self.learned.short.get(key, h);
        if let Some((ids, lens)) = known.and_then(Entry::tokens) {
            let mut from = start as u32;
            for (&id, len) in ids.iter().zip(lens) {
                tokens.add(id, from, from + len);
                from += len;
            }
        } else {
            tokens.flush(out);
            self.unknown(plan, t, key, h, start, out);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn look_avx2(window: &mut Window, s: &Stretch<'_>, at: usize, piece: Option<Piece>) -> usize {
    window.look::<crate::blocks::Avx2>(s, at, piece)
}

const _: () = assert!(SEVERAL > OTHER && OTHER > ID);
