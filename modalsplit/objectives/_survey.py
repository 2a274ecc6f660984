"""The first pass over a modality of a store: which rows have it, and whether its values are sound."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from modalsplit.objectives._fitted import Progress
from modalsplit.objectives._scan import blocks_of, scanning, stretches
from modalsplit.objectives._stored import StoredView
from modalsplit.stores import FeatureStore


def survey(store: FeatureStore, modality: int, progress: Progress, device: torch.device) -> StoredView:
    """Look through all rows of a modality, and find out which are there.

    Parameters
    ----------
    store : FeatureStore
        The store.
    modality : int
        Which one.
    progress : callable
        See `Settings.progress`.
    device : torch.device
        Where to compute later.

    Returns
    -------
    StoredView
        The modality.

    Raises
    ------
    ValueError
        If a value is infinite, or all rows have the same values.
    """
    name = store.names[modality]
    present = torch.zeros(store.n_rows, dtype=torch.bool)
    lowest = np.full(store.widths[modality], np.inf)
    highest = -lowest
    parts = stretches(store.n_rows)
    with progress(f"checking {name}", store.n_rows, "items") as done:
        for rows, seen in zip(parts, scanning.get()(_looked_through, (store, modality), parts), strict=True):
            present.numpy()[rows] = seen.present
            np.minimum(lowest, seen.lowest, out=lowest)
            np.maximum(highest, seen.highest, out=highest)
            done(rows.stop - rows.start)
    if present.any() and not (highest > lowest).any():
        raise ValueError(
            f"The {name} modality is constant: its {len(lowest)} feature(s) have the same values in all {int(present.sum())} "
            "items, so there is nothing to split. Check its featurizer."
        )
    return StoredView(store, modality, present.to(device))


class _Seen(NamedTuple):
    """Which rows of a stretch have a modality, and between which values each of its columns lies."""

    present: NDArray[np.bool_]
    lowest: NDArray[Any]
    highest: NDArray[Any]


def _looked_through(store: FeatureStore, modality: int, rows: slice) -> _Seen:
    seen = _Seen(
        np.zeros(rows.stop - rows.start, dtype=bool),
        np.full(store.widths[modality], np.inf),
        np.full(store.widths[modality], -np.inf),
    )
    for block in blocks_of(rows):
        x = store.read(block, modality)
        check_finite(x, store.names[modality], block.start)
        have = ~np.isnan(x).any(axis=1)
        seen.present[block.start - rows.start : block.stop - rows.start] = have
        if have.any():
            kept = x if have.all() else x[have]
            np.minimum(seen.lowest, kept.min(axis=0), out=seen.lowest)
            np.maximum(seen.highest, kept.max(axis=0), out=seen.highest)
    return seen


def check_finite(x: NDArray[Any], name: str, first_row: int) -> None:
    """Refuse infinite values; NaN is a modality that is missing.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_columns)
        Rows of a modality.
    name : str
        Its name.
    first_row : int
        Number of the first of these rows, for the message.

    Raises
    ------
    ValueError
        If a value is infinite.
    """
    # If the sum is finite, all are: one pass without an array of flags. Large numbers may add up to infinity, too.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum()):
            return
    infinite = np.isinf(x).any(axis=1)
    if infinite.any():
        row = first_row + int(infinite.argmax())
        raise ValueError(f"The {name} modality contains infinity, first in row {row}. Mend the featurizer.")
