"""ContentKNN: rank items by their likeness to what a user took."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from modalsplit.recommend import Recommender

Floats = NDArray[np.floating[Any]]


class ContentKNN(Recommender):
    """Rank items by the sum of their cosines to the items that a user took.

    Only the content of items counts, so items that were not in training are ranked as well as the others.

    Attributes
    ----------
    item_directions_ : ndarray of shape (n_items, n_features)
        The content of items, scaled to unit length; zero for an item without content.
    profiles_ : ndarray of shape (n_users, n_features)
        Sum of the directions of the items that the user took: its inner product with a direction is the sum
        of cosines.

    See Also
    --------
    PopularityOfNeighbours : Ranks by content and popularity, the same for everybody.

    Notes
    -----
    A cosine is large for all pairs if the features are far from zero on average, as activations after a
    ReLU are. Centre them first, with ``StandardScaler(with_std=False)``.

    Examples
    --------
    >>> from modalsplit.baselines import ContentKNN
    >>> X = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> ContentKNN().fit(X, [[1], [0], [0]]).recommend([0], k=2).scores
    array([[0.8, 0. ]])
    """

    item_directions_: Floats
    profiles_: Floats

    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Sum up the content of what each user took.

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
        features = self._remember(X, y, item_ids)
        self.item_directions_ = normalize(features)
        self.profiles_ = self.interactions_.T @ self.item_directions_
        return self

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        return self.profiles_[users] @ self.item_directions_.T

    def _score_rows(self, X: Floats, rows: NDArray[np.intp]) -> Floats:
        scores: Floats = normalize(X) @ self.profiles_.T
        return scores

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        scores: Floats = (interactions @ self.item_directions_) @ self.item_directions_.T
        return scores

    def _item_vectors(self) -> Floats:
        return self.item_directions_
