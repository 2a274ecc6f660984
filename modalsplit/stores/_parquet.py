"""A store of Parquet files: shards with an id and one vector a modality in each row."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modalsplit.stores._base import FeatureStore, Rows, checked_names
from modalsplit.stores._parquet_rows import ParquetRows


class ParquetStore(ParquetRows, FeatureStore):
    """Features of items in Parquet files, one after the other.

    Parameters
    ----------
    paths : sequence of (str or Path)
        The shards. Each has the same columns: vectors (``arrow.fixed_shape_tensor``, or lists of a fixed length), one
        a modality, and maybe an id.
    names : sequence of str, optional
        The columns that are modalities, in order; by default all that hold vectors.
    id_column : str, default="item_id"
        Column with the ids, int or str; where there is none, items are known by their row.

    Raises
    ------
    ValueError
        If a file is cut off, has other columns than the first, or lacks a modality; if values of a column have no fixed length;
        or if two items have the same id.
    FileNotFoundError
        If there are no files.

    Notes
    -----
    One row group is decoded at a time: groups of 2,000 to 10,000 rows are good. A missing vector is a modality that the
    item lacks.

    Stability: experimental.
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        names: Sequence[str] | None = None,
        id_column: str = "item_id",
    ) -> None:
        self._chosen = names
        super().__init__(paths, id_column)
        self.widths = tuple(int(_width(self._schema.field(name).type) or 0) for name in self.names)
        doubles = [_value_type(self._schema.field(name).type) == pa.float64() for name in self.names]
        self.dtype = np.dtype(np.float64 if any(doubles) else np.float32)
        self.check_ids()

    def read(self, rows: Rows, modality: int) -> NDArray[Any]:
        """Read some rows of one modality; see `FeatureStore.read`."""
        if isinstance(rows, slice):
            return self._stretch(rows, self.names[modality])
        out = np.empty((len(rows), self.widths[modality]), dtype=self.dtype)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for group in np.unique(owner).tolist():
            mine = owner == group
            out[mine] = self._group(group, self.names[modality])[np.asarray(rows)[mine] - self._starts[group]]
        return out

    def _values(self, column: Any, name: str) -> NDArray[Any]:
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        width = self.widths[self.names.index(name)]
        if storage.null_count == 0:
            return np.asarray(storage.flatten().to_numpy(zero_copy_only=False), dtype=self.dtype).reshape(-1, width)
        values = np.full((len(storage), width), np.nan, dtype=self.dtype)
        values[~np.asarray(storage.is_null())] = (
            storage.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        )
        return values

    def _check_columns(self, path: Path, schema: Any) -> None:
        if path == self.paths[0]:
            vectors = [field.name for field in schema if _width(field.type) is not None]
            self.names = checked_names(vectors if self._chosen is None else list(self._chosen))
        for name in [*self.names, *([self._id_column] if self._id_column else [])]:
            self._check_same(path, schema, name)
            if name in self.names and _width(schema.field(name).type) is None:
                raise ValueError(
                    f"Column {name!r} of {path} is of type {schema.field(name).type}, but a modality is a vector of fixed "
                    "length: arrow.fixed_shape_tensor or a list of fixed size."
                )


def _width(kind: Any) -> int | None:
    """Length of the vectors of a column; None if it holds none of fixed length."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(np.prod(kind.shape))
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def _value_type(kind: Any) -> Any:
    return kind.value_type
