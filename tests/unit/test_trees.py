"""Message trees: their threads, the rules on them, and flat exports put together again."""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from reference import trees as reference

import sftprep
from sftprep import cli

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SFTPREP_TEST_DATA", ROOT.parent / "shared" / "data"))
Json = Any


def message(name: str, text: str, *replies: Json, **more: Json) -> Json:
    role = "prompter" if name.startswith("p") else "assistant"
    plain = {"message_id": name, "text": text, "role": role, "lang": "en"}
    plain |= {"review_result": True, "deleted": False, "synthetic": False}
    below = [{**it, "parent_id": name} for it in replies]
    return {**plain, **more, "replies": below}


def tree(prompt: Json, state: str = "ready_for_export") -> Json:
    return {"message_tree_id": prompt["message_id"], "tree_state": state, "prompt": prompt}


def small() -> Json:
    return tree(
        message(
            "p1",
            "Why is the sky blue?",
            message(
                "a1",
                "Light scatters.",
                message("p2", "And at dusk?", message("a3", "It is red.", rank=0)),
                message("p3", "Thanks!"),
                rank=1,
            ),
            message("a2", "Because of the air.", rank=0, synthetic=True),
            message("a4", "No idea.", rank=2, deleted=True),
        )
    )


def write(path: Path, rows: list[Json]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def packed(path: Path, out: Path, **options: Any) -> sftprep.PackReport:  # noqa: ANN401
    given: dict[str, Any] = {"tokenizer": "builtin", "max_len": 4096, "max_reject_rate": 1}
    return sftprep.pack(path, out=out, **{**given, **options})


def texts(folder: Path) -> list[str]:
    """The documents of a dataset, in their order, as text."""
    shards = sftprep.ShardDataset(folder)
    tokenizer = sftprep.Tokenizer.from_file(folder / "tokenizer.json")
    found = []
    for row in range(len(shards)):
        ids = np.asarray(shards[row]["input_ids"])
        for document in shards.documents(row):
            text = tokenizer.decode(ids[document.start : document.end].tolist())
            found.append(((document.source, document.line, document.part), text))
    return [text for _, text in sorted(found)]


def rendered(threads: list[list[dict[str, str]]]) -> list[str]:
    encoder = sftprep.Encoder.from_config(config())
    return [encoder.render({"messages": thread}) for thread in threads]


def config(**options: Any) -> str:  # noqa: ANN401
    from sftprep.config import json_of

    return json_of({"tokenizer": "builtin", "out": "x", **options})


def test_threads_and_rules(tmp_path: Path) -> None:
    path = write(tmp_path / "trees.jsonl", [small()])

    def threads(**rules: str) -> list[list[str]]:
        encoder = sftprep.Encoder.from_config(config(tree=rules))
        samples = encoder.encode_samples(small())
        contents = {it["text"] for it in reference.flat(small())}
        return [
            [text for text in sorted(contents, key=it.text.find) if text in it.text]
            for it in samples
        ]

    sky, scatters, dusk, red = (
        "Why is the sky blue?",
        "Light scatters.",
        "And at dusk?",
        "It is red.",
    )
    air = "Because of the air."
    assert threads() == [[sky, scatters, dusk, red], [sky, air]]
    assert threads(threads="answered") == [[sky, scatters, dusk, red], [sky, air]]
    assert threads(threads="best") == [[sky, air]]
    assert threads(threads="best", synthetic="drop") == [[sky, scatters, dusk, red]]
    assert threads(deleted="keep")[-1] == [sky, "No idea."]
    report = packed(path, tmp_path / "packs")
    assert report.tree_messages == {"used": 5, "unanswered": 1, "deleted": 1}
    assert report.totals.documents == 2
    assert report.sources[0].format == "oasst"


@pytest.mark.parametrize(
    ("change", "rules", "reason"),
    [
        ({"deleted": True}, {}, "7 messages: 6 below, 1 deleted"),
        ({"review_result": False}, {}, "7 messages: 6 below, 1 rejected"),
        ({}, {"lang": "de,fr"}, "7 messages: 6 below, 1 lang"),
        ({}, {"label.quality": "0.5.."}, "7 messages: 6 below, 1 label"),
        ({}, {"state": "growing"}, "7 messages: 6 below, 1 state"),
    ],
)
def test_a_tree_that_rules_leave_nothing_of_is_dropped_with_the_reason(
    tmp_path: Path, change: Json, rules: dict[str, str], reason: str
) -> None:
    row = small()
    row["prompt"] |= change
    path = write(tmp_path / "trees.jsonl", [row, {"messages": small()}, small()])
    report = packed(path, tmp_path / "packs", tree=rules, format="oasst")
    dropped = pa.ipc.open_file(tmp_path / "packs" / "ledger.arrow").read_all().to_pylist()[0]
    assert (dropped["decision"], dropped["code"]) == ("dropped", "format.no_thread")
    assert reason in dropped["detail"]
    totals = report.totals
    assert totals.rows == 3
    assert sum(totals.rejected.values()) == 1, "the row that is no tree"


def test_labels_in_both_forms(tmp_path: Path) -> None:
    row = tree(
        message(
            "p1",
            "Hi?",
            message("a1", "good", labels={"quality": {"value": 0.9, "count": 3}}),
            message("a2", "bad", labels={"quality": {"value": 0.2, "count": 3}}),
            message("a3", "good too", labels={"name": ["spam", "quality"], "value": [0, 0.7]}),
            labels={"quality": {"value": 0.5, "count": 1}},
        )
    )
    path = write(tmp_path / "trees.jsonl", [row])
    packed(path, tmp_path / "packs", tree={"label.quality": "0.5.."})
    assert len(texts(tmp_path / "packs")) == 2
    packed(path, tmp_path / "less", tree={"label.quality": "0.3..0.8"}, overwrite=True)
    assert len(texts(tmp_path / "less")) == 1


@pytest.mark.parametrize(
    "rules",
    [
        {"threads": "some"},
        {"colour": "red"},
        {"deleted": "yes"},
        {"label.": "1.."},
        {"label.q": "1"},
    ],
)
def test_rules_that_are_not_there_are_refused(tmp_path: Path, rules: dict[str, str]) -> None:
    path = write(tmp_path / "trees.jsonl", [small()])
    with pytest.raises(sftprep.ConfigError, match=next(iter(rules))):
        packed(path, tmp_path / "packs", tree=rules)


def test_bad_trees_are_rejected_by_name(tmp_path: Path) -> None:
    rows = [small() for _ in range(5)]
    del rows[0]["prompt"]["replies"][0]["replies"][0]["text"]
    rows[1]["prompt"]["replies"][1]["role"] = "narrator"
    rows[2]["prompt"]["replies"] = "none"
    rows[3]["prompt"]["replies"][0] = 7
    report = packed(write(tmp_path / "trees.jsonl", rows), tmp_path / "packs")
    ledger = pa.ipc.open_file(tmp_path / "packs" / "ledger.arrow").read_all().to_pylist()
    details = [row["detail"] or "" for row in ledger]
    assert "prompt.replies[0].replies[0].text is missing" in details[0]
    assert "prompt.replies[1].role is 'narrator'" in details[1]
    assert "prompt.replies is 'none'" in details[2]
    assert "prompt.replies[0] is 7" in details[3]
    assert report.totals.rows == 5
    assert sum(report.totals.rejected.values()) == 4


def test_a_flat_export_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = write(tmp_path / "flat.jsonl", list(reference.flat(small())))
    with pytest.raises(sftprep.FormatError) as caught:
        packed(path, tmp_path / "packs")
    assert caught.value.code == "format.flat"
    assert "sftprep trees" in str(caught.value.hint)


def export() -> list[Json]:
    path = DATA / "quality" / "oasst" / "en_100_tree.jsonl.gz"
    if not path.is_file():
        if os.environ.get("SFTPREP_REQUIRE_DATA") == "1":
            pytest.fail(f"{path} is not there")
        pytest.skip(f"{path} is not there")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_threads_of_a_real_export_are_those_of_the_reference(tmp_path: Path) -> None:
    rows = export()
    path = DATA / "quality" / "oasst" / "en_100_tree.jsonl.gz"
    for choice, of in (
        ("all", reference.threads),
        ("answered", reference.answered),
        ("best", lambda tree: [reference.best(tree)]),
    ):
        out = tmp_path / choice
        report = packed(path, out, tree={"threads": choice})
        threads = [thread for tree in rows for thread in of(tree) if thread]
        assert texts(out) == rendered(threads), choice
        assert sum(report.tree_messages.values()) <= sum(
            1 for it in rows for _ in reference.flat(it)
        )
        audit = json.loads(sftprep._core.audit(out))
        assert audit["ok"], audit


@pytest.mark.parametrize("order", ["as exported", "by date", "backwards"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_tree_and_flat_exports_give_the_same_threads(tmp_path: Path, order: str, kind: str) -> None:
    rows = export()
    messages = [it for tree in rows for it in reference.flat(tree)]
    if order == "by date":
        random.Random(1).shuffle(messages)
    if order == "backwards":
        messages.reverse()
    flat = tmp_path / f"flat.{kind}"
    if kind == "jsonl":
        write(flat, messages)
    else:
        names = ("message_id", "parent_id", "message_tree_id", "tree_state", "text", "role", "lang")
        names += ("review_result", "deleted", "synthetic", "rank")
        columns = {name: [it.get(name) for it in messages] for name in names}
        pa.parquet.write_table(pa.table(columns), flat)
    report = sftprep.trees(flat, out=tmp_path / "trees.jsonl")
    assert (report.rows, report.kept, report.written) == (len(messages), len(messages), len(rows))
    one, other = tmp_path / "one", tmp_path / "other"
    packed(DATA / "quality" / "oasst" / "en_100_tree.jsonl.gz", one)
    packed(tmp_path / "trees.jsonl", other)
    if order == "as exported":
        assert texts(one) == texts(other)
    assert sorted(texts(one)) == sorted(texts(other))


def test_messages_without_a_place_are_named(tmp_path: Path) -> None:
    messages = list(reference.flat(small()))
    lost = {**messages[1], "message_id": "a9", "parent_id": "gone"}
    below = {**messages[1], "message_id": "p9", "parent_id": "a9"}
    second = {**messages[0], "message_id": "p8"}
    nameless = {name: value for name, value in lost.items() if name != "message_id"}
    rows = [*messages, lost, below, second, copy.deepcopy(messages[2]), nameless, 5]
    path = write(tmp_path / "flat.jsonl", rows)
    report = sftprep.trees(path, out=tmp_path / "trees.jsonl", max_reject_rate=1)
    assert report.kept == len(messages)
    assert report.rejected == {"format.missing": 1, "format.orphan": 4, "row.not_object": 1}
    ledger = pa.ipc.open_file(tmp_path / "trees.ledger.arrow").read_all().to_pylist()
    details = [row["detail"] for row in ledger[len(messages) :]]
    assert "parent gone is not in the tree" in details[0]
    assert "parent a9 has no place" in details[1]
    assert "first message already" in details[2]
    assert f"message {messages[2]['message_id']} already" in details[3]
    assert sftprep.why(tmp_path / "trees.jsonl", len(messages) + 1)[0]["code"] == "format.orphan"
    with pytest.raises(sftprep.RejectBudgetExceeded, match="are part of no tree"):
        sftprep.trees(path, dry_run=True)


def test_exports_without_the_names_of_trees(tmp_path: Path) -> None:
    messages = list(reference.flat(small()))
    for row in messages:
        del row["message_tree_id"]
    path = write(tmp_path / "flat.jsonl", messages)
    report = sftprep.trees(path, out=tmp_path / "trees.jsonl")
    assert (report.kept, report.written) == (len(messages), 1)


def test_memory_is_bounded(tmp_path: Path) -> None:
    rows = [{**small(), "message_tree_id": f"t{number}"} for number in range(40)]
    messages = [it for tree in rows for it in reference.flat(tree)]
    together = write(tmp_path / "together.jsonl", messages)
    report = sftprep.trees(together, out=tmp_path / "a.jsonl", hold=5000)
    assert (report.written, report.kept) == (40, len(messages))
    whole = sftprep.trees(together, out=tmp_path / "b.jsonl")
    assert whole.written == 40
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    scattered = write(tmp_path / "scattered.jsonl", messages[::2] + messages[1::2])
    assert sftprep.trees(scattered, dry_run=True).written == 40
    with pytest.raises(sftprep.FormatError) as caught:
        sftprep.trees(scattered, dry_run=True, hold=5000)
    assert caught.value.code == "format.scattered"
    assert "--hold" in str(caught.value.hint)


def test_stages_take_trees_as_rows(tmp_path: Path) -> None:
    other = tree(message("p7", "Name a tree.", message("a7", "An oak, tall and old.")))
    path = write(tmp_path / "trees.jsonl", [small(), other, small()])
    report = sftprep.dedup(path, out=tmp_path / "kept.jsonl")
    assert report.dropped == {"quality.identical": 1}
    seen = sftprep.check(path)
    assert seen.issue("identical")["rows"] == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "flat.jsonl", list(reference.flat(small())))
    assert cli.main(["trees", str(path), "--out", str(tmp_path / "t.jsonl")]) == 0
    assert "lines written" in capsys.readouterr().out
    arguments = [
        "pack",
        str(tmp_path / "t.jsonl"),
        "--tokenizer",
        "builtin",
        "--tree",
        "threads=best",
    ]
    assert cli.main([*arguments, "--out", str(tmp_path / "packs")]) == 0
    out = capsys.readouterr().out
    assert "messages of trees: 2 in threads, 5 left out (1 deleted, 4 not_best)" in out
    assert cli.main(["trees", str(path), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == 1
