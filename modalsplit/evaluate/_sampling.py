"""The sampled protocol: held-out items among a sample of the others, and what it says about the full ranking."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from scipy.special import gammaln

from modalsplit.evaluate._metrics import Ideal, checked_k, discounts, ideal_dcg, tied_blocks
from modalsplit.evaluate._placements import Floats, Placements

Rule = Literal["added", "total"]

CORRECTED = ("recall", "recall_capped", "ndcg", "precision")
RANKS_AT_ONCE = 2**12  # bounds the memory of the sampling model


@dataclass(frozen=True)
class SampledNegatives:
    """Rank each user's held-out items among random items that the user has not taken.

    Sampled metrics are not those of the full ranking and may order two models the other way round; they are
    here to compare with published figures. Items are drawn uniformly, without replacement, among those that
    are neither seen nor held out. The draw depends on `random_state` and the user's position alone, so that
    every model meets the same candidates and paired tests hold.

    Attributes
    ----------
    n : int
        How many.
    rule : {"added", "total"}
        ``"added"``: `n` items beside the held-out ones, as PAMD's text says. ``"total"``: `n` candidates with
        the held-out ones, as its released code does for most data sets. Fewer if fewer are left.
    correction : float or None
        None: the metrics of the sample. Otherwise recall, NDCG and precision are estimates of those of the full
        ranking: the weight of each rank is replaced by the one with least squared bias + `correction` x
        variance, averaged over all true ranks. Above 0; the paper's experiments suggest about 0.1. The
        estimate of one user may lie outside 0 to 1; only means over many users are of use.
    random_state : int
        Of the draws.

    Raises
    ------
    TypeError
        If `n` or `random_state` is no whole number.
    ValueError
        If a value is not allowed.

    Notes
    -----
    The correction takes numbers of candidates for alike among users (their medians) and is exact where all
    items were drawn. It counts the negatives above each held-out item, and knows how many held-out ones are; held-out items
    that tie with each other and with negatives are taken in any order, not in all.

    References
    ----------
    W. Krichene and S. Rendle, "On sampled metrics for item recommendation", KDD 2020: the estimator
    that trades bias for variance, with the hypergeometric distribution in place of the binomial, as there is no replacement here.

    Examples
    --------
    >>> from modalsplit.evaluate import SampledNegatives
    >>> SampledNegatives()
    SampledNegatives(n=1000, rule='added', correction=None, random_state=0)
    """

    n: int = 1000
    rule: Rule = "added"
    correction: float | None = None
    random_state: int = 0

    def __post_init__(self) -> None:
        for name in ("n", "random_state"):
            if not isinstance(getattr(self, name), Integral):
                raise TypeError(f"{name} must be a whole number, but {getattr(self, name)!r} was given.")
        if self.n < 1:
            raise ValueError(f"n={self.n}, but at least 1 candidate must be drawn.")
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {list(get_args(Rule))}, but {self.rule!r} was given.")
        if self.correction is not None and self.correction <= 0:
            raise ValueError(
                f"correction={self.correction}, but it must be above 0: without any weight on the variance the "
                "estimate is useless. Use 0.1, or None for the metrics of the sample."
            )

    def draw(self, user: int, taken: NDArray[np.intp], n_items: int, n_held_out: int) -> NDArray[np.intp]:
        """Draw the items that one user's held-out items compete with.

        Parameters
        ----------
        user : int
            The user's position.
        taken : ndarray of int of shape (n_taken,)
            Seen and held-out items, ascending.
        n_items : int
            Size of the catalogue.
        n_held_out : int
            The user's held-out items.

        Returns
        -------
        ndarray of int of shape (n_drawn,)
            Items that are not in `taken`.
        """
        n_left = n_items - len(taken)
        wanted = self.n - n_held_out if self.rule == "total" else self.n
        rng = np.random.default_rng([self.random_state, user])
        # The i-th item that is left has as many taken ones before it as are at or below i when these are closed up.
        chosen = rng.choice(n_left, min(max(wanted, 0), n_left), replace=False, shuffle=False)
        drawn: NDArray[np.intp] = chosen + np.searchsorted(taken - np.arange(len(taken)), chosen, side="right")
        return drawn


def corrected(
    name: str, placed: Placements, n_unseen: NDArray[np.intp], k: int, variance_weight: float, ideal: Ideal
) -> Floats:
    """Estimate a metric of the full ranking from ranks among sampled items.

    Parameters
    ----------
    name : {"recall", "recall_capped", "ndcg", "precision"}
        The metric.
    placed : Placements
        Among the sampled candidates.
    n_unseen : ndarray of int of shape (n_users,)
        Items that are neither seen nor held out.
    k : int
        Length of the list to judge, in items.
    variance_weight : float
        Of the variance beside the squared bias.
    ideal : {"truncated", "untruncated"}
        For NDCG.

    Returns
    -------
    ndarray of shape (n_users,)
        Estimates; they may lie outside 0 to 1. Any number for users without held-out items.
    """
    weights = discounts(checked_k(k)) if name == "ndcg" else np.ones(k)
    divisors: dict[str, ArrayLike] = {
        "recall": np.maximum(placed.n_held_out, 1),
        "recall_capped": np.maximum(np.minimum(placed.n_held_out, k), 1),
        "precision": k,
        "ndcg": ideal_dcg(placed.n_held_out, k, ideal),
    }
    own = _estimated_weights(placed, n_unseen, weights, variance_weight)
    total = np.bincount(placed.user, own, minlength=len(placed.n_held_out))
    return np.asarray(total / np.asarray(divisors[name]))


def _estimated_weights(
    placed: Placements, n_unseen: NDArray[np.intp], weights: Floats, variance_weight: float
) -> Floats:
    """Expect the weight of the rank that each held-out item has in the full ranking."""
    if not len(placed.user):
        return np.zeros(0)
    judged = placed.n_held_out > 0
    n, m = int(np.median(n_unseen[judged])), int(np.median(placed.n_rivals[judged]))
    rank_among_own, negatives, tied_negatives = _negatives_above(placed)
    own = np.minimum(rank_among_own, len(weights))
    known = _shifted(weights, np.arange(len(weights) + 1), np.arange(n + 1))
    table = _least_squares(n, m, known, variance_weight) if m < n else known
    estimated = np.zeros(len(own))
    is_exact = (placed.n_rivals == n_unseen)[placed.user]
    for extra in range(int(tied_negatives.max()) + 1):  # an item stands on each side of its ties with equal chance
        at = negatives + extra
        scale = m / np.maximum(placed.n_rivals[placed.user], 1)
        sampled = table[np.minimum(np.rint(at * scale), m).astype(np.intp), own]
        rank = own + at
        exact = np.where(rank < len(weights), weights[np.minimum(rank, len(weights) - 1)], 0)
        estimated += np.where(extra <= tied_negatives, np.where(is_exact, exact, sampled) / (tied_negatives + 1), 0)
    return estimated


def _negatives_above(placed: Placements) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Held-out items above each held-out item (any order among ties), negatives above it, negatives tied with it."""
    tied, order = tied_blocks(placed), np.lexsort((placed.above, placed.user))
    first = np.cumsum(placed.n_held_out) - placed.n_held_out
    found = np.empty((3, len(order)), dtype=np.intp)
    found[0, order] = np.arange(len(order)) - first[placed.user[order]]
    found[1:, order] = np.repeat([tied.above - tied.n_before, tied.size - tied.n_held_out], tied.n_held_out, axis=1)
    return found[0], found[1], found[2]


def _shifted(weights: Floats, own: NDArray[np.intp], negatives: NDArray[np.intp]) -> Floats:
    """Weight of an item below so many negatives (rows) and so many held-out items (columns)."""
    rank = negatives[:, None] + own
    return np.where(rank < len(weights), weights[np.minimum(rank, len(weights) - 1)], 0.0)


def _least_squares(n: int, m: int, known: Floats, variance_weight: float) -> Floats:
    """Weights of 0 ... m sampled negatives above, which estimate those of 0 ... n negatives above.

    Minimises the sum over the true counts of squared bias + `variance_weight` x variance.
    """
    normal, total, right = np.zeros((m + 1, m + 1)), np.zeros(m + 1), np.zeros((m + 1, known.shape[1]))
    for start in range(0, n + 1, RANKS_AT_ONCE):
        above = np.arange(start, min(start + RANKS_AT_ONCE, n + 1))
        chance = _hypergeometric(above, n, m)
        normal += chance.T @ chance
        total += chance.sum(axis=0)
        right += chance.T @ known[above]
    system = (1 - variance_weight) * normal + variance_weight * np.diag(total)
    return np.asarray(linalg.solve(system, right, assume_a="pos"))


def _hypergeometric(above: NDArray[np.intp], n: int, m: int) -> Floats:
    """Chance that 0 ... m (columns) of m items drawn from n are among those `above` (rows).

    From a table of log factorials: SciPy's own takes minutes for a whole catalogue.
    """
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    inside, below = np.arange(m + 1), n - above[:, None]
    left, left_below = above[:, None] - inside, below - (m - inside)
    log_chance = (
        (log_factorial[above] + log_factorial[n - above])[:, None]
        - (log_factorial[inside] + log_factorial[m - inside])
        - log_factorial[np.maximum(left, 0)]
        - log_factorial[np.maximum(left_below, 0)]
        - (log_factorial[n] - log_factorial[m] - log_factorial[n - m])
    )
    return np.asarray(np.exp(np.where((left >= 0) & (left_below >= 0), log_chance, -np.inf)))
