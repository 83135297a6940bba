"""What a running job says about itself, drawn for a terminal, a pipe or a program.

On a terminal with ``rich`` installed: a bar. Elsewhere: one plain line per interval. With
``--log-json``: one JSON object per line. All of it goes to standard error, so that standard output
stays the command's result.
"""

from __future__ import annotations

import json
import sys
import time

from sftprep.record import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import asdict, dataclass
    from types import TracebackType
    from typing import IO, Any, Protocol

    from rich.progress import Progress as RichProgress
else:
    from sftprep.record import asdict, dataclass

    Protocol = object

_INTERVAL_SECONDS = 5.0
_LAST_STAGE = "done"
_BILLION, _MILLION, _THOUSAND = 1e9, 1e6, 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A snapshot of a running job; counts never go back."""

    stage: str = ""
    """What the job is doing: ``start``, ``map``, ``plan``, ``write`` or ``done``."""
    rows: int = 0
    """Rows read so far."""
    rejected: int = 0
    """Rows rejected so far."""
    dropped: int = 0
    """Rows dropped by name (over-long, say) so far."""
    tokens: int = 0
    """Tokens encoded so far."""
    trained_tokens: int = 0
    """Tokens that get a label so far."""
    sequences: int = 0
    """Packed sequences written so far."""
    bytes_read: int = 0
    """Bytes of input read so far."""
    bytes_total: int = 0
    """Bytes of input, 0 if not known (standard input)."""
    bytes_written: int = 0
    """Bytes of output written so far."""
    done: bool = False
    """Whether the job has ended, well or not."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        """A snapshot from the core's JSON; keys of newer cores are ignored."""
        known = names(cls)
        return cls(**{key: value for key, value in data.items() if key in known})


class Display(Protocol):
    """Something that draws snapshots; used as a context manager."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, progress: Progress) -> None:
        """Draws a snapshot, or waits until the next one is due."""

    def note(self, message: str) -> None:
        """Prints a line above whatever is being drawn."""


class Quiet:
    """Draws nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def update(self, progress: Progress) -> None:
        """Draws nothing."""

    def note(self, message: str) -> None:
        """Prints nothing."""


class _Timed(Quiet):
    """Base of the displays that print lines: measures rates, and when the next line is due."""

    def __init__(self, stream: IO[str], interval: float) -> None:
        self._stream = stream
        self._interval = interval
        self._started = time.monotonic()
        self._printed = self._started
        self._stage = ""

    def due(self, progress: Progress) -> bool:
        """Whether an interval has passed, the stage has changed, or the job has ended."""
        now = time.monotonic()
        # A job enters its last stage just before it ends: one line says both.
        changed = progress.stage not in {self._stage, _LAST_STAGE} and progress.rows > 0
        if not (progress.done or changed or now - self._printed >= self._interval):
            return False
        self._printed, self._stage = now, progress.stage
        return True

    def rates(self, progress: Progress) -> tuple[float, float]:
        """Rows and tokens per second since the start."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        return progress.rows / seconds, progress.tokens / seconds

    def write(self, line: str) -> None:
        """One line, at once."""
        print(line, file=self._stream, flush=True)


class Lines(_Timed):
    """One plain line per interval: for pipes, log files and terminals without ``rich``."""

    def __init__(self, stream: IO[str] | None = None, interval: float = _INTERVAL_SECONDS) -> None:
        super().__init__(stream or sys.stderr, interval)

    def update(self, progress: Progress) -> None:
        """Prints a line when one is due."""
        if self.due(progress):
            self.write(describe(progress, *self.rates(progress)))

    def note(self, message: str) -> None:
        """Prints the message."""
        self.write(message)


class JsonLines(_Timed):
    """One JSON object per interval: for programs."""

    def __init__(self, stream: IO[str] | None = None, interval: float = 1.0) -> None:
        super().__init__(stream or sys.stderr, interval)

    def update(self, progress: Progress) -> None:
        """Prints an object when one is due."""
        if self.due(progress):
            rows, tokens = self.rates(progress)
            self.event(
                "progress",
                **asdict(progress),
                seconds=round(time.monotonic() - self._started, 3),
                rows_per_second=round(rows, 1),
                tokens_per_second=round(tokens, 1),
            )

    def note(self, message: str) -> None:
        """Prints the message as an object."""
        self.event("note", message=message)

    def event(self, event: str, **values: object) -> None:
        """Prints one object; ``event`` says what it is."""
        self.write(json.dumps({"event": event, **values}, ensure_ascii=False))


class Bar(_Timed):
    """A live bar on a terminal, drawn by ``rich``."""

    def __init__(self) -> None:
        super().__init__(sys.stderr, 0.0)
        self._rich = _rich_progress()
        self._task = self._rich.add_task("starting", total=None, said="")

    def __enter__(self) -> Bar:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def update(self, progress: Progress) -> None:
        """Moves the bar."""
        total = progress.bytes_total or None
        self._rich.update(
            self._task,
            description=progress.stage,
            total=total,
            completed=min(progress.bytes_read, total) if total else progress.bytes_read,
            said=_counts(progress, *self.rates(progress)),
        )

    def note(self, message: str) -> None:
        """Prints the message above the bar."""
        self._rich.console.print(message, markup=False, highlight=False)


def choose(
    *, quiet: bool = False, log_json: bool = False, stream: IO[str] | None = None
) -> Display:
    """The display that fits the options and the terminal."""
    stream = stream or sys.stderr
    if log_json:
        return JsonLines(stream)
    if quiet:
        return Quiet()
    if stream is sys.stderr and stream.isatty():
        try:
            return Bar()
        except ImportError:
            return Lines(stream, 1.0)
    return Lines(stream)


def describe(progress: Progress, rows_per_second: float, tokens_per_second: float) -> str:
    """A snapshot in one plain line."""
    share = ""
    if progress.bytes_total:
        share = f" {min(progress.bytes_read / progress.bytes_total, 1.0):4.0%}"
    return f"{progress.stage or 'starting'}{share}: " + _counts(
        progress, rows_per_second, tokens_per_second
    )


def human(number: float) -> str:
    """A count in at most five characters: 950, 12.3k, 4.5M, 1.2B."""
    for limit, suffix in ((_BILLION, "B"), (_MILLION, "M"), (_THOUSAND, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.1f}{suffix}"
    return f"{number:.0f}"


def _counts(progress: Progress, rows_per_second: float, tokens_per_second: float) -> str:
    parts = [
        f"{human(progress.rows)} {'row' if progress.rows == 1 else 'rows'} "
        f"({human(rows_per_second)}/s)",
        f"{human(progress.tokens)} tokens ({human(tokens_per_second)}/s)",
    ]
    if progress.rejected:
        parts.append(f"{human(progress.rejected)} rejected")
    if progress.dropped:
        parts.append(f"{human(progress.dropped)} dropped")
    if progress.sequences:
        parts.append(f"{human(progress.sequences)} sequences")
    return ", ".join(parts)


def _rich_progress() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    # What says the least gives way first where the terminal is narrow: the bar, then the counts.
    return Progress(
        TextColumn("{task.description:<5}", table_column=Column(no_wrap=True, min_width=5)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=24)),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True, min_width=4)),
        TextColumn(
            "{task.fields[said]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=4)
        ),
        console=Console(stderr=True),
        expand=True,
        refresh_per_second=10,
        transient=True,
    )
