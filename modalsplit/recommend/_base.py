"""Recommender: what every model that ranks items for users has in common."""

from abc import ABCMeta, abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from modalsplit.evaluate import ndcg_at_k
from modalsplit.recommend._inputs import (
    integer_ids,
    is_one_user,
    positions,
    read_interactions,
    row_ids,
    unique,
)

Floats = NDArray[np.floating[Any]]
BLOCK_BYTES = 2**26
RANKED_BYTES = 2**24  # small enough that the allocator keeps the memory from block to block
GROUP = 64  # columns


class Ranking(NamedTuple):
    """Ids, best first, and their scores; unpacks as a pair."""

    ids: NDArray[Any]
    scores: Floats


class Recommender(BaseEstimator, metaclass=ABCMeta):
    """Abstract recommender: a row of X is an item, a column of y is a user.

    A subclass writes `fit`, which calls `_remember` first, and `_score_users`. It may write `_score_rows`
    to score items from their content, `_score_new_users` to score users that `fit` did not see, and
    `_item_vectors` for `similar_items`.

    **Rows are known by id.** The index of a DataFrame holds the ids if it is not made of integers; otherwise
    give ``item_ids=``, or `Interactions` that know them when fitting. A row whose id was fitted is scored
    as that item; any other row is a cold item, known by its content alone. Rows without ids are always
    cold: scikit-learn requires that a prediction depends on nothing but the row.

    Attributes
    ----------
    interactions_ : csr_array of shape (n_items, n_users)
        Ones where a user took an item.
    item_ids_ : ndarray of shape (n_items,)
        Ids of the items; their positions if they have none.
    user_ids_ : ndarray of shape (n_users,)
        Ids of the users; their positions if they have none.
    n_items_, n_users_, n_features_in_ : int
        Sizes of the training data.
    """

    interactions_: sparse.csr_array
    item_ids_: NDArray[Any]
    user_ids_: NDArray[Any]

    @abstractmethod
    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Learn from who took what.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_items, n_features)
            One row an item.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        self
            The fitted recommender.
        """

    @abstractmethod
    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        """Score the fitted catalogue for users given by position: (n_users, n_items), higher is better.

        The array is the caller's to change, unless it is a view or cannot be written to.
        """

    def _score_rows(self, X: Floats, rows: NDArray[np.intp]) -> Floats:
        """Score rows of X, given the position each has in the catalogue, or -1: (n_rows, n_users).

        Unless overridden, an item that is not in the catalogue ranks last.
        """
        scores = self._score_users(np.arange(self.n_users_))
        return np.where(rows >= 0, scores[:, rows], scores.min(axis=1, keepdims=True)).T

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        """Score the catalogue for users known by (n_users, n_items) interactions: (n_users, n_items)."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot score users that were not in fit. Fit it again with them."
        )

    def _item_vectors(self) -> Any:
        """Return what `similar_items` compares: (n_items, n), dense or sparse."""
        return self.interactions_

    def _remember(self, X: Any, y: Any, item_ids: ArrayLike | None = None) -> Floats:
        """Validate the training data and keep what every recommender needs; return X as an array."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. y says who took "
                "what: items in the rows, users in the columns."
            )
        named = row_ids(X, item_ids)
        counted = integer_ids(X, y) if named is None else None
        features = self._check_rows(X, reset=True)
        taken = read_interactions(y, named if counted is None else counted)
        _check_shapes(len(features), taken.positives)
        self._one_user = is_one_user(y)
        self._has_item_ids = taken.item_ids is not None
        self._index_type = None if counted is None else type(X.index)
        self.interactions_ = taken.positives
        self.n_items_, self.n_users_ = taken.positives.shape
        self.item_ids_ = _ids_or_positions(taken.item_ids, self.n_items_, "item")
        self.user_ids_ = _ids_or_positions(taken.user_ids, self.n_users_, "user")
        return features

    def _check_rows(self, X: Any, *, reset: bool = False) -> Floats:
        allow_nan = self.__sklearn_tags__().input_tags.allow_nan
        features: Floats = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if allow_nan else True,
        )
        return features

    def _rows_of(self, X: Any, item_ids: ArrayLike | None) -> NDArray[np.intp] | None:
        """Find the rows' positions in the catalogue, -1 for a cold item; None if rows have no ids."""
        ids = row_ids(X, item_ids)
        if ids is None and hasattr(X, "iloc") and type(X.index) is self._index_type:
            ids = X.index.to_numpy()
        if ids is None or not self._has_item_ids:
            return None
        found: NDArray[np.intp] = pd.Index(self.item_ids_).get_indexer(pd.Index(ids))
        return found

    def decision_function(self, X: Any, *, item_ids: ArrayLike | None = None) -> Floats:
        """Score items for all fitted users.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            One row an item.
        item_ids : array-like of shape (n_rows,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        ndarray of shape (n_rows, n_users) or (n_rows,)
            Scores, without unit; higher is better. One dimension if `y` had one.
        """
        check_is_fitted(self)
        features = self._check_rows(X)
        rows = self._rows_of(X, item_ids)
        scores = self._score_rows(features, np.full(len(features), -1) if rows is None else rows)
        return scores[:, 0] if self._one_user else scores

    def predict(self, X: Any, *, item_ids: ArrayLike | None = None) -> Floats:
        """Score items for all fitted users, as `decision_function` does: a ranking has no threshold.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            One row an item.
        item_ids : array-like of shape (n_rows,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        ndarray of shape (n_rows, n_users) or (n_rows,)
            Scores, without unit; higher is better.
        """
        return self.decision_function(X, item_ids=item_ids)

    def score(self, X: Any, y: Any, sample_weight: None = None, *, item_ids: ArrayLike | None = None) -> float:
        """Measure the ranking of the rows of X for each user, by NDCG@10.

        What a user took in training is not masked: to judge interactions that were split, mask them with
        `seen`, as the scorers of `modalsplit.evaluate` do.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            One row an item; users rank these rows.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_rows, n_users) or (n_rows,)
            Positive where the user took the item.
        sample_weight : None
            Not supported; it is here because ``Pipeline.score`` passes it on.
        item_ids : array-like of shape (n_rows,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        float
            Mean NDCG@10 over the users with a positive in `y`, 0 to 1; higher is better.

        Raises
        ------
        ValueError
            If `sample_weight` is given, or `y` has no positives.
        """
        if sample_weight is not None:
            raise ValueError("score does not support sample_weight: NDCG weighs users, not the rows of X.")
        scores = self.decision_function(X, item_ids=item_ids).reshape(-1, self.n_users_)
        relevant = read_interactions(y).positives
        _check_shapes(len(scores), relevant)
        return float(np.nanmean(ndcg_at_k(scores, relevant, 10)))

    def seen(self, X: Any, *, item_ids: ArrayLike | None = None) -> sparse.csr_array | None:
        """Tell which training interactions the rows of X have.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            One row an item.
        item_ids : array-like of shape (n_rows,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        csr_array of bool of shape (n_rows, n_users) or None
            True where the user took the item in training, False throughout for a cold item. None if rows
            cannot be recognised, because they or the training data had no ids.
        """
        check_is_fitted(self)
        rows = self._rows_of(X, item_ids)
        if rows is None:
            return None
        known = np.flatnonzero(rows >= 0)
        pick = sparse.csr_array(
            (np.ones(len(known), dtype=np.float32), (known, rows[known])), shape=(len(rows), self.n_items_)
        )
        return sparse.csr_array(pick @ self.interactions_, dtype=bool)

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        interactions: Any = None,
    ) -> Ranking:
        """Rank the fitted catalogue for some users.

        Parameters
        ----------
        users : array-like of shape (n,) or a single id, optional
            Ids as known at fit: ``user_ids_``. By default all of them.
        k : int, default=10
            Items a user.
        exclude_seen : bool, default=True
            Leave out what the user took already. A user who has fewer than `k` items left gets the seen ones
            after them, with score -inf, so that the result stays rectangular.
        interactions : sparse matrix or array of shape (n_items, n), optional
            What new users took, one column each, instead of `users`: they need not have been in `fit`.

        Returns
        -------
        ids : ndarray of shape (n, k) or (k,)
            Item ids, best first; one dimension for a single id.
        scores : ndarray of shape (n, k) or (k,)
            Their scores.

        Raises
        ------
        ValueError
            If a user is unknown, `k` exceeds the catalogue, or both `users` and `interactions` are given.
        """
        check_is_fitted(self)
        self._check_k(k, self.n_items_)
        if interactions is not None:
            if users is not None:
                raise ValueError("Give users known at fit, or the interactions of new users, not both.")
            taken = self._new_users(interactions)
            return self._ranked(k, exclude_seen, taken, lambda part: self._score_new_users(taken[part]))
        at = np.arange(self.n_users_) if users is None else positions(users, self.user_ids_, "user")
        taken = self.interactions_.T.tocsr()[at]
        ranking = self._ranked(k, exclude_seen, taken, lambda part: self._score_users(at[part]))
        is_single = users is not None and np.ndim(users) == 0
        return Ranking(ranking.ids[0], ranking.scores[0]) if is_single else ranking

    def _ranked(self, k: int, exclude_seen: bool, taken: sparse.csr_array, score: Any) -> Ranking:
        ids, best = [], []
        for block in gen_batches(taken.shape[0], max(1, RANKED_BYTES // (8 * self.n_items_))):
            scores = score(block)
            if exclude_seen and not (scores.flags.owndata and scores.flags.writeable):
                scores = np.array(scores)
            if exclude_seen:
                scores[taken[block].nonzero()] = -np.inf
            top = _top(scores, k)
            ids.append(self.item_ids_[top])
            best.append(np.take_along_axis(scores, top, axis=1))
        return Ranking(np.concatenate(ids), np.concatenate(best))

    def _new_users(self, interactions: Any) -> sparse.csr_array:
        taken = read_interactions(interactions).positives
        if taken.shape[0] != self.n_items_:
            raise ValueError(
                f"interactions has {taken.shape[0]} rows, but the fitted catalogue has {self.n_items_} "
                "items. Give items in the rows and new users in the columns."
            )
        return taken.T.tocsr()

    def similar_items(self, items: Any, k: int = 10) -> Ranking:
        """Find the fitted items most like some fitted items, by cosine.

        Parameters
        ----------
        items : array-like of shape (n,) or a single id
            Ids as known at fit: ``item_ids_``.
        k : int, default=10
            How many to find for each; the item itself is left out.

        Returns
        -------
        ids : ndarray of shape (n, k) or (k,)
            Item ids, most alike first; one dimension for a single id.
        scores : ndarray of shape (n, k) or (k,)
            Cosines, -1 to 1.

        Raises
        ------
        ValueError
            If an item is unknown, or `k` is not smaller than the catalogue.
        """
        check_is_fitted(self)
        self._check_k(k, self.n_items_ - 1)
        at = positions(items, self.item_ids_, "item")
        vectors = normalize(self._item_vectors())
        product: Any = vectors[at] @ vectors.T
        cosines = product.toarray() if hasattr(product, "toarray") else product
        cosines[np.arange(len(at)), at] = -np.inf
        top = _top(cosines, k)
        ids, scores = self.item_ids_[top], np.take_along_axis(cosines, top, axis=1)
        return Ranking(ids[0], scores[0]) if np.ndim(items) == 0 else Ranking(ids, scores)

    def _check_k(self, k: int, most: int) -> None:
        if not 1 <= k <= most:
            raise ValueError(f"k={k} must be between 1 and {most}: the catalogue has {self.n_items_} items.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _check_shapes(n_rows: int, positives: sparse.csr_array) -> None:
    n_items, n_users = positives.shape
    if n_items != n_rows:
        hint = (
            "y looks transposed: pass y.T, with items in the rows and users in the columns."
            if n_users == n_rows
            else "Give one row an item in both; Interactions.from_frame(..., item_ids=X.index) aligns them."
        )
        raise ValueError(f"X has {n_rows} rows, but y has shape {positives.shape}. {hint}")
    if positives.nnz == 0:
        raise ValueError(
            f"y holds no interactions: none of its values is positive, in shape {positives.shape}. There is "
            "nothing to learn from."
        )


def _ids_or_positions(ids: NDArray[Any] | None, n: int, what: str) -> NDArray[Any]:
    index = unique(ids, what)
    return np.arange(n) if index is None else index.to_numpy()


def _top(scores: Floats, k: int) -> NDArray[np.intp]:
    """Find the k highest of each row, in order; ties by position, NaN last."""
    values = torch.from_numpy(np.ascontiguousarray(scores))
    n_columns = values.shape[1]
    n_whole = n_columns // GROUP * GROUP
    if 2 * k * GROUP > n_columns:
        top = values.topk(k, dim=1).indices
    else:
        # The k highest are in the k groups with the highest maxima: that leaves few columns to select from.
        groups = values[:, :n_whole].view(len(values), -1, GROUP).amax(2).topk(k, dim=1).indices
        within, rest = torch.arange(GROUP), torch.arange(n_whole, n_columns).expand(len(values), -1)
        columns = torch.cat([(groups[:, :, None] * GROUP + within).flatten(1), rest], dim=1)
        top = columns.gather(1, values.gather(1, columns).topk(k, dim=1).indices)
    top = top.sort(dim=1).values
    highest = values.gather(1, top)
    if highest.isnan().any():  # torch takes NaN for the highest of all, so one anywhere in a row is found here
        return _top(np.where(np.isnan(scores), -np.inf, scores), k)
    order = highest.argsort(dim=1, descending=True, stable=True)
    found: NDArray[np.intp] = top.gather(1, order).numpy()
    return found
