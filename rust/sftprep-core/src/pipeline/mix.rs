//! A mixture of finished datasets, by trained tokens, without tokenizing: of each dataset, whole
//! rows are drawn, and what is drawn is packed as `repack` packs.
//!
//! A row that is not drawn stays in the ledger, with `mix.not_drawn`. The data files have, byte for
//! byte, what packing the drawn rows would have given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::control::{Control, Stage};
use super::repack::{Past, Repack, old_config, resolved};
use super::report::{PackReport, Timer};
use super::rewrite::Rewrite;
use super::work::first_difference;
use crate::error::{Code, Error, Result};
use crate::label::Remask;
use crate::pack;
use crate::shard::{Manifest, MixInfo, ShardReader, past_rows};

/// Weights are whole numbers of this part of 1.
const WEIGHT_UNIT: f64 = 1e9;

/// What to mix, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// The datasets, with the share of trained tokens that each is to have, of the sum of all.
    pub parts: Vec<(PathBuf, f64)>,
    /// Trained tokens in all; as many as there are without repeating any, if it is not given.
    pub trained_tokens: Option<u64>,
    /// The output and how to pack. What is not given has to be the same in all datasets.
    pub pack: Repack,
}

/// What datasets must have in common, the most telling first.
const COMMON: [&str; 4] = ["tokenizer", "template", "label", "pack"];

/// A dataset that is mixed.
struct Part<'a> {
    dir: &'a Path,
    reader: ShardReader,
}

/// Mixes finished datasets.
///
/// # Errors
/// `config.value` if the datasets do not go together, or have too few trained tokens; else as
/// [`repack`](super::repack).
pub fn mix(options: &Mix, control: &Control) -> Result<PackReport> {
    let timer = Timer::start();
    let parts = open(options)?;
    let manifests: Vec<&Manifest> = parts.iter().map(|part| part.reader.manifest()).collect();
    check_alike(&parts, &manifests, &options.pack)?;
    let (mut value, mut config) = resolved(manifests[0], &options.pack)?;
    control.enter(Stage::Map);
    let (drawn, info) = draw(options, &parts, config.pack.seed, control)?;
    config.source.inputs = input_names(&parts)?;
    // each dataset was judged when it was packed
    config.source.max_reject_rate = 1.0;
    value["source"]["max_reject_rate"] = 1.0.into();
    let mut first_input = 0;
    let mut past = Vec::with_capacity(parts.len());
    for (part, drawn) in parts.iter().zip(drawn) {
        let old = old_config(part.reader.manifest())?;
        past.push(Past {
            dir: part.dir,
            reader: &part.reader,
            remask: Remask::new(&old.label, &config.label)?,
            old,
            first_input,
            drawn: Some(drawn),
        });
        first_input += part.reader.manifest().inputs.len() as u32;
    }
    let rewrite = Rewrite {
        options: &options.pack,
        past,
        config: &config,
        value,
        mix: info,
    };
    rewrite.run(timer, control)
}

fn open(options: &Mix) -> Result<Vec<Part<'_>>> {
    let refuse = |message: String| {
        Err(Error::new(Code::ConfigValue, message)
            .at_field("parts")
            .hint("give each dataset with its share, such as a/=0.7 b/=0.3"))
    };
    if options.parts.is_empty() {
        return refuse("there is nothing to mix".to_owned());
    }
    let mut parts = Vec::with_capacity(options.parts.len());
    for (dir, weight) in &options.parts {
        if !(1.0 / WEIGHT_UNIT..=WEIGHT_UNIT).contains(weight) {
            let dir = dir.display();
            return refuse(format!(
                "the share of {dir} is {weight}, it must be above 0"
            ));
        }
        let reader = ShardReader::open(dir)?;
        parts.push(Part { dir, reader });
    }
    Ok(parts)
}

/// Refuses datasets that are not of one tokenizer, template and way to label and pack.
fn check_alike(parts: &[Part<'_>], manifests: &[&Manifest], given: &Repack) -> Result<()> {
    let first = identity(manifests[0], given);
    for (part, manifest) in parts.iter().zip(manifests).skip(1) {
        let other = identity(manifest, given);
        let differs = |section: &str| {
            let inner = first_difference(&first[section], &other[section])?;
            Some(format!("{section}.{inner}"))
        };
        let Some(field) = COMMON.into_iter().find_map(differs) else {
            continue;
        };
        let hint = match field
            .strip_prefix("pack.")
            .map(|name| name.replace('_', "-"))
        {
            Some(option) => format!("say which with --{option}"),
            None => "pack both again with the same tokenizer, template and labels".to_owned(),
        };
        let one = parts[0].dir.display();
        let message = format!("{} has another {field} than {one}", part.dir.display());
        return Err(Error::new(Code::ConfigValue, message)
            .at_path(part.dir)
            .at_field(field)
            .hint(hint));
    }
    Ok(())
}

/// What all datasets of a mixture must have in common.
fn identity(manifest: &Manifest, given: &Repack) -> Value {
    let section = |name: &str| manifest.config.get(name).cloned().unwrap_or_default();
    let mut pack = section("pack");
    if let Some(pack) = pack.as_object_mut() {
        for name in given.given() {
            pack.remove(name);
        }
    }
    let mut template = section("template");
    if let Some(template) = template.as_object_mut() {
        template.remove("date"); // what counts is the one that the template read
        template.insert("blake3".to_owned(), manifest.template.blake3.clone().into());
        template.insert(
            "date_read".to_owned(),
            manifest.template.date.clone().into(),
        );
    }
    serde_json::json!({
        "tokenizer": {
            "files": manifest.tokenizer.files,
            "vocab_size": manifest.tokenizer.vocab_size,
            "special_ids": manifest.tokenizer.special_ids,
        },
        "template": template,
        "label": section("label"),
        "pack": pack,
    })
}

/// Names of all inputs, those of a dataset after the name of its folder where they would clash.
fn input_names(parts: &[Part<'_>]) -> Result<Vec<String>> {
    let own = |part: &Part<'_>| -> Vec<String> {
        let inputs = &part.reader.manifest().inputs;
        inputs.iter().map(|input| input.name.clone()).collect()
    };
    let unique = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let plain: Vec<String> = parts.iter().flat_map(own).collect();
    if unique(&plain) {
        return Ok(plain);
    }
    let named = |part: &Part<'_>| -> Vec<String> {
        let folder = part.dir.file_name().unwrap_or_default().to_string_lossy();
        own(part)
            .iter()
            .map(|name| format!("{folder}:{name}"))
            .collect()
    };
    let names: Vec<String> = parts.iter().flat_map(named).collect();
    if unique(&names) {
        return Ok(names);
    }
    let message = "two datasets have the same folder name and the same names of inputs";
    Err(Error::new(Code::ConfigValue, message)
        .at_field("parts")
        .hint("rename one of the folders"))
}

/// Which packed rows of each dataset are drawn, in the order of its ledger, and the record of it.
fn draw(
    options: &Mix,
    parts: &[Part<'_>],
    seed: u64,
    control: &Control,
) -> Result<(Vec<Vec<bool>>, Vec<MixInfo>)> {
    let mut trained: Vec<Vec<u32>> = Vec::with_capacity(parts.len());
    for part in parts {
        control.check()?;
        let mut rows = Vec::new();
        past_rows(part.dir, &part.reader, |row| {
            if row.left_out.is_none() {
                rows.push(u32::try_from(row.trained).unwrap_or(u32::MAX));
            }
            Ok(())
        })?;
        trained.push(rows);
    }
    let sum = |rows: &Vec<u32>| rows.iter().map(|it| u64::from(*it)).sum::<u64>();
    let available: Vec<u64> = trained.iter().map(sum).collect();
    let weight = |(_, weight): &(PathBuf, f64)| (weight * WEIGHT_UNIT).round() as u64;
    let weights: Vec<u64> = options.parts.iter().map(weight).collect();
    let wanted = pack::shares(&available, &weights, options.trained_tokens);
    let wanted = wanted.map_err(|(part, most)| {
        let message = format!(
            "{} has only {} trained tokens: with these shares there are {most} in all",
            parts[part].dir.display(),
            available[part]
        );
        Error::new(Code::ConfigValue, message)
            .at_field("trained_tokens")
            .hint("ask for fewer, or leave --trained-tokens out to get as many as there are")
    })?;
    let (mut drawn, mut info) = (Vec::new(), Vec::new());
    for (index, part) in parts.iter().enumerate() {
        let (rows, tokens) = pack::draw(&trained[index], wanted[index], seed);
        if tokens == 0 {
            let message = format!("no trained token of {} is drawn", part.dir.display());
            return Err(Error::new(Code::ConfigValue, message)
                .at_path(part.dir)
                .hint("give it a larger share, or ask for more with --trained-tokens"));
        }
        let manifest = part.reader.manifest();
        info.push(MixInfo {
            content_id: manifest.content_id.clone(),
            config: manifest.config.clone(),
            inputs: manifest.inputs.len() as u64,
            weight: options.parts[index].1.to_string(),
            rows: rows.len() as u64,
            rows_drawn: rows.iter().filter(|it| **it).count() as u64,
            trained_tokens: available[index],
            trained_tokens_drawn: tokens,
        });
        drawn.push(rows);
    }
    Ok((drawn, info))
}
