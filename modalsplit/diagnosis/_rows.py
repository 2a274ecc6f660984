"""Whether row i of every modality is the same item: order, offsets, blocks and ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import fft

from modalsplit.diagnosis._sample import Floats, Rows
from modalsplit.diagnosis._sharing import Sharing, held_out_correlations, is_significant, measure_sharing

# An order found among all offsets must stand out by so many standard deviations of chance.
OFFSET_DEVIATIONS = 6.0
# Without an encoder that knows the common directions, each offset costs a canonical analysis.
FARTHEST_BLIND_OFFSET = 5
BLIND_DEVIATIONS = 5.0
N_BINS = 100
SMALLEST_BLOCK = 10
SMALLEST_BLOCK_SHARE = 0.02
MOST_CANDIDATES = 500
# A block is out of order if it keeps less than this share of what the other rows match above chance.
BLOCK_KEEPS = 0.25
# Mismatched rows that are scattered over all make runs that beat a few hundred permutations.
BLOCK_DEVIATIONS = 5.0
SORTED_DEVIATIONS = 5.0
SORTED_CORRELATION = 0.1


class Agreement(NamedTuple):
    """Correlation of two modalities' common parts, row by row, and its p-value against other orders."""

    value: float
    p_value: float


class Order(NamedTuple):
    """Row i of one modality belongs with row i + offset of the other, which is read from its end if reversed."""

    offset: int
    is_reversed: bool


class Block(NamedTuple):
    """Rows from `start` to before `stop` that do not match, while the others do."""

    start: int
    stop: int


class Ids(NamedTuple):
    """What the indexes of the modalities say: whether they agree, and the first row that does not."""

    verdict: Literal["same", "reordered", "different", "unknown"]
    n_moved: int = 0
    first: int = 0


def measure_agreement(a: Floats, b: Floats, n_permutations: int, rng: Any) -> Agreement:
    """Correlate two common parts as wholes: Σ a·b / sqrt(Σ‖a‖² Σ‖b‖²).

    Parameters
    ----------
    a, b : ndarray of shape (n_rows, n_components)
        Common parts of two modalities, centred, in the same coordinates.
    n_permutations : int
        How many random orders make the p-value.
    rng : RandomState
        Of the orders.

    Returns
    -------
    Agreement
        -1 to 1; 0 if a part does not vary.
    """
    size = np.sqrt(np.sum(a**2) * np.sum(b**2))
    if size == 0:
        return Agreement(0.0, 1.0)
    value = np.vdot(a, b)
    null = np.array([np.vdot(a, b[rng.permutation(len(b))]) for _ in range(n_permutations)])
    return Agreement(float(value / size), float((1 + np.sum(null >= value)) / (1 + n_permutations)))


def best_order(a: Floats, b: Floats) -> Order | None:
    """Look for the offset, forwards or from the end, at which two common parts match.

    Parameters
    ----------
    a, b : ndarray of shape (n_rows, n_components)
        Common parts of consecutive rows, centred.

    Returns
    -------
    Order or None
        None if no offset stands out.
    """
    n = len(a)
    deviation = np.sqrt(np.sum((a.T @ a) * (b.T @ b)) / n)
    if deviation == 0 or n < SMALLEST_BLOCK:
        return None
    spectrum = fft.fft(a, axis=0).conj()
    matches = [np.real(fft.ifft(spectrum * fft.fft(x, axis=0), axis=0)).sum(axis=1) for x in (b, b[::-1])]
    is_reversed, offset = np.unravel_index(np.argmax(matches), (2, n))
    if matches[is_reversed][offset] < OFFSET_DEVIATIONS * deviation:
        return None
    return Order(int(offset if offset <= n // 2 else offset - n), bool(is_reversed))


def best_blind_order(a: Floats, b: Floats, rows: Rows, n_permutations: int, rng: Any) -> Order | None:
    """Look for a small offset, or a reversal, at which two modalities share something, without an encoder.

    Parameters
    ----------
    a, b : ndarray of shape (n_rows, n_directions)
        Whitened principal components.
    rows : ndarray of int of shape (n_rows,)
        Their row numbers.
    n_permutations : int
        How many random orders test the best one.
    rng : RandomState
        Of folds and orders.

    Returns
    -------
    Order or None
        None if no order stands out.
    """
    offsets = [k for k in range(-FARTHEST_BLIND_OFFSET, FARTHEST_BLIND_OFFSET + 1) if k != 0]
    orders = [*(Order(k, False) for k in offsets), Order(0, True)]
    tried = [(_strength(a, b, _matched(rows, order)), order) for order in orders]
    strength, order = max(tried)
    left, right = _matched(rows, order)
    if strength * np.sqrt(len(left)) < BLIND_DEVIATIONS:
        return None
    sharing = measure_sharing(a[left], b[right], n_permutations, rng)
    return order if shares_something(sharing, n_permutations) else None


def shares_something(sharing: Sharing, n_permutations: int) -> bool:
    """Tell whether two modalities are more correlated than chance allows.

    Parameters
    ----------
    sharing : Sharing
        Of the two.
    n_permutations : int
        Of the same.

    Returns
    -------
    bool
        True if they are.
    """
    return sharing.n_above > 0 and is_significant(sharing.p_value, n_permutations)


def match_percentiles(a: Floats, b: Floats, rng: Any) -> Floats:
    """Share of other rows that match a row less well than its own counterpart does, by cosine.

    Parameters
    ----------
    a, b : ndarray of shape (n_rows, n_components)
        Common parts, centred.
    rng : RandomState
        Of the rows that are compared with.

    Returns
    -------
    ndarray of shape (n_rows,)
        1 if nothing matches better; uniform on 0 to 1, with the mean 1/2, for rows in random order.
    """
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny) for x in (a, b))
    own = np.sum(a * b, axis=1, keepdims=True)
    others = b[rng.permutation(len(b))[:MOST_CANDIDATES]]
    step = 4096
    better = [
        np.mean((own[i : i + step] > (cosines := a[i : i + step] @ others.T)) + 0.5 * (own[i : i + step] == cosines), 1)
        for i in range(0, len(a), step)
    ]
    return np.concatenate(better)


def find_block(percentiles: Floats, n_permutations: int, rng: Any) -> Block | None:
    """Find a run of rows that match no better than chance while the others match.

    Parameters
    ----------
    percentiles : ndarray of shape (n_rows,)
        Of `match_percentiles`.
    n_permutations : int
        How many random orders give the null of the largest contrast.
    rng : RandomState
        Of the orders.

    Returns
    -------
    Block or None
        None if no run stands out.
    """
    n = len(percentiles)
    edges = np.unique(np.linspace(0, n, min(N_BINS, n // 4) + 1).astype(int))
    least = max(SMALLEST_BLOCK, SMALLEST_BLOCK_SHARE * n)
    contrast, block = _largest_contrast(percentiles, edges, edges, least)
    null = [_largest_contrast(rng.permutation(percentiles), edges, edges, least)[0] for _ in range(n_permutations)]
    p_value = (1 + np.sum(np.array(null) >= contrast)) / (1 + n_permutations)
    if contrast < BLOCK_DEVIATIONS * percentiles.std() or not is_significant(p_value, n_permutations):
        return None
    width = int(np.diff(edges).max())
    starts, stops = (np.arange(max(0, edge - width), min(n, edge + width) + 1) for edge in block)
    _, block = _largest_contrast(percentiles, starts, stops, least)
    inside = percentiles[block.start : block.stop].mean()
    outside = (percentiles.sum() - inside * (block.stop - block.start)) / (n - block.stop + block.start)
    return block if inside - 0.5 < BLOCK_KEEPS * (outside - 0.5) else None


def is_sorted(scores: Floats) -> bool:
    """Tell whether neighbouring rows are similar: the rows are in an order that means something.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_directions)
        Whitened principal components of consecutive rows, centred.

    Returns
    -------
    bool
        True if the correlation of neighbours stands out.
    """
    size = np.sum(scores**2)
    correlation = np.vdot(scores[:-1], scores[1:]) / size
    deviation = np.linalg.norm(scores.T @ scores) / size / np.sqrt(len(scores))
    # One direction in which rows are sorted is enough, and many others must not hide it.
    first = np.vdot(scores[:-1, 0], scores[1:, 0]) / np.sum(scores[:, 0] ** 2)
    stands_out = correlation > SORTED_DEVIATIONS * deviation or first > SORTED_DEVIATIONS / np.sqrt(len(scores))
    return bool(stands_out and max(correlation, first) > SORTED_CORRELATION)


def compare_ids(X: Any, y: Any) -> Ids:
    """Compare the indexes of the modalities, where they are DataFrames.

    Parameters
    ----------
    X, y : DataFrame, array-like, mapping or sequence of these, or None
        As `modalsplit.diagnose` takes them.

    Returns
    -------
    Ids
        ``"unknown"`` if fewer than two have an index that says something.
    """
    given = [*(X.values() if isinstance(X, Mapping) else X if isinstance(X, list | tuple) else [X]), y]
    indexes = [frame.index for frame in given if hasattr(frame, "iloc") and hasattr(frame, "index")]
    found = [_compare(indexes[0], other) for other in indexes[1:]]
    return next(
        (ids for ids in found if ids.verdict in {"reordered", "different"}), found[0] if found else Ids("unknown")
    )


def _compare(a: Any, b: Any) -> Ids:
    if a.equals(b):
        # 0, 1, 2, ... is what a frame without ids has.
        counted = np.array_equal(np.asarray(a), np.arange(len(a)))
        return Ids("unknown" if counted else "same")
    moved = np.flatnonzero(np.asarray(a) != np.asarray(b))
    shared = len(a.intersection(b))
    if shared == 0 or len(a) != len(b):
        return Ids("unknown")
    verdict: Literal["reordered", "different"] = "reordered" if a.symmetric_difference(b).empty else "different"
    return Ids(verdict, len(moved), int(moved[0]))


def _matched(rows: Rows, order: Order) -> tuple[Rows, Rows]:
    """Places of the rows that belong together in that order."""
    wanted = rows[-1] + rows[0] - rows if order.is_reversed else rows + order.offset
    _, left, right = np.intersect1d(wanted, rows, assume_unique=True, return_indices=True)
    return left, right


def _strength(a: Floats, b: Floats, places: tuple[Rows, Rows]) -> float:
    left, right = places
    if len(left) < 2 * SMALLEST_BLOCK:
        return 0.0
    half = np.arange(len(left)) % 2 == 0
    return float(held_out_correlations(a[left], b[right], (np.flatnonzero(half), np.flatnonzero(~half)))[0])


def _largest_contrast(percentiles: Floats, starts: Rows, stops: Rows, least: float) -> tuple[float, Block]:
    """Find the run that is farthest below the other rows, in the units of one row."""
    n = len(percentiles)
    sums = np.concatenate([[0.0], np.cumsum(percentiles - percentiles.mean())])
    lengths = stops[None, :] - starts[:, None]
    usable = (lengths >= least) & (lengths <= n - least)
    scale = np.sqrt(np.where(usable, lengths * (n - lengths) / n, 1.0))
    contrasts = np.where(usable, (sums[starts][:, None] - sums[stops][None, :]) / scale, -np.inf)
    first, last = np.unravel_index(np.argmax(contrasts), contrasts.shape)
    return float(contrasts[first, last]), Block(int(starts[first]), int(stops[last]))
