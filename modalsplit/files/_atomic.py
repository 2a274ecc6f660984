"""Files and folders that are there whole or not at all, and used by one process at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """Let a file be written that is there whole or not at all.

    Parameters
    ----------
    path : str or Path
        Where the file shall be; an older one is replaced at the end.

    Yields
    ------
    Path
        What to write to: a file beside it, of the same ending.

    Raises
    ------
    OSError
        If the folder is not there, or the path is a folder.
    """
    path = Path(path)
    check_place(path)
    unfinished = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)  # some writers make files that only their owner may read
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Check that a file can be written to a place.

    Parameters
    ----------
    path : Path
        Where the file shall be.

    Raises
    ------
    OSError
        If the folder is not there, or the path is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to. Make it first.")


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Give a place on the same disk to make something in that `put_in_place` then moves.

    Parameters
    ----------
    path : Path
        Where the file or folder shall be.

    Yields
    ------
    Path
        A path of the same name in a hidden folder, which goes away at the end; a process that is killed leaves it.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as scratch:
        yield Path(scratch) / path.name


def put_in_place(unfinished: Path, path: Path) -> None:
    """Move a finished file or folder to its place; an older one is replaced.

    Parameters
    ----------
    unfinished : Path
        From `scratch_beside`.
    path : Path
        Where it shall be.

    Raises
    ------
    OSError
        If it cannot be moved; what was there before is there again.
    """
    if not (unfinished.is_dir() and path.exists()):
        unfinished.replace(path)
        return
    # No system call replaces a folder that has files.
    earlier = path.rename(unfinished.with_name("earlier"))
    try:
        unfinished.rename(path)
    except OSError:
        earlier.rename(path)
        raise


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no second process writes to it.

    Parameters
    ----------
    folder : Path
        It holds a file ``.lock`` from now on. The lock ends with the process, however it ends.

    Yields
    ------
    None
        While it is held.

    Raises
    ------
    RuntimeError
        If another process holds it.
    """
    with (folder / ".lock").open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RuntimeError(
                    f"Another run (process {file.read() or 'unknown'}) is writing to {folder}. Wait until it ends, or "
                    "name another folder."
                ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
