"""Readers of the paper's data sets and of ours, from the files that their makers publish.

They return what the files hold; `prepare` does the paper's preprocessing.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.paper.readers.allrecipes import read_allrecipes
from benchmarks.paper.readers.amazon import read_amazon
from benchmarks.paper.readers.catalogue import Catalogue, drop_incomplete, prepare
from benchmarks.paper.readers.movielens import read_movielens
from benchmarks.paper.readers.wines import read_wines
from benchmarks.paper.readers.yelp import read_yelp

READERS: dict[str, Callable[[Path], Catalogue]] = {
    "clothing": read_amazon,
    "yelp": read_yelp,
    "allrecipes": read_allrecipes,
    "ml-latest-small": read_movielens,
    "ml-100k": partial(read_movielens, name="ml-100k"),
    "wines": read_wines,
}

__all__ = ["READERS", "Catalogue", "drop_incomplete", "prepare"]
