"""A store of arrays: NumPy's files and memory maps, zarr, h5py, or what is in memory anyway."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from modalsplit.files import fill
from modalsplit.stores._base import FeatureStore, Rows, checked_names


class ArrayStore(FeatureStore):
    """Features of items as one array a modality.

    Parameters
    ----------
    arrays : mapping of str to (array or path)
        A matrix a modality, row i of each the same item: ``.npy`` files, arrays of NumPy or its memory maps, or
        anything with ``shape``, ``dtype`` and slices, such as arrays of zarr and h5py.
    ids : array-like of shape (n_items,), optional
        Of the items, int or str, unique; their rows by default.

    Raises
    ------
    ValueError
        If there are fewer than two arrays, they are no matrices of numbers, have different numbers of rows, a file is cut
        off, or ids are not unique.
    FileNotFoundError
        If a file is not there.

    Notes
    -----
    ``.npy`` files are read, not mapped: their pages do not count as memory of the process.

    Stability: experimental.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.stores import ArrayStore
    >>> store = ArrayStore({"image": np.ones((5, 3)), "text": np.zeros((5, 2))})
    >>> len(store), store.names, store.widths, store.read(np.array([4, 0]), 1).shape
    (5, ('image', 'text'), (3, 2), (2, 2))
    """

    def __init__(self, arrays: Mapping[str, Any], ids: ArrayLike | None = None) -> None:
        self.names = checked_names(list(arrays))
        self.arrays = [_opened(name, array) for name, array in arrays.items()]
        n_rows = {name: array.shape[0] for name, array in zip(self.names, self.arrays, strict=True)}
        if len(set(n_rows.values())) > 1:
            raise ValueError(
                f"The modalities have different numbers of rows: {n_rows}. Row i of each must be one item."
            )
        self.widths = tuple(int(array.shape[1]) for array in self.arrays)
        self.n_rows = int(self.arrays[0].shape[0])
        self.dtype = np.dtype(np.float64 if any(a.dtype == np.float64 for a in self.arrays) else np.float32)
        self._ids = None if ids is None else _checked_ids(ids, self.n_rows)
        if self._ids is not None:
            self.check_ids()

    def read(self, rows: Rows, modality: int) -> NDArray[Any]:
        """Read some rows of one modality; see `FeatureStore.read`."""
        array = self.arrays[modality]
        if isinstance(rows, slice) or isinstance(array, np.ndarray | NpyFile):
            found = array[rows]
        else:  # zarr and h5py want rising rows, each once
            unique, back = np.unique(rows, return_inverse=True)
            chosen = array.oindex[unique] if hasattr(array, "oindex") else array[unique]
            found = np.asarray(chosen)[back]
        return np.asarray(found, dtype=self.dtype)

    def read_ids(self, rows: slice) -> NDArray[Any]:
        """Read the ids of some items; see `FeatureStore.read_ids`."""
        return super().read_ids(rows) if self._ids is None else self._ids[rows]


class NpyFile:
    """A matrix in a ``.npy`` file, of which rows are read when they are asked for.

    Parameters
    ----------
    path : str or Path
        The file.

    Attributes
    ----------
    shape : tuple of two int
        Rows and columns.
    dtype : numpy.dtype
        Of the values.

    Raises
    ------
    ValueError
        If it is no matrix in C order, or is cut off.
    FileNotFoundError
        If there is no such file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        with path.open("rb") as file:
            try:
                version = npy.read_magic(file)
                read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, fortran, self.dtype = read_header(file)
            except ValueError as error:
                raise ValueError(f"{path} is no .npy file: {error}") from error
            self._offset = file.tell()
        if len(shape) != 2 or fortran:
            raise ValueError(f"{path} holds an array of shape {shape}, but a matrix in C order is needed.")
        self.shape: tuple[int, int] = shape
        self._row_bytes = shape[1] * self.dtype.itemsize
        expected, found = self._offset + shape[0] * self._row_bytes, path.stat().st_size
        if found < expected:
            raise ValueError(f"{path} is cut off: it has {found} of {expected} bytes. Write or copy it anew.")
        self._path = path.absolute()
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)

    def __reduce__(self) -> tuple[type[NpyFile], tuple[Path]]:
        return NpyFile, (self._path,)

    def __getitem__(self, rows: Rows) -> NDArray[Any]:
        """Read some rows."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self.shape[0])
            out = np.empty((max(0, stop - start), self.shape[1]), dtype=self.dtype)
            self._fill(out, start)
            return out
        out = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        order = np.argsort(rows, kind="stable")
        for place, row in zip(order.tolist(), np.asarray(rows)[order].tolist(), strict=True):
            self._fill(out[place : place + 1], row)
        return out

    def _fill(self, out: NDArray[Any], row: int) -> None:
        fill(out, self._file, self._offset + row * self._row_bytes)


def _opened(name: str, array: Any) -> Any:
    array = NpyFile(array) if isinstance(array, str | os.PathLike) else array
    array = array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)
    if len(array.shape) != 2 or np.dtype(array.dtype).kind not in "fiub":
        raise ValueError(
            f"{name} is an array of shape {tuple(array.shape)} and dtype {array.dtype}, but a matrix of numbers with one "
            "row an item is needed."
        )
    return array


def _checked_ids(ids: ArrayLike, n_rows: int) -> NDArray[Any]:
    array = np.asarray(ids)
    if array.shape != (n_rows,):
        raise ValueError(f"ids has the shape {array.shape}, but there are {n_rows} items.")
    return array if array.dtype.kind in "iu" else array.astype(str).astype(object)
