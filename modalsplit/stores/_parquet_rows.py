"""Rows of Parquet files, one file after the other, of which a row group is decoded when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from modalsplit.stores._base import IdentifiedRows

# Row groups that stay decoded, so that blocks may cross their borders.
GROUPS_KEPT = 2
# Files that stay open: systems allow 1,024 and less.
FILES_KEPT = 128


class ParquetRows(IdentifiedRows):
    """Abstract: the rows of Parquet files that have the same columns.

    Parameters
    ----------
    paths : sequence of (str or Path)
        The files.
    id_column : str
        Column with the ids; where the first file has none, items are known by their row.

    Raises
    ------
    ValueError
        If a file is cut off, or `_check_columns` finds that it has other columns than the first.
    FileNotFoundError
        If there are no files.
    """

    def __init__(self, paths: Sequence[str | PathLike[str]], id_column: str) -> None:
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise FileNotFoundError("There are no Parquet files to read: the list of paths is empty.")
        self._reset()
        self._schema = self._file(0).schema_arrow
        self._id_column = id_column if id_column in self._schema.names else None
        sizes: list[int] = []
        self._groups: list[tuple[int, int]] = []
        for number, path in enumerate(self.paths):
            file = self._file(number)
            self._check_columns(path, file.schema_arrow)
            n_groups = file.metadata.num_row_groups
            self._groups += [(number, inside) for inside in range(n_groups)]
            sizes += [file.metadata.row_group(inside).num_rows for inside in range(n_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.n_rows = int(self._starts[-1])

    @abstractmethod
    def _check_columns(self, path: Path, schema: Any) -> None:
        """Raise if a file does not have the columns of the first one, `_schema`."""

    @abstractmethod
    def _values(self, column: Any, name: str) -> NDArray[Any]:
        """Turn a column of Arrow, which is not that of the ids, into an array."""

    def read_ids(self, rows: slice) -> NDArray[Any]:
        """Read the ids of some items; see `FeatureStore.read_ids`."""
        return super().read_ids(rows) if self._id_column is None else self._stretch(rows, self._id_column)

    def place_of(self, row: int) -> str:
        """Say which row of which file a row is."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self._groups[group][0]
        first = next(start for (f, _), start in zip(self._groups, self._starts, strict=False) if f == file)
        return f"row {row - int(first)} of {self.paths[file]}"

    def _check_same(self, path: Path, schema: Any, name: str) -> None:
        """Raise if a column is not there, or of another type than in the first file."""
        if name not in schema.names:
            raise ValueError(f"{path} has no column {name!r}; it has {schema.names}.")
        if schema.field(name).type != self._schema.field(name).type:
            raise ValueError(
                f"{path} has other columns than {self.paths[0]}: {name} is {self._schema.field(name).type} there and "
                f"{schema.field(name).type} here. All shards must be made alike."
            )

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
            number, inside = self._groups[group]
            try:
                table = self._file(number).read_row_group(inside, columns=[column])
            except (pa.ArrowException, OSError) as error:
                raise ValueError(
                    f"{self.paths[number]} is damaged in row group {inside}: {error}. Write or copy it anew."
                ) from error
            if len(kept) == GROUPS_KEPT:
                del kept[next(iter(kept))]
            array = table.column(column).combine_chunks()
            kept[group] = self._ids(array) if column == self._id_column else self._values(array, column)
        return kept[group]

    def _ids(self, column: Any) -> NDArray[Any]:
        if column.null_count:
            raise ValueError(f"{column.null_count} items have no {self._id_column}. Fill or drop them.")
        ids: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return ids if ids.dtype.kind in "iu" else ids.astype(str).astype(object)

    def _file(self, number: int) -> Any:
        if number not in self._open:
            if len(self._open) == FILES_KEPT:
                self._open.pop(next(iter(self._open))).close()
            self._open[number] = _opened(self.paths[number])
        return self._open[number]

    def _reset(self) -> None:
        self._open: dict[int, Any] = {}
        self._decoded: dict[str, dict[int, NDArray[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Where the rows are, not the rows; another process may work in another folder.
        return {**vars(self), "_open": {}, "_decoded": {}, "paths": [path.absolute() for path in self.paths]}


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file, or it is cut off: {error}. Write or copy it anew.") from error
