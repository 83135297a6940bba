"""``sftprep generate``: answers from a model."""

from __future__ import annotations

import argparse
import sys

from sftprep.cli.options import whole

SUMMARY = "answer a prompt with a model, with a budget of thinking if asked for"

EXAMPLES = """\
examples:
  sftprep generate run/model 'Who has the cat?'
  echo 'Once upon a time' | sftprep generate base/ - --raw
  sftprep generate run/model 'What is 17 * 23?' --think-budget 200:2000 --wait 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("model", metavar="MODEL", help="folder of a transformers model")
    parser.add_argument("prompt", metavar="PROMPT", help="what the user says; - reads it")
    parser.add_argument("--system", metavar="TEXT", help="a system message before it")
    parser.add_argument(
        "--raw", action="store_true", help="continue the text itself, without the chat template"
    )
    parser.add_argument(
        "--max-tokens", type=whole, default=256, metavar="N", help="longest answer (default 256)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="0: the likeliest token each time (default)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of the dice (default 0)")
    parser.add_argument(
        "--think-budget",
        type=_range,
        metavar="MIN:MAX",
        help="thinking is not to end before MIN tokens, and ends after MAX",
    )
    parser.add_argument(
        "--wait",
        type=whole,
        default=1,
        metavar="N",
        help="how often an early end is put off (default 1)",
    )
    parser.add_argument(
        "--wait-text",
        default="Wait",
        metavar="TEXT",
        help="what is put in its place (default Wait)",
    )
    parser.add_argument(
        "--think-end", default="</think>", metavar="TEXT", help="ends thinking (default </think>)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to (default cpu)"
    )


def _range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not (colon and low.isdigit() and high.isdigit() and int(low) <= int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MIN:MAX")
    return int(low), int(high)


def run(options: argparse.Namespace) -> int:
    """Prints the answer."""
    from sftprep.errors import ConfigError

    try:
        from sftprep.models import generate as by
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"generation needs {error.name}, which is not installed",
            hint="pip install 'sftprep[train]'",
        ) from error
    model, tokenizer = by.load(options.model, options.device)
    text = sys.stdin.read() if options.prompt == "-" else options.prompt
    if not options.raw:
        if tokenizer.chat_template is None:
            raise ConfigError(
                "the model has no chat template",
                path=options.model,
                hint="add --raw to continue text",
            )
        messages = [{"role": "user", "content": text}]
        if options.system is not None:
            messages.insert(0, {"role": "system", "content": options.system})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    budget = None
    if options.think_budget is not None:
        low, high = options.think_budget
        end, wait = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (options.think_end, options.wait_text)
        )
        budget = by.Budget(low=low, high=high, waits=options.wait, end=end, wait=wait)
    prompt = tokenizer(text, add_special_tokens=options.raw)["input_ids"]
    answer = by.generate(
        model,
        prompt,
        stop=by.stops(model, tokenizer),
        most=options.max_tokens,
        temperature=options.temperature,
        seed=options.seed,
        budget=budget,
    )
    print(tokenizer.decode(answer))
    return 0
