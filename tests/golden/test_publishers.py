"""The templates of the families that most models are tuned from, shape by shape."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from reference import render as reference

from sftprep import _core
from sftprep.config import json_of

FAMILIES = re.compile(
    r"llama-?3|qwen-?[23]|mistral|ministral|gemma|phi|deepseek|gpt-?oss|glm|kimi|olmo|smollm"
    r"|granite|cohere|command",
    re.IGNORECASE,
)
SHAPES = Path(__file__).parents[2] / "rust/sftprep-core/assets/certify/shapes.json"
PLAIN = ("plain", "multi_turn", "system")
SPOKEN = ("tools", "parallel_tools", "reasoning", "reasoning_history", "reasoning_tools")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return {shape["name"]: shape["row"] for shape in json.loads(SHAPES.read_text("utf-8"))}


def is_whole(template: reference.Template, row: dict[str, Any]) -> bool:
    """Whether transformers' text holds all that the assistant says: answers, reasoning, arguments
    of calls, each in the conversation that ends with its turn."""
    messages = copy.deepcopy(row["messages"])
    for index, message in enumerate(messages):
        said = [message.get("content"), message.get("reasoning_content")]
        for number, call in enumerate(message.get("tool_calls") or []):
            # a name stands in the tool's schema too, a value may stand in the question
            call["function"]["arguments"] = {"key": f"Value{index}x{number}"}
            said.append(f"Value{index}x{number}")
        if message["role"] != "assistant":
            continue
        text = reference.render(
            template.source, template.special, messages[: index + 1], tools=row.get("tools")
        )
        if any(part and part.strip() not in text for part in said):
            return False
    return True


@pytest.mark.parametrize("names", [PLAIN, SPOKEN], ids=["plain", "tools and reasoning"])
def test_every_shape_that_the_template_supports_is_proven(
    data: Path, rows: dict[str, dict[str, Any]], names: tuple[str, ...]
) -> None:
    wrong, proven = [], 0
    templates = [
        template
        for template in reference.shared_templates(data / "chat_templates")
        if FAMILIES.search(template.name.replace("llamacpp", "").replace("llama-cpp", ""))
    ]
    assert len(templates) > 60
    for template in templates:
        certificate = json.loads(_core.check_template(template.source, json_of({})))
        for shape in certificate["shapes"]:
            if shape["name"] not in names or shape["outcome"] == "template_refuses":
                continue
            if shape["outcome"] == "proven":
                proven += 1
            elif is_whole(template, rows[shape["name"]]):
                rules = [turn["detail"] for turn in shape["turns"] if turn["rule"]]
                wrong.append(f"{template.name}, {shape['name']}: {rules or shape['error']}")
    print(f"\n{len(templates)} templates, {proven} shapes proven")
    assert not wrong, "\n".join(wrong)
