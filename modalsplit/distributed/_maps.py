"""What is done to each item or user alone: features, parts, and recommendations."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from joblib import hash as joblib_hash
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from modalsplit.blocks import block_columns
from modalsplit.distributed._engine import workers_of
from modalsplit.distributed._shards import Job, as_matrix, check_sendable, write
from modalsplit.encoder import DisentangledModalityEncoder
from modalsplit.recommend import Recommender
from modalsplit.stores import FeatureStore, ParquetStore, ParquetTable, open_store
from modalsplit.stores._base import ROWS_A_BLOCK, IdentifiedRows
from modalsplit.stores._open import parquet_paths
from modalsplit.stores._write import ROWS_A_SHARD, Make, check_complete, check_same_ids, read_shards, shards_in

# Raw items at a time, and a file: a network reads some ten pictures a second.
ITEMS_A_BLOCK, ITEMS_A_SHARD = 1024, 4096


def featurize(
    featurizer: Any,
    items: str | PathLike[str] | Sequence[str | PathLike[str]] | ParquetTable,
    out: str | PathLike[str],
    *,
    num_workers: int = 1,
    cpus_per_worker: float = 1.0,
    gpus_per_worker: float = 0.0,
    id_column: str = "item_id",
    rows_a_shard: int = ITEMS_A_SHARD,
    patience: float = 60.0,
    verbose: bool = False,
) -> ParquetStore:
    """Make features of raw items, shard by shard.

    Parameters
    ----------
    featurizer : ColumnTransformer
        Fitted; its columns are named blocks, such as ``image__0``, one a modality, and two modalities or more. Anything
        with ``transform`` and ``get_feature_names_out`` will do.
    items : str, Path, sequence of paths or ParquetTable
        Parquet files of raw items: a folder, a pattern, or a list.
    out : str or Path
        Folder for Parquet shards with the items' ids. A run that was cut off goes on where it ended.
    num_workers : int, default=1
        Processes. 1 is this one; for more, a Ray cluster is needed that was started before.
    cpus_per_worker, gpus_per_worker : float, default=1 and 0
        What Ray sets aside for each.
    id_column : str, default="item_id"
        What the ids are called; where there are none, items are known by their row.
    rows_a_shard : int, default=4096
        Items a file.
    patience : float, default=60
        Seconds to wait for a cluster of which others hold everything.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    ParquetStore
        Of the folder: as many items, with the same ids. An item that cannot be read has NaN, and there is a warning.

    Raises
    ------
    ValueError
        If the items' files are damaged or differ in their columns, two items have the same id, the featurizer makes no
        two named blocks, the folder holds anything else, or the cluster is too small.
    ImportError
        If Ray is needed and not installed.
    RuntimeError
        If Ray is needed and not started or held by others, a worker died again and again, or another run is writing there.
    OSError
        If the disk is full.
    sklearn.exceptions.NotFittedError
        If the featurizer is not fitted.

    Notes
    -----
    Stability: experimental.
    """
    check_is_fitted(featurizer)
    blocks = block_columns(list(featurizer.get_feature_names_out()))
    if len(blocks) < 2:
        raise ValueError(
            f"The featurizer makes the blocks {list(blocks)}, but a store has two modalities or more. Pass a fitted "
            'ColumnTransformer such as ColumnTransformer([("image", ..., "image"), ("text", ..., "text")]).'
        )
    table = items if isinstance(items, ParquetTable) else ParquetTable(parquet_paths(items), id_column)
    origin = {"featurizer": joblib_hash(featurizer), "items": table.fingerprint()}
    job = Job("featurize", table, _features, [featurizer, blocks], origin, "item_id", rows_a_shard, ITEMS_A_BLOCK)
    write(job, out, workers_of(num_workers, cpus_per_worker, gpus_per_worker, patience=patience), verbose=verbose)
    return _finished(out, table)


def _features(featurizer: Any, blocks: dict[str, Any], table: ParquetTable) -> Make:
    def make(rows: slice) -> dict[str, NDArray[Any]]:
        matrix = as_matrix(featurizer.transform(table.read(rows)))
        return {name: matrix[:, columns] for name, columns in blocks.items()}

    return make


def transform(
    encoder: DisentangledModalityEncoder,
    store: Any,
    out: str | PathLike[str],
    *,
    num_workers: int = 1,
    cpus_per_worker: float = 1.0,
    rows_a_shard: int = ROWS_A_SHARD,
    patience: float = 60.0,
    verbose: bool = False,
) -> ParquetStore:
    """Split the items of a store into parts, shard by shard: ``encoder.transform(store, out=out)`` on several machines.

    The files are the same, byte for byte, so that either call goes on with what the other one began.

    Parameters
    ----------
    encoder : DisentangledModalityEncoder
        Fitted.
    store : FeatureStore, or what `open_store` takes
        The items. Workers read the same files: these must be on a file system that all of them see.
    out : str or Path
        Folder for Parquet shards with the items' ids, on such a file system, too. A run that was cut off goes on where it
        ended.
    num_workers : int, default=1
        Processes. 1 is this one; for more, a Ray cluster is needed that was started before.
    cpus_per_worker : float, default=1
        What Ray sets aside for each.
    rows_a_shard : int, default=65536
        Items a file.
    patience : float, default=60
        Seconds to wait for a cluster of which others hold everything.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    ParquetStore
        Of the folder: as many items, with the same ids in the same order.

    Raises
    ------
    ValueError
        As ``encoder.transform``; or if the cluster is too small.
    ImportError
        If Ray is needed and not installed.
    RuntimeError
        If Ray is needed and not started or held by others, a worker died again and again, or another run is writing there.
    TypeError
        If the store cannot be sent to workers.
    OSError
        If the disk is full.
    sklearn.exceptions.NotFittedError
        If the encoder is not fitted.

    Notes
    -----
    Stability: experimental.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from modalsplit import DisentangledModalityEncoder, distributed
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(500, random_state=0)
    >>> store = {"image": data.X_img, "text": data.X_txt}
    >>> encoder = distributed.fit(DisentangledModalityEncoder(8, objective="cca", random_state=0), store)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = distributed.transform(encoder, store, f"{folder}/parts")
    ...     len(parts), parts.names[:2]
    (500, ('image_common', 'text_common'))
    """
    check_is_fitted(encoder, "module_")
    store = open_store(store)
    workers = workers_of(num_workers, cpus_per_worker, patience=patience)
    if workers.number > 1:
        check_sendable(store)
    origin = encoder._origin_of_parts(store)
    job = Job("transform", store, _parts, [encoder], origin, "item_id", rows_a_shard, ROWS_A_BLOCK)
    write(job, out, workers, verbose=verbose)
    return _finished(out, store)


def _parts(encoder: DisentangledModalityEncoder, store: FeatureStore) -> Make:
    return encoder._parts_of(store)


def recommend(
    model: Recommender,
    out: str | PathLike[str],
    *,
    users: ArrayLike | None = None,
    k: int = 10,
    exclude_seen: bool = True,
    num_workers: int = 1,
    cpus_per_worker: float = 1.0,
    rows_a_shard: int = ROWS_A_SHARD,
    patience: float = 60.0,
    verbose: bool = False,
) -> ParquetTable:
    """Rank the catalogue for many users, shard by shard.

    Parameters
    ----------
    model : Recommender
        Fitted, such as `AttentiveBPR`.
    out : str or Path
        Folder for Parquet files: a user a row, with ``user_id``, and ``item_id`` and ``score`` of the `k` best, best
        first. A run that was cut off goes on where it ended.
    users : array-like of shape (n_users,), optional
        Ids as known at fit, each once; all by default.
    k : int, default=10
        Items a user.
    exclude_seen : bool, default=True
        Leave out what the user took already.
    num_workers : int, default=1
        Processes. 1 is this one; for more, a Ray cluster is needed that was started before.
    cpus_per_worker : float, default=1
        What Ray sets aside for each.
    rows_a_shard : int, default=65536
        Users a file.
    patience : float, default=60
        Seconds to wait for a cluster of which others hold everything.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    ParquetTable
        Of the folder: as many users, in the same order.

    Raises
    ------
    ValueError
        If a user is unknown or named twice, `k` exceeds the catalogue, the folder holds anything else, or the cluster is
        too small.
    ImportError
        If Ray is needed and not installed.
    RuntimeError
        If Ray is needed and not started or held by others, a worker died again and again, or another run is writing there.
    OSError
        If the disk is full.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    Notes
    -----
    Each worker holds the model. Rankings are those of ``model.recommend``, exact.

    Stability: experimental.
    """
    check_is_fitted(model)
    rows = _Users(model.user_ids_ if users is None else np.asarray(users))
    values, counts = np.unique(rows.ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"User {values[counts > 1][0]!r} is named {counts.max()} times. Name each user once.")
    origin = {"model": joblib_hash(model), "users": rows.fingerprint(), "k": k, "exclude_seen": exclude_seen}
    job = Job("recommend", rows, _best, [model, k, exclude_seen], origin, "user_id", rows_a_shard, rows_a_shard)
    write(job, out, workers_of(num_workers, cpus_per_worker, patience=patience), verbose=verbose)
    table = ParquetTable(shards_in(Path(out)), "user_id")
    check_complete(Path(out), table)
    check_same_ids(table, rows)
    return table


class _Users(IdentifiedRows):
    """Users, who are known by their ids alone."""

    def __init__(self, ids: NDArray[Any]) -> None:
        self.ids = ids if ids.dtype.kind in "iu" else ids.astype(str).astype(object)
        self.known = ids
        self.n_rows = len(ids)

    def read_ids(self, rows: slice) -> NDArray[Any]:
        return self.ids[rows]

    def fingerprint(self) -> str:
        return str(joblib_hash(self.ids.tolist()))


def _best(model: Recommender, k: int, exclude_seen: bool, users: _Users) -> Make:
    def make(rows: slice) -> dict[str, NDArray[Any]]:
        ids, scores = model.recommend(users.known[rows], k, exclude_seen=exclude_seen)
        return {"item_id": ids if ids.dtype.kind in "iu" else ids.astype(str).astype(object), "score": scores}

    return make


def _finished(out: str | PathLike[str], rows: IdentifiedRows) -> ParquetStore:
    """Read what was written, and check that nothing is missing and nothing is of other items."""
    store = read_shards(Path(out))
    check_same_ids(store, rows)
    return store
