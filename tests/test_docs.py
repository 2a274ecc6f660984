"""The README and the guides run as printed; the API page names every public object."""

import re
from pathlib import Path

import pytest
import torch

import modalsplit

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_code_on_the_page_runs(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    state = {}
    torch.manual_seed(0)
    for block in blocks:
        exec(compile(block, str(page), "exec"), state)


def test_api_page_names_every_public_object():
    page = (ROOT / "docs" / "api.md").read_text()
    missing = [name for name in modalsplit.__all__ if f"::: modalsplit.{name}" not in page]
    assert not missing


def test_pages_in_the_navigation_exist():
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert named
    assert [page for page in named if not (ROOT / "docs" / page).exists()] == []


def test_version_heads_the_changelog():
    assert f"## {modalsplit.__version__}" in (ROOT / "docs" / "changelog.md").read_text()
