"""What other trainers do with packed shards: a recipe that works, and settings that do not.

What is said here of TRL was read in the source of version 1.16.0 and is held to by a test that runs
the recipe. Nothing of TRL is imported.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sftprep.dataset import ShardDataset
from sftprep.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRL_READ = "1.16.0"
"""The version of TRL whose source the findings are about."""
TRL_OLDEST = (0, 20)
"""The first release that keeps both `labels` and `seq_lengths` that a data set brings along."""

Severity = Literal["error", "warning", "note"]

# What SFTConfig has where nothing is said; only settings that the findings ask for.
_DEFAULTS: dict[str, Any] = {
    "max_length": 1024,
    "packing": False,
    "packing_strategy": "bfd",
    "padding_free": False,
    "shuffle_dataset": False,
    "average_tokens_across_devices": True,
}

_RECIPE = """\
from datasets import load_from_disk
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

trainer = SFTTrainer(
    model={model!r},
    train_dataset=load_from_disk({dataset!r}).with_format("numpy"),
    processing_class=AutoTokenizer.from_pretrained({dataset!r}),
    args=SFTConfig(
        output_dir={out!r},
        dataset_kwargs={{"skip_prepare_dataset": True}},  # no map, no filter: rows stay as they are
        max_length=None,  # rows have at most {max_len} tokens already
        packing=False,  # they are packed already
        padding_free=True,  # makes position_ids of seq_lengths: documents do not see each other
        shuffle_dataset=False,  # the trainer's sampler shuffles rows
        model_init_kwargs={{"attn_implementation": {attention!r}}},
    ),
)
trainer.train()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a trainer does with a setting."""

    severity: Severity
    """``error``: other tokens, labels or documents are trained than the shards hold; ``warning``:
    work is done again, or something is lost; ``note``: worth knowing."""
    setting: str
    """The setting and its value."""
    effect: str
    """What happens."""
    instead: str = ""
    """What to do."""

    def __str__(self) -> str:
        tail = f"; {self.instead}" if self.instead else ""
        return f"{self.severity}: {self.setting}: {self.effect}{tail}"


def trl_recipe(
    dataset: str | os.PathLike[str],
    *,
    model: str = "org/model",
    out: str = "run",
    attention: str = "flash_attention_2",
) -> str:
    """A program that trains on the shards with TRL's `SFTTrainer` as they are.

    Args:
        dataset: Output folder of ``sftprep pack``.
        model: What to train.
        out: Folder of the run.
        attention: ``attn_implementation``. With ``sdpa`` documents are kept apart as well, by a
            mask that has the square of a batch's tokens.

    Raises:
        ShardError: if there is no finished dataset.
    """
    rows = ShardDataset(dataset)
    return _RECIPE.format(
        dataset=os.fspath(dataset), model=model, out=out, attention=attention, max_len=rows.max_len
    )


def trl_findings(
    dataset: str | os.PathLike[str], settings: Mapping[str, Any] | None = None
) -> list[Finding]:
    """What TRL's `SFTTrainer` would do with the shards under settings of `SFTConfig`.

    Args:
        dataset: Output folder of ``sftprep pack``.
        settings: By name; what is missing has TRL's default. Without any, only what the dataset
            and the machine say for themselves is reported.

    Raises:
        ShardError: if there is no finished dataset.
        ConfigError: if a setting has a type that it cannot have.
    """
    rows = ShardDataset(dataset)
    found = [*_of_data(rows), *_of_machine()]
    if settings is not None:
        found += _of_settings(settings, rows)
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Settings of a run from a JSON, TOML or YAML file (the last needs PyYAML).

    Raises:
        SourceError: if the file cannot be read.
        ConfigError: if it does not hold settings.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"the settings cannot be read: {error}", code="source.missing", path=str(path)
        ) from error
    try:
        data = _parse(text, path.suffix.lower())
    except ValueError as error:
        raise ConfigError(f"the settings do not parse: {error}", path=str(path)) from error
    if not isinstance(data, dict):
        raise ConfigError("the settings are not names and values", path=str(path))
    return data


def _parse(text: str, suffix: str) -> object:
    if suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    if suffix not in {".yaml", ".yml"}:
        return json.loads(text)
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(
            "YAML needs PyYAML", hint="pip install pyyaml, or write the settings as JSON"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _of_data(rows: ShardDataset) -> Iterator[Finding]:
    # The last buffer of a batch holds the weights of rows that have any but 1.
    files = [file for file in rows.manifest["files"] if file["kind"] == "spans"]
    if not any(batch["buffers"][-1][1] for file in files for batch in file["batches"]):
        return
    weighted = next((row for row in range(len(rows)) if _weighted(rows, row)), None)
    if weighted is not None:
        yield Finding(
            severity="error",
            setting="the shards",
            effect=f"row {weighted} has loss weights, which SFTTrainer does not know: every "
            "trained token would count the same",
            instead="train with `sftprep train`, or pack rows without weights",
        )


def _weighted(rows: ShardDataset, row: int) -> bool:
    weights = rows.weights(row)
    if weights is None:
        return False
    return bool((weights[rows[row]["labels"] >= 0] != 1).any())


def _of_machine() -> Iterator[Finding]:
    found = _installed("trl")
    if found is None:
        return
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    if numbers < TRL_OLDEST:
        yield Finding(
            severity="error",
            setting=f"trl {found}",
            effect="drops the labels or the lengths of documents that a data set brings along",
            instead=f"install trl {'.'.join(map(str, TRL_OLDEST))} or later",
        )
    elif found != TRL_READ:
        yield Finding(
            severity="note",
            setting=f"trl {found}",
            effect=f"what is said here was read in the source of {TRL_READ}",
        )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _of_settings(settings: Mapping[str, Any], rows: ShardDataset) -> Iterator[Finding]:
    given = {**_DEFAULTS, **settings}
    kwargs = _mapping(given, "dataset_kwargs")
    skips = bool(kwargs.get("skip_prepare_dataset"))
    # Best-fit packing turns padding-free on by itself.
    by_packing = bool(given["packing"]) and given["packing_strategy"] in {"bfd", "bfd_split"}
    flat = bool(given["padding_free"]) or by_packing
    yield from _of_preparation(given, rows, skips=skips, flat=flat)
    if not flat:
        yield Finding(
            severity="error",
            setting="padding_free=False",
            effect="the lengths of documents are not used: all documents of a row see each other, "
            "and positions run on across them",
            instead="set padding_free=True",
        )
    yield from _of_masks(given)
    yield from _of_parallelism(given, flat=flat)
    yield from _of_order(given, rows, skips=skips)


def _of_preparation(
    given: Mapping[str, Any], rows: ShardDataset, *, skips: bool, flat: bool
) -> Iterator[Finding]:
    packs, longest = bool(given["packing"]), given["max_length"]
    if not skips:
        yield Finding(
            severity="note",
            setting="dataset_kwargs without skip_prepare_dataset",
            effect="the preparation of the data set runs; it leaves packed rows alone only if "
            "packing and shuffle_dataset are off and max_length is None",
            instead='set dataset_kwargs={"skip_prepare_dataset": True}',
        )
    if packs and not skips:
        yield Finding(
            severity="error",
            setting="packing=True",
            effect="each packed row is taken for one document and packed again; the lengths of the "
            "documents in it are dropped, so they see each other",
            instead="set packing=False",
        )
    elif packs:
        yield Finding(
            severity="note",
            setting="packing=True",
            effect="nothing is packed while skip_prepare_dataset is set",
            instead="set packing=False",
        )
    if longest is None or packs:
        return
    if flat:
        yield Finding(
            severity="error",
            setting=f"max_length={longest} with padding_free=True",
            effect="SFTTrainer refuses it",
            instead="set max_length=None",
        )
    elif not skips:
        cut = isinstance(longest, int) and longest < rows.max_len
        effect = "every row is read, written again and filtered before the first step (map, filter)"
        yield Finding(
            severity="error" if cut else "warning",
            setting=f"max_length={longest}",
            effect=f"{effect}, and rows of up to {rows.max_len} tokens are cut" if cut else effect,
            instead="set max_length=None",
        )


def _of_masks(given: Mapping[str, Any]) -> Iterator[Finding]:
    if given.get("assistant_only_loss"):
        yield Finding(
            severity="error",
            setting="assistant_only_loss=True",
            effect="SFTTrainer refuses it, as the rows hold no messages; their labels already say "
            "what is trained",
            instead="leave it out, and use `sftprep pack --train-on`",
        )
    if given.get("completion_only_loss") is not None:
        yield Finding(
            severity="note",
            setting=f"completion_only_loss={given['completion_only_loss']}",
            effect="it changes nothing: the labels of the shards are used",
            instead="use `sftprep pack --train-on`",
        )
    if not given["average_tokens_across_devices"]:
        yield Finding(
            severity="warning",
            setting="average_tokens_across_devices=False",
            effect="the loss is averaged per device, so a token counts more where a device has "
            "fewer trained ones",
            instead="leave it out",
        )


def _of_parallelism(given: Mapping[str, Any], *, flat: bool) -> Iterator[Finding]:
    parallel = _mapping(given, "parallelism_config")
    if flat and int(parallel.get("cp_size") or 1) > 1:
        yield Finding(
            severity="error",
            setting=f"parallelism_config: cp_size={parallel['cp_size']}",
            effect="context parallelism drops the mask that keeps documents apart; SFTTrainer "
            "refuses that only with packing=True",
            instead="use another kind of parallelism",
        )
    attention = _mapping(given, "model_init_kwargs").get("attn_implementation")
    if attention is None or str(attention) in {"sdpa", "eager"}:
        yield Finding(
            severity="note",
            setting=f"attn_implementation={attention or 'the default'}",
            effect="without variable-length attention, documents are kept apart by a mask that has "
            "the square of the tokens of a batch",
            instead="use flash_attention_2 where there is one",
        )


def _of_order(given: Mapping[str, Any], rows: ShardDataset, *, skips: bool) -> Iterator[Finding]:
    if given["shuffle_dataset"] and not skips:
        yield Finding(
            severity="warning",
            setting="shuffle_dataset=True",
            effect="rows are read through a table of indices, which is slower; the trainer's "
            "sampler shuffles them anyway",
            instead="set shuffle_dataset=False",
        )
    if given.get("train_sampling_strategy") == "group_by_length" or given.get("group_by_length"):
        yield Finding(
            severity="warning",
            setting="group_by_length",
            effect=f"all {len(rows):,} rows are read for their lengths before the first step, and "
            "packed rows have nearly the same",
            instead="leave it out",
        )
    if given.get("eval_packing") and not skips:
        yield Finding(
            severity="error",
            setting="eval_packing=True",
            effect="packed rows for evaluation are packed again: their documents see each other",
            instead="leave it out",
        )


def _mapping(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = given.get(name)
    if isinstance(value, str):  # TRL takes JSON as well
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigError(f"{name} is not JSON: {error}", field=name) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must hold names and values, not {value!r}", field=name)
    return value


__all__ = ["TRL_READ", "Finding", "read_settings", "trl_findings", "trl_recipe"]
