"""Whatever is wrong with some rows, every row and every token is accounted for."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import shards
from strategies import conversations, plain_text

import sftprep

BROKEN = [
    "",
    " ",
    "{",
    "null",
    "[]",
    "3",
    '"text"',
    "{}",
    '{"messages": []}',
    '{"messages": null}',
    '{"messages": "hello"}',
    '{"messages": [{"role": "narrator", "content": "x"}]}',
    '{"messages": [{"content": "x"}]}',
    '{"messages": [{"role": "assistant"}]}',
    '{"messages": [{"role": "user", "content": "no answer"}]}',
    '{"messages": [{"role": "user", "content": {"a": 1}}]}',
    '{"messages": [{"role": "assistant", "content": "\\ud800"}]}',
    '{"messages": [{"role": "user", "content": "cut',
    '{"messages": [{"role": "assistant", "content": "a", "tool_calls": 7}]}',
    "[" * 200,
    "\x00\x01",
    '{"messages": [,]}',
    '{"conversations": [{"from": "human", "value": "x"}]}',
]


def good(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


def dumped(conversation: dict[str, Any]) -> str:
    return json.dumps({"messages": conversation["messages"]})


lines = st.lists(
    st.one_of(
        st.builds(good, plain_text, plain_text),
        st.builds(good, plain_text, plain_text),
        conversations().map(dumped),
        st.sampled_from(BROKEN),
        st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").hex()),
    ),
    min_size=1,
    max_size=30,
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=lines, max_len=st.sampled_from([16, 64, 4096]))
def test_everything_is_accounted_for(tokenizer_dir: Path, rows: list[str], max_len: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "rows.jsonl", Path(folder) / "out"
        # One good row, so that a run always has something to pack.
        rows = [*rows, good("a", "b")]
        source.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        report = sftprep.pack(
            source,
            out=out,
            tokenizer=tokenizer_dir,
            max_len=max_len,
            format="messages",
            max_reject_rate=1.0,
        )
        entries = shards.ledger(out)
        documents = list(shards.documents(out))
    # Blank lines are no rows.
    lines_with_rows = [n for n, row in enumerate(rows, 1) if row.strip(" \t\r")]
    assert [entry["line"] for entry in entries] == lines_with_rows
    decisions = Counter(entry["decision"] for entry in entries)
    totals = report.totals
    assert totals.rows == len(entries) == sum(decisions.values())
    assert totals.packed == decisions["packed"]
    assert sum(totals.rejected.values()) == decisions["rejected"]
    assert sum(totals.dropped.values()) == decisions["dropped"]
    left_out = sum(totals.cut.values()) + sum(totals.dropped_tokens.values())
    assert totals.encoded == totals.trained + totals.context + left_out
    assert all(entry["code"] for entry in entries if entry["decision"] != "packed")
    packed_tokens = sum(len(document.ids) for document in documents)
    kept = [entry for entry in entries if entry["decision"] == "packed"]
    assert packed_tokens == sum(entry["tokens"] - (entry["cut_tokens"] or 0) for entry in kept)
    trained = sum(label >= 0 for document in documents for label in document.labels)
    assert trained == sum(entry["trained_tokens"] for entry in kept)
    assert {d.line for d in documents} == {entry["line"] for entry in kept}
