"""What two modalities share by themselves, without the encoder: canonical correlations against chance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from modalsplit.diagnosis._sample import RIDGE, Floats, Rows

# As in the encoder: a direction is common if it is at least this share of the strongest.
LEAST_SHARE = 0.5


class Sharing(NamedTuple):
    """Canonical correlations of two modalities on rows that did not compute them.

    Attributes
    ----------
    correlations : ndarray of shape (n_pairs,)
        Of the canonical pairs, by two-fold cross-validation.
    level : float
        95 % of such correlations are below it when the rows are in random order.
    p_value : float
        Share of the orders that give as much correlation altogether.
    n_above : int
        How many leading pairs are above `level`.
    n_strong : int
        How many of these are at least half as correlated as the strongest.
    """

    correlations: Floats
    level: float
    p_value: float
    n_above: int
    n_strong: int


def is_significant(p_value: float, n_permutations: int) -> bool:
    """Tell whether a p-value is at most 1 %, or the smallest that so many permutations can give.

    Parameters
    ----------
    p_value : float
        Of a permutation test.
    n_permutations : int
        Of the same.

    Returns
    -------
    bool
        True if it is.
    """
    return p_value <= max(0.01, 1 / (n_permutations + 1)) + 1e-12


def measure_sharing(a: Floats, b: Floats, n_permutations: int, rng: Any) -> Sharing:
    """Correlate two modalities, and with their rows in random order.

    Parameters
    ----------
    a : ndarray of shape (n_rows, n_left)
        Whitened principal components of one modality.
    b : ndarray of shape (n_rows, n_right)
        Of the other.
    n_permutations : int
        How many random orders.
    rng : RandomState
        Of folds and orders.

    Returns
    -------
    Sharing
        Correlations and what chance gives.
    """
    n = len(a)
    half = rng.permutation(n) < n // 2
    folds = (np.flatnonzero(half), np.flatnonzero(~half))
    found = held_out_correlations(a, b, folds)
    null = np.array([held_out_correlations(a, b[rng.permutation(n)], folds) for _ in range(n_permutations)])
    level = float(np.quantile(null, 0.95))
    p_value = (1 + np.sum(_energy(null) >= _energy(found))) / (1 + n_permutations)
    above = found > level
    strong = above & (found >= LEAST_SHARE * found[0])
    return Sharing(found, level, float(p_value), _leading(above), _leading(strong))


def held_out_correlations(a: Floats, b: Floats, folds: tuple[Rows, Rows]) -> Floats:
    """Correlate canonical pairs on each half of the rows, computed from the other half.

    Parameters
    ----------
    a : ndarray of shape (n_rows, n_left)
        One modality.
    b : ndarray of shape (n_rows, n_right)
        The other.
    folds : pair of ndarray of int
        The halves.

    Returns
    -------
    ndarray of shape (n_pairs,)
        Correlations, strongest directions of the computing half first; -1 to 1.
    """
    u, v = (
        np.concatenate(both) for both in zip(*(_variates(a, b, *pair) for pair in (folds, folds[::-1])), strict=True)
    )
    u, v = u - u.mean(axis=0), v - v.mean(axis=0)
    sizes = np.sqrt(np.sum(u**2, axis=0) * np.sum(v**2, axis=0))
    correlations: Floats = np.sum(u * v, axis=0) / np.where(sizes > 0, sizes, 1)
    return correlations


def _variates(a: Floats, b: Floats, train: Rows, test: Rows) -> tuple[Floats, Floats]:
    means = a[train].mean(axis=0), b[train].mean(axis=0)
    left, right = a[train] - means[0], b[train] - means[1]
    to_left, to_right = _whitening(left), _whitening(right)
    u, _, vt = np.linalg.svd((left @ to_left).T @ (right @ to_right), full_matrices=False)
    return (a[test] - means[0]) @ to_left @ u, (b[test] - means[1]) @ to_right @ vt.T


def _whitening(x: Floats) -> Floats:
    variances, directions = np.linalg.eigh(x.T @ x)
    whitening: Floats = directions / np.sqrt(np.maximum(variances, 0) + RIDGE * variances.mean())
    return whitening


def _energy(correlations: Floats) -> Floats:
    energy: Floats = np.sum(np.maximum(correlations, 0) ** 2, axis=-1)
    return energy


def _leading(wanted: Any) -> int:
    return int(np.cumprod(wanted).sum())
