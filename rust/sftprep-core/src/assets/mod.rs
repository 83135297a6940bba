//! What a model brings along: its tokenizer, its chat templates, its special and stop tokens.
//!
//! A tokenizer is named by a folder, a `tokenizer.json` or the word `builtin`; nothing but JSON and
//! Jinja is ever read from it (no pickle, no remote code).

mod builtin;
mod folder;
mod templates;

pub use builtin::{BUILTIN_TEMPLATES, builtin_template};
pub use folder::{ModelAssets, SpecialTokens};
pub use templates::{NamedTemplate, TemplateChoice, choose_templates};
