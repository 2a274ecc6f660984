"""SparsityDisplay: how methods fare when there are fewer interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import pandas as pd
from sklearn.base import clone

from modalsplit.evaluate import evaluate, split_interactions
from modalsplit.interactions import Interactions
from modalsplit.plotting._axes import MARKERS, PALETTE, axes_for, shortened

COLUMNS = ("method", "share", "seed", "value")


class SparsityDisplay:
    """A metric over the share of training interactions that is kept, one curve a method.

    The line is the mean over seeds, the band one standard deviation to each side; without a second seed there
    is no band.

    Parameters
    ----------
    results : DataFrame of shape (n_runs, 4)
        Columns ``method``, ``share`` (kept, above 0 to 1), ``seed`` and ``value``.
    metric : str, default="ndcg@10"
        What ``value`` is.

    Attributes
    ----------
    summary_ : DataFrame of shape (n_methods * n_shares, 3)
        Columns ``mean``, ``std`` and ``n_seeds``, indexed by ``method`` and ``share``.
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Raises
    ------
    ValueError
        If a column is missing, there are no rows, or a share is not above 0 to 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from modalsplit.plotting import SparsityDisplay
    >>> results = pd.DataFrame({"method": "EASE", "share": [0.5, 0.5, 1.0], "seed": [0, 1, 0], "value": [0.1, 0.3, 0.4]})
    >>> SparsityDisplay(results).summary_["mean"].tolist()
    [0.2, 0.4]
    """

    def __init__(self, results: pd.DataFrame, metric: str = "ndcg@10") -> None:
        missing = [column for column in COLUMNS if column not in results.columns]
        if missing:
            raise ValueError(f"The results have no column {missing[0]!r}; they have {list(results.columns)}.")
        if results.empty:
            raise ValueError("The results have no rows: there is nothing to draw.")
        if not results["share"].between(0, 1, inclusive="right").all():
            raise ValueError(f"Shares must be above 0 and at most 1; they are {sorted(results['share'].unique())}.")
        self.results = results
        self.metric = metric
        grouped = results.groupby(["method", "share"], sort=False)["value"]
        summary = grouped.agg(mean="mean", std="std", n_seeds="count")
        self.summary_ = summary.sort_index(level="share", sort_remaining=False)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        X: Any,
        interactions: Interactions,
        *,
        shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
        seeds: Sequence[int] = (0, 1, 2),
        k: int = 10,
        metric: str = "ndcg",
        ax: Any = None,
    ) -> Self:
        """Fit, judge and draw methods on thinner and thinner training interactions.

        For every seed, a tenth of each user's interactions is held out. Of the other ones every method is fitted
        on the same random shares, and judged by the full ranking of what the user did not take in the whole
        training part, so that all shares answer the same question.

        Parameters
        ----------
        estimators : dict of str to Recommender or Pipeline
            Methods by name; each run fits a clone, with ``random_state`` set to the seed where there is one.
        X : array-like or DataFrame of shape (n_items, n_features)
            What they are fitted on.
        interactions : Interactions of shape (n_items, n_users)
            Who took what.
        shares : sequence of float, default=(0.25, 0.5, 0.75, 1.0)
            Of the training interactions to keep, above 0 to 1.
        seeds : sequence of int, default=(0, 1, 2)
            Of the split, the thinning and the methods.
        k : int, default=10
            Length of the lists to judge, in items.
        metric : str, default="ndcg"
            As in `modalsplit.evaluate.evaluate`.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        SparsityDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no method, share or seed, or a share is not above 0 to 1.
        """
        if not (estimators and len(shares) and len(seeds)):
            raise ValueError("Give one estimator, one share and one seed at least.")
        if not all(0 < share <= 1 for share in shares):
            raise ValueError(f"Shares must be above 0 and at most 1; they are {list(shares)}.")
        axis = axes_for(ax)  # a missing matplotlib shows before the fits
        runs = []
        for seed in seeds:
            train, test = split_interactions(interactions, shares=(0.9, 0.1), random_state=seed)
            for share in shares:
                kept = _thinned(train, share, seed)
                for name, estimator in estimators.items():
                    model = _seeded(estimator, seed).fit(X, kept)
                    found = evaluate(model, test, seen=train, k=k, metrics=[metric])
                    runs.append((name, share, seed, float(found.per_user.iloc[:, 0].mean())))
        return cls(pd.DataFrame(runs, columns=list(COLUMNS)), f"{metric}@{k}").plot(axis)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        SparsityDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        methods = list(dict.fromkeys(self.results["method"]))
        for i, method in enumerate(methods):
            curve = self.summary_.xs(method, level="method")
            colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
            # A second round of the palette is dashed.
            line = "-" if i < len(PALETTE) else "--"
            self.ax_.plot(
                curve.index, curve["mean"], color=colour, marker=marker, linestyle=line, label=shortened(method)
            )
            if curve["std"].notna().any():
                spread = curve["std"].fillna(0)
                low, high = curve["mean"] - spread, curve["mean"] + spread
                self.ax_.fill_between(curve.index, low, high, color=colour, alpha=0.18, linewidth=0)
        n_seeds = int(self.summary_["n_seeds"].max())
        spread_text = f"; band: one standard deviation of {n_seeds} seeds" if n_seeds > 1 else ""
        self.ax_.set(xlabel="share of training interactions kept", ylabel=_spelt(self.metric))
        self.ax_.set_title(f"Mean{spread_text}".removeprefix("Mean; "), fontsize="small", loc="left")
        self.ax_.xaxis.set_major_formatter("{x:.0%}")
        self.ax_.set_xticks(sorted(self.results["share"].unique()))
        self.ax_.legend(frameon=False, fontsize="small")
        return self


def _thinned(train: Interactions, share: float, seed: int) -> Interactions:
    """Keep a share of each user's interactions, one at least."""
    if share == 1:
        return train
    return split_interactions(train, shares=(share, 1 - share), random_state=seed)[0]


def _seeded(estimator: Any, seed: int) -> Any:
    model = clone(estimator)
    names = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
    return model.set_params(**dict.fromkeys(names, seed))


def _spelt(metric: str) -> str:
    name, _, k = metric.partition("@")
    spelt = name.upper() if name in {"ndcg", "mrr", "map"} else name.capitalize().replace("_", " ")
    return f"{spelt}@{k}" if k else spelt
