"""Scorers for GridSearchCV that rank items for each user."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from modalsplit.evaluate._metrics import measured
from modalsplit.evaluate._placements import check_same_ids, placements


@dataclass(frozen=True)
class RankingScorer:
    """Scorer: the mean over users of a ranking metric. Made by `ndcg_at` and `recall_at`.

    Attributes
    ----------
    metric : {"ndcg", "recall", "recall_capped", "hit_rate", "mrr", "map", "precision"}
        What to measure; `evaluate` defines it.
    k : int
        Length of the list to judge, in items.
    exclude_seen : bool
        Whether items that a user took in training are no candidates.
    """

    metric: str
    k: int
    exclude_seen: bool

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Score a fitted recommender or a Pipeline that ends in one.

        Parameters
        ----------
        estimator : estimator
            Has ``decision_function``, which gives (n_items, n_users) scores, and ``seen`` if
            `exclude_seen`.
        X : array-like or DataFrame of shape (n_items, n_features)
            The items to rank.
        y : sparse array or ndarray of shape (n_items, n_users) or (n_items,)
            Positive where an item is held out for a user.

        Returns
        -------
        float
            0 to 1, without unit; higher is better. Users without held-out items do not count.

        Raises
        ------
        ValueError
            If no user has a held-out item, items or users of `y` are others or in another order, or the seen items are
            asked for and rows are not known by id.
        """
        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
            estimator = estimator[-1]
        _check_ids(estimator, X, y)
        scores, held_out = _as_matrix(estimator.decision_function(X)), _as_matrix(y)
        placed = placements(scores, held_out, seen=self._seen(estimator, X))
        if not len(placed.user):
            raise ValueError("y holds no interactions, so there is nothing to find. Use larger folds.")
        return float(np.nanmean(measured(self.metric, placed, self.k)))

    def _seen(self, estimator: Any, X: Any) -> Any:
        if not self.exclude_seen:
            return None
        seen = estimator.seen(X)
        if seen is None:
            raise ValueError(
                f"exclude_seen=True needs rows that are known by id, but {type(estimator).__name__} knows "
                "none. Give items as a DataFrame whose index holds their ids, as strings, and let every step "
                'of a Pipeline keep it: set_output(transform="pandas").'
            )
        return seen


def ndcg_at(k: int = 10, *, exclude_seen: bool = False) -> RankingScorer:
    """Make a scorer of NDCG at `k`: items are ranked for each user, and users averaged.

    scikit-learn's own ``ndcg_score`` would rank the users of each item.

    Parameters
    ----------
    k : int, default=10
        Length of the list to judge, in items.
    exclude_seen : bool, default=False
        Whether items that a user took in training are no candidates. Needed for folds of interactions, see
        `warm_start_folds`; without effect for cold items.

    Returns
    -------
    RankingScorer
        For ``GridSearchCV(scoring=)``; call it as ``scorer(estimator, X, y)``.

    See Also
    --------
    ndcg_at_k : The metric itself.

    Examples
    --------
    >>> from modalsplit.evaluate import ndcg_at
    >>> ndcg_at(10)
    RankingScorer(metric='ndcg', k=10, exclude_seen=False)
    """
    return RankingScorer("ndcg", k, exclude_seen)


def recall_at(k: int = 10, *, exclude_seen: bool = False) -> RankingScorer:
    """Make a scorer of recall at `k`: items are ranked for each user, and users averaged.

    Parameters
    ----------
    k : int, default=10
        Length of the list to judge, in items.
    exclude_seen : bool, default=False
        Whether items that a user took in training are no candidates. Needed for folds of interactions, see
        `warm_start_folds`; without effect for cold items.

    Returns
    -------
    RankingScorer
        For ``GridSearchCV(scoring=)``; call it as ``scorer(estimator, X, y)``.

    See Also
    --------
    recall_at_k : The metric itself.
    """
    return RankingScorer("recall", k, exclude_seen)


def _check_ids(estimator: Any, X: Any, y: Any) -> None:
    """Refuse held-out interactions of other rows or users, where both sides have ids; integers in an index are none."""
    if hasattr(X, "iloc") and not pd.api.types.is_integer_dtype(X.index.dtype):
        check_same_ids("X", SimpleNamespace(item_ids=X.index.to_numpy()), "y", y)
    check_same_ids("the recommender", SimpleNamespace(user_ids=getattr(estimator, "user_ids_", None)), "y", y)


def _as_matrix(values: Any) -> NDArray[Any]:
    """Make one user's values a column."""
    values = values if hasattr(values, "ndim") else np.asarray(values)
    matrix: NDArray[Any] = values[:, None] if values.ndim == 1 else values
    return matrix
