//! What the manifest says about the run, and the model's files that are kept beside the shards.

use std::path::Path;

use serde_json::{Value, json};

use super::MappedRows;
use super::certify::{self, certify};
use super::recipe::Recipe;
use super::work::PlannedInput;
use crate::assets::ModelAssets;
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::pack::{Balance, PackPlan, TOKEN_COST, WINDOW_STEPS};
use crate::shard::{
    BalanceInfo, ControlTokenInfo, FileInfo, InputInfo, PackingInfo, RunFacts, TemplateInfo,
    TokenizerInfo, keep_file, keep_known_file,
};

/// Names the work area of runs with these options.
pub(super) fn work_tag(config: &PackConfig) -> String {
    let text = data_config(config).to_string();
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// The options without what does not change the data: folders, threads, overwriting.
pub(super) fn data_config(config: &PackConfig) -> Value {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    if let Some(output) = value.get_mut("output").and_then(Value::as_object_mut) {
        output.retain(|key, _| key == "shard_bytes");
    }
    if let Some(source) = value.get_mut("source").and_then(Value::as_object_mut) {
        source.remove("inputs"); // their names, sizes and hashes are in `inputs`
    }
    if let Some(template) = value.get_mut("template").and_then(Value::as_object_mut) {
        template.remove("tokenizer"); // a path; its hash is in `tokenizer`
        template.remove("chat_template");
    }
    value
}

/// Everything about the run that the manifest holds beside files and totals.
pub(super) fn run_facts(
    recipe: &Recipe,
    assets: &ModelAssets,
    mapped: &MappedRows,
    plan: &PackPlan,
) -> RunFacts {
    RunFacts {
        inputs: inputs(&mapped.plan.inputs),
        packing: packing_info(&recipe.config, plan),
        ..identity(recipe, assets)
    }
}

/// The inputs as the manifest lists them.
pub(super) fn inputs(inputs: &[PlannedInput]) -> Vec<InputInfo> {
    let input = |input: &PlannedInput| InputInfo {
        name: input.name.clone(),
        bytes: input.bytes,
        blake3: input.blake3.clone().unwrap_or_default(),
    };
    inputs.iter().map(input).collect()
}

/// What the options and the model say, before a row is read.
pub(super) fn identity(recipe: &Recipe, assets: &ModelAssets) -> RunFacts {
    let tokenizer_hash = recipe.tokenizer.json_hash().to_hex().to_string();
    let special_ids = recipe.special_tokens.iter().filter_map(|(name, text)| {
        Some((name.clone(), u64::from(recipe.tokenizer.token_to_id(text)?)))
    });
    RunFacts {
        config: data_config(&recipe.config),
        tokenizer: TokenizerInfo {
            name: short_name(&assets.name),
            files: [("tokenizer.json".to_owned(), tokenizer_hash)].into(),
            vocab_size: u64::from(recipe.tokenizer.vocab_size()),
            special_ids: special_ids.collect(),
        },
        template: template_info(recipe),
        ..RunFacts::default()
    }
}

fn template_info(recipe: &Recipe) -> TemplateInfo {
    let Ok(templates) = &recipe.templates else {
        return TemplateInfo::default();
    };
    TemplateInfo {
        name: templates.builtin.unwrap_or("tokenizer").to_owned(),
        blake3: templates.blake3(),
        // only where the template reads it: the manifest of any other run is the same every day
        date: if templates.default.template.reads_clock() {
            recipe.date.clone()
        } else {
            String::new()
        },
        certificate: certify(recipe).map_or_else(|_| String::new(), |it| it.blake3()),
        control_tokens: certify::control_tokens(recipe)
            .into_iter()
            .map(|known| ControlTokenInfo {
                id: u64::from(known.id),
                token: known.token,
                class: known.class.to_owned(),
            })
            .collect(),
    }
}

pub(super) fn packing_info(config: &PackConfig, plan: &PackPlan) -> PackingInfo {
    let stats = plan.stats();
    let strategy = serde_json::to_value(config.pack.strategy).unwrap_or_default();
    PackingInfo {
        strategy: strategy.as_str().unwrap_or_default().to_owned(),
        max_len: u64::from(config.pack.max_len),
        seed: config.pack.seed,
        rows: stats.rows,
        documents: stats.documents,
        pieces: stats.pieces,
        tokens: stats.tokens,
        lower_bound: stats.lower_bound,
        fill: format!("{:.6}", stats.fill),
        gap: format!("{:.6}", stats.gap),
        balance: plan.balance().map(balance_info),
    }
}

fn balance_info(balance: Balance) -> BalanceInfo {
    BalanceInfo {
        ranks: u64::from(balance.ranks),
        window_steps: u64::from(WINDOW_STEPS),
        token_cost: TOKEN_COST,
        imbalance: format!("{:.6}", balance.after),
        imbalance_before: format!("{:.6}", balance.before),
    }
}

/// The last part of a path, or the hub's name for it: names in a manifest must not depend on where
/// things lie.
fn short_name(name: &str) -> String {
    let path = Path::new(name);
    let folder = match path.parent() {
        Some(parent) if path.ends_with("tokenizer.json") && parent.file_name().is_some() => parent,
        _ => path,
    };
    let text = |path: Option<&Path>| {
        let file = path.and_then(Path::file_name).unwrap_or_default();
        file.to_string_lossy().into_owned()
    };
    // huggingface_hub's cache: models--ORG--NAME/snapshots/COMMIT
    let snapshots = folder.parent().filter(|it| it.ends_with("snapshots"));
    let repository = text(snapshots.and_then(Path::parent));
    if let Some(repository) = repository.strip_prefix("models--") {
        return format!(
            "{}@{}",
            repository.replacen("--", "/", 1),
            text(Some(folder))
        );
    }
    let last = text(Some(folder));
    if last.is_empty() {
        name.to_owned()
    } else {
        last
    }
}

/// Writes the tokenizer and the template that were used into the dataset's folder, so that it can
/// be inspected, explained and trained on without them at hand. transformers loads the folder.
pub(super) fn keep_model_files(
    dir: &Path,
    recipe: &Recipe,
    assets: &ModelAssets,
) -> Result<Vec<FileInfo>> {
    let mut config = serde_json::Map::new();
    for (name, text) in &recipe.special_tokens {
        config.insert(name.clone(), json!(text));
    }
    config.insert(
        "tokenizer_class".to_owned(),
        json!("PreTrainedTokenizerFast"),
    );
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    let mut template_file = None;
    if let Ok(templates) = &recipe.templates {
        let default = &templates.default.source;
        match &templates.tool_use {
            None => template_file = Some(default),
            // a file of its own would hide the list
            Some(tool_use) => {
                let named = json!([
                    {"name": "default", "template": **default},
                    {"name": "tool_use", "template": *tool_use.source},
                ]);
                config.insert("chat_template".to_owned(), named);
            }
        }
    }
    let config = serde_json::to_vec_pretty(&config)
        .map_err(|error| Error::new(Code::RunInternal, error.to_string()))?;
    let mut kept = vec![
        keep_known_file(
            dir,
            "tokenizer.json",
            &assets.tokenizer_json,
            recipe.tokenizer.json_hash(),
        )?,
        keep_file(dir, "tokenizer_config.json", &config)?,
    ];
    if let Some(source) = template_file {
        kept.push(keep_file(dir, "chat_template.jinja", source.as_bytes())?);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn names_do_not_tell_where_things_lie() {
        let snapshot = "/home/me/.cache/hub/models--org--a--b/snapshots/0a1b";
        for (path, name) in [
            ("builtin", "builtin"),
            ("/models/qwen", "qwen"),
            ("/models/qwen/", "qwen"),
            ("/models/qwen/tokenizer.json", "qwen"),
            ("tokenizer.json", "tokenizer.json"),
            (snapshot, "org/a--b@0a1b"),
        ] {
            assert_eq!(short_name(path), name, "{path}");
        }
    }
}
