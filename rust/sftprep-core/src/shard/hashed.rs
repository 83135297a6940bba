//! A file that knows its own hashes by the time it is written.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Code, Error, Result};
use crate::faults;

/// Bytes gathered before a write call; larger slices go out directly.
const BUFFER: usize = 256 << 10;

/// Size and hashes of a file, the hashes in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Bytes.
    pub bytes: u64,
    /// XXH3, 128 bits, seed 0, big-endian: quick to check.
    pub xxh3_128: String,
    /// BLAKE3, 256 bits: identity.
    pub blake3: String,
}

/// Both hashes of what passes by.
#[derive(Default)]
pub(super) struct Hashes {
    bytes: u64,
    quick: Xxh3,
    /// None where nobody asks for identity, and its BLAKE3 stays empty.
    strong: Option<blake3::Hasher>,
}

impl Hashes {
    pub(super) fn both() -> Self {
        Self {
            strong: Some(blake3::Hasher::new()),
            ..Self::default()
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.quick.update(bytes);
        if let Some(strong) = &mut self.strong {
            strong.update(bytes);
        }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest {
            bytes: self.bytes,
            xxh3_128: format!("{:032x}", self.quick.digest128()),
            blake3: self
                .strong
                .as_ref()
                .map_or_else(String::new, |hash| hash.finalize().to_hex().to_string()),
        }
    }
}

/// A file under `NAME.tmp` that is hashed while it is written and gets its name when it is whole.
pub(super) struct HashedFile {
    out: BufWriter<File>,
    hashes: Hashes,
    temporary: PathBuf,
    path: PathBuf,
    sealed: bool,
}

impl HashedFile {
    /// Starts the file that will be called `path`.
    pub(super) fn create(path: &Path) -> Result<Self> {
        Self::with_hashes(path, Hashes::both())
    }

    /// The same without BLAKE3, for files that do not outlive the run.
    pub(super) fn scratch(path: &Path) -> Result<Self> {
        Self::with_hashes(path, Hashes::default())
    }

    fn with_hashes(path: &Path, hashes: Hashes) -> Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = File::create(&temporary)
            .map_err(|error| Error::io(Code::OutputIo, &temporary, &error))?;
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER, file),
            hashes,
            temporary,
            path: path.to_owned(),
            sealed: false,
        })
    }

    /// Bytes written so far.
    pub(super) fn position(&self) -> u64 {
        self.hashes.bytes
    }

    // Megabytes pass here thrice: two hashes and the system's copy. Block by block, each while it is
    // in the caches, took the same time.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hashes.update(bytes);
        let written = self.out.write_all(bytes);
        written.map_err(|error| self.failed(&error))
    }

    /// Writes zeros up to the next multiple of 64.
    pub(super) fn pad(&mut self) -> Result<()> {
        let zeros = [0; 64];
        let over = (self.position() % 64) as usize;
        if over > 0 {
            self.write(&zeros[over..])
        } else {
            Ok(())
        }
    }

    /// Makes the file durable and gives it its name. A failed sync is final: the page may be
    /// marked clean by then, so trying again would lie.
    pub(super) fn seal(mut self) -> Result<Digest> {
        let written = self.out.flush();
        faults::point("file.written");
        let synced = written.and_then(|()| self.out.get_ref().sync_all());
        faults::point("file.synced");
        let named = synced.and_then(|()| fs::rename(&self.temporary, &self.path));
        named.map_err(|error| self.failed(&error))?;
        self.sealed = true;
        faults::point("file.named");
        Ok(self.hashes.digest())
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::io(Code::OutputIo, &self.path, error)
    }
}

impl Drop for HashedFile {
    fn drop(&mut self) {
        if !self.sealed {
            // Best effort: the work area it lies in is removed with everything in it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a small file in one go, durable and under its name only when whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<Digest> {
    let mut file = HashedFile::create(path)?;
    file.write(bytes)?;
    file.seal()
}

/// The same for bytes whose BLAKE3 is known.
pub(super) fn write_known(path: &Path, bytes: &[u8], blake3: blake3::Hash) -> Result<Digest> {
    debug_assert_eq!(blake3, blake3::hash(bytes));
    let mut file = HashedFile::scratch(path)?;
    file.write(bytes)?;
    Ok(Digest {
        blake3: blake3.to_hex().to_string(),
        ..file.seal()?
    })
}

/// Hashes of a file on disk.
pub(super) fn digest_file(path: &Path) -> Result<Digest> {
    digest_with(path, Hashes::both())
}

/// Whether a file that a record tells of is there with those bytes.
pub(super) fn is_as_recorded(path: &Path, bytes: u64, xxh3_128: &str) -> bool {
    let found = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes);
    let same = |digest: Digest| digest.bytes == bytes && digest.xxh3_128 == xxh3_128;
    found && digest_with(path, Hashes::default()).is_ok_and(same)
}

fn digest_with(path: &Path, mut hashes: Hashes) -> Result<Digest> {
    let failed = |error: &std::io::Error| Error::io(Code::SourceUnreadable, path, error);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hashes.digest()),
            Ok(n) => hashes.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Makes renames inside a folder durable. Windows has no such call and needs none.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::io(Code::OutputIo, dir, &error))?;
    let _ = dir;
    Ok(())
}
