"""One file an estimator: a safetensors file, whose tensor ``"structure"`` holds JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator

from modalsplit.persistence._codec import STRUCTURE, Reader, Writer
from modalsplit.persistence._known import Known

FORMAT = "modalsplit"
VERSION = "1"
PACKAGE = version("modalsplit")


def save(estimator: Any, path: str | PathLike[str], *, trusted: Sequence[type] = ()) -> None:
    """Write an estimator to a file that can be loaded without running any code from it.

    The file is a safetensors file: arrays as they are, and JSON that says what they are parts of. It is there whole or
    not at all; an estimator that the path held before is replaced at the end.

    Parameters
    ----------
    estimator : estimator
        Fitted or not: an encoder, a recommender, a featurizer, or a ``Pipeline``, ``ColumnTransformer`` or
        ``FeatureUnion`` of them and of common transformers of scikit-learn.
    path : str or Path
        Where to. ``.safetensors`` is a good end of the name.
    trusted : sequence of type, default=()
        Classes of your own that the estimator holds. Their attributes are written.

    Raises
    ------
    TypeError
        If the estimator holds what cannot be written, such as a function or an object of another class; the
        message says where.
    OSError
        If the folder is not there or cannot be written to.

    See Also
    --------
    load : Reads the file.

    Notes
    -----
    Networks and word vectors that a featurizer loads by name or by path stay where they are; the file holds the name
    or the path. Callbacks are left out.

    Stability: files of this version will be read by later ones.

    Examples
    --------
    >>> import tempfile, modalsplit
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(100, random_state=0)
    >>> encoder = modalsplit.DisentangledModalityEncoder(5, objective="cca", random_state=0)
    >>> encoder = encoder.fit(data.X_img, data.X_txt)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     modalsplit.save(encoder, f"{folder}/encoder.safetensors")
    ...     loaded = modalsplit.load(f"{folder}/encoder.safetensors")
    >>> bool((loaded.transform(data.X_img)[:, :5] == encoder.transform(data.X_img)[:, :5]).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"save writes estimators, but it was given a {type(estimator).__name__}.")
    writer = Writer(Known(trusted))
    try:
        structure = json.dumps(writer.write(estimator), allow_nan=False)
    except RecursionError:
        raise TypeError(f"{type(estimator).__name__} cannot be saved: something in it holds itself.") from None
    arrays = {**writer.arrays, STRUCTURE: np.frombuffer(structure.encode(), dtype=np.uint8)}
    about = {"format": FORMAT, "version": VERSION, "modalsplit": PACKAGE}
    with whole_file(path) as unfinished:
        save_file(arrays, unfinished, metadata={**about, "sha256": _digest(about, arrays)})


def load(path: str | PathLike[str], *, trusted: Sequence[type] = ()) -> Any:
    """Read an estimator that `save` wrote. No code from the file is run.

    Parameters
    ----------
    path : str or Path
        The file.
    trusted : sequence of type, default=()
        Classes of your own that the file may name. Only the classes of modalsplit and some of scikit-learn and
        torch are known without.

    Returns
    -------
    estimator
        As it was saved: it computes the same, bit by bit, and can be cloned and fitted again.

    Raises
    ------
    ValueError
        If the file is no modalsplit file, is cut off or changed, is of an unknown version, or names an unknown
        class.
    FileNotFoundError
        If there is no such file.

    See Also
    --------
    save : Writes the file.

    Notes
    -----
    A featurizer opens the networks and word vectors that it names on first use. Of these, word vectors
    in gensim's own format are a pickle: with a file of unknown origin, look at its parameters first.
    """
    path = Path(path)
    about, arrays = _read(path)
    structure = _checked(path, about, arrays)
    try:
        estimator = Reader(Known(trusted), arrays).read(structure)
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be loaded: what it says of the estimator makes no sense ({error!r})."
        ) from error
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"{path} cannot be loaded: it holds a {type(estimator).__name__} and no estimator.")
    return estimator


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


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but an estimator is one file.")
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}.") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is no file that modalsplit.save wrote, or it is cut off ({error}).") from error


def _checked(path: Path, about: dict[str, str], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Check what stands around the structure, and return the structure."""
    if about.get("format") != FORMAT or STRUCTURE not in arrays:
        raise ValueError(f"{path} is a safetensors file, but modalsplit.save did not write it.")
    if about.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {about.get('version')} of the format, written by modalsplit {about.get('modalsplit')}; "
            f"modalsplit {PACKAGE} reads version {VERSION}. Install a newer modalsplit."
        )
    if about.pop("sha256", None) != _digest(about, arrays):
        raise ValueError(
            f"{path} was changed after it was written: its contents do not have its checksum. Copy it anew."
        )
    try:
        return json.loads(arrays[STRUCTURE].tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be loaded: its structure is no JSON ({error}).") from error


def _digest(about: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Compute what finds accidents; whoever changes a file on purpose can compute it too."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
