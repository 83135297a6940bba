//! Tables of plain numbers: in a vector, in a mapped file, or in huge pages.
//!
//! A lookup reads one line of a table of megabytes. With pages of 4 KiB nearly every lookup also
//! misses the processor's table of pages, which on a virtual machine costs more than the line
//! itself; so tables that are read at random lie in huge pages where the system gives them.

#![allow(unsafe_code)]

use bytemuck::Pod;
use memmap2::{Mmap, MmapMut};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// Size of a huge page; smaller tables are vectors.
const HUGE: usize = 2 << 20;

/// A table of fixed size.
pub(crate) struct Slab<T> {
    data: NonNull<T>,
    len: usize,
    owner: Owner<T>,
}

/// What keeps the memory of a slab; never looked into, so that `data` is the only way to it.
#[allow(dead_code)]
enum Owner<T> {
    Vector(Vec<T>),
    File(Arc<Mmap>),
    Huge(MmapMut),
}

// SAFETY: a slab owns its memory, or shares a file mapping that nobody writes through; `T` is
// plain data wherever a slab can be made.
unsafe impl<T: Send> Send for Slab<T> {}
// SAFETY: as above, and `&Slab` only gives `&[T]`.
unsafe impl<T: Sync> Sync for Slab<T> {}

impl<T> Deref for Slab<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `data` points to `len` initialized, aligned elements that `owner` keeps, and
        // they are written only through `writable`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Pod> From<Vec<T>> for Slab<T> {
    fn from(mut vector: Vec<T>) -> Self {
        Self {
            // (The memory of a vector does not move with the vector.)
            data: NonNull::new(vector.as_mut_ptr()).unwrap_or(NonNull::dangling()),
            len: vector.len(),
            owner: Owner::Vector(vector),
        }
    }
}

impl<T: Pod> Default for Slab<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T: Pod> Slab<T> {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let huge = (bytes >= HUGE).then(|| Self::huge(len, bytes)).flatten();
        huge.unwrap_or_else(|| vec![T::zeroed(); len].into())
    }

    /// Zeros in huge pages, or nothing where memory cannot be mapped.
    fn huge(len: usize, bytes: usize) -> Option<Self> {
        // One page more than needed, so that the table can begin where a huge page does.
        let mut map = MmapMut::map_anon(bytes + HUGE).ok()?;
        let skip = map.as_ptr().align_offset(HUGE);
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, skip, bytes); // only advice
        let data = map.get_mut(skip..skip + bytes)?;
        // (A page that is read before it is written is given twice.)
        data.iter_mut().step_by(HUGE).for_each(|b| *b = 0);
        let data: &mut [T] = bytemuck::try_cast_slice_mut(data).ok()?;
        Some(Self {
            data: NonNull::from(data).cast(),
            len,
            owner: Owner::Huge(map),
        })
    }

    /// The `len` elements at a byte of a file, or `None` where it does not hold them there.
    pub(crate) fn mapped(file: &Arc<Mmap>, at: usize, len: usize) -> Option<Self> {
        let end = len.checked_mul(size_of::<T>())?.checked_add(at)?;
        let data: &[T] = bytemuck::try_cast_slice(file.get(at..end)?).ok()?;
        Some(Self {
            data: NonNull::from(data).cast(),
            len,
            owner: Owner::File(Arc::clone(file)),
        })
    }

    /// The same table in memory of its own, in huge pages where it is large.
    pub(crate) fn copied(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.writable().copy_from_slice(self);
        copy
    }

    /// For writing; not for a mapped file.
    pub(crate) fn writable(&mut self) -> &mut [T] {
        assert!(
            !matches!(self.owner, Owner::File(_)),
            "a mapped file is not written"
        );
        // SAFETY: as in `deref`, with exclusive access to memory that is the slab's own.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

/// Asks for the cache line of a value before it is needed.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect on memory, and the address is that of a value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
