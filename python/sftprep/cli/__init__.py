"""The ``sftprep`` command.

Each subcommand has its file with ``SUMMARY``, ``add_arguments`` and ``run``. Nothing heavy is
imported before a subcommand runs, so that ``--help`` answers at once. Results go to standard
output; progress, notes and errors go to standard error.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys

from sftprep.errors import InternalError, SftprepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType
    from typing import Any, NoReturn

# In the order of the help; each is a module of this package.
_COMMANDS = (
    "pack",
    "plan",
    "write",
    "commit",
    "repack",
    "mix-shards",
    "remask",
    "export",
    "inspect",
    "explain",
    "upload",
    "download",
    "doctor",
    "verify",
    "audit",
    "stats",
    "render",
    "check-template",
    "check",
    "prep",
    "diff",
    "clean",
    "dedup",
    "decontaminate",
    "score",
    "select",
    "mix",
    "split",
    "why",
    "pollute",
    "trees",
    "flan",
    "add-tokens",
    "train",
    "eval",
    "generate",
    "interpolate",
    "errors",
)

_SUMMARY = "Chat data in, packed and provably labelled training shards out."

_EXAMPLES = """\
examples:
  sftprep pack chat.jsonl --tokenizer Qwen/Qwen3-8B --max-len 4096 --out packs/
  sftprep inspect packs/ --row 0
  sftprep verify packs/
  sftprep errors template.undefined
"""

EXIT_CODES = """\
exit codes:
  0 done    1 too many rejected rows, nothing packed, a policy or training failed    2 usage
  3 input    4 output    5 integrity    6 internal    130 interrupted    141 closed pipe
  143 terminated
"""

_COLUMNS = 80
INTERRUPTED, CLOSED_PIPE, TERMINATED = 130, 141, 143


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt, nothing but the top level catches it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; the process's own arguments by default."""
    given = sys.argv[1:] if argv is None else list(argv)
    options = _parser(given).parse_args(given)
    log_json = bool(getattr(options, "log_json", False))
    previous, ours = None, True
    try:
        previous = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        # Signals belong to the main thread; elsewhere whoever owns it answers them.
        ours = False
    try:
        code = int(_module(options.command).run(options))
        sys.stdout.flush()
        return code
    except SftprepError as error:
        _report(error, log_json)
        return exit_code(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("terminated", file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        # Whoever read our output is gone; what Python would still flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except Exception as error:
        import traceback

        traceback.print_exc()
        bug = InternalError(
            f"{type(error).__name__}: {error}",
            hint="please report it with the command and the lines above",
        )
        _report(bug, log_json)
        return exit_code(bug)
    finally:
        if ours:
            signal.signal(signal.SIGTERM, previous)
        if argv is None:
            # The process ends: nobody needs the cycles that the interpreter would look for on its
            # way out, three times over, among all that was imported.
            gc.freeze()


def exit_code(error: SftprepError) -> int:
    """The exit code of a command that ends with this error."""
    from sftprep import _core

    codes = {name: code for name, code, *_ in _core.codes()}
    return codes.get(error.code, codes["run.internal"])


def _report(error: SftprepError, log_json: bool) -> None:
    if log_json:
        from sftprep.progress import JsonLines

        JsonLines().event("error", message=error.message, **error.as_dict())
    else:
        print(f"error{error}", file=sys.stderr)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"sftprep.cli.{command.replace('-', '_')}")


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line: with the options of its command alone, if it names one.

    To import what all commands want took longer than to tokenize a megabyte.
    """
    parser = argparse.ArgumentParser(
        prog="sftprep",
        description=_SUMMARY,
        epilog=f"{_EXAMPLES}\n{EXIT_CODES}",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = argv[:1] if argv and argv[0] in _COMMANDS else _COMMANDS
    for name in named:
        module = _module(name)
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=f"{module.EXAMPLES}\n{EXIT_CODES}",
            formatter_class=_Help,
        )
        module.add_arguments(command)
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """Knows the width of the terminal without `shutil` and the archive formats that it imports.

    A formatter is made for every argument that a parser takes, to try how it would be shown.
    """

    def __init__(self, prog: str, **given: Any) -> None:  # noqa: ANN401 - as argparse wants it
        super().__init__(prog, **{"width": _columns() - 2, **given})


def _columns() -> int:
    """Columns of the terminal, as `shutil.get_terminal_size` has it."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _COLUMNS  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return _COLUMNS


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Prints it and exits."""
        from sftprep import _core

        print(f"sftprep {_core.__version__}")
        parser.exit()
