"""Arrays and JSON in one safetensors file, whose tensor ``"structure"`` holds the JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version as version_of
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from modalsplit.files._atomic import whole_file
from modalsplit.files._codec import STRUCTURE, Json

PACKAGE = version_of("modalsplit")


def write_archive(
    path: str | PathLike[str], structure: Json, arrays: Mapping[str, NDArray[Any]], form: str, version: str
) -> None:
    """Write JSON and arrays to a file that is there whole or not at all.

    Parameters
    ----------
    path : str or Path
        Where to; an older file is replaced at the end.
    structure : JSON value
        What says what the arrays are parts of.
    arrays : mapping of str to ndarray
        By name, C-contiguous.
    form : str
        What kind of file it is.
    version : str
        Of this form.

    Raises
    ------
    OSError
        If the folder is not there or cannot be written to.
    """
    text = json.dumps(structure, allow_nan=False)
    everything = {**arrays, STRUCTURE: np.frombuffer(text.encode(), dtype=np.uint8)}
    about = {"format": form, "version": version, "modalsplit": PACKAGE}
    with whole_file(path) as unfinished:
        try:
            save_file(everything, unfinished, metadata={**about, "sha256": digest(about, everything)})
        except SafetensorError as error:  # as of a full disk
            raise OSError(f"{path} cannot be written: {error}") from error


def read_archive(path: Path, form: str, version: str, writer: str) -> tuple[Json, dict[str, NDArray[Any]]]:
    """Read what `write_archive` wrote, and check that it is whole.

    Parameters
    ----------
    path : Path
        The file.
    form : str
        What kind of file it must be.
    version : str
        Which version of it can be read.
    writer : str
        Who writes such files, for messages.

    Returns
    -------
    structure : JSON value
        What says what the arrays are parts of.
    arrays : dict of str to ndarray
        By name.

    Raises
    ------
    ValueError
        If it is no such file, is cut off or changed, or of another version.
    FileNotFoundError
        If there is no such file.
    """
    about, arrays = _read(path, writer)
    if about.get("format") != form or STRUCTURE not in arrays:
        raise ValueError(f"{path} is a safetensors file, but {writer} did not write it.")
    if about.get("version") != version:
        raise ValueError(
            f"{path} is of version {about.get('version')} of the format, written by modalsplit {about.get('modalsplit')}; "
            f"modalsplit {PACKAGE} reads version {version}. Install a newer modalsplit."
        )
    if about.pop("sha256", None) != digest(about, arrays):
        raise ValueError(
            f"{path} was changed after it was written: its contents do not have its checksum. Copy it anew."
        )
    try:
        return json.loads(arrays[STRUCTURE].tobytes()), arrays
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be loaded: its structure is no JSON ({error}).") from error


def digest(about: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Compute what finds accidents; whoever changes a file on purpose can compute it too.

    Parameters
    ----------
    about : mapping of str to str
        What the file says of itself.
    arrays : mapping of str to ndarray
        Its arrays.

    Returns
    -------
    str
        A SHA-256.
    """
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _read(path: Path, writer: str) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but an estimator is one file.")
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is no file that {writer} wrote, or it is cut off ({error}).") from error
