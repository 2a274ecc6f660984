"""The pictures say what is so."""

import tomllib
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


def test_the_picture_of_the_layers_shows_those_that_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    picture = ElementTree.parse(ROOT / "docs" / "assets" / "architecture.svg")
    shown = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    rows = [layer.replace(" | ", " · ") for layer in layers]
    assert [text for text in shown if text in rows] == rows
