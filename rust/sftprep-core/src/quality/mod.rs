//! Stages that decide which rows go on: duplicates and leaked test items.
//!
//! Each reads rows as `pack` does, decides with `sftprep_quality`, and writes two files: the rows
//! that stay, byte for byte as they were, and a ledger with one line per input row. Kept, dropped
//! and rejected rows add up to the rows read, and a dropped row names the row because of which it
//! goes. Inputs are read again for writing instead of being held, and must not have changed.
//!
//! A row that is no JSON object cannot be part of any dataset and is rejected. A row that is one
//! but does not fit its format cannot be compared; it stays, and the ledger says why.
//!
//! Stages whose decisions are made elsewhere read columns of the rows ([`stage_columns`]) and hand
//! one decision per row back ([`StageRows::write`]); reading, writing and ledger are the same.
//!
//! [`check()`] only looks: it counts what is wrong in six dimensions and changes nothing.

mod check;
mod clean;
mod column;
mod compare;
mod data_json;
mod decisions;
mod decontaminate;
mod dedup;
mod divide;
mod groups;
mod kept;
mod ledger;
mod ledger_file;
mod report;
mod scan;
mod scores;
mod stage;
mod target;
mod text;
mod trail;
mod trees;
mod verdict;
mod why;
mod write;

pub use check::{CheckConfig, CheckReport, check};
pub use clean::{Action, CleanConfig, CleanReport, CleanRules, clean, garbled_texts};
pub use column::Column;
pub use compare::{CompareConfig, CompareReport, compare};
pub use decisions::{Decisions, WriteConfig};
pub use decontaminate::{DecontaminateConfig, decontaminate};
pub use dedup::{DedupConfig, KeepChoice, Method, dedup};
pub use divide::divide;
pub use groups::{GroupsConfig, groups};
pub use report::{Example, PartReport, StageReport};
pub use scores::{ScoreColumn, ScoreValues, read_scores, write_scores};
pub use stage::{Derived, StageConfig, StageRows, StageTable, stage_columns};
pub use text::Field;
pub use trail::{Step, TrailConfig, TrailReport, trail};
pub use trees::{TreesConfig, trees};
pub use why::{Wanted, ledger_row};
