"""Scores that were computed before, by everything they depend on.

A folder holds one folder per key (model, tokenizer, template, definition, options), and in it
segments: small files that are written whole beside and renamed, never changed. A second run loads
them all; a row counts as known if its hash is there. Several processes may write at one time.
Beyond the limit of bytes the segments that were used least recently go.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftprep.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Values = np.ndarray[Any, Any]

LIMIT_BYTES = 1 << 30
"""Bytes of all segments of a folder, at most."""
_SEGMENTS = 32
_SECONDS = 30.0
_STALE_SECONDS = 3600.0


def default_folder() -> Path:
    """Where scores are kept: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "sftprep" / "scores"


class Cache:
    """Known values of one key.

    Args:
        folder: Of all keys; ``None`` keeps nothing.
        key: All that a value depends on but the row.
        width: Numbers of a value.
        limit: Bytes of all segments in ``folder``, at most.
    """

    def __init__(
        self, folder: Path | None, key: Mapping[str, str], width: int, limit: int = LIMIT_BYTES
    ) -> None:
        text = json.dumps(dict(key), sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self._root, self._limit = folder, limit
        self._folder = None if folder is None else folder / name
        self._key, self._width = text, width
        self._known: dict[str, tuple[Values, str]] = {}
        self._new: dict[str, tuple[Values, str]] = {}
        self._flushed = time.monotonic()
        self._load()

    def get(self, row_hash: str) -> tuple[Values, str] | None:
        """The numbers of a row and the reason for having none (or ``""``), if they are known."""
        return self._known.get(row_hash) or self._new.get(row_hash)

    def put(self, row_hash: str, values: Values, reason: str = "") -> None:
        """Remembers a row; every half minute what is new goes to the disk."""
        self._new[row_hash] = (values, reason)
        if time.monotonic() - self._flushed > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is new as a segment.

        Raises:
            OutputError: if the folder cannot be written.
        """
        self._flushed = time.monotonic()
        if self._folder is not None and self._new:
            self._write(self._new)
            self._known |= self._new
            self._new = {}
            self._shrink()

    def _load(self) -> None:
        if self._folder is None or not self._folder.is_dir():
            return
        found = sorted(self._folder.glob("*.npz"), key=_age)
        for path in found:
            self._known |= self._segment(path)
        if len(found) > _SEGMENTS and self._known:
            self._write(self._known)
            for path in found:
                path.unlink(missing_ok=True)

    def _segment(self, path: Path) -> dict[str, tuple[Values, str]]:
        """What a segment holds; a damaged one is removed, its rows are computed again."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                hashes, reasons, values = (file[name] for name in ("hashes", "reasons", "values"))
            os.utime(path)
            if values.shape != (len(hashes), self._width) or len(reasons) != len(hashes):
                raise ValueError(values.shape)
        except FileNotFoundError:  # merged by another process meanwhile
            return {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return {}
        pairs = zip(values, reasons.tolist(), strict=True)
        return dict(zip(hashes.tolist(), pairs, strict=True))

    def _write(self, entries: Mapping[str, tuple[Values, str]]) -> None:
        assert self._folder is not None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            about = self._folder / "key.json"
            if not about.exists():
                about.write_text(self._key, "utf-8")
            with tempfile.NamedTemporaryFile(
                dir=self._folder, prefix=".part-", suffix=".tmp", delete=False
            ) as part:
                try:
                    np.savez(
                        part,
                        hashes=np.array(list(entries), str),
                        reasons=np.array([reason for _, reason in entries.values()], str),
                        values=np.stack([values for values, _ in entries.values()]),
                    )
                    part.flush()
                    os.fsync(part.fileno())
                    name = f"{time.time_ns():020}-{os.getpid()}.npz"
                    Path(part.name).replace(self._folder / name)
                finally:
                    Path(part.name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"the cache of scores cannot be written: {error.strerror or error}",
                path=str(self._folder),
                field="--cache",
                hint="choose another --cache, or add --no-cache",
            ) from error

    def _shrink(self) -> None:
        """Removes the segments that were used least recently, and what crashes left behind."""
        assert self._root is not None
        for path in self._root.glob("*/.part-*.tmp"):
            if time.time() - _age(path) > _STALE_SECONDS:
                path.unlink(missing_ok=True)
        found = sorted(self._root.glob("*/*.npz"), key=_age, reverse=True)
        total = 0
        for path in found:
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
            if total > self._limit:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
