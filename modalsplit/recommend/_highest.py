"""The highest of many scores."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

GROUP = 64  # columns


def highest(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.intp]:
    """Find the k highest of each row, in order; ties by position, NaN last.

    Parameters
    ----------
    scores : ndarray of shape (n, n_columns)
        Any.
    k : int
        How many.

    Returns
    -------
    ndarray of int of shape (n, k)
        Their columns.
    """
    values = torch.from_numpy(np.ascontiguousarray(scores))
    n_columns = values.shape[1]
    n_whole = n_columns // GROUP * GROUP
    if 2 * k * GROUP > n_columns:
        top = values.topk(k, dim=1).indices
    else:
        # The k highest are in the k groups with the highest maxima: that leaves few columns to select from.
        groups = values[:, :n_whole].view(len(values), -1, GROUP).amax(2).topk(k, dim=1).indices
        within, rest = torch.arange(GROUP), torch.arange(n_whole, n_columns).expand(len(values), -1)
        columns = torch.cat([(groups[:, :, None] * GROUP + within).flatten(1), rest], dim=1)
        top = columns.gather(1, values.gather(1, columns).topk(k, dim=1).indices)
    top = top.sort(dim=1).values
    best = values.gather(1, top)
    if best.isnan().any():  # torch takes NaN for the highest of all, so one anywhere in a row is found here
        return highest(np.where(np.isnan(scores), -np.inf, scores), k)
    order = best.argsort(dim=1, descending=True, stable=True)
    found: NDArray[np.intp] = top.gather(1, order).numpy()
    return found
