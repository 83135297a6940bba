from __future__ import annotations

import io
import json
import sys

import pytest

from sftprep.progress import Bar, JsonLines, Lines, Progress, Quiet, choose, describe, human
from sftprep.totals import counted, packing_line

HALF = Progress(
    stage="map", rows=1200, rejected=3, tokens=4_500_000, bytes_read=50, bytes_total=100
)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (12_340, "12.3k"), (4.5e6, "4.5M"), (1.2e9, "1.2B")],
)
def test_counts_are_short(number: float, text: str) -> None:
    assert human(number) == text


def test_a_line_says_where_how_much_and_how_fast() -> None:
    line = describe(HALF, 300.0, 1.5e6)
    assert line == "map  50%: 1.2k rows (300/s), 4.5M tokens (1.5M/s), 3 rejected"
    assert "%" not in describe(Progress(stage="map", bytes_read=50), 0, 0)
    assert describe(Progress(stage="map", rows=1), 0, 0) == "map: 1 row (0/s), 0 tokens (0/s)"


def test_a_pipe_gets_one_line_per_interval_and_stage() -> None:
    stream = io.StringIO()
    lines = Lines(stream, interval=3600)
    lines.update(Progress(stage="start"))
    for _ in range(10):
        lines.update(HALF)
    lines.update(Progress(stage="write", rows=1200))
    lines.update(Progress(stage="done", rows=1200))
    lines.update(Progress(stage="done", rows=1200, done=True))
    assert [line.split()[0].rstrip(":") for line in stream.getvalue().splitlines()] == [
        "map",
        "write",
        "done",
    ]


def test_one_is_one_and_nothing_is_not_full() -> None:
    packing = {
        "rows": 0,
        "max_len": 1024,
        "strategy": "bfd",
        "fill": 1.0,
        "lower_bound": 0,
        "gap": 0,
    }
    assert "full" not in packing_line(packing)
    line = packing_line(packing | {"rows": 1, "fill": 0.5, "lower_bound": 1})
    assert line.startswith("1 row of at most 1,024 tokens by bfd: 50.000% full, lower bound 1 row,")
    assert counted(2000, "file") == "2,000 files"


def test_json_lines_are_json() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream, interval=0)
    lines.update(HALF)
    lines.note("größer als «nötig»")
    progress, note = map(json.loads, stream.getvalue().splitlines())
    assert progress["event"] == "progress"
    assert progress["rows"] == 1200
    assert progress["rows_per_second"] > 0
    assert progress["tokens_per_second"] > 0
    assert note == {"event": "note", "message": "größer als «nötig»"}


def test_newer_cores_may_say_more() -> None:
    assert Progress.from_dict({"stage": "map", "rows": 3, "novelty": 1}).rows == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    assert type(choose()) is Lines
    assert type(choose(quiet=True)) is Quiet
    assert type(choose(quiet=True, log_json=True)) is JsonLines
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert type(choose()) is Bar
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert type(choose()) is Lines


def test_the_bar_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with choose() as display:
        display.update(HALF)
        display.note("[bold]not markup[/bold]")
        display.update(Progress(stage="write", bytes_read=200, bytes_total=100, done=True))
    assert "[bold]not markup[/bold]" in stream.getvalue()
    assert "write" in stream.getvalue()
