//! Reads a tokenizer folder the way transformers does.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::builtin;
use super::templates::NamedTemplate;
use crate::error::{Code, Error, Result};
use crate::huge;

/// Bytes of a file for which memory is reserved before it is read, at most.
const USUAL: u64 = 64 << 20;

/// Named special tokens in the order of the file, such as `("eos_token", "<|im_end|>")`: the
/// variables that templates see.
pub type SpecialTokens = Vec<(String, String)>;

/// The files of a tokenizer, read and understood.
#[derive(Debug, Clone)]
pub struct ModelAssets {
    /// Where they are from, as users know it: a path or `builtin`.
    pub name: String,
    /// Bytes of `tokenizer.json`.
    pub tokenizer_json: Arc<Vec<u8>>,
    /// Named special tokens.
    pub special_tokens: SpecialTokens,
    /// Ids that end a generation, from `generation_config.json`.
    pub eos_ids: Vec<u32>,
    /// The folder's own chat templates; the first is the default one.
    pub templates: Vec<NamedTemplate>,
}

impl ModelAssets {
    /// Reads a folder, a `tokenizer.json`, or the built-in tokenizer.
    ///
    /// # Errors
    /// `tokenizer.missing`, `tokenizer.sentencepiece`, `tokenizer.invalid`.
    pub fn load(tokenizer: &str) -> Result<Self> {
        if tokenizer == "builtin" {
            return Self::builtin();
        }
        if tokenizer.is_empty() {
            return Err(Error::new(Code::TokenizerMissing, "no tokenizer was given")
                .at_field("template.tokenizer")
                .hint("add --tokenizer with a folder, a tokenizer.json, a hub id or `builtin`"));
        }
        let path = Path::new(tokenizer);
        let (folder, file) = if path.is_dir() {
            (path.to_path_buf(), path.join("tokenizer.json"))
        } else {
            (
                path.parent().unwrap_or(Path::new("")).to_path_buf(),
                path.to_path_buf(),
            )
        };
        if !file.is_file() {
            return Err(missing(path, &folder));
        }
        let tokenizer_json = Arc::new(read(&file)?);
        let config = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let map = read_json(&folder.join("special_tokens_map.json"))?.unwrap_or_default();
        let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or_default();
        Ok(Self {
            name: tokenizer.to_owned(),
            tokenizer_json,
            special_tokens: special_tokens(&config, &map),
            eos_ids: eos_ids(&generation),
            templates: folder_templates(&folder, &config)?,
        })
    }

    fn builtin() -> Result<Self> {
        let config: Value = serde_json::from_slice(builtin::TOKENIZER_CONFIG)
            .map_err(|e| Error::new(Code::RunInternal, format!("built-in configuration: {e}")))?;
        Ok(Self {
            name: "builtin".to_owned(),
            tokenizer_json: Arc::new(builtin::TOKENIZER_JSON.to_vec()),
            special_tokens: special_tokens(&config, &Value::Null),
            eos_ids: Vec::new(),
            templates: config_templates(&config),
        })
    }

    /// Value of a named special token.
    pub fn special_token(&self, name: &str) -> Option<&str> {
        self.special_tokens
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

fn missing(path: &Path, folder: &Path) -> Error {
    if !path.exists() {
        return Error::new(Code::TokenizerMissing, "no such file or folder")
            .at_path(path)
            .hint("give a folder with tokenizer.json, a tokenizer.json, a hub id or `builtin`");
    }
    let model = std::fs::read_dir(folder).ok().and_then(|entries| {
        entries
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .find(|p| {
                p.extension().is_some_and(|e| e == "model")
                    || p.file_name().is_some_and(|n| n == "spiece.model")
            })
    });
    match model {
        Some(model) => {
            let name = model
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Error::new(
                Code::TokenizerSentencepiece,
                format!("the folder has {name} but no tokenizer.json"),
            )
            .at_path(path)
            .hint("convert it once: AutoTokenizer.from_pretrained(dir).save_pretrained(dir)")
        }
        None => Error::new(Code::TokenizerMissing, "the folder has no tokenizer.json")
            .at_path(path)
            .hint("give the folder that holds the model's tokenizer.json"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let mut file = File::open(path)?;
        // five megabytes and more, mostly
        let mut bytes = huge::with_pages(file.metadata()?.len().min(USUAL) as usize);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| Error::io(Code::TokenizerInvalid, path, &e))
}

fn read_json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    serde_json::from_slice(&read(path)?).map(Some).map_err(|e| {
        Error::new(Code::TokenizerInvalid, format!("not valid JSON: {e}"))
            .at_path(path)
            .hint("fetch the tokenizer folder again")
    })
}

/// Named tokens: every key that ends in `_token` with a string, or an added-token object, as
/// value. The configuration wins over the older `special_tokens_map.json`, as in transformers.
fn special_tokens(config: &Value, map: &Value) -> SpecialTokens {
    let mut tokens = SpecialTokens::new();
    for object in [config, map].into_iter().filter_map(Value::as_object) {
        for (key, value) in object {
            let text = value
                .as_str()
                .or_else(|| value.get("content").and_then(Value::as_str));
            let Some(text) = text else { continue };
            if key.ends_with("_token") && !tokens.iter().any(|(known, _)| known == key) {
                tokens.push((key.clone(), text.to_owned()));
            }
        }
    }
    tokens
}

fn eos_ids(generation: &Value) -> Vec<u32> {
    let ids = match generation.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.clone(),
        Some(id) => vec![id.clone()],
        None => Vec::new(),
    };
    ids.iter()
        .filter_map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()))
        .collect()
}

/// `chat_template.jinja` and `additional_chat_templates/*.jinja` win over the configuration.
fn folder_templates(folder: &Path, config: &Value) -> Result<Vec<NamedTemplate>> {
    let main = folder.join("chat_template.jinja");
    let mut found = Vec::new();
    if main.is_file() {
        found.push(file_template("default", &main)?);
    }
    let extra = folder.join("additional_chat_templates");
    if let Ok(entries) = std::fs::read_dir(&extra) {
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        paths.sort();
        for path in paths
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "jinja"))
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            found.push(file_template(&name, path)?);
        }
    }
    Ok(if found.is_empty() {
        config_templates(config)
    } else {
        found
    })
}

fn file_template(name: &str, path: &Path) -> Result<NamedTemplate> {
    let source = String::from_utf8(read(path)?).map_err(|_| {
        Error::new(Code::TemplateSyntax, "the chat template is not valid UTF-8").at_path(path)
    })?;
    let shown = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(NamedTemplate {
        name: name.to_owned(),
        shown,
        source,
    })
}

fn config_templates(config: &Value) -> Vec<NamedTemplate> {
    let named = |name: &str, source: &str| NamedTemplate {
        name: name.to_owned(),
        shown: "tokenizer_config.json (chat_template)".to_owned(),
        source: source.to_owned(),
    };
    match config.get("chat_template") {
        Some(Value::String(source)) => vec![named("default", source)],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|item| {
                Some(named(
                    item.get("name")?.as_str()?,
                    item.get("template")?.as_str()?,
                ))
            })
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .filter_map(|(name, source)| Some(named(name, source.as_str()?)))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_tokens_come_from_strings_and_objects_and_the_configuration_wins() {
        let config = serde_json::json!({
            "eos_token": "</s>", "bos_token": {"content": "<s>"}, "add_bos_token": true,
            "pad_token": null
        });
        let map = serde_json::json!({"eos_token": "<old>", "pad_token": "<pad>"});
        let tokens = special_tokens(&config, &map);
        let expected = [
            ("eos_token", "</s>"),
            ("bos_token", "<s>"),
            ("pad_token", "<pad>"),
        ];
        assert_eq!(tokens, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_folder_with_only_a_sentencepiece_model_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.model"), b"x").unwrap();
        let error = ModelAssets::load(dir.path().to_str().unwrap()).unwrap_err();
        assert_eq!(error.code, Code::TokenizerSentencepiece);
        let error = ModelAssets::load("/nowhere/at/all").unwrap_err();
        assert_eq!(error.code, Code::TokenizerMissing);
    }

    #[test]
    fn named_templates_are_read_from_files_before_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), b"{}").unwrap();
        let config = r#"{"chat_template": [{"name": "default", "template": "a"},
                                           {"name": "tool_use", "template": "b"}]}"#;
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        let load = || {
            ModelAssets::load(dir.path().to_str().unwrap())
                .unwrap()
                .templates
        };
        assert_eq!(
            load().iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
            ["default", "tool_use"]
        );
        std::fs::write(dir.path().join("chat_template.jinja"), "c").unwrap();
        assert_eq!(load().len(), 1);
        assert_eq!(load()[0].source, "c");
    }
}
