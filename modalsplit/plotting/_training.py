"""TrainingDisplay: what training recorded in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from modalsplit.plotting._axes import COMMON, LIGHT, MARKERS, NEUTRAL, PALETTE, SPECIFIC, axes_for

GAPS = {
    "common_gap": ("L_c, common parts", COMMON),
    "primitive_gap": ("L_p, primitives", NEUTRAL),
    "specific_gap": ("L_s, specific parts", SPECIFIC),
}


class TrainingDisplay:
    """Curves of what training recorded, one value an epoch.

    If the objective records the gaps, these are drawn: the errors of translating one modality into the other
    from the common parts (L_c), the primitives (L_p) and the specific parts (L_s). The paper's order is
    L_c < L_p < L_s; an exact split has L_c = L_p. Epochs in which L_c <= L_p < L_s does not hold are grey.

    Parameters
    ----------
    history : list of dict of str to float
        A record an epoch, such as ``history_`` of `DisentangledModalityEncoder` and `AttentiveBPR`.

    Attributes
    ----------
    in_order_ : ndarray of bool of shape (n_epochs,) or None
        Whether L_c <= L_p < L_s; None without gaps.
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Raises
    ------
    ValueError
        If `history` is empty.

    References
    ----------
    Han et al., WWW 2022, Eq. 4 to 7.

    Examples
    --------
    >>> from modalsplit.plotting import TrainingDisplay
    >>> display = TrainingDisplay([{"common_gap": 1.0, "primitive_gap": 1.5, "specific_gap": 1.2},
    ...                            {"common_gap": 0.4, "primitive_gap": 0.6, "specific_gap": 1.1}])
    >>> display.in_order_
    array([False,  True])
    """

    def __init__(self, history: Sequence[dict[str, float]]) -> None:
        self.history = list(history)
        if not self.history:
            raise ValueError("The history is empty: there was no training, or its objective has no epochs.")
        gaps = [self._values(name) for name in GAPS]
        self.in_order_ = (gaps[0] <= gaps[1]) & (gaps[1] < gaps[2]) if np.isfinite(gaps).any() else None

    @classmethod
    def from_estimator(cls, estimator: Any, *, records: Sequence[str] | None = None, ax: Any = None) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : DisentangledModalityEncoder, AttentiveBPR or anything with ``history_``
            Fitted.
        records : sequence of str, optional
            As in `plot`.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        TrainingDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the estimator recorded nothing, or not what `records` names.
        """
        history = getattr(estimator, "history_", None)
        if not history:
            raise ValueError(
                f"{type(estimator).__name__} has no history: it is not fitted, or was fitted without epochs, as "
                'objective="cca" is. There is nothing to draw.'
            )
        return cls(history).plot(ax, records=records)

    def plot(self, ax: Any = None, *, records: Sequence[str] | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.
        records : sequence of str, optional
            Which to draw, such as ``["loss", "alignment"]``. By default the gaps, or all if there are none.

        Returns
        -------
        TrainingDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `records` names what was not recorded.
        """
        names = list(dict.fromkeys(name for record in self.history for name in record))
        unknown = [name for name in records or [] if name not in names]
        if unknown:
            raise ValueError(f"There is no record {unknown[0]!r}; there are {names}.")
        if records is None:
            records = list(GAPS) if self.in_order_ is not None else names
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        self._draw(list(records))
        return self

    def _draw(self, records: list[str]) -> None:
        epochs = np.arange(1, len(self.history) + 1)
        every = max(1, len(epochs) // 12)  # markers that do not touch
        for i, name in enumerate(records):
            label, colour = GAPS.get(name, (name.replace("_", " "), PALETTE[i % len(PALETTE)]))
            marker = MARKERS[i % len(MARKERS)]
            self.ax_.plot(epochs, self._values(name), label=label, color=colour, marker=marker, markevery=every, ms=5)
        is_gaps = self.in_order_ is not None and set(GAPS) == set(records)
        if is_gaps:
            self._draw_order(epochs)
        self.ax_.set(xlabel="epoch", ylabel="translation error" if is_gaps else "value")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.legend(frameon=False, fontsize="small")

    def _draw_order(self, epochs: Any) -> None:
        assert self.in_order_ is not None
        for epoch in epochs[~self.in_order_]:
            self.ax_.axvspan(epoch - 0.5, epoch + 0.5, color=LIGHT, alpha=0.4, linewidth=0, zorder=0)
        self.ax_.set_title(f"L_c ≤ L_p < L_s in {self.in_order_.sum()} of {len(epochs)} epochs", fontsize="medium")

    def _values(self, name: str) -> Any:
        return np.array([record.get(name, np.nan) for record in self.history], dtype=float)
