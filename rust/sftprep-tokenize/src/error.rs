//! What can go wrong when loading a tokenizer or using it.

use std::fmt;

/// An error of this crate: a stable code for programs and one line for people that says where,
/// what was seen and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerError {
    code: Code,
    message: String,
}

/// The kinds of [`TokenizerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Read,
    Json,
    Model,
    Encode,
    Decode,
    TooLong,
}

impl TokenizerError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The stable name of the kind of error: `tokenizer-read` (the file cannot be read),
    /// `tokenizer-json` (it is not a whole JSON text), `tokenizer-model` (its parts do not make a
    /// tokenizer), `tokenizer-encode`, `tokenizer-decode`, `tokenizer-text-too-long`.
    pub fn code(&self) -> &'static str {
        match self.code {
            Code::Read => "tokenizer-read",
            Code::Json => "tokenizer-json",
            Code::Model => "tokenizer-model",
            Code::Encode => "tokenizer-encode",
            Code::Decode => "tokenizer-decode",
            Code::TooLong => "tokenizer-text-too-long",
        }
    }
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TokenizerError {}
