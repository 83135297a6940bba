"""sftprep's own side: one `sftprep.pack` call.

run_sftprep.py ROWS.jsonl TOKENIZER_FOLDER MAX_LEN [THREADS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from side import emit, imports_done

import sftprep

imports_done()


def main() -> None:
    """Packs the rows and reports the cost."""
    rows, folder, max_len = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "packed"
        report = sftprep.pack(rows, out=out, tokenizer=folder, max_len=max_len, threads=threads)
    emit(
        side="sftprep",
        versions={"sftprep": sftprep.__version__},
        threads=threads,
        rows=report.rows,
        report=report.raw,
        **counts(report.raw),
    )


def counts(report: dict[str, Any]) -> dict[str, Any]:
    """Sequences and tokens, as the report states them."""
    totals = report.get("totals") or report
    names = ("sequences", "tokens", "trained_tokens", "phases")
    return {name: totals[name] for name in names if name in totals}


if __name__ == "__main__":
    main()
