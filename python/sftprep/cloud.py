"""Object stores: a finished dataset goes up and comes down whole, or is not there.

Reached through ``obstore`` (extra ``cloud``): it has conditional puts, which the commit needs, and
multipart uploads and retries; it is one wheel without dependencies, where ``s3fs`` brings an
asynchronous stack of a dozen packages.

How a folder goes up, so that any number of uploads that die, or meet, leave one whole dataset:

1. a *claim* is put under ``.sftprep.upload``, only if there is none (``If-None-Match: *``); it
   names the manifest by its hash. Another upload of the same manifest may go on with it, one of
   another manifest is refused;
2. the files go up, those that are there with the right size are left alone;
3. the manifest goes up last, only if there is none. Until then there is no dataset;
4. the claim is removed.

Objects appear whole or not at all, and there is no renaming anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sftprep import _core
from sftprep.config import MANIFEST_NAME
from sftprep.errors import ConfigError, OutputError, SftprepError, ShardError

if TYPE_CHECKING:
    from collections.abc import Iterator

PathLike = str | os.PathLike[str]
CLAIM_NAME = ".sftprep.upload"
_REPORT_NAME = "sftprep.report.json"

_URL = re.compile(r"(s3|s3a|gs)://([^/]+)(?:/(.*))?", re.DOTALL)
_PIECE = 32 << 20
_TIMEOUT = "600s"
_LOOKS = 5


class Place(NamedTuple):
    """A place in an object store."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def child(self, name: str) -> str:
        """The key of a file in it."""
        return f"{self.key}/{name}" if self.key else name


def is_url(name: str) -> bool:
    """Whether a name is a URL, known or not."""
    return "://" in name


def parse(url: str) -> Place:
    """The place that a URL names.

    Raises:
        ConfigError: if it is not one of an object store that is known.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(
            f"{url!r} is not a place in an object store",
            hint="give s3://BUCKET/KEY or gs://BUCKET/KEY",
        )
    scheme, bucket, key = match.groups()
    return Place(scheme, bucket, (key or "").rstrip("/"))


def open_store(place: Place) -> Any:  # noqa: ANN401 - obstore's, which is loaded late
    """The bucket of a place; credentials, region and endpoint come from the environment.

    Raises:
        ConfigError: if obstore is not installed, or refuses the environment.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigError(
            "object stores need the extra 'cloud'", hint='pip install "sftprep[cloud]"'
        ) from error
    # Options that are given here hide this one of the environment.
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true"}
    options: Any = {"timeout": _TIMEOUT, "allow_http": plain}
    retry: Any = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
    try:
        return from_url(
            f"{place.scheme}://{place.bucket}", client_options=options, retry_config=retry
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(f"{place} cannot be opened: {_words(error)}") from error


def upload(folder: PathLike, url: str, *, overwrite: bool = False) -> list[str]:
    """Puts a finished dataset into an object store.

    An upload that died is finished by the next one of the same dataset; one that was finished
    already does nothing.

    Args:
        folder: Output folder of ``pack``.
        url: Where to, such as ``s3://bucket/packs``; it has to be empty.
        overwrite: Replace the dataset, or the remains of an upload, that is there. In between
            there is none.

    Returns:
        The URLs of the files, the manifest last.

    Raises:
        ShardError: if the folder is no dataset.
        OutputError: if something else is there, or the store refuses.
    """
    folder, place = Path(folder), parse(url)
    _check_whole(folder)
    manifest = (folder / MANIFEST_NAME).read_bytes()
    names = [str(entry["name"]) for entry in json.loads(manifest)["files"]]
    extra = [_REPORT_NAME] if (folder / _REPORT_NAME).is_file() else []
    store = open_store(place)
    with refusals(OutputError, "output.io", str(place)):
        if _claim(store, place, manifest, overwrite=overwrite):
            for name in [*names, *extra]:
                _put_file(store, place, folder / name)
            _commit(store, place, manifest)
            _remove(store, [place.child(CLAIM_NAME)])
    return [f"{place}/{name}" for name in [*names, *extra, MANIFEST_NAME]]


def download(url: str, folder: PathLike) -> Path:
    """Fetches a dataset from an object store and checks every byte of it.

    Args:
        url: Where it is, such as ``s3://bucket/packs``.
        folder: New folder.

    Returns:
        The folder.

    Raises:
        ShardError: if there is no finished dataset, or what arrived is not what it promises.
        OutputError: if the folder exists, or cannot be written.
    """
    place, folder = parse(url), Path(folder)
    if folder.exists():
        raise OutputError("the output exists", code="output.exists", path=str(folder))
    store = open_store(place)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with refusals(ShardError, "shard.missing", str(place)):
            manifest = _get(store, place.child(MANIFEST_NAME))
            if manifest is None:
                raise ShardError(
                    "there is no finished dataset: no manifest", path=str(place), hint=_WHERE
                )
            (partial / MANIFEST_NAME).write_bytes(manifest)
            # Checks its hash and its names, none of which leads out of the folder.
            entries = json.loads(_core.read_manifest(partial))["files"]
            check_space(sum(int(entry["bytes"]) for entry in entries), partial)
            for entry in entries:
                fetch_object(store, place.child(entry["name"]), partial / entry["name"])
        _check_whole(partial, full=True)
        partial.rename(folder)
    except OSError as error:
        if isinstance(error, SftprepError):
            raise
        raise OutputError(str(error), path=str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


_WHERE = "give the folder that `sftprep pack --out` or `sftprep upload` was given"


def fetch_object(store: Any, key: str, path: Path) -> None:  # noqa: ANN401
    """Fetches an object in pieces; all of them are of the version that was there at first."""
    import obstore

    meta = obstore.head(store, key)
    with path.open("wb") as file:
        for start in range(0, meta["size"], _PIECE):
            piece: Any = {"range": (start, min(start + _PIECE, meta["size"]))}
            if meta["e_tag"]:
                piece["if_match"] = meta["e_tag"]
            file.write(obstore.get(store, key, options=piece).bytes())
        file.flush()
        os.fsync(file.fileno())


def check_space(wanted: int, folder: Path) -> None:
    """Refuses before the first byte what the disk does not hold.

    Raises:
        OutputError: with code ``output.disk_full``.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise OutputError(
            f"{wanted:,} bytes are to be fetched, {free:,} are free",
            code="output.disk_full",
            path=str(folder),
            hint="give a folder on a larger disk with --stage",
        )


def check_free(url: str) -> None:
    """Refuses a place that holds a finished dataset, before any work.

    Raises:
        OutputError: with code ``output.exists``.
    """
    place = parse(url)
    with refusals(OutputError, "output.io", url):
        if _get(open_store(place), place.child(MANIFEST_NAME)) is not None:
            raise _exists(place)


def _check_whole(folder: Path, *, full: bool = False) -> None:
    report = json.loads(_core.verify(folder, full=full))
    if not report["ok"]:
        found = report["findings"][0]
        raise ShardError(
            f"the dataset differs from what its manifest promises: {found['what']}",
            code="shard.corrupt",
            path=f"{folder}/{found['file']}",
        )


def _claim(store: Any, place: Place, manifest: bytes, *, overwrite: bool) -> bool:  # noqa: ANN401
    """Makes sure that nothing else is there, or comes there; false if all is there already."""
    claim = json.dumps({"manifest_sha256": hashlib.sha256(manifest).hexdigest()}).encode()
    refusal = OutputError("other uploads come and go", code="output.locked", path=str(place))
    # What is seen may be out of date when the next thing is looked at: then all is looked at again.
    for _ in range(_LOOKS):
        there = _get(store, place.child(MANIFEST_NAME))
        if there == manifest:
            return False
        found = _get(store, place.child(CLAIM_NAME))
        if overwrite and (there is not None or found != claim):
            # The manifest first: what is left afterwards is no dataset.
            _remove(store, [place.child(MANIFEST_NAME), place.child(CLAIM_NAME)])
            _remove(store, [entry["path"] for entry in _list(store, place)])
        elif there is not None:
            raise _exists(place)
        elif found is None and _list(store, place):
            refusal = OutputError(
                "there are other objects",
                code="output.exists",
                path=str(place),
                hint="give another place, or --overwrite to remove them",
            )
            continue
        if found != claim and not _put_new(store, place.child(CLAIM_NAME), claim):
            refusal = OutputError(
                "another dataset is being uploaded there, or its upload died",
                code="output.locked",
                path=str(place),
                hint="wait for it; or, if it died, give --overwrite",
            )
            continue
        # Somebody may have finished between the first look and the claim.
        there = _get(store, place.child(MANIFEST_NAME))
        if there is None or there == manifest:
            return True
        _remove(store, [place.child(CLAIM_NAME)])
        raise _exists(place)
    raise refusal


def _commit(store: Any, place: Place, manifest: bytes) -> None:  # noqa: ANN401
    """The moment in which the dataset comes to be; of several, one wins and equal ones agree."""
    if _put_new(store, place.child(MANIFEST_NAME), manifest):
        return
    if _get(store, place.child(MANIFEST_NAME)) != manifest:
        raise _exists(place)


def _exists(place: Place) -> OutputError:
    return OutputError(
        "another dataset is there",
        code="output.exists",
        path=str(place),
        hint="give another place, or --overwrite to replace it",
    )


def _put_file(store: Any, place: Place, path: Path) -> None:  # noqa: ANN401
    """Puts a file, unless an upload of the same dataset has put it; looks whether it arrived."""
    import obstore
    from obstore.exceptions import NotFoundError

    key, size = place.child(path.name), path.stat().st_size
    with suppress(FileNotFoundError, NotFoundError):
        # The report tells the time of its run: it is no part of the dataset.
        if obstore.head(store, key)["size"] == size and path.name != _REPORT_NAME:
            return
    obstore.put(store, key, path)
    if (found := obstore.head(store, key)["size"]) != size:
        raise OutputError(f"{size} bytes were sent, {found} are there", path=f"{place}/{path.name}")


def _put_new(store: Any, key: str, data: bytes) -> bool:  # noqa: ANN401
    """Puts an object if there is none; whether there was none."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    try:
        obstore.put(store, key, data, mode="create")
    except (FileExistsError, AlreadyExistsError, PreconditionError):
        return False
    return True


def _get(store: Any, key: str) -> bytes | None:  # noqa: ANN401
    import obstore
    from obstore.exceptions import NotFoundError

    try:
        return bytes(obstore.get(store, key).bytes())
    except (FileNotFoundError, NotFoundError):
        return None


def _remove(store: Any, keys: list[str]) -> None:  # noqa: ANN401
    from obstore.exceptions import NotFoundError

    for key in keys:
        # S3 does not mind objects that are not there, others do.
        with suppress(FileNotFoundError, NotFoundError):
            store.delete(key)


def _list(store: Any, place: Place) -> list[Any]:  # noqa: ANN401
    import obstore

    prefix = f"{place.key}/" if place.key else None
    return [entry for chunk in obstore.list(store, prefix) for entry in chunk]


@contextmanager
def refusals(kind: type[SftprepError], code: str, where: str) -> Iterator[None]:
    """Errors of the store as errors of this package."""
    from obstore.exceptions import BaseError

    try:
        yield
    except SftprepError:
        raise
    except (BaseError, FileNotFoundError, PermissionError) as error:
        raise kind(f"the object store refused: {_words(error)}", code=code, path=where) from error


def _words(error: BaseException) -> str:
    """The first line of what obstore says: below it are its own structures."""
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


__all__ = ["Place", "check_free", "download", "is_url", "open_store", "parse", "upload"]
