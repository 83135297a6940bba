//! The extension module `sftprep._core`: bindings only.
//!
//! Every function has the same shape: convert the arguments, release the interpreter, call the
//! core, convert the result. What it means is said in the core; how it looks in Python is said in
//! `python/sftprep/_core.pyi`. Each Python class has its own file.

// Arguments arrive by value from pyo3, whatever is done with them.
#![allow(clippy::needless_pass_by_value)]

mod array;
mod catalog;
mod certify;
mod choose;
mod encoder;
mod error;
mod flat;
mod job;
mod plan;
mod quality;
mod rows;
mod scores;
mod shards;
mod stage;
mod template;
mod tokenizer;
mod trace;
mod value;

use pyo3::pymodule;

/// Bindings of the Rust core; use the names in `sftprep` instead.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::catalog::{check_config, codes, default_config, provoke};

    #[pymodule_export]
    use crate::certify::{audit, check_template, explain, parity};

    #[pymodule_export]
    use crate::choose::{facility_location, kmeans, novel_tags, novel_vectors};

    #[pymodule_export]
    use crate::encoder::{EncodedRow, Encoder};

    #[pymodule_export]
    use crate::job::PackJob;

    #[pymodule_export]
    use crate::plan::{PackPlan, plan_packs};

    #[pymodule_export]
    use crate::quality::{
        check, clean, combine_ledgers, compare_ledgers, decontaminate, dedup, divide_output,
        garbled_texts, ledger_row, similar_groups, trees,
    };

    #[pymodule_export]
    use crate::rows::{InputRow, RowReader};

    #[pymodule_export]
    use crate::scores::{read_scores, write_scores};

    #[pymodule_export]
    use crate::shards::{kill_points, read_manifest, span_kinds, verify};

    #[pymodule_export]
    use crate::stage::{StageRows, stage_columns, stage_write};

    #[pymodule_export]
    use crate::template::{ChatTemplate, builtin_template};

    #[pymodule_export]
    use crate::tokenizer::{Encoding, EncodingBatch, Tokenizer};

    #[pymodule_export]
    use crate::trace::{Segment, TracedText};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
