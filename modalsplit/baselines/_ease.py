"""EASE: a linear item-to-item model in closed form."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse

from modalsplit._sklearn import Interval
from modalsplit.recommend import Recommender

Floats = NDArray[np.floating[Any]]


class EASE(Recommender):
    """Embarrassingly shallow autoencoder: predict what users take from what else they take.

    The item-to-item weights B minimise ‖R - R B‖² + l2 ‖B‖² with a zero diagonal, where R is users by
    items. With P = (RᵀR + l2 I)⁻¹, they are B_ij = -P_ij / P_jj off the diagonal: no iterations and nothing
    random. On warm items it is hard to beat. The content of items is ignored, and items that were not in
    training rank last.

    Parameters
    ----------
    l2 : float, default=200.0
        Regularisation, in interactions. Positive; larger for sparser data.

    Attributes
    ----------
    weights_ : ndarray of shape (n_items, n_items)
        B: what an item that a user took (row) adds to the score of another (column).

    Notes
    -----
    `fit` takes 12 `n_items`² bytes of memory and time proportional to `n_items`³, in single precision.

    References
    ----------
    H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.

    Examples
    --------
    Whoever takes the first item takes the second.

    >>> from modalsplit.baselines import EASE
    >>> Y = [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    >>> EASE(l2=1.0).fit([[0.0]] * 3, Y).recommend([2], k=1).ids
    array([[1]])
    """

    weights_: Floats

    # Without l2 there may be no solution.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"l2": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, l2: float = 200.0) -> None:
        self.l2 = l2

    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Solve for the weights.

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

        Raises
        ------
        ValueError
            If `l2` is not positive, or X and y do not fit together.
        """
        self._validate_params()
        self._remember(X, y, item_ids)
        gram = (self.interactions_ @ self.interactions_.T).toarray()
        gram[np.diag_indices(self.n_items_)] += self.l2
        factor = linalg.cho_factor(gram, overwrite_a=True)
        weights = linalg.cho_solve(factor, np.eye(self.n_items_, dtype=gram.dtype), overwrite_b=True)
        weights /= -np.diag(weights)
        np.fill_diagonal(weights, 0)
        self.weights_ = weights
        return self

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        return self._score_new_users(self.interactions_[:, users].T.tocsr())

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        scores: Floats = interactions @ self.weights_
        return scores
