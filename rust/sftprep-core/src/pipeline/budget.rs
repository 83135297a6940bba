//! Ends a run that is going wrong before it has read everything.

use crate::error::{Code, Error, Reject, Result};

/// Rows after which the share of rejects is judged for the first time.
const FIRST_JUDGEMENT: u64 = 100;
/// Rejects shown when a run ends.
const SHOWN: usize = 5;

/// Counts rows and rejects. The share is judged after 100 rows, whenever the count has grown
/// tenfold since, and at the end, so the verdict does not depend on how rows are grouped.
#[derive(Debug)]
pub(super) struct RejectBudget {
    max_rate: f64,
    rows: u64,
    rejected: u64,
    judged_at: u64,
    first: Vec<String>,
}

impl RejectBudget {
    /// A budget that allows this share of rows (0 to 1).
    pub(super) fn new(max_rate: f64) -> Self {
        Self {
            max_rate,
            rows: 0,
            rejected: 0,
            judged_at: FIRST_JUDGEMENT,
            first: Vec::new(),
        }
    }

    /// The share that is allowed.
    pub(super) fn max_rate(&self) -> f64 {
        self.max_rate
    }

    /// Counts a row; `place` says where a rejected one is.
    ///
    /// # Errors
    /// `run.reject_rate` if this row is one after which the share is judged, and it is too high.
    pub(super) fn count(
        &mut self,
        reject: Option<&Reject>,
        place: impl Fn() -> String,
    ) -> Result<()> {
        self.rows += 1;
        if let Some(reject) = reject {
            self.rejected += 1;
            if self.first.len() < SHOWN {
                self.first.push(format!("{}: {reject}", place()));
            }
        }
        if self.rows == self.judged_at {
            self.judged_at = self.judged_at.saturating_mul(10);
            self.judge()?;
        }
        Ok(())
    }

    /// Judges the share of rejects so far.
    ///
    /// # Errors
    /// `run.reject_rate` with the first rejects.
    pub(super) fn judge(&self) -> Result<()> {
        let rate = self.rejected as f64 / (self.rows.max(1)) as f64;
        if rate <= self.max_rate {
            return Ok(());
        }
        let mut examples = String::new();
        for line in &self.first {
            examples.push_str("\n    ");
            examples.push_str(line);
        }
        let (seen, max) = (100.0 * rate, 100.0 * self.max_rate);
        let message = format!(
            "{} of {} rows were rejected ({seen:.1} %, allowed {max:.1} %); the first:{examples}",
            self.rejected, self.rows
        );
        Err(Error::new(Code::RunRejectRate, message)
            .hint("mend the rows or the options, or raise --max-reject-rate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(max_rate: f64, rows: u64, bad: impl Fn(u64) -> bool) -> (u64, Result<()>) {
        let mut budget = RejectBudget::new(max_rate);
        let reject = Reject::new(Code::RowJson, "seen");
        for row in 0..rows {
            let verdict = budget.count(bad(row).then_some(&reject), || format!("a.jsonl:{row}"));
            if verdict.is_err() {
                return (row + 1, verdict);
            }
        }
        (rows, budget.judge())
    }

    #[test]
    fn a_bad_run_ends_after_a_hundred_rows_with_examples() {
        let (rows, verdict) = run(0.05, 1000, |row| row % 10 == 3);
        let error = verdict.unwrap_err();
        assert_eq!((rows, error.code), (100, Code::RunRejectRate));
        assert!(
            error.message.contains("a.jsonl:3: row.json: seen"),
            "{}",
            error.message
        );
    }

    #[test]
    fn few_rows_are_judged_at_the_end() {
        assert_eq!(run(0.05, 50, |row| row < 2).0, 50);
        assert!(run(0.05, 50, |row| row < 2).1.is_ok());
        assert!(run(0.05, 50, |row| row < 3).1.is_err());
        assert!(run(1.0, 500, |_| true).1.is_ok());
    }
}
