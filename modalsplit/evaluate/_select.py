"""Choose a model by the validation part alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import clone

from modalsplit.evaluate._evaluate import Evaluation, evaluate
from modalsplit.evaluate._leaks import check_no_leak
from modalsplit.evaluate._metrics import checked_k
from modalsplit.evaluate._sampling import SampledNegatives


@dataclass(frozen=True)
class Selection:
    """What `select` found.

    Attributes
    ----------
    best : estimator
        The best model, fitted on the training part.
    name : hashable
        Its name among the models, or its position.
    results : dict of Evaluation
        Of all models on the validation part, by name.
    """

    best: Any
    name: Any
    results: dict[Any, Evaluation]

    @property
    def table(self) -> pd.DataFrame:
        """Means over validation users: a row a model, a column a metric."""
        means = {name: found.per_user.mean() for name, found in self.results.items()}
        return pd.DataFrame.from_dict(means, orient="index")


def select(
    models: Mapping[Any, Any] | Iterable[Any],
    items: Any,
    train: Any,
    valid: Any,
    *,
    metric: str = "ndcg",
    k: int = 10,
    candidates: SampledNegatives | None = None,
) -> Selection:
    """Fit models on the training part and choose the one that is best on the validation part.

    The test part is no argument, so it cannot be touched: judge ``best`` by it once, after the choice.

    Parameters
    ----------
    models : dict or iterable of estimator
        Unfitted recommenders, or Pipelines that end in one, by name or in order. They are cloned.
    items : DataFrame or array of shape (n_items, n_features)
        One row an item.
    train : Interactions, sparse array or ndarray of shape (n_items, n_users)
        To fit on, and not among the candidates.
    valid : Interactions, sparse array or ndarray of shape (n_items, n_users)
        To choose by.
    metric : str, default="ndcg"
        What must be highest, of those of `evaluate` that each user has.
    k : int, default=10
        Length of the list, in items.
    candidates : SampledNegatives, optional
        As for `evaluate`; by default all items that are not in `train`.

    Returns
    -------
    Selection
        With ``best``, ``name``, ``results`` and ``table``. Of equal models the first one is best.

    Raises
    ------
    ValueError
        If there is no model, parts overlap, or the metric is NaN or cannot be had.
    TypeError
        If `k` is no whole number.

    See Also
    --------
    warm_start_folds : For scikit-learn's own searches.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> from sklearn.model_selection import ParameterGrid
    >>> from modalsplit.baselines import EASE
    >>> from modalsplit.datasets import load_wines
    >>> from modalsplit.evaluate import evaluate, interaction_folds, select
    >>> wines = load_wines()
    >>> Y = wines.interactions.k_core(20)
    >>> X = wines.items.loc[Y.item_ids, ["abv"]]
    >>> split = interaction_folds(Y, random_state=0)[0]
    >>> grid = {str(p): clone(EASE()).set_params(**p) for p in ParameterGrid({"l2": [1.0, 100.0]})}
    >>> chosen = select(grid, X, split.train, split.valid)
    >>> chosen.name
    "{'l2': 100.0}"
    >>> found = evaluate(chosen.best, split.test, seen=split.seen)  # once
    """
    named = dict(models) if isinstance(models, Mapping) else dict(enumerate(models))
    if not named:
        raise ValueError("models is empty, so there is nothing to choose from.")
    checked_k(k)
    check_no_leak(train, valid)
    best, best_name, best_value, results = None, None, float("nan"), {}
    for name, model in named.items():
        fitted = clone(model).fit(items, train)
        results[name] = evaluate(fitted, valid, seen=train, k=k, metrics=[metric], candidates=candidates)
        value = float(results[name].per_user.mean().get(f"{metric}@{k}", float("nan")))
        if value != value:
            raise ValueError(f"{metric}@{k} of {name!r} is NaN: no user has it. Give a metric that each user has.")
        if best is None or value > best_value:  # only one fitted model is kept
            best, best_name, best_value = fitted, name, value
    return Selection(best, best_name, results)
