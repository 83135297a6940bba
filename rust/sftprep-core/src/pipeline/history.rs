//! Samples of one turn each, for rows of which a template shows only the last turn in full.

use sftprep_template::Labelled;

use super::prepare::{Failure, Prepared, Worker};
use crate::types::Conversation;

impl Worker<'_> {
    /// One sample per trained turn, each cut off behind its turn. `None` if that brings nothing
    /// back, because the template leaves out the same where nothing follows.
    pub(super) fn per_turn(
        &mut self,
        conversation: &Conversation,
        whole: &Labelled,
        turns: &[u32],
    ) -> Result<Option<Vec<Prepared>>, Failure> {
        let mut samples = Vec::with_capacity(turns.len());
        let mut better = false;
        for &turn in turns {
            let cut = up_to(conversation, turn);
            let labelled = self.render(&cut)?;
            better |= lacks(whole, turn) > lacks(&labelled, turn);
            let mut sample = self.sample(&cut, labelled, &[turn], Some(turn))?;
            sample.turn = Some(turn);
            samples.push(sample);
        }
        Ok(better.then_some(samples))
    }
}

/// The conversation up to a message, that one included.
pub(super) fn up_to(conversation: &Conversation, message: u32) -> Conversation {
    Conversation {
        messages: conversation.messages[..=message as usize].to_vec(),
        ..conversation.clone()
    }
}

/// Whether a turn to be trained lost reasoning, or its proof, to the messages after it.
pub(super) fn depends_on_what_follows(
    conversation: &Conversation,
    labelled: &Labelled,
    turns: &[u32],
) -> bool {
    let followed = |message: u32| message as usize + 1 < conversation.messages.len();
    labelled.turns.iter().any(|turn| match turn {
        Ok(turn) => turn.dropped_as_history && turns.contains(&turn.message),
        Err(refusal) => followed(refusal.message) && turns.contains(&refusal.message),
    })
}

/// How much of a turn is missing: fields, or all of it if it is not proven.
pub(super) fn lacks(labelled: &Labelled, message: u32) -> usize {
    let turn = labelled.turns.iter().find(|turn| match turn {
        Ok(turn) => turn.message == message,
        Err(refusal) => refusal.message == message,
    });
    match turn {
        Some(Ok(turn)) => turn.dropped.len(),
        _ => usize::MAX,
    }
}
