//! Errors and rejects as data: a stable code, a place, what was seen, and what to do about it.
//!
//! An [`Error`] ends a run. A [`Reject`] ends one row: it is counted, written to the ledger, and
//! the run goes on. Both carry a [`Code`]; `sftprep errors CODE` prints the code's page, and a
//! test asserts that every code has one.

mod codes;
mod exit;

use std::fmt;
use std::path::PathBuf;

pub use codes::{Code, Page};

/// Result of everything that can end a run.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run ended. Messages are lower case, without a full stop, and name the value seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Stable code, such as `source.missing`.
    pub code: Code,
    /// What was seen, and what was wanted.
    pub message: String,
    /// File it happened in, if there is one.
    pub path: Option<PathBuf>,
    /// Line (1-based) in that file, if there is one.
    pub line: Option<u64>,
    /// Option, column or field concerned, if there is one.
    pub field: Option<String>,
    /// What to do, in the imperative.
    pub hint: Option<String>,
}

impl Error {
    /// An error with a code and a message; add the place with the `at_*` methods.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            path: None,
            line: None,
            field: None,
            hint: None,
        }
    }

    /// Names the file concerned.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Names the line (1-based) concerned.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Names the option, column or field concerned.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An operating-system error at a path; a full disk gets its own code and hint.
    pub fn io(code: Code, path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, StorageFull};
        let full = error.kind() == StorageFull || error.raw_os_error() == Some(122); // EDQUOT
        let code = if full { Code::OutputDiskFull } else { code };
        let out = Self::new(code, error.to_string()).at_path(path);
        match error.kind() {
            _ if full => out.hint("free space there or choose another --out, then run again"),
            PermissionDenied => out.hint("check the owner and the permissions of that path"),
            _ => out,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(path) = &self.path {
            write!(f, "\n  --> {}", path.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
        }
        if let Some(field) = &self.field {
            write!(f, "\n  field: {field}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Why one row was not packed. The place of the row is known to whoever holds the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Stable code, such as `format.role_unknown`.
    pub code: Code,
    /// What was seen and what was wanted, in one line.
    pub detail: String,
    /// Field concerned, as a path such as `messages[2].role`; empty where there is none.
    pub field: String,
}

impl Reject {
    /// A reject with a code and one line of detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: String::new(),
        }
    }

    /// Names the field concerned.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)?;
        if !self.detail.contains(&self.field) {
            write!(f, " (in {})", self.field)?;
        }
        Ok(())
    }
}
