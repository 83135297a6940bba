"""``pack`` from and to object stores, by way of a local folder.

Inputs are fetched whole before the run, in pieces of 32 MiB, and the output is uploaded after it,
so the run itself is the one of local files: the same code, the same bytes, the same names in the
manifest. The folder needs room for both, which is asked of the disk before the first byte; memory
does not grow with either.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftprep import cloud
from sftprep.config import PackConfig, merge
from sftprep.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sftprep.api import PackReport

_KNOWN = re.compile(r".*\.(jsonl|ndjson|json|parquet|arrow|feather|ipc)(\.(gz|zst))?", re.I | re.S)
_WILD = re.compile(r"[*?\[{]")
_NAMED = re.compile(r"([\w.-]+)=(.*)", re.DOTALL)


def run(
    config: PackConfig,
    job: Callable[[PackConfig], PackReport],
    stage: cloud.PathLike | None,
) -> PackReport:
    """Runs a job on local copies, and uploads what it wrote.

    Args:
        config: The options, with URLs.
        job: What to do with options that have local paths instead.
        stage: Folder for the copies, which are kept; by default a temporary one.

    Raises:
        ConfigError: if a URL is wrong, or resuming is asked for without a folder.
        SourceError: if an input is not there or cannot be fetched.
        OutputError: if the output is there already, or cannot be written.
    """
    if config.output.resume and stage is None:
        raise ConfigError(
            "a run on an object store can be resumed only where its local folder was kept",
            field="stage",
            hint="give --stage DIR, from the first run on",
        )
    with _folder(stage) as folder:
        out = config.output.dir
        local = merge(config, {"source": {"inputs": _fetch_all(config.source.inputs, folder)}})
        if not cloud.is_url(out):
            return job(local)
        cloud.parse(out)
        if not (config.output.overwrite or config.output.resume or config.output.dry_run):
            cloud.check_free(out)
        own = folder / "out" / hashlib.sha256(out.encode()).hexdigest()[:16]
        own.parent.mkdir(parents=True, exist_ok=True)
        report = job(merge(local, {"output": {"dir": str(own)}}))
        if not config.output.dry_run:
            cloud.upload(own, out, overwrite=config.output.overwrite)
        return replace(report, out=out)


@contextmanager
def _folder(stage: cloud.PathLike | None) -> Iterator[Path]:
    if stage is not None:
        folder = Path(os.path.abspath(stage))  # noqa: PTH100 - links stay as they are
        if _WILD.search(str(folder)):
            raise ConfigError(f"{folder} would be taken for a pattern", field="stage")
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sftprep-") as name:
        yield Path(name)


def _fetch_all(inputs: list[str], folder: Path) -> list[str]:
    """The inputs with local paths for URLs, whose objects are there then."""
    local: list[str] = []
    wanted: dict[Path, tuple[cloud.Place, Any]] = {}
    for given in inputs:
        if not cloud.is_url(given):
            local.append(given)
            continue
        match = _NAMED.fullmatch(given)
        name, url = match.groups() if match else (None, given)
        place = cloud.parse(url)
        root = folder / "in" / place.scheme / _part(place.bucket, url)
        wanted |= {root.joinpath(*_parts(each.key)): (each, meta) for each, meta in _find(place)}
        path = root.joinpath(*_parts(place.key)) if place.key else root
        local.append(f"{path}" if name is None else f"{name}={path}")
    left = {path: each for path, each in wanted.items() if not _is_there(path, each[1])}
    cloud.check_space(sum(meta["size"] for _, meta in left.values()), folder)
    for path, (place, meta) in left.items():
        _fetch(place, meta, path)
    return local


def _find(place: cloud.Place) -> list[tuple[cloud.Place, Any]]:
    """The objects that an input stands for: one, those below a prefix, or those of a pattern.

    What the prefix or pattern of a local path would leave out as well is left out later, by what
    resolves those; here it is only not fetched where that is plain.
    """
    store = cloud.open_store(place)  # says so where obstore is not installed
    import obstore
    from obstore.exceptions import NotFoundError

    wild = _WILD.search(place.key)
    with cloud.refusals(SourceError, "source.unreadable", str(place)):
        if not wild and place.key:
            try:
                return [(place, obstore.head(store, place.key))]
            except (FileNotFoundError, NotFoundError):
                pass
        head = place.key[: wild.start()] if wild else place.key
        tail = re.split(r"[*?\]}]", place.key)[-1] if wild else ""
        # Stores list by whole folders.
        base = head.rpartition("/")[0] if wild else head
        listed = [each for chunk in obstore.list(store, base or None) for each in chunk]
    found = []
    for meta in listed:
        key = str(meta["path"])
        if _KNOWN.fullmatch(key) and key.startswith(head) and key.endswith(tail):
            found.append((place._replace(key=key), meta))
    if not found:
        raise SourceError(
            "there is no object of a known kind",
            code="source.missing",
            path=str(place),
            hint="correct the URL; objects are known by their extension, such as .jsonl",
        )
    return found


def _parts(key: str) -> list[str]:
    return [_part(part, key) for part in key.split("/")]


def _part(part: str, key: str) -> str:
    """A part of a key as a file name; a key must not lead out of the folder."""
    if part in {"", ".", ".."} or "\\" in part or "\0" in part:
        raise SourceError(f"the key {key!r} cannot be a file's path", code="source.kind")
    return part


def _mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.etag")


def _is_there(path: Path, meta: Any) -> bool:  # noqa: ANN401 - obstore's
    """Whether the same version was fetched before, and nobody touched the copy."""
    try:
        found = path.stat()
        mark = _mark(path).read_text(encoding="utf-8")
    except OSError:
        return False
    return (found.st_size, mark) == (meta["size"], f"{meta['e_tag']} {found.st_mtime_ns}")


def _fetch(place: cloud.Place, meta: Any, path: Path) -> None:  # noqa: ANN401
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with cloud.refusals(SourceError, "source.unreadable", str(place)):
        cloud.fetch_object(cloud.open_store(place), place.key, partial)
    # A later run that resumes knows inputs by their time.
    when = meta["last_modified"].timestamp()
    os.utime(partial, (when, when))
    partial.replace(path)
    mark = f"{meta['e_tag']} {path.stat().st_mtime_ns}"
    _mark(path).write_text(mark, encoding="utf-8")
