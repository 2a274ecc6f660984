"""ContributionDisplay: what each part adds to the score of one recommendation."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from modalsplit.plotting._axes import NEUTRAL, axes_for, colour_of, shortened

LABELS = {"item": "the item itself", "bias": "popularity"}


class ContributionDisplay:
    """What the item itself, each of its parts and its popularity add to a user's score.

    Parameters
    ----------
    contributions : Series of float
        As `AttentiveBPR.explain` returns them; they sum to the score.
    title : str, optional
        Above the figure; by default the name of `contributions`.

    Attributes
    ----------
    score_ : float
        Their sum, without unit.
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Raises
    ------
    ValueError
        If `contributions` is empty or not finite.

    Examples
    --------
    >>> import pandas as pd
    >>> from modalsplit.plotting import ContributionDisplay
    >>> ContributionDisplay(pd.Series({"item": 1.0, "image_common": 0.75, "bias": -0.25})).score_
    1.5
    """

    def __init__(self, contributions: pd.Series[float], title: str | None = None) -> None:
        self.contributions = pd.Series(contributions, dtype=float)
        if self.contributions.empty or not np.isfinite(self.contributions).all():
            raise ValueError("The contributions must be finite numbers, one or more.")
        self.title = str(self.contributions.name or "") if title is None else title
        self.score_ = float(self.contributions.sum())

    @classmethod
    def from_estimator(cls, estimator: Any, user: Any, item: Any, *, title: str | None = None, ax: Any = None) -> Self:
        """Explain and draw one score of a fitted recommender.

        Parameters
        ----------
        estimator : AttentiveBPR, or Pipeline that ends in one
            Fitted.
        user, item : scalar
            Ids as known at fit.
        title : str, optional
            Above the figure, such as the item's title.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        ContributionDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the recommender cannot explain, or the user or the item is unknown.
        """
        recommender = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        if not hasattr(recommender, "explain"):
            raise ValueError(f"{type(recommender).__name__} does not explain its scores; AttentiveBPR does.")
        return cls(recommender.explain(user, item), title).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a bar a contribution, and the score.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        ContributionDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        names = [*self.contributions.index.astype(str), "score"]
        values = np.array([*self.contributions, self.score_])
        self.ax_ = axes_for(ax, (6.4, 1.4 + 0.42 * len(names)))
        self.figure_ = self.ax_.figure
        # The sum is further off, and hollow: it is no part of itself.
        at = np.array([*range(len(names) - 1), len(names) - 0.6])
        colours = [colour_of(name) for name in names[:-1]] + ["white"]
        edges = [*colours[:-1], NEUTRAL]
        self.ax_.barh(at, values, color=colours, edgecolor=edges, height=0.65)
        for y, value in zip(at, values, strict=True):
            self.ax_.annotate(
                f"{value:+.2f}",
                (value, y),
                (5 if value >= 0 else -5, 0),
                textcoords="offset points",
                va="center",
                ha="left" if value >= 0 else "right",
            )
        self.ax_.axvline(0, color="black", linewidth=0.8)
        self.ax_.set_yticks(at, [LABELS.get(name, name.replace("_", " ")) for name in names])
        self.ax_.invert_yaxis()
        self.ax_.margins(x=0.16)
        self.ax_.set(xlabel="added to the score (no unit)")
        self.ax_.set_title(shortened(self.title, 70), fontsize="medium")
        return self
