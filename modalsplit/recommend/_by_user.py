"""Interactions that need not fit memory: from rows of Parquet files to lists by user, in files that are mapped."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from modalsplit.blocks import block_names
from modalsplit.objectives import Stages
from modalsplit.stores import FeatureStore, ParquetInteractions
from modalsplit.stores._open import parquet_paths

Ids = NDArray[Any]
AT_A_TIME = 1 << 22  # interactions in memory


def interaction_files(y: Any) -> ParquetInteractions | None:
    """Open interactions that are in files.

    Parameters
    ----------
    y : object
        What `fit` was given.

    Returns
    -------
    ParquetInteractions or None
        None if it is no path, list of paths or data set of PyArrow, and so is in memory.

    Raises
    ------
    ValueError
        If the files are no Parquet files with columns ``item_id`` and ``user_id``.
    FileNotFoundError
        If nothing is there.
    """
    if isinstance(y, ParquetInteractions):
        return y
    if hasattr(y, "files") and hasattr(y, "scanner"):  # pyarrow.dataset.FileSystemDataset
        return ParquetInteractions(list(y.files))
    is_list = isinstance(y, list | tuple) and y and all(isinstance(path, str | PathLike) for path in y)
    return ParquetInteractions(parquet_paths(y)) if is_list or isinstance(y, str | PathLike) else None


def as_frame(store: FeatureStore) -> pd.DataFrame:
    """Read parts from a store, as any batch may need any of them.

    Parameters
    ----------
    store : FeatureStore
        Such as ``transform(out=...)`` returns: a matrix a part.

    Returns
    -------
    DataFrame of float32 of shape (n_items, n_parts * width)
        Named blocks; the index holds the ids, where these are no rows.
    """
    values = np.empty((len(store), sum(store.widths)), dtype=np.float32)
    ids = []
    for rows in store.blocks():
        ids.append(store.read_ids(rows))
        column = 0
        for modality, width in enumerate(store.widths):
            values[rows, column : column + width] = store.read(rows, modality)
            column += width
    names = [name for block, width in zip(store.names, store.widths, strict=True) for name in block_names(block, width)]
    return pd.DataFrame(values, index=np.concatenate(ids), columns=names, copy=False)


def lists_by_user(
    files: ParquetInteractions, item_ids: Ids | None, n_items: int, folder: Path, stages: Stages
) -> sparse.csr_array:
    """Sort interactions by user and item, and leave out repeated ones, in bounded memory.

    Parameters
    ----------
    files : ParquetInteractions
        The interactions.
    item_ids : ndarray of shape (n_items,) or None
        Ids of the items; None if they are known by their position.
    n_items : int
        How many items there are.
    folder : Path
        Where the lists go.
    stages : Stages
        Knows whether the lists are there already.

    Returns
    -------
    csr_array of float32 of shape (n_users, n_items)
        Ones. It lies in files that are mapped into memory: what is read of it can be dropped at any time.

    Raises
    ------
    ValueError
        If an id is unknown or missing, or there are no interactions.
    """
    bounds = stages.load("interactions")
    if bounds is None:
        bounds = _written(files, item_ids, n_items, folder)
        stages.keep("interactions", lambda: bounds)
    return _mapped(bounds, n_items, folder)


def with_columns(taken: sparse.csr_array, columns: NDArray[np.intp], folder: Path | None) -> sparse.csr_array:
    """Take some columns of all rows.

    Parameters
    ----------
    taken : csr_array of shape (n_users, n_items)
        All interactions are in these columns.
    columns : ndarray of int of shape (n_columns,)
        Ascending.
    folder : Path or None
        Where the result goes, if it need not fit memory.

    Returns
    -------
    csr_array of shape (n_users, n_columns)
        The interactions, numbered anew.
    """
    if len(columns) == taken.shape[1]:
        return taken
    if folder is None:
        return taken[:, columns]
    place = np.zeros(taken.shape[1], dtype=taken.indices.dtype)
    place[columns] = np.arange(len(columns))
    renumbered = np.memmap(folder / "renumbered.raw", place.dtype, "w+", shape=taken.indices.shape)
    for part in _parts(len(renumbered)):
        renumbered[part] = place[taken.indices[part]]
    return _csr(np.asarray(taken.data), np.asarray(renumbered), taken.indptr, (taken.shape[0], len(columns)))


def counts_of_items(taken: sparse.csr_array) -> NDArray[np.int64]:
    """Count the users of each item.

    Parameters
    ----------
    taken : csr_array of shape (n_users, n_items)
        Interactions.

    Returns
    -------
    ndarray of int64 of shape (n_items,)
        How many users took each.
    """
    counts = np.zeros(taken.shape[1], dtype=np.int64)
    for part in _parts(taken.nnz):
        counts += np.bincount(taken.indices[part], minlength=len(counts))
    return counts


def _written(files: ParquetInteractions, item_ids: Ids | None, n_items: int, folder: Path) -> NDArray[Any]:
    """Write lists and return their bounds."""
    n_rows, n_users = files.n_rows, len(files.user_ids())
    kind = np.int32 if max(n_rows, n_items) < np.iinfo(np.int32).max else np.int64
    codes = np.memmap(folder / "codes.raw", np.int64, "w+", shape=(max(n_rows, 1), 2))
    counts, done = np.zeros(n_users, dtype=np.int64), 0
    for users, items in files.pairs(item_ids, n_items):
        codes[done : done + len(users), 0], codes[done : done + len(users), 1] = users, items
        done += len(users)
        named, often = np.unique(users, return_counts=True)
        counts[named] += often
    lists = np.memmap(folder / "items.raw", kind, "w+", shape=(max(n_rows, 1),))
    following = np.cumsum(counts) - counts
    for part in _parts(n_rows):
        users, items = codes[part].T
        order = np.argsort(users, kind="stable")
        named, first, often = np.unique(users[order], return_index=True, return_counts=True)
        within = np.arange(len(order)) - np.repeat(first, often)
        lists[np.repeat(following[named], often) + within] = items[order]
        following[named] += often
    del codes
    (folder / "codes.raw").unlink()
    counts = _sorted_in_place(lists, counts, n_items)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(kind)
    ones = np.memmap(folder / "ones.raw", np.float32, "w+", shape=(max(int(bounds[-1]), 1),))
    for part in _parts(len(ones)):
        ones[part] = 1
    for written in (lists, ones):
        written.flush()
    return bounds


def _sorted_in_place(lists: NDArray[Any], counts: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """Sort the list of each user and leave out repeated items; lists move up. Return their lengths."""
    ends, lengths, first, done = np.cumsum(counts), counts.copy(), 0, 0
    while first < len(counts):
        start = ends[first] - counts[first]
        last = max(int(np.searchsorted(ends, start + AT_A_TIME, side="right")), first + 1)
        owners = np.repeat(np.arange(last - first), counts[first:last])
        keys = np.unique(owners * n_items + lists[start : ends[last - 1]])
        lists[done : done + len(keys)] = keys % n_items
        lengths[first:last] = np.bincount(keys // n_items, minlength=last - first)
        first, done = last, done + len(keys)
    return lengths


def _mapped(bounds: NDArray[Any], n_items: int, folder: Path) -> sparse.csr_array:
    n = int(bounds[-1])
    if not n:
        raise ValueError("The files hold no interactions: they have no rows. There is nothing to learn from.")
    # Copies on writing, so that nobody changes the files; nobody writes.
    lists, ones = (
        np.asarray(np.memmap(folder / name, kind, "c", shape=(n,)))
        for name, kind in (("items.raw", bounds.dtype), ("ones.raw", np.float32))
    )
    return _csr(ones, lists, bounds, (len(bounds) - 1, n_items))


def _csr(data: NDArray[Any], indices: NDArray[Any], bounds: NDArray[Any], shape: tuple[int, int]) -> sparse.csr_array:
    taken = sparse.csr_array((data, indices, bounds), shape=shape)
    taken.has_sorted_indices = taken.has_canonical_format = True
    return taken


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, AT_A_TIME):
        yield slice(start, min(start + AT_A_TIME, n))
