//! The tokenizer and the templates that are part of the program.

/// The built-in tokenizer (`--tokenizer builtin`), a byte-level BPE of about 8,000 tokens.
pub(super) const TOKENIZER_JSON: &[u8] = include_bytes!("../../assets/builtin/tokenizer.json");
/// Its configuration.
pub(super) const TOKENIZER_CONFIG: &[u8] =
    include_bytes!("../../assets/builtin/tokenizer_config.json");

/// Names and sources of the built-in templates.
pub const BUILTIN_TEMPLATES: [(&str, &str); 4] = [
    (
        "chatml",
        include_str!("../../assets/templates/chatml.jinja"),
    ),
    (
        "alpaca",
        include_str!("../../assets/templates/alpaca.jinja"),
    ),
    (
        "vicuna",
        include_str!("../../assets/templates/vicuna.jinja"),
    ),
    ("plain", include_str!("../../assets/templates/plain.jinja")),
];

/// The built-in template of that name.
pub fn builtin_template(name: &str) -> Option<&'static str> {
    BUILTIN_TEMPLATES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, source)| *source)
}
