//! Choosing among rows that have vectors or tags.

use pyo3::prelude::*;
use sftprep_core::error::{Code, Error};
use sftprep_quality::select::{
    KMeans, Metric, Novelty, Vectors, facility_location as locate, kmeans as cluster,
    novel_tags as bring_tags, novel_vectors as bring_vectors, on_threads,
};

use crate::array::array;
use crate::error::{bad_argument, detached, to_py};
use crate::stage::numbers;

type Array<'py> = Bound<'py, PyAny>;

/// Chooses candidates that are not too close to better ones.
#[pyfunction]
#[pyo3(signature = (vectors, order, threshold, budget, threads = 0))]
pub(crate) fn novel_vectors<'py>(
    py: Python<'py>,
    vectors: &Bound<'py, PyAny>,
    order: &Bound<'py, PyAny>,
    threshold: f64,
    budget: usize,
    threads: usize,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>)> {
    let (width, values) = floats(vectors)?;
    let order = numbers("order", order, "int64", i64::from_ne_bytes)?;
    let fates = detached(py, || {
        let vectors = made(width, values)?;
        let order = indices(&order, vectors.len())?;
        on(threads, || {
            bring_vectors(&vectors, &order, threshold, budget)
        })
    })?;
    let partner = |fate: &Novelty| match fate {
        Novelty::Similar(partner, _) => i64::from(*partner),
        _ => -1,
    };
    let cosine = |fate: &Novelty| match fate {
        Novelty::Similar(_, cosine) => *cosine,
        _ => f64::NAN,
    };
    Ok((
        array(py, fates.iter().map(code).collect())?,
        array(py, fates.iter().map(partner).collect())?,
        array(py, fates.iter().map(cosine).collect())?,
    ))
}

/// Chooses candidates that bring a new tag.
#[pyfunction]
pub(crate) fn novel_tags<'py>(
    py: Python<'py>,
    tags: Vec<Vec<u32>>,
    order: &Bound<'py, PyAny>,
    budget: usize,
    rounds: usize,
) -> PyResult<Array<'py>> {
    let order = numbers("order", order, "int64", i64::from_ne_bytes)?;
    let fates = detached(py, || {
        let order = indices(&order, tags.len())?;
        Ok(bring_tags(&tags, &order, budget, rounds))
    })?;
    array(py, fates.iter().map(code).collect())
}

/// Clusters vectors.
#[pyfunction]
#[pyo3(signature = (vectors, clusters, seed, iterations, threads = 0))]
pub(crate) fn kmeans<'py>(
    py: Python<'py>,
    vectors: &Bound<'py, PyAny>,
    clusters: usize,
    seed: u64,
    iterations: usize,
    threads: usize,
) -> PyResult<(Array<'py>, Array<'py>)> {
    let (width, values) = floats(vectors)?;
    let rules = KMeans {
        clusters,
        seed,
        iterations,
    };
    let clusters = detached(py, || {
        let vectors = made(width, values)?;
        on(threads, || cluster(&vectors, rules))
    })?;
    let of: Vec<i32> = clusters.of.iter().map(|it| *it as i32).collect();
    Ok((array(py, of)?, array(py, clusters.distance)?))
}

/// Chooses rows that stand for all.
#[pyfunction]
#[pyo3(signature = (vectors, metric, budget, threads = 0))]
pub(crate) fn facility_location<'py>(
    py: Python<'py>,
    vectors: &Bound<'py, PyAny>,
    metric: &str,
    budget: usize,
    threads: usize,
) -> PyResult<(Array<'py>, Array<'py>, Array<'py>, Array<'py>)> {
    let (width, values) = floats(vectors)?;
    let found = detached(py, || {
        let metric = match metric {
            "cosine" => Metric::Cosine,
            "euclidean" => Metric::Euclidean,
            _ => {
                let message = format!("there is no metric {metric:?}");
                return Err(bad_argument("metric", message).hint("cosine or euclidean"));
            }
        };
        let vectors = made(width, values)?;
        on(threads, || locate(&vectors, metric, budget))
    })?;
    let picks = found.picks.iter();
    let nearest = found.nearest.iter();
    Ok((
        array(py, picks.clone().map(|it| i64::from(it.row)).collect())?,
        array(py, picks.map(|it| it.gain).collect())?,
        array(py, nearest.clone().map(|it| i64::from(it.0)).collect())?,
        array(py, nearest.map(|it| f64::from(it.1)).collect())?,
    ))
}

fn code(fate: &Novelty) -> u8 {
    match fate {
        Novelty::Chosen => 0,
        Novelty::Similar(..) => 1,
        Novelty::NothingNew => 2,
        Novelty::Beyond => 3,
    }
}

fn on<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    on_threads(threads, work).map_err(|error| Error::new(Code::RunInternal, error))
}

fn made(width: usize, values: Vec<f32>) -> Result<Vectors, Error> {
    Vectors::new(width, values).map_err(|why| bad_argument("vectors", why.to_string()))
}

/// Width and numbers of an array of two axes.
fn floats(vectors: &Bound<'_, PyAny>) -> PyResult<(usize, Vec<f32>)> {
    let py = vectors.py();
    let array = py.import("numpy")?.call_method1("asarray", (vectors,))?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    let [_, width] = shape[..] else {
        let message = format!("vectors has {} axes, it must have two", shape.len());
        return Err(to_py(py, &bad_argument("vectors", message)));
    };
    let flat = array.call_method1("reshape", (-1,))?;
    Ok((
        width,
        numbers("vectors", &flat, "float32", f32::from_ne_bytes)?,
    ))
}

fn indices(order: &[i64], count: usize) -> Result<Vec<u32>, Error> {
    let index = |at: &i64| match u32::try_from(*at) {
        Ok(index) if (index as usize) < count => Ok(index),
        _ => {
            let message = format!("order holds {at}, there are {count} rows");
            Err(bad_argument("order", message))
        }
    };
    order.iter().map(index).collect()
}
