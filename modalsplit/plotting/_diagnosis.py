"""DiagnosisDisplay: the main measures of a diagnosis in four panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from modalsplit.plotting._axes import COMMON, LIGHT, NEUTRAL, SPECIFIC, draw_line, new_axes

COLOURS = {"common": COMMON, "specific": SPECIFIC, "primitive": NEUTRAL, "raw": LIGHT}
GAPS = {"common": "L_c", "primitive": "L_p", "specific": "L_s"}
MOST_PAIRS = 25
N_PANELS = 4


class DiagnosisDisplay:
    """A diagnosis in four panels.

    Canonical correlations of the features against chance; what each part predicts and retrieves of the other
    modality; effective ranks; and the gaps L_c, L_p and L_s, of every epoch if training recorded them.

    Parameters
    ----------
    report : Diagnosis
        Of `modalsplit.diagnose`. ``report.plot()`` is short for ``DiagnosisDisplay(report).plot()``.

    Attributes
    ----------
    axes_ : list of 4 matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.

    Examples
    --------
    >>> from modalsplit.plotting import DiagnosisDisplay
    >>> DiagnosisDisplay.from_report(report).figure_.savefig("diagnosis.png")  # doctest: +SKIP
    """

    def __init__(self, report: Any) -> None:
        self.report = report

    @classmethod
    def from_report(cls, report: Any, *, axes: Sequence[Any] | None = None) -> Self:
        """Draw a diagnosis.

        Parameters
        ----------
        report : Diagnosis
            Of `modalsplit.diagnose`.
        axes : sequence of 4 matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        DiagnosisDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `axes` are not four.
        """
        return cls(report).plot(axes)

    def plot(self, axes: Sequence[Any] | None = None) -> Self:
        """Draw the panels.

        Parameters
        ----------
        axes : sequence of 4 matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        DiagnosisDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `axes` are not four.
        """
        self.axes_ = new_axes(2, 2, (10, 7.2)) if axes is None else list(np.ravel(np.asarray(axes, dtype=object)))
        if len(self.axes_) != N_PANELS:
            raise ValueError(
                f"axes holds {len(self.axes_)} Axes, but the figure has {N_PANELS} panels. Pass {N_PANELS}."
            )
        self.figure_ = self.axes_[0].figure
        correlations, parts, ranks, gaps = self.axes_
        _plot_correlations(correlations, self.report)
        _plot_parts(parts, self.report)
        _plot_ranks(ranks, self.report)
        if self.report.history:
            _plot_gap_history(gaps, [record._asdict() for record in self.report.history])
        else:
            _plot_gaps(gaps, self.report)
        return self


def _plot_correlations(axis: Any, report: Any) -> None:
    for pair, correlations in report.correlations.items():
        draw_line(axis, correlations[:MOST_PAIRS], label=pair)
    axis.axhline(max(report.levels.values()), color="black", linestyle="--", linewidth=1, label="95 % of random orders")
    axis.set(title="What the features share", xlabel="canonical pair", ylabel="held-out correlation", ylim=(-0.2, 1.05))
    axis.legend(frameon=False, fontsize="small")


def _plot_parts(axis: Any, report: Any) -> None:
    """Best of all directions, so that one leak is seen."""
    wanted = {
        "R² of the other's features": "R² of features",
        "retrieval recall@1": "recall@1",
        "retrieval recall@10": "recall@10",
    }
    _bars(axis, report, wanted, ("common", "specific"))
    axis.set(title="What a part tells of the other modality", ylabel="largest of all directions", ylim=(0, 1.2))
    axis.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")


def _plot_ranks(axis: Any, report: Any) -> None:
    parts = ("raw", "primitive", "common", "specific")
    names = list(report.names)
    for i, part in enumerate(parts):
        values = [_largest(report, "effective rank", part, name) for name in names]
        axis.bar(np.arange(len(names)) + 0.2 * (i - 1.5), values, width=0.18, color=COLOURS[part], label=part)
    shares = [f"{name}\ncommon {_largest(report, 'share of variance', 'common', name):.0%}" for name in names]
    axis.set_xticks(np.arange(len(names)), shares)
    axis.set(title="Effective ranks, share of variance", ylabel="directions")
    _room_for_legend(axis)


def _plot_gaps(axis: Any, report: Any) -> None:
    pairs = list(report.correlations)
    for i, part in enumerate(GAPS):
        values = [_largest(report, "translation error", part, pair) for pair in pairs]
        axis.bar(np.arange(len(pairs)) + 0.25 * (i - 1), values, width=0.22, color=COLOURS[part], label=GAPS[part])
    axis.set_xticks(np.arange(len(pairs)), [pair.replace(" ~ ", "\n") for pair in pairs])
    axis.axhline(1, color="black", linestyle="--", linewidth=1)
    axis.set(title="Translation by one map, on held-out rows", ylabel="error / variance")
    _room_for_legend(axis)


def _plot_gap_history(axis: Any, history: Sequence[dict[str, float]]) -> None:
    for part, name in GAPS.items():
        values = [gaps[part] for gaps in history]
        if np.isfinite(values).any():
            draw_line(axis, values, color=COLOURS[part], label=name)
    axis.set(title="Gaps during training", xlabel="epoch")
    if axis.lines:
        axis.legend(frameon=False, fontsize="small")
    else:
        axis.text(0.5, 0.5, "this objective records no gaps", ha="center", va="center", transform=axis.transAxes)


def _bars(axis: Any, report: Any, metrics: dict[str, str], parts: Sequence[str]) -> None:
    for i, part in enumerate(parts):
        values = [_largest(report, metric, part) for metric in metrics]
        axis.bar(np.arange(len(metrics)) + 0.4 * (i - 0.5), values, width=0.36, color=COLOURS[part], label=part)
    axis.set_xticks(np.arange(len(metrics)), list(metrics.values()))


def _room_for_legend(axis: Any) -> None:
    axis.margins(y=0.35)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize="small", ncols=4, loc="upper center")


def _largest(report: Any, metric: str, part: str, modalities: str | None = None) -> float:
    found = [
        measure.value
        for measure in report.measures
        if (measure.metric, measure.part) == (metric, part) and modalities in {None, measure.modalities}
    ]
    return max(found, default=0.0)
