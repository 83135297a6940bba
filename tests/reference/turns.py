"""Where an assistant turn starts and stops, found out by rendering other conversations.

What belongs to whom comes from Jinja2 run on strings with origins (`engine`). The start comes from
the conversation before the turn, rendered with a generation prompt; the stop from the conversation
cut or continued differently after the turn. A boundary that those renderings cannot fix is None,
never a guess. Positions are characters of the rendering.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import render as reference
from .engine import Rendered, Unjudgeable, render

Json = Any
Span = tuple[int, int]

SENTINEL = "\ue000"
TOKEN_LIKE = re.compile(
    r"<[|｜][^<>|｜\s]{1,60}[|｜]>|<[|｜][^<>]{1,40}[|｜]>|</?[A-Za-z_][\w:.\-]{0,40}>"
    r"|\[/?[A-Z_]{2,30}\]|\[\|[^\[\]|]{1,40}\|\]"
)
THINKING = re.compile(r"(</?[^<>\s]*(?:think|thought|reason)[^<>\s]*>\s*)+$", re.IGNORECASE)
CLOSING = re.compile(r"""[\s\]})"',.]*""")
"""What only closes brackets and quotes, and stops nothing."""
SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")
SPOKEN = ("content", "reasoning_content", "thinking", "reasoning", "tool_calls")
NOT_SPOKEN = ("id", "type", "index")


@dataclass(frozen=True)
class Expected:
    """What the judge knows about one assistant turn of one rendering."""

    message: int
    first: int
    """Position of the first character that the turn itself brought."""
    last: int
    """Position after the last such character."""
    starts: tuple[int, ...]
    """Where the span may start, best proof first; empty: not known."""
    stop: int | None
    """Position after the stop token; None: not known."""
    spoken: frozenset[int]
    """Positions of the turn's own content, first occurrences."""
    shift: int | None = None
    """Set for an empty turn: there is no content, and this is where it would stand."""


class Case:
    """One conversation under one template, with its renderings remembered."""

    def __init__(
        self,
        source: str,
        special: Mapping[str, str],
        conversation: Mapping[str, Json],
    ) -> None:
        """Renders the conversation.

        Raises:
            Unjudgeable: the reference does not render it.
        """
        self.source, self.special = source, dict(special)
        self.messages: list[dict[str, Json]] = list(conversation["messages"])
        self.tools = conversation.get("tools")
        kwargs = conversation.get("template_kwargs") or conversation.get("kwargs")
        self.kwargs: dict[str, Json] = dict(kwargs or {})
        self._prelude: set[str] | None = None
        self.whole = self.render(
            self.messages, bool(conversation.get("add_generation_prompt", False))
        )

    def render(
        self,
        messages: Sequence[dict[str, Json]],
        prompt: bool = False,
        switches: Mapping[str, Json] | None = None,
        tools: bool = True,
    ) -> Rendered:
        """A rendering of other messages under the same template."""
        return render(
            self.source,
            self.special,
            messages,
            tools=self.tools if tools else None,
            add_generation_prompt=prompt,
            kwargs=self.kwargs | dict(switches or {}),
        )

    def attempt(
        self,
        messages: Sequence[dict[str, Json]],
        prompt: bool = False,
        switches: Mapping[str, Json] | None = None,
    ) -> Rendered | None:
        """As `render`, None where the template refuses."""
        try:
            return self.render(messages, prompt, switches)
        except Unjudgeable:
            return None

    def text(
        self,
        messages: Sequence[dict[str, Json]],
        prompt: bool = False,
        switches: Mapping[str, Json] | None = None,
    ) -> str | None:
        """The bare text of a rendering, None where the template refuses."""
        try:
            return reference.render(
                self.source,
                self.special,
                messages,
                tools=self.tools,
                add_generation_prompt=prompt,
                kwargs=self.kwargs | dict(switches or {}),
            )
        except Exception:  # a template may raise anything at all
            return None

    def prelude(self) -> set[str]:
        """Token-like text that opens a conversation: no stop token, whatever follows a turn."""
        if self._prelude is None:
            opening = [{"role": "system", "content": "Z"}, {"role": "user", "content": "Z"}]
            text = ""
            for messages in (opening, opening[1:]):
                try:
                    shown = self.render(messages, tools=False)
                except Unjudgeable:
                    continue
                coded = [i for i, code in enumerate(shown.codes) if code]
                if coded:
                    text = shown.text[: coded[0]]
                    break
            self._prelude = set(TOKEN_LIKE.findall(text)) - {self.special.get("eos_token", "")}
        return self._prelude


def is_spoken(path: tuple[str, ...]) -> bool:
    """Whether a leaf of an assistant message is something the model is to say."""
    return bool(path) and path[0] in SPOKEN and path[-1] not in NOT_SPOKEN


def positions(shown: Rendered, message: int) -> tuple[list[int], list[int]]:
    """First occurrences of a message's characters: all of them, and the spoken ones."""
    seen: set[int] = set()
    every, spoken = [], []
    for position, code in enumerate(shown.codes):
        if code == 0 or code in seen:
            continue
        owner = shown.owner(position)
        if owner is not None and owner[0] == message:
            if len(shown.leaves.owners) and code > 0:
                seen.add(code)
            every.append(position)
            if is_spoken(owner[1]):
                spoken.append(position)
    return every, spoken


def common_prefix(*texts: str) -> str:
    """The longest text with which all of them begin."""
    low, high = min(texts), max(texts)
    size = next((i for i, char in enumerate(low) if high[i : i + 1] != char), len(low))
    return low[:size]


def literal_after(shown: Rendered, position: int) -> str:
    """The template's own text from a position to the next character of some input."""
    end = position
    while end < len(shown.text) and shown.codes[end] == 0:
        end += 1
    return shown.text[position:end]


def gap_before(shown: Rendered, message: int, position: int) -> int:
    """Where the template's own text (and the turn's unspoken fields) before a position begins."""
    start = position
    while start > 0:
        owner = shown.owner(start - 1)
        if owner is not None and owner[0] != message:
            break
        start -= 1
    return start


def _switchings(case: Case) -> list[dict[str, Json]]:
    """The thinking switches that the template reads, each on and off; the default first."""
    values: dict[str, tuple[Json, ...]] = {
        "enable_thinking": (True, False),
        "thinking": (True, False),
        "reasoning_effort": ("low", "high"),
    }
    out: list[dict[str, Json]] = [{}]
    for name in SWITCHES:
        if re.search(rf"\b{name}\b", case.source) and name not in case.kwargs:
            out += [{name: value} for value in values[name]]
    return out


def _starts(case: Case, message: int, first: int) -> list[int]:
    """Where the turn may start: after its generation prompt, found in other renderings."""
    shown = case.whole
    before = case.messages[:message]
    begin = gap_before(shown, message, first)
    region = shown.text[begin:first]
    exact: list[int] = []
    other: list[int] = []
    for switches in _switchings(case):
        prompted = case.text(before, True, switches)
        if prompted is None:
            continue
        plain = case.text(before, False, switches)
        if shown.text.startswith(prompted) and len(prompted) <= first:
            exact.append(_past_header(case, message, prompted, plain))
            continue
        if not switches:
            other += _by_tail(case.attempt(before, True), begin, region)
        if plain is not None and prompted.startswith(plain):
            other += _by_search(prompted[len(plain) :], begin, region)
    if not exact and not other:
        ended, opened = case.text(case.messages), case.text(case.messages, True)
        if ended and opened and opened.startswith(ended):
            other += _by_search(opened[len(ended) :], begin, region)
    return list(dict.fromkeys([*exact, *other]))


def _past_header(case: Case, message: int, prompted: str, plain: str | None) -> int:
    """The end of a prompt that the text begins with, moved past a header it may lack.

    A template that ignores add_generation_prompt and gives no header at inference still writes
    one in training; it is what stands before a plain answer's text.
    """
    end = len(prompted)
    if plain is not None and plain != prompted:
        return end
    simple = {"role": "assistant", "content": "Z" + SENTINEL}
    probe = case.attempt([*case.messages[:message], simple])
    if probe is None or not probe.text.startswith(prompted):
        return end
    _, spoken = positions(probe, message)
    gap = probe.text[end : spoken[0]] if spoken else ""
    return end if not THINKING.sub("", gap).strip() else end + len(gap)


def _by_tail(prompted: Rendered | None, begin: int, region: str) -> list[int]:
    """The literal end of the prompt, matched where the turn's own literal region begins."""
    if prompted is None:
        return []
    coded = [i for i, code in enumerate(prompted.codes) if code]
    tail = prompted.text[coded[-1] + 1 if coded else 0 :]
    matched = len(common_prefix(tail, region))
    rest = tail[matched:]
    if tail[:matched].strip() and (not rest.strip() or THINKING.fullmatch(rest)):
        return [begin + matched]
    return []


def _by_search(prompt: str, begin: int, region: str) -> list[int]:
    """The prompt's own text, searched in the turn's literal region; the nearest counts."""
    for wanted in (prompt, THINKING.sub("", prompt)):
        at = region.rfind(wanted.rstrip())
        if wanted.strip() and at >= 0:
            return [begin + at + len(common_prefix(wanted, region[at:]))]
    return []


def _stop(case: Case, message: int, last: int, begin: int) -> int | None:
    """Position after the stop token: what follows the turn whatever comes next."""
    shown = case.whole
    after = literal_after(shown, last)
    upto = case.messages[: message + 1]
    continued = [
        case.attempt([*upto, {"role": "user", "content": "Z"}]),
        case.attempt(upto, True),
    ]
    follows = []
    for other in continued:
        every = positions(other, message)[0] if other else []
        if other and every:
            follow = literal_after(other, every[-1] + 1)
            # With nothing after it the turn was continued, not ended.
            follows += [follow] if follow.strip() else []
    spoken = shown.text[begin:last]
    cut = case.attempt(upto)
    ended = positions(cut, message)[0] if cut else []
    if cut and ended:
        ending = literal_after(cut, ended[-1] + 1)
        end = _shared_stop(case, common_prefix(after, ending, *follows), ending, spoken)
        if end is not None:
            return last + end
    if follows and message + 1 < len(case.messages):
        end = _inner_stop(case, common_prefix(after, *follows), spoken)
        if end is not None:
            return last + end
    return None


def _shared_stop(case: Case, shared: str, ending: str, spoken: str) -> int | None:
    """End of the stop in what follows the turn whether or not anything comes after it."""
    tokens = _tokens(case, shared, spoken)
    certain = [token for token in tokens if token[0] not in case.prelude()]
    if certain:
        return _unless_spelled(shared, certain[-1].end())
    if shared.rstrip() != ending.rstrip():
        return None
    if tokens:
        return tokens[0].end() if len(tokens) == 1 else None
    # No token at all, but some text always ends the turn: that is its stop.
    closers = TOKEN_LIKE.sub("", shared)
    return None if CLOSING.fullmatch(closers) else len(shared.rstrip())


def _inner_stop(case: Case, shared: str, spoken: str) -> int | None:
    """End of the stop where the template writes it only between turns."""
    tokens = _tokens(case, shared, spoken)
    certain = [token for token in tokens if token[0] not in case.prelude()]
    if certain:
        return _unless_spelled(shared, certain[0].end())
    # The last one may open the next turn; a stop has something of its own after it.
    return tokens[0].end() if len(tokens) > 1 else None


def _unless_spelled(shared: str, end: int) -> int | None:
    """None if words follow the token directly: then it is one piece of a longer stop."""
    return None if shared[end : end + 1].isalnum() else end


def _tokens(case: Case, text: str, spoken: str) -> list[re.Match[str]]:
    """Token-like text, but for what closes a tag that the turn itself opened."""
    eos = case.special.get("eos_token")
    found = list(TOKEN_LIKE.finditer(text))
    if eos and not TOKEN_LIKE.fullmatch(eos):
        found += list(re.finditer(re.escape(eos), text))
    out = []
    for match in sorted(found, key=lambda m: m.start()):
        token = match[0]
        opened = token.startswith(("</", "[/")) and (token[0] + token[2:]) in spoken
        if token == eos or not opened:
            out.append(match)
    return out


def expect(case: Case, message: int) -> Expected | None:
    """What the span of an assistant turn must be; None where its content is not rendered."""
    every, spoken = positions(case.whole, message)
    if not spoken:
        return _expect_empty(case, message)
    first, last = spoken[0], max(every[-1], spoken[-1]) + 1
    starts = _starts(case, message, first)
    begin = starts[0] if starts else first
    return Expected(
        message=message,
        first=first,
        last=last,
        starts=tuple(starts),
        stop=_stop(case, message, last, begin),
        spoken=frozenset(spoken),
    )


def _expect_empty(case: Case, message: int) -> Expected | None:
    """An empty turn: one character is put in its place, and taken out of the result again."""
    original = case.messages[message]
    if any(original.get(name) for name in SPOKEN):
        return None
    filled = list(case.messages)
    filled[message] = original | {"content": SENTINEL}
    conversation = {"messages": filled, "tools": case.tools, "kwargs": case.kwargs}
    try:
        other = Case(case.source, case.special, conversation)
    except Unjudgeable:
        return None
    if other.whole.text.count(SENTINEL) != 1:
        return None
    at = other.whole.text.index(SENTINEL)
    if other.whole.text.replace(SENTINEL, "") != case.whole.text:
        return None
    found = expect(other, message)
    if found is None:
        return None
    return Expected(
        message=message,
        first=at,
        last=at,
        starts=found.starts,
        stop=None if found.stop is None else found.stop - 1,
        spoken=frozenset(),
        shift=at,
    )
