"""``sftprep.pack``: one call from files of conversations to packed, labelled shards."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial

from sftprep import _core, hub
from sftprep.config import OutputConfig, PackConfig, merge, nest, read_file
from sftprep.errors import ConfigError, SftprepError
from sftprep.progress import Progress, choose
from sftprep.record import names
from sftprep.totals import Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from dataclasses import asdict, dataclass, field
    from typing import Any, Literal, Unpack

    from sftprep.pack_options import PackOptions
else:
    from sftprep.record import asdict, dataclass, field

PathLike = str | os.PathLike[str]
_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 30.0


def pack(
    inputs: PathLike | Iterable[PathLike] | Mapping[str, PathLike] | None = None,
    *,
    out: PathLike | None = None,
    tokenizer: PathLike | None = None,
    max_len: int | None = None,
    config: PackConfig | Mapping[str, Any] | PathLike | None = None,
    progress: Callable[[Progress], object] | bool | None = None,
    task: tuple[int, int] | None = None,
    stage: PathLike | None = None,
    ray: bool | str = False,
    ray_parts: int = 0,
    **options: Unpack[PackOptions],
) -> PackReport:
    """Packs files of conversations into labelled, memory-mappable shards.

    Args:
        inputs: One path or several; a mapping names them (``{"math": "math.jsonl"}``). A path is
            a file, a folder, a pattern, or ``-`` for standard input; or any of the first three in
            an object store (``s3://bucket/key``).
        out: Output folder; it must not exist, or be empty, unless ``overwrite=True``. It may be in
            an object store as well.
        tokenizer: A folder, a ``tokenizer.json``, a hub id (``org/name``) or ``builtin``.
        max_len: Tokens per packed sequence at most (4096).
        config: Options to start from: a :class:`PackConfig`, a nested mapping, or the path of a
            configuration or a manifest. Arguments win over it.
        progress: ``True`` draws on standard error; a function is called with a
            :class:`Progress` about ten times a second.
        task: ``(i, n)`` does only part ``i`` (from 1) of ``n`` of the first phase; when all parts
            are done, by whichever processes, :func:`go_on` does the other phases.
        stage: Folder for copies of what is in object stores, to go on with after a failure; by
            default a temporary one.
        ray: Distribute the run: the address of a Ray cluster, or ``True`` for the one of
            ``RAY_ADDRESS``, or else one on this machine. All nodes have to share the file system.
        ray_parts: Parts of a distributed run; by default twice the CPUs of the cluster.
        **options: Every other option, named as in :class:`~sftprep.pack_options.PackOptions`.

    Returns:
        What was read, packed, rejected and dropped.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        TokenizerError: if the tokenizer does not load.
        TemplateError: if the chat template is missing or does not compile.
        OutputError: if the output exists or cannot be written.
        RejectBudgetExceeded: if more rows are rejected than ``max_reject_rate`` allows.
        RunError: if nothing is left to pack.
    """
    given: dict[str, Any] = {
        "inputs": _inputs(inputs),
        "out": None if out is None else os.fspath(out),
        "tokenizer": None if tokenizer is None else os.fspath(tokenizer),
        "max_len": max_len,
        **options,
    }
    flags = nest({key: value for key, value in given.items() if value is not None})
    resolved = merge(_base(config), flags)
    phase = "all" if task is None else "map"
    address = ray if isinstance(ray, str) else "" if ray else None
    where: dict[str, Any] = {"stage": stage, "ray": address, "ray_parts": ray_parts}
    if callable(progress):
        return run(resolved, progress, phase, task, **where)
    with choose(quiet=not progress) as display:
        return run(resolved, display.update, phase, task, **where)


def go_on(
    out: PathLike,
    phase: Literal["plan", "write", "commit"],
    *,
    task: tuple[int, int] | None = None,
    threads: int = 0,
    progress: Callable[[Progress], object] | bool | None = None,
) -> PackReport:
    """Does the next phase of a run that was started with ``pack(..., task=(i, n))``.

    Args:
        out: Output folder of that run; its options are kept there.
        phase: ``plan`` when all parts of the first phase are done, then ``write``, which has parts
            of its own, and ``commit`` when those are done.
        task: ``(i, n)``: part ``i`` (from 1) of ``n`` of ``write``; all of it by default.
        threads: Worker threads (0: all cores).
        progress: As for :func:`pack`.

    Raises:
        RunError: if the phase before is not finished.
        OutputError: if the output cannot be written.
    """
    config = PackConfig(output=OutputConfig(dir=os.fspath(out), threads=threads))
    if callable(progress):
        return run(config, progress, phase, task)
    with choose(quiet=not progress) as display:
        return run(config, display.update, phase, task)


def run(
    config: PackConfig,
    on_progress: Callable[[Progress], object],
    phase: str = "all",
    task: tuple[int, int] | None = None,
    *,
    stage: PathLike | None = None,
    ray: str | None = None,
    ray_parts: int = 0,
) -> PackReport:
    """Runs a job to its end; a keyboard interrupt cancels it and is raised again.

    Args:
        config: The options.
        on_progress: Called with a snapshot about ten times a second.
        phase: ``all``, or one of ``map``, ``plan``, ``write`` and ``commit``.
        task: Which part (from 1) of how many.
        stage: Folder for copies of what is in object stores.
        ray: Address of a Ray cluster to run on, empty for the default; ``None`` runs here.
        ray_parts: Parts of a run on a cluster.

    Raises:
        SftprepError: as :func:`pack`.
    """
    if "://" in "".join((config.output.dir, *config.source.inputs)):
        from sftprep import cloud_stage

        if phase != "all":
            raise ConfigError(
                "parts of a run meet in a local folder", field="task", hint="copy the inputs there"
            )
        again = partial(run, on_progress=on_progress, ray=ray, ray_parts=ray_parts)
        return cloud_stage.run(config, again, stage)
    if ray is not None:
        from sftprep import ray_run

        if phase != "all":
            raise ConfigError("Ray divides a run by itself", field="task", hint="leave out --task")
        options = ray_run.RayOptions(address=ray, parts=ray_parts)
        return ray_run.run(config, on_progress, options, run_part)
    name = config.template.tokenizer
    local = hub.resolve(name) if name else name
    if local != name:
        config = merge(config, {"template": {"tokenizer": local}})
    number, of = task or (1, 1)
    if not 1 <= number <= of:
        raise ConfigError(f"there is no part {number} of {of}", field="task")
    return follow(_core.PackJob(config.to_json(), phase, number - 1, of), config, on_progress)


def run_part(config: str, phase: str, number: int, of: int) -> PackReport:
    """Does part ``number`` (from 1) of ``of`` of a phase, on a worker of a cluster.

    Args:
        config: The options of the whole run, as JSON.
        phase: ``map``, ``plan``, ``write`` or ``commit``.
        number: Which part.
        of: How many there are.

    Raises:
        SftprepError: as :func:`pack`.
    """
    resolved = PackConfig.from_dict(json.loads(config))
    if phase != "map":  # the rest is known from there
        output = resolved.output
        resolved = PackConfig(output=OutputConfig(dir=output.dir, threads=output.threads))
    return run(resolved, lambda _: None, phase, (number, of))


def follow(
    job: _core.PackJob, config: PackConfig, on_progress: Callable[[Progress], object]
) -> PackReport:
    """Waits for a job; an exception that arrives meanwhile cancels it."""
    try:
        while True:
            snapshot = Progress.from_dict(json.loads(job.poll(_POLL_SECONDS)))
            on_progress(snapshot)
            if snapshot.done:
                return PackReport.from_json(job.wait(), config)
    except BaseException:
        # Nothing calls Python from a worker, so an interrupt arrives here, between two polls.
        job.cancel()
        _settle(job)
        raise


def _settle(job: _core.PackJob) -> None:
    """Waits until a cancelled job has put its files away; each stage looks per chunk."""
    for _ in range(int(_CANCEL_SECONDS / _POLL_SECONDS)):
        try:
            if json.loads(job.poll(_POLL_SECONDS))["done"]:
                return
        except SftprepError:
            return


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceReport:
    """One input of a run."""

    name: str = ""
    """Name of the input."""
    path: str = ""
    """Where it lay; ``-`` for standard input."""
    format: str = ""
    """Format its rows were read in; empty if it had none."""
    evidence: str = ""
    """Why that format."""
    totals: Totals = field(default_factory=Totals)
    """What became of its rows and tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackReport:
    """What a run did; rows and tokens balance, or the run would have ended with an error."""

    out: str = ""
    """Output folder."""
    content_id: str = ""
    """Identity of the packed data; empty after a dry run."""
    totals: Totals = field(default_factory=Totals)
    """What became of all rows and tokens."""
    sources: tuple[SourceReport, ...] = ()
    """The same per input."""
    max_len: int = 0
    """Tokens per sequence, at most."""
    strategy: str = ""
    """Packing strategy."""
    sequences: int = 0
    """Packed sequences."""
    shards: int = 0
    """Data files."""
    bytes_written: int = 0
    """Bytes of all files."""
    fill: float = 0.0
    """Share of ``sequences * max_len`` that holds tokens."""
    lower_bound: int = 0
    """Sequences that no packing can go below."""
    gap: float = 0.0
    """Sequences above that bound, as a share of it."""
    balance: int = 0
    """Rows of a step, if the rows are ordered by their cost."""
    imbalance: float = 0.0
    """Then: the costliest rows of all steps by the mean ones, 1 being perfect."""
    imbalance_before: float = 0.0
    """The same without balancing."""
    tokenizer_engine: str = ""
    """Which tokenizer engine ran, and why."""
    duplicate_keys: int = 0
    """Object keys that occurred twice in one object; the last one won."""
    control_text_rows: int = 0
    """Rows whose own text spelled a control token."""
    straddling_tokens: int = 0
    """Tokens across the edge of a trained span; never trained."""
    expanded_rows: int = 0
    """Rows that became one sample per turn, because the template leaves out earlier reasoning."""
    expanded_samples: int = 0
    """Samples that they became."""
    tree_messages: dict[str, int] = field(default_factory=dict)
    """What became of the messages of trees of which a thread was packed: ``used``, or why not."""
    window_rows: int = 0
    """Rows longer than a sequence, of which windows were made."""
    windows: int = 0
    """Those windows."""
    repeated_tokens: int = 0
    """Tokens at their beginnings that an earlier window has too; never trained."""
    dropped_fields: dict[str, int] = field(default_factory=dict)
    """Trained turns of which the template left out a field, by field."""
    turns_by_method: dict[str, int] = field(default_factory=dict)
    """Trained turns by how their start was proven."""
    boundary_rows: int = 0
    """Rows with a trained turn before which Hugging Face and an engine that serves the model have
    other ids; the option ``boundary`` says which of the two the dataset has."""
    boundary_turns: int = 0
    """Those turns."""
    boundary_list: tuple[dict[str, Any], ...] = ()
    """The first of those rows: ``source``, ``line``, ``messages``."""
    mix: tuple[dict[str, Any], ...] = ()
    """The datasets that it was mixed of, if it was, as the manifest has them."""
    warnings: tuple[str, ...] = ()
    """What you should know."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds per phase."""
    date: str = ""
    """Date that the template saw."""
    phase: str = ""
    """The phase, if this is the report of one: map, plan or write."""
    parts_done: int = 0
    """Tasks or shards that this process did, or found done."""
    parts: int = 0
    """Tasks or shards of the whole run."""

    @classmethod
    def from_json(cls, text: str, config: PackConfig) -> PackReport:
        """The report of a run with that configuration; keys of newer cores are ignored."""
        data = json.loads(text)
        data["totals"] = Totals.from_dict(data.get("totals", {}))
        data["sources"] = tuple(
            SourceReport(**{**_known(SourceReport, source), "totals": Totals.from_dict(totals)})
            for source in data.get("sources", ())
            for totals in (source.get("totals", {}),)
        )
        for name in ("warnings", "boundary_list", "mix"):
            data[name] = tuple(data.get(name, ()))
        data["out"] = config.output.dir
        data["max_len"] = config.pack.max_len
        data["strategy"] = config.pack.strategy
        return cls(**_known(cls, data))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, for JSON."""
        return asdict(self)


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    known = names(kind)
    return {key: value for key, value in data.items() if key in known}


def _inputs(
    inputs: PathLike | Iterable[PathLike] | Mapping[str, PathLike] | None,
) -> list[str] | None:
    if inputs is None:
        return None
    if isinstance(inputs, (str, os.PathLike)):
        return [os.fspath(inputs)]
    try:
        if isinstance(inputs, Mapping):
            return [f"{name}={os.fspath(path)}" for name, path in inputs.items()]
        return [os.fspath(path) for path in inputs]
    except TypeError as error:
        raise ConfigError(f"inputs must be paths, not {inputs!r}", field="source.inputs") from error


def _base(config: PackConfig | Mapping[str, Any] | PathLike | None) -> PackConfig:
    if config is None:
        return PackConfig()
    if isinstance(config, PackConfig):
        return config
    if isinstance(config, Mapping):
        return PackConfig.from_dict(config)
    return merge(PackConfig(), read_file(os.fspath(config)))


__all__ = ["PackReport", "SourceReport", "follow", "go_on", "pack", "run"]
