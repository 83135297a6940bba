//! Numpy arrays that own their memory: one copy from the core's vectors, writable as torch wants.
//!
//! Numpy is imported when the first array is made, so that `import sftprep` stays fast. The copy
//! goes into a `bytearray` that the array keeps alive; no crate and no `unsafe` is needed for it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyByteArray;

static FROM_BUFFER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Something that numpy stores in little pieces of fixed size.
pub(crate) trait Item: Copy {
    /// Name of the dtype.
    const DTYPE: &'static str;
    /// Columns of the array (1: it has one axis).
    const COLUMNS: usize;
    /// Bytes of one row.
    const BYTES: usize;
    /// Writes one row.
    fn put(self, place: &mut [u8]);
}

macro_rules! scalar {
    ($($kind:ty = $dtype:literal)*) => {$(
        impl Item for $kind {
            const DTYPE: &'static str = $dtype;
            const COLUMNS: usize = 1;
            const BYTES: usize = size_of::<Self>();
            fn put(self, place: &mut [u8]) {
                place.copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
scalar! { u32 = "uint32" i32 = "int32" i64 = "int64" }

impl<const N: usize> Item for [u32; N] {
    const DTYPE: &'static str = "uint32";
    const COLUMNS: usize = N;
    const BYTES: usize = 4 * N;
    fn put(self, place: &mut [u8]) {
        for (place, item) in place.chunks_exact_mut(4).zip(self) {
            item.put(place);
        }
    }
}

/// The values as an array of shape `(n,)` or `(n, columns)`.
pub(crate) fn array<'py, T: Item>(py: Python<'py>, values: &[T]) -> PyResult<Bound<'py, PyAny>> {
    let bytes = PyByteArray::new_with(py, size_of_val(values), |out| {
        for (place, value) in out.chunks_exact_mut(T::BYTES).zip(values) {
            value.put(place);
        }
        Ok(())
    })?;
    let from_buffer = FROM_BUFFER.get_or_try_init(py, || {
        let numpy = py.import("numpy")?;
        Ok::<_, PyErr>(numpy.getattr("frombuffer")?.unbind())
    })?;
    let flat = from_buffer.bind(py).call1((bytes, T::DTYPE))?;
    if T::COLUMNS == 1 {
        Ok(flat)
    } else {
        flat.call_method1("reshape", ((values.len(), T::COLUMNS),))
    }
}
