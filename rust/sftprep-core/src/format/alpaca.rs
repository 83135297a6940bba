//! Alpaca: `instruction`, `input`, `output`, with `system` and `history` as later tools added them.

use std::sync::Arc;

use sftprep_template::Data;

use super::AlpacaInput;
use super::messages::{Turn, Turns};
use super::row::{Row, wrong_type};
use crate::error::{Code, Reject};
use crate::types::Sample;

pub(super) fn parse(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let instruction = row.require_text("instruction")?;
    let input = row.take_text("input")?.filter(|input| !input.is_empty());
    let output = row.require_text("output")?;
    let mut turns = Turns::default();
    if let Some(system) = row.take_text("system")?.filter(|text| !text.is_empty()) {
        turns.push(Turn::new("system", Data::Str(system)));
    }
    history(&mut turns, row)?;
    turns.push(question(instruction, input, row)?);
    turns.push(Turn::new("assistant", Data::Str(output)));
    let column = row.column("instruction");
    turns.finish(column, row).map(Sample::Conversation)
}

/// The user's message: instruction and input, joined by a newline where both are there.
fn question(instruction: Arc<str>, input: Option<Arc<str>>, row: &Row<'_>) -> Result<Turn, Reject> {
    let Some(input) = input else {
        if instruction.is_empty() {
            let column = row.column("instruction");
            let detail = format!("{column} is empty, and there is no input");
            return Err(Reject::new(Code::FormatEmpty, detail).at_field(column));
        }
        return Ok(Turn::new("user", Data::Str(instruction)));
    };
    Ok(match row.options.alpaca_input {
        AlpacaInput::Join if instruction.is_empty() => Turn::new("user", Data::Str(input)),
        AlpacaInput::Join => {
            let content = format!("{instruction}\n{input}");
            Turn::new("user", Data::Str(content.into()))
        }
        AlpacaInput::Field => {
            let mut turn = Turn::new("user", Data::Str(instruction));
            turn.message.insert("input", Data::Str(input));
            turn
        }
    })
}

/// Earlier question and answer pairs; their answers are context.
fn history(turns: &mut Turns, row: &mut Row<'_>) -> Result<(), Reject> {
    let column = row.column("history");
    let pairs = match row.take("history") {
        None => return Ok(()),
        Some(Data::List(pairs)) => pairs,
        Some(other) => return Err(wrong_type(&column, &other, "an array of pairs")),
    };
    for (index, pair) in pairs.into_iter().enumerate() {
        let texts = pair
            .as_list()
            .map(|pair| (pair.len(), pair.first(), pair.get(1)));
        let Some((2, Some(Data::Str(asked)), Some(Data::Str(answered)))) = texts else {
            let field = format!("{column}[{index}]");
            return Err(wrong_type(
                &field,
                &pair,
                "a pair of strings [question, answer]",
            ));
        };
        turns.push(Turn::new("user", Data::Str(asked.clone())));
        let mut answer = Turn::new("assistant", Data::Str(answered.clone()));
        answer.train = Some(false);
        turns.push(answer);
    }
    Ok(())
}
