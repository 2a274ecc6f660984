"""From what a rival learned to comparable parts: how many directions are shared, and what they leave.

A rival gives two matrices of encodings. The common parts are these, or their canonical variates; the specific
parts are what the least-squares projection on the common part leaves of each view's principal components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from benchmarks.representation.data import Array, Views

Encode = Callable[[Views], Views]

# Directions of a view's encodings below this share of the largest one are rounding.
SMALLEST_DIRECTION = 1e-5
N_PERMUTATIONS = 20


class Parts(NamedTuple):
    """The parts of some rows: matrices of shape (n_rows, n_components), one a view."""

    common: Views
    specific: Views


Split = Callable[[Views], Parts]


class Outcome(NamedTuple):
    """What a method made of a data set.

    Attributes
    ----------
    method : str
        Its name in the tables.
    split : callable or None
        From two views to their parts; None if there is none.
    seconds : float
        Wall-clock time of search and fit.
    rank : int or None
        How many common directions it kept.
    chosen : str
        The settings that its search chose, or what happened.
    """

    method: str
    split: Split | None
    seconds: float
    rank: int | None = None
    chosen: str = ""


class Agreement(NamedTuple):
    """What unseen rows say: sum of squared correlations above chance, and how many there are."""

    score: float
    rank: int


class Readout:
    """Canonical variates of encodings, each scaled by the root of its correlation.

    The scale is the expected value of a shared variable of unit variance, given the view (Bach and Jordan, 2005).

    Parameters
    ----------
    encodings : tuple of two ndarray of shape (n_rows, n_columns)
        Of the rows to fit on.
    """

    def __init__(self, encodings: Views) -> None:
        self.means = [z.mean(axis=0) for z in encodings]
        whiteners = [_whitening(z - mean) for z, mean in zip(encodings, self.means, strict=True)]
        white = [(z - mean) @ w for z, mean, w in zip(encodings, self.means, whiteners, strict=True)]
        left, self.correlations, right = np.linalg.svd(white[0].T @ white[1] / len(white[0]), full_matrices=False)
        self.maps = [whiteners[0] @ left, whiteners[1] @ right.T]

    def __call__(self, encodings: Views, rank: int) -> Views:
        scale = np.sqrt(np.clip(self.correlations[:rank], 0, 1))
        first, second = (
            (z - mean) @ directions[:, :rank] * scale
            for z, mean, directions in zip(encodings, self.means, self.maps, strict=True)
        )
        return first, second


def _whitening(centred: Array) -> Array:
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    kept = sizes > SMALLEST_DIRECTION * sizes[0]
    return directions[kept].T / sizes[kept] * np.sqrt(len(centred))


def agreement(encode: Encode, train: Views, held_out: Views, seed: int) -> Agreement:
    """Judge encodings by the canonical correlations of rows that they were not fitted on.

    A pair of variates counts if it correlates more than any pair does when the rows of one view are permuted.
    """
    encodings = encode(train)
    readout = Readout(encodings)
    first, second = (_standardised(u) for u in readout(encode(held_out), len(readout.correlations)))
    correlations = np.mean(first * second, axis=0)
    rng = np.random.default_rng(seed)
    permuted = [np.mean(first[rng.permutation(len(first))] * second, axis=0) for _ in range(N_PERMUTATIONS)]
    real = correlations > np.max(permuted)
    return Agreement(float(np.sum(correlations[real] ** 2)), int(real.sum()))


def _standardised(matrix: Array) -> Array:
    centred = matrix - matrix.mean(axis=0)
    sizes = centred.std(axis=0)
    return centred / np.where(sizes > 0, sizes, 1)


def held_out_fifth(views: Views, seed: int) -> tuple[Views, Views]:
    """Divide training rows into rows to fit on and rows to choose settings by."""
    rows = train_test_split(np.arange(len(views[0])), test_size=0.2, random_state=seed)
    train, held_out = ((views[0][chosen], views[1][chosen]) for chosen in rows)
    return train, held_out


def completed(encode: Encode, views: Views, n_components: int) -> Split:
    """Give encodings a specific part: the principal components of each view less their projection on the common part."""
    pcas = [PCA(n_components, random_state=0).fit(view) for view in views]
    return with_rest(encode, lambda given: _each(pcas, given), views, n_components)


def with_rest(encode: Encode, describe: Encode, views: Views, n_components: int) -> Split:
    """Make the specific part what a least-squares projection on the common part leaves of a description of each view."""
    commons, wholes = encode(views), describe(views)
    means = [common.mean(axis=0) for common in commons]
    offsets = [whole.mean(axis=0) for whole in wholes]
    coefficients = [
        np.linalg.lstsq(common - mean, whole - offset, rcond=None)[0]
        for common, mean, whole, offset in zip(commons, means, wholes, offsets, strict=True)
    ]

    def split(given: Views) -> Parts:
        common, whole = encode(given), describe(given)
        centred = [c - mean for c, mean in zip(common, means, strict=True)]
        rest = [
            w - offset - c @ coefficient
            for w, offset, c, coefficient in zip(whole, offsets, centred, coefficients, strict=True)
        ]
        return Parts(_padded(centred, n_components), _padded(rest, n_components))

    return split


def _each(transformers: list[Any], views: Views) -> Views:
    first, second = (transformer.transform(view) for transformer, view in zip(transformers, views, strict=True))
    return first, second


def _padded(matrices: list[Array], width: int) -> Views:
    """Fill parts of lower rank up with columns of zeros."""
    first, second = (np.pad(matrix, [(0, 0), (0, width - matrix.shape[1])]) for matrix in matrices)
    return first, second


def settings_of(keywords: dict[str, Any]) -> str:
    """Say settings in a few characters."""
    return ", ".join(f"{name}={value}" for name, value in keywords.items()) or "defaults"


Outcomes = Iterator[Outcome]
