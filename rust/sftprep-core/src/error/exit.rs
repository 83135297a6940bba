//! What codes are to a command: a name, a stage, an exit code.

use std::fmt;

use super::codes::Code;

impl Code {
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// The stage the code belongs to: the word before the dot.
    pub fn stage(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// Exit code of a command that ends with it (0 ok, 1 rejects, 2 usage, 3 input, 4 output,
    /// 5 integrity, 6 internal, 130 interrupted).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::RunCancelled => 130,
            Self::RunRejectRate
            | Self::RunNothingPacked
            | Self::TrainLabels
            | Self::TrainDiverged
            | Self::TrainMemory => 1,
            Self::TrainModel => 3,
            Self::RunInternal => 6,
            Self::OutputExists | Self::RunIncomplete | Self::RunMemory => 2,
            _ => match self.stage() {
                "config" => 2,
                "output" => 4,
                "shard" | "train" => 5,
                _ => 3,
            },
        }
    }
}

/// Ledgers number codes in a byte.
const _: () = assert!(Code::ALL.len() <= i8::MAX as usize);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
