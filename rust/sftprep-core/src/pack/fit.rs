//! First fit and next fit, in input order.

/// First fit: each document goes into the first bin with room for it. Returns the bin of each
/// document and the number of bins.
///
/// A tournament tree over the room left in each bin finds that bin in O(log n).
pub(super) fn first_fit(lengths: &[u32], max_len: u32) -> (Vec<u32>, u32) {
    let leaves = lengths.len().next_power_of_two();
    // Every bin that could ever be opened is there from the start, empty; the first one with room
    // is the first fit, whether it was opened before or not.
    let mut room = vec![max_len; 2 * leaves];
    let mut bins = 0;
    let bin_of = lengths
        .iter()
        .map(|&length| {
            let mut at = 1;
            while at < leaves {
                at = 2 * at + usize::from(room[2 * at] < length);
            }
            let bin = (at - leaves) as u32;
            bins = bins.max(bin + 1);
            room[at] -= length;
            while at > 1 {
                at /= 2;
                room[at] = room[2 * at].max(room[2 * at + 1]);
            }
            bin
        })
        .collect();
    (bin_of, bins)
}

/// Next fit: documents in input order, a new bin whenever one does not fit. Returns the first
/// document of each bin, and one entry more for the end.
pub(super) fn next_fit(lengths: &[u32], max_len: u32) -> Vec<u32> {
    let mut starts = Vec::new();
    let mut used = max_len;
    for (document, &length) in (0..).zip(lengths) {
        if length > max_len - used {
            starts.push(document);
            used = 0;
        }
        used += length;
    }
    starts.push(lengths.len() as u32);
    starts
}
