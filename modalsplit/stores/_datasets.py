"""A store of a data set of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.stores._base import FeatureStore, Rows, checked_names


class DatasetStore(FeatureStore):
    """Features of items in a ``datasets.Dataset``.

    Parameters
    ----------
    dataset : datasets.Dataset
        Or anything with its ``column_names``, ``select_columns``, ``with_format`` and indexing; not a streamed one.
    names : sequence of str, optional
        The columns that are modalities, in order; by default all whose first row is a vector of numbers.
    id_column : str, default="item_id"
        Column with the ids; where there is none, items are known by their row.

    Raises
    ------
    ValueError
        If there are fewer than two such columns, a column is not there, or two items have the same id.

    Notes
    -----
    The package ``datasets`` is not among the requirements: whoever has such a data set has it.

    Stability: experimental.
    """

    def __init__(self, dataset: Any, names: Sequence[str] | None = None, id_column: str = "item_id") -> None:
        columns = list(dataset.column_names)
        self._views = {name: dataset.select_columns([name]).with_format("numpy") for name in columns}
        first = {name: np.asarray(view[0:1][name]) for name, view in self._views.items()}
        vectors = [name for name, value in first.items() if value.ndim == 2 and value.dtype.kind in "fiub"]
        for name in names or []:
            if name not in vectors:
                raise ValueError(f"The data set has no column {name!r} of vectors; it has {vectors} of {columns}.")
        self.names = checked_names(vectors if names is None else list(names))
        self.widths = tuple(int(first[name].shape[1]) for name in self.names)
        self.n_rows = len(dataset)
        self.dtype = np.dtype(np.float64 if any(first[n].dtype == np.float64 for n in self.names) else np.float32)
        self._id_column = id_column if id_column in columns else None
        self.check_ids()

    def read(self, rows: Rows, modality: int) -> NDArray[Any]:
        """Read some rows of one modality; see `FeatureStore.read`."""
        name = self.names[modality]
        values = np.asarray(self._views[name][rows][name])
        if values.ndim != 2 or values.shape[1] != self.widths[modality]:
            raise ValueError(f"Column {name!r} has vectors of other lengths than {self.widths[modality]}.")
        return values.astype(self.dtype, copy=False)

    def read_ids(self, rows: slice) -> NDArray[Any]:
        """Read the ids of some items; see `FeatureStore.read_ids`."""
        if self._id_column is None:
            return super().read_ids(rows)
        ids = np.asarray(self._views[self._id_column][rows][self._id_column])
        return ids if ids.dtype.kind in "iu" else ids.astype(str).astype(object)
