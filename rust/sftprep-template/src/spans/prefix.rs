//! Starts that other renderings fix where the generation prompt does not.

use super::header::Place;
use super::pieces::Pieces;
use super::{ASSISTANT, Method, Rule, Session};
use crate::request::Request;

impl Session<'_> {
    /// The start by prefix difference: both the messages before the turn, rendered as they would
    /// be for inference, and the messages up to it must be how the whole text begins.
    ///
    /// A template that gives no header at inference may still write one in training. What stands
    /// before a plain answer would be such a header; where it stands before this turn too, the
    /// difference proves nothing.
    pub(super) fn start_by_prefix(
        &self,
        request: &Request<'_>,
        pieces: &Pieces<'_>,
        place: Place,
    ) -> Option<usize> {
        let first = place.first?;
        let index = place.index as usize;
        let before = self.probe(request, &request.messages[..index], true, request.kwargs)?;
        let upto = self.probe(request, &request.messages[..=index], false, request.kwargs)?;
        let start = before.text.len();
        let both = pieces.text.starts_with(before.text.as_str())
            && pieces.text.starts_with(upto.text.trim_end())
            && upto.text.starts_with(before.text.as_str());
        if !both || start > first || before.text.is_empty() {
            return None;
        }
        let own = pieces.text[start..first].trim_start();
        let plain = self.plain_gap(request, place.index, ASSISTANT)?;
        let header = plain.get(start.checked_sub(place.anchor)?..)?.trim();
        (!own.is_empty() && !header.is_empty() && !own.starts_with(header)).then_some(start)
    }

    /// The start of a turn of a role that no generation prompt opens: behind what stands before a
    /// plain message of that role.
    pub(super) fn start_of_role(
        &self,
        request: &Request<'_>,
        pieces: &Pieces<'_>,
        place: Place,
        role: &str,
    ) -> Result<(usize, Method), (Rule, String, usize)> {
        let first = place.first.unwrap_or(place.window);
        let refused = || {
            let detail =
                format!("what stands before the text is not before a plain {role} message");
            (Rule::C, detail, first)
        };
        let plain = self.plain_gap(request, place.index, role);
        let header = plain.ok_or_else(refused)?;
        let start = place.anchor + header.len();
        let stands = pieces.text[place.anchor..].starts_with(&header) && start <= first;
        stands
            .then_some((start, Method::RoleContrast))
            .ok_or_else(refused)
    }
}
