"""Judge a recommender, with an interval around the mean of its users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from modalsplit.evaluate._dot_product import DotProduct
from modalsplit.evaluate._leaks import check_no_leak
from modalsplit.evaluate._lists import OF_CATALOGUE, OF_USERS, ListStatistics
from modalsplit.evaluate._metrics import METRICS, Empty, Ideal, checked_k, measured, settled
from modalsplit.evaluate._placements import (
    Floats,
    Judged,
    Placements,
    Ties,
    below_all,
    check_option,
    joined,
    judged_users,
    place,
    read_judged,
    score_blocks,
)
from modalsplit.evaluate._sampling import CORRECTED, SampledNegatives, corrected

OF_LISTS = (*OF_USERS, *OF_CATALOGUE)
RESAMPLED_AT_ONCE = 2**22  # values; bounds the memory of the bootstrap


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    per_user : DataFrame of shape (n_users, n_metrics)
        One row a user, indexed by id if the held-out interactions know it and by position otherwise; one
        column a metric, such as ``"ndcg@10"``.
    catalogue : Series of shape (n_catalogue_metrics,)
        Metrics that only all users together have, such as ``"coverage@10"``.
    """

    per_user: pd.DataFrame
    catalogue: pd.Series[float] = field(default_factory=lambda: pd.Series(dtype=float))

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
            Columns mean, low, high and n_users, one row a metric; no interval for those of the catalogue.

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
        of_users = pd.DataFrame(
            {"mean": values.mean(axis=1), "low": low, "high": high, "n_users": n_users},
            index=self.per_user.columns,
        )
        if self.catalogue.empty:
            return of_users
        of_catalogue = self.catalogue.to_frame("mean").assign(low=np.nan, high=np.nan, n_users=n_users)
        return pd.concat([of_users, of_catalogue])


def evaluate(
    scores: Any,
    held_out: Any,
    *,
    seen: Any = None,
    k: int | Sequence[int] = 10,
    metrics: Sequence[str] = ("recall", "ndcg"),
    users: ArrayLike | None = None,
    candidates: SampledNegatives | None = None,
    ties: Ties = "expected",
    ideal: Ideal = "truncated",
    empty: Empty = "skip",
    block: int = 256,
) -> Evaluation:
    """Judge scores by the ranking of all items that a user has not seen.

    With n the number of a user's held-out items, h that of those among the first k, and r their ranks from 1:

    * ``"recall"``: h / n; ``"recall_capped"``: h / min(n, k); ``"precision"``: h / k; ``"hit_rate"``: whether
      h > 0.
    * ``"ndcg"``: sum of 1 / log2(r + 1) over r <= k, divided by the same sum over the ranks 1 to min(n, k).
    * ``"mrr"``: 1 / the smallest r, or 0 if that is above k.
    * ``"map"``: sum of the precision at each r <= k, divided by min(n, k).
    * ``"novelty"``: mean of -log2 of the share of users who took an item in training, over the items listed, with one
      more user who took all. ``"popularity"``: mean of that share itself.
    * ``"coverage"``: share of all items that are in somebody's list. ``"popularity_lift"``: mean popularity of the
      lists / mean popularity of what the same users took in training - 1; above 0 if popular items are pushed.

    Parameters
    ----------
    scores : Recommender, Pipeline, array-like of shape (n_items, n_users) or callable
        A fitted recommender, or a Pipeline that ends in one, whose catalogue and users are those of `held_out`; or scores, higher is
        better; or a function that takes an ndarray of user positions and returns their scores, of shape
        (n, n_items), so that no more than a block of users is in memory.
    held_out : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    seen : Interactions, sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user. By default what a recommender was fitted on, and
        nothing for scores. For a test, give training and validation: ``train + valid``.
    k : int or sequence of int, default=10
        Lengths of the lists to judge, in items.
    metrics : sequence of str, default=("recall", "ndcg")
        What to measure, of the above. Those from novelty on need `seen`.
    users : array-like of int of shape (n_judged,), optional
        Positions of the users to judge. By default all.
    candidates : SampledNegatives, optional
        Rank held-out items among a sample only. By default among all that is not seen.
    ties : {"expected", "pessimistic"}, default="expected"
        As for `recall_at_k`.
    ideal : {"truncated", "untruncated"}, default="truncated"
        As for `ndcg_at_k`; ``"untruncated"`` puts n in place of min(n, k), in MAP too, as trec_eval does.
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
        If shapes or ids do not agree, scores are NaN, an item is held out and seen or was fitted on, an option
        is not known, or a metric is asked for that cannot be had.
    TypeError
        If `k` is no whole number, or `scores` an estimator that is no Recommender.
    sklearn.exceptions.NotFittedError
        If the recommender is not fitted.

    See Also
    --------
    split_interactions : Makes `held_out`.
    compare : Paired tests between results.

    References
    ----------
    W. Krichene and S. Rendle, "On sampled metrics for item recommendation", KDD 2020: why all items are
    candidates. S. Vargas and P. Castells, "Rank and relevance in novelty and diversity metrics", RecSys 2011:
    novelty. M. Ge et al., "Beyond accuracy", RecSys 2010: coverage. H. Abdollahpouri et al., "The connection
    between popularity bias, calibration, and fairness in recommendation", RecSys 2020: lift.

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
    lengths = _lengths(k)
    check_option("ideal", ideal, Ideal)
    check_option("empty", empty, Empty)
    if users is not None:
        users = judged_users(users, np.shape(held_out)[1])
    scores, seen, vectors = _scores_and_seen(scores, held_out, seen)
    _check_metrics(metrics, candidates, seen)
    lists = _list_statistics(lengths, metrics, seen)
    judged = read_judged(scores, held_out, seen, users)
    scored = _worth_scoring(judged, max(lengths), lists, candidates, vectors, block)
    parts = []
    for part in score_blocks(judged.of(judged.users[scored]), block):
        parts.append(place(part, ties, candidates, depth=max(lengths)))
        if lists is not None:
            lists.add(part)
    placed = _with_others(judged, scored, parts)
    n_unseen = placed.n_rivals if candidates is None else _n_unseen(held_out, seen, users)
    found = {} if lists is None else {name: _zeros(values, empty) for name, values in lists.per_user().items()}
    for n, name in product(lengths, set(metrics) - set(OF_LISTS)):
        if candidates is not None and candidates.correction is not None:
            values = corrected(name, placed, n_unseen, n, candidates.correction, ideal)
            found[f"{name}@{n}"] = settled(values, placed, empty)
        else:
            found[f"{name}@{n}"] = measured(name, placed, n, ideal=ideal, empty=empty)
    names = [f"{name}@{n}" for n in lengths for name in metrics if name not in OF_CATALOGUE]
    per_user = pd.DataFrame({name: found[name] for name in names}, index=_user_index(held_out, users))
    if empty == "skip":
        per_user = per_user[placed.n_held_out > 0]
    of_catalogue = {} if lists is None else lists.catalogue()
    wanted = [f"{name}@{n}" for n in lengths for name in metrics if name in OF_CATALOGUE]
    return Evaluation(per_user, pd.Series({name: of_catalogue[name] for name in wanted}, dtype=float))


def _lengths(k: int | Sequence[int]) -> list[int]:
    lengths = [checked_k(length) for length in np.atleast_1d(np.asarray(k)).tolist()]
    if not lengths:
        raise ValueError("k is empty, but lists have at least one length.")
    return lengths


def _scores_and_seen(scores: Any, held_out: Any, seen: Any) -> tuple[Any, Any, DotProduct | None]:
    """Let a recommender score users; what it was fitted on is seen, if nothing else is. Also scores as vectors, if they are."""
    recommender = scores[-1] if isinstance(scores, Pipeline) else scores
    if not hasattr(recommender, "fit"):
        return scores, seen, scores if isinstance(scores, DotProduct) else None
    if not hasattr(recommender, "_score_users"):
        raise TypeError(
            f"{type(recommender).__name__} is no Recommender of modalsplit, so its scores are not known. Give them: a matrix of "
            "shape (n_items, n_users), or a function of user positions."
        )
    check_is_fitted(recommender, "interactions_")
    _check_ids(recommender, held_out)
    check_no_leak(recommender.interactions_, held_out)
    vectors = recommender._dot_product()
    return recommender._score_users, recommender.interactions_ if seen is None else seen, vectors


def _worth_scoring(
    judged: Judged,
    depth: int,
    lists: ListStatistics | None,
    candidates: SampledNegatives | None,
    vectors: DotProduct | None,
    block: int,
) -> NDArray[np.bool_]:
    """Tell which users must be scored: without lists, those who may have held-out items among the first."""
    if lists is not None:
        return np.ones(len(judged.users), dtype=bool)
    worth: NDArray[np.bool_] = np.diff(judged.held_out.indptr)[judged.users] > 0
    if vectors is not None and candidates is None:
        users = judged.users[worth]
        worth[worth] = vectors.in_reach(users, judged.held_out, depth + np.diff(judged.seen.indptr)[users], block)
    return worth


def _with_others(judged: Judged, scored: NDArray[np.bool_], parts: list[Placements]) -> Placements:
    """Join parts, and add the users who were not scored, with their held-out items below whatever is looked at."""
    placed, whole = joined(iter(parts)), below_all(judged)
    at = scored[whole.user]
    whole.above[at], whole.tied[at], whole.n_rivals[scored] = placed.above, placed.tied, placed.n_rivals
    return whole


def _zeros(values: Floats, empty: Empty) -> Floats:
    """Let users without held-out items count as 0, if they count."""
    return np.nan_to_num(values, nan=0.0) if empty == "zero" else values


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


def _check_metrics(metrics: Sequence[str], candidates: SampledNegatives | None, seen: Any) -> None:
    known = [*METRICS, *OF_LISTS]
    if isinstance(metrics, str):
        raise ValueError(f"metrics is a list of names, but {metrics!r} was given: write [{metrics!r}].")
    unknown = sorted(set(metrics) - set(known))
    if unknown:
        raise ValueError(f"metrics may be {known}, but {unknown} was given.")
    of_lists = sorted(set(metrics) & set(OF_LISTS))
    if of_lists and candidates is not None:
        raise ValueError(f"{of_lists} judge lists of all items. Ask for them without candidates=.")
    if of_lists and seen is None:
        raise ValueError(f"{of_lists} need the interactions of training. Give seen=.")
    if candidates is not None and candidates.correction is not None:
        uncorrected = sorted(set(metrics) - set(CORRECTED))
        if uncorrected:
            raise ValueError(
                f"{uncorrected} cannot be corrected, as they are no sum over held-out items; {list(CORRECTED)} can."
            )


def _list_statistics(lengths: list[int], metrics: Sequence[str], seen: Any) -> ListStatistics | None:
    if not set(metrics) & set(OF_LISTS):
        return None
    taken = sparse.csr_array(seen) > 0
    return ListStatistics(lengths, taken.sum(axis=1), taken.shape[1])


def _n_unseen(held_out: Any, seen: Any, users: ArrayLike | None) -> NDArray[np.intp]:
    """Items that are neither seen nor held out, for each user judged."""
    n_taken = sum((sparse.csr_array(part) > 0).sum(axis=0) for part in (held_out, seen) if part is not None)
    n_unseen: NDArray[np.intp] = np.shape(held_out)[0] - n_taken
    return n_unseen if users is None else n_unseen[np.asarray(users)]
