//! A loaded tokenizer: what threads share.

use crate::added::AddedToken;
use crate::encoder::Encoder;
use crate::encoder::encode_fast;
use crate::error::{Code, TokenizerError};
use crate::hf::Hf;
use crate::plan::{Family, Plan};
use crate::run::State;
use crate::vocab::{self, Decoder, Vocab};
use crate::{check, store};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A tokenizer read from a `tokenizer.json`. Immutable; share it between threads behind an `Arc`.
pub struct Tokenizer {
    name: String,
    source: Source,
    hf: OnceLock<Result<Hf, TokenizerError>>,
    fast: Option<Loaded>,
    /// What encoders that are gone have learned, for the next ones.
    states: Mutex<Vec<State>>,
    engine: EngineReport,
}

/// The `tokenizer.json`, for when `tokenizers` is needed after all.
struct Source {
    json: Arc<Vec<u8>>,
    hash: blake3::Hash,
}

/// What a compiled tokenizer consists of.
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    pub(crate) vocab: Vocab,
    pub(crate) decoder: Decoder,
    pub(crate) added: Vec<AddedToken>,
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
        let plans = store::default_dir();
        Self::load(&path.display().to_string(), bytes, plans.as_deref())
    }

    /// Reads the bytes of a `tokenizer.json`; `name` is what error messages call it.
    ///
    /// A compiled plan is looked for, and kept, in `$SFTPREP_CACHE_DIR` (set it to nothing to keep
    /// none) or the user's cache folder.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_bytes(name: &str, json: impl Into<Arc<Vec<u8>>>) -> Result<Self, TokenizerError> {
        Self::load(name, json, store::default_dir().as_deref())
    }

    /// Like [`Tokenizer::from_bytes`], with the folder for compiled plans given (`None`: no plan is
    /// looked for or kept).
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn load(
        name: &str,
        json: impl Into<Arc<Vec<u8>>>,
        plans: Option<&Path>,
    ) -> Result<Self, TokenizerError> {
        let name = name.to_owned();
        let json = json.into();
        let source = Source {
            hash: blake3::hash(&json),
            json,
        };
        let key = plans.map(|dir| (dir, store::key(&source.hash)));
        if let Some(loaded) = key.and_then(|(dir, key)| store::load(dir, &key)) {
            return Ok(Self::assemble(name, source, OnceLock::new(), Ok(loaded)));
        }
        serde_json::from_slice::<serde::de::IgnoredAny>(&source.json).map_err(|e| {
            TokenizerError::new(
                Code::Json,
                format!("tokenizer {name} is not a whole JSON text: {e}; fetch the file again"),
            )
        })?;
        let hf = Hf::from_bytes(&name, &source.json)?;
        let fast = compile(&hf, &source.json);
        if let (Ok(loaded), Some((dir, key))) = (&fast, key) {
            store::save(dir, &key, loaded);
        }
        Ok(Self::assemble(name, source, OnceLock::from(Ok(hf)), fast))
    }

    fn assemble(
        name: String,
        source: Source,
        hf: OnceLock<Result<Hf, TokenizerError>>,
        fast: Result<Loaded, String>,
    ) -> Self {
        let engine = match &fast {
            Ok(loaded) => EngineReport::Fast {
                family: loaded.plan.name(),
            },
            Err(reason) => EngineReport::Fallback {
                reason: reason.clone(),
            },
        };
        Self {
            name,
            source,
            hf,
            fast: fast.ok(),
            states: Mutex::default(),
            engine,
        }
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.fast.as_ref().map(|f| &f.plan)
    }

    pub(crate) fn take_state(&self, plan: &Plan) -> State {
        let kept = self
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        kept.unwrap_or_else(|| State::new(plan))
    }

    pub(crate) fn give_back(&self, state: State) {
        self.states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(state);
    }

    /// The `tokenizers` crate's own tokenizer, built when first asked for.
    pub(crate) fn hf(&self) -> Result<&Hf, TokenizerError> {
        let hf = self
            .hf
            .get_or_init(|| Hf::from_bytes(&self.name, &self.source.json));
        hf.as_ref().map_err(Clone::clone)
    }

    /// An encoder for one thread.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self)
    }

    /// BLAKE3 of the `tokenizer.json`.
    pub fn json_hash(&self) -> blake3::Hash {
        self.source.hash
    }

    /// Which engine runs, and why.
    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// Whether a text of which no token lies across a place may be tokenized in two parts there
    /// with no change, where a visible character and one newline stand before the place and a
    /// letter or digit follows it. All recognised byte-level splits put a border there, looking at
    /// no more of either side; true for them alone.
    pub fn splits_after_newline(&self) -> bool {
        let family = self.plan().map(|plan| plan.family);
        matches!(family, Some(Family::ByteLevel(_)))
    }

    /// One more than the largest id, added tokens included.
    pub fn vocab_size(&self) -> u32 {
        match &self.fast {
            Some(f) => {
                let added = f.added.iter().map(|t| t.id).max();
                added.max(f.vocab.max_id()).map_or(0, |id| id + 1)
            }
            None => self.hf().map_or(0, Hf::vocab_size),
        }
    }

    /// The id of a token as the vocabulary writes it (`Ġthe`, `▁the`) or of an added token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        let Some(f) = &self.fast else {
            return self.hf().ok()?.token_to_id(token);
        };
        let added = f.added.iter().find(|t| t.content == token).map(|t| t.id);
        added.or_else(|| f.vocab.id(token))
    }

    /// The token of an id as the vocabulary writes it, or an added token's content (its normalized
    /// form where it is looked for in normalized text, as in `tokenizers`).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        match &self.fast {
            Some(f) => token_of(f, id).map(str::to_owned),
            None => self.hf().ok()?.id_to_token(id),
        }
    }

    /// The bytes that a token stands for in decoded text (possibly a part of a character), where
    /// the tokenizer's decoder defines them token by token: byte-level and sentencepiece
    /// vocabularies.
    pub fn token_bytes(&self, id: u32) -> Option<Cow<'_, [u8]>> {
        match &self.fast {
            Some(f) if f.decoder != Decoder::Other => {
                vocab::token_bytes(f.decoder, token_of(f, id)?).map(Cow::Owned)
            }
            _ => self.hf().ok()?.token_bytes(id),
        }
    }

    /// The text of ids, as `tokenizers.Tokenizer.decode` gives it. Ids without a token are left
    /// out.
    ///
    /// # Errors
    ///
    /// A decoder that fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        if let Some(f) = &self.fast {
            let special = |id: u32| {
                vocab::added_form(&f.added, id)
                    .is_some_and(|t| t.special && token_of(f, id) == Some(&t.content))
            };
            let kept = ids
                .iter()
                .filter(|id| !(skip_special_tokens && special(**id)));
            let tokens = kept.filter_map(|id| token_of(f, *id)).map(Cow::Borrowed);
            if let Some(text) = vocab::decode(f.decoder, tokens) {
                return Ok(text);
            }
        }
        self.hf()?.decode(ids, skip_special_tokens)
    }

    /// The added tokens, by id.
    pub fn added_tokens(&self) -> &[AddedToken] {
        match &self.fast {
            Some(f) => &f.added,
            None => self.hf().map_or(&[], |hf| &hf.added),
        }
    }
}

/// The token of an id. Of an added token that is looked for in normalized text, that is its
/// normalized form, which is what `tokenizers` decodes.
fn token_of(f: &Loaded, id: u32) -> Option<&str> {
    match vocab::added_form(&f.added, id) {
        Some(t) if t.normalized && f.plan.nfc => {
            let pattern = f.plan.normalized.patterns().iter().find(|p| p.id == id);
            pattern.and_then(|p| std::str::from_utf8(&p.text).ok())
        }
        Some(t) => Some(&t.content),
        None => f.vocab.token(id),
    }
}

/// A plan that has passed the self-check.
fn compile(hf: &Hf, json: &[u8]) -> Result<Loaded, String> {
    let loaded = Plan::compile(json, &hf.added, hf.raw_patterns(), hf.normalized_patterns())?;
    let mut state = State::new(&loaded.plan);
    let mut encode = |text: &str, out: &mut crate::Encoding| {
        out.clear();
        encode_fast(&loaded.plan, &mut state, text, &mut |_| true, out);
        Ok(())
    };
    check::differs(hf, &mut encode).map_or(Ok(loaded), Err)
}
