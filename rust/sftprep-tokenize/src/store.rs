//! Compiled plans on disk, so that loading a tokenizer takes milliseconds.
//!
//! A plan is kept under the hash of its `tokenizer.json` and the version of this engine. The file
//! holds that key again and a checksum; anything odd about it, and the plan is compiled anew.
//! Files are written beside and renamed, so that a reader sees a whole one or none.
//!
//! The large tables lie in the file as they lie in memory, and are used where it is mapped.

use crate::added::{AddedToken, Matcher, Pattern};
use crate::cache::{LongSeeds, Table};
use crate::cut::Bridges;
use crate::dense::Dense;
use crate::merge::Merges;
use crate::plan::{Family, Plan, Prefix};
use crate::slab::Slab;
use crate::split::{Contraction, Split, Word};
use crate::tokenizer::Loaded;
use crate::vocab::{Decoder, Vocab};
use bytemuck::Pod;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// To be raised with every change of what a plan holds or means.
const VERSION: &str = concat!("sftprep-tokenize ", env!("CARGO_PKG_VERSION"), " plan 16");

/// Where plans are kept: `$SFTPREP_CACHE_DIR` (nowhere if that is empty), else the user's cache
/// folder.
pub(crate) fn default_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("SFTPREP_CACHE_DIR") {
        return (!dir.is_empty()).then(|| PathBuf::from(dir).join("tokenizers"));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|d| !d.is_empty())
        .map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("sftprep").join("tokenizers"))
}

/// The key of the `tokenizer.json` with that hash.
pub(crate) fn key(json: &blake3::Hash) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(VERSION.as_bytes());
    hasher.update(json.as_bytes());
    *hasher.finalize().as_bytes()
}

fn path(dir: &Path, key: &[u8; 32]) -> PathBuf {
    let name = blake3::Hash::from_bytes(*key).to_hex();
    dir.join(format!("{}.plan", &name[..32]))
}

/// Keeps a plan; failing to is no error, the next run only compiles again.
pub(crate) fn save(dir: &Path, key: &[u8; 32], loaded: &Loaded) {
    let mut w = Writer(vec![0; HEAD]);
    w.loaded(loaded);
    let mut file = w.0;
    file[..32].copy_from_slice(key);
    let sum = xxh3_64(&file[HEAD..]);
    file[32..40].copy_from_slice(&sum.to_le_bytes());
    file[40..48].copy_from_slice(&ORDER.to_ne_bytes());
    let target = path(dir, key);
    let part = target.with_extension(format!("{}.part", std::process::id()));
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&part, &file))
        .and_then(|()| std::fs::rename(&part, &target));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
}

/// The plan kept for a key, if there is one and nothing speaks against it.
pub(crate) fn load(dir: &Path, key: &[u8; 32]) -> Option<Loaded> {
    let file = Arc::new(map(&path(dir, key))?);
    let (head, body) = file.split_at_checked(HEAD)?;
    let same = head.starts_with(key) && head[40..48] == ORDER.to_ne_bytes();
    if !same || head[32..40] != xxh3_64(body).to_le_bytes() {
        return None;
    }
    let mut r = Reader {
        file: &file,
        at: HEAD,
    };
    let loaded = r.loaded()?;
    (r.at == file.len()).then_some(loaded)
}

/// Maps a file, and its pages with it: every one is about to be read.
#[allow(unsafe_code)]
fn map(path: &Path) -> Option<Mmap> {
    let file = File::open(path).ok()?;
    let mut options = MmapOptions::new();
    options.populate();
    // SAFETY: plan files are written beside and renamed, never changed in place, by this engine,
    // and lie in the user's own cache folder; all lookups check their bounds besides.
    unsafe { options.map(&file) }.ok()
}

/// Key, checksum, order of bytes; a multiple of what tables are aligned to.
const HEAD: usize = 64;

/// Where tables begin in the file: at multiples of this.
const ALIGN: usize = 64;

/// Tells machines of another order of bytes.
const ORDER: u64 = 0x0102_0304_0506_0708;

/// Appends values to a file image; every list has its length in front.
struct Writer(Vec<u8>);

/// Takes values off a file image; `None` where it does not hold what is asked for.
struct Reader<'a> {
    file: &'a Arc<Mmap>,
    at: usize,
}

impl Writer {
    fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    fn bytes(&mut self, v: &[u8]) {
        self.u32(v.len() as u32);
        self.0.extend_from_slice(v);
    }

    fn u32s(&mut self, v: &[u32]) {
        self.u32(v.len() as u32);
        for x in v {
            self.0.extend_from_slice(&x.to_le_bytes());
        }
    }

    fn arrays<const N: usize>(&mut self, v: &[[u32; N]]) {
        self.u32s(v.as_flattened());
    }

    /// A table as it is in memory.
    fn slab<T: Pod>(&mut self, v: &[T]) {
        self.u32(v.len() as u32);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self.0.extend_from_slice(bytemuck::cast_slice(v));
    }

    fn patterns(&mut self, m: &Matcher) {
        self.u32(m.patterns().len() as u32);
        for p in m.patterns() {
            self.bytes(&p.text);
            self.u32(p.id);
            self.u32(
                u32::from(p.lstrip) | u32::from(p.rstrip) << 1 | u32::from(p.single_word) << 2,
            );
        }
    }

    fn family(&mut self, family: Family) {
        match family {
            Family::ByteLevel(s) => {
                let flags = [s.spaced_digits, s.newline_tail, s.slash_tail, s.newlines];
                let flags = flags.iter().rev().fold(0, |x, &f| x << 1 | u32::from(f));
                let (lead, tail) = (s.lead as u32, s.tail as u32);
                self.u32s(&[
                    0,
                    lead,
                    s.word as u32,
                    tail,
                    u32::from(s.digits),
                    u32::from(s.other),
                    flags,
                ]);
            }
            Family::SentencePiece(p) => self.u32s(&[1, p as u32]),
        }
    }

    fn loaded(&mut self, l: &Loaded) {
        let p = &l.plan;
        self.family(p.family);
        self.u32s(&[u32::from(p.nfc), u32::from(p.units_differ)]);
        self.u32s(&p.bytes);
        self.arrays(&p.chars);
        self.slab(&p.char_ids);
        self.slab(&p.merges.slots);
        self.u32s(&p.merges.bits);
        self.slab(&p.merges.near);
        self.slab(&p.merges.filter);
        self.slab(&p.merges.bytes);
        let b = &p.bridges;
        for list in [&b.ascii[..], &b.filter, &b.gate, &b.near, &b.partial] {
            self.slab(list);
        }
        self.u32(b.run);
        self.slab(&p.dense.chars);
        self.slab(&p.dense.slots);
        self.slab(&p.dense.several);
        self.slab(&p.dense.joins);
        self.u32(u32::from(p.dense.ordered));
        self.slab(&p.seeds.slots);
        self.u32(p.seeds.len() as u32);
        self.slab(&p.long_seeds.slots);
        self.slab(&p.long_seeds.keys);
        self.slab(&p.long_seeds.arena);
        self.patterns(&p.raw);
        self.patterns(&p.normalized);
        self.slab(&l.vocab.text);
        self.slab(&l.vocab.ends);
        self.slab(&l.vocab.sorted);
        self.u32s(&match l.decoder {
            Decoder::ByteLevel => [0, 0],
            Decoder::SentencePiece { strip } => [1, strip],
            Decoder::Other => [2, 0],
        });
        self.u32(l.added.len() as u32);
        for t in &l.added {
            let flags = [t.special, t.lstrip, t.rstrip, t.single_word, t.normalized];
            self.u32(t.id);
            self.u32(flags.iter().rev().fold(0, |x, &f| x << 1 | u32::from(f)));
            self.bytes(t.content.as_bytes());
        }
    }
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let bytes = self.file.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes(4)?.first_chunk()?))
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let n = (self.u32()? as usize).checked_mul(size)?;
        self.bytes(n)
    }

    fn slab<T: Pod>(&mut self) -> Option<Slab<T>> {
        let n = self.u32()? as usize;
        let at = self.at.next_multiple_of(ALIGN);
        let slab = Slab::mapped(self.file, at, n)?;
        self.at = at + n * size_of::<T>();
        Some(slab)
    }

    fn u32s(&mut self) -> Option<Vec<u32>> {
        let bytes = self.take(4)?;
        Some(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|c| u32::from_le_bytes(*c))
                .collect(),
        )
    }

    fn arrays<const N: usize>(&mut self) -> Option<Vec<[u32; N]>> {
        let words = self.take(4)?.as_chunks::<4>().0;
        let (arrays, rest) = words.as_chunks::<N>();
        rest.is_empty()
            .then(|| arrays.iter().map(|a| a.map(u32::from_le_bytes)).collect())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.take(1)?.to_vec()).ok()
    }

    fn patterns(&mut self) -> Option<Matcher> {
        let mut list = Vec::new();
        for _ in 0..self.u32()? {
            let (text, id, flags) = (self.take(1)?.into(), self.u32()?, self.u32()?);
            let [lstrip, rstrip, single_word] = [0, 1, 2].map(|i| flags >> i & 1 != 0);
            list.push(Pattern {
                text,
                id,
                lstrip,
                rstrip,
                single_word,
            });
        }
        Matcher::new(list)
    }

    fn family(&mut self) -> Option<Family> {
        let contraction = |v: u32| {
            Some(match v {
                0 => Contraction::None,
                1 => Contraction::Exact,
                2 => Contraction::Fold,
                _ => return None,
            })
        };
        match *self.u32s()?.as_slice() {
            [0, lead, word, tail, digits, other, flags] => Some(Family::ByteLevel(Split {
                lead: contraction(lead)?,
                word: match word {
                    0 => Word::Spaced,
                    1 => Word::Prefixed,
                    2 => Word::PrefixedMarks,
                    3 => Word::Cased,
                    4 => Word::DeepSeek,
                    _ => return None,
                },
                tail: contraction(tail)?,
                digits: u8::try_from(digits).ok()?,
                other: u16::try_from(other).ok()?,
                spaced_digits: flags & 1 != 0,
                newline_tail: flags & 2 != 0,
                slash_tail: flags & 4 != 0,
                newlines: flags & 8 != 0,
            })),
            [1, prefix] => Some(Family::SentencePiece(match prefix {
                0 => Prefix::Never,
                1 => Prefix::Always,
                2 => Prefix::Unspaced,
                3 => Prefix::First,
                _ => return None,
            })),
            _ => None,
        }
    }

    fn loaded(&mut self) -> Option<Loaded> {
        let family = self.family()?;
        let &[nfc, units_differ] = self.u32s()?.as_slice() else {
            return None;
        };
        let (bytes, chars) = (self.u32s()?, self.arrays()?);
        let char_ids = self.slab()?;
        let merges = Merges {
            // Read at random for every piece that is not known: in memory of our own.
            slots: self.slab()?.copied(),
            bits: *self.u32s()?.first_chunk()?,
            near: self.slab()?,
            filter: self.slab()?,
            bytes: self.slab()?,
        };
        let (ascii, filter) = (self.slab()?.to_vec(), self.slab()?);
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        for list in &mut lists {
            *list = self.slab()?.to_vec();
        }
        let bridges = Bridges::from_tables(ascii, self.u32()?, filter, lists)?;
        let dense = Dense {
            chars: self.slab()?,
            slots: self.slab()?,
            several: self.slab()?,
            joins: self.slab()?,
            ordered: self.u32()? != 0,
        };
        let seeds = Table::from_slots(self.slab()?, self.u32()? as usize)?;
        let long_seeds = LongSeeds {
            slots: self.slab()?,
            keys: self.slab()?,
            arena: self.slab()?,
        };
        let (raw, normalized) = (self.patterns()?, self.patterns()?);
        let vocab = Vocab {
            text: self.slab()?,
            ends: self.slab()?,
            sorted: self.slab()?,
        };
        let decoder = match *self.u32s()?.as_slice() {
            [0, _] => Decoder::ByteLevel,
            [1, strip] => Decoder::SentencePiece { strip },
            _ => Decoder::Other,
        };
        let mut added = Vec::new();
        for _ in 0..self.u32()? {
            let (id, flags, content) = (self.u32()?, self.u32()?, self.text()?);
            let [special, lstrip, rstrip, single_word, normalized] =
                [0, 1, 2, 3, 4].map(|i| flags >> i & 1 != 0);
            added.push(AddedToken {
                id,
                content,
                special,
                lstrip,
                rstrip,
                single_word,
                normalized,
            });
        }
        let whole = bytes.len() == 256
            && merges.sound()
            && long_seeds.sound()
            && dense.sound()
            && (char_ids.is_empty() || char_ids.len() == 1 << 16)
            && merges.bytes.is_empty() != matches!(family, Family::ByteLevel(_));
        if !whole {
            return None;
        }
        let (nfc, units_differ) = (nfc != 0, units_differ != 0);
        let plan = Plan {
            family,
            nfc,
            units_differ,
            bytes,
            chars,
            char_ids,
            merges,
            bridges,
            dense,
            seeds,
            long_seeds,
            raw,
            normalized,
        };
        Some(Loaded {
            plan,
            vocab,
            decoder,
            added,
        })
    }
}
