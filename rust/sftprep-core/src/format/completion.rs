//! `prompt` and `completion`, as two texts or as two lists of messages; and plain `text`.

use sftprep_template::Data;

use super::messages::Turns;
use super::row::{Row, shown, wrong_type};
use crate::error::{Code, Reject};
use crate::types::Sample;

pub(super) fn parse(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let columns = [row.column("prompt"), row.column("completion")];
    let prompt = row.require("prompt")?;
    let completion = row.require("completion")?;
    match (prompt, completion) {
        (Data::Str(prompt), Data::Str(completion)) => {
            if prompt.is_empty() && completion.is_empty() {
                return Err(empty(&columns.join(" and ")));
            }
            Ok(Sample::Completion { prompt, completion })
        }
        (Data::List(prompt), Data::List(completion)) => {
            let mut turns = Turns::default();
            turns.extend(prompt, columns[0], row)?;
            turns.set_context();
            if completion.is_empty() {
                return Err(empty(columns[1]));
            }
            turns.extend(completion, columns[1], row)?;
            turns.finish(columns[1], row).map(Sample::Conversation)
        }
        (prompt @ (Data::Str(_) | Data::List(_)), completion) => {
            let wanted = format!(
                "of the same kind as {}, which is {}",
                columns[0],
                shown(&prompt)
            );
            Err(wrong_type(&columns[1], &completion, &wanted))
        }
        (prompt, _) => Err(wrong_type(
            &columns[0],
            &prompt,
            "a string or an array of messages",
        )),
    }
}

pub(super) fn parse_text(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let text = row.require_text("text")?;
    if text.is_empty() {
        return Err(empty(row.column("text")));
    }
    Ok(Sample::Text(text))
}

fn empty(column: &str) -> Reject {
    Reject::new(Code::FormatEmpty, format!("{column} is empty")).at_field(column)
}
