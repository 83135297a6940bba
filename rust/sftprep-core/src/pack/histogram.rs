//! Exact best-fit decreasing on the histogram of lengths.
//!
//! Documents of one length are interchangeable, so best fit can be run on counts: for each length
//! from the longest down, bins with the smallest room that still fits take as many as they can
//! hold, all at once. A bin just used stays the best fit while another document fits into it, so
//! this places exactly what item-by-item best-fit decreasing places, in time that depends on the
//! number of distinct (length, room) steps and not on the number of documents.
//!
//! Bins with the same history share a chain of [`Node`]s; a bin is found again by its row number
//! in O(log leaves + documents in it), and nothing per bin is ever stored.

/// "No node" and "no group".
const NONE: u32 = u32::MAX;

/// One step in the history of some bins: each of them took `per_bin` documents of `length`.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The step before, or [`NONE`].
    parent: u32,
    /// Number that this node's first bin has among the parent's bins.
    parent_bin: u32,
    length: u32,
    per_bin: u32,
    /// Rank, among the documents of `length`, of the first document of the first bin.
    rank: u32,
    /// Documents in each bin, this step included.
    documents: u32,
}

/// Bins that are done, with one history.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    first_row: u32,
    node: u32,
    first_bin: u32,
    tokens: u32,
}

/// Bins with the same history and the same room, on the list of that room.
#[derive(Debug, Clone, Copy)]
struct Group {
    node: u32,
    first_bin: u32,
    bins: u32,
    next: u32,
}

/// All bins, in order of their row number.
#[derive(Debug)]
pub(super) struct Bins {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    rows: u32,
}

/// A document in a bin: its length, and its rank among the documents of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) length: u32,
    pub(super) rank: u32,
}

impl Bins {
    /// Packs `counts[l]` documents of each length `l` into bins of `max_len`.
    ///
    /// `counts` has at most `max_len + 1` entries, and its sum fits in 32 bits.
    pub(super) fn pack(counts: &[u32], max_len: u32) -> Self {
        let mut open = Open::new(max_len);
        for (length, &count) in counts.iter().enumerate().skip(1).rev() {
            if count > 0 {
                open.place(length as u32, count);
            }
        }
        open.close()
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Tokens and documents of bin `row`.
    pub(super) fn shape(&self, row: u32) -> (u32, u32) {
        let leaf = self.leaf(row);
        (leaf.tokens, self.nodes[leaf.node as usize].documents)
    }

    /// Visits the documents of bin `row`, the longest last.
    pub(super) fn visit(&self, row: u32, mut visit: impl FnMut(Slot)) {
        let leaf = self.leaf(row);
        let mut index = leaf.node;
        let mut bin = leaf.first_bin + (row - leaf.first_row);
        while index != NONE {
            let node = self.nodes[index as usize];
            for place in 0..node.per_bin {
                visit(Slot {
                    length: node.length,
                    rank: node.rank + bin * node.per_bin + place,
                });
            }
            bin += node.parent_bin;
            index = node.parent;
        }
    }

    fn leaf(&self, row: u32) -> Leaf {
        let after = self.leaves.partition_point(|leaf| leaf.first_row <= row);
        self.leaves[after - 1]
    }
}

/// The bins while they are being filled.
struct Open {
    max_len: u32,
    nodes: Vec<Node>,
    groups: Vec<Group>,
    /// First group of each room.
    heads: Vec<u32>,
    /// Rooms that have a group. Full bins are not among them.
    rooms: BitTree,
    full: Vec<Group>,
}

impl Open {
    fn new(max_len: u32) -> Self {
        Self {
            max_len,
            nodes: Vec::new(),
            groups: Vec::new(),
            // Zeroed memory is not touched until used, which a fill with NONE would do: 0 is NONE
            // here, and a head is the group's index plus one.
            heads: vec![0; max_len as usize + 1],
            rooms: BitTree::new(max_len as usize + 1),
            full: Vec::new(),
        }
    }

    fn place(&mut self, length: u32, mut count: u32) {
        let mut rank = 0;
        while count > 0 {
            let room = self.rooms.first_from(length as usize);
            let (group, room) = match room {
                Some(room) => (self.pop(room as u32), room as u32),
                None => (
                    Group {
                        node: NONE,
                        first_bin: 0,
                        bins: u32::MAX,
                        next: 0,
                    },
                    self.max_len,
                ),
            };
            let fits = room / length;
            let (bins, per_bin) = match count / fits {
                0 => (1, count), // the last documents of this length, fewer than a bin holds
                bins => (bins.min(group.bins), fits),
            };
            if group.node != NONE && bins < group.bins {
                let rest = Group {
                    first_bin: group.first_bin + bins,
                    bins: group.bins - bins,
                    ..group
                };
                self.push(rest, room);
            }
            let node = self.extend(group, length, per_bin, rank);
            let taken = bins * per_bin;
            let filled = Group {
                node,
                first_bin: 0,
                bins,
                next: 0,
            };
            self.push(filled, room - per_bin * length);
            rank += taken;
            count -= taken;
        }
    }

    /// Appends a step to the history of a group's bins.
    fn extend(&mut self, group: Group, length: u32, per_bin: u32, rank: u32) -> u32 {
        let before = match group.node {
            NONE => 0,
            node => self.nodes[node as usize].documents,
        };
        self.nodes.push(Node {
            parent: group.node,
            parent_bin: group.first_bin,
            length,
            per_bin,
            rank,
            documents: before + per_bin,
        });
        self.nodes.len() as u32 - 1
    }

    fn push(&mut self, mut group: Group, room: u32) {
        if room == 0 {
            self.full.push(group);
            return;
        }
        let head = &mut self.heads[room as usize];
        group.next = *head;
        if *head == 0 {
            self.rooms.set(room as usize);
        }
        self.groups.push(group);
        *head = self.groups.len() as u32;
    }

    fn pop(&mut self, room: u32) -> Group {
        let head = &mut self.heads[room as usize];
        let group = self.groups[*head as usize - 1];
        if *head as usize == self.groups.len() {
            self.groups.pop();
        }
        *head = group.next;
        if *head == 0 {
            self.rooms.clear(room as usize);
        }
        group
    }

    fn close(self) -> Bins {
        let mut leaves = Vec::new();
        let mut rows = 0;
        let mut add = |group: &Group, room: u32| {
            leaves.push(Leaf {
                first_row: rows,
                node: group.node,
                first_bin: group.first_bin,
                tokens: self.max_len - room,
            });
            rows += group.bins;
        };
        for group in &self.full {
            add(group, 0);
        }
        let mut next = self.rooms.first_from(1);
        while let Some(room) = next {
            let mut head = self.heads[room];
            while head != 0 {
                let group = &self.groups[head as usize - 1];
                add(group, room as u32);
                head = group.next;
            }
            next = self.rooms.first_from(room + 1);
        }
        Bins {
            nodes: self.nodes,
            leaves,
            rows,
        }
    }
}

/// A set of small integers that finds its first member from a given one on in O(log64 size).
struct BitTree {
    /// Level 0 holds the members; a bit of level k + 1 says that a word of level k is not zero.
    levels: Vec<Vec<u64>>,
}

impl BitTree {
    fn new(size: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = size.div_ceil(64).max(1);
        loop {
            levels.push(vec![0; words]);
            if words == 1 {
                return Self { levels };
            }
            words = words.div_ceil(64);
        }
    }

    fn set(&mut self, mut index: usize) {
        for level in &mut self.levels {
            level[index / 64] |= 1 << (index % 64);
            index /= 64;
        }
    }

    fn clear(&mut self, mut index: usize) {
        for level in &mut self.levels {
            level[index / 64] &= !(1 << (index % 64));
            if level[index / 64] != 0 {
                return;
            }
            index /= 64;
        }
    }

    fn first_from(&self, from: usize) -> Option<usize> {
        let mut index = from;
        for (depth, level) in self.levels.iter().enumerate() {
            let word = level.get(index / 64)? & (u64::MAX << (index % 64));
            if word != 0 {
                index = index / 64 * 64 + word.trailing_zeros() as usize;
                return Some(self.descend(depth, index));
            }
            index = index / 64 + 1; // the words after this one
        }
        None
    }

    fn descend(&self, depth: usize, mut index: usize) -> usize {
        for level in self.levels[..depth].iter().rev() {
            index = index * 64 + level[index].trailing_zeros() as usize;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_bit_tree_is_an_ordered_set(
            size in 1usize..20_000,
            steps in prop::collection::vec((any::<bool>(), 0usize..20_000), 0..60),
        ) {
            let mut tree = BitTree::new(size);
            let mut set = BTreeSet::new();
            for (add, index) in steps {
                let index = index % size;
                if add { tree.set(index); set.insert(index); }
                else { tree.clear(index); set.remove(&index); }
                let from = (index * 7 + 3) % size;
                prop_assert_eq!(tree.first_from(from), set.range(from..).next().copied());
                prop_assert_eq!(tree.first_from(0), set.first().copied());
                prop_assert_eq!(tree.first_from(size), None);
            }
        }
    }
}
