"""AttentionDisplay: how much attention a recommender gives to each part."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from modalsplit.plotting._axes import axes_for, colour_of


class AttentionDisplay:
    """Mean attention of each part, and between which values half of the items are.

    Parameters
    ----------
    weights : array-like of shape (n_items, n_parts)
        Attention of each part in each item, 0 to 1, such as `AttentiveBPR.attention_weights` returns.
        Items without parts, whose rows are 0, do not count.
    part_names : sequence of str of length n_parts
        Such as ``"image_common"``.

    Attributes
    ----------
    shares_ : ndarray of shape (n_parts,)
        Means over items; they sum to 1.
    quartiles_ : ndarray of shape (2, n_parts)
        First and third quartile over items.
    n_items_ : int
        Items that count.
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Raises
    ------
    ValueError
        If names and columns differ in number, or no item has a part.

    References
    ----------
    Han et al., WWW 2022, Table 6.

    Examples
    --------
    >>> from modalsplit.plotting import AttentionDisplay
    >>> AttentionDisplay([[0.6, 0.4], [0.8, 0.2]], ["image_common", "image_specific"]).shares_
    array([0.7, 0.3])
    """

    def __init__(self, weights: ArrayLike, part_names: Any) -> None:
        self.weights = np.asarray(weights)
        self.part_names = [str(name) for name in part_names]
        if self.weights.ndim != 2 or self.weights.shape[1] != len(self.part_names):
            raise ValueError(
                f"weights has the shape {self.weights.shape}, but there are {len(self.part_names)} part names: it "
                "must have one column a part."
            )
        counting = self.weights[self.weights.sum(axis=1) > 0]
        if not len(counting):
            raise ValueError("No item has a part that gets attention: there is nothing to draw.")
        self.n_items_ = len(counting)
        self.shares_ = counting.mean(axis=0)
        self.quartiles_ = np.quantile(counting, [0.25, 0.75], axis=0)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, users: Any = None, item_ids: ArrayLike | None = None, ax: Any = None
    ) -> Self:
        """Measure and draw the attention of a fitted recommender.

        Parameters
        ----------
        estimator : AttentiveBPR, or Pipeline that ends in one
            Fitted.
        X : array-like or DataFrame of shape (n_items, n_features)
            Items: their parts for a recommender, what the first step reads for a Pipeline.
        users : array-like or a single id, optional
            Whose attention, where ``attention="user"``; as in `AttentiveBPR.attention_weights`.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        AttentionDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the recommender has no attention, or needs `users`.
        """
        recommender = estimator
        if isinstance(estimator, Pipeline):
            recommender = estimator[-1]
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        if not hasattr(recommender, "attention_weights"):
            raise ValueError(f"{type(recommender).__name__} gives no attention to parts; AttentiveBPR does.")
        weights = recommender.attention_weights(X, users, item_ids=item_ids)
        return cls(weights, recommender.part_names_).plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a bar a part.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        AttentionDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n = len(self.part_names)
        self.ax_ = axes_for(ax, (6.4, 1.4 + 0.5 * n))
        self.figure_ = self.ax_.figure
        at = np.arange(n)
        self.ax_.barh(at, self.shares_, color=[colour_of(name) for name in self.part_names], height=0.65)
        self.ax_.hlines(at, *self.quartiles_, color="black", linewidth=1.5, label="half of the items")
        end = np.maximum(self.shares_, self.quartiles_[1])
        for y, share, x in zip(at, self.shares_, end, strict=True):
            self.ax_.annotate(f"{share:.1%}", (x, y), (5, 0), textcoords="offset points", va="center")
        self.ax_.axvline(1 / n, color="black", linestyle=":", linewidth=1, label="equal shares")
        self.ax_.set_yticks(at, [name.replace("_", " ") for name in self.part_names])
        self.ax_.invert_yaxis()
        self.ax_.set(xlabel=f"attention, mean of {self.n_items_:,} items", xlim=(0, 1.18 * end.max()))
        self.ax_.xaxis.set_major_formatter("{x:.0%}")
        self.ax_.legend(frameon=False, fontsize="small", ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
        return self
