//! The output folder: refused if it is in use, filled in a work area, complete or not there.
//!
//! All files are made in a work area (`.work-*` inside the folder, or a hidden sibling when an old
//! dataset is to be replaced) and get their place at the very end, the manifest last. A run that
//! dies leaves a folder without a manifest, which no reader takes for a dataset and which the next
//! run cleans up, or goes on with.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::faults;

use super::hashed::{sync_dir, write_whole};
use super::huggingface::{INFO_NAME, STATE_NAME};
use super::ledger::{LEDGER_NAME, REJECTS_NAME};
use super::manifest::{MANIFEST_NAME, REPORT_NAME};

/// Name of the lock file.
pub(super) const LOCK_NAME: &str = ".sftprep.lock";

/// What a work area's name begins with.
pub(super) const WORK_PREFIX: &str = ".work-";

/// Folder for temporary files in a work area.
const SCRATCH: &str = ".scratch";

/// How a run takes possession of its output folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Alone, from the beginning: what a run that died left is removed.
    New,
    /// Alone, going on with what a run with the same tag left.
    Resume,
    /// Beside other processes that work on parts of the same run.
    Share,
}

/// An output folder that this run, and no other, is writing to. Dropped without
/// [`commit`](Self::commit), it leaves things as they were.
#[derive(Debug)]
pub struct OutputDir {
    target: PathBuf,
    /// Everything this run writes is below it.
    work: PathBuf,
    lock: Option<File>,
    created: bool,
    replaces: bool,
    committed: bool,
    /// Whether the work area stays when the run fails.
    keep: bool,
    /// Files that `commit` has put in their place so far.
    placed: Vec<PathBuf>,
}

/// Files of the model that are kept beside the shards. Only where there is a manifest or a work
/// area are they known to be copies: a folder with nothing else may be somebody's tokenizer.
const MODEL_FILES: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.tool_use.jinja",
];

/// What was found in the output folder.
enum Found {
    /// Nothing, or what a run that died left behind.
    Free,
    /// Something that sftprep wrote, and nothing else.
    Dataset,
    /// This, which sftprep did not write.
    Foreign(String),
}

impl OutputDir {
    /// Takes possession of the output folder; `tag` (a hash of the configuration, say) names the
    /// work area.
    ///
    /// # Errors
    ///
    /// `output.exists` for a folder with something in it (with `overwrite`: for one with something
    /// in it that sftprep did not write; unless the work is begun anew, for one with the work of
    /// another tag), `output.locked` if another run has it, `output.io` and
    /// `output.disk_full` from the system.
    pub fn open(target: &Path, overwrite: bool, tag: &str, access: Access) -> Result<Self> {
        let target = std::path::absolute(target).map_err(|error| io(target, &error))?;
        let created = !target.exists();
        if target.is_file() {
            let message = "the output is a file, not a folder";
            return Err(Error::new(Code::OutputExists, message)
                .at_path(target)
                .hint("choose another --out"));
        }
        fs::create_dir_all(&target).map_err(|error| io(&target, &error))?;
        let lock = lock(&target, access)?;
        let mut output = Self {
            work: target.join(format!("{WORK_PREFIX}{tag}")),
            lock: Some(lock),
            created,
            replaces: false,
            committed: true, // nothing to undo yet
            keep: access == Access::Share,
            placed: Vec::new(),
            target,
        };
        match look(&output.target)? {
            Found::Free if access == Access::New => output.sweep()?,
            Found::Free => output.adopt()?,
            Found::Dataset if overwrite => {
                output.replaces = true;
                output.work = sibling(&output.target).ok_or_else(|| {
                    let message = "the root folder cannot be replaced";
                    Error::new(Code::OutputExists, message).at_path(&output.target)
                })?;
                // what is left of a run that died; a manifest shows that it is the old dataset
                let old = output.work.join(MANIFEST_NAME).exists();
                if access == Access::New || access == Access::Resume && old {
                    remove(&output.work)?;
                }
            }
            Found::Dataset => return Err(output.exists("it holds a dataset", true)),
            Found::Foreign(name) => {
                return Err(output.exists(&format!("sftprep did not write {name:?} in it"), false));
            }
        }
        output.committed = false;
        for dir in [output.files(), output.scratch()] {
            fs::create_dir_all(&dir).map_err(|error| io(&dir, &error))?;
        }
        Ok(output)
    }

    /// Folder for the files of the dataset.
    pub fn files(&self) -> PathBuf {
        if self.replaces {
            self.work.clone()
        } else {
            self.work.join("files")
        }
    }

    /// The folder's final place.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// From now on the work area stays when the run fails, so that another can go on with it.
    pub fn keep_work(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Folder for temporary files.
    pub fn scratch(&self) -> PathBuf {
        self.work.join(SCRATCH)
    }

    /// Refuses to go on when the disk has less room than `needed` bytes.
    pub fn check_space(&self, needed: u64) -> Result<()> {
        let free = fs4::available_space(&self.work).map_err(|error| io(&self.work, &error))?;
        if free >= needed {
            return Ok(());
        }
        let message = format!("{} needed, {} free", human(needed), human(free));
        Err(Error::new(Code::OutputDiskFull, message)
            .at_path(&self.target)
            .hint("free space there or choose another --out"))
    }

    /// Puts all files in their place, the manifest last.
    pub fn commit(mut self, manifest: &[u8]) -> Result<()> {
        let files = self.files();
        faults::point("commit.begin");
        if self.replaces {
            write_whole(&files.join(MANIFEST_NAME), manifest)?;
            remove(&self.scratch())?;
            sync_dir(&files)?;
            self.swap()?;
            faults::point("commit.swapped");
        } else {
            for name in list(&files)? {
                let place = self.target.join(&name);
                fs::rename(files.join(&name), &place).map_err(|error| io(&place, &error))?;
                self.placed.push(place);
                faults::point("commit.placed");
            }
            sync_dir(&self.target)?;
            faults::point("commit.synced");
            // Beside its place, for a rename within one folder.
            let temporary = self.work.join(MANIFEST_NAME);
            write_whole(&temporary, manifest)?;
            let place = self.target.join(MANIFEST_NAME);
            fs::rename(&temporary, &place).map_err(|error| io(&place, &error))?;
            // should the sync fail, it is the first to go: without it there is no dataset
            self.placed.insert(0, place);
            sync_dir(&self.target)?;
            faults::point("commit.whole");
        }
        self.committed = true;
        remove(&self.work)?;
        self.unlock();
        Ok(())
    }

    /// Folders for temporary files of the unfinished runs whose output is to be `target`.
    ///
    /// # Errors
    /// `output.io`.
    pub fn work_areas(target: &Path) -> Result<Vec<PathBuf>> {
        let target = std::path::absolute(target).map_err(|error| io(target, &error))?;
        let mut areas = Vec::new();
        if target.is_dir() {
            let names = list(&target)?;
            let works = names.iter().filter(|name| name.starts_with(WORK_PREFIX));
            areas.extend(works.map(|name| target.join(name)));
        }
        areas.extend(sibling(&target));
        Ok(areas.into_iter().map(|area| area.join(SCRATCH)).collect())
    }

    /// Removes what a run that died left of a dataset that is whole, and the lock file.
    ///
    /// # Errors
    /// `output.locked` if a run is going on there; `output.io`.
    pub fn tidy(target: &Path) -> Result<()> {
        let target = std::path::absolute(target).map_err(|error| io(target, &error))?;
        let lock = lock(&target, Access::New)?;
        for name in list(&target)? {
            if name.starts_with(WORK_PREFIX) {
                remove(&target.join(name))?;
            }
        }
        remove(&target.join(LOCK_NAME))?;
        drop(lock);
        Ok(())
    }

    /// Exchanges the work area and the old dataset.
    fn swap(&mut self) -> Result<()> {
        if cfg!(windows) {
            self.lock = None; // a folder with an open file in it cannot be renamed there
        }
        let parent = self.target.parent().unwrap_or(&self.target);
        exchange(&self.work, &self.target).map_err(|error| {
            io(&self.target, &error).hint(format!(
                "the new dataset could not be put in its place \
                in {}; the old one is untouched",
                parent.display()
            ))
        })?;
        sync_dir(parent)
    }

    /// Goes on with the work area of a run with the same tag, if there is one: what that run had
    /// put in its place when it died goes back.
    fn adopt(&self) -> Result<()> {
        let own = self
            .work
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let names = list(&self.target)?;
        let other = |name: &&String| name.starts_with(WORK_PREFIX) && **name != own;
        if let Some(name) = names.iter().find(other) {
            let message = format!("an unfinished run with other options is there ({name})");
            return Err(Error::new(Code::OutputExists, message)
                .at_path(&self.target)
                .hint("repeat its options to go on with it, or leave out --resume to begin anew"));
        }
        let files = self.files();
        fs::create_dir_all(&files).map_err(|error| io(&files, &error))?;
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let place = files.join(name);
            fs::rename(self.target.join(name), &place).map_err(|error| io(&place, &error))?;
        }
        Ok(())
    }

    /// Removes what a run that died left behind.
    fn sweep(&self) -> Result<()> {
        for name in list(&self.target)? {
            if name != LOCK_NAME {
                remove(&self.target.join(name))?;
            }
        }
        Ok(())
    }

    fn exists(&self, what: &str, replaceable: bool) -> Error {
        let hint = if replaceable {
            "choose another folder, or add --overwrite to replace it"
        } else {
            "choose another folder; --overwrite replaces only what sftprep wrote"
        };
        let message = format!("the output folder is not empty: {what}");
        Error::new(Code::OutputExists, message)
            .at_path(&self.target)
            .hint(hint)
    }

    /// Removes the lock file, then lets go of it.
    fn unlock(&mut self) {
        if let Some(file) = self.lock.take() {
            // After a swap the lock file went away with the old dataset. While a work area is kept
            // the file stays: others may be about to lock it.
            if !self.keep || self.committed {
                let _ = fs::remove_file(self.target.join(LOCK_NAME));
            }
            drop(file);
        }
    }
}

impl Drop for OutputDir {
    fn drop(&mut self) {
        if !self.committed && !self.keep {
            // Best effort: the next run sweeps what is left, as long as it finds the work area.
            let gone = self.placed.iter().all(|path| fs::remove_file(path).is_ok());
            if gone {
                let _ = fs::remove_dir_all(&self.work);
            }
        }
        self.unlock();
        if self.created {
            let _ = fs::remove_dir(&self.target); // only if it is empty
        }
    }
}

/// The hidden sibling in which a replacement of a folder is made.
fn sibling(target: &Path) -> Option<PathBuf> {
    let name = target.file_name()?.to_string_lossy();
    Some(target.parent()?.join(format!(".{name}.sftprep-new")))
}

/// Takes the lock of a folder, or says who has it.
fn lock(target: &Path, access: Access) -> Result<File> {
    let path = target.join(LOCK_NAME);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| io(&path, &error))?;
    let locked = match access {
        Access::Share => fs4::FileExt::try_lock_shared(&file),
        Access::New | Access::Resume => fs4::FileExt::try_lock(&file),
    };
    match locked {
        Ok(()) => {}
        Err(fs4::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let message = format!("another run is writing here ({})", holder.trim());
            return Err(Error::new(Code::OutputLocked, message)
                .at_path(target)
                .hint("wait for it to end, or choose another --out"));
        }
        Err(fs4::TryLockError::Error(error)) => return Err(io(&path, &error)),
    }
    if access == Access::Share {
        return Ok(file);
    }
    // For whoever finds the folder locked; the lock itself is the system's.
    let noted = file
        .set_len(0)
        .and_then(|()| writeln!(file, "process {}", std::process::id()));
    noted.map_err(|error| io(&path, &error))?;
    Ok(file)
}

/// What the folder holds.
fn look(target: &Path) -> Result<Found> {
    let names = list(target)?;
    let whole = names.iter().any(|name| name == MANIFEST_NAME);
    let died = names.iter().any(|name| name.starts_with(WORK_PREFIX));
    let ours = |name: &str| is_ours(name) || (whole || died) && MODEL_FILES.contains(&name);
    if let Some(name) = names.iter().find(|name| !ours(name)) {
        return Ok(Found::Foreign(name.clone()));
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(MANIFEST_NAME) {
        return Ok(Found::Dataset);
    }
    match names.into_iter().find(|name| name != LOCK_NAME) {
        // `datasets` uses some of these names too: without a manifest, only a work area proves
        // that they are ours.
        Some(name) if !died => Ok(Found::Foreign(name)),
        _ => Ok(Found::Free),
    }
}

/// Whether sftprep, or `datasets` reading what sftprep wrote, makes files of that name.
fn is_ours(name: &str) -> bool {
    let fixed = [
        LOCK_NAME,
        MANIFEST_NAME,
        REPORT_NAME,
        LEDGER_NAME,
        REJECTS_NAME,
        STATE_NAME,
        INFO_NAME,
    ];
    let arrow = Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "arrow")
        && ["data-", "spans-", "cache-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    arrow || fixed.contains(&name) || name.starts_with(WORK_PREFIX)
}

/// Names in a folder, sorted.
pub(super) fn list(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| io(dir, &error))? {
        let entry = entry.map_err(|error| io(dir, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file or a folder with all that is in it; never follows a link.
fn remove(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(path, &error)),
    };
    let removed = if kind.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|error| io(path, &error))
}

/// Exchanges two folders of one parent, at once where the system can.
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            // Some file systems cannot; two renames can.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let aside = new.with_extension("sftprep-old");
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(&aside, new)
}

fn human(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if bytes >> shift > 0 {
            return format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64);
        }
    }
    format!("{bytes} bytes")
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::io(Code::OutputIo, path, error)
}
