"""The language of an answer, as lingua sees it; its models come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sftprep.scores.hooks import Columns, Hook

_CHARS = 2000


def make() -> Hook:
    """A hook with the columns ``language`` (ISO 639-1) and ``language_confidence`` (0 to 1).

    The first 2,000 characters of the answer are looked at, or of the prompt if there is none.
    """
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().build()

    def hook(batch: Columns) -> Columns:
        found: dict[str, list[Any]] = {
            "language": [],
            "language_confidence": [],
            "language.reason": [],
            "language_confidence.reason": [],
        }
        for prompt, answer in zip(batch["prompt_text"], batch["answer_text"], strict=True):
            text = (answer if answer.strip() else prompt)[:_CHARS]
            likely = detector.compute_language_confidence_values(text)
            none = "" if text.strip() else "score.empty"
            if not none and likely and likely[0].value > 0:
                code, share = likely[0].language.iso_code_639_1.name.lower(), likely[0].value
                values, why = (code, share), None
            else:
                values, why = (None, None), none or "language.unknown"
            for name, value in zip(("language", "language_confidence"), values, strict=True):
                found[name].append(value)
                found[f"{name}.reason"].append(why)
        return found

    return hook
