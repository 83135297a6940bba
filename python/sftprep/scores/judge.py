"""A language model that rates how accurate answers are, from 0 to 5, as AlpaGasus has it.

Any server with OpenAI's chat completions will do. Ratings are kept by server, model and question,
so that a second run asks only for what is new or failed.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import json
import math
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sftprep.errors import ConfigError, ScoreError
from sftprep.scores.cache import Cache
from sftprep.scores.columns import Column, Counts

if TYPE_CHECKING:
    from sftprep.scores.table import Table

KEY_VARIABLE = "SFTPREP_JUDGE_KEY"
"""Environment variable that may hold the server's key. Keys of others are not sent to it."""
HIGHEST = 5.0
_SYSTEM = (
    "You check answers of an assistant. Rate the accuracy of the answer to the instruction on a "
    "scale from 0 to 5, where 5 is fully accurate and 0 is wrong throughout. Say nothing but the "
    "number in the first line; give your reason below it."
)
_NUMBER = re.compile(r"(?<![\d.\-])(\d+(?:\.\d+)?)(?!\d)")
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_LONGEST_PAUSE = 60.0


class _Failed(Exception):
    """A request came to nothing; ``again`` says whether another try may help."""

    def __init__(self, what: str, *, again: bool, pause: float | None = None) -> None:
        super().__init__(what)
        self.again, self.pause = again, pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """A judge behind a URL."""

    url: str
    """Base of the interface, such as ``http://localhost:8000/v1``."""
    model: str
    """Name of the model there."""
    retries: int = 4
    """More tries after a failure that may pass, with growing pauses."""
    per_minute: float = 0.0
    """Requests per minute, at most (0: any)."""
    parallel: int = 4
    """Requests at a time."""
    timeout: float = 120.0
    """Seconds to wait for an answer."""
    pause: float = 1.0
    """Seconds before the second try; doubled for each further one."""

    def check(self) -> Judge:
        """Returns itself.

        Raises:
            ConfigError: if a value is out of range or missing.
        """
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{self.url!r} is no http address", field="--judge", hint="http://HOST:PORT/v1"
            )
        if not self.model:
            raise ConfigError("there is no model for the judge", field="--judge-model")
        for flag, value, low in (
            ("--judge-retries", self.retries, 0),
            ("--judge-per-minute", self.per_minute, 0),
            ("--judge-parallel", self.parallel, 1),
        ):
            if not low <= value < math.inf:
                raise ConfigError(f"{value} is not a finite number from {low} on", field=flag)
        return self

    def about(self) -> dict[str, str]:
        """What a rating depends on but the row."""
        template = hashlib.blake2b(_SYSTEM.encode(), digest_size=16).hexdigest()
        return {
            "definition": "judge=accuracy",
            "model": self.model,
            "url": self.url.rstrip("/"),
            "template": template,
        }

    def plan(self, table: Table, folder: Path | None) -> Counts:
        """How many ratings are known, and how many are to be asked for."""
        cache = Cache(folder, self.about(), 1)
        known = [cache.get(_key(table, at)) is not None for at in _usable(table)]
        return Counts(sum(known), len(known) - sum(known))

    def run(
        self, table: Table, folder: Path | None, tick: Callable[[int, int, int], None], limit: int
    ) -> tuple[list[Column], Counts]:
        """Asks for every rating that is not known.

        Raises:
            ScoreError: if the server refuses, or cannot be reached at all.
        """
        self.check()
        cache = Cache(folder, self.about(), 1, limit)
        values = np.full(len(table), np.nan)
        reasons: list[str | None] = list(table.problem)
        for at in set(range(len(table))) - set(_usable(table)):
            reasons[at] = reasons[at] or "score.empty"
        todo = []
        for at in _usable(table):
            known = cache.get(_key(table, at))
            if known is None:
                todo.append(at)
            else:
                values[at] = known[0][0]
                tick(1, 0, 0)
        failures: list[str] = []
        rated = 0
        try:
            for at, rating in self._ask_all(table, todo):
                if isinstance(rating, float):
                    values[at], rated = rating, rated + 1
                    cache.put(_key(table, at), np.array([rating]))
                else:
                    reasons[at] = "score.judge"
                    failures.append(f"{table.place(at)}: {rating}")
                    self._give_up(failures, rated)
                tick(1, 0, len(table.prompt[at]) + len(table.answer[at]))
        finally:
            cache.flush()
        column = Column(
            name="judge_accuracy",
            kind="float64",
            values=values,
            reasons=reasons,
            about={**self.about(), "what": "accuracy of the answer, 0 to 5"},
        )
        return [column], Counts(len(_usable(table)) - len(todo), rated)

    def _give_up(self, failures: list[str], rated: int) -> None:
        """Ends a run in which nothing but failures came back, before it asks for all rows."""
        if rated == 0 and len(failures) >= max(4, self.parallel):
            raise ScoreError(
                f"the judge failed {len(failures)} times and never rated; {failures[-1]}",
                code="score.judge",
                path=self.url,
                field="--judge",
                hint="check the address and the model, then run again",
            )

    def _ask_all(self, table: Table, rows: list[int]) -> Iterator[tuple[int, float | str]]:
        """Ratings as they come, or what went wrong.

        The threads are daemons: an interrupted run does not wait for answers that are on their way.
        """
        pace, lock, left = _Pace(self.per_minute), threading.Lock(), iter(rows)
        came: queue.SimpleQueue[tuple[int, float | str | ScoreError]] = queue.SimpleQueue()

        def work() -> None:
            while not pace.over():
                with lock:
                    at = next(left, None)
                if at is None:
                    return
                try:
                    came.put((at, self.ask(*_task(table, at), pace)))
                except _Failed as error:
                    came.put((at, str(error)))
                except ScoreError as error:
                    came.put((at, error))
                except Exception as error:  # whatever it is, the run must not wait for it
                    came.put((at, f"{type(error).__name__}: {error}"))

        for _ in range(min(self.parallel, len(rows))):
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in rows:
                at, found = came.get()
                if isinstance(found, ScoreError):
                    raise found
                yield at, found
        finally:
            pace.stop()

    def ask(self, prompt: str, answer: str, pace: _Pace) -> float:
        """One rating, with retries.

        Raises:
            ScoreError: if the server refuses the request itself; no row would fare better.
        """
        pause = self.pause
        for left in range(self.retries, -1, -1):
            pace.take()
            try:
                return rating(self._post(prompt, answer))
            except _Failed as error:
                if left == 0 or not error.again:
                    raise
                pace.sleep(min(error.pause or pause, _LONGEST_PAUSE))
                pause *= 2
        raise AssertionError("the last try raises")

    def _post(self, prompt: str, answer: str) -> str:
        body = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": 256,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": f"Instruction:\n{prompt}\n\nAnswer:\n{answer}"},
            ],
        }
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions",
            json.dumps(body).encode("utf-8", "surrogatepass"),
            headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answered:
                text = answered.read()
            return str(json.loads(text)["choices"][0]["message"]["content"] or "")
        except urllib.error.HTTPError as error:
            error.close()
            what = f"HTTP {error.code} {error.reason}"
            if error.code in _AGAIN:
                pause = _seconds(error.headers.get("Retry-After"))
                raise _Failed(what, again=True, pause=pause) from error
            if error.code in {400, 413, 422}:  # this row may be too long for it
                raise _Failed(what, again=False) from error
            raise ScoreError(
                f"the judge refuses: {what}",
                code="score.judge",
                path=self.url,
                field="--judge",
                hint=f"check the address, the model and the key in {KEY_VARIABLE}",
            ) from error
        except (OSError, http.client.HTTPException) as error:  # no connection, time is over
            raise _Failed(f"{type(error).__name__}: {error}", again=True) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _Failed("the answer is no chat completion", again=True) from error


def rating(text: str) -> float:
    """The first number of the first line that says something."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = _NUMBER.search(first)
    value = float(found[1]) if found else math.nan
    if not 0 <= value <= HIGHEST:
        raise _Failed(f"no rating from 0 to 5 in {first[:60]!r}", again=False)
    return value


class _Pace:
    """Lets requests go at a rate, and wakes those that wait when the run ends."""

    def __init__(self, per_minute: float) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next, self._lock, self._over = 0.0, threading.Lock(), threading.Event()

    def take(self) -> None:
        """Waits for a turn."""
        with self._lock:
            now = time.monotonic()
            start = max(self._next, now)
            self._next = start + self._gap
        self.sleep(start - now)

    def sleep(self, seconds: float) -> None:
        """Waits, or ends at once if the run has ended."""
        if self._over.wait(max(seconds, 0.0)):
            raise _Failed("the run has ended", again=False)

    def over(self) -> bool:
        """Whether the run has ended."""
        return self._over.is_set()

    def stop(self) -> None:
        """The run has ended."""
        self._over.set()


def _usable(table: Table) -> list[int]:
    return [
        at for at in range(len(table)) if table.problem[at] is None and table.answer[at].strip()
    ]


def _task(table: Table, at: int) -> tuple[str, str]:
    instruction, given, answer = table.task(at)
    return (f"{instruction}\n\nInput:\n{given}" if given else instruction), answer


def _key(table: Table, at: int) -> str:
    texts = repr(_task(table, at)).encode("utf-8", "surrogatepass")
    return f"{table.row_hash[at]}{hashlib.blake2b(texts, digest_size=8).hexdigest()}"


def _seconds(text: str | None) -> float | None:
    """Seconds of a ``Retry-After``: a number, or a date."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (TypeError, ValueError):
            return None
