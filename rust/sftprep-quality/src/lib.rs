//! Which texts say the same, exactly and with proof.
//!
//! Stand-alone: texts in, decisions out. [`Shingler`] makes a [`Document`] of a text; [`dedup()`]
//! says which documents go and because of which other one; [`SketchedDedup`] does so where the
//! documents do not fit into memory. [`similar_pairs`] is the join below both. [`TestItems`] finds
//! items of test sets in documents, with the places where they are. [`Novelty`] compares by ROUGE-L
//! instead. [`signs`] are what a single text shows of itself. [`select`] chooses among rows that have
//! vectors or tags.
//!
//! ```
//! use sftprep_quality::{DedupRules, Fate, Shingler, dedup};
//!
//! let mut shingler = Shingler::default();
//! let texts = ["What is the tallest mountain?", "what is the  tallest mountain?", "Hello."];
//! let documents = texts.map(|text| shingler.document(text));
//! let fates = dedup(&documents, &DedupRules::default());
//! let kept = fates.iter().filter(|fate| matches!(fate, Fate::Kept)).count();
//! assert_eq!(kept, 2);
//! ```

mod decontaminate;
mod dedup;
mod document;
mod groups;
mod join;
mod minhash;
mod rouge;
pub mod select;
pub mod signs;
mod words;

pub use decontaminate::{Leak, LeakRules, TestItems};
pub use dedup::{Candidates, DedupRules, Fate, Keep, Likeness, SketchedDedup, dedup};
pub use document::{Document, SHINGLE_WORDS, Shingler, jaccard, ngram_hashes};
pub use groups::{Unions, similar_groups};
pub use join::{CommonNgrams, Frequencies, SimilarityIndex, similar_pairs, similarity};
pub use minhash::MinHash;
pub use rouge::{Novelty, rouge_l, rouge_words};
pub use words::{Word, words};
