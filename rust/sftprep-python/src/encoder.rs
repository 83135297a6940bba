//! `Encoder`: one row to tokens and labels, as `pack` does it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use sftprep_core::assets::choose_templates;
use sftprep_core::config::PackConfig;
use sftprep_core::error::{Code, Error, Reject};
use sftprep_core::format::Parser;
use sftprep_core::json::{self, JsonNotes};
use sftprep_core::pipeline::{
    Failure, Prepared, Recipe, Worker, WorkerState, compile, template_failure,
};
use sftprep_core::types::{Conversation, NO_MESSAGE, Sample};
use sftprep_template::{Data, Request};

use crate::array::array;
use crate::error::detached;
use crate::rows::{InputRow, RowReader, parser_for};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::value::to_data;

/// Turns rows into tokens and labels.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct Encoder {
    recipe: Arc<Recipe>,
    /// What workers of earlier calls learned; as many as calls were made at one time.
    states: Mutex<Vec<WorkerState>>,
}

#[pymethods]
impl Encoder {
    #[new]
    #[pyo3(signature = (tokenizer, template = None, **options))]
    fn new(
        py: Python<'_>,
        tokenizer: &Tokenizer,
        template: Option<&ChatTemplate>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let options = options.cloned().unwrap_or_else(|| PyDict::new(py));
        let config = py.import("sftprep.config")?;
        let json: String = config.call_method1("json_of", (options,))?.extract()?;
        detached(py, || {
            let mut config = PackConfig::from_json(&json)?;
            let unset = config.template.date.is_empty();
            let assets = &tokenizer.assets;
            let mut special_tokens = assets.special_tokens.clone();
            let templates = match template {
                Some(template) => {
                    for (name, token) in &template.special_tokens {
                        special_tokens.retain(|(known, _)| known != name);
                        special_tokens.push((name.clone(), token.clone()));
                    }
                    if let Some(date) = template.date.as_ref().filter(|_| unset) {
                        config.template.date.clone_from(date);
                    }
                    Ok(template.templates())
                }
                None => match choose_templates(&config.template.chat_template, assets) {
                    Ok(choice) => Ok(compile(&choice)?),
                    Err(error) => Err(error),
                },
            };
            let inner = Arc::clone(&tokenizer.inner);
            let eos = &assets.eos_ids;
            let recipe = Recipe::from_parts(inner, templates, special_tokens, eos, &config)?;
            Ok(Self::of(recipe))
        })
    }

    /// The encoder of a run with this configuration.
    #[staticmethod]
    fn from_config(py: Python<'_>, json: &str) -> PyResult<Self> {
        detached(py, || {
            let (recipe, _) = Recipe::load(&PackConfig::from_json(json)?)?;
            Ok(Self::of(recipe))
        })
    }

    /// Renders, tokenizes and labels a row that is one sample.
    fn encode(&self, py: Python<'_>, row: &Bound<'_, PyAny>) -> PyResult<EncodedRow> {
        let row = GivenRow::new(row)?;
        let prepared = detached(py, || {
            let mut samples = self.prepare(&row)?;
            match (samples.len(), samples.pop()) {
                (1, Some(sample)) => Ok(sample),
                (_, Some(sample)) if sample.thread > 0 => {
                    Err(row.place(several_threads(sample.thread as usize + 1)))
                }
                (several, _) => Err(row.place(several_samples(several))),
            }
        })?;
        EncodedRow::new(py, prepared)
    }

    /// Renders, tokenizes and labels a row: every sample that `pack` makes of it.
    fn encode_samples(&self, py: Python<'_>, row: &Bound<'_, PyAny>) -> PyResult<Vec<EncodedRow>> {
        let row = GivenRow::new(row)?;
        let samples = detached(py, || self.prepare(&row))?;
        samples
            .into_iter()
            .map(|sample| EncodedRow::new(py, sample))
            .collect()
    }

    /// The text of a row, without labels.
    #[pyo3(signature = (row, *, add_generation_prompt = false))]
    fn render(
        &self,
        py: Python<'_>,
        row: &Bound<'_, PyAny>,
        add_generation_prompt: bool,
    ) -> PyResult<String> {
        let row = GivenRow::new(row)?;
        detached(py, || {
            let sample = self.sample(&row).map_err(|error| row.place(error))?;
            let text = match &sample {
                Sample::Conversation(it) => self.conversation(it, add_generation_prompt),
                Sample::Threads(it) => match it.conversations.as_slice() {
                    [one] => self.conversation(one, add_generation_prompt),
                    several => Err(several_threads(several.len())),
                },
                Sample::Completion { prompt, .. } if add_generation_prompt => {
                    Ok(prompt.to_string())
                }
                Sample::Completion { prompt, completion } => Ok(format!("{prompt}{completion}")),
                Sample::Text(text) => Ok(text.to_string()),
                Sample::Tokens { input_ids, .. } => self.decoded(input_ids),
            };
            text.map_err(|error| row.place(error))
        })
    }

    /// The rows of the configuration's inputs, in order.
    fn rows(&self, py: Python<'_>) -> PyResult<RowReader> {
        detached(py, || RowReader::open(&self.recipe))
    }
}

impl Encoder {
    fn of(recipe: Recipe) -> Self {
        Self {
            recipe: Arc::new(recipe),
            states: Mutex::default(),
        }
    }

    /// Calls `work` with a worker that knows what those before it learned.
    fn with_worker<T>(&self, work: impl FnOnce(&mut Worker<'_>) -> T) -> T {
        let states = || self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states().pop().unwrap_or_default();
        let mut worker = Worker::resume(&self.recipe, state);
        let done = work(&mut worker);
        let state = worker.into_state();
        states().push(state);
        done
    }

    fn prepare(&self, row: &GivenRow) -> Result<Vec<Prepared>, Error> {
        let sample = self.sample(row).map_err(|error| row.place(error))?;
        self.with_worker(|worker| worker.prepare(&sample))
            .map_err(|failure| row.place(of_failure(failure)))
    }

    fn sample(&self, row: &GivenRow) -> Result<Sample, Error> {
        let mut notes = JsonNotes::default();
        let data = match &row.data {
            Given::Data(data) => Ok(data.clone()),
            Given::Json(bytes) => json::parse(bytes, &mut notes),
            Given::Row(row) => row.get().row.clone(),
        };
        let data = data.map_err(of_reject)?;
        let parser: Arc<Parser> = match &row.data {
            Given::Row(row) => Arc::clone(&row.get().parser),
            Given::Data(_) | Given::Json(_) => {
                parser_for(&self.recipe, std::slice::from_ref(&data))?
            }
        };
        parser.parse(data, &mut notes).map_err(of_reject)
    }

    fn conversation(&self, it: &Conversation, prompt: bool) -> Result<String, Error> {
        let templates = self.recipe.templates.as_ref().map_err(Error::clone)?;
        let template = match &templates.tool_use {
            Some(tool_use) if it.tools.is_some() => tool_use,
            _ => &templates.default,
        };
        let mut kwargs = self.recipe.kwargs.clone();
        for (name, value) in it.kwargs.iter() {
            kwargs.insert(name.clone(), value.clone());
        }
        let request = Request {
            messages: &it.messages,
            tools: it.tools.as_deref(),
            documents: it.documents.as_deref(),
            add_generation_prompt: prompt,
            special_tokens: &self.recipe.special_tokens,
            kwargs: &kwargs,
            clock: self.recipe.clock,
        };
        template
            .template
            .render(&request)
            .map_err(|error| template_failure(&error))
    }

    fn decoded(&self, ids: &[u32]) -> Result<String, Error> {
        let text = self.recipe.tokenizer.decode(ids, false);
        text.map_err(|error| Error::new(Code::TokenizerFailed, error.to_string()))
    }
}

/// A row as it was given.
struct GivenRow {
    data: Given,
}

enum Given {
    Data(Data),
    Json(Vec<u8>),
    Row(Py<InputRow>),
}

impl GivenRow {
    fn new(row: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = if let Ok(row) = row.cast::<InputRow>() {
            Given::Row(row.clone().unbind())
        } else if let Ok(text) = row.cast::<PyString>() {
            Given::Json(text.to_str()?.as_bytes().to_vec())
        } else if let Ok(bytes) = row.cast::<PyBytes>() {
            Given::Json(bytes.as_bytes().to_vec())
        } else {
            Given::Data(to_data(row, "row")?)
        };
        Ok(Self { data })
    }

    fn place(&self, error: Error) -> Error {
        match &self.data {
            Given::Row(row) => row.get().place(error),
            Given::Data(_) | Given::Json(_) => error,
        }
    }
}

fn several_samples(several: usize) -> Error {
    let what = format!(
        "the template leaves out reasoning of earlier turns, so the row becomes {several} samples"
    );
    Error::new(Code::LabelSeveral, what)
        .hint("call encode_samples, which gives all of them, or choose history='allow'")
}

fn several_threads(several: usize) -> Error {
    let what = format!("the tree has {several} threads");
    Error::new(Code::LabelSeveral, what)
        .hint("call encode_samples, which gives all of them, or choose tree={'threads': 'best'}")
}

fn of_failure(failure: Failure) -> Error {
    match failure {
        Failure::Reject(reject) => of_reject(reject),
        Failure::Fatal(error) => error,
    }
}

/// A reject that has no run to be counted in: it becomes an error.
fn of_reject(reject: Reject) -> Error {
    let error = Error::new(reject.code, reject.detail);
    if reject.field.is_empty() {
        error
    } else {
        error.at_field(reject.field)
    }
}

type SpanTuple = (u32, u32, &'static str, Option<u32>, bool);

/// A row's tokens, labels and text.
#[pyclass(frozen, get_all, module = "sftprep")]
pub(crate) struct EncodedRow {
    /// Token ids, int32 `(n,)`.
    input_ids: Py<PyAny>,
    /// Unshifted labels, int32 `(n,)`.
    labels: Py<PyAny>,
    /// The rendered text.
    text: String,
    /// Partition of the text's bytes: start, end, kind, message index, trained.
    spans: Vec<SpanTuple>,
    /// Message of each trained turn, and how it was proved what the assistant wrote there.
    mask_method: BTreeMap<u32, &'static str>,
    /// The message that the sample ends with and trains, if the row became one sample per turn.
    turn: Option<u32>,
}

#[pymethods]
impl EncodedRow {
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.input_ids.bind(py).len()
    }
}

impl EncodedRow {
    fn new(py: Python<'_>, prepared: Prepared) -> PyResult<Self> {
        let ids: Vec<i32> = prepared
            .example
            .input_ids
            .iter()
            .map(|id| *id as i32)
            .collect();
        let spans = prepared.spans.iter().map(|span| {
            let message = (span.message != NO_MESSAGE).then_some(span.message);
            (
                span.start,
                span.end,
                span.kind.name(),
                message,
                span.trained,
            )
        });
        Ok(Self {
            input_ids: array(py, ids)?.unbind(),
            labels: array(py, prepared.example.labels())?.unbind(),
            spans: spans.collect(),
            text: prepared.text,
            turn: prepared.turn,
            mask_method: prepared.methods.into_iter().collect(),
        })
    }
}
