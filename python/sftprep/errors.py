"""Every error that sftprep raises: a stable code, a place, and what to do about it.

All are :class:`SftprepError`. The first word of a code names the stage, and the stage names the
class, so ``except TemplateError`` catches every ``template.*`` code. The Rust core raises these
classes too (it imports this module), and every one of them pickles. ``sftprep errors CODE`` prints
the page of a code.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = [
    "ConfigError",
    "FormatError",
    "InternalError",
    "LabelError",
    "OutputError",
    "PackError",
    "RejectBudgetExceeded",
    "RunError",
    "ScoreError",
    "SftprepError",
    "ShardCorrupt",
    "ShardError",
    "ShardVersionError",
    "SourceError",
    "TemplateError",
    "TokenizerError",
    "TrainError",
    "build",
]


class SftprepError(Exception):
    """Base of all errors of sftprep.

    Args:
        message: What was seen and what was wanted.
        code: Stable code, such as ``source.missing``; each class has a default.
        path: File it happened in.
        line: Line (1-based) in that file.
        field: Option, column or field concerned.
        hint: What to do, in the imperative.
    """

    default_code: ClassVar[str] = "run.internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        path: str | None = None,
        line: int | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.path = path
        self.line = line
        self.field = field
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"[{self.code}]: {self.message}"]
        if self.path is not None:
            lines.append(f"  --> {self.path}" + ("" if self.line is None else f":{self.line}"))
        elif self.line is not None:
            lines.append(f"  --> line {self.line}")
        if self.field is not None:
            lines.append(f"  field: {self.field}")
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.as_dict())

    def as_dict(self) -> dict[str, str | int | None]:
        """The code and the place, without the message: what ``--log-json`` prints."""
        return {
            "code": self.code,
            "path": self.path,
            "line": self.line,
            "field": self.field,
            "hint": self.hint,
        }


class ConfigError(SftprepError, ValueError):
    """An option, a configuration file or an argument is wrong."""

    default_code = "config.value"


class SourceError(SftprepError, OSError):
    """An input is missing, unreadable or damaged."""

    default_code = "source.unreadable"


class FormatError(SftprepError, ValueError):
    """A row is not what its format says it is."""

    default_code = "format.type"


class TemplateError(SftprepError, ValueError):
    """A chat template does not compile, or does not render a row."""

    default_code = "template.raised"


class TokenizerError(SftprepError, ValueError):
    """A tokenizer is missing, does not load, or cannot encode a text."""

    default_code = "tokenizer.invalid"


class LabelError(SftprepError, ValueError):
    """It cannot be proved what of a row is to be trained, or nothing is."""

    default_code = "label.start"


class PackError(SftprepError, ValueError):
    """A document does not fit where it must."""

    default_code = "pack.overlong"


class OutputError(SftprepError, OSError):
    """The output cannot be written."""

    default_code = "output.io"


class ShardError(SftprepError, ValueError):
    """A dataset is not there, or is not readable."""

    default_code = "shard.missing"


class ShardCorrupt(ShardError):
    """A dataset's bytes differ from what its manifest promises."""

    default_code = "shard.corrupt"


class ShardVersionError(ShardError):
    """A dataset was written by a newer version of the format."""

    default_code = "shard.version"


class RunError(SftprepError, RuntimeError):
    """A run ended without a dataset."""

    default_code = "run.nothing_packed"


class RejectBudgetExceeded(RunError):
    """More rows were rejected than ``max_reject_rate`` allows."""

    default_code = "run.reject_rate"


class InternalError(RunError):
    """A bug in sftprep: one of its own checks failed."""

    default_code = "run.internal"


class TrainError(SftprepError, RuntimeError):
    """A model cannot be trained on these shards, or training went wrong."""

    default_code = "train.model"


class ScoreError(SftprepError, RuntimeError):
    """Rows cannot be scored: a plug-in, a judge or a score file is not what it must be."""

    default_code = "score.plugin"


_BY_CODE: dict[str, type[SftprepError]] = {
    "shard.corrupt": ShardCorrupt,
    "shard.manifest": ShardCorrupt,
    "shard.version": ShardVersionError,
    "run.reject_rate": RejectBudgetExceeded,
    "run.internal": InternalError,
}
_BY_STAGE: dict[str, type[SftprepError]] = {
    "config": ConfigError,
    "source": SourceError,
    "row": FormatError,
    "format": FormatError,
    "template": TemplateError,
    "tokenizer": TokenizerError,
    "label": LabelError,
    "pack": PackError,
    "mix": PackError,
    "quality": RunError,
    "select": RunError,
    "score": ScoreError,
    "output": OutputError,
    "shard": ShardError,
    "run": RunError,
    "train": TrainError,
}


def class_of(code: str) -> type[SftprepError]:
    """The class of errors with that code."""
    return _BY_CODE.get(code) or _BY_STAGE.get(code.partition(".")[0], SftprepError)


def build(
    code: str,
    message: str,
    path: str | None = None,
    line: int | None = None,
    field: str | None = None,
    hint: str | None = None,
) -> SftprepError:
    """The error of a code; the Rust core raises through this function."""
    error = class_of(code)
    return error(message, code=code, path=path, line=line, field=field, hint=hint)


def _rebuild(error: type[SftprepError], message: str, attributes: dict[str, Any]) -> SftprepError:
    return error(message, **attributes)
