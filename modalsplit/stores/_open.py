"""One function for all that can be read as a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from os import PathLike
from pathlib import Path
from typing import Any

from modalsplit.stores._arrays import ArrayStore
from modalsplit.stores._base import FeatureStore
from modalsplit.stores._batches import BatchStore
from modalsplit.stores._datasets import DatasetStore
from modalsplit.stores._parquet import ParquetStore
from modalsplit.stores._write import read_shards, shards_in


def open_store(source: Any, *, names: Sequence[str] | None = None, id_column: str = "item_id") -> FeatureStore:
    """Open features that need not fit memory.

    Parameters
    ----------
    source : mapping, str, Path, sequence of paths, zarr group, datasets.Dataset or iterable of mappings
        - A mapping of names to matrices, such as ``{"image": "image.npy", "text": "text.npy"}``: see `ArrayStore`. A
          group of zarr v3 with a matrix a modality is one; its modalities are in the order of the alphabet.
        - A folder or a pattern (``"features/*.parquet"``) of Parquet files, one file or a list: see `ParquetStore`.
        - A data set of Hugging Face: see `DatasetStore`.
        - Any other iterable, of batches: see `BatchStore`.
    names : sequence of str, optional
        The modalities, in order; all that the source has by default.
    id_column : str, default="item_id"
        What the ids are called; where there are none, items are known by their row.

    Returns
    -------
    FeatureStore
        For `DisentangledModalityEncoder.fit` and ``transform``.

    Raises
    ------
    ValueError
        If what is there cannot be read as features of items; see the classes.
    FileNotFoundError
        If nothing is there.
    TypeError
        If the source is none of these.

    Notes
    -----
    Stability: experimental.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.stores import open_store
    >>> store = open_store({"image": np.ones((5, 3)), "text": np.zeros((5, 2))})
    >>> type(store).__name__, len(store)
    ('ArrayStore', 5)
    """
    if isinstance(source, FeatureStore):
        return source
    if isinstance(source, str | PathLike):
        return _opened_path(str(source), names, id_column)
    if hasattr(source, "column_names") and hasattr(source, "with_format"):
        return DatasetStore(source, names, id_column)
    if isinstance(source, Mapping) or hasattr(source, "array_keys"):
        found = (
            dict(source) if isinstance(source, Mapping) else {key: source[key] for key in sorted(source.array_keys())}
        )
        ids = found.pop(id_column, None)
        missing = [name for name in names or [] if name not in found]
        if missing:
            raise ValueError(f"There is no modality {missing[0]!r}; there are {list(found)}.")
        return ArrayStore({name: found[name] for name in names or found}, None if ids is None else ids[:])
    if isinstance(source, list | tuple) and source and all(isinstance(path, str | PathLike) for path in source):
        return ParquetStore(source, names, id_column)
    if isinstance(source, Iterable):
        if names is not None:
            kept = [*names, id_column]
            source = ({name: batch[name] for name in kept if name in batch} for batch in source)
        return BatchStore(source, id_column=id_column)
    raise TypeError(
        f"A {type(source).__name__} is no store of features. Give a mapping of names to matrices, Parquet files, a data set, "
        "or an iterable of batches."
    )


def _opened_path(source: str, names: Sequence[str] | None, id_column: str) -> FeatureStore:
    if Path(source).is_dir():
        return read_shards(Path(source), names=names, id_column=id_column)
    return ParquetStore(parquet_paths(source), names, id_column)


def parquet_paths(source: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[Path]:
    """Find Parquet files.

    Parameters
    ----------
    source : str, Path or sequence of paths
        A folder, a pattern, a file or a list of files.

    Returns
    -------
    list of Path
        By name; a list in its own order.

    Raises
    ------
    ValueError
        If something else is there.
    FileNotFoundError
        If nothing is.
    """
    if not isinstance(source, str | PathLike):
        return [Path(path) for path in source]
    if Path(source).is_dir():
        return shards_in(Path(source))
    paths = [str(source)] if Path(source).is_file() else sorted(glob(str(source)))  # noqa: PTH207 - it may be absolute
    if not paths:
        raise FileNotFoundError(f"There is no file, folder or pattern {source}.")
    if not all(path.endswith(".parquet") for path in paths):
        raise ValueError(
            f"{source} names {paths[0]}, which is no Parquet file. For .npy files, name the modalities: "
            'open_store({"image": "image.npy", "text": "text.npy"}).'
        )
    return [Path(path) for path in paths]
