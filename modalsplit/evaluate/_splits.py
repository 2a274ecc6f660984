"""Split interactions, or items, into parts for training and for judging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state

from modalsplit.interactions import Interactions

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


def split_interactions(
    Y: Any,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Interactions, ...]:
    """Split each user's interactions at random into training, validation and test parts.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    shares : sequence of float, default=(0.8, 0.1, 0.1)
        Share of each part, with training first; they sum to 1. Of n interactions, a part with share p
        gets n p, rounded half up and at least one; the last part chooses first. Training gets the rest and
        never less than one: a user of two interactions has one for training and one for test, a user of
        one has only training.
    random_state : int, RandomState or None, default=None
        Makes the split repeatable.

    Returns
    -------
    tuple of Interactions of shape (n_items, n_users)
        The parts in the order of `shares`, with the ids of `Y`. They do not overlap and sum to `Y`.

    Raises
    ------
    ValueError
        If the shares are fewer than two, not positive or do not sum to 1.

    See Also
    --------
    hold_out_items : Splits items, to judge what is new.
    warm_start_folds : Folds of interactions for ``GridSearchCV``.

    Examples
    --------
    >>> from modalsplit.datasets import load_wines
    >>> from modalsplit.evaluate import split_interactions
    >>> parts = split_interactions(load_wines().interactions.k_core(5), random_state=0)
    >>> [part.nnz for part in parts]
    [119033, 15158, 15158]
    """
    if len(shares) < 2 or min(shares) <= 0 or not np.isclose(sum(shares), 1):
        raise ValueError(f"shares must be at least two positive numbers that sum to 1, but are {shares}.")
    taken = _entries(Y)
    place = _shuffled_places(taken.col, taken.shape[1], check_random_state(random_state))
    n_taken = np.bincount(taken.col, minlength=taken.shape[1])
    part_of, left = np.zeros(taken.nnz, dtype=np.intp), n_taken
    for part in range(len(shares) - 1, 0, -1):
        wanted = np.maximum(np.floor(shares[part] * n_taken + 0.5), 1).astype(np.intp)
        start = left - np.clip(wanted, 0, np.maximum(left - 1, 0))
        part_of[(place >= start[taken.col]) & (place < left[taken.col])] = part
        left = start
    return tuple(_part(Y, taken, part_of == part) for part in range(len(shares)))


def hold_out_items(Y: Any, share: float = 0.1, *, random_state: int | np.random.RandomState | None = None) -> Fold:
    """Hold out whole items at random: item cold start.

    Train on the warm rows of items and interactions; score the cold rows from their content alone.

    Parameters
    ----------
    Y : array-like or sparse array of shape (n_items, ...)
        Anything with one row an item.
    share : float, default=0.1
        Share of the items to hold out, between 0 and 1. Both parts keep at least one.
    random_state : int, RandomState or None, default=None
        Makes the choice repeatable.

    Returns
    -------
    warm : ndarray of int of shape (n_warm,)
        Rows to train on, ascending.
    cold : ndarray of int of shape (n_cold,)
        Rows held out, ascending.

    Raises
    ------
    ValueError
        If `share` is not between 0 and 1, or there are fewer than two items.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import hold_out_items
    >>> warm, cold = hold_out_items(np.eye(10), share=0.2, random_state=0)
    >>> len(warm), len(cold)
    (8, 2)
    """
    n_items = Y.shape[0] if hasattr(Y, "shape") else len(Y)
    if not 0 < share < 1 or n_items < 2:
        raise ValueError(
            f"Cannot hold out a share of {share} of {n_items} items. Give a share between 0 and 1, and at "
            "least two items."
        )
    order = check_random_state(random_state).permutation(n_items)
    n_cold = min(max(round(share * n_items), 1), n_items - 1)
    return np.sort(order[n_cold:]), np.sort(order[:n_cold])


def warm_start_folds(
    items: Any,
    Y: Any,
    n_splits: int = 5,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, Interactions, list[Fold]]:
    """Make cross-validation by interactions possible in scikit-learn's searches, which split rows.

    For each fold the items are stacked twice: once with the interactions to train on, once with those held
    out. ``cv`` names the rows of both blocks, so a plain ``GridSearchCV`` fits on the first and scores on
    the second. Every item is in both: it must be known by its id, which the index of `items` holds. Use a
    scorer that masks what training has shown, such as ``ndcg_at(10, exclude_seen=True)``, and
    ``refit=False``: a refit would see each item 2 `n_splits` times. Refit on ``(items, Y)`` yourself.

    Parameters
    ----------
    items : DataFrame or array of shape (n_items, n_features)
        One row an item.
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    n_splits : int, default=5
        Number of folds. Each user's interactions are dealt to the folds in turn, from a random fold on; a
        user with fewer interactions than folds is not judged in every fold, and a user with a single one
        has nothing to train on when it is held out.
    random_state : int, RandomState or None, default=None
        Makes the folds repeatable.

    Returns
    -------
    stacked_items : like `items`, of shape (2 * n_splits * n_items, n_features)
        The items, repeated.
    stacked_interactions : Interactions of shape (2 * n_splits * n_items, n_users)
        Training and held-out interactions of each fold in turn. It knows the users' ids; the index of
        `stacked_items` knows the items'.
    cv : list of n_splits tuple of two ndarray of int of shape (n_items,)
        Rows to train on and rows to score, for ``GridSearchCV(cv=)``.

    Raises
    ------
    ValueError
        If `items` and `Y` have different numbers of rows, or `n_splits` is less than two.

    See Also
    --------
    ndcg_at : A scorer for such folds.
    hold_out_items : Item cold start; row folds such as ``KFold`` are that too.

    Examples
    --------
    >>> import pandas as pd
    >>> from modalsplit.evaluate import warm_start_folds
    >>> items = pd.DataFrame({"size": [1.0, 2.0]}, index=["a", "b"])
    >>> stacked, Y, cv = warm_start_folds(items, [[1, 1, 0], [1, 1, 1]], n_splits=2, random_state=0)
    >>> stacked.shape, Y.shape, len(cv)
    ((8, 1), (8, 3), 2)
    """
    taken = _entries(Y)
    n_items, n_users = taken.shape
    n_rows = items.shape[0] if hasattr(items, "shape") else len(items)
    if n_rows != n_items:
        raise ValueError(f"items has {n_rows} rows, but Y has {n_items}. Give one row an item in both.")
    if n_splits < 2:
        raise ValueError(f"n_splits={n_splits}, but cross-validation needs at least 2 folds.")
    rng = check_random_state(random_state)
    place = _shuffled_places(taken.col, n_users, rng)
    fold = (place + rng.randint(n_splits, size=n_users)[taken.col]) % n_splits
    chosen = [mask for number in range(n_splits) for mask in (fold != number, fold == number)]
    parts = sparse.vstack([_part(Y, taken, mask) for mask in chosen], format="csr")
    stacked = Interactions(parts, user_ids=getattr(Y, "user_ids", None))
    rows = np.tile(np.arange(n_items), 2 * n_splits)
    blocks = np.arange(2 * n_splits * n_items).reshape(n_splits, 2, n_items)
    return items.iloc[rows] if hasattr(items, "iloc") else items[rows], stacked, [(a, b) for a, b in blocks]


def _shuffled_places(users: NDArray[Any], n_users: int, rng: Any) -> NDArray[np.intp]:
    """Give the interactions of each user numbers from 0, in random order."""
    order = np.lexsort([rng.random_sample(len(users)), users])
    first = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
    place = np.empty(len(users), dtype=np.intp)
    place[order] = np.arange(len(users)) - first[users[order]]
    return place


def _part(Y: Any, taken: sparse.coo_array, chosen: NDArray[np.bool_]) -> Interactions:
    """Keep the chosen interactions, and the ids of Y."""
    part = sparse.coo_array((taken.data[chosen], (taken.row[chosen], taken.col[chosen])), shape=taken.shape)
    return Interactions(part, item_ids=getattr(Y, "item_ids", None), user_ids=getattr(Y, "user_ids", None))


def _entries(Y: Any) -> sparse.coo_array:
    """List who took what, each pair once and no zeros."""
    taken = sparse.csr_array(Y, copy=True)
    taken.sum_duplicates()
    taken.eliminate_zeros()
    return taken.tocoo()
