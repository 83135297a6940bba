//! The memory budget of a run, and what follows from it: how long a row may be, how many rows are
//! under way, what stays in memory between the phases, how many shards are written at once.
//!
//! What was tokenized lies in the segment on disk; beside it a run needs memory for the tokenizer, for
//! the rows that are under way, for 16 bytes per document, and for a record batch per writer. Only
//! the longest row decides about what is packed, so it is a function of the budget alone; the rest
//! may look at what the process has.

use super::MappedRows;
use crate::config::PackConfig;
use crate::error::{Code, Error, Result};
use crate::shard::{BATCH_ROWS, BATCH_TOKENS, PAST_DOCUMENT_BYTES};

/// Bytes that a run takes beside its rows, about: program, tokenizer, buffers.
const BASE: u64 = 128 << 20;

/// Bytes that a byte of a row takes while it is read, parsed, rendered and tokenized, at most: 17
/// of English, 26 of digits that are a token each.
const PER_ROW_BYTE: u64 = 40;

/// What is decoded at a time from a columnar file is this part of the budget for rows, at most. It
/// is there up to three times: packed, unpacked, and as a record batch.
const BATCH_PART: u64 = 8;

/// Bytes per document in the plan.
const PER_DOCUMENT: u64 = 16;

/// Bytes that have to be free after loading.
const FREE: u64 = 64 << 20;

/// Bytes of the segment that stay in memory, at most, are this part of the budget.
const HELD_PART: u64 = 16;

/// The longest row that fits in a budget, in bytes.
fn longest_row(budget: u64) -> u64 {
    budget.saturating_sub(BASE) / PER_ROW_BYTE
}

/// The budget of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Bytes; 0 for no limit.
    budget: u64,
}

impl Memory {
    pub(super) fn of(config: &PackConfig) -> Self {
        Self {
            budget: config.output.memory,
        }
    }

    /// Lowers the limit for rows to what fits.
    pub(super) fn limit_rows(self, config: &mut PackConfig) {
        if self.budget > 0 {
            let limit = &mut config.source.max_line_bytes;
            *limit = (*limit).min(longest_row(self.budget));
        }
    }

    /// Whether rows that are under way are counted by their size.
    pub(super) fn is_limited(self) -> bool {
        self.budget > 0
    }

    /// Bytes that may be decoded at a time from a columnar file.
    pub(super) fn batch_bytes(self) -> u64 {
        match self.budget {
            0 => u64::MAX,
            budget => budget.saturating_sub(BASE) / BATCH_PART,
        }
    }

    /// Words of the segment that may stay in memory, if `usual` would without a budget.
    pub(super) fn held_words(self, usual: usize) -> usize {
        match self.budget {
            0 => usual,
            budget => usual.min((budget / HELD_PART / 4) as usize),
        }
    }

    /// Whether the process has most of its budget by now.
    pub(super) fn is_tight(self) -> bool {
        self.budget > 0 && resident().is_some_and(|used| used > self.budget / 4 * 3)
    }

    /// Refuses a budget that what was loaded uses up by itself.
    ///
    /// # Errors
    /// `run.memory` with the budget that it takes.
    pub(super) fn check_loaded(self, what: &str) -> Result<()> {
        let wanted = resident().unwrap_or(0) + FREE;
        if self.budget == 0 || wanted <= self.budget {
            return Ok(());
        }
        Err(self.too_small(&format!("after loading {what}"), wanted))
    }

    /// Refuses more documents than can be planned in half of the budget.
    ///
    /// # Errors
    /// `run.memory` with the budget that it takes.
    pub(super) fn check_documents(self, documents: usize) -> Result<()> {
        self.check_list(documents, PER_DOCUMENT, "to plan")
    }

    /// Refuses more documents of finished datasets than can be found again in half of the budget.
    ///
    /// # Errors
    /// `run.memory` with the budget that it takes.
    pub(super) fn check_past(self, documents: usize) -> Result<()> {
        self.check_list(documents, PAST_DOCUMENT_BYTES as u64, "to find")
    }

    fn check_list(self, documents: usize, bytes_each: u64, what: &str) -> Result<()> {
        let wanted = 2 * bytes_each * documents as u64;
        if self.budget == 0 || wanted <= self.budget {
            return Ok(());
        }
        Err(self.too_small(&format!("{what} {documents} documents and more"), wanted))
    }

    fn too_small(self, what: &str, wanted: u64) -> Error {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!("a budget of {} MiB is too small {what}", mib(self.budget));
        Error::new(Code::RunMemory, message)
            .at_field("output.memory")
            .hint(format!("give at least --memory {}MiB", mib(wanted)))
    }

    /// How many shards may be written at once, if `threads` would without a budget.
    pub(super) fn writers(self, threads: usize, mapped: &MappedRows, max_len: u32) -> usize {
        let Some(used) = resident().filter(|_| self.budget > 0) else {
            return threads;
        };
        let free = self.budget.saturating_sub(used);
        let writers = free / writer_bytes(mapped, max_len).max(1);
        threads.min(writers.max(1) as usize)
    }
}

/// Bytes that the record batch of one shard takes, from above: ids and labels, and as many documents
/// and spans as there are for as many tokens.
fn writer_bytes(mapped: &MappedRows, max_len: u32) -> u64 {
    let totals = mapped.plan.ledger.totals.all();
    let packed = (totals.trained + totals.context).max(1) as f64;
    let rows = BATCH_ROWS as u64 * u64::from(max_len);
    let tokens = rows
        .min(BATCH_TOKENS.max(u64::from(max_len)))
        .min(packed as u64) as f64;
    let spans = 18.0 * mapped.plan.counts.spans as f64 / packed;
    let documents = 40.0 * totals.documents as f64 / packed;
    (tokens * (12.0 + spans + documents) * 1.25) as u64
}

/// Memory that the process has now, in bytes, where the system says.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_limits_what_grows() {
        let mut config = PackConfig::default();
        let usual = config.source.max_line_bytes;
        Memory::of(&config).limit_rows(&mut config);
        assert_eq!(config.source.max_line_bytes, usual);
        config.output.memory = 256 << 20;
        let memory = Memory::of(&config);
        memory.limit_rows(&mut config);
        assert_eq!(config.source.max_line_bytes, (128 << 20) / 40);
        assert_eq!(memory.held_words(16 << 20), 4 << 20);
        assert!(memory.check_documents(8_000_000).is_ok());
        let error = memory.check_documents(10_000_000).unwrap_err();
        assert_eq!(error.code, Code::RunMemory);
        assert!(error.hint.unwrap().contains("306MiB"));
        config.output.memory = 1 << 20;
        assert!(cfg!(not(target_os = "linux")) || Memory::of(&config).check_loaded("it").is_err());
    }
}
