"""Which Python module may import which."""

from __future__ import annotations

import ast
from pathlib import Path

import sftprep

PACKAGE = Path(sftprep.__file__).parent
# Lower floors know nothing of higher ones; modules of one floor do not know each other.
FLOORS = (
    {"errors", "record"},
    {"_core"},
    {"config", "columns", "hub", "permutation", "progress", "totals"},
    {
        "pack_options",
        "cloud",
        "dataset",
        "differences",
        "models",
        "recipe",
        "runlog",
        "source_check",
        "export_megatron",
    },
    {"cloud_stage", "ray_run"},
    {"api", "add_tokens", "doctor", "export", "inspect", "quality", "train"},
    {"again", "page", "prepare", "scores"},
    {"cli"},
)
# The trainer's own floors.
TRAIN = (
    {"attention", "config", "data", "loss"},
    {"model"},
    {"checkpoint", "checks", "evaluate"},
    {"loop"},
)
# Those of quality.
QUALITY = (
    {"expression", "options", "page", "report"},
    {"stage"},
    {"pool"},
    {"filters", "listed"},
    {"closeness", "draws"},
    {"steps"},
    {
        *("__init__", "check", "clean", "instruct", "mergeit", "mix", "review", "selection"),
        *("split", "why", "pollute"),
    },
)
# Those of scores.
SCORES = (
    {"definitions", "report", "table", "hooks.mojibake", "hooks.language", "hooks.sentence"},
    {"cache", "columns", "model", "hooks.__init__"},
    {"experience", "judge", "measures", "plugins"},
    {"run"},
)
SCORES_FLOOR = {name: height for height, names in enumerate(SCORES) for name in names}
QUALITY_FLOOR = {name: height for height, names in enumerate(QUALITY) for name in names}
TRAIN_FLOOR = {name: height for height, names in enumerate(TRAIN) for name in names}
# The one module that subcommands share; they do not know each other.
SHARED = {"cli.options"}
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it, but for type checking."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for typing_only in node.body
        for child in ast.walk(typing_only)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module in {
            "sftprep",
            "sftprep.cli",
            "sftprep.scores",
            "sftprep.train",
        }:
            prefix = node.module.removeprefix("sftprep").removeprefix(".")
            found |= {f"{prefix}.{alias.name}".lstrip(".") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sftprep."):
            found.add(str(node.module).removeprefix("sftprep."))
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("sftprep.")
                for alias in node.names
                if alias.name.startswith("sftprep.")
            }
    return found


def test_no_module_imports_upward_or_sideways() -> None:
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        top = name.split(".")[0]
        if top in {"__init__", "__main__"}:
            continue
        seen.add(top)
        for other in imports(path):
            if top == "cli" and (other.startswith("cli") or name == "cli.__init__"):
                assert name == "cli.__init__" or other in SHARED, (name, other)
                continue
            if top == "train" and other.startswith("train."):
                assert TRAIN_FLOOR[other[6:]] < TRAIN_FLOOR[name[6:]], f"{name} imports {other}"
                continue
            if top == "quality" and other.startswith("quality."):
                assert QUALITY_FLOOR[other[8:]] < QUALITY_FLOOR[name[8:]], f"{name} imports {other}"
                continue
            if top == "scores" and other.startswith("scores."):
                lower = "hooks.__init__" if other == "scores.hooks" else other[7:]
                assert SCORES_FLOOR[lower] < SCORES_FLOOR[name[7:]], f"{name} imports {other}"
                continue
            other_top = other.split(".")[0]
            assert other_top in FLOOR, f"{name} imports {other}, which has no floor"
            assert FLOOR[other_top] < FLOOR[top], f"{name} imports {other}"
    assert seen | {"_core"} == set(FLOOR), "every module has a floor"


def test_no_file_is_longer_than_500_lines() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
