//! Which chat template renders a row: the one asked for, or the tokenizer's own.

use std::path::Path;

use super::builtin::{BUILTIN_TEMPLATES, builtin_template};
use super::folder::ModelAssets;
use crate::error::{Code, Error, Result};

/// The source of a template, and what to call it in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTemplate {
    /// Its name among the model's templates, such as `default` or `tool_use`.
    pub name: String,
    /// Where it came from, as shown in errors.
    pub shown: String,
    /// Jinja source.
    pub source: String,
}

/// The templates of a run: rows with tools use `tool_use` if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateChoice {
    /// For rows without tools, and for all rows if there is no `tool_use`.
    pub default: NamedTemplate,
    /// For rows with tools.
    pub tool_use: Option<NamedTemplate>,
    /// Name of the built-in template, if `default` is one.
    pub builtin: Option<&'static str>,
}

impl TemplateChoice {
    fn single(template: NamedTemplate, builtin: Option<&'static str>) -> Self {
        Self {
            default: template,
            tool_use: None,
            builtin,
        }
    }
}

/// Chooses by the user's `--chat-template` (empty: the tokenizer's own).
///
/// The text given is taken as, in this order: a name among the tokenizer's own templates, a
/// built-in name, an existing file, the template itself (if it holds Jinja or a line break).
///
/// # Errors
/// `template.missing` if the tokenizer has no template or the name means nothing.
pub fn choose_templates(asked: &str, assets: &ModelAssets) -> Result<TemplateChoice> {
    if asked.is_empty() {
        return own_templates(assets);
    }
    if let Some(own) = assets.templates.iter().find(|t| t.name == asked) {
        return Ok(TemplateChoice::single(own.clone(), None));
    }
    if let Some((name, _)) = BUILTIN_TEMPLATES.iter().find(|(name, _)| *name == asked) {
        let source = builtin_template(name).unwrap_or_default();
        let template = NamedTemplate {
            name: (*name).to_owned(),
            shown: format!("built-in template {name}"),
            source: source.to_owned(),
        };
        return Ok(TemplateChoice::single(template, Some(name)));
    }
    let inline = asked.contains("{{") || asked.contains("{%") || asked.contains('\n');
    if !inline || Path::new(asked).is_file() {
        return file_template(asked);
    }
    let template = NamedTemplate {
        name: "inline".to_owned(),
        shown: "--chat-template".to_owned(),
        source: asked.to_owned(),
    };
    Ok(TemplateChoice::single(template, None))
}

fn file_template(asked: &str) -> Result<TemplateChoice> {
    let path = Path::new(asked);
    let names = BUILTIN_TEMPLATES.map(|(name, _)| name).join(", ");
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(
            Code::TemplateMissing,
            format!("{error}; no such built-in template either"),
        )
        .at_path(path)
        .at_field("template.chat_template")
        .hint(format!(
            "give a file, the template itself, or one of {names}"
        ))
    })?;
    let source = String::from_utf8(bytes).map_err(|_| {
        Error::new(Code::TemplateSyntax, "the chat template is not valid UTF-8").at_path(path)
    })?;
    let template = NamedTemplate {
        name: "default".to_owned(),
        shown: asked.to_owned(),
        source,
    };
    Ok(TemplateChoice::single(template, None))
}

fn own_templates(assets: &ModelAssets) -> Result<TemplateChoice> {
    let named = |name: &str| assets.templates.iter().find(|t| t.name == name).cloned();
    match named("default") {
        Some(default) => {
            let builtin = (assets.name == "builtin").then_some("chatml");
            Ok(TemplateChoice {
                default,
                tool_use: named("tool_use"),
                builtin,
            })
        }
        None if assets.templates.is_empty() => Err(Error::new(
            Code::TemplateMissing,
            "this tokenizer has no chat template",
        )
        .at_path(&assets.name)
        .hint("add --chat-template chatml (or vicuna, alpaca, plain, a file)")),
        None => {
            let names: Vec<&str> = assets.templates.iter().map(|t| t.name.as_str()).collect();
            let names = names.join(", ");
            Err(Error::new(
                Code::TemplateMissing,
                format!("none of this tokenizer's templates is the default one: {names}"),
            )
            .at_path(&assets.name)
            .hint(format!("choose one with --chat-template: {names}")))
        }
    }
}
