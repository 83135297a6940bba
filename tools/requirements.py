"""Print the requirements of extras of pyproject.toml, one per line, for ``pip install -r``.

``pip install .[dev]`` would build the package first; the Makefile installs the dependencies alone,
so that editing Rust code never reinstalls them. ``base`` names the package's own dependencies.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(extras: list[str]) -> list[str]:
    """Return the requirements of these extras, in the order of the file."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    known: dict[str, list[str]] = {
        "base": project["dependencies"],
        **project["optional-dependencies"],
    }
    missing = [extra for extra in extras if extra not in known]
    if missing:
        raise SystemExit(f"no such extra in pyproject.toml: {', '.join(missing)}")
    return [requirement for extra in extras for requirement in known[extra]]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:] or ["base", "dev"])))
