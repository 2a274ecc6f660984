"""Writing rows a shard at a time: each is whole or not there, and a second run goes on where the first one ended."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from modalsplit.files import sole_user, whole_file
from modalsplit.stores._base import ROWS_A_BLOCK, FeatureStore, IdentifiedRows
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
        If the folder holds anything else, such as results of items with other ids.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.
    """
    with claimed(folder, store.n_rows, origin, rows_a_shard) as (shards, n_done):
        on_rows(n_done)
        for shard in shards:
            write_shard(shard, store, make)
            on_rows(shard.n_rows)
    parts = read_shards(Path(folder))
    check_same_ids(parts, store)
    return parts


class Shard(NamedTuple):
    """Rows that go to one file.

    Attributes
    ----------
    rows : slice
        Which.
    path : Path
        The file.
    """

    rows: slice
    path: Path

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return int(self.rows.stop - self.rows.start)


@contextmanager
def claimed(
    folder: str | PathLike[str], n_rows: int, origin: Mapping[str, Any], rows_a_shard: int
) -> Iterator[tuple[list[Shard], int]]:
    """Hold a folder for results of one origin.

    Parameters
    ----------
    folder : str or Path
        Where they go; made if it is not there.
    n_rows : int
        Of all shards.
    origin : mapping of str to JSON value
        What the result depends on.
    rows_a_shard : int
        Rows a file.

    Yields
    ------
    shards : list of Shard
        That are still to be written.
    n_done : int
        Rows of the others.

    Raises
    ------
    ValueError
        If the folder holds anything else.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with sole_user(folder), _told_when_full(folder):
        _claim(folder, {"version": VERSION, "n_rows": n_rows, "rows_a_shard": rows_a_shard, "origin": dict(origin)})
        starts = range(0, n_rows, rows_a_shard)
        shards = [
            Shard(slice(start, min(start + rows_a_shard, n_rows)), folder / f"part-{number:06d}.parquet")
            for number, start in enumerate(starts)
        ]
        missing = [shard for shard in shards if _n_rows(shard.path) != shard.n_rows]
        yield missing, n_rows - sum(shard.n_rows for shard in missing)


def read_shards(folder: Path, **options: Any) -> ParquetStore:
    """Open a folder of Parquet files with vectors, and check that none is missing.

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
    store = ParquetStore(shards_in(folder), **options)
    check_complete(folder, store)
    return store


def shards_in(folder: Path) -> list[Path]:
    """List the Parquet files of a folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    list of Path
        By name.

    Raises
    ------
    FileNotFoundError
        If it holds none.
    """
    paths = sorted(path for path in folder.glob("*.parquet") if path.name[0] not in "._")
    if not paths:
        raise FileNotFoundError(f"{folder} holds no Parquet files.")
    return paths


def check_complete(folder: Path, rows: IdentifiedRows) -> None:
    """Check that a folder holds all rows that it was begun for.

    Parameters
    ----------
    folder : Path
        The folder.
    rows : IdentifiedRows
        All that it holds.

    Raises
    ------
    ValueError
        If some are missing.
    """
    if (folder / MANIFEST).exists():
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["n_rows"]
        if rows.n_rows != expected:
            raise ValueError(
                f"{folder} holds {rows.n_rows} of {expected} items: a shard is missing, or the run that writes it did not "
                "end. Run it again; it goes on where it ended."
            )


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
        Where to. Until the end the rows are in a hidden folder beside it, where a second run goes on. A file that is
        complete is kept; a hidden ``.json`` beside it says what it was made of.
    store : FeatureStore
        Whose rows they are.
    make : callable
        Takes a slice of rows, returns a matrix.
    origin : mapping of str to JSON value
        What the result depends on: a file of another origin is refused.
    on_rows : callable, optional
        Takes the number of rows that are done.

    Returns
    -------
    numpy.memmap of shape (n_rows, n_columns)
        The file.

    Raises
    ------
    ValueError
        If another file is there, or an unfinished run of another origin.
    RuntimeError
        If another run is writing there.
    OSError
        If the disk is full.
    """
    path = Path(path)
    about = {"version": VERSION, "n_rows": store.n_rows, "origin": dict(origin)}
    _is_made(path, about)  # before anything is written beside a file that is refused
    scratch = path.with_name(f".{path.name}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    with sole_user(scratch), _told_when_full(scratch):
        _claim(scratch, about)
        if _is_made(path, about):
            on_rows(store.n_rows)
        else:
            unfinished = scratch / "rows.npy"
            _write_rows(unfinished, store, make, on_rows)
            _is_made(path, about)  # it took a while: somebody may have put a file there
            # The record first: killed in between, there is no file yet, and the next run goes on from the folder.
            _write_json(_record_of(path), {**about, **_content_of(unfinished)})
            unfinished.replace(path)
        shutil.rmtree(scratch)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _is_made(path: Path, about: Mapping[str, Any]) -> bool:
    """Say whether the file is there; refuse any other than that, for it would be lost."""
    if not path.exists():
        return False
    record = _record_of(path)
    if path.is_file() and record.exists():
        recorded = json.loads(record.read_text(encoding="utf-8"))
        if recorded == {**about, **_content_of(path)}:
            return True
    raise ValueError(
        f"{path} is there already, and is no result of this encoder, these data and these options, or was changed since. "
        "It is left as it was. Name another file, or delete that one."
    )


def _record_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.json")


def _content_of(path: Path) -> dict[str, Any]:
    """Tell a file from one that was later put in its place, without reading all of it."""
    with path.open("rb") as file:
        return {"n_bytes": path.stat().st_size, "begins_with": hashlib.sha256(file.read(1 << 16)).hexdigest()}


def _write_rows(
    path: Path, store: FeatureStore, make: Callable[[slice], NDArray[Any]], on_rows: Callable[[int], object]
) -> None:
    """Write the rows that are still missing."""
    with path.open("ab") as file:
        done = _rows_done(file, make(slice(0, 1)), store.n_rows)
        on_rows(done)
        for start in range(done, store.n_rows, ROWS_A_BLOCK):
            rows = slice(start, min(start + ROWS_A_BLOCK, store.n_rows))
            file.write(np.ascontiguousarray(make(rows)).data)
            on_rows(rows.stop - rows.start)
        file.flush()
        os.fsync(file.fileno())


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
        _write_json(manifest, about)
    for left in folder.glob(".*.parquet"):
        left.unlink()


def _write_json(path: Path, about: Mapping[str, Any]) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def write_shard(
    shard: Shard, rows_of: IdentifiedRows, make: Make, *, id_column: str = "item_id", rows_a_block: int = ROWS_A_BLOCK
) -> None:
    """Write a shard, which is then there whole or not at all.

    Parameters
    ----------
    shard : Shard
        What to write, and where.
    rows_of : IdentifiedRows
        Whose ids the rows have.
    make : callable
        Takes a slice of rows, returns a matrix a column.
    id_column : str, default="item_id"
        What to call the ids.
    rows_a_block : int, default=4096
        Rows that are made at a time; a row group each.
    """
    with whole_file(shard.path) as unfinished:
        writer = None
        try:
            for start in range(shard.rows.start, shard.rows.stop, rows_a_block):
                rows = slice(start, min(start + rows_a_block, shard.rows.stop))
                table = _table(id_column, rows_of.read_ids(rows), make(rows))
                if writer is None:
                    # Dictionaries and compression cost time, and real numbers have nothing to be compressed.
                    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
                    writer = pq.ParquetWriter(unfinished, table.schema, write_page_checksum=True, **options)
                writer.write_table(table, row_group_size=rows_a_block)
        finally:
            if writer is not None:
                writer.close()


def check_same_ids(written: IdentifiedRows, rows: IdentifiedRows) -> None:
    """Check that what was written has the ids of what it was made of, in the same order.

    Parameters
    ----------
    written, rows : IdentifiedRows
        Of as many rows.

    Raises
    ------
    ValueError
        If an id differs.
    """
    for block in rows.blocks(1 << 16):
        found, expected = written.read_ids(block), rows.read_ids(block)
        different = np.flatnonzero(found != expected)
        if len(different):
            row = block.start + int(different[0])
            raise ValueError(
                f"{written.place_of(row)} is of {found[different[0]]!r}, but row {row} is {expected[different[0]]!r} now: the "
                "folder was written when items had other ids. Name another folder, or delete that one."
            )


def _table(id_column: str, ids: NDArray[Any], columns: Mapping[str, NDArray[Any]]) -> Any:
    arrays = {id_column: pa.array(ids)}
    for name, matrix in columns.items():
        matrix = np.ascontiguousarray(matrix)
        if matrix.dtype.kind == "f":
            arrays[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(matrix)
        else:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.table(arrays)


def _n_rows(path: Path) -> int:
    """Count the rows of a shard; -1 if it is not there or damaged, so that it is written anew."""
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
