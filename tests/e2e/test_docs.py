"""Every block of the documentation runs.

A page is one session: its blocks run from top to bottom in one folder that holds a copy of
``examples/``; where a page reads ``packs/`` without making it, the packed examples as well.

- ``console`` blocks: each line ``$ sftprep …`` is run; ``exit=N`` after the word names the exit
  code that is expected (0 otherwise). If output is shown below the command, it must be what is
  printed, where ``...`` stands for anything. Other programs' lines (``$ pip …``) are not run.
- ``python`` blocks are executed, each on its own, except those marked ``no-run``, which show names
  out of context.
- ``json`` blocks must parse: as a whole, or line by line.
- Links to files of the repository must lead somewhere.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.name != "CHANGELOG.md"
)
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    marks: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2].strip(), match[3], text.count("\n", 0, match.start()) + 1)
        for match in BLOCK.finditer(text)
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """Split a console block into commands and the output shown below each."""
    out: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            out.append((line[2:].strip(), ""))
        elif out:
            out[-1] = (out[-1][0], out[-1][1] + line)
    return out


def run_console(block: Block, room: Path) -> None:
    expected = int(block.marks.removeprefix("exit=") or 0)
    for command, shown in commands(block.text):
        words = shlex.split(command)
        if words[0] != "sftprep":
            continue
        done = subprocess.run(
            [sys.executable, "-m", "sftprep", *words[1:]],
            cwd=room,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"
        if shown:
            same = doctest.OutputChecker().check_output(
                shown, done.stdout, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            )
            assert same, f"{command}\nshown:\n{shown}\nprinted:\n{done.stdout}"


def run_python(block: Block, room: Path) -> str | None:
    """Run a block in a process of its own; return the module that it wants and we lack."""
    for name in re.findall(r"^\s*(?:import|from) (\w+)", block.text, re.MULTILINE):
        if importlib.util.find_spec(name) is None:
            return str(name)
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=room,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return None


def parses(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    text = page.read_text(encoding="utf-8")
    if "packs/" in text and "--out packs/\n" not in text:
        make = "$ sftprep pack examples/demo --tokenizer builtin --max-len 1024 --out packs/"
        run_console(Block("console", "", make, 0), tmp_path)
    missing: set[str] = set()
    for block in blocks(page):
        place = f"{page.name}:{block.line}"
        if block.kind == "console":
            run_console(block, tmp_path)
        elif block.kind == "python":
            ast.parse(block.text, filename=place)
            if block.marks != "no-run":
                missing |= {run_python(block, tmp_path) or ""} - {""}
        elif block.kind == "json":
            lines = block.text.strip().splitlines()
            assert parses(block.text) or all(map(parses, lines)), f"{place}: not JSON"
    if missing:
        pytest.skip(f"all but the blocks that want {', '.join(sorted(missing))}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short_and_begins_with_what_matters() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    head = "\n".join(lines[:60])
    for wanted in ("![", "pip install sftprep", "$ sftprep pack", "does not do", "](docs/learn"):
        assert wanted in head, wanted
