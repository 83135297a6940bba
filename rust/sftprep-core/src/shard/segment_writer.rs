//! Writes a segment: one file per task, or none where the words may stay in memory.
//!
//! A run of one task has nothing to go on with after a crash, so its file begins in memory and most
//! never get to the disk: of 12,000 short conversations that is 30 ms of 550 (16 MB written, hashed,
//! synced and read back in 12,000 calls).

use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::huge;
use crate::types::Example;

use super::columns::flags_of;
use super::hashed::{Digest, HashedFile};
use super::segment::{DocMeta, SegmentReader};

/// Words of a file that stay in memory, at most, where they may.
pub const HELD_WORDS: usize = 16 << 20;

/// Appends the documents of one task to its file.
pub struct SegmentWriter {
    out: Out,
    path: PathBuf,
    sizes: Vec<(u32, u32)>,
    words: Vec<u32>,
}

/// Where the words of a task go.
enum Out {
    File(Box<HashedFile>),
    /// Into memory, as long as there are no more than that.
    Held(Vec<u32>, usize),
}

/// What became of the words of a task.
#[derive(Debug)]
pub enum Sealed {
    /// They are in a durable file of that size and hash.
    File(Digest),
    /// They never got to the disk.
    Held(Vec<u32>),
}

impl SegmentWriter {
    /// Starts the file.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self::with(
            path,
            Out::File(Box::new(HashedFile::scratch(path)?)),
        ))
    }

    /// Starts in memory; there will be a file only if there are more than `words` words.
    pub fn held(path: &Path, words: usize) -> Self {
        Self::with(
            path,
            Out::Held(huge::with_room(words.min(HELD_WORDS)), words),
        )
    }

    fn with(path: &Path, out: Out) -> Self {
        Self {
            out,
            path: path.to_owned(),
            sizes: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Appends a document.
    ///
    /// # Errors
    ///
    /// `run.internal` if the document is empty, if its spans do not partition its tokens, or if an
    /// id does not fit in 31 bits; `output.*` if it cannot be written.
    pub fn append(&mut self, example: &Example, meta: DocMeta) -> Result<()> {
        check_example(example, meta)?;
        let DocMeta { place, part } = meta;
        self.words.clear();
        let words = match &mut self.out {
            Out::Held(held, _) => held,
            Out::File(_) => &mut self.words,
        };
        words.extend([place.source, part]);
        words.extend([place.line as u32, (place.line >> 32) as u32]);
        words.extend([place.offset as u32, (place.offset >> 32) as u32]);
        words.extend([example.input_ids.len() as u32, example.spans.len() as u32]);
        for span in &example.spans {
            let kind = u32::from(span.kind as u8) | u32::from(flags_of(span)) << 8;
            words.extend([span.end, span.message, kind, span.weight.to_bits()]);
        }
        self.sizes
            .push((example.input_ids.len() as u32, example.spans.len() as u32));
        if let Out::Held(held, most) = &mut self.out {
            held.extend_from_slice(&example.input_ids);
            if held.len() > *most {
                let mut file = HashedFile::scratch(&self.path)?;
                file.write(bytemuck::cast_slice(held))?;
                self.out = Out::File(Box::new(file));
            }
        } else if let Out::File(file) = &mut self.out {
            file.write(bytemuck::cast_slice(&self.words))?;
            file.write(bytemuck::cast_slice(&example.input_ids))?;
        }
        Ok(())
    }

    /// Makes the file durable, if there is one.
    pub fn seal(self) -> Result<Sealed> {
        match self.out {
            Out::File(file) => file.seal().map(Sealed::File),
            Out::Held(words, _) => Ok(Sealed::Held(words)),
        }
    }

    /// Makes the file durable and reads it as a segment of one task.
    pub fn finish(self) -> Result<SegmentReader> {
        let mut reader = SegmentReader::default();
        reader.begin_file(self.path.clone(), 0, 0);
        for &(tokens, spans) in &self.sizes {
            reader.push(tokens, spans);
        }
        if let Sealed::Held(words) = self.seal()? {
            reader.hold(words);
        }
        Ok(reader)
    }
}

fn check_example(example: &Example, meta: DocMeta) -> Result<()> {
    let bad = |what: String| {
        let at = meta.place;
        let message = format!("{what} (source {}, line {})", at.source, at.line);
        Err(Error::new(Code::RunInternal, message))
    };
    let tokens = example.input_ids.len();
    if tokens == 0 || tokens >= u32::MAX as usize {
        return bad(format!("a document of {tokens} tokens"));
    }
    // one pass without branches finds out; a bad id is worth a second one
    let bits = example.input_ids.iter().fold(0, |bits, id| bits | id);
    if bits > i32::MAX as u32 {
        let id = example.input_ids.iter().max().copied().unwrap_or(bits);
        return bad(format!("token id {id} does not fit in 31 bits"));
    }
    let mut last = 0;
    for span in &example.spans {
        if span.end < last {
            return bad(format!("span end {} after {last}", span.end));
        }
        last = span.end;
    }
    if last as usize != tokens {
        return bad(format!("spans end at {last} of {tokens} tokens"));
    }
    Ok(())
}
