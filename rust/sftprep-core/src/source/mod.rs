//! From the names of inputs to chunks of rows, in bounded memory.
//!
//! [`resolve`] turns what the user typed into a list of [`InputFile`]s and reports everything
//! wrong with them at once, before any work. [`Reader`] then hands out [`Chunk`]s of rows in
//! order: lines of `.jsonl`, values of `.json`, rows of Parquet and Arrow files, each also out of
//! gzip or Zstandard. Rows stay bytes where they are text; whoever takes the chunk parses them.
//!
//! What is promised about text: a row ends at `\n` and nowhere else; every row carries its line
//! and its exact byte offset in the decompressed text; a line beyond the limit costs no more
//! memory than the limit and does not take the next line with it.
//!
//! [`Chunk`]: crate::types::Chunk

use std::fmt;
use std::path::PathBuf;

mod arrow_data;
mod bounded;
mod buffer;
mod bytes;
mod columnar;
mod gauge;
mod ipc;
mod lines;
mod reader;
mod resolve;
mod tasks;
mod values;

pub use reader::{InputDigest, ReadOptions, Reader};
pub use resolve::resolve;
pub use tasks::{Part, TASK_BYTES, join_hashes, lines_before, tasks};

/// Path that stands for standard input.
pub const STDIN: &str = "-";

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Name in the statistics: the one given as `name=path`, or the path without its extensions.
    pub name: String,
    /// Where it is; [`STDIN`] for standard input.
    pub path: PathBuf,
    /// What is in it, once decompressed; what standard input holds is seen when it is opened.
    pub kind: Kind,
    /// How it is compressed.
    pub compression: Compression,
    /// Size on disk in bytes; 0 for standard input.
    pub bytes: u64,
}

impl InputFile {
    /// Whether this is standard input.
    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }
}

/// What an input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One JSON value per line.
    JsonLines,
    /// An array of rows, or rows one after the other.
    Json,
    /// Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
}

impl Kind {
    /// The kind that a file extension (lower case, without dot) stands for.
    fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "jsonl" | "ndjson" => Self::JsonLines,
            "json" => Self::Json,
            "parquet" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }

    /// The kind that the first bytes give away, if they do.
    fn from_magic(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PAR1") {
            return Some(Self::Parquet);
        }
        let arrow = head.starts_with(b"ARROW1") || head.starts_with(b"\xff\xff\xff\xff");
        (arrow || head.starts_with(b"FEA1")).then_some(Self::Arrow)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonLines => "JSON Lines",
            Self::Json => "JSON",
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
        })
    }
}

/// How an input is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or many.
    Gzip,
    /// Zstandard, one frame or many.
    Zstd,
}

impl Compression {
    fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "gz" => Self::Gzip,
            "zst" => Self::Zstd,
            _ => return None,
        })
    }

    fn from_magic(head: &[u8]) -> Self {
        // A Zstandard file may begin with a skippable frame: 0x184D2A50 to 0x184D2A5F.
        let skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == *b"\x2a\x4d\x18";
        if head.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if skippable || head.starts_with(b"\x28\xb5\x2f\xfd") {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Zstd => "Zstandard",
        })
    }
}
