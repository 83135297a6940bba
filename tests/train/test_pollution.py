"""Wrong answers cost: held-out loss rises with the share of answers that are exchanged."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

pytest.importorskip("torch", reason="the trainer needs torch")
pytest.importorskip("transformers", reason="the trainer needs transformers")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "pollution_curve", ROOT / "examples" / "pollution_curve.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_tells_what_it_shows(example: ModuleType) -> None:
    points = [
        {"rate": rate, "seed": seed, "spoiled": 0, "loss": 0.1 + rate + seed / 100}
        for rate in (0.0, 0.1, 0.4)
        for seed in range(2)
    ]
    picture = ET.fromstring(example.picture(points))
    circles = picture.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(points)
    told = picture.find("{http://www.w3.org/2000/svg}desc")
    assert told is not None and told.text == "0%: 0.105; 10%: 0.205; 40%: 0.505"


@pytest.mark.slow
def test_held_out_loss_rises_with_exchanged_answers(example: ModuleType, tmp_path: Path) -> None:
    rates = [0.0, 0.1, 0.2, 0.4]
    points = example.curve(tmp_path, rates, 3, 250)
    means = [sum(it["loss"] for it in points if it["rate"] == rate) / 3 for rate in rates]
    print([f"{mean:.3f}" for mean in means])
    assert all(a < b for a, b in pairwise(means)), means
