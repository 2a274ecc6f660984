"""Popularity: the same ranking for everybody, by how many users took an item."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from modalsplit._sklearn import Interval
from modalsplit.recommend import Recommender

Floats = NDArray[np.floating[Any]]


class _SameForAll(Recommender):
    """Abstract: the score of an item is how many users took it."""

    n_taken_: Floats

    def _count(self) -> Floats:
        counts: Floats = self.interactions_.sum(axis=1, dtype=np.float64)
        return counts

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        return np.broadcast_to(self.n_taken_, (len(users), self.n_items_))

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        return np.broadcast_to(self.n_taken_, interactions.shape)


class Popularity(_SameForAll):
    """Rank items by how many users took them.

    The content of items is ignored, and items that were not in training rank last.

    Attributes
    ----------
    n_taken_ : ndarray of shape (n_items,)
        Users who took the item: its score for everybody.

    See Also
    --------
    PopularityOfNeighbours : Ranks items that were not in training too.

    Examples
    --------
    >>> from modalsplit.baselines import Popularity
    >>> Popularity().fit([[0.0], [0.0]], [[1, 0, 0], [1, 1, 0]]).recommend([2], k=2).ids
    array([[1, 0]])
    """

    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Count the users of each item.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_items, n_features)
            One row an item; its values are not used.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        self
            The fitted recommender.
        """
        self._remember(X, y, item_ids)
        self.n_taken_ = self._count()
        return self


class PopularityOfNeighbours(_SameForAll):
    """Rank items by popularity; an item that was not in training has that of the items most like it.

    Parameters
    ----------
    n_neighbors : int, default=10
        Items of the catalogue, by cosine of their features, over whose popularity to average. The whole
        catalogue if it is smaller.

    Attributes
    ----------
    n_taken_ : ndarray of shape (n_items,)
        Users who took the item.
    neighbours_ : NearestNeighbors
        Finds items by content.

    See Also
    --------
    ContentKNN : Ranks items for each user.

    Examples
    --------
    >>> from modalsplit.baselines import PopularityOfNeighbours
    >>> X, Y = [[1.0, 0.0], [0.0, 1.0]], [[1, 1, 1], [0, 0, 1]]
    >>> PopularityOfNeighbours(n_neighbors=1).fit(X, Y).predict([[0.9, 0.1]])
    array([[3., 3., 3.]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, n_neighbors: int = 10) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Count the users of each item and index the items' content.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_items, n_features)
            One row an item: its content.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        self
            The fitted recommender.
        """
        self._validate_params()
        features = self._remember(X, y, item_ids)
        self.n_taken_ = self._count()
        self.neighbours_ = NearestNeighbors(
            n_neighbors=min(self.n_neighbors, self.n_items_), metric="cosine", algorithm="brute"
        ).fit(features)
        return self

    def _score_rows(self, X: Floats, rows: NDArray[np.intp]) -> Floats:
        nearest = self.neighbours_.kneighbors(X, return_distance=False)
        scores = np.where(rows >= 0, self.n_taken_[rows], self.n_taken_[nearest].mean(axis=1))
        return np.repeat(scores[:, None], self.n_users_, axis=1)
