"""Maps over shards: some rows in, one file out, whole or not at all; what is there already is left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from modalsplit.distributed._engine import Workers
from modalsplit.stores import ArrayStore, FeatureStore
from modalsplit.stores._base import IdentifiedRows
from modalsplit.stores._write import Make, Shard, claimed, write_shard


class Job(NamedTuple):
    """What is made of which rows.

    Attributes
    ----------
    name : str
        For the progress bar.
    rows : IdentifiedRows
        What is read.
    maker : callable
        Of a module. Takes some `arguments` and then `rows`; gives a function of a slice of rows that returns a matrix a column.
    arguments : sequence
        Of the maker.
    origin : mapping of str to JSON value
        What the result depends on.
    id_column : str
        What the ids are called in the result.
    rows_a_shard, rows_a_block : int
        Rows a file, and at a time.
    """

    name: str
    rows: IdentifiedRows
    maker: Callable[..., Make]
    arguments: Sequence[Any]
    origin: Mapping[str, Any]
    id_column: str
    rows_a_shard: int
    rows_a_block: int


def write(job: Job, out: str | PathLike[str], workers: Workers, *, verbose: bool) -> None:
    """Write the shards that are not there yet.

    Parameters
    ----------
    job : Job
        What to write.
    out : str or Path
        The folder.
    workers : Workers
        Who does it.
    verbose : bool
        Whether to show a progress bar.

    Raises
    ------
    ValueError
        If the folder holds anything else.
    RuntimeError
        If another run is writing there; see also `Workers.map`.
    OSError
        If the disk is full.
    """
    if workers.number > 1:
        workers.check()  # before anything is written
    with (
        claimed(out, job.rows.n_rows, job.origin, job.rows_a_shard) as (shards, n_done),
        tqdm(desc=job.name, total=job.rows.n_rows, initial=n_done, unit=" rows", disable=not verbose) as bar,
    ):
        shared = (job.maker, tuple(job.arguments), job.rows, job.id_column, job.rows_a_block)
        for n_rows in workers.map(_write, shared, shards):
            bar.update(n_rows)


def _write(
    maker: Callable[..., Make],
    arguments: Sequence[Any],
    rows: IdentifiedRows,
    id_column: str,
    rows_a_block: int,
    shard: Shard,
) -> int:
    """Write one shard: what a worker does."""
    write_shard(shard, rows, maker(*arguments, rows), id_column=id_column, rows_a_block=rows_a_block)
    return shard.n_rows


def check_sendable(store: FeatureStore) -> None:
    """Refuse memory maps: a worker would get all that they hold, not the file.

    Parameters
    ----------
    store : FeatureStore
        Of features.

    Raises
    ------
    ValueError
        If it has one.
    """
    if isinstance(store, ArrayStore) and any(isinstance(array, np.memmap) for array in store.arrays):
        raise ValueError(
            "The store holds memory maps, which would be sent to every worker as a whole. Name the files instead: "
            'open_store({"image": "image.npy", "text": "text.npy"}).'
        )


def as_matrix(features: Any) -> NDArray[np.float32]:
    """Turn what a featurizer returns into an array.

    Parameters
    ----------
    features : array, DataFrame or sparse matrix of shape (n_rows, n_columns)
        Features.

    Returns
    -------
    ndarray of float32 of shape (n_rows, n_columns)
        The same.
    """
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features, dtype=np.float32)
