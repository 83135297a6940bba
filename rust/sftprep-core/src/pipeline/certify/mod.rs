//! What a template can be trusted with: a certificate over hard conversation shapes.
//!
//! Every shape goes the way that rows go. The certificate says which turns are proven and how,
//! which are refused and by which rule, and what the template itself refuses; it depends on the
//! template, the tokenizer and the template's arguments, and on nothing else.

mod report;
mod shapes;

use sftprep_template::{Clock, LeafKind, Origin, Rendered, Request};

use super::history::up_to;
use super::prepare::{Failure, Prepared, Worker};
use super::recipe::{Recipe, Templates, compile, tokenizer_of};
use crate::assets::{ModelAssets, choose_templates};
use crate::config::{LabelConfig, PackConfig};
use crate::error::{Code, Error, Result};
use crate::label::{ByteSpan, Policy, TokenClass};
use crate::types::{Conversation, Sample};

pub use report::{Certificate, ControlToken, Outcome, ShapeReport, TurnReport};
use shapes::Shape;

/// Shapes that a template must be proven for.
const REQUIRED: [&str; 2] = ["plain", "multi_turn"];

/// The shape that it must be proven for, unless it refuses system messages altogether.
const SYSTEM: &str = "system";

/// Certifies a template by name: a file, a built-in name, or a tokenizer folder with its own.
///
/// # Errors
/// If the template or the tokenizer cannot be read, or the template is no valid Jinja.
pub fn check_template(template: &str, config: &PackConfig) -> Result<Certificate> {
    let mut config = config.clone();
    let own = config.template.tokenizer.is_empty();
    let path = std::path::Path::new(template);
    if own
        && (path.is_dir()
            || path
                .file_name()
                .is_some_and(|name| name == "tokenizer.json"))
    {
        template.clone_into(&mut config.template.tokenizer);
        let (recipe, _) = Recipe::load(&config)?;
        return certify(&recipe);
    }
    template.clone_into(&mut config.template.chat_template);
    if !own {
        let (recipe, _) = Recipe::load(&config)?;
        return certify(&recipe);
    }
    let builtin = ModelAssets::load("builtin")?;
    let templates = compile(&choose_templates(template, &without_templates(&builtin))?)?;
    if templates.builtin.is_some() {
        "builtin".clone_into(&mut config.template.tokenizer);
        let (recipe, _) = Recipe::load(&config)?;
        return certify(&recipe);
    }
    without_tokenizer(&builtin, templates, &config)
}

fn without_templates(assets: &ModelAssets) -> ModelAssets {
    let mut assets = assets.clone();
    assets.templates.clear();
    assets
}

/// Certifies text alone: named tokens that the template reads get stand-ins.
fn without_tokenizer(
    assets: &ModelAssets,
    templates: Templates,
    config: &PackConfig,
) -> Result<Certificate> {
    let stand_ins: Vec<String> = templates
        .default
        .template
        .variables_read()
        .into_iter()
        .filter(|name| matches!(*name, "bos_token" | "eos_token" | "unk_token" | "pad_token"))
        .map(str::to_owned)
        .collect();
    let special = stand_ins
        .iter()
        .map(|name| (name.clone(), format!("<|{name}|>")));
    let tokenizer = tokenizer_of(assets)?;
    let recipe = Recipe::from_parts(tokenizer, Ok(templates), special.collect(), &[], config)?;
    let mut certificate = certify(&recipe)?;
    certificate.tokenizer = false;
    certificate.stand_ins = stand_ins;
    certificate.control_tokens.clear();
    certificate.split_control_strings.clear();
    Ok(certificate)
}

/// Certifies the templates of a recipe.
///
/// # Errors
/// If the recipe has no template.
pub fn certify(recipe: &Recipe) -> Result<Certificate> {
    let recipe = trial(recipe);
    let templates = recipe.templates.as_ref().map_err(Error::clone)?;
    let template = &templates.default.template;
    let mut trial = Trial {
        worker: Worker::new(&recipe),
        recipe: &recipe,
        templates,
    };
    let mut reports = Vec::new();
    for shape in shapes::shapes(&recipe)? {
        reports.push(trial.report(&shape)?);
    }
    let turns = || reports.iter().flat_map(|shape| &shape.turns);
    let mut proven_turns = turns().filter(|turn| !turn.method.is_empty() && turn.method != "empty");
    let disagree = |shape: &&ShapeReport| shape.turns.iter().any(|t| t.tags_agree == Some(false));
    Ok(Certificate {
        template: templates.blake3(),
        proven: is_proven(&reports),
        tokenizer: true,
        stand_ins: Vec::new(),
        generation_tags: template.has_generation_tags(),
        reads_clock: template.reads_clock(),
        rewrites_history: reports.iter().any(|it| !it.rewritten_after.is_empty()),
        stop_always_inside: proven_turns.all(|turn| turn.stop_inside),
        tags_disagree: reports
            .iter()
            .filter(disagree)
            .map(|shape| shape.name.clone())
            .collect(),
        control_tokens: control_tokens(&recipe),
        split_control_strings: recipe.split_control_strings(),
        shapes: reports,
    })
}

/// The conversations that templates are tried with, ready to be prepared.
///
/// # Errors
/// Only if the program itself is broken.
pub fn trial_samples(recipe: &Recipe) -> Result<Vec<(String, Sample)>> {
    let shapes = shapes::shapes(recipe)?;
    Ok(shapes
        .into_iter()
        .map(|shape| (shape.name, Sample::Conversation(shape.conversation)))
        .collect())
}

fn is_proven(reports: &[ShapeReport]) -> bool {
    let outcome = |name: &str| {
        let report = reports.iter().find(|report| report.name == name);
        report.map(|report| report.outcome)
    };
    REQUIRED
        .iter()
        .all(|name| outcome(name) == Some(Outcome::Proven))
        && outcome(SYSTEM) != Some(Outcome::Refused)
}

/// The same recipe with a fixed date and the default policy.
fn trial(recipe: &Recipe) -> Recipe {
    let label = LabelConfig::default();
    Recipe {
        tokenizer: recipe.tokenizer.clone(),
        templates: recipe.templates.clone(),
        special_tokens: recipe.special_tokens.clone(),
        stop_tokens: recipe.stop_tokens.clone(),
        eos: recipe.eos.clone(),
        policy: Policy::new(&label),
        control: recipe.control.clone(),
        kwargs: recipe.kwargs.clone(),
        clock: Clock::date(2025, 1, 1),
        date: "2025-01-01T00:00:00".to_owned(),
        config: PackConfig {
            label,
            ..recipe.config.clone()
        },
    }
}

/// The classes that keep a row's text from becoming one of the template's tokens.
pub(super) fn control_tokens(recipe: &Recipe) -> Vec<ControlToken> {
    let listed = recipe.control.iter().map(|(id, class)| ControlToken {
        id,
        token: recipe.tokenizer.id_to_token(id).unwrap_or_default(),
        class: if class == TokenClass::Tag {
            "tag"
        } else {
            "control"
        },
    });
    listed.collect()
}

/// Tries shapes on one recipe.
struct Trial<'r> {
    worker: Worker<'r>,
    recipe: &'r Recipe,
    templates: &'r Templates,
}

impl Trial<'_> {
    fn report(&mut self, shape: &Shape) -> Result<ShapeReport> {
        let mut report = ShapeReport {
            name: shape.name.clone(),
            why: shape.why.clone(),
            outcome: Outcome::TemplateRefuses,
            error: String::new(),
            samples: 0,
            turns: Vec::new(),
            rewritten_after: Vec::new(),
            left_out: Vec::new(),
            control_ids_from_content: 0,
        };
        let labelled = match self.worker.render(&shape.conversation) {
            Ok(labelled) => labelled,
            Err(Failure::Reject(reject)) => {
                report.error = reject.to_string();
                return Ok(report);
            }
            Err(Failure::Fatal(error)) => return Err(error),
        };
        let text = &labelled.rendered.text;
        report.turns = labelled
            .turns
            .iter()
            .map(|turn| TurnReport::new(turn, text))
            .collect();
        report.rewritten_after = self.rewritten(&shape.conversation, text);
        report.left_out = left_out(&shape.conversation, &labelled.rendered);
        report.outcome = Outcome::Proven;
        let sample = Sample::Conversation(shape.conversation.clone());
        match self.worker.prepare(&sample) {
            Ok(samples) => {
                report.samples = samples.len() as u32;
                if samples.iter().any(|sample| sample.turn.is_some()) {
                    report.turns = self.turns_of(&shape.conversation, &samples)?;
                }
                if let ([sample], true) = (samples.as_slice(), shape.spells_control()) {
                    report.control_ids_from_content =
                        self.control_ids(&labelled.rendered, &sample.spans)?;
                }
            }
            Err(Failure::Reject(reject)) => {
                report.outcome = Outcome::Refused;
                report.error = reject.to_string();
            }
            Err(Failure::Fatal(error)) => return Err(error),
        }
        if report.control_ids_from_content > 0 || report.turns.iter().any(|t| !t.rule.is_empty()) {
            report.outcome = Outcome::Refused;
        }
        Ok(report)
    }

    /// The turns of samples that each end with theirs.
    fn turns_of(
        &mut self,
        conversation: &Conversation,
        samples: &[Prepared],
    ) -> Result<Vec<TurnReport>> {
        let mut turns = Vec::new();
        for turn in samples.iter().filter_map(|sample| sample.turn) {
            match self.worker.render(&up_to(conversation, turn)) {
                Ok(labelled) => turns.extend(
                    labelled
                        .turns
                        .last()
                        .map(|turn| TurnReport::new(turn, &labelled.rendered.text)),
                ),
                Err(Failure::Reject(_)) => {}
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
        Ok(turns)
    }

    /// Assistant messages after which the text of all is not how the text up to them began.
    fn rewritten(&self, conversation: &Conversation, text: &str) -> Vec<u32> {
        let compiled = match &self.templates.tool_use {
            Some(tool_use) if conversation.tools.is_some() => tool_use,
            _ => &self.templates.default,
        };
        let messages = &conversation.messages;
        let is_rewritten = |end: &usize| {
            let request = Request {
                messages: &messages[..*end],
                tools: conversation.tools.as_deref(),
                documents: None,
                add_generation_prompt: false,
                special_tokens: &self.recipe.special_tokens,
                kwargs: &self.recipe.kwargs,
                clock: self.recipe.clock,
            };
            let assistant = messages[*end - 1]
                .as_map()
                .and_then(|map| map.get("role"))
                .and_then(|role| role.as_str())
                == Some("assistant");
            let prefix = compiled.template.render(&request);
            assistant && prefix.is_ok_and(|prefix| !text.starts_with(prefix.trim_end()))
        };
        (1..messages.len())
            .filter(is_rewritten)
            .map(|end| end as u32 - 1)
            .collect()
    }

    /// Control ids that cover a byte of the row's own text.
    fn control_ids(&self, rendered: &Rendered, spans: &[ByteSpan]) -> Result<u32> {
        let control = &self.recipe.control;
        let mut encoding = sftprep_tokenize::Encoding::default();
        let mut accept =
            |found: &sftprep_tokenize::AddedMatch| control.accepts(found, rendered, spans, &mut 0);
        self.recipe
            .tokenizer
            .encoder()
            .encode_accepting(&rendered.text, &mut accept, &mut encoding)
            .map_err(|error| Error::new(Code::TokenizerFailed, error.to_string()))?;
        let tokens = encoding.ids.iter().zip(&encoding.offsets);
        let from_content = tokens.filter(|&(id, &[start, end])| {
            control.class(*id) == TokenClass::Control && covers_content(rendered, start, end)
        });
        Ok(from_content.count() as u32)
    }
}

/// Whether a byte of the range came from a row's text, roles apart.
fn covers_content(rendered: &Rendered, start: u32, end: u32) -> bool {
    let first = rendered
        .segments
        .partition_point(|segment| segment.end <= start);
    let mut from = start;
    for segment in &rendered.segments[first..] {
        if from >= end {
            break;
        }
        if let Origin::Leaf(leaf) = segment.origin
            && rendered.leaves[leaf as usize].kind != LeafKind::Role
        {
            return true;
        }
        from = segment.end;
    }
    false
}

/// Inputs of which no byte reached the text.
fn left_out(conversation: &Conversation, rendered: &Rendered) -> Vec<String> {
    let reached = |message: u32| {
        let leaf = |leaf: &sftprep_template::Leaf| {
            leaf.kind == LeafKind::Mixed
                || leaf.kind == LeafKind::Message && leaf.message == Some(message)
        };
        rendered.leaves.iter().any(leaf)
    };
    let has_text = |message: &sftprep_template::Data| {
        let content = message.as_map().and_then(|map| map.get("content"));
        content
            .and_then(|content| content.as_str())
            .is_some_and(|text| !text.trim().is_empty())
    };
    let messages = conversation.messages.iter().enumerate();
    let mut found: Vec<String> = messages
        .filter(|(index, message)| has_text(message) && !reached(*index as u32))
        .map(|(index, _)| format!("messages[{index}].content"))
        .collect();
    let tools = || {
        let tool =
            |leaf: &sftprep_template::Leaf| matches!(leaf.kind, LeafKind::Tools | LeafKind::Mixed);
        rendered.leaves.iter().any(tool)
    };
    if conversation.tools.is_some() && !tools() {
        found.push("tools".to_owned());
    }
    found
}

#[cfg(test)]
mod tests;
