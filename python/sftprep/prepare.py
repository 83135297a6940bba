"""``prep``: the stages of a recipe one after the other, with one ledger for all of them.

```python
import sftprep

report = sftprep.prep("recipe.toml", out="prepared/")
report.kept, report.funnel, report.sources
```

The folder holds the rows (``rows.jsonl``, or ``train.jsonl`` and its like), what was packed
(``packs/``), what lies between the stages (``stages/``), the ledger, and ``prep.json``, which is
written last: a folder without it is not whole.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sftprep import _core
from sftprep.api import pack
from sftprep.errors import ConfigError, OutputError, SftprepError, SourceError
from sftprep.quality import decontaminate, dedup
from sftprep.quality.clean import clean
from sftprep.quality.mix import Settings, mix_stage, weight
from sftprep.quality.options import PathLike
from sftprep.quality.report import StageReport
from sftprep.quality.selection import select
from sftprep.quality.split import split
from sftprep.quality.stage import Stage
from sftprep.recipe import Recipe, read_recipe

REPORT = "prep.json"
LEDGER = "ledger.arrow"
_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepReport:
    """What a recipe did; ``kept``, ``dropped`` and ``rejected`` add up to ``rows``."""

    rows: int
    """Rows of the inputs."""
    kept: int
    """Rows in the result."""
    dropped: dict[str, int]
    """Rows that went, by reason."""
    rejected: dict[str, int]
    """Rows that are none, or that could not be used, by reason."""
    lines: int
    """Lines of the result: kept rows, each as often as it is repeated."""
    funnel: list[dict[str, Any]]
    """Per stage ``stage, part, rows, kept, lines, dropped, rejected, noted``."""
    sources: list[dict[str, Any]]
    """Per input ``name, rows, kept, lines, tokens, trained_tokens``."""
    outputs: dict[str, Any]
    """Files with rows by part, and packed folders; paths within the output folder."""
    stages: list[dict[str, Any]]
    """The report of each stage."""
    recipe: dict[str, Any]
    """The recipe."""
    recipe_hash: str
    """Hash of what decides in it."""
    version: str
    """Version of sftprep."""
    out: str | None
    """The output folder; ``None`` after a dry run."""
    ledger: str | None
    """The ledger of all stages; ``None`` after a dry run."""
    seconds: float = field(compare=False)
    """Time it took."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return asdict(self)


def prep(
    recipe: Mapping[str, Any] | PathLike,
    *,
    out: PathLike | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    keep_stages: bool | None = None,
    progress: Callable[[str, StageReport], object] | None = None,
) -> PrepReport:
    """Runs the stages of a recipe: clean, dedup, decontaminate, select, mix, split, pack.

    Each stage is optional, and reads what the one before it left of every input.

    Args:
        recipe: The recipe as a mapping, or a file of TOML, JSON, or YAML (with PyYAML).
        out: Output folder; by default the recipe's own.
        dry_run: Run everything and report; the rows go to a temporary folder that is removed.
        overwrite: Replace a folder that ``prep`` wrote.
        keep_stages: Keep the rows between the stages; by default as the recipe says (true).
        progress: Called after each stage with its name and its report.

    Returns:
        What became of the rows, stage by stage and input by input.

    Raises:
        ConfigError: if the recipe is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if the output exists or cannot be written.
        SftprepError: what the stages raise; then there is no output.
    """
    start = time.monotonic()
    plan = read_recipe(recipe if isinstance(recipe, Mapping) else Path(recipe))
    keep = plan.keep_stages if keep_stages is None else keep_stages
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="sftprep-") as room:
            return _Run(plan, Path(room), progress).all(start, dry_run=True, keep=False)
    place = out if out is not None else plan.out
    if place is None:
        raise ConfigError("there is no output folder", field="out", hint="add --out, or --dry-run")
    folder = _folder(Path(place), plan, overwrite=overwrite)
    try:
        return _Run(plan, folder, progress).all(start, dry_run=False, keep=keep)
    except BaseException:
        # rows of some stages must not pass for a result
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _folder(path: Path, plan: Recipe, *, overwrite: bool) -> Path:
    """Makes the output folder.

    Raises:
        OutputError: if there is one that must not be replaced, or it cannot be made.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            ours = (path / REPORT).is_file()
            if not overwrite or not ours:
                hint = "choose another --out, or add --overwrite"
                raise OutputError(
                    "the output exists" if ours else "the folder exists, and prep did not write it",
                    code="output.exists",
                    path=os.fspath(path),
                    hint=hint if ours else "choose another --out",
                )
            for place in plan.inputs.values():
                if Path(place).resolve().is_relative_to(path.resolve()):
                    raise ConfigError(
                        f"the input {place} lies in the output folder",
                        field="out",
                        hint="choose another --out; what is read stays as it is",
                    )
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
    except SftprepError:
        raise  # an OutputError is an OSError too
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}", code="output.io", path=os.fspath(path)
        ) from error
    return path


class _Run:
    """Stages that run one after the other in a folder."""

    def __init__(
        self,
        plan: Recipe,
        folder: Path,
        progress: Callable[[str, StageReport], object] | None,
    ) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.between = folder / "stages"
        self.inputs: dict[str, str] = dict(plan.inputs)
        self.steps: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.formats: set[str] = set()
        self.rows: Path | None = None
        self.parts: dict[str, Path] = {}
        self.packs: dict[str, str] = {}
        self.hashes: list[str] = []

    def all(self, start: float, *, dry_run: bool, keep: bool) -> PrepReport:
        """Runs everything; the report is written last."""
        self.between.mkdir()
        first = Stage("prep", self.inputs, derived=["row_hash"], **self._options())
        self.hashes = [each or "" for each in first["row_hash"]]
        named = [[name, self.inputs[name]] for name in first.names]
        del first
        for number, (name, options) in enumerate(self.plan.stages.items(), 1):
            if name != "pack":
                self._stage(number, name, dict(options))
        outputs = self._outputs()
        if "pack" in self.plan.stages:
            outputs["packs"] = self._pack(dict(self.plan.stages["pack"]))
        ledger = self.folder / LEDGER
        config = {"steps": self.steps, "out": os.fspath(ledger), "hashes": self.hashes}
        config["inputs"] = named
        trail = json.loads(_core.combine_ledgers(json.dumps(config)))
        if not keep:
            shutil.rmtree(self.between)
        report = PrepReport(
            **trail,
            outputs={} if dry_run else outputs,
            stages=self.reports,
            recipe=self.plan.to_dict(),
            recipe_hash=self.plan.digest,
            version=_core.__version__,
            out=None if dry_run else os.fspath(self.folder),
            ledger=None if dry_run else os.fspath(ledger),
            seconds=time.monotonic() - start,
        )
        if not dry_run:
            _write(self.folder / REPORT, {"prep_version": _VERSION, **report.to_dict()})
        return report

    def _options(self) -> dict[str, Any]:
        return dict(self.plan.rows)

    def _later(self) -> dict[str, Any]:
        """How rows are read that a stage wrote: all of them, and none is bad."""
        return {key: value for key, value in self.plan.rows.items() if key not in ("limit",)}

    def _stage(self, number: int, name: str, options: dict[str, Any]) -> None:
        first = not self.steps
        rows = self._options() if first else self._later()
        out: Path = self.between / f"{number:02}-{name}.jsonl"
        if name == "split":
            out = self.between / f"{number:02}-{name}"
        reads = {"stage": name, "part": "", "divided": not first and len(self.inputs) > 0}
        report = _RUN[name](self, options, rows, out)
        self.reports.append(report.to_dict())
        if first:
            self._same_formats(report)
        if self.progress:
            self.progress(name, report)
        self.steps.append({**reads, "ledger": report.ledger})
        if name == "split":
            self.parts = {part["name"]: Path(part["out"]) for part in report.parts}
            return
        if report.kept == 0:
            raise SourceError(
                f"no row is left after {name}",
                code="source.empty",
                hint=f"see why with --dry-run and a recipe that ends before {name}",
            )
        self.rows = out
        self.inputs = self._divided(out, out.with_suffix(""))

    def _divided(self, out: Path, folder: Path) -> dict[str, str]:
        """The output of a stage as inputs of the next one, a file for each of the first inputs."""
        folder.mkdir()
        return {name: os.fspath(path) for name, path in _core.divide_output(out, folder)}

    def _same_formats(self, report: StageReport) -> None:
        formats: dict[str, set[str]] = {}
        for source in report.sources:
            if source["format"] != "empty":
                formats.setdefault(source["name"], set()).add(source["format"])
        for name, found in formats.items():
            if len(found) > 1:
                raise ConfigError(
                    f"the files of the input {name} have the formats {', '.join(sorted(found))}",
                    field="inputs",
                    hint="give each format an input of its own",
                )
        self.formats = set().union(*formats.values())

    def _outputs(self) -> dict[str, Any]:
        """Puts the rows of the last stage at the top of the folder."""
        last = self.parts or ({"rows": self.rows} if self.rows else {})
        for name, path in last.items():
            shutil.copyfile(path, self.folder / f"{name}.jsonl")
        return {"rows": {name: f"{name}.jsonl" for name in last}}

    def _pack(self, options: dict[str, Any]) -> dict[str, str]:
        """Packs every part, from the rows at the top of the folder if they are of one format."""
        done = {}
        for part, inputs, divided in self._packed_from():
            out = self.folder / "packs" / part if part else self.folder / "packs"
            out.parent.mkdir(exist_ok=True)
            rows = self._later() if self.steps else self._options()
            rows.pop("threads", None)
            given = {**rows, **options}
            pack(inputs, out=out, **given)
            step = {"stage": "pack", "part": part, "ledger": os.fspath(out / LEDGER)}
            self.steps.append({**step, "divided": divided, "names": list(inputs)})
            done[part or "rows"] = os.fspath(out.relative_to(self.folder))
        return done

    def _packed_from(self) -> list[tuple[str, dict[str, str], bool]]:
        if not self.steps:
            return [("", self.inputs, False)]
        found = []
        for part, path in (self.parts or {"": self.folder / "rows.jsonl"}).items():
            if path.stat().st_size == 0:
                continue
            if len(self.formats) == 1:
                name = part or "rows"
                found.append((part, {name: os.fspath(self.folder / f"{name}.jsonl")}, False))
            else:
                inputs = self._divided(path, path.with_suffix("")) if part else self.inputs
                found.append((part, inputs, True))
        return found


def _clean(run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path) -> StageReport:
    return clean(run.inputs, out=out, rules=options, **rows)


def _dedup(run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path) -> StageReport:
    return dedup(run.inputs, out=out, **options, **rows)


def _decontaminate(
    run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path
) -> StageReport:
    return decontaminate(run.inputs, out=out, **options, **rows)


def _select(run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path) -> StageReport:
    return select(run.inputs, options.pop("steps"), out=out, **options, **rows)


def _mix(run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path) -> StageReport:
    weights = {name: weight(name, share) for name, share in options.pop("weights").items()}
    unit = options.get("unit", "rows")
    settings = Settings(**options)
    derived: list[Any] = ["row_hash"]
    if unit in ("tokens", "trained_tokens"):
        derived.append("json")
    elif unit == "chars":
        derived += ["prompt_chars", "answer_chars"]
    stage = Stage("mix", run.inputs, derived=derived, **rows)
    names = list(weights)
    groups = np.array([names.index(stage.names[at]) for at in stage.source.tolist()], np.int64)
    encode: dict[str, Any] = {key: rows[key] for key in ("format", "map", "role") if key in rows}
    encode |= {
        key: value for key, value in run.plan.stages.get("pack", {}).items() if key in _ENCODE
    }
    return mix_stage(stage, groups, weights, settings, encode, out=out, dry_run=False)


def _split(run: _Run, options: dict[str, Any], rows: dict[str, Any], out: Path) -> StageReport:
    return split(run.inputs, out=out, **options, **rows)


_ENCODE = (
    "tokenizer",
    "chat_template",
    "template_kwargs",
    "date",
    "train_on",
    "history",
    "dropped",
    "reasoning",
    "tool_calls",
    "stop",
    "special_text",
    "boundary",
    "append_eos",
    "assistant_header",
    "assistant_stop",
)
"""Options of ``pack`` that say what tokens a row has."""

_RUN: dict[str, Callable[[_Run, dict[str, Any], dict[str, Any], Path], StageReport]] = {
    "clean": _clean,
    "dedup": _dedup,
    "decontaminate": _decontaminate,
    "select": _select,
    "mix": _mix,
    "split": _split,
}


def _write(path: Path, data: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    text = json.dumps(data, ensure_ascii=False, indent=2, default=str)
    fresh.write_text(f"{text}\n", encoding="utf-8")
    fresh.replace(path)


def prep_summary(report: PrepReport) -> list[str]:
    """The report for people."""
    head = f"{'stage':<22}{'lines in':>12}{'kept':>12}{'lines out':>12}  what went"
    lines = [head]
    for each in report.funnel:
        name = f"{each['stage']} {each['part']}".strip()
        gone = {**each["dropped"], **each["rejected"]}
        told = ", ".join(f"{code} {count:,}" for code, count in gone.items())
        lines.append(
            f"{name:<22}{each['rows']:>12,}{each['kept']:>12,}{each['lines']:>12,}  {told}".rstrip()
        )
    rows = sum(each["rows"] for each in report.sources) or 1
    total = report.lines or 1
    trained = sum(each["trained_tokens"] for each in report.sources)
    lines += ["", f"{'input':<22}{'rows':>12}{'share':>9}{'lines':>12}{'share':>9}"]
    lines[-1] += f"{'trained tokens':>17}{'share':>9}" if trained else ""
    for each in report.sources:
        line = f"{each['name']:<22}{each['rows']:>12,}{each['rows'] / rows:>9.1%}"
        line += f"{each['lines']:>12,}{each['lines'] / total:>9.1%}"
        if trained:
            line += f"{each['trained_tokens']:>17,}{each['trained_tokens'] / trained:>9.1%}"
        lines.append(line)
    left = report.rows - report.kept
    lines += ["", f"{report.rows:,} rows: {report.kept:,} kept, {left:,} not"]
    for stage in report.stages:
        for example in stage["examples"][:1]:
            place = f"{example['source']}:{example['line']}"
            lines.append(f"  {stage['stage']}: {example['code']} {place}: {example['detail']}")
    written = "dry run: nothing was written" if report.out is None else f"wrote {report.out}"
    return [*lines, "", f"{written}, {report.seconds:.1f} s"]
