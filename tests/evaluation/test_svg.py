"""Plots: well-formed, to scale, and honest about what is missing."""

import re
from xml.etree import ElementTree

import pytest

from proxymask.evaluation.svg import bars, lines

SPACE = "{http://www.w3.org/2000/svg}"


def test_bars_are_to_scale() -> None:
    root = ElementTree.fromstring(bars("a < b", ["x", "y"], {"one": [1.0, 0.5], "two": [None, float("nan")]}))
    heights = {rect.find(f"{SPACE}title").text: float(rect.get("height")) for rect in root.iter(f"{SPACE}rect") if len(rect)}
    assert set(heights) == {"x: 1", "y: 0.5"}  # what was not measured has no bar
    assert heights["x: 1"] == pytest.approx(2 * heights["y: 0.5"], rel=0.01)
    assert "a < b" in [text.text for text in root.iter(f"{SPACE}text")]


def test_lines_are_to_scale() -> None:
    text = lines("t", {"s": [(0, 0.0), (10, 10.0), (5, 5.0)], "empty": []}, "steps", levels={"floor": 2.5, "unknown": float("nan")})
    root = ElementTree.fromstring(text)
    points = [tuple(map(float, p.split(","))) for p in next(iter(root.iter(f"{SPACE}polyline"))).get("points").split()]
    assert points == sorted(points)
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    dashed = [line for line in root.iter(f"{SPACE}line") if line.get("stroke-dasharray")]
    assert len(dashed) == 1
    assert float(dashed[0].get("y1")) == pytest.approx(y0 - (y0 - y2) / 4, abs=0.2)
    assert not re.search("nan", text.replace("unknown", ""))


def test_nothing_to_plot() -> None:
    for text in (bars("empty", [], {}), lines("empty", {}, "x"), lines("one", {"s": [(3, 1e-9)]}, "x", log_x=True)):
        ElementTree.fromstring(text)
