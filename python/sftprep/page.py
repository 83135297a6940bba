"""Packed rows as one page: colours by span kind, borders of documents, source rows, trained marks.

The page holds everything it needs and asks no network. What is shown is plain HTML; the script in
it adds the keyboard, the search and the panel that names a token.
"""

from __future__ import annotations

import codecs
import html
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sftprep.inspect import printable
from sftprep.totals import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sftprep._core import Tokenizer
    from sftprep.dataset import Document, ShardDataset, Span

KINDS = (
    "scaffold",
    "system",
    "user",
    "reasoning",
    "answer",
    "tool_call",
    "tool_output",
    "stop",
    "text",
    "tokens",
)
"""Kinds in the order of the legend."""


def page(rows: ShardDataset, tokenizer: Tokenizer, indices: Iterable[int]) -> Iterator[str]:
    """The page that shows some rows, in pieces.

    Args:
        rows: The dataset.
        tokenizer: The tokenizer that it was packed with.
        indices: Rows to show.

    Raises:
        IndexError: if there is no such row.
    """
    name = html.escape(str(rows.path))
    head, tail = _frame().split("<!--rows-->")
    legend = "".join(f'<span class="key {kind}">{kind.replace("_", " ")}</span>' for kind in KINDS)
    # Paths in shell commands that the page shows are quoted for a shell.
    head = head.replace("<!--title-->", name).replace("<!--legend-->", legend)
    yield head.replace("<!--dataset-->", html.escape(shlex.quote(str(rows.path)), quote=True))
    for index in indices:
        yield from _row(rows, tokenizer, index)
    yield tail


def _frame() -> str:
    return Path(__file__).with_name("page.html").read_text("utf-8")


def _row(rows: ShardDataset, tokenizer: Tokenizer, index: int) -> Iterator[str]:
    row = rows[index]
    ids, labels = row["input_ids"].tolist(), row["labels"].tolist()
    documents = rows.documents(index)
    trained = sum(label >= 0 for label in labels)
    yield (
        f'<section class="row" id="row-{index}" data-row="{index}"><h2>row {index}</h2>'
        f'<p class="facts">{counted(len(ids), "token")} of {rows.max_len:,} '
        f"({len(ids) / rows.max_len:.1%} full), {trained:,} trained, "
        f"{counted(len(documents), 'document')}</p>\n"
    )
    for number, document in enumerate(documents):
        yield from _document(index, number, document, ids, labels, tokenizer)
    yield "</section>\n"


def _document(
    row: int,
    number: int,
    document: Document,
    ids: Sequence[int],
    labels: Sequence[int],
    tokenizer: Tokenizer,
) -> Iterator[str]:
    trained = sum(label >= 0 for label in labels[document.start : document.end])
    place = html.escape(f"{document.source}:{document.line}")
    part = f", sample {document.part} of its row" if document.part else ""
    first = f", from token {document.first_token} of its row" if document.first_token else ""
    yield (
        f'<article class="doc" id="row-{row}-doc-{number}" tabindex="-1">'
        f"<h3>document {number} <b>{place}</b></h3>"
        f'<p class="facts">{counted(document.end - document.start, "token")}, '
        f"{trained:,} trained, tokens {document.start} to {document.end - 1} of the row, byte "
        f"{document.byte_offset} of the input{part}{first}</p><pre>"
    )
    # A character whose bytes lie in several tokens is shown in the last of them.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for span in document.spans:
        yield _span(span, ids, labels, tokenizer, decoder)
    yield "</pre></article>\n"


def _span(
    span: Span,
    ids: Sequence[int],
    labels: Sequence[int],
    tokenizer: Tokenizer,
    decoder: codecs.IncrementalDecoder,
) -> str:
    message = "" if span.message is None else f' data-m="{span.message}"'
    straddles = ' data-e="1"' if span.straddles else ""
    out = [f'<span class="s {span.kind}" data-k="{span.kind}"{message}{straddles}>']
    for position in range(span.start, span.end):
        raw = tokenizer.token_bytes(ids[position])
        if raw is None:
            raw = tokenizer.decode([ids[position]]).encode()
        text = printable(decoder.decode(raw))
        mark = ' class="on"' if labels[position] >= 0 else ""
        out.append(f'<i{mark} data-p="{position}" data-i="{ids[position]}">{html.escape(text)}</i>')
    out.append("</span>")
    return "".join(out)
