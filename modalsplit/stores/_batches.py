"""A store of what passes by: batches are written to a folder, and read from there."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from modalsplit.stores._arrays import ArrayStore


class BatchStore(ArrayStore):
    """Features of items that come in batches, such as from a generator.

    They are gone through once and written to ``.npy`` files, one a modality, because a fit reads them several times.

    Parameters
    ----------
    batches : iterable of mapping of str to array-like of shape (n_batch, n_columns)
        A matrix a modality, in each batch of the same names and widths.
    folder : str or Path, optional
        Where the files go; it must be empty or not there. By default a temporary folder that goes away with the store.
    id_column : str, default="item_id"
        Key of the ids in a batch, if there are any; ids stay in memory.

    Raises
    ------
    ValueError
        If there is no batch, batches have different names, widths or types, or the folder holds something.

    Notes
    -----
    Stability: experimental.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.stores import BatchStore
    >>> batches = ({"image": np.ones((10, 3)), "text": np.full((10, 2), i)} for i in range(4))
    >>> store = BatchStore(batches)
    >>> len(store), store.read(slice(19, 21), 1)[:, 0].tolist()
    (40, [1.0, 2.0])
    """

    def __init__(
        self,
        batches: Iterable[Mapping[str, Any]],
        folder: str | PathLike[str] | None = None,
        id_column: str = "item_id",
    ) -> None:
        place = Path(tempfile.mkdtemp(prefix="modalsplit-") if folder is None else folder)
        if folder is None:
            weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise ValueError(f"{place} is not empty. Name a new folder for the batches.")
        ids: list[NDArray[Any]] = []
        files: dict[str, _Growing] = {}
        with ExitStack() as stack:
            for number, batch in enumerate(batches):
                matrices = {name: np.asarray(matrix) for name, matrix in batch.items()}
                if id_column in matrices:
                    ids.append(matrices.pop(id_column))
                if not files:
                    files = {n: stack.enter_context(_Growing(place / f"{n}.npy", m)) for n, m in matrices.items()}
                _check_batch(number, matrices, files)
                for name, matrix in matrices.items():
                    files[name].append(matrix)
        if not files:
            raise ValueError("There is no batch: the iterable is empty, or was gone through before.")
        super().__init__({name: file.path for name, file in files.items()}, np.concatenate(ids) if ids else None)


class _Growing:
    """A matrix in a ``.npy`` file that rows are added to; its header is right once it is closed."""

    def __init__(self, path: Path, first: NDArray[Any]) -> None:
        self.path, self.n_columns, self.dtype, self.n_rows = path, first.shape[-1], first.dtype, 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows).data)
        self.n_rows += len(rows)

    def _write_header(self) -> None:
        self._file.seek(0)
        shape = (self.n_rows, self.n_columns)
        # NumPy leaves room for the rows to grow, so that the header keeps its length.
        npy.write_array_header_1_0(
            self._file, {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        )

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self._write_header()
        self._file.close()


def _check_batch(number: int, batch: Mapping[str, NDArray[Any]], files: Mapping[str, _Growing]) -> None:
    found = {name: (matrix.shape[1:], matrix.dtype) for name, matrix in batch.items()}
    expected = {name: ((file.n_columns,), file.dtype) for name, file in files.items()}
    if found != expected or len({len(matrix) for matrix in batch.values()}) > 1:
        raise ValueError(
            f"Batch {number} has { ({n: (m.shape, str(m.dtype)) for n, m in batch.items()}) }, but all batches must be matrices "
            f"of the first one's names, columns and types, { ({n: (f.n_columns, str(f.dtype)) for n, f in files.items()}) }, with "
            "one row an item."
        )
