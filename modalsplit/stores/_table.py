"""Tables in Parquet files: raw items, or lists of recommendations, a few rows at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalsplit.stores._base import ROWS_A_BLOCK
from modalsplit.stores._parquet_rows import ParquetRows


class ParquetTable(ParquetRows):
    """A table in Parquet files, of which some rows at a time are read as a DataFrame.

    Parameters
    ----------
    paths : sequence of (str or Path)
        The files; each has the same columns.
    id_column : str, default="item_id"
        Column with the ids, int or str; where there is none, rows are known by their number.

    Attributes
    ----------
    columns : tuple of str
        The others.
    n_rows : int
        Number of rows.

    Raises
    ------
    ValueError
        If a file is cut off or has other columns than the first, or two rows have the same id.
    FileNotFoundError
        If there are no files.

    Notes
    -----
    Stability: experimental.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> from modalsplit.stores import ParquetTable
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pd.DataFrame({"item_id": ["a", "b"], "text": ["red", "white"]}).to_parquet(f"{folder}/items.parquet")
    ...     ParquetTable([f"{folder}/items.parquet"]).read(slice(1, 2))
        text
    b  white
    """

    def __init__(self, paths: Sequence[str | PathLike[str]], id_column: str = "item_id") -> None:
        self.columns: tuple[str, ...] = ()
        super().__init__(paths, id_column)
        self.check_ids()

    def read(self, rows: slice) -> pd.DataFrame:
        """Read some rows.

        Parameters
        ----------
        rows : slice
            Of step 1.

        Returns
        -------
        DataFrame of shape (n_chosen, n_columns)
            The ids are its index.
        """
        return pd.DataFrame({name: self._stretch(rows, name) for name in self.columns}, index=self.read_ids(rows))

    def fingerprint(self) -> str:
        """Tell this table from others, by its ids and what the ends of its files say of columns, sizes and extremes.

        Returns
        -------
        str
            A SHA-256. Where the files are does not matter.
        """
        digest = hashlib.sha256(repr((self.columns, self.n_rows)).encode())
        for number, inside in self._groups:
            digest.update(repr(self._file(number).metadata.row_group(inside).to_dict()).encode())
        for block in self.blocks(16 * ROWS_A_BLOCK):
            digest.update(repr(self.read_ids(block).tolist()).encode())
        return digest.hexdigest()

    def _check_columns(self, path: Path, schema: Any) -> None:
        self.columns = self.columns or tuple(name for name in schema.names if name != self._id_column)
        for name in [*self.columns, *([self._id_column] if self._id_column else [])]:
            self._check_same(path, schema, name)

    def _values(self, column: Any, name: str) -> NDArray[Any]:
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values if values.dtype.kind in "iufb" else _listed(values)


def _listed(values: NDArray[Any]) -> NDArray[Any]:
    """Make an array of objects, also where each is an array of the same length."""
    listed = np.empty(len(values), dtype=object)
    listed[:] = list(values)
    return listed
