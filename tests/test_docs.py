"""The pages run as printed, say why a block does not, and name what there is."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

import modalsplit

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", flags=re.DOTALL | re.MULTILINE)
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("[gt]*/*.md"))]
    if any(language == "python" for _, language, _ in BLOCK.findall(page.read_text()))
]


def test_all_folders_of_pages_with_code_are_looked_at():
    assert {page.parent.name for page in PAGES} >= {"guide", "tutorials", "docs", ROOT.name}
    rest = set(DOCS.rglob("*.md")) - set(PAGES) - set((DOCS / "generated").rglob("*"))
    assert [page for page in rest if "```python" in page.read_text()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_code_on_the_page_runs(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # pages write files
    mpl.use("Agg")
    state = {}
    torch.manual_seed(0)
    text = page.read_text()
    for match in BLOCK.finditer(text):
        if match[2] == "python":
            line = text[: match.start()].count("\n") + 1
            exec(compile("\n" * line + match[3], str(page), "exec"), state)


def test_a_block_that_is_not_run_says_why():
    """Python that tests cannot run is marked ``py``, below a comment ``<!-- not run: reason -->``."""
    silent = [
        (page.name, code)
        for page in [ROOT / "README.md", *DOCS.rglob("*.md")]
        for before, code in re.findall(r"([^\n]*)\n```py\n(.*?)```", page.read_text(), flags=re.DOTALL)
        if not re.fullmatch(r"<!-- not run: \w.+ -->", before)
    ]
    assert silent == []


def test_api_pages_name_every_public_object():
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    missing = [name for name in modalsplit.__all__ if f"::: modalsplit.{name}\n" not in pages]
    assert not missing


def test_pages_in_the_navigation_exist():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    named = re.findall(r"[\w/-]+\.md", navigation)
    assert named
    assert [page for page in named if not (DOCS / page).exists()] == []


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_version_heads_the_changelog():
    assert f"## {modalsplit.__version__}" in (DOCS / "changelog.md").read_text()
