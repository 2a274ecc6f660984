"""One file an estimator: a safetensors file, whose tensor ``"structure"`` holds JSON."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from modalsplit.files._archive import read_archive, write_archive
from modalsplit.files._codec import Reader, Writer
from modalsplit.files._known import Known

FORMAT = "modalsplit"
VERSION = "1"


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
        structure = writer.write(estimator)
        write_archive(path, structure, writer.arrays, FORMAT, VERSION)
    except RecursionError:
        raise TypeError(f"{type(estimator).__name__} cannot be saved: something in it holds itself.") from None


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
    structure, arrays = read_archive(path, FORMAT, VERSION, "modalsplit.save")
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
