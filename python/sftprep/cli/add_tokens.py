"""``sftprep add-tokens``: a tokenizer folder with a template's control tokens added."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write a tokenizer folder with a template's control tokens added"

EXAMPLES = """\
examples:
  sftprep add-tokens gpt2/ --for chatml --out gpt2-chatml/
  sftprep add-tokens gpt2/ --for chatml --set-chat-template --eos '<|im_end|>' --out gpt2-chatml/
  sftprep add-tokens base/ --token '<start_of_turn>' --token '<end_of_turn>' --out chat/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("tokenizer", metavar="TOKENIZER", help="a folder, a file, or a hub id")
    parser.add_argument(
        "--for",
        dest="template",
        metavar="TEMPLATE",
        help="add the control tokens (<|…|>) of this template: a built-in name or a file",
    )
    parser.add_argument(
        "--token",
        dest="tokens",
        action="append",
        default=[],
        metavar="TOKEN",
        help="add this token; may be repeated",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new tokenizer folder")
    parser.add_argument(
        "--set-chat-template",
        action="store_true",
        help="store the template of --for in the new folder",
    )
    parser.add_argument("--eos", metavar="TOKEN", help="make this the end-of-sequence token")


def run(options: argparse.Namespace) -> int:
    """Writes the folder and says which ids the tokens have."""
    from sftprep.add_tokens import add_tokens, control_tokens
    from sftprep.errors import ConfigError

    tokens = list(options.tokens)
    source = None
    if options.template is not None:
        source = _template(options.template)
        found = control_tokens(source)
        if not found and not tokens:
            raise ConfigError(
                f"the template {options.template!r} spells no control token of the form <|…|>",
                field="--for",
                hint="name its control tokens with --token",
            )
        tokens = found + tokens
    elif not tokens:
        raise ConfigError("there is nothing to add", field="--for", hint="give --for or --token")
    if options.set_chat_template and source is None:
        raise ConfigError("--set-chat-template needs --for", field="--set-chat-template")

    done = add_tokens(
        options.tokenizer,
        options.out,
        tokens=tokens,
        chat_template=source if options.set_chat_template else None,
        eos=options.eos,
    )
    for token, id_ in done.added.items():
        print(f"added    {id_:>7}  {token}")
    for token, id_ in done.present.items():
        print(f"present  {id_:>7}  {token}")
    print(f"wrote {done.out}: {done.vocab_size} tokens")
    if done.added:
        print(f"resize the model's embeddings to {done.vocab_size} rows before training")
    return 0


def _template(name: str) -> str:
    """The source of a built-in template or of a file."""
    from sftprep import _core
    from sftprep.errors import SourceError

    source = _core.builtin_template(name)
    if source is not None:
        return source
    try:
        return Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{name!r} is neither a built-in template nor a readable file: {error}",
            code="source.missing",
            path=name,
        ) from error
