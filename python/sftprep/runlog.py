"""What a training run says of itself: ``metrics.jsonl``, progress, the picture of the loss."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from sftprep.errors import ConfigError
from sftprep.progress import human


class Metrics:
    """``metrics.jsonl``: one object per step, evaluation or event.

    Lines from ``step`` on, of a process that went on after its last checkpoint, are made again.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read(self.path) if line["step"] < step] if step else []
        part = self.path.with_suffix(".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        part.replace(self.path)
        self._file: IO[str] = self.path.open("a", encoding="utf-8", buffering=1)
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ConfigError(
                    "--tensorboard needs tensorboard", hint="pip install tensorboard"
                ) from None
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, step: int, **values: object) -> None:
        """One line."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Syncs and closes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._board is not None:
            self._board.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a torn last one is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.endswith("}")]


class Console:
    """A bar on a terminal with ``rich``, else one line for each report; on standard error."""

    def __init__(self, steps: int, first: int, *, quiet: bool) -> None:
        self._steps, self._first, self._quiet = steps, first, quiet
        self._started = time.monotonic()
        self._bar: Any = None
        if quiet or not sys.stderr.isatty():
            return
        try:
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, Progress, TextColumn
        except ImportError:
            return
        columns = (
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}"),
        )
        self._bar = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._task = self._bar.add_task("train", total=steps, completed=first, said="")
        self._bar.start()

    def step(self, done: int, values: dict[str, Any]) -> None:
        """Shows the values of the last step."""
        left = (
            (time.monotonic() - self._started) / max(done - self._first, 1) * (self._steps - done)
        )
        mfu = "" if values["mfu"] is None else f", MFU {values['mfu']:.1%}"
        said = (
            f"loss {values['loss']:.4f}, {human(values['tokens_per_s'])} tokens/s{mfu}, "
            f"stall {values['stall']:.2%}, {values['memory_bytes'] / 1e9:.2f} GB, "
            f"{int(left) // 60}:{int(left) % 60:02} left"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=done, said=said)
        elif not self._quiet:
            print(f"step {done}/{self._steps}: {said}", file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        elif not self._quiet:
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Puts the bar away."""
        if self._bar is not None:
            self._bar.stop()


_WIDTH, _HEIGHT, _EDGE = 720, 400, 56


def curve(lines: list[dict[str, Any]], title: str) -> str:
    """The loss as SVG: every step in grey, a running mean in blue, evaluations as orange dots."""
    train = [(x["step"] + 1, x["loss"]) for x in lines if "loss" in x]
    evals = [(x["step"] + 1, x["eval_loss"]) for x in lines if "eval_loss" in x]
    points = train + evals or [(0, 0.0)]
    last = max(step for step, _ in points) or 1
    low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points) or 1.0

    def place(step: float, loss: float) -> tuple[float, float]:
        x = _EDGE + step / last * (_WIDTH - 2 * _EDGE)
        return x, _HEIGHT - _EDGE - (loss - low) / ((high - low) or 1.0) * (_HEIGHT - 2 * _EDGE)

    def path(values: list[tuple[int, float]], color: str, width: float) -> str:
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*value) for value in values))
        return f'<polyline points="{text}" fill="none" stroke="{color}" stroke-width="{width}"/>'

    smooth, mean = [], train[0][1] if train else 0.0
    for step, loss in train:
        mean += 0.1 * (loss - mean)
        smooth.append((step, mean))
    marks = []
    for part in range(5):
        y, x = low + (high - low) * part / 4, last * part / 4
        (left, height), (across, _) = place(0, y), place(x, 0)
        marks += [
            f'<path d="M{left} {height:.1f}H{_WIDTH - _EDGE}" stroke="#ddd"/>',
            f'<text x="{left - 8}" y="{height + 4:.1f}" text-anchor="end">{y:.2f}</text>',
            f'<text x="{across:.1f}" y="{_HEIGHT - 36}" text-anchor="middle">{x:.0f}</text>',
        ]
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#d95f02"><title>eval</title></circle>'
        for x, y in (place(*value) for value in evals)
    ]
    title = title.replace("&", "&amp;").replace("<", "&lt;")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12" role="img">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text x="{_EDGE}" y="30" font-size="15">{title}</text>',
            f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 12}" text-anchor="middle">step</text>',
            *marks,
            path(train, "#bbb", 1.0),
            path(smooth, "#1f77b4", 2.0),
            *dots,
            "</svg>\n",
        ]
    )
