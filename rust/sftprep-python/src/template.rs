//! `ChatTemplate`: messages to text, as `apply_chat_template` of transformers does it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sftprep_core::assets::{self, BUILTIN_TEMPLATES};
use sftprep_core::pipeline::{CompiledTemplate, Templates, template_failure};
use sftprep_template::{Clock, Data, Map, Request};

use crate::error::{bad_argument, detached, to_py};
use crate::trace::TracedText;
use crate::value::{to_list, to_map};

/// Source of a built-in template.
#[pyfunction]
pub(crate) fn builtin_template(name: &str) -> Option<&'static str> {
    assets::builtin_template(name)
}

/// A compiled chat template.
#[pyclass(frozen, module = "sftprep")]
pub(crate) struct ChatTemplate {
    compiled: CompiledTemplate,
    builtin: Option<&'static str>,
    pub(crate) special_tokens: Vec<(String, String)>,
    pub(crate) date: Option<String>,
    clock: Clock,
}

#[pymethods]
impl ChatTemplate {
    #[new]
    #[pyo3(signature = (source, special_tokens = None, date = None))]
    fn new(
        py: Python<'_>,
        source: String,
        special_tokens: Option<Bound<'_, PyDict>>,
        date: Option<String>,
    ) -> PyResult<Self> {
        let special_tokens = match special_tokens {
            Some(tokens) => tokens
                .iter()
                .map(|(name, token)| Ok((name.extract()?, token.extract()?)))
                .collect::<PyResult<Vec<(String, String)>>>()?,
            None => Vec::new(),
        };
        let clock = clock(py, date.as_deref())?;
        detached(py, || {
            let named = BUILTIN_TEMPLATES.iter().find(|(name, _)| *name == source);
            let source = named.map_or(source.as_str(), |(_, source)| *source);
            let compiled = sftprep_template::ChatTemplate::compile("chat template", source);
            Ok(Self {
                compiled: CompiledTemplate {
                    template: Arc::new(compiled.map_err(|error| template_failure(&error))?),
                    source: source.into(),
                },
                builtin: named.map(|(name, _)| *name),
                special_tokens,
                date,
                clock,
            })
        })
    }

    /// The text of a conversation.
    #[pyo3(signature = (
        messages, tools = None, add_generation_prompt = false, documents = None, **kwargs
    ))]
    fn render(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        documents: Option<&Bound<'_, PyAny>>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let given = Given::new(py, messages, tools, documents, kwargs)?;
        detached(py, || {
            let request = given.request(self, add_generation_prompt);
            let text = self.compiled.template.render(&request);
            text.map_err(|error| template_failure(&error))
        })
    }

    /// The text of a conversation with the origin of every byte.
    #[pyo3(signature = (
        messages, tools = None, add_generation_prompt = false, documents = None, **kwargs
    ))]
    fn render_traced(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        add_generation_prompt: bool,
        documents: Option<&Bound<'_, PyAny>>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<TracedText> {
        let given = Given::new(py, messages, tools, documents, kwargs)?;
        let rendered = detached(py, || {
            let request = given.request(self, add_generation_prompt);
            let rendered = self.compiled.template.render_traced(&request);
            rendered.map_err(|error| template_failure(&error))
        })?;
        TracedText::new(py, rendered, &given.messages)
    }

    /// Template source.
    #[getter]
    fn source(&self) -> &str {
        &self.compiled.source
    }

    /// Variables such as `bos_token`.
    #[getter]
    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (name, token) in &self.special_tokens {
            tokens.set_item(name, token)?;
        }
        Ok(tokens)
    }

    /// Pickles by source: the template is compiled again.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        // By name where it has one: the name also decides how alpaca rows are read.
        let source = self.builtin.unwrap_or(&self.compiled.source).to_owned();
        let arguments = (source, self.special_tokens(py)?, self.date.clone());
        Ok((py.get_type::<Self>().into_any(), arguments))
    }
}

/// What a template is given, converted.
struct Given {
    messages: Vec<Data>,
    tools: Option<Vec<Data>>,
    documents: Option<Vec<Data>>,
    kwargs: Map,
}

impl Given {
    fn new(
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        tools: Option<&Bound<'_, PyAny>>,
        documents: Option<&Bound<'_, PyAny>>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let Some(messages) = to_list(messages, "messages")? else {
            let error = bad_argument("messages", "messages is None, it must be a list");
            return Err(to_py(py, &error));
        };
        let list = |value: Option<&Bound<'_, PyAny>>, name| match value {
            Some(value) => to_list(value, name),
            None => Ok(None),
        };
        Ok(Self {
            messages,
            tools: list(tools, "tools")?,
            documents: list(documents, "documents")?,
            kwargs: match kwargs {
                Some(kwargs) => to_map(kwargs, "kwargs")?,
                None => Map::new(),
            },
        })
    }

    fn request<'a>(&'a self, template: &'a ChatTemplate, prompt: bool) -> Request<'a> {
        Request {
            messages: &self.messages,
            tools: self.tools.as_deref(),
            documents: self.documents.as_deref(),
            add_generation_prompt: prompt,
            special_tokens: &template.special_tokens,
            kwargs: &self.kwargs,
            clock: template.clock,
        }
    }
}

type Reduced<'py> = (
    Bound<'py, PyAny>,
    (String, Bound<'py, PyDict>, Option<String>),
);

impl ChatTemplate {
    /// As the templates of a recipe: it renders rows with tools too.
    pub(crate) fn templates(&self) -> Templates {
        Templates {
            default: self.compiled.clone(),
            tool_use: None,
            builtin: self.builtin,
        }
    }
}

/// The clock of a date, or of now where the machine is, as transformers reads it.
fn clock(py: Python<'_>, date: Option<&str>) -> PyResult<Clock> {
    let datetime = py.import("datetime")?.getattr("datetime")?;
    let moment = match date {
        None => datetime.call_method0("now")?,
        Some(text) => {
            let moment = match text.len() {
                10 | 19 => datetime.call_method1("fromisoformat", (text,)).ok(),
                _ => None,
            };
            moment.ok_or_else(|| {
                let error = bad_argument("date", format!("{text:?} is not a date"))
                    .hint("write it as 2025-06-30 or 2025-06-30T12:34:56");
                to_py(py, &error)
            })?
        }
    };
    Ok(Clock {
        year: moment.getattr("year")?.extract()?,
        month: moment.getattr("month")?.extract()?,
        day: moment.getattr("day")?.extract()?,
        hour: moment.getattr("hour")?.extract()?,
        minute: moment.getattr("minute")?.extract()?,
        second: moment.getattr("second")?.extract()?,
    })
}
