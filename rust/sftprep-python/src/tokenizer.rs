//! `Tokenizer`: ids and byte spans of texts.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use sftprep_core::assets::ModelAssets;
use sftprep_core::error::{Code, Error};
use sftprep_core::pipeline::tokenizer_of;
use sftprep_tokenize::{Encoding as Encoded, EngineReport, TokenizerError};

use crate::array::array;
use crate::error::{attached, detached};
use crate::flat::{Flat, Lengths};

/// Texts shorter than this are encoded without releasing the interpreter: that costs more.
const SHORT_TEXT_BYTES: usize = 256;
/// A thread is worth starting for this much text.
const BYTES_PER_THREAD: usize = 1 << 16;

/// A tokenizer read from a `tokenizer.json`.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct Tokenizer {
    pub(crate) inner: Arc<sftprep_tokenize::Tokenizer>,
    /// What the folder says beside the vocabulary: special tokens, stop tokens, templates.
    pub(crate) assets: ModelAssets,
}

#[pymethods]
impl Tokenizer {
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        detached(py, || {
            let mut assets = ModelAssets::load(&path.to_string_lossy())?;
            let inner = tokenizer_of(&assets)?;
            assets.tokenizer_json = Arc::default(); // the tokenizer has it
            Ok(Self { inner, assets })
        })
    }

    /// Ids and byte spans of a text.
    fn encode(&self, py: Python<'_>, text: PyBackedStr) -> PyResult<Encoding> {
        let work = || {
            let mut out = Encoded::default();
            let mut encoder = self.inner.encoder();
            encoder
                .encode(&text, &mut out)
                .map_err(|e| self.failed(&e))?;
            Ok(out)
        };
        let out = if text.len() < SHORT_TEXT_BYTES {
            attached(py, work)?
        } else {
            detached(py, work)?
        };
        Ok(Encoding {
            ids: array(py, out.ids)?.unbind(),
            offsets: array(py, out.offsets)?.unbind(),
        })
    }

    /// Ids and byte spans of many texts, end to end.
    #[pyo3(signature = (texts, *, threads = 0))]
    fn encode_batch(
        &self,
        py: Python<'_>,
        texts: Vec<PyBackedStr>,
        threads: usize,
    ) -> PyResult<EncodingBatch> {
        let batch = detached(py, || {
            let mut parts = self.encode_in_parts(&texts, threads)?.into_iter();
            let mut all = parts.next().unwrap_or_default();
            parts.for_each(|part| all.append(part));
            Ok(all)
        })?;
        Ok(EncodingBatch {
            ids: array(py, batch.tokens.ids)?.unbind(),
            row_starts: array(py, batch.row_starts)?.unbind(),
            lengths: batch.lengths,
            offsets: PyOnceLock::new(),
        })
    }

    /// The text of ids.
    #[pyo3(signature = (ids, *, skip_special_tokens = false))]
    fn decode(&self, py: Python<'_>, ids: Vec<u32>, skip_special_tokens: bool) -> PyResult<String> {
        detached(py, || {
            let text = self.inner.decode(&ids, skip_special_tokens);
            text.map_err(|e| self.failed(&e))
        })
    }

    /// The id of a token as the vocabulary writes it, or of an added token.
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id as the vocabulary writes it, or an added token's content.
    fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The bytes that a token stands for, where the decoder defines them token by token.
    fn token_bytes(&self, id: u32) -> Option<std::borrow::Cow<'_, [u8]>> {
        self.inner.token_bytes(id)
    }

    /// The added tokens: id, content, and whether it is special.
    #[getter]
    fn added_tokens(&self) -> Vec<(u32, &str, bool)> {
        let added = self.inner.added_tokens().iter();
        added
            .map(|token| (token.id, token.content.as_str(), token.special))
            .collect()
    }

    /// One more than the largest id.
    #[getter]
    fn vocab_size(&self) -> u32 {
        self.inner.vocab_size()
    }

    /// `fast` or `tokenizers`.
    #[getter]
    fn engine(&self) -> &'static str {
        match self.inner.engine() {
            EngineReport::Fast { .. } => "fast",
            EngineReport::Fallback { .. } => "tokenizers",
        }
    }

    /// The engine with the family it recognised, or the reason why it fell back.
    #[getter]
    fn engine_detail(&self) -> String {
        self.inner.engine().to_string()
    }

    fn __len__(&self) -> usize {
        self.inner.vocab_size() as usize
    }

    fn __repr__(&self) -> String {
        format!(
            "Tokenizer({:?}, vocab_size={}, engine={:?})",
            self.assets.name,
            self.inner.vocab_size(),
            self.engine()
        )
    }

    /// Pickles by path: the file is read again.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let load = py.get_type::<Self>().getattr("from_file")?;
        Ok((load, (self.assets.name.clone(),)))
    }
}

impl Tokenizer {
    fn failed(&self, error: &TokenizerError) -> Error {
        Error::new(Code::TokenizerFailed, error.to_string()).at_path(&self.assets.name)
    }

    /// Encodes slices of about equal size in bytes, each on its own thread.
    fn encode_in_parts(&self, texts: &[PyBackedStr], threads: usize) -> Result<Vec<Flat>, Error> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let wanted = if threads == 0 {
            std::thread::available_parallelism().map_or(1, NonZero::get)
        } else {
            threads
        };
        let threads = wanted.min(bytes / BYTES_PER_THREAD).max(1);
        if threads == 1 {
            return Ok(vec![self.encode_slice(texts)?]);
        }
        let slices = slices(texts, bytes / threads + 1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = slices
                .into_iter()
                .map(|slice| scope.spawn(move || self.encode_slice(slice)))
                .collect();
            let joined = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(payload) => std::panic::resume_unwind(payload),
            });
            joined.collect()
        })
    }

    /// The tokens of texts end to end.
    fn encode_slice(&self, texts: &[PyBackedStr]) -> Result<Flat, Error> {
        let mut encoder = self.inner.encoder();
        let mut all = Flat::with_room(texts);
        for text in texts {
            let done = encoder.append(text, &mut all.tokens);
            done.map_err(|e| self.failed(&e))?;
            all.end_text();
        }
        Ok(all)
    }
}

/// Cuts a list of texts into slices of at least `target` bytes (the last may be shorter).
fn slices(texts: &[PyBackedStr], target: usize) -> Vec<&[PyBackedStr]> {
    let (mut out, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, text) in texts.iter().enumerate() {
        bytes += text.len();
        if bytes >= target {
            out.push(&texts[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    out.push(&texts[start..]);
    out
}

/// Ids and byte spans of one text.
#[pyclass(frozen, get_all, module = "sftprep")]
pub(crate) struct Encoding {
    /// Token ids, uint32 `(n,)`.
    ids: Py<PyAny>,
    /// First and one past the last byte of each token in the UTF-8 text, uint32 `(n, 2)`.
    offsets: Py<PyAny>,
}

#[pymethods]
impl Encoding {
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.ids.bind(py).len()
    }
}

/// Ids of many texts, end to end, and what gives their byte spans.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct EncodingBatch {
    /// Token ids of all texts, uint32 `(n,)`.
    #[pyo3(get)]
    ids: Py<PyAny>,
    /// Where each text's tokens begin, and the end of the last, int64 `(texts + 1,)`.
    #[pyo3(get)]
    row_starts: Py<PyAny>,
    lengths: Lengths,
    offsets: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl EncodingBatch {
    /// Bytes of each token in its own text, uint32 `(n, 2)`; made when first asked for.
    #[getter]
    fn offsets(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = self.offsets.get_or_try_init(py, || {
            let spans = detached(py, || Ok(self.lengths.spans()))?;
            Ok::<_, PyErr>(array(py, spans)?.unbind())
        })?;
        Ok(made.clone_ref(py))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.row_starts.bind(py).len()? - 1)
    }
}
