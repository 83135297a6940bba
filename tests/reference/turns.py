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
    r"|<\|?[A-Za-z_][\w.\-]{0,30}\|>|<\|[A-Za-z_][\w.\-]{0,30}>|\[/?[A-Z_]{2,30}\]|\[\|[^\[\]|]{1,40}\|\]"
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
    near: tuple[int, ...]
    """Where it may start but for white space of the template's own, which differs there."""
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
            shapes = [(opening, False), (opening[1:], False), (opening, True), (opening[1:], True)]
            for messages, tools in shapes:
                try:
                    shown = self.render(messages, tools=tools)
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


def _starts(case: Case, message: int, first: int) -> tuple[list[int], list[int]]:
    """Where the turn may start, after its generation prompt as other renderings show it.

    The second list holds what matched only but for the amount of white space.
    """
    shown = case.whole
    before = case.messages[:message]
    begin = gap_before(shown, message, first)
    region = shown.text[begin:first]
    exact: list[int] = []
    other: list[tuple[int, bool]] = []
    for switches in _switchings(case):
        prompted = case.text(before, True, switches)
        if prompted is None:
            continue
        plain = case.text(before, False, switches)
        if shown.text.startswith(prompted) and len(prompted) <= first:
            exact.append(_past_header(case, message, prompted, plain))
            continue
        # Behind an assistant's turn, a template that ignores the prompt shows its stop, no header.
        stop_only = plain == prompted and bool(before) and before[-1].get("role") == "assistant"
        if not switches and not stop_only:
            other += _by_tail(case.attempt(before, True), begin, region)
        if plain is not None and prompted.startswith(plain):
            other += _by_search(prompted[len(plain) :], begin, region)
    if not exact and not other:
        for switches in _switchings(case):
            ended = case.text(case.messages, False, switches)
            opened = case.text(case.messages, True, switches)
            if ended and opened and opened.startswith(ended):
                other += _by_search(opened[len(ended) :], begin, region)
    exact += [start for start, strictly in other if strictly]
    near = [start for start, strictly in other if not strictly]
    return list(dict.fromkeys(exact)), list(dict.fromkeys(near))


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
    header = THINKING.sub("", gap).strip() and case.whole.text.startswith(gap, end)
    return end + len(gap) if header else end


def _by_tail(prompted: Rendered | None, begin: int, region: str) -> list[tuple[int, bool]]:
    """The literal end of the prompt, matched where the turn's own literal region begins."""
    if prompted is None:
        return []
    coded = [i for i, code in enumerate(prompted.codes) if code]
    tail = prompted.text[coded[-1] + 1 if coded else 0 :]
    used, matched = loose_prefix(tail, region)
    rest = tail[used:]
    if tail[:used].strip() and (not rest.strip() or THINKING.fullmatch(rest.lstrip())):
        return [(begin + matched, tail[:used] == region[:matched] and not rest.isspace())]
    return []


def loose_prefix(wanted: str, text: str) -> tuple[int, int]:
    """How far two texts agree but for the amount of white space: the lengths in either."""
    i = j = 0
    while i < len(wanted) and j < len(text):
        if wanted[i] == text[j]:
            i, j = i + 1, j + 1
        elif wanted[i].isspace() or text[j].isspace():
            i2 = i + len(wanted[i:]) - len(wanted[i:].lstrip())
            j2 = j + len(text[j:]) - len(text[j:].lstrip())
            if i2 == len(wanted) or j2 == len(text) or wanted[i2] != text[j2]:
                break
            i, j = i2, j2
        else:
            break
    return i, j


def _by_search(prompt: str, begin: int, region: str) -> list[tuple[int, bool]]:
    """The prompt's own text, searched in the turn's literal region; the nearest counts."""
    for wanted in (prompt, THINKING.sub("", prompt)):
        words = wanted.split()
        at = region.rfind(words[0]) if words else -1
        if at < 0:
            continue
        used, matched = loose_prefix(wanted.lstrip(), region[at:])
        header = wanted.lstrip()
        if not header[used:].strip():
            strictly = header == region[at : at + matched]
            return [(begin + at + matched, strictly)]
    return []


def _copies(case: Case, message: int) -> str:
    """What a turn writes after its last character that is new, such as a tag's name again.

    In the conversation that ends with the turn, all that is of the message belongs to the turn.
    """
    cut = case.attempt(case.messages[: message + 1])
    every = positions(cut, message)[0] if cut else []
    if not cut or not every:
        return ""
    own = [p for p in range(every[-1] + 1, len(cut.text)) if _owner_is(cut, p, message)]
    return cut.text[every[-1] + 1 : own[-1] + 1] if own else ""


def _owner_is(shown: Rendered, position: int, message: int) -> bool:
    owner = shown.owner(position)
    return owner is not None and owner[0] == message


def _own_end(shown: Rendered, position: int, copies: str) -> int:
    """The end of a turn's own text: past the copies, if they are there."""
    return position + len(copies) if shown.text.startswith(copies, position) else position


def _stop(case: Case, message: int, last: int, begin: int, copies: str) -> int | None:
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
            follow = literal_after(other, _own_end(other, every[-1] + 1, copies))
            # With nothing after it the turn was continued, not ended.
            follows += [follow] if follow.strip() else []
    spoken = shown.text[begin:last]
    cut = case.attempt(upto)
    ended = positions(cut, message)[0] if cut else []
    if cut and ended:
        ending = literal_after(cut, _own_end(cut, ended[-1] + 1, copies))
        end = _shared_stop(
            case, common_prefix(after, ending, *follows), ending, spoken, followed=bool(follows)
        )
        if end is not None:
            return last + end
    if follows and message + 1 < len(case.messages):
        end = _inner_stop(case, common_prefix(after, *follows), after, spoken)
        if end is not None:
            return last + end
    return None


def _shared_stop(
    case: Case, shared: str, ending: str, spoken: str, *, followed: bool
) -> int | None:
    """End of the stop in what follows the turn whether or not anything comes after it."""
    tokens = _tokens(case, shared, spoken)
    if len({token[0] for token in tokens}) < len(tokens) > 2:
        return None  # with other tokens between, one closes the turn twice: no telling which does
    whole = shared.rstrip() == ending.rstrip()
    certain = [token for token in tokens if token[0] not in case.prelude()]
    rest = TOKEN_LIKE.sub("", shared[certain[-1].end() :]) if certain else ""
    if tokens and whole and followed and not any(char.isalnum() for char in rest):
        # All of the ending is written whatever follows, and nothing else is: it ends the turn.
        # Words in it would be the header of a turn that the template opens in any case.
        return tokens[-1].end()
    if certain:
        return _unless_spelled(shared, certain[-1].end())
    if tokens or not whole:
        return None
    # No token at all, but some text always ends the turn: that is its stop.
    closers = TOKEN_LIKE.sub("", shared)
    return None if CLOSING.fullmatch(closers) else len(shared.rstrip())


def _inner_stop(case: Case, shared: str, after: str, spoken: str) -> int | None:
    """End of the stop where the template writes it only between turns."""
    tokens = _tokens(case, shared, spoken)
    certain = [token for token in tokens if token[0] not in case.prelude()]
    if certain:
        # More than the next turn's opening token after it: it may only be a part of the ending.
        alone = len({token[0] for token in certain}) == 1 and tokens.index(certain[0]) + 2 >= len(
            tokens
        )
        return _unless_spelled(after, certain[0].end()) if alone else None
    # Of two, the second opens the next turn; of more, no telling which one stops.
    return tokens[0].end() if len(tokens) == 2 else None


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
        # The opening tag may have attributes.
        opened = token.startswith(("</", "[/")) and (token[0] + token[2:-1]) in spoken
        if token == eos or not opened:
            out.append(match)
    return out


def expect(case: Case, message: int) -> Expected | None:
    """What the span of an assistant turn must be; None where its content is not rendered."""
    every, spoken = positions(case.whole, message)
    if not spoken:
        return _expect_empty(case, message)
    copies = _copies(case, message)
    first, last = spoken[0], _own_end(case.whole, max(every[-1], spoken[-1]) + 1, copies)
    starts, near = _starts(case, message, first)
    begin = min([*starts, *near, first])
    return Expected(
        message=message,
        first=first,
        last=last,
        starts=tuple(starts),
        near=tuple(near),
        stop=_stop(case, message, last, begin, copies),
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
        near=found.near,
        stop=None if found.stop is None else found.stop - 1,
        spoken=frozenset(),
        shift=at,
    )
