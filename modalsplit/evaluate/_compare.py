"""Is one recommender better than another: paired tests, intervals, effect sizes, seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from modalsplit.evaluate._evaluate import Evaluation

Floats = NDArray[np.float64]


def compare(
    results: Mapping[str, Evaluation | Sequence[Evaluation]],
    *,
    reference: str | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Compare one recommender with others, user by user.

    Parameters
    ----------
    results : dict of Evaluation, or of sequence of Evaluation
        What `evaluate` found, by name, for the same held-out interactions and candidates. Of several, such as one
        a fold or seed, each user's values are averaged first: folds share their training data, so that a test
        over folds would take them for more than they are.
    reference : str, optional
        Whom to compare with all others; the first by default.
    confidence_level : float, default=0.95
        Of the bootstrap interval.
    n_resamples : int, default=1000
        Number of bootstrap samples.
    random_state : int, RandomState or None, default=None
        Makes the interval repeatable.

    Returns
    -------
    DataFrame of shape (n_metrics * (n_results - 1), 9)
        A row a metric and rival. ``difference``: mean of the reference minus that of the rival, with ``low`` and
        ``high``. ``effect_size``: the difference, divided by the standard deviation of the users' differences
        (Cohen's d of pairs); among 10,000 users even 0.03 is significant. ``p_t`` and ``p_wilcoxon``: two-sided
        paired tests; ``p_t_holm`` and ``p_wilcoxon_holm``: corrected for all rows. ``n_users``.

    Raises
    ------
    ValueError
        If there are fewer than two results, `reference` is not one, or users or metrics differ.

    See Also
    --------
    holm : For corrections over several tables.

    References
    ----------
    J. Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import compare, evaluate
    >>> rng = np.random.default_rng(0)
    >>> held_out, noise = rng.random((50, 200)) < 0.1, rng.random((50, 200))
    >>> found = {"informed": evaluate(noise + held_out, held_out), "random": evaluate(noise, held_out)}
    >>> compare(found, random_state=0).reset_index()[["metric", "rival", "difference", "p_t_holm"]].round(2)
          metric   rival  difference  p_t_holm
    0  recall@10  random        0.81       0.0
    1    ndcg@10  random        0.86       0.0
    """
    if len(results) < 2:
        raise ValueError(f"A comparison needs at least two results, but {len(results)} was given.")
    reference = next(iter(results)) if reference is None else reference
    if reference not in results:
        raise ValueError(f"reference={reference!r} is not among the results {list(results)}.")
    tables = {
        name: (result if isinstance(result, Evaluation) else average_users(result)).per_user
        for name, result in results.items()
    }
    ours = tables.pop(reference)
    rows = {}
    for name, theirs in tables.items():
        _check_pairs(reference, ours, name, theirs)
        for metric in ours.columns:
            differences = (ours[metric] - theirs[metric]).to_numpy()
            rows[metric, name] = _tested(differences, confidence_level, n_resamples, random_state)
    order = [(metric, name) for metric in ours.columns for name in tables]
    out = pd.DataFrame.from_dict({row: rows[row] for row in order}, orient="index")
    out.index = pd.MultiIndex.from_tuples(order, names=["metric", "rival"])
    out["p_t_holm"], out["p_wilcoxon_holm"] = holm(out["p_t"]), holm(out["p_wilcoxon"])
    return out


def holm(p_values: ArrayLike) -> Floats:
    """Correct p-values for their number: the chance of any false finding stays below the level.

    Parameters
    ----------
    p_values : array-like of shape (n_tests,)
        Of one family: all tests that a conclusion rests on, over data sets and metrics.

    Returns
    -------
    ndarray of shape (n_tests,)
        Corrected p-values in the same order, at most 1.

    Raises
    ------
    ValueError
        If a value is not from 0 to 1.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Examples
    --------
    >>> from modalsplit.evaluate import holm
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must be a row of numbers from 0 to 1, but are {values.tolist()}.")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    out = np.empty(len(values))
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return out


def average_users(results: Iterable[Evaluation]) -> Evaluation:
    """Average each user's values over the results in which the user occurs, such as folds.

    Parameters
    ----------
    results : iterable of Evaluation
        One or more, with the same metrics.

    Returns
    -------
    Evaluation
        All users of any result.

    Raises
    ------
    ValueError
        If there is none, or metrics differ.
    """
    found = list(results)
    if not found:
        raise ValueError("No results were given, so there is nothing to average.")
    for other in found[1:]:
        _check_metrics(found[0].per_user, other.per_user)
    per_user = pd.concat([result.per_user for result in found])
    catalogue = pd.concat([result.catalogue for result in found], axis=1).mean(axis=1)
    return Evaluation(per_user.groupby(level=0, sort=False).mean(), catalogue)


@dataclass(frozen=True)
class SeedSweep:
    """What `seed_sweep` found.

    Attributes
    ----------
    results : dict of Evaluation
        By seed.
    """

    results: dict[int, Evaluation]

    @property
    def per_seed(self) -> pd.DataFrame:
        """Means over users: a row a seed, a column a metric."""
        means = {
            seed: pd.concat([found.per_user.mean(), found.catalogue.astype(float)])
            for seed, found in self.results.items()
        }
        return pd.DataFrame.from_dict(means, orient="index").rename_axis("seed")

    def summary(self, confidence_level: float = 0.95) -> pd.DataFrame:
        """Average over seeds, with Student's interval.

        It holds the chance of training, and of the split if the seed moves it, but not that of the users: see
        `Evaluation.summary`.

        Parameters
        ----------
        confidence_level : float, default=0.95
            Of the interval.

        Returns
        -------
        DataFrame of shape (n_metrics, 5)
            Columns mean, sd, low, high and n_seeds.
        """
        per_seed = self.per_seed
        mean, sd, n = per_seed.mean(), per_seed.std(ddof=1), len(per_seed)
        half = stats.t.ppf((1 + confidence_level) / 2, n - 1) * sd / np.sqrt(n)
        return pd.DataFrame({"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "n_seeds": n})


def seed_sweep(run: Callable[[int], Evaluation], seeds: Iterable[int] = range(5)) -> SeedSweep:
    """Repeat an experiment with other seeds.

    Parameters
    ----------
    run : callable
        Takes a seed, splits, fits and returns what `evaluate` found.
    seeds : iterable of int, default=range(5)
        Two or more, all different.

    Returns
    -------
    SeedSweep
        With ``per_seed`` and ``summary()``; give ``results.values()`` to `compare` as a list.

    Raises
    ------
    ValueError
        If there are fewer than two seeds, or one twice.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import evaluate, seed_sweep
    >>> held_out = np.eye(40, 20)
    >>> sweep = seed_sweep(lambda seed: evaluate(np.random.default_rng(seed).random((40, 20)), held_out))
    >>> sweep.summary().columns.tolist()
    ['mean', 'sd', 'low', 'high', 'n_seeds']
    """
    chosen = list(seeds)
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(f"seeds must be two or more different numbers, but are {chosen}.")
    return SeedSweep({seed: run(seed) for seed in chosen})


def _tested(
    differences: Floats, confidence_level: float, n_resamples: int, random_state: int | np.random.RandomState | None
) -> dict[str, float]:
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if not differences.any():  # the tests are not defined, and nothing speaks for a difference
        low = high = effect = 0.0
        p_t = p_wilcoxon = 1.0
    else:
        interval = Evaluation(pd.DataFrame({"difference": differences})).summary(
            confidence_level=confidence_level, n_resamples=n_resamples, random_state=random_state
        )
        low, high = (float(interval[side].iloc[0]) for side in ("low", "high"))
        effect = mean / spread if spread else float(np.copysign(np.inf, mean))
        p_t = float(stats.ttest_1samp(differences, 0).pvalue) if spread else 0.0
        p_wilcoxon = float(stats.wilcoxon(differences).pvalue)
    return {
        "difference": mean,
        "low": low,
        "high": high,
        "effect_size": effect,
        "p_t": p_t,
        "p_wilcoxon": p_wilcoxon,
        "n_users": len(differences),
    }


def _check_pairs(reference: str, ours: pd.DataFrame, name: str, theirs: pd.DataFrame) -> None:
    _check_metrics(ours, theirs)
    if not ours.index.equals(theirs.index):
        raise ValueError(
            f"{reference!r} and {name!r} judge different users ({len(ours)} and {len(theirs)}), so there are no "
            "pairs. Evaluate both on the same held-out interactions."
        )
    if len(ours) < 2:
        raise ValueError(f"Paired tests need at least two users, but {len(ours)} were judged.")


def _check_metrics(one: pd.DataFrame, other: pd.DataFrame) -> None:
    if list(one.columns) != list(other.columns):
        raise ValueError(f"Results have different metrics: {list(one.columns)} and {list(other.columns)}.")
