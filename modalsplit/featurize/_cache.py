"""Features on disk: files that are written once, whole, and never changed."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

_OPEN_SEGMENTS = 16
_STALE_AFTER = 24 * 3600  # seconds; no writer takes a day for one file


def content_key(*parts: bytes | str) -> bytes:
    """Name a content.

    Parameters
    ----------
    *parts : bytes or str
        The content; how it is cut into parts counts.

    Returns
    -------
    bytes of length 16
        A BLAKE2b hash: equal for equal contents only.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


class FeatureCache:
    """Rows of features, by the content of the item and the fingerprint of the model that made them.

    A model has a folder, a batch of rows an Arrow file in it. A file is written beside its place, flushed to
    the disk and renamed, so another process sees all of it or nothing, and a process that is killed leaves
    only an unnamed rest. Files are never changed: any number of processes can read and add at once.

    Parameters
    ----------
    cache_dir : str or Path
        Folder of all caches; made if it is not there.
    name : str
        What a person who looks into the folder should read.
    fingerprint : str
        Of everything that decides what the rows are: weights, layer, preprocessing.
    """

    def __init__(self, cache_dir: str | PathLike[str], name: str, fingerprint: str) -> None:
        self._folder = cache_folder(cache_dir, f"{name}-{fingerprint}")
        self._places: dict[bytes, tuple[str, int]] = {}
        self._known: set[str] = set()
        self._changed = 0
        self._segment = lru_cache(_OPEN_SEGMENTS)(self._read_segment)
        _remove_stale(self._folder)
        self._refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Look a row up.

        Parameters
        ----------
        key : bytes of length 16
            `content_key` of the item.

        Returns
        -------
        ndarray of shape (n_features,) or None
            The row, on the disk until it is read; None if it was never added.
        """
        if key not in self._places:
            return None
        segment, row = self._places[key]
        features: NDArray[np.float32] = self._segment(segment)[row]
        return features

    def append(self, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        """Add rows; once this returns, they survive anything that happens to the process.

        Parameters
        ----------
        keys : sequence of bytes of length n_rows
            `content_key` of each item.
        rows : ndarray of shape (n_rows, n_features), float32
            Their features.
        """
        import pyarrow as pa

        self._refresh()
        new = [number for number, key in enumerate(keys) if key not in self._places]
        if not new:
            return
        name = f"{uuid4().hex}.arrow"
        added = [keys[number] for number in new]
        write_table({"key": pa.array(added, pa.binary(16)), "features": as_arrow(rows[new])}, self._folder / name)
        self._index(name, added)
        # What another process added just now is found when it adds again; until then it is only computed twice.
        self._changed = self._folder.stat().st_mtime_ns

    def _refresh(self) -> None:
        """Take up what other processes have added since; the folder's own time tells whether there is anything."""
        changed = self._folder.stat().st_mtime_ns
        if changed == self._changed:
            return
        self._changed = changed
        names = {entry.name for entry in os.scandir(self._folder) if entry.name.endswith(".arrow")}
        for name in sorted(names - self._known):
            table = read_table(self._folder / name)
            self._index(name, [] if table is None else table.column("key").to_pylist())

    def _index(self, name: str, keys: Iterable[bytes]) -> None:
        self._known.add(name)
        for row, key in enumerate(keys):
            self._places.setdefault(key, (name, row))

    def _read_segment(self, name: str) -> NDArray[np.float32]:
        table = read_table(self._folder / name)
        if table is None:
            raise OSError(f"{self._folder / name} was removed or damaged while it was in use. Run again.")
        return from_arrow(table.column("features"))


def cache_folder(cache_dir: str | PathLike[str], name: str = "") -> Path:
    """Make a folder in the user's.

    Parameters
    ----------
    cache_dir : str or Path
        The user's folder.
    name : str, default=""
        The folder in it; by default the user's itself.

    Returns
    -------
    Path
        A folder that exists.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder = Path(cache_dir).expanduser() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cache_dir={str(cache_dir)!r} cannot be used ({error}). Give a folder that can be written to."
        ) from error
    return folder


def as_arrow(matrix: NDArray[np.float32]) -> Any:
    """Turn a matrix into a column of an Arrow table.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns), float32
        The numbers.

    Returns
    -------
    pyarrow.FixedSizeListArray of length n_rows
        The same numbers, without a copy.
    """
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def from_arrow(column: Any) -> NDArray[np.float32]:
    """Turn a column that `as_arrow` made into a matrix.

    Parameters
    ----------
    column : pyarrow.ChunkedArray of length n_rows
        What was read from a file.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float32
        Read-only; on the disk until it is used.
    """
    numbers: NDArray[np.float32] = column.chunk(0).flatten().to_numpy(zero_copy_only=True)
    return numbers.reshape(len(column), column.type.list_size)


def write_table(columns: dict[str, Any], path: Path) -> None:
    """Write an Arrow file that is there whole or not at all.

    Parameters
    ----------
    columns : dict of str to pyarrow.Array
        The table.
    path : Path
        Where to; a file of that name is replaced.

    Raises
    ------
    OSError
        If the disk is full or cannot be written to.
    """
    import pyarrow as pa

    table = pa.table(columns)
    unfinished = path.with_name(f"{uuid4().hex}.tmp")
    try:
        with unfinished.open("wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(
            f"cache_dir cannot be written to ({error}). Free some space or choose another folder: what is in "
            f"{path.parent} already stays good."
        ) from error


def read_table(path: Path) -> Any:
    """Read an Arrow file; its numbers stay on the disk until they are used.

    Parameters
    ----------
    path : Path
        What `write_table` wrote.

    Returns
    -------
    pyarrow.Table or None
        None if there is no such file, or, with a warning, if it is damaged.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except FileNotFoundError:
        return None
    except (pa.ArrowInvalid, OSError) as error:
        warnings.warn(
            f"{path} in cache_dir is damaged and not used ({error}); what it held is computed again. Delete it.",
            stacklevel=2,
        )
        return None


def _remove_stale(folder: Path) -> None:
    """Remove what killed processes left behind; a living one may have just begun its file."""
    for unfinished in folder.glob("*.tmp"):
        try:
            if time.time() - unfinished.stat().st_mtime > _STALE_AFTER:
                unfinished.unlink()
        except OSError:
            continue  # renamed or removed by its owner just now, or the folder may only be read
