"""What imports what, and what an import costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import modalsplit

ROOT = Path(__file__).parents[1]


def modules_after(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "statement", ["import modalsplit", "import modalsplit.interactions", "import modalsplit.evaluate"]
)
def test_import_loads_no_torch(statement):
    heavy = {"torch", "torchvision", "gensim", "sentence_transformers", "matplotlib"}
    assert not heavy & set(modules_after(statement))


def test_imports_go_one_way():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout


def test_every_public_name_can_be_had():
    for name in modalsplit.__all__:
        assert getattr(modalsplit, name) is not None
    assert set(modalsplit.__all__) <= set(dir(modalsplit))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        modalsplit.nonsense  # noqa: B018


def test_package_does_not_know_the_research_data():
    sources = "".join(path.read_text() for path in (ROOT / "modalsplit").rglob("*.py"))
    assert "../shared" not in sources
