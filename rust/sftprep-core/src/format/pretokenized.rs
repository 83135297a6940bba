//! `input_ids` made elsewhere, with `labels` or masks that say what is trained.

use sftprep_template::Data;

use super::row::{Row, shown, wrong_type};
use crate::error::{Code, Reject};
use crate::types::{IGNORE_INDEX, Sample, TokenTargets};

/// Columns that hold one 0 or 1 per token; a token is trained where all that are there say 1.
const MASKS: [&str; 3] = ["loss_mask", "completion_mask", "assistant_masks"];

pub(super) fn parse(row: &mut Row<'_>) -> Result<Sample, Reject> {
    let column = row.column("input_ids");
    let ids = row.require("input_ids")?;
    let ids = list(&ids, column)?;
    if ids.is_empty() {
        return Err(Reject::new(Code::FormatEmpty, format!("{column} is empty")).at_field(column));
    }
    let input_ids = ids.iter().enumerate().map(|(index, id)| match id {
        Data::Int(id) if (0..=i64::from(i32::MAX)).contains(id) => Ok(*id as u32),
        other => {
            let wanted = "is not a token id (an integer from 0 to 2147483647)";
            Err(wrong_token(column, index, other, wanted))
        }
    });
    let input_ids = input_ids.collect::<Result<Vec<u32>, _>>()?;
    let mut trained: Option<Vec<bool>> = None;
    if let Some(labels) = row.take("labels") {
        trained = Some(from_labels(&labels, &input_ids, row.column("labels"))?);
    }
    for wanted in MASKS {
        let Some(mask) = row.take(wanted) else {
            continue;
        };
        let mask = from_mask(&mask, input_ids.len(), row.column(wanted))?;
        match &mut trained {
            None => trained = Some(mask),
            Some(trained) => trained
                .iter_mut()
                .zip(mask)
                .for_each(|(all, one)| *all &= one),
        }
    }
    let targets = trained.map_or(TokenTargets::All, TokenTargets::Mask);
    Ok(Sample::Tokens { input_ids, targets })
}

fn from_labels(labels: &Data, ids: &[u32], column: &str) -> Result<Vec<bool>, Reject> {
    let labels = list(labels, column)?;
    check_length(labels.len(), ids.len(), column)?;
    let pairs = labels.iter().zip(ids).enumerate();
    pairs
        .map(|(index, (label, id))| match label {
            Data::Int(label) if *label == i64::from(IGNORE_INDEX) => Ok(false),
            Data::Int(label) if *label == i64::from(*id) => Ok(true),
            other => {
                let wanted = format!("is neither -100 nor the token's id {id}");
                Err(wrong_token(column, index, other, &wanted))
            }
        })
        .collect()
}

fn from_mask(mask: &Data, tokens: usize, column: &str) -> Result<Vec<bool>, Reject> {
    let mask = list(mask, column)?;
    check_length(mask.len(), tokens, column)?;
    let flags = mask.iter().enumerate();
    flags
        .map(|(index, flag)| match flag {
            Data::Bool(flag) => Ok(*flag),
            Data::Int(flag @ (0 | 1)) => Ok(*flag == 1),
            other => Err(wrong_token(column, index, other, "is neither 0 nor 1")),
        })
        .collect()
}

fn list<'a>(value: &'a Data, column: &str) -> Result<&'a [Data], Reject> {
    value
        .as_list()
        .ok_or_else(|| wrong_type(&column, value, "an array of integers"))
}

fn check_length(seen: usize, tokens: usize, column: &str) -> Result<(), Reject> {
    if seen == tokens {
        return Ok(());
    }
    let detail = format!("{column} has {seen} values for {tokens} tokens");
    Err(Reject::new(Code::FormatTokens, detail).at_field(column))
}

fn wrong_token(column: &str, index: usize, seen: &Data, wanted: &str) -> Reject {
    let field = format!("{column}[{index}]");
    let detail = format!("{field} is {}, which {wanted}", shown(seen));
    Reject::new(Code::FormatTokens, detail).at_field(field)
}
