"""Find an item, or its class, in one modality from its part of another: cross-modal retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Equal rows give cosines that differ in the last bits, by where a matrix product puts them.
TIE = 1e-12
CELLS_IN_A_BLOCK = 2**22


def retrieval_recall_at_k(queries: ArrayLike, candidates: ArrayLike, k: int) -> float:
    """Share of the items whose own counterpart is among the `k` candidates most similar to them.

    Similarity is the cosine of centred columns: each matrix has its own column means taken off.

    Parameters
    ----------
    queries : array-like of shape (n_items, n_components)
        Part of one modality.
    candidates : array-like of shape (n_items, n_components)
        Part of another modality, in the same coordinates. Row i of both is the same item.
    k : int
        Length of the list to judge, in items; 1 or more.

    Returns
    -------
    float
        0 to 1, unitless; higher is better, and chance is k / n_items. Ties count as the expected value
        under random order, so parts that are all zero give exactly chance.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, values are not finite, or `k` is less than 1.

    See Also
    --------
    retrieval_map : Any candidate of the query's class counts, not the item itself alone.

    Examples
    --------
    Each of four items finds itself among the first, and among the first two; parts of zero find by chance.

    >>> import numpy as np
    >>> from modalsplit.evaluate import retrieval_recall_at_k
    >>> part = np.eye(4)
    >>> retrieval_recall_at_k(part, part, 1), retrieval_recall_at_k(part, np.zeros((4, 4)), 1)
    (1.0, 0.25)
    """
    a, b = _directions(queries, candidates)
    if len(a) != len(b):
        raise ValueError(
            f"queries and candidates have {len(a)} and {len(b)} rows. Row i of both must be the same item."
        )
    if k < 1:
        raise ValueError(f"k={k}, but a list has at least 1 place.")
    found = 0.0
    for rows in _blocks(len(a), len(b)):
        cosines = a[rows] @ b.T
        own = np.sum(a[rows] * b[rows], axis=1, keepdims=True)
        ahead = np.sum(cosines > own + TIE, axis=1)
        tied = np.sum(np.abs(cosines - own) <= TIE, axis=1)
        found += float(np.sum(np.clip((k - ahead) / tied, 0, 1)))
    return found / len(a)


def retrieval_map(
    queries: ArrayLike, candidates: ArrayLike, query_labels: ArrayLike, candidate_labels: ArrayLike
) -> float:
    """Mean average precision of candidates of the query's class, over the full ranking by cosine.

    The usual measure of cross-modal retrieval. Each matrix has its own column means taken off first.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_components)
        Part of one modality.
    candidates : array-like of shape (n_candidates, n_components)
        Part of another modality, in the same coordinates. The counterpart of a query is a candidate like
        the others, if it is there.
    query_labels : array-like of shape (n_queries,) or (n_queries, n_labels)
        Class of each query; or its labels, as 0 and 1.
    candidate_labels : array-like of shape (n_candidates,) or (n_candidates, n_labels)
        The same of the candidates. A candidate is relevant if it has the query's class, or shares a label
        with it.

    Returns
    -------
    float
        0 to 1, unitless; higher is better, and chance is about the share of relevant candidates. Ties count
        as the expected value under random order. Queries without a relevant candidate do not count.

    Raises
    ------
    ValueError
        If shapes do not match, values are not finite, or no query has a relevant candidate.

    References
    ----------
    McSherry and Najork, Computing information retrieval performance measures efficiently in the presence of
    tied scores, ECIR 2008 (expected average precision).

    Examples
    --------
    Both queries find their class at the places 1 and 3: (1 + 2/3) / 2.

    >>> from modalsplit.evaluate import retrieval_map
    >>> queries, candidates = [[1, 0], [-1, 0]], [[3, 1], [-2, 0], [1, 2], [-2, -3]]
    >>> round(retrieval_map(queries, candidates, ["a", "b"], ["a", "b", "b", "a"]), 3)
    0.833
    """
    a, b = _directions(queries, candidates)
    ours, theirs = _labels(query_labels, candidate_labels, len(a), len(b))
    precisions = []
    for rows in _blocks(len(a), len(b)):
        relevant = _relevance(ours[rows], theirs)
        kept = relevant.any(axis=1)
        precisions.append(_average_precision(a[rows][kept] @ b.T, relevant[kept]))
    values = np.concatenate(precisions)
    if not len(values):
        raise ValueError("No query has a relevant candidate. Give labels that queries and candidates share.")
    return float(values.mean())


def _directions(queries: ArrayLike, candidates: ArrayLike) -> tuple[Floats, Floats]:
    """Centred rows of length 1; rows of zeros stay."""
    a, b = (np.asarray(matrix, dtype=float) for matrix in (queries, candidates))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(
            f"queries and candidates have the shapes {a.shape} and {b.shape}. Give two matrices with at least "
            "one row each and the same columns."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("queries or candidates are not finite. Leave out the rows of missing modalities.")
    return _unit_rows(a), _unit_rows(b)


def _unit_rows(matrix: Floats) -> Floats:
    centred = matrix - matrix.mean(axis=0)
    # What rounding leaves of a constant column is no direction.
    rounding = 8 * np.finfo(float).eps * np.abs(matrix).max(axis=0)
    centred[:, np.abs(centred).max(axis=0) <= rounding] = 0
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Floats = centred / np.where(lengths > 0, lengths, 1)
    return unit


def _labels(ours: ArrayLike, theirs: ArrayLike, n_ours: int, n_theirs: int) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = np.asarray(ours), np.asarray(theirs)
    if len(a) != n_ours or len(b) != n_theirs or a.ndim not in {1, 2} or a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"The labels have the shapes {a.shape} and {b.shape}, for {n_ours} queries and {n_theirs} candidates. "
            "Give one class a row, or one row of 0 and 1 over the same labels."
        )
    return (a, b) if a.ndim == 1 else (a.astype(float), b.astype(float))


def _relevance(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    relevant: NDArray[np.bool_] = ours[:, None] == theirs[None, :] if ours.ndim == 1 else ours @ theirs.T > 0
    return relevant


def _average_precision(cosines: Floats, relevant: NDArray[np.bool_]) -> Floats:
    """Compute the expected average precision of each row when tied candidates stand in random order."""
    order = np.argsort(-cosines, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    ranked = np.take_along_axis(cosines, order, axis=1)
    place = np.arange(cosines.shape[1])
    opens = np.concatenate([np.ones((len(ranked), 1), dtype=bool), -np.diff(ranked, axis=1) > TIE], axis=1)
    first = np.maximum.accumulate(np.where(opens, place, 0), axis=1)
    closes = np.concatenate([opens[:, 1:], np.ones((len(ranked), 1), dtype=bool)], axis=1)
    last = np.minimum.accumulate(np.where(closes, place, len(place))[:, ::-1], axis=1)[:, ::-1]
    until = np.cumsum(hits, axis=1)
    before: NDArray[np.intp] = np.take_along_axis(until - hits, first, axis=1)
    inside = np.take_along_axis(until, last, axis=1) - before
    size = last - first + 1
    # A relevant item at the i-th place of its ties has (i - 1) (inside - 1) / (size - 1) relevant ones before it.
    ahead = before + (place - first) * (inside - 1) / np.maximum(size - 1, 1)
    expected: Floats = np.sum(inside / size * (ahead + 1) / (place + 1), axis=1) / until[:, -1]
    return expected


def _blocks(n_queries: int, n_candidates: int) -> Iterator[slice]:
    step = max(1, CELLS_IN_A_BLOCK // n_candidates)
    return (slice(start, start + step) for start in range(0, n_queries, step))
