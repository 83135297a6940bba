"""Make the files of ``examples/demo`` that are not written by hand, from ``tools/demo_sources``.

``09-text.jsonl.gz`` is compressed text, ``10-pretokenized.jsonl`` holds ids of the built-in
tokenizer, and ``12-messages.parquet`` holds nested columns. The other files of the folder are
their own source. ``--check`` compares what the files say with what this script would write.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tools" / "demo_sources"
DEMO = ROOT / "examples" / "demo"
TOKENIZER = ROOT / "rust" / "sftprep-core" / "assets" / "builtin" / "tokenizer.json"
IGNORE_INDEX = -100

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """Return the rows of one source file."""
    lines = (SOURCES / name).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def text() -> list[Row]:
    """Rows with running text, for next-token training."""
    return rows("text.jsonl")


def pretokenized() -> list[Row]:
    """Rows of ids; the first marks its prompt with labels, the second with a mask."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    eos = tokenizer.token_to_id("<|im_end|>")
    out: list[Row] = []
    for index, row in enumerate(rows("pretokenized.jsonl")):
        prompt = tokenizer.encode(row["prompt"], add_special_tokens=False).ids
        answer = [*tokenizer.encode(row["answer"], add_special_tokens=False).ids, eos]
        ids = prompt + answer
        if index % 2 == 0:
            out.append({"input_ids": ids, "labels": [IGNORE_INDEX] * len(prompt) + answer})
        else:
            mask = [0] * len(prompt) + [1] * len(answer)
            out.append({"input_ids": ids, "completion_mask": mask})
    return out


def messages() -> list[Row]:
    """Rows of messages, as a nested column."""
    return rows("parquet.jsonl")


def json_lines(items: list[Row]) -> bytes:
    """Encode rows as JSON Lines."""
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()


def write() -> None:
    """Write the three files."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(json_lines(text()))
    (DEMO / "09-text.jsonl.gz").write_bytes(packed.getvalue())
    (DEMO / "10-pretokenized.jsonl").write_bytes(json_lines(pretokenized()))
    table = pa.Table.from_pylist(messages())
    pq.write_table(table, DEMO / "12-messages.parquet", compression="zstd")


def stale() -> list[str]:
    """Name the files whose content is not what this script would write."""
    with gzip.open(DEMO / "09-text.jsonl.gz") as file:
        seen_text = file.read()
    found = {
        "09-text.jsonl.gz": seen_text == json_lines(text()),
        "10-pretokenized.jsonl": (DEMO / "10-pretokenized.jsonl").read_bytes()
        == json_lines(pretokenized()),
        "12-messages.parquet": pq.read_table(DEMO / "12-messages.parquet").to_pylist()
        == messages(),
    }
    return [name for name, same in found.items() if not same]


def main(argv: list[str] | None = None) -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args(argv)
    if not args.check:
        write()
        return 0
    names = stale()
    if names:
        print(f"stale, run tools/make_demo_files.py: {', '.join(names)}", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
