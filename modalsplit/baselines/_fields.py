"""The content of items, cut into fields that are brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.blocks import block_columns
from modalsplit.modalities import stacked_columns

Floats = NDArray[np.floating[Any]]
ROUNDING = 8  # units of the last place of its mean by which a constant field may differ from it
FieldSplit = str | int | Sequence[int] | Sequence[str]


class Fields:
    """Cut content into fields, centre them, and divide each by the root mean square of the rows that are there.

    One number a field: the relative size of its columns says what matters in it. Without this, a picture of
    4,096 activations would outweigh a text, and the free embeddings of both sides.

    Parameters
    ----------
    X : ndarray of shape (n_items, n_features)
        What to learn means and sizes from. Any NaN in a field means that the item lacks it.
    names : sequence of str
        Names of the columns; empty if they have none.
    split : "auto", int, sequence of int or sequence of str
        Where the fields are. ``"auto"``: the blocks that the names say, or all columns.

    Attributes
    ----------
    widths : list of int
        Columns of each field.
    """

    def __init__(self, X: Floats, names: Sequence[str], split: FieldSplit) -> None:
        every = np.arange(X.shape[1])
        named = list(block_columns(names).values()) if len(names) else []
        found = (named or [slice(None)]) if split == "auto" else stacked_columns(split, names, X.shape[1])
        self._columns = [every[columns] for columns in found]
        self.widths = [len(columns) for columns in self._columns]
        self._centres = [_mean(X[:, columns]) for columns in self._columns]
        self._sizes = [_size(X[:, columns], mean) for columns, mean in zip(self._columns, self._centres, strict=True)]

    def transform(self, X: Floats) -> NDArray[np.float32]:
        """Put the fields side by side.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
            One row an item.

        Returns
        -------
        ndarray of float32 of shape (n_rows, sum of widths)
            A field that an item lacks is 0: its mean.
        """
        return np.hstack(self._cut(X)).astype(np.float32)

    def _cut(self, X: Floats) -> list[Floats]:
        fields: list[Floats] = []
        for columns, centre, size in zip(self._columns, self._centres, self._sizes, strict=True):
            field = (X[:, columns] - centre) / size
            field[np.isnan(field).any(axis=1)] = 0
            fields.append(field)
        return fields


def _mean(field: Floats) -> Floats:
    there = field[_present(field)]
    mean: Floats = there.mean(axis=0) if len(there) else np.zeros(field.shape[1])
    return mean


def _size(field: Floats, centre: Floats) -> float:
    """Root mean square of the rows that are there; 1 if they differ by rounding alone."""
    apart = field[_present(field)] - centre
    size = float(np.sqrt(np.square(apart).sum(axis=1).mean())) if len(apart) else 0.0
    rounding = ROUNDING * np.finfo(apart.dtype).eps * float(np.linalg.norm(centre))
    return size if size > rounding else 1.0


def _present(field: Floats) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(field).any(axis=1))
