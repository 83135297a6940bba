//! The search for windows over conversations that are nothing but lengths.

use proptest::prelude::*;

use super::*;

/// A conversation: tokens of its head, then of each message with its role (`u`, `a`, `t`).
#[derive(Debug, Clone)]
struct Talk {
    head: u32,
    messages: Vec<(char, u32)>,
    /// Tokens that every rendering has on top.
    frame: u32,
    /// Whether the template takes windows that begin with an assistant.
    takes_within: bool,
    /// The template takes windows that begin at messages of at least this number, and the first.
    takes_from: u32,
}

impl Talk {
    fn outline(&self) -> Outline {
        let mut at = vec![0, self.head];
        for (_, tokens) in &self.messages {
            at.push(at.last().unwrap() + tokens);
        }
        let starts = self
            .messages
            .iter()
            .enumerate()
            .filter_map(|(index, (role, _))| {
                let within = index > 0 && *role == 'a';
                (index == 0 || *role == 'u' || within).then_some(Start {
                    message: index as u32 + 1,
                    within,
                })
            });
        let turns = (1..).zip(&self.messages).filter(|(_, it)| it.0 == 'a');
        Outline {
            head: 1,
            at,
            starts: starts.collect(),
            turns: turns.map(|(index, _)| index).collect(),
        }
    }

    fn tokens(&self, start: u32, end: u32) -> u32 {
        let own = &self.messages[start as usize - 1..end as usize];
        self.frame + self.head + own.iter().map(|it| it.1).sum::<u32>()
    }

    fn plan(&self, max_len: u32, last_only: bool) -> (Plan<()>, usize) {
        let outline = self.outline();
        let mut probes = 0;
        let made = plan(&outline, max_len, last_only, |start, turns| {
            probes += 1;
            let within = start > 1 && self.messages[start as usize - 1].0 == 'a';
            if within && !self.takes_within || start > 1 && start < self.takes_from {
                return Ok::<_, ()>(Probe::Refused("no".to_owned()));
            }
            let tokens = self.tokens(start, outline.turns[turns.end - 1]);
            Ok(Probe::Window { tokens, made: () })
        });
        (made.unwrap(), probes)
    }

    fn simple(messages: &str, tokens: u32) -> Self {
        Self {
            head: 5,
            messages: messages.chars().map(|role| (role, tokens)).collect(),
            frame: 0,
            takes_within: true,
            takes_from: 0,
        }
    }
}

fn shape(plan: &Plan<()>) -> Vec<(u32, Range<usize>)> {
    let windows = plan.windows.iter();
    windows.map(|it| (it.start, it.turns.clone())).collect()
}

#[test]
fn windows_take_as_many_turns_as_fit_and_then_as_much_context() {
    let talk = Talk::simple("uauauauaua", 10);
    // room for two exchanges
    let (plan, _) = talk.plan(45, false);
    assert_eq!(shape(&plan), [(1, 0..2), (5, 2..4), (7, 4..5)]);
    // a little room more is no exchange more
    assert_eq!(shape(&talk.plan(64, false).0), shape(&plan));
    assert_eq!(shape(&talk.plan(65, false).0), [(1, 0..3), (5, 3..5)]);
    assert_eq!(shape(&talk.plan(65, true).0), [(5, 4..5)]);
}

#[test]
fn an_exchange_that_is_too_long_is_cut_before_its_calls() {
    let talk = Talk::simple("uatatatata", 10);
    let (plan, _) = talk.plan(45, false);
    // never between a call and its result
    assert_eq!(shape(&plan), [(1, 0..2), (4, 2..3), (6, 3..4), (8, 4..5)]);
    let refusing = Talk {
        takes_within: false,
        ..talk
    };
    let (plan, _) = refusing.plan(45, false);
    let long: Vec<u32> = plan.windows.iter().map(|it| it.tokens).collect();
    assert_eq!(long, [45, 65, 85, 105], "from its question, to be sliced");
    assert!(plan.lost.is_empty());
}

#[test]
fn a_turn_that_fits_nowhere_is_alone_with_its_question() {
    let mut talk = Talk::simple("uauaua", 10);
    talk.messages[3].1 = 500;
    let (plan, _) = talk.plan(45, false);
    assert_eq!(shape(&plan), [(1, 0..1), (3, 1..2), (5, 2..3)]);
    assert_eq!(plan.windows[1].tokens, 515);
}

#[test]
fn a_template_that_takes_no_start_but_the_first_loses_nothing() {
    let talk = Talk {
        takes_from: 99,
        ..Talk::simple(&"ua".repeat(40), 10)
    };
    let (plan, probes) = talk.plan(45, false);
    assert_eq!(plan.windows.len(), 39);
    assert!(plan.windows.iter().all(|it| it.start == 1));
    assert!(probes < 40 * 16, "{probes} probes");
}

#[test]
fn turns_of_which_nothing_is_taken_are_told() {
    let outline = Talk::simple("uaua", 10).outline();
    let plan = plan(&outline, 20, false, |_, _| {
        Ok::<_, ()>(Probe::<()>::Refused("not today".to_owned()))
    });
    let plan = plan.unwrap();
    assert!(plan.windows.is_empty());
    assert_eq!(plan.lost, ["not today", "not today"]);
}

fn talks() -> impl Strategy<Value = Talk> {
    let message = (prop::sample::select(vec!['u', 'a', 't']), 0..60u32);
    let messages = prop::collection::vec(message, 1..40);
    (0..30u32, messages, 0..9u32, any::<bool>(), 0..20u32).prop_map(
        |(head, messages, frame, takes_within, takes_from)| Talk {
            head,
            messages,
            frame,
            takes_within,
            takes_from,
        },
    )
}

proptest! {
    #[test]
    fn every_turn_is_in_one_window(talk in talks(), max_len in 20..200u32) {
        let turns = talk.outline().turns.len();
        prop_assume!(turns > 0);
        let (plan, probes) = talk.plan(max_len, false);
        prop_assert!(plan.lost.is_empty());
        let mut next = 0;
        for window in &plan.windows {
            prop_assert_eq!(window.turns.start, next);
            next = window.turns.end;
            let role = talk.messages[window.start as usize - 1].0;
            prop_assert!(window.start == 1 || role != 't');
            prop_assert!(window.tokens <= max_len || window.turns.len() == 1);
        }
        prop_assert_eq!(next, turns);
        prop_assert!(probes <= turns * 24, "{} probes", probes);
        let (last, _) = talk.plan(max_len, true);
        prop_assert_eq!(last.windows.len(), 1);
        prop_assert_eq!(last.windows[0].turns.end, turns);
    }
}
