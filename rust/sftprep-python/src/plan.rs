//! `plan_packs` and `PackPlan`: which documents share a packed sequence.

use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use sftprep_core::config::{PackingConfig, Strategy};
use sftprep_core::error::{Code, Error};
use sftprep_core::pack;
use sftprep_core::types::{PackedRows, Piece};

use crate::array::array;
use crate::error::{attached, bad_argument, detached, to_py};

/// Longest sequence, as for a run.
const MAX_LEN: u32 = 1 << 24;

/// Plans the packing of documents of these lengths.
#[pyfunction]
#[pyo3(signature = (lengths, max_len, strategy = "bfd", *, seed = 0, balance = 0))]
pub(crate) fn plan_packs(
    py: Python<'_>,
    lengths: &Bound<'_, PyAny>,
    max_len: u32,
    strategy: &str,
    seed: u64,
    balance: u32,
) -> PyResult<PackPlan> {
    let lengths = lengths_of(lengths)?;
    detached(py, || {
        if !(1..=MAX_LEN).contains(&max_len) {
            let message = format!("max_len is {max_len}, it must be between 1 and {MAX_LEN}");
            return Err(bad_argument("max_len", message));
        }
        let strategy = strategy_of(strategy)?;
        check(&lengths, max_len, strategy)?;
        let packing = PackingConfig {
            max_len,
            strategy,
            seed,
            balance,
            ..PackingConfig::default()
        };
        Ok(PackPlan {
            plan: pack::plan_as(&lengths, &packing)?,
            flat: PyOnceLock::new(),
        })
    })
}

fn strategy_of(name: &str) -> Result<Strategy, Error> {
    serde_json::from_value(name.into()).map_err(|error| bad_argument("strategy", error.to_string()))
}

fn check(lengths: &[u32], max_len: u32, strategy: Strategy) -> Result<(), Error> {
    let cuts = matches!(strategy, Strategy::BfdSplit | Strategy::Wrapped);
    if let Some(at) = lengths.iter().position(|length| *length == 0) {
        let field = format!("lengths[{at}]");
        return Err(bad_argument(
            &field,
            format!("{field} is 0, it must be at least 1"),
        ));
    }
    let Some(at) = lengths.iter().position(|length| !cuts && *length > max_len) else {
        return Ok(());
    };
    let message = format!(
        "document {at} has {} tokens, max_len is {max_len}",
        lengths[at]
    );
    Err(Error::new(Code::PackOverlong, message)
        .at_field(format!("lengths[{at}]"))
        .hint("leave it out, raise max_len, or use a strategy that cuts: bfd_split or wrapped"))
}

/// Lengths from a sequence, item by item, or from an array in two copies.
fn lengths_of(lengths: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    let py = lengths.py();
    let bad = |message: String| to_py(py, &bad_argument("lengths", message));
    if !lengths.hasattr("dtype")? {
        return lengths.extract();
    }
    let array = py.import("numpy")?.call_method1("asarray", (lengths,))?;
    let axes: usize = array.getattr("ndim")?.extract()?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    if axes != 1 {
        return Err(bad(format!("lengths has {axes} axes, it must have one")));
    }
    if array.len()? == 0 {
        return Ok(Vec::new());
    }
    if !matches!(kind.as_str(), "i" | "u") {
        let dtype = array.getattr("dtype")?;
        return Err(bad(format!(
            "lengths has the dtype {dtype}, it must hold integers"
        )));
    }
    for name in ["min", "max"] {
        let value = array.call_method0(name)?;
        if value.extract::<u32>().is_err() {
            return Err(bad(format!(
                "lengths holds {value}, which is no length in 32 bits"
            )));
        }
    }
    let bytes = array
        .call_method1("astype", ("uint32",))?
        .call_method0("tobytes")?;
    let (items, _) = bytes.cast::<PyBytes>()?.as_bytes().as_chunks::<4>();
    Ok(items.iter().copied().map(u32::from_ne_bytes).collect())
}

/// Packed sequences as lists of pieces of documents.
#[pyclass(frozen, sequence, module = "sftprep")]
pub(crate) struct PackPlan {
    plan: pack::PackPlan,
    flat: PyOnceLock<Flat>,
}

/// All pieces, end to end.
struct Flat {
    documents: Py<PyAny>,
    starts: Py<PyAny>,
    lengths: Py<PyAny>,
    row_starts: Py<PyAny>,
}

#[pymethods]
impl PackPlan {
    fn __len__(&self) -> usize {
        self.plan.rows()
    }

    fn __getitem__(&self, py: Python<'_>, index: isize) -> PyResult<Vec<(u32, u32, u32)>> {
        let rows = self.plan.rows();
        let at = if index < 0 {
            index + rows as isize
        } else {
            index
        };
        let Some(at) = usize::try_from(at).ok().filter(|at| *at < rows) else {
            return Err(PyIndexError::new_err(format!("sequence {index} of {rows}")));
        };
        attached(py, || {
            let mut pieces = Vec::new();
            self.plan.row(at, &mut pieces);
            Ok(pieces
                .iter()
                .map(|piece| (piece.document, piece.start, piece.len))
                .collect())
        })
    }

    fn __iter__(slf: Py<Self>) -> PackPlanRows {
        PackPlanRows { plan: slf, next: 0 }
    }

    /// Share of the sequences that holds tokens.
    #[getter]
    fn fill(&self) -> f64 {
        self.plan.stats().fill
    }

    /// Sequences that no packing can go below.
    #[getter]
    fn lower_bound(&self) -> u64 {
        self.plan.stats().lower_bound
    }

    /// Sequences above that bound, as a share of it.
    #[getter]
    fn gap(&self) -> f64 {
        self.plan.stats().gap
    }

    /// Tokens in all sequences.
    #[getter]
    fn tokens(&self) -> u64 {
        self.plan.stats().tokens
    }

    /// Document of each piece.
    #[getter]
    fn documents(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.flat(py)?.documents.clone_ref(py))
    }

    /// First token of each piece in its document.
    #[getter]
    fn starts(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.flat(py)?.starts.clone_ref(py))
    }

    /// Tokens of each piece.
    #[getter]
    fn lengths(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.flat(py)?.lengths.clone_ref(py))
    }

    /// Where each sequence's pieces begin, and the end of the last.
    #[getter]
    fn row_starts(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.flat(py)?.row_starts.clone_ref(py))
    }

    fn __repr__(&self) -> String {
        let stats = self.plan.stats();
        format!(
            "PackPlan(rows={}, documents={}, tokens={}, fill={:.6})",
            stats.rows, stats.documents, stats.tokens, stats.fill
        )
    }
}

impl PackPlan {
    fn flat(&self, py: Python<'_>) -> PyResult<&Flat> {
        self.flat.get_or_try_init(py, || {
            let (pieces, row_starts) = detached(py, || Ok(self.pieces()))?;
            let column = |of: fn(&Piece) -> u32| {
                array(py, pieces.iter().map(of).collect::<Vec<_>>()).map(Bound::unbind)
            };
            Ok(Flat {
                documents: column(|piece| piece.document)?,
                starts: column(|piece| piece.start)?,
                lengths: column(|piece| piece.len)?,
                row_starts: array(py, row_starts)?.unbind(),
            })
        })
    }

    fn pieces(&self) -> (Vec<Piece>, Vec<i64>) {
        let (mut all, mut one) = (Vec::new(), Vec::new());
        let mut row_starts = vec![0];
        for row in 0..self.plan.rows() {
            self.plan.row(row, &mut one);
            all.extend_from_slice(&one);
            row_starts.push(all.len() as i64);
        }
        (all, row_starts)
    }
}

/// Iterates over the sequences of a plan.
#[pyclass]
struct PackPlanRows {
    plan: Py<PackPlan>,
    next: isize,
}

#[pymethods]
impl PackPlanRows {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Vec<(u32, u32, u32)>>> {
        let plan = self.plan.get();
        if self.next as usize >= plan.__len__() {
            return Ok(None);
        }
        self.next += 1;
        plan.__getitem__(py, self.next - 1).map(Some)
    }
}
