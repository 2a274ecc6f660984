"""Split interactions, or items, into parts for training and for judging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state

from modalsplit.evaluate._placements import check_option
from modalsplit.interactions import Interactions

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
By = Literal["user", "global"]


class Split(NamedTuple):
    """Interactions in three parts that do not overlap; each of shape (n_items, n_users), with the ids of all.

    Attributes
    ----------
    train : Interactions
        To fit models on.
    valid : Interactions
        To choose among them.
    test : Interactions
        To judge the one that was chosen, once.
    """

    train: Interactions
    valid: Interactions
    test: Interactions

    @property
    def seen(self) -> Interactions:
        """Training and validation part together: what is no candidate in the test, and may be fitted again."""
        return Interactions(self.train + self.valid, item_ids=self.train.item_ids, user_ids=self.train.user_ids)

    @property
    def cold_items(self) -> NDArray[np.intp]:
        """Rows of items that are held out, but not in training: models without content cannot rank them."""
        held_out = (self.valid + self.test).sum(axis=1) > 0
        return np.flatnonzero(held_out & (self.train.sum(axis=1) == 0))


def split_interactions(
    Y: Any,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    by: By = "user",
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Interactions, ...]:
    """Split interactions at random into training, validation and test parts.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    shares : sequence of float, default=(0.8, 0.1, 0.1)
        Share of each part, with training first; they sum to 1. Of n interactions of a user, a part with share p
        gets n p, rounded half up and at least one; the last part chooses first. Training gets the rest and
        never less than one: a user of two interactions has one for training and one for test, a user of
        one has only training.
    by : {"user", "global"}, default="user"
        ``"global"`` splits all interactions by the same rule, whoever's they are: users may have none in training.
    random_state : int, RandomState or None, default=None
        Makes the split repeatable.

    Returns
    -------
    tuple of Interactions of shape (n_items, n_users)
        The parts in the order of `shares`, with the ids of `Y`. They do not overlap and sum to `Y`.

    Raises
    ------
    ValueError
        If the shares are fewer than two, not positive or do not sum to 1, or `by` is not known.

    See Also
    --------
    interaction_folds : The same in turn: each interaction is in one test.
    leave_one_out : One interaction of each user.
    temporal_split : By time.
    hold_out_items : Splits items, to judge what is new.
    hold_out_users : Splits users.
    warm_start_folds : Folds of interactions for ``GridSearchCV``.

    Examples
    --------
    >>> from modalsplit.datasets import load_wines
    >>> from modalsplit.evaluate import split_interactions
    >>> parts = split_interactions(load_wines().interactions.k_core(5), random_state=0)
    >>> [part.nnz for part in parts]
    [119033, 15158, 15158]
    """
    check_shares(shares)
    taken = entries(Y)
    group, n_groups = _groups(taken, by)
    place = _shuffled_places(group, n_groups, check_random_state(random_state))
    part_of = parts_by_place(group, place, n_groups, shares)
    return tuple(part_of_interactions(Y, taken, part_of == part) for part in range(len(shares)))


def interaction_folds(
    Y: Any, n_splits: int = 5, *, by: By = "user", random_state: int | np.random.RandomState | None = None
) -> list[Split]:
    """Split interactions into folds that are test in turn, with the next one for validation and the rest to train on.

    Five folds are the paper's protocol, 3:1:1.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    n_splits : int, default=5
        Number of folds, 3 or more.
    by : {"user", "global"}, default="user"
        ``"user"`` deals each user's interactions to the folds in turn, from a random fold on: a user with at least
        `n_splits` of them is in every part of every split. ``"global"`` deals all interactions, whoever's they are.
    random_state : int, RandomState or None, default=None
        Makes the folds repeatable.

    Returns
    -------
    list of n_splits Split
        Each interaction is in one test part and in one validation part. `Split.cold_items` tells which items a
        split does not train on.

    Raises
    ------
    ValueError
        If `n_splits` is less than 3, or `by` is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import interaction_folds
    >>> [part.nnz for part in interaction_folds(np.ones((10, 4)), random_state=0)[0]]
    [24, 8, 8]
    """
    if n_splits < 3:
        raise ValueError(f"n_splits={n_splits}, but training, validation and test need at least 3 folds.")
    taken = entries(Y)
    group, n_groups = _groups(taken, by)
    fold = _dealt(group, n_groups, n_splits, check_random_state(random_state))
    valid = [(test + 1) % n_splits for test in range(n_splits)]
    return [
        Split(
            part_of_interactions(Y, taken, (fold != test) & (fold != valid[test])),
            part_of_interactions(Y, taken, fold == valid[test]),
            part_of_interactions(Y, taken, fold == test),
        )
        for test in range(n_splits)
    ]


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
    return _hold_out(Y.shape[0] if hasattr(Y, "shape") else len(Y), share, "items", random_state)


def hold_out_users(Y: Any, share: float = 0.1, *, random_state: int | np.random.RandomState | None = None) -> Fold:
    """Hold out whole users at random: user cold start.

    Train on the columns of the warm users. Split the interactions of the cold ones with `split_interactions`: give
    one part to a model that takes new users without a refit, and judge it by the other.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what.
    share : float, default=0.1
        Share of the users to hold out, between 0 and 1. Both parts keep at least one.
    random_state : int, RandomState or None, default=None
        Makes the choice repeatable.

    Returns
    -------
    warm : ndarray of int of shape (n_warm,)
        Columns to train on, ascending.
    cold : ndarray of int of shape (n_cold,)
        Columns held out, ascending.

    Raises
    ------
    ValueError
        If `share` is not between 0 and 1, or there are fewer than two users.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import hold_out_users
    >>> warm, cold = hold_out_users(np.ones((3, 10)), share=0.2, random_state=0)
    >>> len(warm), len(cold)
    (8, 2)
    """
    return _hold_out(np.shape(Y)[1], share, "users", random_state)


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
    taken = entries(Y)
    n_items, n_users = taken.shape
    n_rows = items.shape[0] if hasattr(items, "shape") else len(items)
    if n_rows != n_items:
        raise ValueError(f"items has {n_rows} rows, but Y has {n_items}. Give one row an item in both.")
    if n_splits < 2:
        raise ValueError(f"n_splits={n_splits}, but cross-validation needs at least 2 folds.")
    fold = _dealt(taken.col, n_users, n_splits, check_random_state(random_state))
    chosen = [mask for number in range(n_splits) for mask in (fold != number, fold == number)]
    parts = sparse.vstack([part_of_interactions(Y, taken, mask) for mask in chosen], format="csr")
    stacked = Interactions(parts, user_ids=getattr(Y, "user_ids", None))
    rows = np.tile(np.arange(n_items), 2 * n_splits)
    blocks = np.arange(2 * n_splits * n_items).reshape(n_splits, 2, n_items)
    return items.iloc[rows] if hasattr(items, "iloc") else items[rows], stacked, [(a, b) for a, b in blocks]


def check_shares(shares: Sequence[float]) -> None:
    """Refuse shares that are no partition."""
    if len(shares) < 2 or min(shares) <= 0 or not np.isclose(sum(shares), 1):
        raise ValueError(f"shares must be at least two positive numbers that sum to 1, but are {shares}.")


def parts_by_place(
    group: NDArray[Any], place: NDArray[np.intp], n_groups: int, shares: Sequence[float]
) -> NDArray[np.intp]:
    """Give each interaction a part by its place among those of its group; the last places are the last part."""
    n_taken = np.bincount(group, minlength=n_groups)
    part_of, left = np.zeros(len(group), dtype=np.intp), n_taken
    for part in range(len(shares) - 1, 0, -1):
        # A product such as 0.29 * 50 lies below the half that it stands for.
        wanted = np.maximum(np.floor(np.round(shares[part] * n_taken, 9) + 0.5), 1).astype(np.intp)
        start = left - np.clip(wanted, 0, np.maximum(left - 1, 0))
        part_of[(place >= start[group]) & (place < left[group])] = part
        left = start
    return part_of


def places(group: NDArray[Any], order_by: NDArray[Any], n_groups: int) -> NDArray[np.intp]:
    """Give the interactions of each group numbers from 0, in the order of some values."""
    order = np.lexsort([order_by, group])
    first = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=n_groups))])
    place = np.empty(len(group), dtype=np.intp)
    place[order] = np.arange(len(group)) - first[group[order]]
    return place


def part_of_interactions(Y: Any, taken: sparse.coo_array, chosen: NDArray[np.bool_]) -> Interactions:
    """Keep the chosen interactions, and the ids of Y."""
    part = sparse.coo_array((taken.data[chosen], (taken.row[chosen], taken.col[chosen])), shape=taken.shape)
    return Interactions(part, item_ids=getattr(Y, "item_ids", None), user_ids=getattr(Y, "user_ids", None))


def entries(Y: Any) -> sparse.coo_array:
    """List who took what, each pair once and no zeros."""
    taken = sparse.csr_array(Y, copy=True)
    taken.sum_duplicates()
    taken.eliminate_zeros()
    return taken.tocoo()


def _groups(taken: sparse.coo_array, by: By) -> tuple[NDArray[Any], int]:
    """Say whose interactions are split together."""
    check_option("by", by, By)
    return (taken.col, taken.shape[1]) if by == "user" else (np.zeros(taken.nnz, dtype=np.intp), 1)


def _shuffled_places(group: NDArray[Any], n_groups: int, rng: Any) -> NDArray[np.intp]:
    return places(group, rng.random_sample(len(group)), n_groups)


def _dealt(group: NDArray[Any], n_groups: int, n_splits: int, rng: Any) -> NDArray[np.intp]:
    """Deal the interactions of each group to folds in turn, from a random fold on."""
    place = _shuffled_places(group, n_groups, rng)
    dealt: NDArray[np.intp] = (place + rng.randint(n_splits, size=n_groups)[group]) % n_splits
    return dealt


def _hold_out(n: int, share: float, what: str, random_state: int | np.random.RandomState | None) -> Fold:
    if not 0 < share < 1 or n < 2:
        raise ValueError(
            f"Cannot hold out a share of {share} of {n} {what}. Give a share between 0 and 1, and at least two {what}."
        )
    order = check_random_state(random_state).permutation(n)
    n_cold = min(max(round(share * n), 1), n - 1)
    return np.sort(order[n_cold:]), np.sort(order[:n_cold])
