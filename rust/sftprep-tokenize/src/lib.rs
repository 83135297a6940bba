//! Exact, fast BPE tokenizing with byte spans, from a Hugging Face `tokenizer.json`.
//!
//! The ids are those of the `tokenizers` crate, which is the definition of what such a file means;
//! besides, every token carries the bytes of the text that it covers, and added tokens (control
//! tokens) can be refused one by one where they were not meant.
//!
//! ```no_run
//! use sftprep_tokenize::{Encoding, Tokenizer};
//! let tokenizer = Tokenizer::from_file("model/tokenizer.json".as_ref())?;
//! let mut encoder = tokenizer.encoder(); // one per thread
//! let mut out = Encoding::default(); // reused from text to text
//! encoder.encode("Hello, world", &mut out)?;
//! assert_eq!(out.ids.len(), out.offsets.len());
//! # Ok::<(), sftprep_tokenize::TokenizerError>(())
//! ```

mod added;
mod blocks;
mod bytes;
mod cache;
mod check;
mod classes;
mod cut;
mod dense;
mod encoder;
mod error;
mod hf;
mod load;
mod masks;
mod merge;
mod nfc;
mod plan;
mod run;
mod scanner;
mod slab;
mod split;
#[doc(hidden)]
pub mod stages;
mod store;
mod tokenizer;
mod vocab;

pub use added::{AddedMatch, AddedToken};
pub use encoder::{Encoder, Encoding};
pub use error::TokenizerError;
pub use tokenizer::{EngineReport, Tokenizer};
