"""Writing rows a shard at a time: each is whole or not there, and a second run goes on where the first one ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from modalsplit.files import sole_user, whole_file
from modalsplit.stores._base import ROWS_A_BLOCK, FeatureStore
from modalsplit.stores._parquet import ParquetStore

MANIFEST = "_manifest.json"
ROWS_A_SHARD = 16 * ROWS_A_BLOCK
VERSION = 1
Make = Callable[[slice], Mapping[str, NDArray[Any]]]


def write_store(store: FeatureStore, folder: str | PathLike[str], *, rows_a_shard: int = ROWS_A_SHARD) -> ParquetStore:
    """Write a store as a folder of Parquet shards.

    Parameters
    ----------
    store : FeatureStore
        What to write.
    folder : str or Path
        Where to. A run that was interrupted goes on where it ended.
    rows_a_shard : int, default=65536
        Items a file.

    Returns
    -------
    ParquetStore
        Of the folder.

    Raises
    ------
    ValueError
        If the folder holds anything else.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from modalsplit.stores import ArrayStore, write_store
    >>> store = ArrayStore({"image": np.ones((5, 3)), "text": np.zeros((5, 2))}, ids=list("abcde"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_store(store, f"{folder}/features", rows_a_shard=2)
    ...     len(written.paths), written.read_ids(slice(1, 3)).tolist(), written.fingerprint() == store.fingerprint()
    (3, ['b', 'c'], True)
    """

    def make(rows: slice) -> dict[str, NDArray[Any]]:
        return {name: store.read(rows, modality) for modality, name in enumerate(store.names)}

    return write_shards(folder, store, make, {"store": store.fingerprint()}, rows_a_shard=rows_a_shard)


def write_shards(
    folder: str | PathLike[str],
    store: FeatureStore,
    make: Make,
    origin: Mapping[str, Any],
    *,
    rows_a_shard: int = ROWS_A_SHARD,
    on_rows: Callable[[int], object] = lambda n: None,
) -> ParquetStore:
    """Write what is made of the rows of a store as Parquet shards with the store's ids.

    Parameters
    ----------
    folder : str or Path
        Where to.
    store : FeatureStore
        Whose rows they are.
    make : callable
        Takes a slice of rows, returns a matrix a column.
    origin : mapping of str to JSON value
        What the result depends on: a folder that holds results of another origin is refused.
    rows_a_shard : int, default=65536
        Items a file.
    on_rows : callable, optional
        Takes the number of rows that are done.

    Returns
    -------
    ParquetStore
        Of the folder, with as many rows as the store.

    Raises
    ------
    ValueError
        If the folder holds anything else.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.
    """
    folder = Path(folder)
    about = {"version": VERSION, "n_rows": store.n_rows, "rows_a_shard": rows_a_shard, "origin": dict(origin)}
    folder.mkdir(parents=True, exist_ok=True)
    with sole_user(folder), _told_when_full(folder):
        _claim(folder, about)
        for shard in store.blocks(rows_a_shard):
            path = folder / _shard_name(shard.start // rows_a_shard)
            if not (path.exists() and _n_rows(path) == shard.stop - shard.start):
                _write_shard(path, store, shard, make)
            on_rows(shard.stop - shard.start)
    return read_shards(folder)


def read_shards(folder: Path, **options: Any) -> ParquetStore:
    """Open a folder of Parquet files, and check that none is missing.

    Parameters
    ----------
    folder : Path
        The folder.
    **options : dict
        For `ParquetStore`.

    Returns
    -------
    ParquetStore
        Of all files, by name.

    Raises
    ------
    ValueError
        If the folder was written by `write_store` or ``transform`` and is not complete.
    FileNotFoundError
        If it holds no Parquet files.
    """
    paths = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "._")
    if not paths:
        raise FileNotFoundError(f"{folder} holds no Parquet files.")
    store = ParquetStore(paths, **options)
    if (folder / MANIFEST).exists():
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["n_rows"]
        if store.n_rows != expected:
            raise ValueError(
                f"{folder} holds {store.n_rows} of {expected} items: a shard is missing, or the run that writes it did not "
                "end. Run it again; it goes on where it ended."
            )
    return store


def write_matrix(
    path: str | PathLike[str],
    store: FeatureStore,
    make: Callable[[slice], NDArray[Any]],
    origin: Mapping[str, Any],
    *,
    on_rows: Callable[[int], object] = lambda n: None,
) -> NDArray[Any]:
    """Write what is made of the rows of a store as one ``.npy`` file.

    Parameters
    ----------
    path : str or Path
        Where to; an older file is replaced at the end. Until then the rows are in a hidden folder beside it, where a
        second run goes on.
    store : FeatureStore
        Whose rows they are.
    make : callable
        Takes a slice of rows, returns a matrix.
    origin : mapping of str to JSON value
        What the result depends on.
    on_rows : callable, optional
        Takes the number of rows that are done.

    Returns
    -------
    numpy.memmap of shape (n_rows, n_columns)
        The file.

    Raises
    ------
    ValueError
        If an unfinished run of another origin is there.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    with sole_user(scratch), _told_when_full(scratch):
        _claim(scratch, {"version": VERSION, "n_rows": store.n_rows, "origin": dict(origin)})
        unfinished = scratch / "rows.npy"
        with unfinished.open("ab") as file:
            done = _rows_done(file, make(slice(0, 1)), store.n_rows)
            on_rows(done)
            for start in range(done, store.n_rows, ROWS_A_BLOCK):
                rows = slice(start, min(start + ROWS_A_BLOCK, store.n_rows))
                file.write(np.ascontiguousarray(make(rows)).data)
                on_rows(rows.stop - rows.start)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        shutil.rmtree(scratch)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _rows_done(file: Any, first: NDArray[Any], n_rows: int) -> int:
    """Write the header, or find where an earlier run ended and cut off its last, torn row."""
    if file.tell() == 0:
        shape = (n_rows, first.shape[1])
        npy.write_array_header_1_0(
            file, {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
        )
        file.flush()
        return 0
    with open(file.name, "rb") as written:  # noqa: PTH123 - the very file
        npy.read_magic(written)
        npy.read_array_header_1_0(written)
        header = written.tell()
    done = (file.tell() - header) // first[0].nbytes
    file.truncate(header + done * first[0].nbytes)
    return int(done)


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Say what the folder is for, or check that it is for the same; clear away what a killed run left."""
    manifest = folder / MANIFEST
    if manifest.exists():
        earlier = json.loads(manifest.read_text(encoding="utf-8"))
        different = sorted(key for key in {*about, *earlier} if about.get(key) != earlier.get(key))
        if different:
            was, now = ({key: one.get(key) for key in different} for one in (earlier, about))
            raise ValueError(
                f"{folder} holds results of another encoder, other data or other options ({was} there, {now} now). Name "
                "another folder, or delete that one."
            )
    else:
        strangers = [path.name for path in folder.iterdir() if path.name != ".lock"]
        if strangers:
            raise ValueError(
                f"{folder} holds files that are not from here, such as {strangers[0]!r}. Name a new folder."
            )
        with whole_file(manifest) as unfinished:
            unfinished.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    for left in folder.glob(".*.parquet"):
        left.unlink()


def _write_shard(path: Path, store: FeatureStore, shard: slice, make: Make) -> None:
    with whole_file(path) as unfinished:
        writer = None
        try:
            for start in range(shard.start, shard.stop, ROWS_A_BLOCK):
                rows = slice(start, min(start + ROWS_A_BLOCK, shard.stop))
                table = _table(store.read_ids(rows), make(rows))
                if writer is None:
                    # Dictionaries and compression cost time, and real numbers have nothing to be compressed.
                    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
                    writer = pq.ParquetWriter(unfinished, table.schema, write_page_checksum=True, **options)
                writer.write_table(table, row_group_size=ROWS_A_BLOCK)
        finally:
            if writer is not None:
                writer.close()


def _table(ids: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> Any:
    arrays = {"item_id": pa.array(ids)}
    for name, matrix in columns.items():
        arrays[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(matrix))
    return pa.table(arrays)


def _shard_name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def _n_rows(path: Path) -> int:
    """Count the rows of a shard; -1 if it is damaged, so that it is written anew."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return -1


@contextmanager
def _told_when_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC and "No space left" not in str(error):
            raise
        raise OSError(
            errno.ENOSPC,
            f"The disk of {folder} is full. What was written is whole: make room and run the same again; it goes on where "
            "it ended",
        ) from error
