"""Draw ``docs/img/packed-row.svg``: one packed sequence, its tokens coloured by what is trained.

The tokens are those of the built-in tokenizer and template. What is trained is worked out here in
the plainest way, as what the rendering of a turn adds to its generation prompt; that is right for
the built-in template, which never rewrites a turn.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "rust" / "sftprep-core" / "assets" / "builtin"
OUT = ROOT / "docs" / "img" / "packed-row.svg"

CONVERSATIONS = [
    ("What is 7 times 8?", "56."),
    ("Name the capital of Australia.", "Canberra."),
    ("Say hello in French.", "Bonjour !"),
]
WIDTH, MARGIN, LINE, BOX, CHAR = 860, 20, 34, 24, 7.6
CONTEXT, TRAINED, STOP = ("#e8eaed", "#5f6368"), ("#b7e1c0", "#0b4d1c"), ("#2e8b4a", "#ffffff")


@dataclass(frozen=True, kw_only=True)
class Token:
    """One box of the picture."""

    text: str
    id: int
    trained: bool
    first: bool
    """Whether a document begins here."""


def tokens() -> list[Token]:
    """Return the tokens of all conversations, one document after another."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZER)
    out: list[Token] = []
    for question, answer in CONVERSATIONS:
        asked = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        asked.append({"role": "assistant", "content": answer})
        text = tokenizer.apply_chat_template(asked, tokenize=False)
        stop = text.rindex("<|im_end|>") + len("<|im_end|>")
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for number, (id_, (start, end)) in enumerate(pairs):
            inside = len(prompt) <= start and end <= stop
            piece = text[start:end]
            out.append(Token(text=piece, id=id_, trained=inside, first=number == 0))
    return out


def shown(text: str) -> str:
    """Return a token's text with its white space made visible."""
    return text.replace("\n", "⏎").replace(" ", "·")


def colours(token: Token) -> tuple[str, str]:
    """Return the fill and ink of a token."""
    if not token.trained:
        return CONTEXT
    return STOP if token.text == "<|im_end|>" else TRAINED


def draw(items: list[Token]) -> str:
    """Return the picture."""
    x, y = float(MARGIN), 62.0
    body: list[str] = []
    for item in items:
        width = max(len(shown(item.text)) * CHAR + 8, 18)
        if x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LINE
        if item.first:
            body.append(
                f'<path d="M{x + 1:.1f} {y - 5:.1f}v{BOX + 10}" stroke="#c5221f" stroke-width="3"/>'
            )
            x += 6
        fill, ink = colours(item)
        body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX}" rx="4" '
            f'fill="{fill}"/><text x="{x + width / 2:.1f}" y="{y + 16.5:.1f}" '
            f'text-anchor="middle" fill="{ink}">{escape(shown(item.text))}</text>'
        )
        x += width + 3
    return page(body, items, y + LINE + 16)


def page(body: list[str], items: list[Token], y: float) -> str:
    """Return the whole SVG: title, legend, boxes, and the beginning of the three columns."""
    lengths: list[int] = []
    for item in items:
        if item.first:
            lengths.append(0)
        lengths[-1] += 1
    start = next(index for index, item in enumerate(items) if item.trained) - 2
    cut = items[start : start + 8]
    columns = {
        "input_ids": ", ".join(f"{item.id:>4}" for item in cut),
        "labels": ", ".join(f"{item.id if item.trained else -100:>4}" for item in cut),
    }
    rows = [(name, f"[ … {values}, … ]") for name, values in columns.items()]
    rows.append(("seq_lengths", f"[{', '.join(map(str, lengths))}]"))
    for name, values in rows:
        body.append(
            f'<text x="{MARGIN}" y="{y:.0f}" fill="#5f6368" font-weight="600">{name}</text>'
            f'<text x="{MARGIN + 110}" y="{y:.0f}" fill="#202124" xml:space="preserve">'
            f"{values}</text>"
        )
        y += 22
    legend = []
    x = float(MARGIN)
    marks = (("context, not trained", CONTEXT), ("answer, trained", TRAINED))
    for name, (fill, _) in (*marks, ("stop token, trained", STOP)):
        legend.append(
            f'<rect x="{x:.0f}" y="20" width="14" height="14" rx="3" fill="{fill}"/>'
            f'<text x="{x + 20:.0f}" y="32" fill="#202124">{name}</text>'
        )
        x += 50 + len(name) * CHAR
    legend.append(
        f'<path d="M{x:.0f} 18v18" stroke="#c5221f" stroke-width="3"/>'
        f'<text x="{x + 10:.0f}" y="32" fill="#202124">a document begins</text>'
    )
    summary = f"One packed sequence of {len(lengths)} conversations, {len(items)} tokens"
    height = y + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{summary}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="12.5">\n'
        f"<title>{summary}</title>\n"
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="10" fill="#ffffff"/>\n'
        + "\n".join(legend + body)
        + "\n</svg>\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Write the picture, or check that it is fresh."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args(argv)
    picture = draw(tokens())
    if not args.check:
        OUT.write_text(picture, encoding="utf-8")
        return 0
    fresh = OUT.exists() and OUT.read_text(encoding="utf-8") == picture
    if not fresh:
        print("stale, run tools/make_picture.py", file=sys.stderr)
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
