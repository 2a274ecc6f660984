"""FAISS and USearch: indexes of nearest items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from modalsplit.interop._files import Place, foreign, written
from modalsplit.interop._items import Blocks, item_blocks

Metric = Literal["cosine", "inner_product", "euclidean"]
Kind = Literal["flat", "hnsw"]
_METRICS = ("cosine", "inner_product", "euclidean")
_KINDS = ("flat", "hnsw")
LINKS, BUILD_EFFORT = 32, 200  # of a graph: neighbours an item, and candidates looked at for each


def to_faiss(
    items: Any, *, metric: Metric = "cosine", blocks: Blocks = None, kind: Kind = "flat", n_jobs: int = 1
) -> Any:
    """Make a FAISS index, exact or a graph.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    metric : {"cosine", "inner_product", "euclidean"}, default="cosine"
        For the cosine, vectors are scaled to length 1; scale queries too. FAISS returns squared Euclidean distances.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    kind : {"flat", "hnsw"}, default="flat"
        ``"flat"`` compares a query with all items, exactly; ``"hnsw"`` walks a graph, approximately. A graph finds
        less by inner products of vectors that differ in length than by the other two.
    n_jobs : int, default=1
        Threads that build the graph. With one, the same items give the same index.

    Returns
    -------
    faiss.IndexFlatIP, faiss.IndexFlatL2 or faiss.IndexHNSWFlat
        What it finds are positions: ``items.ids[found]`` are the ids.

    Raises
    ------
    ImportError
        If FAISS is not installed.
    ValueError
        If `metric` or `kind` is not known, or `items` are not sound.

    References
    ----------
    M. Douze et al., "The Faiss library", arXiv 2401.08281, 2024.

    Y. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
    navigable small world graphs", TPAMI 2020.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind may be one of {list(_KINDS)}, but {kind!r} was given.")
    vectors = _vectors(items, metric, blocks)
    faiss = foreign("faiss", "faiss-cpu")
    compare = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        index = (faiss.IndexFlatL2 if metric == "euclidean" else faiss.IndexFlatIP)(vectors.shape[1])
    else:
        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, compare)
        index.hnsw.efConstruction = BUILD_EFFORT
    with _threads(faiss, n_jobs):
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
    path: Place,
    items: Any,
    *,
    metric: Metric = "cosine",
    blocks: Blocks = None,
    kind: Kind = "flat",
    overwrite: bool = False,
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
    kind : {"flat", "hnsw"}, default="flat"
        As for `to_faiss`.
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
        If `metric` or `kind` is not known, or `items` are not sound.
    """
    index = to_faiss(items, metric=metric, blocks=blocks, kind=kind)
    return write_index(path, items, index, metric=metric, blocks=blocks, overwrite=overwrite)


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
    return write_index(path, items, index, metric=metric, blocks=blocks, overwrite=overwrite)


def write_index(
    path: Place, items: Any, index: Any, *, metric: Metric, blocks: Blocks, overwrite: bool, **details: Any
) -> Path:
    """Write an index that was made of items.

    Parameters
    ----------
    path : str or Path
        The folder.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    index : faiss.Index or usearch.index.Index
        Of these items.
    metric : {"cosine", "inner_product", "euclidean"}
        What it compares by.
    blocks : str or sequence of str or None
        Which blocks it holds.
    overwrite : bool
        Whether to replace an earlier export.
    **details : dict
        What else the card says.

    Returns
    -------
    Path
        The folder.
    """
    found = item_blocks(items)
    is_faiss = type(index).__module__.startswith("faiss")
    target, save = ("FAISS", _saved_by_faiss(index)) if is_faiss else ("USearch", lambda f: index.save(f"{f}.usearch"))
    details = {"metric": metric, "columns": found.named(blocks), **details}
    with written(path, found, target, overwrite=overwrite, folder=True, **details) as folder:
        save(folder / "index")
        (folder / "ids.json").write_text(json.dumps(found.ids.tolist()), encoding="utf-8")
    return Path(path)


def _saved_by_faiss(index: Any) -> Callable[[Path], None]:
    return lambda file: foreign("faiss", "faiss-cpu").write_index(index, f"{file}.faiss")


@contextmanager
def _threads(faiss: Any, n_jobs: int) -> Iterator[None]:
    """Let FAISS use so many threads, and then as many as before: it knows no argument for it."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n_jobs)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _vectors(items: Any, metric: Metric, blocks: Blocks) -> NDArray[np.float32]:
    if metric not in _METRICS:
        raise ValueError(f"metric may be one of {list(_METRICS)}, but {metric!r} was given.")
    vectors = item_blocks(items).matrix(blocks)
    unit: NDArray[np.float32] = normalize(vectors) if metric == "cosine" else vectors
    return unit
