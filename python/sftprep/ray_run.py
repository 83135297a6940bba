"""``pack --ray``: the phases of a run as tasks of a Ray cluster.

There is no other code path: each task is what ``pack --task I/N``, ``plan``, ``write --task I/N``
or ``commit`` does in a process of its own, on a file system that all nodes share. What a lost
worker had finished counts, the rest is done again elsewhere; so the bytes are those of one
process, whatever the number of workers and whichever of them die.

Ray Core's tasks, not Ray Data: order and memory stay ours.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sftprep.config import merge
from sftprep.errors import ConfigError, RunError, SftprepError
from sftprep.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sftprep.api import PackReport
    from sftprep.config import PackConfig

    Part = Callable[[str, str, int, int], PackReport]

_RETRIES = 20
_PARTS_PER_CPU = 2
_POLL_SECONDS = 0.5
_CANCEL_SECONDS = 30.0
# A worker that is cut off from the cluster may hold its part for a while.
_LOCK_SECONDS = 120.0
_DIED = "workers died"


@dataclass(frozen=True, kw_only=True, slots=True)
class RayOptions:
    """Where and how finely a run is distributed."""

    address: str = ""
    """Address of a cluster (``auto``, ``host:port``, ``ray://host:port``); by default that of
    ``RAY_ADDRESS``, or a cluster on this machine alone."""
    parts: int = 0
    """Parts of the first and of the third phase; by default twice the CPUs of the cluster."""


def run(
    config: PackConfig,
    on_progress: Callable[[Progress], object],
    options: RayOptions,
    do: Part,
) -> PackReport:
    """Runs a job on a cluster.

    Args:
        config: The options; ``output.threads`` is per part (by default 1), and as many CPUs are
            asked of Ray.
        on_progress: Called when a phase begins and when a part of one is done.
        options: Where and how finely.
        do: Does a part of a phase, given the options as JSON, the phase, and which part of how
            many. Workers import it.

    Raises:
        ConfigError: if Ray is missing or not reached, or an option cannot be shared.
        RunError: if a part died each time.
        SftprepError: as :func:`sftprep.pack`.
    """
    _check(config, options)
    threads = config.output.threads or 1
    local = merge(config, {"output": {"threads": threads}})
    with _cluster(options.address) as ray:
        parts = options.parts or _PARTS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        work = _Work(ray, local, do, on_progress)
        started = time.monotonic()
        seconds: dict[str, float] = {}
        report = None
        for phase, of in (("map", parts), ("plan", 1), ("write", parts), ("commit", 1)):
            report = work.phase(phase, of)
            seconds[phase] = time.monotonic() - started - sum(seconds.values())
            if phase == "map" and not report.phase:
                break  # it resumed what had come to its end
        assert report is not None
        totals = report.totals
        on_progress(
            Progress(
                stage="done", rows=totals.rows, tokens=totals.encoded, sequences=report.sequences,
                bytes_written=report.bytes_written, done=True,
            )
        )  # fmt: skip
        return replace(report, seconds=seconds)


def _check(config: PackConfig, options: RayOptions) -> None:
    if config.output.dry_run:
        raise ConfigError("a dry run is not distributed", field="ray", hint="leave out --ray")
    if config.source.limit:
        raise ConfigError(
            "a limit counts the rows of all parts together", field="ray", hint="leave out --ray"
        )
    address = options.address
    if address and address not in {"auto", "local"} and ":" not in address:
        raise ConfigError(
            f"{address!r} is not the address of a Ray cluster",
            field="ray",
            hint="write --ray=ADDRESS, or give the inputs before --ray",
        )


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected; what was connected before stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--ray needs the extra 'ray'", hint='pip install "sftprep[ray]"'
        ) from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(
            address=address or None, log_to_driver=False, include_dashboard=None,
            logging_level="ERROR", configure_logging=False,
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"Ray cannot be reached: {error}", field="ray") from error
    try:
        yield ray
    finally:
        ray.shutdown()


class _Work:
    """The phases of one run."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - loaded late
        config: PackConfig,
        do: Part,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self._ray = ray
        self._config = config
        self._do = do
        self._on_progress = on_progress
        threads = config.output.threads
        self._part = ray.remote(num_cpus=threads, max_retries=_RETRIES)(sftprep_part)

    def phase(self, phase: str, of: int) -> PackReport:
        """Does all parts of a phase; the report of the last one to end."""
        self._on_progress(Progress(stage="map" if phase == "map" else "write"))
        text, folder = self._config.to_json(), os.getcwd()  # noqa: PTH109 - as it was typed
        waiting = [
            self._part.remote(self._do, text, folder, phase, number, of)
            for number in range(1, of + 1)
        ]
        report: PackReport | None = None
        try:
            while waiting:
                done, waiting = self._ray.wait(waiting, timeout=_POLL_SECONDS)
                for each in done:
                    report = self._outcome(each, phase)
        except BaseException:
            self._stop(waiting)
            raise
        assert report is not None
        return report

    def _outcome(self, part: Any, phase: str) -> PackReport:  # noqa: ANN401
        try:
            found: PackReport | SftprepError = self._ray.get(part)
        except self._ray.exceptions.RayError as error:
            raise RunError(
                f"{_DIED} in the {phase} phase: {str(error).strip().splitlines()[0]}",
                code="run.incomplete",
                path=self._config.output.dir,
                hint="repeat the command with --resume; give each part more memory if they were "
                "killed for it",
            ) from error
        if isinstance(found, SftprepError):
            raise found
        return found

    def _stop(self, waiting: list[Any]) -> None:
        """Lets the parts that run put their files away."""
        for part in waiting:
            self._ray.cancel(part)
        if waiting:
            self._ray.wait(waiting, num_returns=len(waiting), timeout=_CANCEL_SECONDS)


def sftprep_part(  # its name is that of the process
    do: Part, config: str, folder: str, phase: str, number: int, of: int
) -> PackReport | SftprepError:
    """Does one part of one phase on a worker; errors are results, so that they keep their place."""
    try:
        os.chdir(folder)
    except OSError as error:
        return ConfigError(
            f"a worker has no folder {folder}: {error.strerror}",
            hint="the nodes of a cluster have to share a file system",
        )
    begun = time.monotonic()
    while True:
        try:
            return do(config, phase, number, of)
        except SftprepError as error:
            if error.code != "output.locked" or time.monotonic() - begun > _LOCK_SECONDS:
                return error
            time.sleep(1)
