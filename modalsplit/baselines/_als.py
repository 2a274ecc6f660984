"""ALS: matrix factorization by weighted least squares, from the package implicit."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from modalsplit._sklearn import Interval
from modalsplit.evaluate import DotProduct, dot_product
from modalsplit.recommend import Recommender

Floats = NDArray[np.floating[Any]]


class ALS(Recommender):
    """Matrix factorization of who took what, where taken counts `alpha` times as much as not taken.

    The content of items is ignored, and items that were not in training rank last. New users are solved for.
    Needs the package implicit: ``pip install modalsplit[interop]``.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of the factors.
    alpha : float, default=10.0
        Weight of what was taken; what was not has 1.
    l2 : float, default=10.0
        Weight of the squared norms of the factors. Positive.
    max_iter : int, default=15
        Passes over users and items.
    n_jobs : int, default=1
        Threads; 0 takes all cores.
    random_state : int, RandomState instance or None, default=None
        Pass an int for repeatable results.

    Attributes
    ----------
    user_vectors_, item_vectors_ : ndarray of shape (n_users, n_components) and (n_items, n_components)
        Factors; their inner product is the score.
    model_ : implicit.cpu.als.AlternatingLeastSquares
        The fitted model.
    n_iter_ : int
        Passes.
    interactions_, item_ids_, user_ids_, n_items_, n_users_, n_features_in_
        As for `Recommender`.

    Notes
    -----
    Stability: may change.

    References
    ----------
    Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import ALS
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> ALS(2, l2=0.1, random_state=0).fit(np.zeros((8, 1)), taken).recommend(users=[0], k=1).ids
    array([[0]])
    """

    user_vectors_: Floats
    item_vectors_: Floats

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "l2": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        alpha: float = 10.0,
        l2: float = 10.0,
        max_iter: int = 15,
        n_jobs: int = 1,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.alpha = alpha
        self.l2 = l2
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Factorize who took what.

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
        ImportError
            If the package implicit is not installed.
        ValueError
            If X and y do not fit together.
        """
        self._validate_params()
        self._remember(X, y, item_ids)
        least_squares = _implicit_als()
        with threadpool_limits(1, "blas"):  # implicit has threads of its own, and warns of others
            self.model_ = least_squares(
                factors=self.n_components,
                regularization=self.l2,
                alpha=self.alpha,
                iterations=self.max_iter,
                num_threads=self.n_jobs,
                random_state=int(check_random_state(self.random_state).randint(2**31 - 1)),
            )
            self.model_.fit(_users_by_items(self.interactions_.T), show_progress=False)
        self.user_vectors_, self.item_vectors_ = self.model_.user_factors, self.model_.item_factors
        self.n_iter_ = self.max_iter
        return self

    def _dot_product(self) -> DotProduct:
        return dot_product(self.user_vectors_, self.item_vectors_)

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        scores: Floats = self.user_vectors_[users] @ self.item_vectors_.T
        return scores

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        with threadpool_limits(1, "blas"):
            vectors = self.model_.recalculate_user(np.arange(interactions.shape[0]), _users_by_items(interactions))
        scores: Floats = vectors @ self.item_vectors_.T
        return scores

    def _item_vectors(self) -> Floats:
        return self.item_vectors_


def _implicit_als() -> Any:
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        raise ImportError("ALS needs the package implicit: pip install modalsplit[interop]") from error
    return AlternatingLeastSquares


def _users_by_items(taken: Any) -> sparse.csr_matrix:
    """Bring interactions into the form that implicit takes."""
    return sparse.csr_matrix(taken, dtype=np.float32)
