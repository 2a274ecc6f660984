"""FAISS and USearch: indexes of nearest items."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from modalsplit.interop._files import Place, foreign, written
from modalsplit.interop._items import Blocks, item_blocks

Metric = Literal["cosine", "inner_product", "euclidean"]
_METRICS = ("cosine", "inner_product", "euclidean")


def to_faiss(items: Any, *, metric: Metric = "cosine", blocks: Blocks = None) -> Any:
    """Make an exact FAISS index.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    metric : {"cosine", "inner_product", "euclidean"}, default="cosine"
        For the cosine, vectors are scaled to length 1; scale queries too. FAISS returns squared Euclidean distances.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.

    Returns
    -------
    faiss.IndexFlatIP or faiss.IndexFlatL2
        What it finds are positions: ``items.ids[found]`` are the ids.

    Raises
    ------
    ImportError
        If FAISS is not installed.
    ValueError
        If `metric` is not known, or `items` are not sound.

    References
    ----------
    M. Douze et al., "The Faiss library", arXiv 2401.08281, 2024.
    """
    vectors = _vectors(items, metric, blocks)
    faiss = foreign("faiss", "faiss-cpu")
    index = (faiss.IndexFlatL2 if metric == "euclidean" else faiss.IndexFlatIP)(vectors.shape[1])
    index.add(vectors)
    return index


def to_usearch(items: Any, *, metric: Metric = "cosine", blocks: Blocks = None, n_jobs: int = 1) -> Any:
    """Make a USearch index, approximate and fast for large catalogues.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    metric : {"cosine", "inner_product", "euclidean"}, default="cosine"
        USearch returns distances: 1 - cosine, 1 - inner product, or squared Euclidean.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    n_jobs : int, default=1
        Threads that insert. With one, the same items give the same index. Several race: the graph differs from run to
        run, and in rare cases an item is linked from nowhere and never found.

    Returns
    -------
    usearch.index.Index
        HNSW in float32. Its keys are positions: ``items.ids[found]`` are the ids.

    Raises
    ------
    ImportError
        If USearch is not installed.
    ValueError
        If `metric` is not known, or `items` are not sound.

    References
    ----------
    Y. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
    navigable small world graphs", TPAMI 2020.
    """
    vectors = _vectors(items, metric, blocks)
    kind = "l2sq" if metric == "euclidean" else "ip"  # of unit vectors, the cosine
    index = foreign("usearch.index", "usearch").Index(ndim=vectors.shape[1], metric=kind, dtype="f32")
    index.add(np.arange(len(vectors)), vectors, threads=n_jobs)
    return index


def write_faiss(
    path: Place, items: Any, *, metric: Metric = "cosine", blocks: Blocks = None, overwrite: bool = False
) -> Path:
    """Write a FAISS index with the ids of its rows.

    Parameters
    ----------
    path : str or Path
        The folder.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    metric : {"cosine", "inner_product", "euclidean"}, default="cosine"
        As for `to_faiss`.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder, with ``index.faiss`` for ``faiss.read_index`` and ``ids.json``, the ids by position.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ImportError
        If FAISS is not installed.
    ValueError
        If `metric` is not known, or `items` are not sound.
    """
    index = to_faiss(items, metric=metric, blocks=blocks)
    save = foreign("faiss", "faiss-cpu").write_index
    return _write(path, items, "FAISS", lambda file: save(index, f"{file}.faiss"), metric, blocks, overwrite)


def write_usearch(
    path: Place, items: Any, *, metric: Metric = "cosine", blocks: Blocks = None, overwrite: bool = False
) -> Path:
    """Write a USearch index with the ids of its keys.

    Parameters
    ----------
    path : str or Path
        The folder.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    metric : {"cosine", "inner_product", "euclidean"}, default="cosine"
        As for `to_usearch`.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder, with ``index.usearch`` for ``usearch.index.Index.restore`` and ``ids.json``, the ids by key.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ImportError
        If USearch is not installed.
    ValueError
        If `metric` is not known, or `items` are not sound.
    """
    index = to_usearch(items, metric=metric, blocks=blocks)
    return _write(path, items, "USearch", lambda file: index.save(f"{file}.usearch"), metric, blocks, overwrite)


def _write(
    path: Place,
    items: Any,
    target: str,
    save: Callable[[Path], None],
    metric: Metric,
    blocks: Blocks,
    overwrite: bool,
) -> Path:
    found = item_blocks(items)
    details = {"metric": metric, "columns": found.named(blocks)}
    with written(path, found, target, overwrite=overwrite, folder=True, **details) as folder:
        save(folder / "index")
        (folder / "ids.json").write_text(json.dumps(found.ids.tolist()), encoding="utf-8")
    return Path(path)


def _vectors(items: Any, metric: Metric, blocks: Blocks) -> NDArray[np.float32]:
    if metric not in _METRICS:
        raise ValueError(f"metric may be one of {list(_METRICS)}, but {metric!r} was given.")
    vectors = item_blocks(items).matrix(blocks)
    unit: NDArray[np.float32] = normalize(vectors) if metric == "cosine" else vectors
    return unit
