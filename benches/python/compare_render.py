"""Compares rendering with what renders chat templates elsewhere, on the same rows in one run.

    compare_render.py [--repeat 5] [--rows 300] [--engine PATH]

Sides, each with the time of one CPU:

- `transformers`: `apply_chat_template(tokenize=False)`, as users call it;
- `jinja2`: only the compiled template in it (`ImmutableSandboxedEnvironment`), with none of the
  preparation of messages that every caller of `apply_chat_template` pays for;
- `minijinja`: the Python binding of the crate of that name;
- `sftprep`: `ChatTemplate.render` of the Python package;
- `engine`: the Rust engine with origins, on rows that were read before, as `sftprep pack` has
  them; `plain` is the same without origins. The difference between `plain` and `sftprep` is what
  the conversion of Python objects costs.

Texts must be equal row by row; rows that transformers refuses are left out and counted. The engine
is the example `render_speed` of rust/sftprep-template, built with
`cargo build --release -p sftprep-template --example render_speed`.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from compare_prepare import RESULTS, ROOT, data_folder, machine

Row = dict[str, Any]
DATE = datetime.datetime(2025, 6, 30, 12, 34, 56)
TEMPLATES = {
    "Qwen3": "qwen3.trl.jinja",
    "Llama 3.1": "llama3_1.trl.jinja",
    "GPT-OSS": "gptoss.trl.jinja",
}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
PACKAGES = ("transformers", "jinja2", "minijinja")


def corpus(count: int) -> list[Row]:
    """Every hundredth conversation of the corpus."""
    path = data_folder() / "bench" / "bench57k.messages.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, 0, count * 100, 100)]


def hard() -> list[Row]:
    """The hard conversations: tools, reasoning, odd shapes."""
    text = (data_folder() / "conversations.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def arguments(row: Row) -> dict[str, Any]:
    """What every side is given beside the messages."""
    return {
        "tools": row.get("tools"),
        "add_generation_prompt": row.get("add_generation_prompt", False),
        **row.get("template_kwargs", {}),
    }


def transformers_sides(template: str) -> dict[str, Callable[[Row], str]]:
    """Rendering through transformers, and through the template that it compiles."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import chat_template_utils as utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            del tz
            return DATE

    vars(utils)["datetime"] = Clock
    made: Any = PreTrainedTokenizerFast
    tokenizer = made(tokenizer_object=Tokenizer(BPE()), **SPECIAL)
    tokenizer.chat_template = template
    compiled = utils._compile_jinja_template(template)

    def whole(row: Row) -> str:
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False, **arguments(row))
        return str(text)

    def bare(row: Row) -> str:
        given = {"documents": None, **SPECIAL, **arguments(row)}
        return str(compiled.render(messages=row["messages"], **given))

    return {"transformers": whole, "jinja2": bare}


def minijinja_side(template: str) -> Callable[[Row], str]:
    """Rendering through the binding of minijinja, with the reference's own `tojson`."""
    import minijinja

    def dumps(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def fail(message: str) -> None:
        raise ValueError(message)

    environment: Any = minijinja.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.add_filter("tojson", dumps)
    environment.add_function("raise_exception", fail)
    environment.add_function("strftime_now", DATE.strftime)
    environment.add_template("t", template)

    def render(row: Row) -> str:
        given = {"documents": None, **SPECIAL, **arguments(row)}
        return str(environment.render_template("t", messages=row["messages"], **given))

    return render


def sftprep_side(template: str) -> Callable[[Row], str]:
    """Rendering through the Python package."""
    import sftprep

    compiled = sftprep.ChatTemplate(template, SPECIAL, DATE.isoformat())

    def render(row: Row) -> str:
        return str(compiled.render(row["messages"], **arguments(row)))

    return render


def engine_times(engine: Path, template: str, rows: list[Row]) -> dict[str, float]:
    """Microseconds per row of the Rust engine: `plain` and `traced`."""
    lines = []
    for row in rows:
        kwargs = row.get("template_kwargs", {})
        given = {"messages": row["messages"], **arguments(row), "kwargs": kwargs}
        lines.append(json.dumps({**given, "special_tokens": SPECIAL}))
    first = {**json.loads(lines[0]), "template": template}
    text = "\n".join([json.dumps(first), *lines[1:]]) + "\n"
    done = subprocess.run([engine], input=text, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    return {"plain": report["plain_us"], "engine": report["traced_us"]}


def microseconds(render: Callable[[Row], str], rows: list[Row]) -> float:
    """CPU time per row."""
    start = time.process_time()
    for row in rows:
        render(row)
    return (time.process_time() - start) / len(rows) * 1e6


def text_or_none(render: Callable[[Row], str], row: Row) -> str | None:
    """The text, unless the side refuses."""
    try:
        return render(row)
    except Exception:
        return None


def compare(template: str, rows: list[Row], repeat: int, engine: Path) -> dict[str, Any]:
    """One template over one set of rows."""
    sides = transformers_sides(template)
    sides |= {"minijinja": minijinja_side(template), "sftprep": sftprep_side(template)}
    expected = [(row, text_or_none(sides["transformers"], row)) for row in rows]
    kept = [(row, text) for row, text in expected if text is not None]
    equal = {
        name: sum(text_or_none(render, row) == text for row, text in kept)
        for name, render in sides.items()
    }
    if equal["sftprep"] != len(kept):
        raise SystemExit(f"texts differ: {equal['sftprep']} of {len(kept)} are equal")
    rows = [row for row, _ in kept]
    # A side that refuses some of these rows is timed on the others.
    timed = {
        name: [row for row in rows if text_or_none(render, row) is not None]
        for name, render in sides.items()
    }
    rounds: list[dict[str, float]] = []
    for _ in range(repeat):
        times = {name: microseconds(render, timed[name]) for name, render in sides.items()}
        rounds.append(times | engine_times(engine, template, rows))
    return {
        "rows": len(rows),
        "refused": len(expected) - len(rows),
        "equal": equal,
        "microseconds": {
            name: {
                "best": min(r[name] for r in rounds),
                "median": statistics.median(r[name] for r in rounds),
            }
            for name in rounds[0]
        },
        "engine_speedup": {
            name: {"min": min(ratios), "median": statistics.median(ratios)}
            for name in sides
            if (ratios := [r[name] / r["engine"] for r in rounds])
        },
    }


def main() -> None:
    """Runs the comparison and writes its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", type=int, default=300, help="rows of the corpus")
    parser.add_argument("--build", default="release, fat LTO, one codegen unit")
    parser.add_argument(
        "--engine", type=Path, default=ROOT / "target" / "release" / "examples" / "render_speed"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "compare_render.json")
    options = parser.parse_args()
    if not data_folder().is_dir():
        sys.stderr.write(f"no data at {data_folder()} (SFTPREP_TEST_DATA): skipped\n")
        return
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sets = {"corpus": corpus(options.rows), "hard shapes": hard()}
    compared = {}
    for name, file in TEMPLATES.items():
        path = data_folder() / "chat_templates" / file
        template = path.read_bytes().decode("utf-8")
        for label, rows in sets.items():
            found = compare(template, rows, options.repeat, options.engine.resolve())
            compared[f"{name}, {label}"] = found
            sys.stderr.write(f"{name}, {label}: {found['engine_speedup']}\n")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    result = {
        "what": "compare_render",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions,
        "build": options.build,
        "repeat": options.repeat,
        "compared": compared,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sys.stderr.write(f"written: {options.out}\n")


if __name__ == "__main__":
    main()
