"""A store of Parquet files: shards with an id and one vector a modality in each row."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from modalsplit.stores._base import FeatureStore, Rows, checked_names

# Row groups that stay decoded, so that blocks may cross their borders.
GROUPS_KEPT = 2


class ParquetStore(FeatureStore):
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
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise FileNotFoundError("There are no Parquet files to read: the list of paths is empty.")
        self._files = [_opened(path) for path in self.paths]
        schema = self._files[0].schema_arrow
        vectors = [field.name for field in schema if _width(field.type) is not None]
        self.names = checked_names(vectors if names is None else list(names))
        self._id_column = id_column if id_column in schema.names else None
        for path, file in zip(self.paths, self._files, strict=True):
            self._check_columns(path, file.schema_arrow, schema)
        self.widths = tuple(int(_width(schema.field(name).type) or 0) for name in self.names)
        doubles = [_value_type(schema.field(name).type) == pa.float64() for name in self.names]
        self.dtype = np.dtype(np.float64 if any(doubles) else np.float32)
        self._groups = [(f, g) for f, file in enumerate(self._files) for g in range(file.metadata.num_row_groups)]
        sizes = [self._files[f].metadata.row_group(g).num_rows for f, g in self._groups]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.n_rows = int(self._starts[-1])
        self._decoded: dict[str, dict[int, NDArray[Any]]] = {}
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

    def read_ids(self, rows: slice) -> NDArray[Any]:
        """Read the ids of some items; see `FeatureStore.read_ids`."""
        return super().read_ids(rows) if self._id_column is None else self._stretch(rows, self._id_column)

    def place_of(self, row: int) -> str:
        """Say which row of which file a row is."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self._groups[group][0]
        first = next(start for (f, _), start in zip(self._groups, self._starts, strict=False) if f == file)
        return f"row {row - int(first)} of {self.paths[file]}"

    def _stretch(self, rows: slice, column: str) -> NDArray[Any]:
        first = int(np.searchsorted(self._starts, rows.start, side="right")) - 1
        parts = []
        for group in range(first, len(self._groups)):
            start = int(self._starts[group])
            if start >= rows.stop:
                break
            parts.append(self._group(group, column)[max(0, rows.start - start) : rows.stop - start])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _group(self, group: int, column: str) -> NDArray[Any]:
        """Decode a column of a row group, or remember it."""
        kept = self._decoded.setdefault(column, {})
        if group not in kept:
            file, inside = self._groups[group]
            try:
                table = self._files[file].read_row_group(inside, columns=[column])
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"{self.paths[file]} is damaged in row group {inside}: {error}. Write or copy it anew."
                ) from error
            if len(kept) == GROUPS_KEPT:
                del kept[next(iter(kept))]
            kept[group] = self._values(table.column(column).combine_chunks(), column)
        return kept[group]

    def _values(self, column: Any, name: str) -> NDArray[Any]:
        if name == self._id_column:
            if column.null_count:
                raise ValueError(f"{column.null_count} items have no {name}. Fill or drop them.")
            ids: NDArray[Any] = column.to_numpy(zero_copy_only=False)
            return ids if ids.dtype.kind in "iu" else ids.astype(str).astype(object)
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        width = self.widths[self.names.index(name)]
        if storage.null_count == 0:
            return np.asarray(storage.flatten().to_numpy(zero_copy_only=False), dtype=self.dtype).reshape(-1, width)
        values = np.full((len(storage), width), np.nan, dtype=self.dtype)
        values[~np.asarray(storage.is_null())] = (
            storage.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        )
        return values

    def _check_columns(self, path: Path, schema: Any, first: Any) -> None:
        for name in [*self.names, *([self._id_column] if self._id_column else [])]:
            if name not in schema.names:
                raise ValueError(f"{path} has no column {name!r}; it has {schema.names}.")
            if schema.field(name).type != first.field(name).type:
                raise ValueError(
                    f"{path} has other columns than {self.paths[0]}: {name} is {schema.field(name).type} there and "
                    f"{first.field(name).type} here. All shards must be made alike."
                )
            if name in self.names and _width(schema.field(name).type) is None:
                raise ValueError(
                    f"Column {name!r} of {path} is of type {schema.field(name).type}, but a modality is a vector of fixed "
                    "length: arrow.fixed_shape_tensor or a list of fixed size."
                )


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file, or it is cut off: {error}. Write or copy it anew.") from error


def _width(kind: Any) -> int | None:
    """Length of the vectors of a column; None if it holds none of fixed length."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(np.prod(kind.shape))
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def _value_type(kind: Any) -> Any:
    return kind.value_type
