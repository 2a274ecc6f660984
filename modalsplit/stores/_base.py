"""What a store is: rows that can be asked for."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = slice | NDArray[np.int64]
ROWS_A_BLOCK = 4096
# Rows whose values say whether two stores hold the same.
ROWS_COMPARED = 1024
# Ids that are compared at a time.
IDS_AT_A_TIME = 1 << 22


class IdentifiedRows(ABC):
    """Abstract: rows that are read from somewhere, each an item with an id.

    Attributes
    ----------
    n_rows : int
        Number of items.
    """

    n_rows: int

    def __len__(self) -> int:
        """Count the items."""
        return self.n_rows

    def read_ids(self, rows: slice) -> NDArray[Any]:
        """Read the ids of some items; here they are their rows.

        Parameters
        ----------
        rows : slice
            Of step 1.

        Returns
        -------
        ndarray of int64 or of object (str) of shape (n_chosen,)
            The ids.
        """
        return np.arange(rows.start, rows.stop)

    def blocks(self, size: int = ROWS_A_BLOCK) -> Iterator[slice]:
        """Cut the rows into blocks.

        Parameters
        ----------
        size : int, default=4096
            Rows a block.

        Yields
        ------
        slice
            Of the rows of a block.
        """
        for start in range(0, self.n_rows, size):
            yield slice(start, min(start + size, self.n_rows))

    @abstractmethod
    def fingerprint(self) -> str:
        """Tell these contents from others'.

        Returns
        -------
        str
            A SHA-256.
        """

    def check_ids(self) -> None:
        """Check that no two items have the same id.

        Raises
        ------
        ValueError
            If two have.
        """
        if type(self).read_ids is IdentifiedRows.read_ids:
            return
        # A share of the ids at a time, so that memory does not grow with their number.
        n_shares = -(-self.n_rows // IDS_AT_A_TIME)
        for share in range(n_shares):
            hashes = [_hashed(self.read_ids(rows), n_shares, share)[0] for rows in self.blocks(1 << 16)]
            values, counts = np.unique(np.concatenate(hashes), return_counts=True)
            if (counts > 1).any():
                self._refuse_duplicates(values[counts > 1], n_shares, share)

    def _refuse_duplicates(self, suspects: NDArray[np.uint64], n_shares: int, share: int) -> None:
        """Raise if ids of equal hashes are equal."""
        first: dict[Any, int] = {}
        for rows in self.blocks(1 << 16):
            ids = self.read_ids(rows)
            hashes, places = _hashed(ids, n_shares, share)
            for place in places[np.isin(hashes, suspects)].tolist():
                row = rows.start + place
                if ids[place] in first:
                    raise ValueError(
                        f"The id {ids[place]!r} belongs to two items: {self.place_of(first[ids[place]])} and "
                        f"{self.place_of(row)}. Every item must stand in the store once."
                    )
                first[ids[place]] = row

    def place_of(self, row: int) -> str:
        """Say where a row is, for messages.

        Parameters
        ----------
        row : int
            Its number.

        Returns
        -------
        str
            Here "row 7".
        """
        return f"row {row}"


class FeatureStore(IdentifiedRows):
    """Abstract: the features of items, one matrix a modality, read a few rows at a time.

    A subclass sets the attributes and writes `read`, and `read_ids` if items have other ids than their row. Reading rows
    in rising order must be fast; memory must not grow with the number of rows. If it can be pickled, `modalsplit.distributed`
    can send it to workers.

    Attributes
    ----------
    names : tuple of str
        The modalities.
    widths : tuple of int
        Columns of each.
    n_rows : int
        Number of items.
    dtype : numpy.dtype
        float32 or float64, of what `read` returns.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    n_rows: int
    dtype: np.dtype[Any]

    @abstractmethod
    def read(self, rows: Rows, modality: int) -> NDArray[Any]:
        """Read some rows of one modality.

        Parameters
        ----------
        rows : slice or ndarray of int64 of shape (n_chosen,)
            A slice of step 1, or row numbers in any order.
        modality : int
            Which one.

        Returns
        -------
        ndarray of shape (n_chosen, n_columns)
            NaN in rows that lack the modality.
        """

    def fingerprint(self) -> str:
        """Tell this store's contents from others': by names, widths, rows, and the values of 1,024 rows.

        Returns
        -------
        str
            A SHA-256. Where the files are does not matter.
        """
        about = [self.names, self.widths, self.n_rows, self.dtype.str]
        digest = hashlib.sha256(json.dumps(about).encode())
        rows = np.unique(np.linspace(0, self.n_rows - 1, ROWS_COMPARED).astype(np.int64))
        for modality in range(len(self.names)):
            digest.update(np.ascontiguousarray(self.read(rows, modality)).data)
        return digest.hexdigest()


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """Check that there are two modalities or more.

    Parameters
    ----------
    names : sequence of str
        Of the modalities.

    Returns
    -------
    tuple of str
        The same.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    if len(names) < 2:
        raise ValueError(f"A store needs two modalities or more, but there is {list(names)}.")
    return tuple(names)


def _hashed(ids: NDArray[Any], n_shares: int, share: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Hashes of the ids of one share, and where these stand."""
    hashes: NDArray[np.uint64] = pd.util.hash_array(np.asarray(ids), categorize=False)
    places = np.flatnonzero(hashes % np.uint64(n_shares) == share)
    return hashes[places], places
