"""Recall, NDCG, hit rate, MRR, MAP and precision of rankings, exact under ties."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from modalsplit.evaluate._placements import Floats, Placements, Scores, Ties, check_option, placements

Ideal = Literal["truncated", "untruncated"]
Empty = Literal["skip", "zero"]


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
    return settled(_hits(placed, k) / _at_least_one(placed.n_held_out), placed, empty)


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
    return settled(gain(placed, discounts(checked_k(k))) / ideal_dcg(placed.n_held_out, k, ideal), placed, empty)


def recall_capped(placed: Placements, k: int) -> Floats:
    """Hits, divided by the most that a list of `k` can have."""
    return _hits(placed, k) / _at_least_one(np.minimum(placed.n_held_out, k))


def precision(placed: Placements, k: int) -> Floats:
    """Share of the list of `k` places that are hits."""
    return _hits(placed, k) / k


def hit_rate(placed: Placements, k: int) -> Floats:
    """Chance that at least one held-out item is listed."""
    tied = tied_blocks(placed)
    listed = np.clip(checked_k(k) - tied.above, 0, tied.size)
    missed = np.where(listed > 0, 0.0, 1.0)
    cut = (listed > 0) & (listed < tied.size)
    missed[cut] = stats.hypergeom.pmf(0, tied.size[cut], tied.n_held_out[cut], listed[cut])
    # At most one block is cut; of the others, one is enough.
    all_missed = np.ones(len(placed.n_held_out))
    np.minimum.at(all_missed, tied.user, missed)
    return 1 - all_missed


def mrr(placed: Placements, k: int) -> Floats:
    """Reciprocal rank of the first held-out item, 0 below rank `k`."""
    tied = tied_blocks(placed)
    first = TiedBlocks(*(column[tied.n_before == 0] for column in tied))
    found = np.zeros(len(placed.n_held_out))
    chance = first.n_held_out / first.size  # that the first one stands on this place of its block
    for place in range(1, _last_place(first, checked_k(k)) + 1):
        rank = first.above + place
        found[first.user] += np.where(rank <= k, chance / rank, 0)
        left = first.size - place
        chance = chance * np.maximum(left - first.n_held_out + 1, 0) / np.maximum(left, 1)
    return found


def average_precision(placed: Placements, k: int, *, ideal: Ideal = "truncated") -> Floats:
    """Sum of the precision at each hit of the top `k`, divided by min(n, k), or by n if untruncated."""
    check_option("ideal", ideal, Ideal)
    tied = tied_blocks(placed)
    total = np.zeros(len(tied.user))
    for place in range(1, _last_place(tied, checked_k(k)) + 1):
        rank = tied.above + place
        # Given a held-out item on this place, the others of the block are spread over its other places.
        ahead = tied.n_before + (place - 1) * (tied.n_held_out - 1) / np.maximum(tied.size - 1, 1)
        is_listed = (place <= tied.size) & (rank <= k)
        total += np.where(is_listed, tied.n_held_out / tied.size * (ahead + 1) / rank, 0)
    n_ideal = np.minimum(placed.n_held_out, k) if ideal == "truncated" else placed.n_held_out
    return np.bincount(tied.user, total, minlength=len(n_ideal)) / _at_least_one(n_ideal)


METRICS: dict[str, Callable[..., Floats]] = {
    "recall": recall,
    "recall_capped": recall_capped,
    "ndcg": ndcg,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}
WITH_IDEAL = frozenset({"ndcg", "map"})


def measured(name: str, placed: Placements, k: int, *, ideal: Ideal = "truncated", empty: Empty = "skip") -> Floats:
    """Compute the metric with this name.

    Parameters
    ----------
    name : str
        One of `METRICS`.
    placed : Placements
        From `placements`.
    k : int
        Length of the list to judge, in items.
    ideal : {"truncated", "untruncated"}, default="truncated"
        For NDCG and MAP.
    empty : {"skip", "zero"}, default="skip"
        Value of a user without held-out items.

    Returns
    -------
    ndarray of shape (n_users,)
        0 to 1.

    Raises
    ------
    ValueError
        If the metric is not known.
    """
    if name not in METRICS:
        raise ValueError(f"The metric must be one of {list(METRICS)}, but {name!r} was given.")
    options = {"ideal": ideal} if name in WITH_IDEAL else {}
    return settled(METRICS[name](placed, checked_k(k), **options), placed, empty)


def settled(values: Floats, placed: Placements, empty: Empty) -> Floats:
    """Give users without held-out items the value that `empty` says.

    Parameters
    ----------
    values : ndarray of shape (n_users,)
        Of a metric.
    placed : Placements
        That it was computed from.
    empty : {"skip", "zero"}
        NaN or 0.

    Returns
    -------
    ndarray of shape (n_users,)
        The values.

    Raises
    ------
    ValueError
        If `empty` is not known.
    """
    check_option("empty", empty, Empty)
    return np.where(placed.n_held_out > 0, values, np.nan if empty == "skip" else 0.0)


def discounts(n: int) -> Floats:
    """Weights 1 / log2(rank + 1) of the first `n` ranks."""
    return 1 / np.log2(np.arange(n) + 2)


def ideal_dcg(n_held_out: NDArray[np.intp], k: int, ideal: Ideal) -> Floats:
    """DCG of a ranking that starts with all held-out items; 1 for users without any."""
    check_option("ideal", ideal, Ideal)
    n_ideal = np.minimum(n_held_out, k) if ideal == "truncated" else n_held_out
    best = np.cumsum(discounts(max(n_ideal.max(initial=0), 1)))
    return np.asarray(best[np.maximum(n_ideal, 1) - 1])


def gain(placed: Placements, weights: Floats) -> Floats:
    """Sum over each user's held-out items the weight of their rank, averaged over their tied block."""
    k = len(weights)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    end = np.minimum(placed.above + placed.tied, k)
    own = (total[end] - total[np.minimum(placed.above, k)]) / placed.tied
    return np.bincount(placed.user, own, minlength=len(placed.n_held_out)).astype(float, copy=False)


def checked_k(k: int) -> int:
    """Refuse lists without items, and of other than whole lengths."""
    if not isinstance(k, Integral):
        raise TypeError(f"k must be a whole number of items, but {k!r} was given.")
    if k < 1:
        raise ValueError(f"k={k}, but a list holds at least 1 item.")
    return k


class TiedBlocks(NamedTuple):
    """Blocks of tied candidates that hold held-out items; `n_before` of the user's others rank before them."""

    user: NDArray[np.intp]
    above: NDArray[np.intp]
    size: NDArray[np.intp]
    n_held_out: NDArray[np.intp]
    n_before: NDArray[np.intp]


def tied_blocks(placed: Placements) -> TiedBlocks:
    """Group the held-out items that tie, by user and then best first."""
    order = np.lexsort((placed.above, placed.user))
    user, above = placed.user[order], placed.above[order]
    opens = np.ones(len(order), dtype=bool)
    opens[1:] = (user[1:] != user[:-1]) | (above[1:] != above[:-1])
    first = np.flatnonzero(opens)
    n_inside = np.diff(np.append(first, len(order)))
    n_before = first - (np.cumsum(placed.n_held_out) - placed.n_held_out)[user[first]]
    return TiedBlocks(user[first], above[first], placed.tied[order][first], n_inside, n_before)


def _last_place(tied: TiedBlocks, k: int) -> int:
    """How far down their blocks held-out items may be listed."""
    return int(np.minimum(tied.size, k - tied.above).max(initial=0))


def _hits(placed: Placements, k: int) -> Floats:
    return gain(placed, np.ones(checked_k(k)))


def _at_least_one(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.maximum(counts, 1)
