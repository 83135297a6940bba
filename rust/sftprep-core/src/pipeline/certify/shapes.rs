//! The conversation shapes that a template is tried with.

use serde_json::Value;

use super::super::{Recipe, row_parser};
use crate::error::{Code, Error, Result};
use crate::format::Format;
use crate::json::{self, JsonNotes};
use crate::label::TokenClass;
use crate::types::{Conversation, Sample};

const SHAPES: &str = include_str!("../../../assets/certify/shapes.json");

/// Stands in the shapes for the control tokens of the template under trial.
const CONTROL: &str = "⟦control⟧";

/// Control tokens that one text spells, at most; some tokenizers have hundreds.
const MAX_SPELLED: usize = 48;

/// A conversation that templates are tried with.
pub(super) struct Shape {
    /// Its name, which stays from version to version.
    pub(super) name: String,
    /// What is special about it.
    pub(super) why: String,
    /// The conversation.
    pub(super) conversation: Conversation,
}

impl Shape {
    /// Whether the row itself spells control tokens.
    pub(super) fn spells_control(&self) -> bool {
        self.name.starts_with("control_")
    }
}

/// All shapes, in the form in which a recipe hands rows to its template.
pub(super) fn shapes(recipe: &Recipe) -> Result<Vec<Shape>> {
    let broken = |what: String| Error::new(Code::RunInternal, format!("bundled shapes: {what}"));
    let control = Value::String(spelled(recipe)).to_string();
    let text = SHAPES.replace("\\u27e6control\\u27e7", &control[1..control.len() - 1]);
    debug_assert!(!text.contains(CONTROL));
    let list: Vec<Value> = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
    let parser = row_parser(recipe, Format::Messages)?;
    let mut notes = JsonNotes::default();
    let mut shapes = Vec::with_capacity(list.len());
    for shape in &list {
        let word = |key: &str| shape[key].as_str().unwrap_or_default().to_owned();
        let row = json::parse(shape["row"].to_string().as_bytes(), &mut notes);
        let sample = row.and_then(|row| parser.parse(row, &mut notes));
        match sample {
            Ok(Sample::Conversation(conversation)) => shapes.push(Shape {
                name: word("name"),
                why: word("why"),
                conversation,
            }),
            Ok(_) => return Err(broken(format!("{} is no conversation", word("name")))),
            Err(reject) => return Err(broken(format!("{}: {}", word("name"), reject.detail))),
        }
    }
    Ok(shapes)
}

/// Text that spells the control tokens and stop tokens of a recipe.
fn spelled(recipe: &Recipe) -> String {
    let control = recipe
        .control
        .iter()
        .filter(|(_, class)| *class == TokenClass::Control)
        .filter_map(|(id, _)| recipe.tokenizer.id_to_token(id));
    let mut tokens: Vec<String> = recipe.stop_tokens.iter().cloned().chain(control).collect();
    let mut seen = std::collections::HashSet::new();
    tokens.retain(|token| seen.insert(token.clone()));
    tokens.truncate(MAX_SPELLED);
    if tokens.is_empty() {
        return "<|end|>".to_owned();
    }
    tokens.join(" ")
}
