//! From what the user typed to the list of files, with everything wrong reported at once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use walkdir::WalkDir;

use super::{Compression, InputFile, Kind, STDIN};
use crate::error::{Code, Error, Result};

/// Files that libraries put beside their shards; they describe data and hold no rows.
const METADATA: [&str; 3] = ["dataset_info.json", "dataset_infos.json", "state.json"];

/// The files that inputs stand for, in the order given; folders and patterns in sorted order.
///
/// An input is `path` or `name=path`; a path is a file, a folder (searched for files of known
/// kinds, hidden ones and library metadata left out), a pattern (`*`, `?`, `[…]`, `{a,b}`, `**`;
/// files of other kinds are left out) or `-` for standard input.
///
/// # Errors
/// One error that lists every input that is missing, of an unknown kind, not what its extension
/// says, unreadable, or given twice under the same name.
pub fn resolve(inputs: &[String]) -> Result<Vec<InputFile>> {
    let mut files: Vec<(InputFile, bool)> = Vec::new();
    let mut errors = Vec::new();
    for input in inputs {
        match resolve_one(input) {
            Ok(found) => files.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    tell_apart(&mut files);
    find_doubles(&files, &mut errors);
    if errors.is_empty() {
        return Ok(files.into_iter().map(|(file, _)| file).collect());
    }
    if errors.len() == 1 {
        return Err(errors.swap_remove(0));
    }
    let count = errors.len();
    let lines = errors.iter().map(|error| {
        let path = error.path.as_deref().unwrap_or(Path::new("")).display();
        format!("\n  {path}: {}", error.message)
    });
    let message = format!(
        "{count} inputs cannot be read:{}",
        lines.collect::<String>()
    );
    Err(Error::new(errors[0].code, message).hint("correct these paths, then run again"))
}

/// Files of the same default name in several folders get as many folders as tell them apart.
fn tell_apart(files: &mut [(InputFile, bool)]) {
    let mut folders = 0;
    loop {
        let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, (file, named)) in files.iter().enumerate() {
            if !named && file.path.is_absolute() {
                seen.entry(file.name.clone()).or_default().push(index);
            }
        }
        let same = |group: &&Vec<usize>| {
            group
                .iter()
                .any(|&index| files[index].0.path != files[group[0]].0.path)
        };
        let groups: Vec<Vec<usize>> = seen.values().filter(same).cloned().collect();
        folders += 1;
        if groups.is_empty() || folders > 64 {
            return;
        }
        for index in groups.into_iter().flatten() {
            let file = &mut files[index].0;
            let parents = file.path.ancestors().skip(1).take(folders);
            let mut parts: Vec<&OsStr> = parents.filter_map(Path::file_name).collect();
            parts.reverse();
            let folder: PathBuf = parts.into_iter().collect();
            file.name = folder
                .join(default_name(&file.path))
                .to_string_lossy()
                .into_owned();
        }
    }
}

type Found = Result<Vec<(InputFile, bool)>, Vec<Error>>;

fn resolve_one(input: &str) -> Found {
    let (name, path) = split_name(input);
    let named = name.is_some();
    if path == STDIN {
        let file = InputFile {
            name: name.unwrap_or("stdin").to_owned(),
            path: STDIN.into(),
            kind: Kind::JsonLines,
            compression: Compression::None,
            bytes: 0,
        };
        return Ok(vec![(file, named)]);
    }
    let paths = find(path).map_err(|error| vec![error])?;
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        let name = name.map_or_else(|| default_name(&path), str::to_owned);
        match inspect(&path, name) {
            Ok(file) => files.push((file, named)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(files)
    } else {
        Err(errors)
    }
}

/// `name=path`, unless the whole is a path that exists or the part before `=` is no name.
fn split_name(input: &str) -> (Option<&str>, &str) {
    let is_name = |name: &str| {
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        !name.is_empty() && name.chars().all(good)
    };
    match input.split_once('=') {
        Some((name, path)) if is_name(name) && !path.is_empty() && !Path::new(input).exists() => {
            (Some(name), path)
        }
        _ => (None, input),
    }
}

/// The paths of files that one path or pattern stands for.
fn find(path: &str) -> Result<Vec<PathBuf>> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            let files = walk(Path::new(path), |_| true)?;
            if files.is_empty() {
                let message = "the folder holds no file of a known kind";
                return Err(known_kinds(
                    Error::new(Code::SourceMissing, message).at_path(path),
                ));
            }
            Ok(files)
        }
        Ok(_) => Ok(vec![path.into()]),
        Err(_) if path.contains(['*', '?', '[', '{']) => find_pattern(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let error = Error::new(Code::SourceMissing, "there is no such file or folder");
            Err(error.at_path(path).hint("correct the path"))
        }
        Err(error) => Err(Error::io(Code::SourceUnreadable, path, &error)),
    }
}

fn find_pattern(pattern: &str) -> Result<Vec<PathBuf>> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| {
            let message = format!("the pattern is not valid: {}", error.kind());
            Error::new(Code::SourceMissing, message).at_path(pattern)
        })?
        .compile_matcher();
    // Search from the last folder before the first wildcard.
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(0);
    let base = pattern[..wild]
        .rfind('/')
        .map_or("", |slash| &pattern[..=slash]);
    let root = if base.is_empty() { "." } else { base };
    let files = walk(Path::new(root), |path| {
        let path = path.strip_prefix("./").unwrap_or(path);
        glob.is_match(path) || glob.is_match(Path::new("./").join(path))
    })?;
    if files.is_empty() {
        let error = Error::new(
            Code::SourceMissing,
            "no file of a known kind matches the pattern",
        );
        return Err(known_kinds(error.at_path(pattern)));
    }
    let plain = |path: PathBuf| {
        path.strip_prefix("./")
            .map(Path::to_path_buf)
            .unwrap_or(path)
    };
    Ok(files
        .into_iter()
        .map(|path| if base.is_empty() { plain(path) } else { path })
        .collect())
}

/// Files of known kinds under a folder, sorted by path; hidden files and folders left out.
fn walk(root: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let hidden = |entry: &walkdir::DirEntry| {
        entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
    };
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name();
    for entry in entries.into_iter().filter_entry(|entry| !hidden(entry)) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => break, // no such folder: no file
            Err(error) => {
                let path = error.path().unwrap_or(root).to_path_buf();
                return Err(Error::new(Code::SourceUnreadable, error.to_string()).at_path(path));
            }
        };
        let is_metadata = METADATA.iter().any(|name| entry.file_name() == *name);
        let is_known = kind_by_name(entry.path()).is_some();
        if entry.file_type().is_file() && is_known && !is_metadata && wanted(entry.path()) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

/// Kind and compression that the extensions of a path stand for.
fn kind_by_name(path: &Path) -> Option<(Kind, Compression)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (rest, last) = name.rsplit_once('.')?;
    match Compression::from_extension(last) {
        Some(compression) => {
            let (_, inner) = rest.rsplit_once('.')?;
            Some((Kind::from_extension(inner)?, compression))
        }
        None => Some((Kind::from_extension(last)?, Compression::None)),
    }
}

/// The path without the extensions that say what the file is. An absolute path gives the file's own
/// name only: names go into the manifest, which must not depend on where things lie.
fn default_name(path: &Path) -> String {
    let path = match path.file_name() {
        Some(name) if path.is_absolute() => Path::new(name),
        _ => path,
    };
    let stem = match kind_by_name(path) {
        Some((_, Compression::None)) => path.with_extension(""),
        Some(_) => path.with_extension("").with_extension(""),
        None => path.to_path_buf(),
    };
    stem.to_string_lossy().into_owned()
}

/// Looks at a file: is it one, can it be read, and is it what its name says?
fn inspect(path: &Path, name: String) -> Result<InputFile> {
    let unreadable = |error: std::io::Error| Error::io(Code::SourceUnreadable, path, &error);
    let meta = fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        let message = "this is neither a file nor a folder";
        return Err(Error::new(Code::SourceKind, message)
            .at_path(path)
            .hint("pipe it to standard input and give `-`"));
    }
    let Some((kind, compression)) = kind_by_name(path) else {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let message = match extension.as_ref() {
            "" => "the file has no extension that says what it is".to_owned(),
            other => format!("the extension .{other} is not known"),
        };
        return Err(known_kinds(
            Error::new(Code::SourceKind, message).at_path(path),
        ));
    };
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?;
    (&mut file)
        .take(8)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    check_magic(path, &head, kind, compression)?;
    Ok(InputFile {
        name,
        path: path.to_path_buf(),
        kind,
        compression,
        bytes: meta.len(),
    })
}

fn check_magic(path: &Path, head: &[u8], kind: Kind, compression: Compression) -> Result<()> {
    if head.len() < 8 {
        return Ok(()); // the reader says what so short a file of this kind means
    }
    let seen = Compression::from_magic(head);
    let mismatch = if seen != compression {
        Some((compression.to_string(), seen.to_string()))
    } else if compression == Compression::None {
        let seen = Kind::from_magic(head);
        let columnar = matches!(kind, Kind::Parquet | Kind::Arrow);
        let wrong = if columnar {
            seen != Some(kind)
        } else {
            seen.is_some()
        };
        let seen = seen.map_or("something else".to_owned(), |seen| seen.to_string());
        wrong.then(|| (kind.to_string(), seen))
    } else {
        None
    };
    let Some((named, seen)) = mismatch else {
        return Ok(());
    };
    let bytes: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    let message = format!(
        "by its name the file is {named}, by its first bytes ({}) it is {seen}",
        bytes.join(" ")
    );
    Err(Error::new(Code::SourceKind, message)
        .at_path(path)
        .hint("rename the file to what it is, or fetch it again"))
}

fn known_kinds(error: Error) -> Error {
    error.hint(
        "give .jsonl, .ndjson, .json, .parquet, .arrow, .feather or .ipc, each also .gz or .zst",
    )
}

/// The same file twice would count its rows twice: an error, unless its two names differ and at
/// least one of them was given on purpose.
fn find_doubles(files: &[(InputFile, bool)], errors: &mut Vec<Error>) {
    let mut seen: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (index, (file, named)) in files.iter().enumerate() {
        let same = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
        let earlier = seen.entry(same).or_default();
        let double = earlier.iter().any(|other| {
            let (other, other_named) = &files[*other];
            file.is_stdin() || other.name == file.name || !(*named || *other_named)
        });
        if double {
            let error = Error::new(Code::SourceKind, "the same file is given twice");
            errors.push(
                error
                    .at_path(&file.path)
                    .hint("remove one, or name both (a=file b=file) if its rows shall count twice"),
            );
        }
        earlier.push(index);
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
