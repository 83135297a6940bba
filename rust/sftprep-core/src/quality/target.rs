//! Where the rows that stay and the ledgers go.

use std::fs;
use std::path::{Path, PathBuf};

use super::scan::Inputs;
use crate::error::{Code, Error, Result};
use crate::source::InputFile;

/// Most outputs of a stage.
const MOST_OUTPUTS: usize = 100;

/// Where the results go: one file or several, each with a ledger beside it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) places: Vec<Place>,
}

/// A file for rows and the ledger beside it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) out: PathBuf,
    pub(super) ledger: PathBuf,
}

impl Target {
    /// Refuses an output that is one of the test sets.
    pub(super) fn is_not_among(&self, tests: &[InputFile]) -> Result<()> {
        let mut places = self.places.iter();
        places.try_for_each(|place| refuse_input(&place.out, tests, "test sets"))
    }
}

impl Place {
    /// Checks the place before any work.
    ///
    /// # Errors
    /// `config.value` for a file that is not `.jsonl` or one of the inputs; `output.exists`;
    /// `output.io`.
    fn check(out: &Path, overwrite: bool, inputs: &Inputs) -> Result<Self> {
        let extension = out.extension().and_then(|extension| extension.to_str());
        if extension != Some("jsonl") {
            let message = format!("--out {} does not end in .jsonl", out.display());
            return Err(Error::new(Code::ConfigValue, message)
                .at_field("out")
                .hint("rows are written as JSON Lines, whatever kind of file they are read from"));
        }
        let ledger = out.with_extension("ledger.arrow");
        refuse_input(out, &inputs.files, "inputs")?;
        for path in [out, &ledger] {
            if path.exists() && !overwrite {
                return Err(Error::new(Code::OutputExists, "the output exists")
                    .at_path(path)
                    .hint("choose another --out, or add --overwrite"));
            }
        }
        if !folder(out).is_dir() {
            return Err(Error::new(Code::OutputIo, "the folder does not exist")
                .at_path(folder(out))
                .hint("make it first"));
        }
        Ok(Self {
            out: out.to_owned(),
            ledger,
        })
    }
}

/// Refuses an output that is one of the files that are read.
fn refuse_input(out: &Path, files: &[InputFile], what: &str) -> Result<()> {
    let Ok(real) = fs::canonicalize(out) else {
        return Ok(()); // not there yet
    };
    let same = |file: &InputFile| fs::canonicalize(&file.path).is_ok_and(|path| path == real);
    if !files.iter().any(same) {
        return Ok(());
    }
    let message = format!("the output is one of the {what}");
    Err(Error::new(Code::ConfigValue, message)
        .at_path(out)
        .at_field("out")
        .hint("choose another file; what is read stays as it is"))
}

/// Where the results of a stage with one output go; a dry run has no place.
pub(super) fn target(
    out: Option<&PathBuf>,
    dry_run: bool,
    overwrite: bool,
    inputs: &Inputs,
) -> Result<Option<Target>> {
    targets(
        out.map_or(&[], std::slice::from_ref),
        dry_run,
        overwrite,
        inputs,
    )
}

/// Where results go; a dry run has no place.
///
/// # Errors
/// `config.value` without an output or with one twice, and all about each place.
pub(super) fn targets(
    outs: &[PathBuf],
    dry_run: bool,
    overwrite: bool,
    inputs: &Inputs,
) -> Result<Option<Target>> {
    if dry_run {
        return Ok(None);
    }
    let bad = |message: String, hint: &str| {
        Err(Error::new(Code::ConfigValue, message)
            .at_field("out")
            .hint(hint))
    };
    if outs.is_empty() {
        let message = "there is no --out for the kept rows".to_owned();
        return bad(
            message,
            "add --out FILE.jsonl, or --dry-run to see what would go",
        );
    }
    if outs.len() > MOST_OUTPUTS {
        let message = format!("{} outputs, there may be {MOST_OUTPUTS}", outs.len());
        return bad(message, "write fewer files");
    }
    for (at, out) in outs.iter().enumerate() {
        if outs[..at].contains(out) {
            let message = format!("{} is named twice", out.display());
            return bad(message, "give every output a file of its own");
        }
    }
    let places = outs.iter().map(|out| Place::check(out, overwrite, inputs));
    let places = places.collect::<Result<Vec<Place>>>()?;
    Ok(Some(Target { places }))
}

/// The folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Temporary files are private; results are as readable as other files.
#[cfg(unix)]
pub(super) fn readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(super) fn readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}
