//! A loaded tokenizer: what threads share.

use crate::added::AddedToken;
use crate::check;
use crate::encoder::Encoder;
use crate::encoder::encode_fast;
use crate::error::{Code, TokenizerError};
use crate::hf::Hf;
use crate::plan::Plan;
use crate::run::State;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A tokenizer read from a `tokenizer.json`. Immutable; share it between threads behind an `Arc`.
pub struct Tokenizer {
    hf: Hf,
    plan: Option<Plan>,
    /// What encoders that are gone have learned, for the next ones.
    states: Mutex<Vec<State>>,
    engine: EngineReport,
    vocab_size: u32,
}

/// Which engine encodes with this tokenizer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineReport {
    /// The compiled plan of this crate.
    Fast {
        /// Which kind of tokenizer was recognised.
        family: String,
    },
    /// The `tokenizers` crate itself.
    Fallback {
        /// Why there is no compiled plan.
        reason: String,
    },
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fast { family } => write!(f, "fast ({family})"),
            Self::Fallback { reason } => write!(f, "tokenizers ({reason})"),
        }
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is not JSON or does not hold a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = std::fs::read(path).map_err(|e| {
            let hint = if path.is_dir() {
                "give the path of the tokenizer.json in it"
            } else {
                "give the path of a tokenizer.json"
            };
            TokenizerError::new(
                Code::Read,
                format!(
                    "tokenizer file {} cannot be read: {e}; {hint}",
                    path.display()
                ),
            )
        })?;
        Self::from_bytes(&path.display().to_string(), &bytes)
    }

    /// Reads the bytes of a `tokenizer.json`; `name` is what error messages call it.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|e| {
            TokenizerError::new(
                Code::Json,
                format!("tokenizer {name} is not a whole JSON text: {e}; fetch the file again"),
            )
        })?;
        let hf = Hf::from_bytes(name, bytes)?;
        let vocab_size = hf.vocab_size();
        let (plan, engine) = match Self::compile(&hf, bytes) {
            Ok(plan) => {
                let family = plan.name();
                (Some(plan), EngineReport::Fast { family })
            }
            Err(reason) => (None, EngineReport::Fallback { reason }),
        };
        Ok(Self {
            hf,
            plan,
            states: Mutex::default(),
            engine,
            vocab_size,
        })
    }

    /// A plan that has passed the self-check.
    fn compile(hf: &Hf, bytes: &[u8]) -> Result<Plan, String> {
        let plan = Plan::compile(
            bytes,
            &hf.added,
            hf.raw_patterns(),
            hf.normalized_patterns(),
        )?;
        let mut state = State::new();
        let mut encode = |text: &str, out: &mut crate::Encoding| {
            encode_fast(&plan, &mut state, text, &mut |_| true, out);
            Ok(())
        };
        match check::differs(hf, &mut encode) {
            Some(reason) => Err(reason),
            None => Ok(plan),
        }
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    pub(crate) fn take_state(&self) -> State {
        let kept = self
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        kept.unwrap_or_else(State::new)
    }

    pub(crate) fn give_back(&self, state: State) {
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(state);
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn hf(&self) -> Result<&Hf, TokenizerError> {
        Ok(&self.hf)
    }

    /// An encoder for one thread.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self)
    }

    /// Which engine runs, and why.
    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// One more than the largest id, added tokens included.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The id of a token as the vocabulary writes it (`Ġthe`, `▁the`) or of an added token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.hf.token_to_id(token)
    }

    /// The token of an id as the vocabulary writes it, or an added token's content.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.hf.id_to_token(id)
    }

    /// The bytes that a token stands for in decoded text (possibly a part of a character), where
    /// the tokenizer's decoder defines them token by token: byte-level and sentencepiece
    /// vocabularies.
    pub fn token_bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        self.hf.token_bytes(id)
    }

    /// The text of ids, as `tokenizers.Tokenizer.decode` gives it. Ids without a token are left
    /// out.
    ///
    /// # Errors
    ///
    /// A decoder that fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        self.hf.decode(ids, skip_special_tokens)
    }

    /// The added tokens, by id.
    pub fn added_tokens(&self) -> &[AddedToken] {
        &self.hf.added
    }
}
