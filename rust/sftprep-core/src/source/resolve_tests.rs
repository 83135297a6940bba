//! What inputs stand for, and that everything wrong with them is said at once.

use super::*;

struct Dir(tempfile::TempDir);

impl Dir {
    fn with(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}\n").unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The paths that an input stands for, relative to the folder.
    fn found(&self, inputs: &[String]) -> Vec<String> {
        let files = resolve(inputs).unwrap().into_iter();
        let relative = |file: InputFile| {
            let path = file.path.strip_prefix(self.0.path()).unwrap().to_owned();
            path.to_str().unwrap().to_owned()
        };
        files.map(relative).collect()
    }
}

#[test]
fn folders_and_patterns_are_sorted_and_leave_the_rest_out() {
    let dir = Dir::with(&[
        "b.jsonl",
        "a.json",
        "c/d.ndjson",
        "c/.hidden/e.jsonl",
        "c/.f.jsonl",
        "c/notes.txt",
        "dataset_info.json",
        "x=1/g.jsonl",
    ]);
    assert_eq!(
        dir.found(&[dir.path("")]),
        ["a.json", "b.jsonl", "c/d.ndjson", "x=1/g.jsonl"]
    );
    assert_eq!(dir.found(&[dir.path("*.json*")]), ["a.json", "b.jsonl"]);
    assert_eq!(
        dir.found(&[dir.path("**/*.{jsonl,ndjson}")]),
        ["b.jsonl", "c/d.ndjson", "x=1/g.jsonl"]
    );
    assert_eq!(
        dir.found(&[dir.path("c/?.*"), dir.path("b.jsonl")]),
        ["c/d.ndjson", "b.jsonl"]
    );
    assert_eq!(dir.found(&[dir.path("x=1/g.jsonl")]), ["x=1/g.jsonl"]);
}

#[test]
fn names_are_given_or_come_from_the_path() {
    let dir = Dir::with(&["a.jsonl", "b.c.json"]);
    let files = resolve(&[format!("web={}", dir.path("a.jsonl")), dir.path("b.c.json")]).unwrap();
    assert_eq!(files[0].name, "web");
    assert_eq!(files[1].name, "b.c", "not where it lies");
    assert_eq!((files[1].kind, files[1].bytes), (Kind::Json, 3));
    let stdin = resolve(&["-".into()]).unwrap();
    assert!(stdin[0].is_stdin() && stdin[0].name == "stdin");
    assert_eq!(default_name(Path::new("a/b.jsonl.gz")), "a/b");
}

#[test]
fn files_of_one_name_are_told_apart_by_their_folders() {
    let dir = Dir::with(&["one/x/a.jsonl", "two/x/a.jsonl", "two/b.jsonl"]);
    let names = |paths: &[&str]| {
        let inputs: Vec<String> = paths.iter().map(|path| dir.path(path)).collect();
        let files = resolve(&inputs).unwrap();
        files.into_iter().map(|file| file.name).collect::<Vec<_>>()
    };
    let all = ["one/x/a.jsonl", "two/x/a.jsonl", "two/b.jsonl"];
    assert_eq!(names(&all), ["one/x/a", "two/x/a", "b"]);
    assert_eq!(names(&all[1..]), ["a", "b"]);
}

#[test]
fn kinds_are_by_extension_confirmed_by_the_first_bytes() {
    for (name, kind, compression) in [
        ("a.JSONL", Kind::JsonLines, Compression::None),
        ("a.parquet.zst", Kind::Parquet, Compression::Zstd),
        ("a.feather", Kind::Arrow, Compression::None),
        ("a.ipc.gz", Kind::Arrow, Compression::Gzip),
    ] {
        assert_eq!(
            kind_by_name(Path::new(name)),
            Some((kind, compression)),
            "{name}"
        );
    }
    for name in ["a", "a.gz", "jsonl", "a.csv", "a.jsonl.bz2", "a.csv.gz"] {
        assert_eq!(kind_by_name(Path::new(name)), None, "{name}");
    }
    let dir = Dir::with(&["a.jsonl.gz", "b.parquet", "c.arrow", "e.csv"]);
    fs::write(dir.path("d.jsonl"), b"PAR1....").unwrap();
    fs::write(dir.path("f.json"), b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    fs::write(dir.path("a.jsonl.gz"), b"{\"a\":1}\n").unwrap();
    fs::write(dir.path("b.parquet"), b"ARROW1\0\0").unwrap();
    fs::write(dir.path("c.arrow"), b"{\"a\":1}\n").unwrap();
    for (name, message) in [
        (
            "a.jsonl.gz",
            "by its name the file is gzip, by its first bytes (7b 22 61 22 3a 31 7d 0a) it is not compressed",
        ),
        (
            "b.parquet",
            "by its name the file is Parquet, by its first bytes (41 52 52 4f 57 31 00 00) it is Arrow IPC",
        ),
        (
            "c.arrow",
            "by its name the file is Arrow IPC, by its first bytes (7b 22 61 22 3a 31 7d 0a) it is something else",
        ),
        (
            "d.jsonl",
            "by its name the file is JSON Lines, by its first bytes (50 41 52 31 2e 2e 2e 2e) it is Parquet",
        ),
        (
            "f.json",
            "by its name the file is not compressed, by its first bytes (1f 8b 08 00 00 00 00 00) it is gzip",
        ),
        ("e.csv", "the extension .csv is not known"),
    ] {
        let error = resolve(&[dir.path(name)]).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (Code::SourceKind, message)
        );
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let dir = Dir::with(&["a.jsonl", "b.csv", "empty/notes.txt"]);
    let one = resolve(&[dir.path("no.jsonl")]).unwrap_err();
    assert_eq!(
        (one.code, one.message.as_str()),
        (Code::SourceMissing, "there is no such file or folder")
    );
    let inputs = [
        "no.jsonl",
        "a.jsonl",
        "b.csv",
        "*.parquet",
        "empty",
        "[",
        "a.jsonl",
    ];
    let error = resolve(&inputs.map(|name| dir.path(name))).unwrap_err();
    assert!(
        error.message.starts_with("6 inputs cannot be read:"),
        "{error}"
    );
    for part in [
        "no.jsonl",
        "b.csv",
        "*.parquet",
        "empty",
        "not valid",
        "given twice",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_file_may_be_given_twice_only_under_two_names() {
    let dir = Dir::with(&["a.jsonl"]);
    let path = dir.path("a.jsonl");
    let dotted = dir.path("./a.jsonl");
    for inputs in [
        [path.clone(), dotted.clone()],
        [format!("x={path}"), format!("x={dotted}")],
        ["-".into(), "y=-".into()],
    ] {
        assert!(
            resolve(&inputs)
                .unwrap_err()
                .message
                .contains("given twice")
        );
    }
    assert_eq!(
        resolve(&[format!("x={path}"), format!("y={dotted}")])
            .unwrap()
            .len(),
        2
    );
    assert_eq!(resolve(&[format!("x={path}"), dotted]).unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_file() {
    let error = resolve(&["/dev/null".into()]).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::SourceKind, "this is neither a file nor a folder")
    );
}
