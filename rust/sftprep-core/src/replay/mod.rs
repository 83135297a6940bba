//! The rows of a finished dataset, made again.
//!
//! The recipe comes from what is kept beside the shards: options, tokenizer, template, date. The
//! rows come from the inputs, which may have moved or changed since; whoever uses them compares
//! token ids, which are the proof that a row is still the one that was packed.

mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::assets::{BUILTIN_TEMPLATES, ModelAssets, TemplateChoice, choose_templates};
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::format::Format;
use crate::pipeline::{Recipe, compile, tokenizer_of};
use crate::shard::{Manifest, REPORT_NAME};
use crate::source::{self, STDIN};

pub use rows::SourceRow;

/// The options of the run. What is not a whole number is text in a manifest, and of no account here.
///
/// # Errors
/// `shard.manifest` if they are not options.
pub fn options(manifest: &Manifest) -> Result<PackConfig> {
    let mut config = manifest.config.clone();
    if let Some(source) = config.get_mut("source").and_then(Value::as_object_mut) {
        source.remove("max_reject_rate");
    }
    let mut config: PackConfig = serde_json::from_value(config).map_err(|error| {
        let message = format!("its options do not parse: {error}");
        Error::new(Code::ShardManifest, message)
    })?;
    config.template.date.clone_from(&manifest.template.date);
    Ok(config)
}

/// The recipe of the dataset in `dir`, with what its folder says of the model.
///
/// # Errors
/// `tokenizer.*` and `template.*` if what is kept there does not load.
pub fn recipe(
    dir: &Path,
    manifest: &Manifest,
    config: &PackConfig,
) -> Result<(Recipe, ModelAssets)> {
    let assets = ModelAssets::load(&dir.to_string_lossy())?;
    let tokenizer = tokenizer_of(&assets)?;
    let templates = match choice(manifest, &assets)? {
        Some(choice) => Ok(compile(&choice)?),
        None => Err(Error::new(Code::TemplateMissing, "no template was kept")),
    };
    let special = assets.special_tokens.clone();
    let recipe = Recipe::from_parts(tokenizer, templates, special, &assets.eos_ids, config)?;
    Ok((recipe, assets))
}

/// The templates that a dataset keeps; `None` if it was made without.
fn choice(manifest: &Manifest, assets: &ModelAssets) -> Result<Option<TemplateChoice>> {
    if assets.templates.is_empty() {
        return Ok(None);
    }
    let mut choice = choose_templates("", assets)?;
    // The name of a built-in template decides how some rows are read.
    choice.builtin = BUILTIN_TEMPLATES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == manifest.template.name);
    Ok(Some(choice))
}

/// A dataset whose rows can be made again.
pub struct Replay {
    /// How its rows became examples.
    pub recipe: Recipe,
    sources: Vec<Source>,
}

/// An input, as far as it is known.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    /// Size when it was packed.
    bytes: u64,
    /// Where it lay then, or lies now by what the caller says.
    path: Option<PathBuf>,
    format: Option<Format>,
}

/// The part of a report that says where rows came from.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    sources: Vec<ReportedSource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReportedSource {
    name: String,
    path: String,
    format: String,
}

impl Replay {
    /// Gets ready to make rows of the dataset in `dir` again.
    ///
    /// Inputs are looked for where the report beside the shards says that they lay, or where
    /// `inputs` (as for `pack`, `name=path` or paths that give the same names) says that they are.
    ///
    /// # Errors
    /// As [`recipe`]; `source.*` if one of `inputs` is not there; `config.value` if none of the
    /// dataset's inputs has its name. That other inputs are gone shows when a row is asked for.
    pub fn open(dir: &Path, manifest: &Manifest, inputs: &[String]) -> Result<Self> {
        let config = options(manifest).map_err(|error| error.at_path(dir))?;
        let (recipe, _) = recipe(dir, manifest, &config)?;
        let report = std::fs::read(dir.join(REPORT_NAME)).ok();
        let report: Report = report
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let known: BTreeMap<&str, &ReportedSource> = report
            .sources
            .iter()
            .map(|it| (it.name.as_str(), it))
            .collect();
        let mut sources: Vec<Source> = manifest
            .inputs
            .iter()
            .map(|input| {
                let known = known.get(input.name.as_str());
                let path = known
                    .map(|it| it.path.as_str())
                    .filter(|path| !path.is_empty());
                Source {
                    name: input.name.clone(),
                    bytes: input.bytes,
                    path: path.map(PathBuf::from),
                    format: known.and_then(|it| {
                        Format::ALL
                            .into_iter()
                            .find(|format| format.name() == it.format)
                    }),
                }
            })
            .collect();
        if !inputs.is_empty() {
            name_inputs(&mut sources, inputs)?;
        }
        Ok(Self { recipe, sources })
    }

    /// Name and path of an input.
    pub fn source(&self, source: usize) -> Option<(&str, Option<&Path>)> {
        let source = self.sources.get(source)?;
        Some((&source.name, source.path.as_deref()))
    }
}

/// Puts the files that the caller names in the place of those that the report does.
fn name_inputs(sources: &mut [Source], inputs: &[String]) -> Result<()> {
    let files = source::resolve(inputs)?;
    let single = sources.len() == 1 && files.len() == 1 && !inputs[0].contains('=');
    for file in files {
        let found = sources
            .iter_mut()
            .find(|source| source.name == file.name || single);
        let Some(source) = found else {
            let names: Vec<&str> = sources.iter().map(|it| it.name.as_str()).take(8).collect();
            let message = format!(
                "the dataset has no input named '{}'; it has {}",
                file.name,
                names.join(", ")
            );
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("input")
                .hint("name the input as the dataset does: --input NAME=PATH"));
        };
        source.path = Some(file.path);
    }
    Ok(())
}

impl Source {
    /// What to say where the input cannot be found.
    fn gone(&self) -> Error {
        let hint = format!("say where it is now with --input {}=PATH", self.name);
        let error = match &self.path {
            Some(path) if path.as_os_str() == STDIN => {
                let message = "the row came from standard input, which cannot be read again";
                return Error::new(Code::SourceMissing, message)
                    .at_path(STDIN)
                    .hint(format!(
                        "save the same rows and name them with --input {}=PATH",
                        self.name
                    ));
            }
            Some(path) => {
                Error::new(Code::SourceMissing, "the input is not there any more").at_path(path)
            }
            None => Error::new(
                Code::SourceMissing,
                format!("nothing says where the input '{}' is", self.name),
            ),
        };
        error.hint(hint)
    }
}
