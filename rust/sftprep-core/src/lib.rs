//! The core of sftprep: from files of conversations to packed, labelled, verifiable shards.
//!
//! One straight line of data flow, one folder per step:
//!
//! ```text
//! files ─source→ Record ─format→ Sample ─template→ Rendered ─tokenize→ Encoding ─label→ Example
//!                                                                                         │ lengths
//! shards + manifest ←shard─ packed rows ←gather─ PackPlan ←──────────── pack::plan ←──────┘
//! ```
//!
//! [`pipeline`] is the only module that knows all of it; [`audit`] and [`explain`] look at its
//! result, with the help of [`replay`]. The folders beside it (`source`, `format`, `label`, `pack`,
//! `shard`, `assets`) never import each other; they share [`types`], [`config`] and [`error`]. A test reads the `use` lines and fails on an upward or sideways one.

pub mod config;
pub mod error;
pub mod faults;
pub mod huge;
pub mod json;
pub mod types;

pub mod assets;
pub mod format;
pub mod label;
pub mod pack;
pub mod shard;
pub mod source;

pub mod pipeline;

pub mod replay;

pub mod audit;
pub mod explain;
pub mod quality;

#[cfg(test)]
mod test_data;
