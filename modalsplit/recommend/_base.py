"""Recommender: what every model that ranks items for users has in common."""

import warnings
from abc import ABCMeta, abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from modalsplit.evaluate import DotProduct, ndcg_at_k
from modalsplit.recommend._highest import highest
from modalsplit.recommend._index import EFFORT, ItemIndex, Kind, candidates
from modalsplit.recommend._inputs import (
    Taken,
    has_integer_ids,
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
# Of a large catalogue more, for enough users at a time: each block reads the vectors of all items once.
ENOUGH_USERS, MOST_RANKED_BYTES = 64, 2**28
JUDGES, JUDGED_K = 500, 20  # users and items whose recall an index is judged by
LOW_RECALL = 0.9


class Ranking(NamedTuple):
    """Ids, best first, and their scores; unpacks as a pair."""

    ids: NDArray[Any]
    scores: Floats


class Recommender(BaseEstimator, metaclass=ABCMeta):
    """Abstract recommender: a row of X is an item, a column of y is a user.

    A subclass writes `fit`, which calls `_remember` first, and `_score_users`. It may write `_score_rows`
    to score items from their content, `_score_new_users` to score users that `fit` did not see,
    `_item_vectors` for `similar_items`, `_factors` for `index_items`, and `_dot_product` to be judged faster.

    **Rows are known by id.** The index of a DataFrame holds the ids if it is not made of integers; otherwise
    give ``item_ids=``, or `Interactions` that know them when fitting. A row whose id was fitted is scored
    as that item; any other row is a cold item, known by its content alone. Rows without ids are always
    cold: scikit-learn requires that a prediction depends on nothing but the row. An index of integers holds ids where the
    interactions have the same ones, and it does more than count rows from 0.

    Attributes
    ----------
    interactions_ : csr_array of shape (n_items, n_users)
        Ones where a user took an item. A csc_array if they were in files.
    item_ids_ : ndarray of shape (n_items,)
        Ids of the items; their positions if they have none.
    user_ids_ : ndarray of shape (n_users,)
        Ids of the users; their positions if they have none.
    n_items_, n_users_, n_features_in_ : int
        Sizes of the training data.
    index_ : ItemIndex
        What ``recommend(index="hnsw")`` made, with its measured `recall`. It is no part of a file or a pickle.
    """

    interactions_: sparse.csr_array
    item_ids_: NDArray[Any]
    user_ids_: NDArray[Any]
    index_: ItemIndex

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

    def _factors(self, users: NDArray[np.intp] | sparse.csr_array) -> tuple[Floats, Floats, Floats]:
        """Return user vectors, item vectors and item biases whose inner products are the scores.

        Users are given by position, or by (n_users, n_items) interactions.
        """
        raise ValueError(
            f"index= needs scores that are inner products of a vector a user and a vector an item, which those of "
            f"{type(self).__name__} are not. Leave index= out: the exact ranking needs no vectors."
        )

    def _dot_product(self) -> DotProduct | None:
        """Return the scores of the catalogue as inner products, if they are: `evaluate` then scores fewer."""
        return None

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
        self._has_integer_ids = counted is not None and has_integer_ids(X)
        self._remember_taken(taken, is_one_user=is_one_user(y))
        return features

    def _remember_taken(self, taken: Taken, *, is_one_user: bool = False) -> None:
        self.__dict__.pop("index_", None)
        self._one_user = is_one_user
        self._has_item_ids, self._has_user_ids = taken.item_ids is not None, taken.user_ids is not None
        self.interactions_ = taken.positives
        self.n_items_, self.n_users_ = taken.positives.shape
        self.item_ids_ = _ids_or_positions(taken.item_ids, self.n_items_, "item")
        self.user_ids_ = _ids_or_positions(taken.user_ids, self.n_users_, "user")

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
        if ids is None and self._has_integer_ids and has_integer_ids(X):
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
            If `sample_weight` is given, `y` has no positives, or its items or users are others or in another order.
        """
        if sample_weight is not None:
            raise ValueError("score does not support sample_weight: NDCG weighs users, not the rows of X.")
        scores = self.decision_function(X, item_ids=item_ids).reshape(-1, self.n_users_)
        relevant, _, user_ids = read_interactions(y, row_ids(X, item_ids))
        _check_shapes(len(scores), relevant)
        if user_ids is not None and self._has_user_ids and not np.array_equal(user_ids, self.user_ids_):
            raise ValueError(
                "The users of y are not those of fit, in the same order. Split one Interactions into its parts."
            )
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
        index: Kind | ItemIndex | None = None,
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
        index : "hnsw", "usearch", "flat" or ItemIndex, optional
            Look for the best with an index instead of scoring the whole catalogue. Scores of what it finds are
            exact, and nothing seen is among them, but some of the best may be missed. A name makes an index once,
            as `index_items` does, keeps it as ``index_``, and warns if its recall is below 0.9. By default the ranking is
            exact, which is faster below some 10,000 items.

        Returns
        -------
        ids : ndarray of shape (n, k) or (k,)
            Item ids, best first; one dimension for a single id.
        scores : ndarray of shape (n, k) or (k,)
            Their scores.

        Raises
        ------
        ValueError
            If a user is unknown, `k` exceeds the catalogue, both `users` and `interactions` are given, or scores are
            no inner products, so that no index can find the highest.
        ImportError
            If the library of the index is not installed.
        """
        check_is_fitted(self)
        self._check_k(k, self.n_items_)
        if interactions is not None and users is not None:
            raise ValueError("Give users known at fit, or the interactions of new users, not both.")
        at: Any
        score: Any
        if interactions is not None:
            at = taken = self._new_users(interactions)
            score = self._score_new_users
        else:
            at = np.arange(self.n_users_) if users is None else positions(users, self.user_ids_, "user")
            taken = self.interactions_.T.tocsr()[at]
            score = self._score_users
        if index is None:
            ranking = self._ranked(k, exclude_seen, taken, lambda part: score(at[part]))
        else:
            ranking = self._ranked_by(self._index(index), k, exclude_seen, taken, at, score)
        is_single = users is not None and np.ndim(users) == 0
        return Ranking(ranking.ids[0], ranking.scores[0]) if is_single else ranking

    def index_items(self, kind: Kind = "hnsw", *, effort: int = EFFORT, n_jobs: int = 1) -> ItemIndex:
        """Make an index of the catalogue, and measure what it finds.

        Parameters
        ----------
        kind : {"hnsw", "usearch", "flat"}, default="hnsw"
            A graph of FAISS or of USearch, approximate; or FAISS's exact comparison with all items.
        effort : int, default=128
            Candidates that a search in a graph looks at, at least: more find more, and take longer.
        n_jobs : int, default=1
            Threads that build the graph. With one, the same items give the same index.

        Returns
        -------
        ItemIndex
            For ``recommend(index=...)``. Its `recall` is that of twenty items for 500 users, as `index_recall` measures
            it.

        Raises
        ------
        ValueError
            If scores are no inner products of users and items.
        ImportError
            If FAISS (``pip install modalsplit[faiss]``) or USearch (``modalsplit[usearch]``) is not installed.
        """
        check_is_fitted(self)
        _, items, bias = self._factors(np.arange(0))
        index = ItemIndex(kind, items, bias, self.item_ids_, effort=effort, n_jobs=n_jobs)
        judges = np.random.default_rng(0).permutation(self.n_users_)[:JUDGES]
        index.recall = self.index_recall(index, self.user_ids_[judges], min(JUDGED_K, self.n_items_))
        return index

    def index_recall(self, index: ItemIndex, users: Any = None, k: int = 10) -> float:
        """Measure how many of the best unseen items an index finds.

        Parameters
        ----------
        index : ItemIndex
            From `index_items`.
        users : array-like of shape (n,), optional
            Ids as known at fit. By default all of them.
        k : int, default=10
            Items a user.

        Returns
        -------
        float
            Share of the `k` best items that ``recommend(users, k, index=index)`` finds, mean over users, 0 to 1.
        """
        exact, found = self.recommend(users, k).ids, self.recommend(users, k, index=index).ids
        pairs = zip(np.atleast_2d(exact).tolist(), np.atleast_2d(found).tolist(), strict=True)
        return float(np.mean([len(set(one) & set(other)) / k for one, other in pairs]))

    def _index(self, index: Kind | ItemIndex) -> ItemIndex:
        if isinstance(index, ItemIndex):
            _, items, bias = self._factors(np.arange(0))
            if not index.is_of(items, bias):
                raise ValueError(
                    "The index was made of other items, or before another fit. Make a new one with index_items."
                )
            return index
        if getattr(self, "index_", None) is None or self.index_.kind != index:
            self.index_ = self.index_items(index)
            if self.index_.recall < LOW_RECALL:
                warnings.warn(
                    f"The index finds {self.index_.recall:.1%} of the best items only. Make one with more effort, "
                    f"index_items({index!r}, effort={4 * EFFORT}), and pass it as index=.",
                    UserWarning,
                    stacklevel=3,
                )
        return self.index_

    def _ranked_by(
        self, index: ItemIndex, k: int, exclude_seen: bool, taken: sparse.csr_array, at: Any, score: Any
    ) -> Ranking:
        users, items, bias = self._factors(at)
        seen = taken if exclude_seen else sparse.csr_array(taken.shape, dtype=taken.dtype)
        found, left = candidates(index, users, items, bias, seen, k)
        if left.size:
            exact = self._ranked_rows(k, exclude_seen, taken[left], lambda part: score(at[left[part]]))
            found.rows[left], found.scores[left] = exact
        return Ranking(self.item_ids_[found.rows], found.scores)

    def _ranked(self, k: int, exclude_seen: bool, taken: sparse.csr_array, score: Any) -> Ranking:
        rows, scores = self._ranked_rows(k, exclude_seen, taken, score)
        return Ranking(self.item_ids_[rows], scores)

    def _ranked_rows(
        self, k: int, exclude_seen: bool, taken: sparse.csr_array, score: Any
    ) -> tuple[NDArray[np.intp], Floats]:
        rows, best = [np.empty((0, k), dtype=np.intp)], [np.empty((0, k), dtype=np.float32)]
        a_user = 8 * self.n_items_
        at_once = max(RANKED_BYTES // a_user, min(ENOUGH_USERS, MOST_RANKED_BYTES // a_user), 1)
        for block in gen_batches(taken.shape[0], at_once) if taken.shape[0] else ():
            scores = score(block)
            if not scores.flags.writeable or (exclude_seen and not scores.flags.owndata):
                scores = np.array(scores)
            if exclude_seen:
                scores[taken[block].nonzero()] = -np.inf
            top = highest(scores, k)
            rows.append(top)
            best.append(np.take_along_axis(scores, top, axis=1))
        return np.concatenate(rows), np.concatenate(best)

    def _new_users(self, interactions: Any) -> sparse.csr_array:
        taken, item_ids, _ = read_interactions(interactions)
        if taken.shape[0] != self.n_items_:
            raise ValueError(
                f"interactions has {taken.shape[0]} rows, but the fitted catalogue has {self.n_items_} "
                "items. Give items in the rows and new users in the columns."
            )
        if item_ids is not None and self._has_item_ids and not np.array_equal(item_ids, self.item_ids_):
            raise ValueError(
                "The items of interactions are not those of fit, in the same order. Interactions.from_frame(..., "
                "item_ids=model.item_ids_) puts them so."
            )
        by_user: sparse.csr_array = taken.T.tocsr()
        return by_user

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
        top = highest(cosines, k)
        ids, scores = self.item_ids_[top], np.take_along_axis(cosines, top, axis=1)
        return Ranking(ids[0], scores[0]) if np.ndim(items) == 0 else Ranking(ids, scores)

    def _check_k(self, k: int, most: int) -> None:
        if not 1 <= k <= most:
            raise ValueError(f"k={k} must be between 1 and {most}: the catalogue has {self.n_items_} items.")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "index_"}

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
