"""X-Wines, which is part of modalsplit."""

from pathlib import Path

from benchmarks.paper.readers.catalogue import Catalogue
from modalsplit.datasets import load_wines


def read_wines(folder: Path | None = None) -> Catalogue:
    """Read the wines, their profiles and texts; there are no pictures, and the folder is not looked at."""
    data = load_wines()
    return Catalogue("wines", data.items, data.interactions)
