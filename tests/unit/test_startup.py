from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "pyarrow", "numpy", "transformers", "tokenizers", "rich", "huggingface_hub")
SLOW = ("argparse", "dataclasses", "difflib", "inspect", "pathlib", "typing", "urllib.parse")
COMMANDS = ("", "pack", "inspect", "verify", "stats", "render", "add-tokens", "train", "errors")


def seconds(*command: str) -> float:
    """Least time of seven runs: of the clock, or of the processor where others keep it busy."""
    resource = pytest.importorskip("resource")
    least = math.inf
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=30)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least = min(least, wall, cpu)
    return least


def test_importing_loads_nothing_heavy() -> None:
    program = f"import sys, sftprep; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "[]\n"


def test_importing_takes_less_than_150_ms() -> None:
    took = seconds("-c", "import sftprep")
    bare = seconds("-c", "pass")
    assert took - bare < 0.150, (took, bare)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_takes_less_than_300_ms(command: str) -> None:
    assert seconds("-m", "sftprep", *command.split(), "--help") < 0.300


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, sftprep.cli\n"
        "try: sftprep.cli.main(['pack', '--help'])\n"
        f"finally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == "[]\n"


def test_a_run_leaves_out_what_is_slow_to_import(tmp_path: Path) -> None:
    """Each of them costs as much as some hundred rows."""
    program = (
        "import sys; before = set(sys.modules); import sftprep\n"
        "try: sftprep.pack('rows.jsonl', out='out', tokenizer='model')\n"
        "except sftprep.SftprepError: pass\n"
        f"print([m for m in {SLOW!r} if m in sys.modules and m not in before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
    )
    assert done.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    import sftprep

    for name in sftprep.__all__:
        assert getattr(sftprep, name) is not None, name
        assert name in dir(sftprep)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sftprep.nonsense  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    import sftprep

    assert sftprep.__version__ == version("sftprep")


def test_the_package_is_typed() -> None:
    import sftprep

    package = Path(sftprep.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()
