"""sftprep's own side: one `sftprep.pack` call.

run_sftprep.py ROWS.jsonl TOKENIZER_FOLDER MAX_LEN [THREADS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from side import emit, imports_done

import sftprep

imports_done()


def main() -> None:
    """Packs the rows and reports the cost."""
    rows, folder, max_len = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "packed"
        report = sftprep.pack(
            rows,
            out=out,
            tokenizer=folder,
            max_len=max_len,
            threads=threads,
            overlong="truncate",  # as the other sides do
        )
    emit(
        side="sftprep",
        versions={"sftprep": sftprep.__version__},
        threads=threads,
        rows=report.totals.rows,
        sequences=report.sequences,
        tokens=report.totals.trained + report.totals.context,
        trained_tokens=report.totals.trained,
        phases=report.seconds,
        engine=report.tokenizer_engine,
    )


if __name__ == "__main__":
    main()
