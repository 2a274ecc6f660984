"""Who took what, in Parquet files: one interaction a row, a row group at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from modalsplit.stores._parquet_rows import ParquetRows

Ids = NDArray[Any]


class ParquetInteractions(ParquetRows):
    """Interactions in Parquet files, one a row, for `AttentiveBPR.fit`.

    Parameters
    ----------
    paths : sequence of (str or Path)
        The files; each has the same columns.
    item : str, default="item_id"
        Column that holds the item's id.
    user : str, default="user_id"
        Column that holds the user's id.
    user_ids : array-like of shape (n_users,), optional
        The users, in the order wanted. By default those in the files, sorted.

    Attributes
    ----------
    n_rows : int
        Number of rows; a pair may stand in several.

    Raises
    ------
    ValueError
        If a file is cut off, lacks a column or has other columns than the first; if ids of users are not unique.
    FileNotFoundError
        If there are no files.

    Notes
    -----
    One row group is decoded at a time: groups of 100,000 to 1,000,000 rows are good. Every row is an interaction: leave out
    ratings that are none.

    Stability: experimental.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> from modalsplit.stores import ParquetInteractions
    >>> taken = pd.DataFrame({"user_id": ["bob", "ann", "bob"], "item_id": ["a", "a", "b"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     taken.to_parquet(f"{folder}/taken.parquet")
    ...     ParquetInteractions([f"{folder}/taken.parquet"]).user_ids().tolist()
    ['ann', 'bob']
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        *,
        item: str = "item_id",
        user: str = "user_id",
        user_ids: ArrayLike | None = None,
    ) -> None:
        self.item, self.user = item, user
        self._user_ids = None if user_ids is None else np.asarray(user_ids)
        if self._user_ids is not None and pd.Index(self._user_ids).has_duplicates:
            raise ValueError("user_ids must be unique, but some occur more than once.")
        super().__init__(paths, "")

    def user_ids(self) -> Ids:
        """List the users.

        Returns
        -------
        ndarray of shape (n_users,)
            Their ids: as given, or sorted.
        """
        if self._user_ids is None:
            found: list[Ids] = []
            for ids in self._column(self.user):
                found.append(np.sort(pd.unique(ids)))
                # Merged when the latest are as many as all before: then each id is sorted a few times only.
                if len(found) > 1 and sum(map(len, found[1:])) >= len(found[0]):
                    found = [np.unique(np.concatenate(found))]
            self._user_ids = np.unique(np.concatenate(found)) if found else np.arange(0)
        return self._user_ids

    def pairs(self, item_ids: Ids | None, n_items: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Go through the interactions, a row group at a time.

        Parameters
        ----------
        item_ids : ndarray of shape (n_items,) or None
            Ids of the items; None if they are known by their position.
        n_items : int
            How many items there are.

        Yields
        ------
        users : ndarray of int64 of shape (n,)
            Positions in `user_ids`.
        items : ndarray of int64 of shape (n,)
            Positions of items.

        Raises
        ------
        ValueError
            If an id is not known or missing, or a row group is damaged.
        """
        users, items = pd.Index(self.user_ids()), pd.Index(np.arange(n_items) if item_ids is None else item_ids)
        for group, (of_users, of_items) in enumerate(
            zip(self._column(self.user), self._column(self.item), strict=True)
        ):
            found = []
            for known, wanted, what in ((users, of_users, self.user), (items, of_items, self.item)):
                codes = known.get_indexer(pd.Index(wanted))
                if (codes < 0).any():
                    row = int(np.flatnonzero(codes < 0)[0])
                    raise ValueError(
                        f"{what} {wanted[row]!r} in {self.place_of(int(self._starts[group]) + row)} is not among the known "
                        f"ones, such as {known[:3].tolist()}. Both sides must spell ids alike, also in type."
                    )
                found.append(codes)
            yield found[0], found[1]

    def fingerprint(self) -> str:
        """Tell these interactions from others, by all ids.

        Returns
        -------
        str
            A SHA-256. Where the files are and how rows are grouped does not matter.
        """
        digest = hashlib.sha256(f"{self.n_rows}".encode())
        for name in (self.user, self.item):
            for ids in self._column(name):
                digest.update(pd.util.hash_array(ids, categorize=False).tobytes())
        return digest.hexdigest()

    def _column(self, name: str) -> Iterator[Ids]:
        for group in range(len(self._groups)):
            yield self._group(group, name)

    def _check_columns(self, path: Path, schema: Any) -> None:
        for name in (self.user, self.item):
            if name not in schema.names:
                raise ValueError(
                    f"{path} has no column {name!r}; it has {schema.names}. Say which columns to read with "
                    "ParquetInteractions(paths, item=..., user=...)."
                )
            self._check_same(path, schema, name)

    def _values(self, column: Any, name: str) -> Ids:
        if column.null_count:
            raise ValueError(f"{column.null_count} interactions have no {name}. Drop them first.")
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_integer(column.type):
            whole: Ids = column.to_numpy(zero_copy_only=False)
            return whole
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise ValueError(f"Column {name!r} is of type {column.type}, but ids are integers or strings.")
        texts: Ids = column.to_numpy(zero_copy_only=False).astype(object)
        return texts
