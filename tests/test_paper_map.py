"""Every name and parameter on the page from the paper to the code exists."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "paper-map.md").read_text(encoding="utf-8")
SPANS = sorted(set(re.findall(r"`(modalsplit\.[^`]+?)`", PAGE)))


def find(name):
    """Import the longest module in a dotted name, and look up the rest."""
    parts = name.split(".")
    found, inside = import_module(parts[0]), parts[1:]
    for n, part in enumerate(inside, start=2):
        found = getattr(found, part, None) or import_module(".".join(parts[:n]))
    return found


def test_the_page_names_much_of_the_library():
    named = {span.split("(")[0] for span in SPANS}
    assert len(named) > 40
    for equation in (*range(1, 6), *range(8, 15)):
        assert re.search(rf"Eq\. {equation}\b", PAGE), equation


@pytest.mark.parametrize("span", SPANS)
def test_a_name_and_its_parameters_exist(span):
    expression = ast.parse(span, mode="eval").body
    keywords = {}
    if isinstance(expression, ast.Call):
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in expression.keywords}
        assert not expression.args
        expression = expression.func
    found = find(ast.unparse(expression))
    assert callable(found)
    unknown = keywords and keywords.keys() - inspect.signature(found).parameters.keys()
    assert not unknown, f"{found} has no parameter {unknown}"
    if keywords and hasattr(found, "_parameter_constraints"):
        found(**keywords)._validate_params()  # the values are allowed


def test_parameters_without_their_class_exist():
    """A span such as `ties="pessimistic"` belongs to something that is named in the same row."""
    for row in PAGE.splitlines():
        classes = [find(name) for name in re.findall(r"`(modalsplit\.[\w.]+)", row)]
        for name in re.findall(r"`(\w+)=[^`]*`", row) if classes else []:
            assert any(name in inspect.signature(found).parameters for found in classes), (name, row)


def test_linked_pages_exist():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []
