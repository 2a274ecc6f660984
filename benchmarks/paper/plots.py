"""The paper's figures, drawn from the rows of the experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LABEL = "NDCG@10, full ranking"


def epochs(rows: pd.DataFrame, path: Path) -> None:
    """Fig. 3a: a line a family, with the seeds' deviation."""
    figure, axes = _figure(1, 6)
    for family, of in rows.groupby("family", sort=False):
        _line(axes[0], of, "epochs", str(family))
    axes[0].set(xscale="log", xlabel="epochs of pre-training", ylabel=LABEL)
    _save(figure, axes, path)


def shares(rows: pd.DataFrame, path: Path) -> None:
    """Fig. 3b: a panel for what is masked, a line a method."""
    masks = list(dict.fromkeys(rows["masked"]))
    colours = {
        method: f"C{place}" for place, method in enumerate(dict.fromkeys(rows["method"]))
    }  # a panel may lack some
    figure, axes = _figure(len(masks), 4.2)
    for ax, mask in zip(axes, masks, strict=True):
        for method, of in rows[rows["masked"] == mask].groupby("method", sort=False):
            _line(ax, of.assign(share=of["share"] * 100), "share", str(method), color=colours[method])
        ax.set(title="both masked together" if mask == "both" else f"{mask} masked", xlabel="items masked (%)")
    axes[0].set_ylabel(LABEL)
    _save(figure, axes, path)


def plugged(rows: pd.DataFrame, path: Path) -> None:
    """Fig. 3c: bars a recommender, one for what it sees, and each seed's value on them."""
    figure, axes = _figure(1, 7)
    by = rows.groupby(["method", "content"], sort=False)["ndcg@10"].apply(list).unstack(sort=False)
    by = by.map(lambda values: values if isinstance(values, list) else [np.nan])  # not run yet
    bars = by.map(np.mean).plot.bar(ax=axes[0], rot=0, width=0.75)
    for container, of_content in zip(bars.containers, by, strict=True):
        for bar, values in zip(container, by[of_content], strict=True):
            axes[0].plot([bar.get_x() + bar.get_width() / 2] * len(values), values, "k.", markersize=4)
    axes[0].set(xlabel="", ylabel=LABEL)
    _save(figure, axes, path)


def _figure(n_panels: int, width: float) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * n_panels, 3.8), layout="constrained")
    return figure, list(figure.subplots(1, n_panels, sharey=True, squeeze=False)[0])


def _line(ax: Any, rows: pd.DataFrame, x: str, label: str, **style: Any) -> None:
    values = rows.groupby(x)["ndcg@10"].agg(["mean", "std"])
    style |= {"marker": "o", "markersize": 3, "capsize": 2, "label": label}
    ax.errorbar(values.index, values["mean"], values["std"].fillna(0), **style)


def _save(figure: Any, axes: list[Any], path: Path) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    for ax in axes:
        ax.grid(alpha=0.3)
        if ax.get_legend():
            ax.get_legend().remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
