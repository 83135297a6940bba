//! Where a conversation that is too long is cut: a search over the messages at which a window may
//! begin, guided by lengths in the whole and decided by what a window really measures.
//!
//! Nothing here renders or tokenizes. Windows follow one another: each trains as many turns as fit
//! behind the nearest message at which it may begin, then begins as far back as it still fits.

use std::ops::Range;

/// Starts that are refused before only the beginning of the conversation is tried any more.
const MAX_REFUSED: usize = 4;

/// A message at which a window may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The message.
    pub(super) message: u32,
    /// Whether it lies inside of an exchange: an assistant's message. Such a window lacks what the
    /// user asked, so it begins there only if the exchange alone is too long.
    pub(super) within: bool,
}

/// What is known of a conversation before a window of it is measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    /// Messages at its beginning that every window keeps.
    pub(super) head: u32,
    /// First token of every message in the whole, and one past the last token.
    pub(super) at: Vec<u32>,
    /// Where windows may begin, ascending; the first is the message behind the head.
    pub(super) starts: Vec<Start>,
    /// The messages to train, ascending.
    pub(super) turns: Vec<u32>,
}

/// A window that was tried.
pub(super) enum Probe<P> {
    /// It has that many tokens.
    Window { tokens: u32, made: P },
    /// The template does not take it, or does not show its turns as the whole does.
    Refused(String),
}

/// A window of the plan. It has more than `max_len` tokens only if it trains one turn, and no
/// shorter window with that turn was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned<P> {
    /// Its first message behind the head.
    pub(super) start: u32,
    /// The turns that it trains, as indices of [`Outline::turns`].
    pub(super) turns: Range<usize>,
    /// Its tokens.
    pub(super) tokens: u32,
    /// What the probe made of it.
    pub(super) made: P,
}

/// The windows of a conversation, in order.
#[derive(Debug)]
pub(super) struct Plan<P> {
    pub(super) windows: Vec<Planned<P>>,
    /// Why turns are in none of them.
    pub(super) lost: Vec<String>,
}

/// Cuts a conversation into windows; with `last_only` makes the last of them alone.
///
/// `probe` makes the window that begins at a message and ends with the last of some turns.
pub(super) fn plan<P, E>(
    outline: &Outline,
    max_len: u32,
    last_only: bool,
    probe: impl FnMut(u32, Range<usize>) -> Result<Probe<P>, E>,
) -> Result<Plan<P>, E> {
    let mut search = Search {
        outline,
        max_len,
        probe,
        within_refused: false,
    };
    let count = outline.turns.len();
    let mut first = if last_only { count - 1 } else { 0 };
    let (mut windows, mut lost) = (Vec::new(), Vec::new());
    while first < count {
        match search.group(first)? {
            Ok(planned) => {
                first = planned.turns.end;
                windows.push(planned);
            }
            Err(why) => {
                first += 1;
                lost.push(why);
            }
        }
    }
    Ok(Plan { windows, lost })
}

impl Outline {
    /// The last message of a window that ends with a turn.
    pub(super) fn end(&self, turn: u32) -> u32 {
        turn.max(self.head).min(self.at.len() as u32 - 2)
    }

    /// Tokens of a window, as far as the whole tells.
    fn estimate(&self, start: u32, turn: u32) -> i64 {
        let at = |message: u32| i64::from(self.at[message as usize]);
        at(self.head) + at(self.end(turn) + 1) - at(start)
    }

    /// The message at which the exchange of a turn begins.
    fn exchange(&self, turn: u32) -> u32 {
        let mut own = self.starts.iter().rev().filter(|it| !it.within);
        own.find(|it| it.message <= turn)
            .map_or(self.head, |it| it.message)
    }
}

enum Filled<P> {
    /// Fits, or is too long wherever it begins.
    Window(Planned<P>),
    Refused(String),
}

struct Search<'o, F> {
    outline: &'o Outline,
    max_len: u32,
    probe: F,
    /// Whether the template refused to begin with an assistant's message.
    within_refused: bool,
}

impl<F> Search<'_, F> {
    /// The window that begins with turn number `first`; or why there is none.
    fn group<P, E>(&mut self, first: usize) -> Result<Result<Planned<P>, String>, E>
    where
        F: FnMut(u32, Range<usize>) -> Result<Probe<P>, E>,
    {
        let mut last = self.reach(first);
        loop {
            match self.fill(first..last + 1)? {
                Filled::Window(it) if it.tokens <= self.max_len || last == first => {
                    return Ok(Ok(it));
                }
                Filled::Refused(why) if last == first => return Ok(Err(why)),
                Filled::Window(it) => {
                    let end = |at: usize| {
                        let turn = self.outline.turns[at];
                        self.outline.at[self.outline.end(turn) as usize + 1]
                    };
                    let limit = end(last).saturating_sub(it.tokens - self.max_len);
                    let fewer = (first..last).rev().find(|at| end(*at) <= limit);
                    last = fewer.unwrap_or(first);
                }
                Filled::Refused(_) => last = first + (last - first) / 2,
            }
        }
    }

    /// The last turn that should fit behind the nearest start of turn number `first`.
    fn reach(&self, first: usize) -> usize {
        let outline = self.outline;
        let (turns, max_len) = (&outline.turns, i64::from(self.max_len));
        let turn = turns[first];
        let mut near = outline.exchange(turn);
        if outline.estimate(near, turn) > max_len {
            let starts = self.candidates(turn);
            near = starts.last().map_or(near, |it| it.message);
        }
        let fits = |at: &usize| outline.estimate(near, turns[*at]) <= max_len;
        (first + 1..turns.len())
            .take_while(fits)
            .last()
            .unwrap_or(first)
    }

    /// Where a window with a turn may begin, ascending.
    fn candidates(&self, turn: u32) -> Vec<Start> {
        let outline = self.outline;
        let exchange = outline.exchange(turn);
        let may = |it: &&Start| {
            if it.within {
                !self.within_refused && exchange < it.message && it.message < turn
            } else {
                it.message <= outline.end(turn)
            }
        };
        outline.starts.iter().filter(may).copied().collect()
    }

    /// The window with some turns that begins as early as it fits.
    fn fill<P, E>(&mut self, turns: Range<usize>) -> Result<Filled<P>, E>
    where
        F: FnMut(u32, Range<usize>) -> Result<Probe<P>, E>,
    {
        let outline = self.outline;
        let last = outline.turns[turns.end - 1];
        let starts = self.candidates(outline.turns[turns.start]);
        let estimates = starts.iter().map(|it| outline.estimate(it.message, last));
        let mut bracket = Bracket::new(estimates.collect(), self.max_len);
        let (mut best, mut long, mut why) = (None, None, String::new());
        while let Some(at) = bracket.next(best.is_some()) {
            match (self.probe)(starts[at].message, turns.clone())? {
                Probe::Window { tokens, made } => {
                    let planned = Planned {
                        start: starts[at].message,
                        turns: turns.clone(),
                        tokens,
                        made,
                    };
                    if bracket.measured(at, tokens) {
                        best = Some(planned);
                    } else {
                        long = Some(planned);
                    }
                }
                Probe::Refused(reason) => {
                    why = reason;
                    bracket.refused += 1;
                    if starts[at].within {
                        self.within_refused = true;
                        bracket.skip(|at| starts[at].within);
                    }
                }
            }
        }
        Ok(best.or(long).map_or(Filled::Refused(why), Filled::Window))
    }
}

/// The search among starts, ascending: those before `low` are too early, those from `high` on fit.
struct Bracket {
    /// Tokens of the window from each start, as far as the whole tells.
    estimates: Vec<i64>,
    max_len: i64,
    untried: Vec<bool>,
    low: usize,
    high: usize,
    refused: usize,
    /// By how much the last window was longer than it was thought to be.
    more: i64,
}

impl Bracket {
    fn new(estimates: Vec<i64>, max_len: u32) -> Self {
        Self {
            untried: vec![true; estimates.len()],
            high: estimates.len(),
            estimates,
            max_len: i64::from(max_len),
            low: 0,
            refused: 0,
            more: 0,
        }
    }

    /// The start to try next: the first that should fit; unless one is `found`, also one that
    /// should not.
    fn next(&mut self, found: bool) -> Option<usize> {
        let untried = |at: &usize| self.untried[*at];
        let fits = |at: &usize| self.estimates[*at] + self.more <= self.max_len;
        let mut open = self.low..self.high;
        let enough = self.refused > MAX_REFUSED;
        let next = if found {
            let first = open.find(fits).filter(|_| !enough);
            first.and_then(|first| (first..self.high).find(untried))
        } else if enough {
            (0..1.min(self.untried.len())).find(untried)
        } else {
            let likely = open.find(fits).unwrap_or(self.high.max(1) - 1);
            let later = (likely..self.high).find(untried);
            later.or_else(|| (self.low..likely).rev().find(untried))
        };
        if let Some(at) = next {
            self.untried[at] = false;
        }
        next
    }

    /// Notes what the window from a start measures; returns whether it fits.
    fn measured(&mut self, at: usize, tokens: u32) -> bool {
        self.more = i64::from(tokens) - self.estimates[at];
        let fits = i64::from(tokens) <= self.max_len;
        if fits {
            self.high = at;
        } else {
            self.low = at + 1;
        }
        fits
    }

    /// Leaves some starts out.
    fn skip(&mut self, which: impl Fn(usize) -> bool) {
        for (at, untried) in self.untried.iter_mut().enumerate() {
            *untried &= !which(at);
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
