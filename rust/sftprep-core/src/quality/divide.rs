//! The output of a stage, a file for each of its inputs, so that the next one reads every input in
//! its own format and by its own name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::ledger_file::read_ledger;
use crate::error::{Code, Error, Result};

/// Writes the lines of `out` into a file of `folder` for each input that the ledger beside it names,
/// in their order; returns names and files, in the order of the inputs. An input without a line has
/// none.
///
/// # Errors
/// `source.*` for a ledger or an output that cannot be read, `output.io`; `run.internal` if they do
/// not belong together.
pub fn divide(out: &Path, folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let ledger = out.with_extension("ledger.arrow");
    let file = read_ledger(&ledger)?;
    let mut lines: Vec<(u64, u32, u32)> = Vec::new();
    let own = file.own_part();
    for row in file
        .rows
        .iter()
        .filter(|row| row.kept && (own.is_none() || row.part == own))
    {
        if let Some(first) = row.output_line {
            lines.push((first, row.times, row.source));
        }
    }
    lines.sort_unstable();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| Error::io(Code::OutputIo, &path, &error)
    };
    let rows = File::open(out).map_err(|error| Error::io(Code::SourceMissing, out, &error))?;
    let mut rows = BufReader::with_capacity(1 << 18, rows);
    let mut order: Vec<&str> = Vec::new();
    for name in &file.inputs {
        if !order.contains(&name.as_str()) {
            order.push(name);
        }
    }
    let mut files: BTreeMap<usize, (PathBuf, BufWriter<File>)> = BTreeMap::new();
    let mut line = Vec::new();
    for (_, times, source) in lines {
        let name = file.names.get(source as usize).map(String::as_str);
        let place = name.and_then(|name| order.iter().position(|it| *it == name));
        for _ in 0..times {
            line.clear();
            let read = rows.read_until(b'\n', &mut line).map_err(io(out))?;
            let Some(place) = place.filter(|_| read > 0) else {
                let message = "the ledger is not that of the rows";
                return Err(Error::new(Code::RunInternal, message).at_path(out));
            };
            let (path, writer) = match files.entry(place) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let path = folder.join(format!("{}.jsonl", order[place]));
                    let file = File::create(&path).map_err(io(&path))?;
                    entry.insert((path, BufWriter::new(file)))
                }
            };
            writer.write_all(&line).map_err(io(path))?;
        }
    }
    let mut named = Vec::with_capacity(files.len());
    for (place, (path, mut writer)) in files {
        writer.flush().map_err(io(&path))?;
        named.push((order[place].to_owned(), path));
    }
    Ok(named)
}
