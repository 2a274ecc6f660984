"""Figures of a diagnosis and of a training history; they need matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

COLOURS = {"common": "#0072b2", "specific": "#d55e00", "primitive": "#737373", "raw": "#bdbdbd"}
GAPS = {"common": "L_c", "primitive": "L_p", "specific": "L_s"}
MOST_PAIRS = 25


def plot_diagnosis(report: Any, axes: Sequence[Any] | None = None) -> Any:
    """Draw a diagnosis in four panels.

    Canonical correlations of the features against chance; what each part predicts and retrieves of the other
    modality; effective ranks; and the gaps L_c, L_p and L_s, of every epoch if training recorded them.

    Parameters
    ----------
    report : Diagnosis
        Of `modalsplit.diagnose`.
    axes : sequence of 4 matplotlib Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    matplotlib Figure
        The figure of the first axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `axes` are not four.

    Examples
    --------
    >>> from modalsplit.plotting import plot_diagnosis
    >>> figure = plot_diagnosis(report)  # doctest: +SKIP
    >>> figure.savefig("diagnosis.png")  # doctest: +SKIP
    """
    panels = _panels(axes, 4)
    _plot_correlations(panels[0], report)
    _plot_parts(panels[1], report)
    _plot_ranks(panels[2], report)
    if report.history:
        _plot_gap_history(panels[3], [gaps._asdict() for gaps in report.history])
    else:
        _plot_gaps(panels[3], report)
    return panels[0].figure


def plot_history(encoder: Any, axes: Any = None) -> Any:
    """Draw what training recorded in every epoch.

    Parameters
    ----------
    encoder : DisentangledModalityEncoder
        Fitted.
    axes : sequence of 2 matplotlib Axes, optional
        Where to draw: the gaps on the first, everything else on the second. A new figure if None.

    Returns
    -------
    matplotlib Figure
        The figure of the first axes.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the encoder recorded nothing, or `axes` are not two.
    """
    history = list(getattr(encoder, "history_", None) or [])
    if not history:
        raise ValueError(
            f"{type(encoder).__name__} has no history: it is not fitted, or was fitted without training. There is "
            "nothing to draw."
        )
    panels = _panels(axes, 2)
    gaps = [{part: record.get(f"{part}_gap", np.nan) for part in GAPS} for record in history]
    _plot_gap_history(panels[0], gaps)
    others = [name for name in history[-1] if name.removesuffix("_gap") not in GAPS]
    for name in others:
        _line(panels[1], [record.get(name, np.nan) for record in history], label=name.replace("_", " "))
    panels[1].set(title="Other records", xlabel="epoch")
    if others:
        panels[1].legend(frameon=False)
    return panels[0].figure


def _panels(axes: Any, n_panels: int) -> list[Any]:
    if axes is not None:
        panels = list(np.ravel(axes))
        if len(panels) != n_panels:
            raise ValueError(f"axes holds {len(panels)} Axes, but the figure has {n_panels} panels. Pass {n_panels}.")
        return panels
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("Figures need matplotlib. Install it: pip install 'modalsplit[plot]'") from error
    _, grid = plt.subplots((n_panels + 1) // 2, 2, figsize=(10, 3.6 * ((n_panels + 1) // 2)), layout="constrained")
    return list(np.ravel(grid))


def _plot_correlations(axis: Any, report: Any) -> None:
    for pair, correlations in report.correlations.items():
        _line(axis, correlations[:MOST_PAIRS], label=pair)
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
            _line(axis, values, color=COLOURS[part], label=name)
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


def _line(axis: Any, values: Any, **style: Any) -> None:
    style["marker"] = "o" if len(values) < 2 else style.get("marker", ".")
    axis.plot(np.arange(1, len(values) + 1), values, **style)
    axis.xaxis.get_major_locator().set_params(integer=True)


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
