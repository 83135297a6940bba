"""A packed row for people: where documents begin, what each token is, what is trained.

With colour, trained text is bold and the rest is dim, each kind in its hue. Without colour,
trained text stands between « and ». Line ends are shown as ↵ because they are often the token in
question, and control characters of the data are escaped so that they cannot drive the terminal.
"""

from __future__ import annotations

import codecs
import unicodedata
from typing import TYPE_CHECKING

from sftprep.totals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sftprep._core import Tokenizer
    from sftprep.dataset import Document, ShardDataset, Span

_HUES = {
    "scaffold": 90,
    "system": 33,
    "user": 34,
    "reasoning": 36,
    "answer": 32,
    "tool_call": 35,
    "tool_output": 33,
    "stop": 31,
    "text": 32,
    "tokens": 37,
}
_RESET, _BOLD, _DIM = "\x1b[0m", 1, 2
# Formatting characters that change the direction or the place of the text around them.
_FORMAT = "Cf"
_JOINERS = "\u200c\u200d\ufe0f"


def view(
    rows: ShardDataset,
    tokenizer: Tokenizer,
    index: int,
    *,
    document: int | None = None,
    color: bool = False,
    width: int = 80,
) -> Iterator[str]:
    """The lines that show a row.

    Args:
        rows: The dataset.
        tokenizer: The tokenizer that it was packed with.
        index: Row to show.
        document: Show only that document of the row.
        color: Use ANSI colours; else mark trained text with « and ».
        width: Columns of the rules between documents.

    Raises:
        IndexError: if there is no such row or document.
    """
    row = rows[index]
    ids, labels = row["input_ids"].tolist(), row["labels"].tolist()
    documents = rows.documents(index)
    if document is not None and not 0 <= document < len(documents):
        raise IndexError(f"document {document} of {len(documents)} in row {index}")
    trained = sum(label >= 0 for label in labels)
    yield (
        f"row {index}: {len(ids):,} of {rows.max_len:,} tokens "
        f"({len(ids) / rows.max_len:.1%} full), {trained:,} trained, "
        f"{counted(len(documents), 'document')}"
    )
    for number, each in enumerate(documents):
        if document not in {None, number}:
            continue
        own = sum(label >= 0 for label in labels[each.start : each.end])
        yield _rule(number, each, own, width)
        yield _text(ids, each, tokenizer, color).removesuffix("\n")


def legend(color: bool) -> str:
    """What the marks mean, in one line."""
    if not color:
        return "«…» is trained"
    shown = ("scaffold", "system", "user", "reasoning", "answer", "tool_call", "stop")
    kinds = "  ".join(_paint(kind, kind, trained=False) for kind in shown)
    return f"{_paint('bold is trained', 'answer', trained=True)}  {kinds}"


def mark(text: str, kind: str, *, trained: bool, color: bool) -> str:
    """A span's text, marked."""
    text = printable(text)
    if color:
        return _paint(text, kind, trained=trained)
    return f"«{text}»" if trained and text else text


def joined(
    spans: list[tuple[int, int, str, bool]], color: bool
) -> list[tuple[int, int, str, bool]]:
    """Neighbouring spans (start, end, kind, trained) that look the same, as one.

    Without colour only the marks around trained text show, so kinds do not matter.
    """
    out: list[tuple[int, int, str, bool]] = []
    for start, end, kind, trained in spans:
        if out and out[-1][3] == trained and (not color or out[-1][2] == kind):
            out[-1] = (out[-1][0], end, out[-1][2], trained)
        else:
            out.append((start, end, kind, trained))
    return out


def printable(text: str) -> str:
    """Text that is safe to print: control and direction characters become escapes."""
    out = []
    for char in text:
        if char == "\n":
            out.append("↵\n")
        elif char == "\t" or char in _JOINERS:
            out.append(char)
        elif unicodedata.category(char) in {"Cc", _FORMAT, "Zl", "Zp", "Cs"}:
            out.append(char.encode("unicode_escape", "surrogatepass").decode("ascii"))
        else:
            out.append(char)
    return "".join(out)


def _rule(number: int, document: Document, trained: int, width: int) -> str:
    part = f", from token {document.first_token} of its row" if document.first_token else ""
    title = (
        f"── document {number}: {document.source}:{document.line}, "
        f"{document.end - document.start:,} tokens, {trained:,} trained{part} "
    )
    return title + "─" * max(width - len(title), 2)


def _text(ids: list[int], document: Document, tokenizer: Tokenizer, color: bool) -> str:
    # One decoder per document: a character whose bytes lie in two spans is shown in the second.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    out = []
    for span in _joined(document.spans, color):
        raw = _bytes(ids[span[0] : span[1]], tokenizer)
        text = decoder.decode(raw, final=span[1] == document.end)
        out.append(mark(text, span[2], trained=span[3], color=color))
    return "".join(out)


def _joined(spans: tuple[Span, ...], color: bool) -> list[tuple[int, int, str, bool]]:
    return joined([(span.start, span.end, span.kind, span.trained) for span in spans], color)


def _bytes(ids: list[int], tokenizer: Tokenizer) -> bytes:
    pieces = [tokenizer.token_bytes(id_) for id_ in ids]
    known = [piece for piece in pieces if piece is not None]
    if len(known) == len(pieces):
        return b"".join(known)
    return tokenizer.decode(ids).encode()


def _paint(text: str, kind: str, *, trained: bool) -> str:
    if not text:
        return ""
    start = f"\x1b[{_BOLD if trained else _DIM};{_HUES.get(kind, 37)}m"
    # Colour ends before a line does: some pagers reset it there.
    return "\n".join(f"{start}{line}{_RESET}" if line else "" for line in text.split("\n"))
