//! Large buffers in huge pages.
//!
//! Fresh memory is dear: on a virtual machine a page of 4 KiB costs one to three microseconds when
//! it is first written, as much as tokenizing the text whose ids fill it. Linux gives pages of
//! 2 MiB to those who ask (`madvise`); elsewhere, and where it does not, nothing changes.

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// An empty vector with room for `items`, in huge pages where the system gives them. Memory that is
/// reserved and not written costs nothing, so `items` may be more than there will be.
#[must_use]
pub fn with_room<T>(items: usize) -> Vec<T> {
    let mut vector = Vec::with_capacity(items);
    advise(&mut vector);
    vector
}

/// The same for a vector that will be filled: the pages at its ends are huge ones too, unless it is
/// shorter than one.
#[must_use]
pub fn with_pages<T>(items: usize) -> Vec<T> {
    let page = HUGE / size_of::<T>().max(1);
    let more = if items < page { 0 } else { 2 * page };
    with_room(items.saturating_add(more))
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn advise<T>(vector: &mut Vec<T>) {
    let room = vector.spare_capacity_mut();
    let (start, bytes) = (room.as_mut_ptr().cast::<u8>(), size_of_val(room));
    let skip = start.align_offset(HUGE);
    if bytes < skip.saturating_add(HUGE) {
        return;
    }
    let whole = (bytes - skip) / HUGE * HUGE;
    // SAFETY: whole pages inside of the vector's own memory. The advice changes how the system
    // provides them and not what is in them; whether it is taken makes no difference.
    unsafe { libc::madvise(start.add(skip).cast(), whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_any_size_are_empty_and_grow() {
        for items in [0, 1, 1000, 1 << 19, 3 << 20] {
            for mut vector in [with_room::<u32>(items), with_pages(items)] {
                assert!(vector.is_empty() && vector.capacity() >= items);
                vector.extend(0..items as u32 + 10);
                assert_eq!(vector.iter().copied().max(), Some(items as u32 + 9));
            }
        }
    }
}
