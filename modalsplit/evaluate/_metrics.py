"""Recall and NDCG of full rankings, exact under ties, a block of users at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Scores = ArrayLike | Callable[[NDArray[np.intp]], ArrayLike]
Ties = Literal["expected", "pessimistic"]
Ideal = Literal["truncated", "untruncated"]
Empty = Literal["skip", "zero"]
Floats = NDArray[np.float64]

COMPARED_AT_ONCE = 2**18  # scores; bounds the memory of the comparisons


class Placements(NamedTuple):
    """Where the held-out items stand in the rankings of their users.

    A held-out item stands anywhere in a block of tied candidates with equal chance.

    Attributes
    ----------
    user : ndarray of int of shape (n_placed,)
        Position among the users that were judged.
    above : ndarray of int of shape (n_placed,)
        Candidates that rank before the block.
    tied : ndarray of int of shape (n_placed,)
        Size of the block, with the item itself; 1 without ties.
    n_held_out : ndarray of int of shape (n_users,)
        Held-out items of each user.
    """

    user: NDArray[np.intp]
    above: NDArray[np.intp]
    tied: NDArray[np.intp]
    n_held_out: NDArray[np.intp]


def recall_at_k(
    scores: Scores,
    held_out: Any,
    k: int = 10,
    *,
    seen: Any = None,
    ties: Ties = "expected",
    empty: Empty = "skip",
    block: int = 256,
) -> Floats:
    """Share of each user's held-out items that rank among the top `k`.

    All items are candidates, except those that the user has seen.

    Parameters
    ----------
    scores : array-like of shape (n_items, n_users) or callable
        Higher is better. A callable takes an ndarray of user positions and returns their scores, of shape
        (n, n_items), so that no more than a block of users is in memory.
    held_out : sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    k : int, default=10
        Length of the list to judge, in items.
    seen : sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user: what training, and at test time validation,
        has shown.
    ties : {"expected", "pessimistic"}, default="expected"
        ``"expected"``: the expected value if tied items are ordered at random. ``"pessimistic"``: held-out
        items come last among their equals, so that constant scores gain nothing.
    empty : {"skip", "zero"}, default="skip"
        Value of a user without held-out items: NaN, for ``numpy.nanmean``, or 0.
    block : int, default=256
        Users to score at once.

    Returns
    -------
    ndarray of shape (n_users,)
        0 to 1, without unit; higher is better.

    Raises
    ------
    ValueError
        If shapes do not agree, scores are NaN, an item is both seen and held out, or an option is not known.

    See Also
    --------
    ndcg_at_k : Rewards high ranks within the top `k` too.
    evaluate : Both, with confidence intervals.

    References
    ----------
    W. Krichene and S. Rendle, "On sampled metrics for item recommendation", KDD 2020: why all items are
    candidates.

    Examples
    --------
    Ann's held-out item ranks second and Bob's third of three; Cid has none.

    >>> import numpy as np
    >>> from modalsplit.evaluate import recall_at_k
    >>> scores = np.array([[3, 9, 1], [2, 8, 1], [1, 7, 1]])
    >>> held_out = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> recall_at_k(scores, held_out, k=2)
    array([ 1.,  0., nan])
    """
    placed = placements(scores, held_out, seen=seen, ties=ties, block=block)
    return recall(placed, k, empty=empty)


def ndcg_at_k(
    scores: Scores,
    held_out: Any,
    k: int = 10,
    *,
    seen: Any = None,
    ties: Ties = "expected",
    ideal: Ideal = "truncated",
    empty: Empty = "skip",
    block: int = 256,
) -> Floats:
    """Normalised discounted cumulative gain of each user's top `k`, with binary relevance.

    DCG is the sum of 1 / log2(rank + 1) over the held-out items with rank at most k; NDCG divides it by
    the DCG of a ranking that starts with all held-out items. All items are candidates, except those that
    the user has seen.

    Parameters
    ----------
    scores : array-like of shape (n_items, n_users) or callable
        Higher is better. A callable takes an ndarray of user positions and returns their scores, of shape
        (n, n_items), so that no more than a block of users is in memory.
    held_out : sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    k : int, default=10
        Length of the list to judge, in items.
    seen : sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user.
    ties : {"expected", "pessimistic"}, default="expected"
        ``"expected"``: the expected value if tied items are ordered at random. ``"pessimistic"``: held-out
        items come last among their equals.
    ideal : {"truncated", "untruncated"}, default="truncated"
        Whether the ideal ranking counts only its top `k`, so that 1 can be reached, or all held-out items,
        as PAMD's released code does.
    empty : {"skip", "zero"}, default="skip"
        Value of a user without held-out items: NaN, for ``numpy.nanmean``, or 0.
    block : int, default=256
        Users to score at once.

    Returns
    -------
    ndarray of shape (n_users,)
        0 to 1, without unit; higher is better.

    Raises
    ------
    ValueError
        If shapes do not agree, scores are NaN, an item is both seen and held out, or an option is not known.

    See Also
    --------
    recall_at_k : Does not look at ranks within the top `k`.
    evaluate : Both, with confidence intervals.

    References
    ----------
    K. Järvelin and J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.

    Examples
    --------
    Two held-out items on ranks 1 and 3, and a list of two: 1 / (1 + 1 / log2(3)).

    >>> import numpy as np
    >>> from modalsplit.evaluate import ndcg_at_k
    >>> scores, held_out = np.array([[3], [2], [1]]), np.array([[1], [0], [1]])
    >>> ndcg_at_k(scores, held_out, k=2).round(4)
    array([0.6131])
    """
    placed = placements(scores, held_out, seen=seen, ties=ties, block=block)
    return ndcg(placed, k, ideal=ideal, empty=empty)


def recall(placed: Placements, k: int, *, empty: Empty = "skip") -> Floats:
    """Compute `recall_at_k` of items that are placed already.

    Parameters
    ----------
    placed : Placements
        From `placements`.
    k : int
        Length of the list to judge, in items.
    empty : {"skip", "zero"}, default="skip"
        Value of a user without held-out items.

    Returns
    -------
    ndarray of shape (n_users,)
        0 to 1.
    """
    return _gain(placed, np.ones(_checked_k(k))) / _divisor(placed, empty)


def ndcg(placed: Placements, k: int, *, ideal: Ideal = "truncated", empty: Empty = "skip") -> Floats:
    """Compute `ndcg_at_k` of items that are placed already.

    Parameters
    ----------
    placed : Placements
        From `placements`.
    k : int
        Length of the list to judge, in items.
    ideal : {"truncated", "untruncated"}, default="truncated"
        Whether the ideal ranking counts only its top `k`.
    empty : {"skip", "zero"}, default="skip"
        Value of a user without held-out items.

    Returns
    -------
    ndarray of shape (n_users,)
        0 to 1.
    """
    _check_option("ideal", ideal, Ideal)
    discounts = 1 / np.log2(np.arange(_checked_k(k)) + 2)
    n_ideal = placed.n_held_out.max(initial=0)
    ideal_gain = 1 / np.log2(np.arange(n_ideal) + 2)
    if ideal == "truncated":
        ideal_gain[k:] = 0
    best = np.concatenate([[0.0], np.cumsum(ideal_gain)])[placed.n_held_out]
    return _gain(placed, discounts) / np.where(best > 0, best, _divisor(placed, empty))


def placements(
    scores: Scores,
    held_out: Any,
    *,
    seen: Any = None,
    ties: Ties = "expected",
    users: ArrayLike | None = None,
    block: int = 256,
) -> Placements:
    """Place the held-out items of each user among the candidates.

    Counting the candidates above each held-out item is cheaper than sorting the candidates, because
    users have few held-out items.

    Parameters
    ----------
    scores : array-like of shape (n_items, n_users) or callable
        As for `recall_at_k`.
    held_out : sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    seen : sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user.
    ties : {"expected", "pessimistic"}, default="expected"
        As for `recall_at_k`.
    users : array-like of int of shape (n_judged,), optional
        Positions of the users to judge; all by default.
    block : int, default=256
        Users to score at once.

    Returns
    -------
    Placements
        Of all held-out items of the users judged.

    Raises
    ------
    ValueError
        If shapes do not agree, scores are NaN, an item is both seen and held out, or `ties` is not known.
    """
    _check_option("ties", ties, Ties)
    targets, masked = _by_user(held_out, "held_out"), None if seen is None else _by_user(seen, "seen")
    scores = scores if callable(scores) else np.asarray(scores)
    _check_agreement(scores, targets, masked)
    judged = np.arange(targets.shape[0]) if users is None else np.asarray(users)
    targets = targets[judged]
    found = [
        _place(_block_scores(scores, judged[part], targets.shape[1]), targets[part], hidden, ties, part.start)
        for part in _blocks(len(judged), block)
        for hidden in [None if masked is None else masked[judged[part]]]
    ]
    user, above, tied = (np.concatenate(column) for column in zip(*found, strict=True))
    return Placements(user, above, tied, np.diff(targets.indptr))


def _place(
    scores: Floats, targets: sparse.csr_array, hidden: sparse.csr_array | None, ties: Ties, first: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    user, item = targets.nonzero()
    if hidden is not None:
        scores[hidden.nonzero()] = np.nan  # neither above nor tied with anything
    own = scores[user, item]
    above, tied = np.empty(len(user), dtype=np.intp), np.empty(len(user), dtype=np.intp)
    for part in _blocks(len(user), max(1, COMPARED_AT_ONCE // scores.shape[1])):
        rivals, mine = scores[user[part]], own[part, None]
        above[part] = np.count_nonzero(rivals > mine, axis=1)
        tied[part] = np.count_nonzero(rivals == mine, axis=1)
    if ties == "pessimistic":
        # The held-out items of a block share its last places.
        pairs = np.stack([user, own])
        _, which, n_targets = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
        targets_tied = n_targets[which.ravel()]
        above, tied = above + tied - targets_tied, targets_tied
    return user + first, above, tied


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, max(n, 1), size)]


def _gain(placed: Placements, weights: Floats) -> Floats:
    """Sum over each user's held-out items the weight of their rank, averaged over their tied block."""
    k = len(weights)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    end = np.minimum(placed.above + placed.tied, k)
    gain = (total[end] - total[np.minimum(placed.above, k)]) / placed.tied
    return np.bincount(placed.user, gain, minlength=len(placed.n_held_out)).astype(float, copy=False)


def _divisor(placed: Placements, empty: Empty) -> Floats:
    _check_option("empty", empty, Empty)
    return np.where(placed.n_held_out > 0, placed.n_held_out, np.nan if empty == "skip" else 1.0)


def _block_scores(scores: Any, users: NDArray[np.intp], n_items: int) -> Floats:
    """Copy the scores of a block of users, as floats, because seen items become NaN."""
    own = np.asarray(scores(users) if callable(scores) else scores[:, users].T)
    block: Floats = np.array(own, dtype=np.result_type(own, np.float32), order="C")
    if block.shape != (len(users), n_items):
        raise ValueError(
            f"scores returned an array of shape {block.shape} for {len(users)} users and {n_items} items. It "
            f"must return one row a user: ({len(users)}, {n_items})."
        )
    if np.isnan(block).any():
        raise ValueError(
            f"{int(np.isnan(block).sum())} scores are NaN, which has no rank. Use -inf for what ranks last."
        )
    return block


def _by_user(matrix: Any, name: str) -> sparse.csr_array:
    """Transpose to users in the rows and keep the positive entries."""
    if not sparse.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise ValueError(
            f"{name} has {matrix.ndim} dimensions. Give a matrix: items in the rows, users in the columns."
        )
    positive = sparse.coo_array(matrix).T.tocsr() > 0
    return sparse.csr_array(positive)


def _check_agreement(scores: Any, targets: sparse.csr_array, masked: sparse.csr_array | None) -> None:
    shape = targets.shape[::-1]
    if not callable(scores) and scores.shape != shape:
        raise ValueError(
            f"scores has shape {scores.shape}, but held_out has shape {shape}. Both need items in the "
            "rows and users in the columns."
        )
    if masked is None:
        return
    if masked.shape != targets.shape:
        raise ValueError(f"seen has shape {masked.shape[::-1]}, but held_out has shape {shape}.")
    n_both = masked.multiply(targets).nnz
    if n_both:
        raise ValueError(
            f"{n_both} of {targets.nnz} held-out interactions are in seen too, so they could not be "
            "recommended. Leave them out of one."
        )


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k={k}, but a list holds at least 1 item.")
    return k


def _check_option(name: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise ValueError(f"{name} must be one of {list(get_args(options))}, but {value!r} was given.")
