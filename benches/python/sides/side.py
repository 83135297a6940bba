"""What every measured side shares: its rows, its clock, and how it reports.

A side is a script that runs in a process of its own. It calls `imports_done()` once everything
is imported, does its work, and calls `emit(...)`. CPU time is user + system of the whole process
tree; the work's own time is the total less the imports and less whatever the side sets apart
with `apart()` (a trainer's model, say, which is no part of preparing data).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = Any


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _started() -> float:
    """When this process started, on the clock of `time.clock_gettime(CLOCK_BOOTTIME)`."""
    after_name = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class _Clock:
    wall_start: float = field(default_factory=_started)
    import_cpu: float = 0.0
    import_wall: float = 0.0
    apart_cpu: float = 0.0
    apart_wall: float = 0.0


_clock = _Clock()


def imports_done() -> None:
    """Marks the end of the imports."""
    _clock.import_cpu = cpu_seconds()
    _clock.import_wall = _now() - _clock.wall_start


@contextmanager
def apart() -> Iterator[None]:
    """Time in here is counted in the total only."""
    cpu, wall = cpu_seconds(), _now()
    try:
        yield
    finally:
        _clock.apart_cpu += cpu_seconds() - cpu
        _clock.apart_wall += _now() - wall


@contextmanager
def not_apart() -> Iterator[None]:
    """Inside `apart()`: time that belongs to the work after all."""
    cpu, wall = cpu_seconds(), _now()
    try:
        yield
    finally:
        _clock.apart_cpu -= cpu_seconds() - cpu
        _clock.apart_wall -= _now() - wall


def emit(**facts: Json) -> None:
    """Prints the one JSON line that the comparison reads."""
    total_cpu = cpu_seconds()
    total_wall = _now() - _clock.wall_start
    line = {
        "cpu_total_s": total_cpu,
        "cpu_import_s": _clock.import_cpu,
        "cpu_prep_s": total_cpu - _clock.import_cpu - _clock.apart_cpu,
        "wall_total_s": total_wall,
        "wall_import_s": _clock.import_wall,
        "wall_prep_s": total_wall - _clock.import_wall - _clock.apart_wall,
        **facts,
    }
    sys.stdout.write("\n@side " + json.dumps(line) + "\n")
    sys.stdout.flush()
