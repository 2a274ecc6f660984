"""Reading of numbers at a place in a file, without mapping it: the pages do not count as memory of the process."""

from __future__ import annotations

from io import FileIO
from typing import Any

from numpy.typing import NDArray


def fill(out: NDArray[Any], file: FileIO, at: int) -> None:
    """Fill an array from a file.

    Parameters
    ----------
    out : ndarray
        What to fill, C-contiguous.
    file : FileIO
        The file, open for reading.
    at : int
        Where the numbers begin, in bytes.

    Raises
    ------
    OSError
        If the file ends before the array is full.
    """
    left = memoryview(out.reshape(-1).view("u1").data)
    file.seek(at)
    while left:
        n = file.readinto(left)
        if not n:
            raise OSError(f"{file.name!r} ended early: it was cut off while it was read.")
        left = left[n:]
