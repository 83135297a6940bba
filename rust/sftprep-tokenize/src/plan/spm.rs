//! What is particular to sentencepiece vocabularies: how texts are prepared, and what their cuts
//! follow from.

use super::{Family, Plan, Prefix, Refused, is_type, parts, shown};
use crate::load::File;
use crate::merge::Merger;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// Runs of spaces up to this length are looked at.
const MAX_RUN: usize = 64;

/// Whether a token is made of `▁` alone.
fn is_bars(token: &str) -> bool {
    token.chars().all(|c| c == '▁')
}

impl Plan {
    /// Takes in the pairs of the tokens that merging may form, which are those that their own text
    /// becomes: whatever stands around it, the text of a token that was formed has merged as if
    /// alone. (Half of the pairs of ASCII in a real vocabulary are those of names like
    /// `<unused99>`, which no merge forms.)
    pub(super) fn bridge_formed(&mut self, tokens: &[Cow<'_, [u8]>], formed: &[bool]) {
        for (token, _) in tokens.iter().zip(formed).filter(|(_, formed)| **formed) {
            self.bridges.add(token);
        }
    }

    /// The longest run of spaces after which a text may be cut, if all from two on are such; 0
    /// where they are not.
    ///
    /// Where all merges of `▁` with `▁` come before all of `▁` with anything else, a run merges as
    /// if alone. If its last token then is two or more `▁`, and no token holds `▁▁` and anything
    /// else, nothing crosses the end of the run.
    pub(super) fn longest_run(
        &self,
        ids: &HashMap<&str, u32>,
        rules: &[[u32; 4]],
        tokens: &[Cow<'_, [u8]>],
        formed: &[bool],
    ) -> u32 {
        let (mut bars, mut bar) = (vec![], String::from('▁'));
        while bar.chars().count() <= MAX_RUN {
            bars.extend(ids.get(bar.as_str()));
            bar.push('▁');
        }
        let is_bar = |id: u32| bars.contains(&id);
        let (mut last_pure, mut first_mixed) = (0, u32::MAX);
        for &[a, b, rank, _] in rules {
            match (is_bar(a), is_bar(b)) {
                (true, true) => last_pure = last_pure.max(rank),
                (false, false) => {}
                _ => first_mixed = first_mixed.min(rank),
            }
        }
        let mixed = tokens.iter().zip(formed).any(|(token, &formed)| {
            let token = std::str::from_utf8(token).unwrap_or_default();
            formed && token.contains("▁▁") && !is_bars(token)
        });
        let longer = ids
            .keys()
            .any(|t| is_bars(t) && t.chars().count() > MAX_RUN);
        if mixed || longer || last_pure >= first_mixed {
            return 0;
        }
        let mut merger = Merger::default();
        let whole = |n: &usize| {
            self.merge(&mut merger, &b" ".repeat(*n));
            merger.lens.last().is_some_and(|len| *len >= 2)
        };
        (2..=MAX_RUN).take_while(whole).last().unwrap_or(0) as u32
    }
}

/// What the normalizer and the pre-tokenizer do.
pub(super) fn spm_family(file: &File<'_>) -> Result<Family, Refused> {
    let (mut replaced, mut prefix) = (false, Prefix::Never);
    for part in parts(&file.normalizer, "normalizers") {
        let bar = |key: &str| part.get(key).is_some_and(|v| v == "▁");
        if is_type(part, "Prepend") && bar("prepend") && prefix == Prefix::Never {
            prefix = Prefix::Always;
        } else if is_type(part, "Replace")
            && bar("content")
            && part.pointer("/pattern/String").is_some_and(|v| v == " ")
        {
            replaced = true;
        } else {
            return Err(format!("unknown normalizer {}", shown(part)));
        }
    }
    for part in parts(&file.pre_tokenizer, "pretokenizers") {
        let unsplit = part.get("split").is_some_and(|v| v == false);
        let space = part.pointer("/pattern/String").is_some_and(|v| v == " ");
        if is_type(part, "Split") && replaced && space {
            continue; // the normalizer has left no space to split at
        }
        let bar = part.get("replacement").is_some_and(|v| v == "▁");
        if !is_type(part, "Metaspace") || !bar || !unsplit || prefix != Prefix::Never {
            return Err(format!("unknown pre-tokenizer {}", shown(part)));
        }
        let scheme = part
            .get("prepend_scheme")
            .and_then(Value::as_str)
            .unwrap_or("always");
        let never = part.get("add_prefix_space").is_some_and(|v| v == false);
        replaced = true;
        prefix = match scheme {
            _ if never => Prefix::Never,
            "always" => Prefix::Unspaced,
            "first" => Prefix::First,
            _ => Prefix::Never,
        };
    }
    if replaced {
        Ok(Family::SentencePiece(prefix))
    } else {
        Err("spaces are not written as ▁".to_owned())
    }
}
