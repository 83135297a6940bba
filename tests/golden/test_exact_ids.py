"""Every packed document holds exactly the reference's ids, and labels; every other row is refused
for a reason that the reference has too."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from reference import labels as reference
from reference import shards
from reference.data import SEED, TOKENIZERS, everything, lines_of, row_sets, sample
from reference.encode import ReferenceTokenizer
from reference.normalise import Refusal, Sample, normalise
from reference.render import FROZEN_DATE, Template, tokenizer_template

import sftprep

ROWS = 25
"""Rows of a set in a sampled run."""
JUDGED_ROWS = 60 if everything() else 4
"""Rows of a set whose labels may take the slow way, which renders each of their turns anew."""
# Codes of rows of which a turn could not be proven, one for each rule.
RULES = {f"label.{rule}" for rule in ("window", "prompt", "start", "field_lost", "stop", "tags")}
MAX_LEN = 1 << 15
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For tokenizers that have no template: the same text is given to sftprep."""
Expected = tuple[list[int], list[int] | None]
"""Ids and labels of a sample; None: not decided."""


class Oracle:
    """What must become of each row of a set under one tokenizer."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder, self.form = folder, form
        self.tokenizer = ReferenceTokenizer(folder)
        self.slow_left = JUDGED_ROWS
        self.counts: Counter[str] = Counter()

    def template(self, row: Sample) -> Template:
        own = tokenizer_template(self.folder, bool(row.tools))
        return own or Template("chatml", CHATML, {})

    def expect(self, line: bytes) -> list[Expected] | str:
        """The samples of a row, or why there must be none."""
        try:
            row = normalise(json.loads(line), self.form)
        except (Refusal, ValueError) as refusal:
            return str(refusal)
        if row.text is not None:
            return [reference.raw(self.tokenizer, row.text)]
        if row.completion is not None:
            own = tokenizer_template(self.folder, False)
            eos = own.special.get("eos_token") if own else None
            return [reference.completion(self.tokenizer, *row.completion, eos)]
        if not any(row.train):
            return "no assistant message is trained"
        return self.conversation(row)

    def conversation(self, row: Sample) -> list[Expected] | str:
        template = self.template(row)
        try:
            samples = reference.samples(template, row)
        except Exception as error:  # a template may raise anything at all
            return f"the template raises {type(error).__name__}: {error}"
        found = [self.sample(template, sample) for sample in samples]
        nothing = any(labels is not None and max(labels) < 0 for _, labels in found)
        return "nothing trained" if nothing else found

    def sample(self, template: Template, sample: Sample) -> Expected:
        text = reference.conversation_text(template, sample)
        spans = self.spans(template, sample, text)
        if spans is None:
            self.counts["labels not decided"] += 1
            return self.tokenizer.encode(text), None
        self.counts["labels decided"] += 1
        return self.tokenizer.label(text, spans)

    def spans(self, template: Template, row: Sample, text: str) -> list[tuple[int, int]] | None:
        try:
            return reference.trained_spans(template, row, text, judge=False)
        except reference.Undecided:
            if self.slow_left == 0:
                return None
        self.slow_left -= 1
        try:
            return reference.trained_spans(template, row, text)
        except reference.Undecided:
            return None


def packed(
    tmp_path: Path, rows: list[bytes], form: str, folder: Path
) -> tuple[dict[int, list[shards.Document]], dict[int, dict[str, object]]]:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(line + b"\n" for line in rows))
    template = {} if tokenizer_template(folder, False) else {"chat_template": CHATML}
    out = tmp_path / "packed"
    sftprep.pack(
        source,
        out=out,
        tokenizer=folder,
        max_len=MAX_LEN,
        overlong="drop",
        format=form,
        parts="join",
        date=FROZEN_DATE,
        max_reject_rate=1.0,
        **template,
    )
    by_line = shards.by_line(out)
    ledger = {entry["line"]: entry for entry in shards.ledger(out)}
    assert len(ledger) == len(rows), "the ledger has not one entry per row"
    return by_line, ledger


def rows_by_form(data: Path) -> dict[str, list[tuple[str, list[bytes]]]]:
    """The sets of each format with their (sampled) rows: one pack run per format."""
    out: dict[str, list[tuple[str, list[bytes]]]] = {}
    for rows in row_sets(data):
        out.setdefault(rows.form, []).append((rows.name, sample(lines_of(rows.path), ROWS)))
    return out


@pytest.mark.parametrize("tokenizer_name", TOKENIZERS)
def test_documents_equal_the_reference(data: Path, tokenizer_name: str, tmp_path: Path) -> None:
    folder = data / "tokenizers" / tokenizer_name
    problems: list[str] = []
    counts: Counter[str] = Counter()
    for form, places in rows_by_form(data).items():
        oracle = Oracle(folder, form)
        (tmp_path / form).mkdir()
        lines = [text for _, texts in places for text in texts]
        names = [(name, n) for name, texts in places for n in range(len(texts))]
        documents, ledger = packed(tmp_path / form, lines, form, folder)
        for line, ((name, number), text) in enumerate(zip(names, lines, strict=True), 1):
            if number == 0:
                oracle.slow_left = JUDGED_ROWS
            problem = compare(
                oracle.expect(text), documents.get(line, []), ledger.get(line, {}), oracle.counts
            )
            if problem:
                problems.append(f"{name}, sampled row {number}: {problem}")
        counts += oracle.counts
    print(f"\n{tokenizer_name}: {dict(counts)} (seed {SEED}, all: {everything()})")
    assert not problems, f"{len(problems)} rows are wrong:\n" + "\n".join(problems[:40])


def compare(
    expected: list[Expected] | str,
    documents: list[shards.Document],
    entry: dict[str, object],
    counts: Counter[str],
) -> str | None:
    """What is wrong with the outcome of one row, None if nothing is."""
    code = str(entry.get("code") or "")
    if isinstance(expected, str):
        counts["refused by both"] += not documents
        return f"packed, but {expected}" if documents else None
    if not documents:
        # An honest refusal is no error; the share of them is counted and printed.
        refused = code in RULES
        counts[code] += refused
        too_long = any(len(ids) > MAX_LEN for ids, _ in expected)
        honest = refused or (code == "pack.overlong" and too_long)
        return None if honest else f"not packed ({code}: {entry.get('detail')})"
    counts["documents"] += len(documents)
    counts["rows with one sample per turn"] += len(expected) > 1
    if len(documents) != len(expected) or entry["documents"] != len(expected):
        return (
            f"{len(documents)} documents, {entry['documents']} in the ledger, not {len(expected)}"
        )
    if entry["tokens"] != sum(len(ids) for ids, _ in expected):
        return f"the ledger says {entry['tokens']} tokens"
    return next(filter(None, map(compare_document, documents, expected)), None)


def compare_document(document: shards.Document, expected: Expected) -> str | None:
    """What is wrong with one document, None if nothing is."""
    ids, labels = expected
    if document.ids != ids:
        return f"part {document.part}: ids differ: {difference(document.ids, ids)}"
    if labels is not None and document.labels != labels:
        return f"part {document.part}: labels differ: {difference(document.labels, labels)}"
    return None


def difference(ours: list[int], theirs: list[int]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), -1)
    return f"{len(ours)} and {len(theirs)} long, at {at}: {ours[at : at + 8]} {theirs[at : at + 8]}"
