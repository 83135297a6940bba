"""Texts that were decoded with the wrong encoding, as ftfy sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sftprep.scores.hooks import Columns, Hook


def make() -> Hook:
    """A hook with the columns ``mojibake`` (ftfy would mend the row) and ``mojibake_badness``
    (unlikely sequences of characters per 1,000 characters).
    """  # noqa: D205
    import ftfy
    from ftfy.badness import badness

    def hook(batch: Columns) -> Columns:
        texts = [
            f"{prompt}\n{answer}"
            for prompt, answer in zip(batch["prompt_text"], batch["answer_text"], strict=True)
        ]
        found: dict[str, list[Any]] = {
            "mojibake": [ftfy.fix_encoding(text) != text for text in texts],
            "mojibake_badness": [1000.0 * badness(text) / len(text) for text in texts],
        }
        return found

    return hook
