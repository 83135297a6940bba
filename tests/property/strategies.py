"""Random conversations: the shapes and texts that break templates and masks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = Any

AWKWARD = [
    "<|im_start|>",
    "<|im_end|>",
    "<|im_start|>assistant\n",
    "<think>",
    "</think>",
    "<tool_call>",
    "[INST]",
    "</s>",
    "{{ messages }}",
    "{% endfor %}",
    "\u2028",
    "\x85",
    "\r\n",
    "\x1c",
    "e\u0301",
    "🙂",
    "assistant",
    "\ufeff",
]
text = st.lists(
    st.one_of(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"),
            max_size=12,
        ),
        st.sampled_from(AWKWARD),
        st.sampled_from([" ", "\n", "\n\n", "yes", "no", "你好"]),
    ),
    max_size=5,
).map("".join)
plain_text = st.text(st.sampled_from("abc XYZ.,!?\n你好é🙂"), min_size=1, max_size=40).filter(
    lambda value: bool(value.strip())
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("abcé ", max_size=5), inner, max_size=3),
    ),
    max_leaves=6,
)
arguments = st.dictionaries(st.sampled_from(["city", "n", "ü", "when"]), json_values, max_size=3)


def call(name: str, given: Json) -> Json:
    return {"type": "function", "function": {"name": name, "arguments": given}}


names = st.sampled_from(["get_weather", "search", "ü"])
calls = st.lists(st.builds(call, names, arguments), min_size=1, max_size=2)


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Json]:
    """Messages (mostly in a usual order), sometimes with tools, reasoning and switches."""
    messages: list[dict[str, Json]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(text)})
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(text)})
        answer: dict[str, Json] = {"role": "assistant", "content": draw(text)}
        if draw(st.integers(0, 3)) == 0:
            answer["reasoning_content"] = draw(text)
        if draw(st.integers(0, 3)) == 0:
            answer["tool_calls"] = draw(calls)
            messages += [answer, {"role": "tool", "name": "search", "content": draw(text)}]
            answer = {"role": "assistant", "content": draw(text)}
        messages.append(answer)
    if draw(st.integers(0, 9)) == 0:
        messages = draw(st.permutations(messages))
    out: dict[str, Json] = {"messages": messages}
    if draw(st.integers(0, 2)) == 0:
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        function = {"name": draw(names), "description": draw(text), "parameters": schema}
        out["tools"] = [{"type": "function", "function": function}]
    if draw(st.integers(0, 4)) == 0:
        out["template_kwargs"] = {"enable_thinking": draw(st.booleans())}
    return out
