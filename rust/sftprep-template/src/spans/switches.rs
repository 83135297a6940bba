//! Generation prompts under the variables by which templates turn thinking on and off.

use super::Session;
use super::header::{at_border, common};
use super::pieces::Pieces;
use crate::data::{Data, Map};
use crate::request::Request;

/// Variables that templates read to switch thinking.
const SWITCHES: [(&str, &[SwitchValue]); 4] = [
    (
        "enable_thinking",
        &[SwitchValue::Bool(true), SwitchValue::Bool(false)],
    ),
    (
        "thinking",
        &[SwitchValue::Bool(true), SwitchValue::Bool(false)],
    ),
    (
        "reasoning_effort",
        &[SwitchValue::Text("none"), SwitchValue::Text("high")],
    ),
    (
        "thinking_mode",
        &[SwitchValue::Text("on"), SwitchValue::Text("off")],
    ),
];

#[derive(Clone, Copy)]
enum SwitchValue {
    Bool(bool),
    Text(&'static str),
}

impl Session<'_> {
    /// How much the generation prompts of all thinking switches share, up to a border.
    pub(super) fn shared_header(
        &self,
        request: &Request<'_>,
        index: u32,
        full: &str,
    ) -> Option<usize> {
        let mut shared = None;
        for other in self.switched_prompts(request, index) {
            if other != full {
                let len = common(&other, full).min(shared.unwrap_or(usize::MAX));
                shared = Some(at_border(full, len));
            }
        }
        shared
    }

    /// The end of the longest generation prompt of a thinking switch that stands at the head of
    /// `gap` in full, within `limit`: what inference gives where the model is to think like this.
    pub(super) fn switched_prompt(
        &self,
        request: &Request<'_>,
        gap: &str,
        index: u32,
        limit: usize,
    ) -> Option<usize> {
        self.switched_prompts(request, index)
            .filter(|prompt| !prompt.trim().is_empty() && gap.starts_with(prompt.as_str()))
            .map(|prompt| prompt.len())
            // white space between prompt and text is the template's, not the turn's
            .filter(|len| {
                *len == limit || !gap.get(*len..limit).unwrap_or_default().trim().is_empty()
            })
            .max()
    }

    /// What stands before an answer under each value of the thinking switches that are read.
    fn switched_prompts(&self, request: &Request<'_>, index: u32) -> impl Iterator<Item = String> {
        let before = &request.messages[..index as usize];
        let values = SWITCHES
            .iter()
            .filter(|(name, _)| self.template.reads(name))
            .flat_map(|(name, values)| values.iter().map(move |value| (*name, *value)));
        values.filter_map(move |(name, value)| {
            let mut kwargs: Map = request.kwargs.clone();
            kwargs.insert(
                name,
                match value {
                    SwitchValue::Bool(flag) => Data::Bool(flag),
                    SwitchValue::Text(text) => Data::from(text),
                },
            );
            let prompted = self.probe(request, before, true, &kwargs)?;
            let view = Pieces::new(&prompted);
            Some(view.text[view.anchor(index, view.text.len())..].to_owned())
        })
    }
}
