//! Numpy arrays over the core's vectors, without a copy, writable as torch wants.
//!
//! Numpy is imported when the first array is made, so that `import sftprep` stays fast. A vector goes
//! into a Python object that lends its memory by the buffer protocol; the array keeps that alive.
//! Copying into a `bytearray` instead took more time than tokenizing did: 12 bytes per token of
//! fresh pages, cleared and then filled.

use std::any::Any;
use std::ffi::{c_int, c_void};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static FROM_BUFFER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Something that numpy stores in little pieces of fixed size.
pub(crate) trait Item: Copy + Send + Sync + 'static {
    /// Name of the dtype.
    const DTYPE: &'static str;
    /// Columns of the array (1: it has one axis).
    const COLUMNS: usize;
}

macro_rules! scalar {
    ($($kind:ty = $dtype:literal)*) => {$(
        impl Item for $kind {
            const DTYPE: &'static str = $dtype;
            const COLUMNS: usize = 1;
        }
    )*};
}
scalar! { u8 = "uint8" u32 = "uint32" i32 = "int32" i64 = "int64" f32 = "float32" f64 = "float64" }

impl<const N: usize> Item for [u32; N] {
    const DTYPE: &'static str = "uint32";
    const COLUMNS: usize = N;
}

/// The memory of a vector, lent to Python.
#[pyclass(frozen, module = "sftprep._core")]
struct Memory {
    start: *mut c_void,
    bytes: ffi::Py_ssize_t,
    /// The vector; nobody touches it until it is dropped.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: `start` points into the heap memory of `_owner`, which stays in place as long as this
// does. Rust neither reads nor writes it again; Python does, under its own rules for buffers.
#[allow(unsafe_code)]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Memory {}

impl Memory {
    fn of<T: Item>(mut values: Vec<T>) -> Self {
        Self {
            start: values.as_mut_ptr().cast(),
            bytes: size_of_val(values.as_slice()) as ffi::Py_ssize_t,
            _owner: Box::new(values),
        }
    }
}

#[pymethods]
impl Memory {
    // SAFETY: Python gives a `view` to fill. `start` and `bytes` are those of initialised plain
    // numbers, and the view holds a reference to this object, which owns them.
    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let memory = slf.get();
        let (start, bytes) = (memory.start, memory.bytes);
        // SAFETY: see above.
        let done = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, bytes, 0, flags) };
        if done == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// The values as an array of shape `(n,)` or `(n, columns)`.
pub(crate) fn array<T: Item>(py: Python<'_>, values: Vec<T>) -> PyResult<Bound<'_, PyAny>> {
    let rows = values.len();
    let from_buffer = FROM_BUFFER.get_or_try_init(py, || {
        let numpy = py.import("numpy")?;
        Ok::<_, PyErr>(numpy.getattr("frombuffer")?.unbind())
    })?;
    let memory = Bound::new(py, Memory::of(values))?;
    let flat = from_buffer.bind(py).call1((memory, T::DTYPE))?;
    if T::COLUMNS == 1 {
        Ok(flat)
    } else {
        flat.call_method1("reshape", ((rows, T::COLUMNS),))
    }
}
