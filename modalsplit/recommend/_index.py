"""An index of items: which of a large catalogue may be a user's best, without scoring all of it."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from modalsplit.interop import ItemBlocks, to_faiss, to_usearch
from modalsplit.interop._files import foreign
from modalsplit.interop._index import write_index
from modalsplit.interop._items import checked_ids

Floats = NDArray[np.floating[Any]]
Kind = Literal["flat", "hnsw", "usearch"]
KINDS = ("flat", "hnsw", "usearch")
EFFORT = 128
LARGEST_SHARE = 8  # of the catalogue: a user who asks for more than one in so many is served exactly
GATHERED_BYTES = 2**26
ROWS_COMPARED = 1024


class Found(NamedTuple):
    """Candidates, best first."""

    rows: NDArray[np.intp]  # (n, k), positions in the catalogue
    scores: Floats  # (n, k), -inf for what was not to be found
    is_short: NDArray[np.bool_]  # (n,), fewer than k were found


class ItemIndex:
    """An index of the items of a fitted recommender, made by `Recommender.index_items`.

    It finds the items whose inner product with a user, plus their bias, is highest. For a graph of nearest
    neighbours to do so, each item gets its bias as one more column, and another that brings all items to one length;
    a user gets a 1 and a 0. The nearest by Euclidean distance are then those of the highest score, in the same order. To scale
    vectors to length 1 instead would rank by the cosine, which is another order.

    Attributes
    ----------
    kind : {"flat", "hnsw", "usearch"}
        What it is.
    effort : int
        Candidates that a search in a graph looks at, at least.
    recall : float
        Share of the exact best items that are found, 0 to 1, measured when the index was made: see
        `Recommender.index_recall`.
    index : faiss.Index or usearch.index.Index
        The other library's object, which finds positions of items.
    ids : ndarray of shape (n_items,)
        Ids of these positions.

    Notes
    -----
    Stability: experimental.
    """

    recall: float = float("nan")

    def __init__(self, kind: Kind, items: Floats, bias: Floats, ids: NDArray[Any], *, effort: int, n_jobs: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"index may be one of {list(KINDS)}, or what index_items made; {kind!r} was given.")
        self.kind, self.effort, self.ids = kind, effort, ids
        points = ItemBlocks(np.arange(len(ids)), {"point": points_of(items, bias)}, {})
        if kind == "usearch":
            self.index = to_usearch(points, metric="euclidean", n_jobs=n_jobs)
        else:
            self.index = to_faiss(points, metric="euclidean", kind=kind, n_jobs=n_jobs)
        self._made_of = _checksum(items, bias)

    def is_of(self, items: Floats, bias: Floats) -> bool:
        """Tell whether it was made of these items.

        Parameters
        ----------
        items : ndarray of shape (n_items, n_components)
            Vectors.
        bias : ndarray of shape (n_items,)
            Biases.

        Returns
        -------
        bool
            True if 1,024 of them, evenly spread, are the same.
        """
        return self._made_of == _checksum(items, bias)

    def queries(self, users: Floats) -> NDArray[np.float32]:
        """Bring users into the space of the index.

        Parameters
        ----------
        users : ndarray of shape (n, n_components)
            User vectors, such as ``user_embeddings_``.

        Returns
        -------
        ndarray of float32 of shape (n, n_components + 2)
            What `index` takes.
        """
        ends = np.broadcast_to(np.array([1, 0], dtype=np.float32), (len(users), 2))
        return np.ascontiguousarray(np.hstack([users, ends]), dtype=np.float32)

    def search(self, users: Floats, n: int) -> NDArray[np.intp]:
        """Find items for users, whatever these took.

        Parameters
        ----------
        users : ndarray of shape (n_users, n_components)
            User vectors.
        n : int
            How many to find for each.

        Returns
        -------
        ndarray of int of shape (n_users, n)
            Positions of items, best first; -1 where the graph led to no more.
        """
        found: NDArray[np.intp]
        queries, effort = self.queries(users), max(self.effort, 2 * n)
        if self.kind == "usearch":
            self.index.expansion_search = effort
            keys = self.index.search(queries, n, threads=1).keys.reshape(len(users), -1)
            found = np.full((len(users), n), -1)
            found[:, : keys.shape[1]] = np.where(keys < len(self.ids), keys, -1)
            return found
        if self.kind == "flat":
            found = self.index.search(queries, n)[1]
            return found
        params = foreign("faiss", "faiss-cpu").SearchParametersHNSW(efSearch=effort)
        found = self.index.search(queries, n, params=params)[1]
        return found

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the index and the ids of its items, for other programs.

        Parameters
        ----------
        path : str or Path
            The folder.
        overwrite : bool, default=False
            Whether to replace an earlier export.

        Returns
        -------
        Path
            The folder: ``index.faiss`` or ``index.usearch``, ``ids.json``, the ids by position, and a card, as
            `modalsplit.interop.write_faiss` writes them. A query is a user's vector with a 1 and a 0 appended.

        Raises
        ------
        FileExistsError
            If something is there that may not be replaced.
        ValueError
            If the ids of the items are neither all str nor all int.
        """
        points = self._points()
        items = ItemBlocks(
            checked_ids(self.ids, "The ids of the items"), {"point": points}, {"text": "ItemIndex.write"}
        )
        query = "the user's vector, then 1, then 0"
        return write_index(
            path, items, self.index, metric="euclidean", blocks=None, overwrite=overwrite, kind=self.kind, query=query
        )

    def _points(self) -> NDArray[np.float32]:
        n = len(self.ids)
        points = self.index.get(np.arange(n)) if self.kind == "usearch" else self.index.reconstruct_n(0, n)
        return np.asarray(points, dtype=np.float32)


def points_of(items: Floats, bias: Floats) -> NDArray[np.float32]:
    """Place items so that the nearest to a user are those of the highest inner product.

    Parameters
    ----------
    items : ndarray of shape (n_items, n_components)
        Vectors.
    bias : ndarray of shape (n_items,)
        Biases.

    Returns
    -------
    ndarray of float32 of shape (n_items, n_components + 2)
        Vectors, bias, and what brings them to the length of the longest.

    References
    ----------
    Y. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product
    spaces", RecSys 2014.
    """
    points = np.empty((len(items), items.shape[1] + 2), dtype=np.float32)
    points[:, :-2], points[:, -2] = items, bias
    squares = np.einsum("nd,nd->n", points[:, :-1], points[:, :-1], dtype=np.float64)
    points[:, -1] = np.sqrt(squares.max() - squares)
    return points


def candidates(
    index: ItemIndex, users: Floats, items: Floats, bias: Floats, seen: sparse.csr_array, k: int
) -> tuple[Found, NDArray[np.intp]]:
    """Find the best items of users that they did not take.

    Parameters
    ----------
    index : ItemIndex
        Of these items.
    users : ndarray of shape (n_users, n_components)
        User vectors.
    items : ndarray of shape (n_items, n_components)
        Item vectors.
    bias : ndarray of shape (n_items,)
        Their biases.
    seen : csr_array of shape (n_users, n_items)
        What is not to be found.
    k : int
        Items a user.

    Returns
    -------
    found : Found
        Of n_users; of those in `left` it holds nothing.
    left : ndarray of int of shape (n_left,)
        Users whom the index cannot serve: they took too much of the catalogue, or it found too few.
    """
    n_users, n_items = seen.shape
    # As many as are wanted and may be seen, in few sizes: a search asks for the same number for all of its users.
    asked = 1 << np.ceil(np.log2(k + np.diff(seen.indptr))).astype(int)
    rows, scores = np.zeros((n_users, k), dtype=np.intp), np.zeros((n_users, k), dtype=np.float32)
    is_short = asked > max(n_items // LARGEST_SHARE, 1)
    for n in np.unique(asked[~is_short]).tolist():
        chosen = np.flatnonzero(asked == n)
        for some in np.array_split(chosen, -(-chosen.size * n * 4 * items.shape[1] // GATHERED_BYTES)):
            found = _best(index.search(users[some], n), users[some], items, bias, seen[some], k)
            rows[some], scores[some], is_short[some] = found
    return Found(rows, scores, is_short), np.flatnonzero(is_short)


def _best(found: NDArray[np.intp], users: Floats, items: Floats, bias: Floats, seen: sparse.csr_array, k: int) -> Found:
    """Score what was found, leave out what was seen, and sort: ties by position."""
    found = np.sort(found, axis=1)
    scores = np.einsum("ud,ukd->uk", users, items[found]) + bias[found]
    n_items = len(items)
    of_seen = np.repeat(np.arange(len(users)), np.diff(seen.indptr)) * n_items + seen.indices
    is_out = np.isin(np.arange(len(users))[:, None] * n_items + found, of_seen) | (found < 0)
    scores[is_out] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    is_short = (~is_out).sum(axis=1) < k
    return Found(np.take_along_axis(found, order, 1), np.take_along_axis(scores, order, 1), is_short)


def _checksum(items: Floats, bias: Floats) -> str:
    rows = np.unique(np.linspace(0, len(items) - 1, ROWS_COMPARED).astype(np.intp))
    digest = hashlib.sha256(f"{items.shape}".encode())
    for values in (items[rows], bias[rows]):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
