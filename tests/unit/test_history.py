"""What becomes of reasoning that a template leaves out of earlier turns, end to end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from reference import shards

import sftprep
from sftprep import _core
from sftprep.cli import pack as command
from sftprep.config import PackConfig
from sftprep.errors import LabelError, SftprepError

FORGETS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Reasoning only in the last message."""
NEVER = FORGETS.replace("loop.last and ", "false and ")
Messages = list[dict[str, Any]]


def talk(turns: int) -> Messages:
    out: Messages = []
    for turn in range(turns):
        out.append({"role": "user", "content": f"question {turn}"})
        answer = {"role": "assistant", "content": f"answer {turn}"}
        out.append(answer | {"reasoning_content": f"thought {turn}"})
    return out


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> sftprep.Tokenizer:
    return sftprep.Tokenizer.from_file(tokenizer_dir)


def encoder(
    tokenizer: sftprep.Tokenizer, source: str = FORGETS, **options: object
) -> sftprep.Encoder:
    return sftprep.Encoder(tokenizer, sftprep.ChatTemplate(source), **options)


def trained(row: sftprep.EncodedRow) -> str:
    data = row.text.encode()
    return "".join(data[a:b].decode() for a, b, _, _, is_trained in row.spans if is_trained)


def test_each_turn_becomes_the_sample_that_inference_would_see(
    tokenizer: sftprep.Tokenizer,
) -> None:
    template = sftprep.ChatTemplate(FORGETS)
    messages = talk(3)
    samples = encoder(tokenizer).encode_samples({"messages": messages})
    assert [sample.turn for sample in samples] == [1, 3, 5]
    for sample, turn in zip(samples, (1, 3, 5), strict=True):
        prompt = template.render(messages[:turn], add_generation_prompt=True)
        assert sample.text == template.render(messages[: turn + 1])
        said = f"<think>thought {turn // 2}</think>answer {turn // 2}<|im_end|>"
        assert trained(sample) == said
        assert sample.text == prompt + said + "\n"
        assert sample.mask_method == {turn: "origin"}


def test_one_sample_where_nothing_is_left_out(tokenizer: sftprep.Tokenizer) -> None:
    messages = [
        {key: text for key, text in message.items() if key != "reasoning_content"}
        for message in talk(3)
    ]
    (whole,) = encoder(tokenizer).encode_samples({"messages": messages})
    assert whole.turn is None
    assert trained(whole) == "".join(f"answer {turn}<|im_end|>" for turn in range(3))
    # reasoning of the last turn alone is kept by the template
    (whole,) = encoder(tokenizer).encode_samples({"messages": [*messages[:-1], talk(3)[-1]]})
    assert whole.turn is None


def test_the_other_policies(tokenizer: sftprep.Tokenizer) -> None:
    row = {"messages": talk(2)}
    whole = encoder(tokenizer, history="allow").encode(row)
    assert whole.turn is None
    assert trained(whole) == "answer 0<|im_end|><think>thought 1</think>answer 1<|im_end|>"
    with pytest.raises(LabelError, match="rule D: the template leaves out reasoning_content"):
        encoder(tokenizer, history="refuse").encode(row)
    with pytest.raises(LabelError, match="2 samples") as caught:
        encoder(tokenizer).encode(row)
    assert caught.value.code == "label.several"
    # one turn is trained: there is one sample, and it ends with that turn
    last = encoder(tokenizer, train_on="last_turn").encode(row)
    assert last.turn is None
    unfinished = {"messages": [*talk(2), {"role": "user", "content": "bye"}]}
    last = encoder(tokenizer, train_on="last_turn").encode(unfinished)
    assert last.turn == 3
    assert last.text.endswith("answer 1<|im_end|>\n")


def test_a_field_that_is_never_rendered_is_no_history(tokenizer: sftprep.Tokenizer) -> None:
    row = {"messages": talk(2)}
    for history in ("per_turn", "allow", "refuse"):
        with pytest.raises(LabelError, match="leaves out reasoning_content"):
            encoder(tokenizer, NEVER, history=history).encode_samples(row)
    whole = encoder(tokenizer, NEVER, dropped="allow").encode(row)
    assert whole.turn is None
    assert trained(whole) == "answer 0<|im_end|>answer 1<|im_end|>"


def test_flags_and_weights_of_messages_hold_in_every_sample(tokenizer: sftprep.Tokenizer) -> None:
    messages = talk(3)
    messages[3]["train"] = False
    samples = encoder(tokenizer).encode_samples({"messages": messages})
    assert [sample.turn for sample in samples] == [1, 5]
    no_reasoning = encoder(tokenizer, reasoning=False).encode_samples({"messages": messages})
    assert [trained(sample) for sample in no_reasoning] == [
        "answer 0<|im_end|>",
        "answer 2<|im_end|>",
    ]
    last = encoder(tokenizer, stop="last").encode_samples({"messages": messages})
    assert all(trained(sample).endswith("<|im_end|>") for sample in last)


def test_the_ledger_and_the_report_count_the_samples(tmp_path: Path, tokenizer_dir: Path) -> None:
    rows = [{"messages": talk(turns)} for turns in (1, 3, 2)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    template = tmp_path / "forgets.jinja"
    template.write_text(FORGETS)
    out = tmp_path / "out"
    report = sftprep.pack(source, out=out, tokenizer=tokenizer_dir, chat_template=str(template))
    assert (report.expanded_rows, report.expanded_samples) == (2, 5)
    assert report.totals.rows == report.totals.packed == 3
    assert report.totals.documents == 6
    assert report.turns_by_method == {"origin": 6}
    by_line = shards.by_line(out)
    tokenizer = sftprep.Tokenizer.from_file(tokenizer_dir)
    for entry, row in zip(shards.ledger(out), rows, strict=True):
        parts = by_line[entry["line"]]
        expected = encoder(tokenizer).encode_samples(row)
        assert [part.ids for part in parts] == [it.input_ids.tolist() for it in expected]
        assert [part.labels for part in parts] == [it.labels.tolist() for it in expected]
        assert entry["documents"] == len(parts)
        assert entry["tokens"] == sum(len(part.ids) for part in parts)
        trained_of = [
            {message for _, _, message, is_trained in part.spans if is_trained} for part in parts
        ]
        assert trained_of == [{1 + 2 * turn} for turn in range(len(parts))]
    _core.verify(str(out))
    assert json.loads(_core.audit(str(out)))["ok"]


def test_samples_that_are_too_long_are_counted(tmp_path: Path, tokenizer_dir: Path) -> None:
    source = tmp_path / "rows.jsonl"
    messages = talk(3)
    messages[4]["content"] = "long " * 200
    source.write_text(json.dumps({"messages": messages}) + "\n")
    template = tmp_path / "forgets.jinja"
    template.write_text(FORGETS)
    options = {"tokenizer": tokenizer_dir, "chat_template": str(template), "max_len": 120}
    report = sftprep.pack(source, out=tmp_path / "out", overlong="drop", **options)
    (entry,) = shards.ledger(tmp_path / "out")
    assert (entry["decision"], entry["code"], entry["documents"]) == ("packed", "pack.overlong", 2)
    assert entry["tokens"] == entry["cut_tokens"] + sum(
        len(part.ids) for part in shards.by_line(tmp_path / "out")[1]
    )
    assert report.totals.cut == {"pack.overlong": entry["cut_tokens"]}
    with pytest.raises(SftprepError) as caught:
        sftprep.pack(source, out=tmp_path / "error", overlong="error", **options)
    assert caught.value.code == "pack.overlong"


@pytest.mark.parametrize("history", ["per_turn", "allow", "refuse"])
def test_the_same_words_everywhere(tmp_path: Path, history: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[label]\nhistory = "{history}"\n')
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    flags = command.resolve(parser.parse_args(["a.jsonl", "--history", history]))
    from_file = command.resolve(parser.parse_args(["a.jsonl", "--config", str(file)]))
    in_python = PackConfig.from_dict(
        {"source": {"inputs": ["a.jsonl"]}, "label": {"history": history}}
    )
    assert flags == from_file == in_python
