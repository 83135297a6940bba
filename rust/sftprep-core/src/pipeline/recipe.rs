//! Everything a run needs to turn rows into examples, read and compiled once, shared by threads.

use std::sync::Arc;

use jiff::Zoned;
use jiff::civil::{Date, DateTime};
use sftprep_template::{
    ChatTemplate, Clock, Data, Declaration, ErrorKind, Map, OnDrop, SpanOptions, TemplateError,
};
use sftprep_tokenize::Tokenizer;

use crate::assets::{ModelAssets, NamedTemplate, SpecialTokens, TemplateChoice, choose_templates};
use crate::config::{Dropped, History, PackConfig, PartsPolicy};
use crate::error::{Code, Error, Reject, Result};
use crate::json;
use crate::label::{ControlTokens, Policy};

/// Characters of a template's line that an error shows.
const SHOWN_CHARS: usize = 80;

/// A compiled template with its source.
#[derive(Debug, Clone)]
pub struct CompiledTemplate {
    /// Compiled form.
    pub template: Arc<ChatTemplate>,
    /// Jinja source.
    pub source: Arc<str>,
}

/// The templates of a run.
#[derive(Debug, Clone)]
pub struct Templates {
    /// For rows without tools, and for all if there is no `tool_use`.
    pub default: CompiledTemplate,
    /// For rows with tools.
    pub tool_use: Option<CompiledTemplate>,
    /// Name of the built-in template, if it is one.
    pub builtin: Option<&'static str>,
}

impl Templates {
    /// BLAKE3 of the text of the templates.
    pub fn blake3(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.default.source.as_bytes());
        if let Some(tool_use) = &self.tool_use {
            hasher
                .update(b"\0tool_use\0")
                .update(tool_use.source.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// How rows become examples.
pub struct Recipe {
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The templates; an error if there are none, which matters only if a row needs one.
    pub templates: Result<Templates>,
    /// Variables such as `bos_token`.
    pub special_tokens: SpecialTokens,
    /// Strings that may end an assistant's turn.
    pub stop_tokens: Vec<String>,
    /// The token that ends a completion, with its text.
    pub eos: Option<(u32, String)>,
    /// What is trained.
    pub policy: Policy,
    /// Which added tokens only the template may emit.
    pub control: ControlTokens,
    /// Global template arguments.
    pub kwargs: Map,
    /// The clock that templates see.
    pub clock: Clock,
    /// The same as text, for the record.
    pub date: String,
    /// The options it was made from.
    pub config: PackConfig,
}

impl Recipe {
    /// Reads the tokenizer folder and the templates that the options name.
    ///
    /// # Errors
    /// `tokenizer.*`, `template.syntax`, `config.value`. A missing template is not an error yet:
    /// raw text needs none.
    pub fn load(config: &PackConfig) -> Result<(Self, ModelAssets)> {
        let assets = ModelAssets::load(&config.template.tokenizer)?;
        let tokenizer = tokenizer_of(&assets)?;
        let choice = choose_templates(&config.template.chat_template, &assets);
        let templates = match choice {
            Ok(choice) => Ok(compile(&choice)?),
            Err(error) => Err(error),
        };
        let eos_ids = assets.eos_ids.clone();
        let special = assets.special_tokens.clone();
        Ok((
            Self::from_parts(tokenizer, templates, special, &eos_ids, config)?,
            assets,
        ))
    }

    /// The same for a run whose date is known already, whether or not the options give one.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn load_on(config: &PackConfig, date: &str) -> Result<(Self, ModelAssets)> {
        let mut dated = config.clone();
        date.clone_into(&mut dated.template.date);
        let (mut recipe, assets) = Self::load(&dated)?;
        recipe.config = config.clone();
        Ok((recipe, assets))
    }

    /// Puts a recipe together from parts that are loaded already.
    ///
    /// # Errors
    /// `config.value` if the date or a template argument is malformed.
    pub fn from_parts(
        tokenizer: Arc<Tokenizer>,
        templates: Result<Templates>,
        special_tokens: SpecialTokens,
        eos_ids: &[u32],
        config: &PackConfig,
    ) -> Result<Self> {
        let sources = template_sources(&templates);
        let control = ControlTokens::classify(tokenizer.added_tokens(), &sources);
        let eos = special_tokens
            .iter()
            .find(|(name, _)| name == "eos_token")
            .and_then(|(_, text)| Some((tokenizer.token_to_id(text)?, text.clone())));
        let stop_tokens = stop_tokens(&tokenizer, &special_tokens, eos_ids, &sources);
        let (clock, date) = clock(&config.template.date)?;
        Ok(Self {
            eos,
            stop_tokens,
            control,
            policy: Policy::new(&config.label),
            kwargs: kwargs(config)?,
            clock,
            date,
            config: config.clone(),
            tokenizer,
            templates,
            special_tokens,
        })
    }

    /// How spans are decided by these options.
    pub fn span_options(&self) -> SpanOptions {
        let label = &self.config.label;
        SpanOptions {
            roles: label.train_on.roles.clone(),
            stop_tokens: self.stop_tokens.clone(),
            declared: (!label.assistant_header.is_empty()).then(|| Declaration {
                header: label.assistant_header.clone(),
                stop: label.assistant_stop.clone(),
            }),
            history_reasoning: match label.history {
                History::Refuse => OnDrop::Refuse,
                History::PerTurn | History::Allow => OnDrop::Allow,
            },
            dropped: match label.dropped {
                Dropped::Refuse => OnDrop::Refuse,
                Dropped::Allow => OnDrop::Allow,
            },
            ..SpanOptions::default()
        }
    }

    /// Whether lists of content parts are handed to the template as they are.
    pub fn parts_raw(&self) -> bool {
        match self.config.source.parts {
            PartsPolicy::Raw => true,
            PartsPolicy::Join => false,
            PartsPolicy::Auto => self
                .templates
                .as_ref()
                .is_ok_and(|templates| templates.default.template.handles_content_parts()),
        }
    }

    /// Control strings of the template that are not single tokens of this tokenizer, which no
    /// model can have learnt as such.
    pub fn split_control_strings(&self) -> Vec<String> {
        let sources = template_sources(&self.templates);
        let mut found: Vec<String> = sources.iter().flat_map(|s| control_strings(s)).collect();
        found.sort();
        found.dedup();
        found.retain(|text| self.tokenizer.token_to_id(text).is_none());
        found
    }
}

/// Loads the tokenizer of some assets.
///
/// # Errors
/// `tokenizer.invalid` with what the loader says.
pub fn tokenizer_of(assets: &ModelAssets) -> Result<Arc<Tokenizer>> {
    Tokenizer::from_bytes(&assets.name, Arc::clone(&assets.tokenizer_json))
        .map(Arc::new)
        .map_err(|error| {
            Error::new(Code::TokenizerInvalid, error.to_string())
                .at_path(&assets.name)
                .hint("fetch the tokenizer again; it must be the model's own tokenizer.json")
        })
}

/// Compiles the chosen templates.
///
/// # Errors
/// `template.syntax` with the line under a marker.
pub fn compile(choice: &TemplateChoice) -> Result<Templates> {
    let one = |named: &NamedTemplate| -> Result<CompiledTemplate> {
        let template = ChatTemplate::compile(&named.shown, &named.source)
            .map_err(|error| template_failure(&error))?;
        Ok(CompiledTemplate {
            template: Arc::new(template),
            source: named.source.as_str().into(),
        })
    };
    Ok(Templates {
        default: one(&choice.default)?,
        tool_use: choice.tool_use.as_ref().map(one).transpose()?,
        builtin: choice.builtin,
    })
}

/// A template's error with its line; the code is that of the page that explains it.
pub fn template_failure(error: &TemplateError) -> Error {
    let code = match error.kind() {
        ErrorKind::Undefined => Code::TemplateUndefined,
        ErrorKind::Type | ErrorKind::Value => Code::TemplateType,
        ErrorKind::Security => Code::TemplateSecurity,
        ErrorKind::Raised => Code::TemplateRaised,
        ErrorKind::LimitSteps
        | ErrorKind::LimitOutput
        | ErrorKind::LimitRecursion
        | ErrorKind::LimitRange => Code::TemplateLimit,
        _ => Code::TemplateSyntax,
    };
    let line = error.source_line().trim();
    let mut shown: String = line.chars().take(SHOWN_CHARS).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    let message = match shown.as_str() {
        "" => error.message().to_owned(),
        shown => format!(
            "{}, at column {} of: {shown}",
            error.message(),
            error.column()
        ),
    };
    Error::new(code, message)
        .at_path(error.template())
        .at_line(u64::from(error.line()))
        .hint(error.hint())
}

/// A template error that is the fault of a row, in one line.
pub(super) fn template_reject(error: &TemplateError) -> Reject {
    let Error {
        code,
        message,
        line,
        ..
    } = template_failure(error);
    let place = line.map_or_else(String::new, |line| format!(", line {line}"));
    Reject::new(code, format!("{message} ({}{place})", error.template()))
}

fn template_sources(templates: &Result<Templates>) -> Vec<&str> {
    let Ok(templates) = templates else {
        return Vec::new();
    };
    [Some(&templates.default), templates.tool_use.as_ref()]
        .into_iter()
        .flatten()
        .map(|compiled| &*compiled.source)
        .collect()
}

/// Strings that may end a turn: the eos token, the ids of the generation configuration, and each
/// special token and control string that the template writes.
fn stop_tokens(
    tokenizer: &Tokenizer,
    special_tokens: &SpecialTokens,
    eos_ids: &[u32],
    sources: &[&str],
) -> Vec<String> {
    let mut stops: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !text.is_empty() && !stops.contains(&text) {
            stops.push(text);
        }
    };
    special_tokens
        .iter()
        .filter(|(name, _)| name == "eos_token")
        .for_each(|(_, t)| add(t.clone()));
    eos_ids
        .iter()
        .filter_map(|id| tokenizer.id_to_token(*id))
        .for_each(&mut add);
    for token in tokenizer
        .added_tokens()
        .iter()
        .filter(|token| token.special)
    {
        if sources.iter().any(|source| source.contains(&token.content)) {
            add(token.content.clone());
        }
    }
    sources
        .iter()
        .flat_map(|source| control_strings(source))
        .for_each(&mut add);
    stops
}

/// Strings of the form `<|name|>` (and the full-width form) in a template's source.
fn control_strings(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in [("<|", "|>"), ("<｜", "｜>")] {
        let mut rest = source;
        while let Some(start) = rest.find(open) {
            let inner = &rest[start + open.len()..];
            let Some(length) = inner.find(close) else {
                break;
            };
            let name = &inner[..length];
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '▁' | '.' | '/');
            if !name.is_empty() && name.chars().all(plain) {
                found.push(format!("{open}{name}{close}"));
                rest = &inner[length + close.len()..];
            } else {
                rest = inner;
            }
        }
    }
    found
}

fn kwargs(config: &PackConfig) -> Result<Map> {
    let text = serde_json::to_vec(&config.template.kwargs)
        .map_err(|e| Error::new(Code::RunInternal, e.to_string()))?;
    match json::parse(&text, &mut json::JsonNotes::default()) {
        Ok(Data::Map(map)) => Ok(map),
        Ok(_) | Err(_) => Err(
            Error::new(Code::ConfigValue, "template.kwargs must be an object")
                .at_field("template.kwargs"),
        ),
    }
}

/// The clock that templates see, and the same as text. Empty means now, by the local clock as in
/// transformers; the text goes into the manifest, so that the run can be repeated.
fn clock(date: &str) -> Result<(Clock, String)> {
    let moment: DateTime = if date.is_empty() {
        Zoned::now().datetime()
    } else {
        date.parse()
            .or_else(|_| date.parse::<Date>().map(Into::into))
            .map_err(|_| {
                Error::new(Code::ConfigValue, format!("'{date}' is not a date"))
                    .at_field("template.date")
                    .hint("write it as 2025-06-30 or 2025-06-30T12:34:56")
            })?
    };
    let number = |value: i8| value.unsigned_abs();
    let clock = Clock {
        year: moment.year().clamp(1, 9999).unsigned_abs(),
        month: number(moment.month()),
        day: number(moment.day()),
        hour: number(moment.hour()),
        minute: number(moment.minute()),
        second: number(moment.second()),
    };
    Ok((clock, moment.strftime("%Y-%m-%dT%H:%M:%S").to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_recorded() {
        let (clock, text) = clock("2025-06-30").unwrap();
        assert_eq!(
            (clock, text.as_str()),
            (Clock::date(2025, 6, 30), "2025-06-30T00:00:00")
        );
        let (at, _) = super::clock("2025-06-30T12:34:56").unwrap();
        assert_eq!((at.hour, at.minute, at.second), (12, 34, 56));
        assert!(super::clock("yesterday").is_err());
        assert!(super::clock("").unwrap().1.as_str() > "2024");
    }

    #[test]
    fn control_strings_are_found_in_template_source() {
        let source = "{{ '<|im_start|>' + role }}<|a b|> <|x|><｜User｜> a<|b";
        assert_eq!(
            control_strings(source),
            ["<|im_start|>", "<|x|>", "<｜User｜>"]
        );
    }
}
