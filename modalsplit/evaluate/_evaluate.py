"""Judge a recommender over all items, with an interval around the mean of its users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from modalsplit.evaluate._metrics import Empty, Ties, ndcg, placements, recall

METRICS: dict[str, Callable[..., NDArray[np.float64]]] = {"recall": recall, "ndcg": ndcg}
RESAMPLED_AT_ONCE = 2**22  # values; bounds the memory of the bootstrap


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    per_user : DataFrame of shape (n_users, n_metrics)
        One row a user, indexed by id if the held-out interactions know it and by position otherwise; one
        column a metric, such as ``"ndcg@10"``.
    """

    per_user: pd.DataFrame

    def summary(
        self,
        *,
        confidence_level: float = 0.95,
        n_resamples: int = 1000,
        random_state: int | np.random.RandomState | None = None,
    ) -> pd.DataFrame:
        """Average over users, with a bootstrap interval.

        The interval says how far the mean would move with other users of the same kind. It does not hold
        the chance of the split or of the training: repeat those with other seeds.

        Parameters
        ----------
        confidence_level : float, default=0.95
            Of the percentile bootstrap over users.
        n_resamples : int, default=1000
            Number of bootstrap samples.
        random_state : int, RandomState or None, default=None
            Makes the interval repeatable.

        Returns
        -------
        DataFrame of shape (n_metrics, 4)
            Columns mean, low, high and n_users, one row a metric.

        Raises
        ------
        ValueError
            If there are fewer than two users.
        """
        values = self.per_user.to_numpy().T
        n_users = values.shape[1]
        if n_users < 2:
            raise ValueError(f"A bootstrap interval needs at least two users, but {n_users} were judged.")
        found = stats.bootstrap(
            (values,),
            np.mean,
            axis=-1,
            method="percentile",
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            batch=max(1, RESAMPLED_AT_ONCE // values.size),
            random_state=random_state,
        )
        low, high = found.confidence_interval
        return pd.DataFrame(
            {"mean": values.mean(axis=1), "low": low, "high": high, "n_users": n_users},
            index=self.per_user.columns,
        )


def evaluate(
    scores: Any,
    held_out: Any,
    *,
    seen: Any = None,
    k: int | Sequence[int] = 10,
    metrics: Sequence[str] = ("recall", "ndcg"),
    users: ArrayLike | None = None,
    ties: Ties = "expected",
    empty: Empty = "skip",
    block: int = 256,
) -> Evaluation:
    """Judge scores over the full ranking of all items that a user has not seen.

    Parameters
    ----------
    scores : Recommender, array-like of shape (n_items, n_users) or callable
        A fitted recommender, whose catalogue and users are those of `held_out`; or scores, higher is
        better; or a function that takes an ndarray of user positions and returns their scores, of shape
        (n, n_items), so that no more than a block of users is in memory.
    held_out : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    seen : Interactions, sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user. By default what a recommender was fitted on, and
        nothing for scores. For a test, give training and validation: ``train + valid``.
    k : int or sequence of int, default=10
        Lengths of the lists to judge, in items.
    metrics : sequence of {"recall", "ndcg"}, default=("recall", "ndcg")
        What to measure.
    users : array-like of int of shape (n_judged,), optional
        Positions of the users to judge. By default all.
    ties : {"expected", "pessimistic"}, default="expected"
        As for `recall_at_k`.
    empty : {"skip", "zero"}, default="skip"
        Whether users without held-out items are left out or count as 0.
    block : int, default=256
        Users to score at once.

    Returns
    -------
    Evaluation
        With ``per_user`` and ``summary()``.

    Raises
    ------
    ValueError
        If shapes or ids do not agree, scores are NaN, an item is both seen and held out, or an option is not
        known.

    See Also
    --------
    split_interactions : Makes `held_out`.

    References
    ----------
    W. Krichene and S. Rendle, "On sampled metrics for item recommendation", KDD 2020: why all items are
    candidates.

    Examples
    --------
    >>> from modalsplit.baselines import EASE
    >>> from modalsplit.datasets import load_wines
    >>> from modalsplit.evaluate import evaluate, split_interactions
    >>> wines = load_wines()
    >>> Y = wines.interactions.k_core(5)
    >>> train, valid, test = split_interactions(Y, random_state=0)
    >>> ease = EASE().fit(wines.items.loc[Y.item_ids, ["abv"]], train)
    >>> found = evaluate(ease, test, seen=train + valid)
    >>> found.summary(random_state=0).round(2)
               mean   low  high  n_users
    recall@10  0.22  0.21  0.22    10252
    ndcg@10    0.12  0.12  0.12    10252
    """
    unknown = set(metrics) - set(METRICS)
    if unknown:
        raise ValueError(f"metrics may be {list(METRICS)}, but {sorted(unknown)} was given.")
    if hasattr(scores, "interactions_"):
        _check_ids(scores, held_out)
        seen = scores.interactions_ if seen is None else seen
        scores = scores._score_users
    placed = placements(scores, held_out, seen=seen, ties=ties, users=users, block=block)
    lengths = np.atleast_1d(k).tolist()
    columns = {f"{name}@{n}": METRICS[name](placed, n, empty=empty) for n in lengths for name in metrics}
    per_user = pd.DataFrame(columns, index=_user_index(held_out, users))
    return Evaluation(per_user[~per_user.isna().any(axis=1)])


def _check_ids(recommender: Any, held_out: Any) -> None:
    for what in ("item_ids", "user_ids"):
        fitted, given = getattr(recommender, f"{what}_"), getattr(held_out, what, None)
        if given is not None and not np.array_equal(fitted, given):
            raise ValueError(
                f"{what} of held_out are not those that {type(recommender).__name__} was fitted on, in the "
                "same order. Split one Interactions into the parts for training and for judging."
            )


def _user_index(held_out: Any, users: ArrayLike | None) -> pd.Index:
    ids = getattr(held_out, "user_ids", None)
    positions = np.arange(np.shape(held_out)[1]) if users is None else np.asarray(users)
    return pd.Index(positions if ids is None else ids[positions], name="user_id")
