"""Who took what: a sparse items-by-users matrix that knows the ids of its rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse


class Interactions(sparse.csr_array):
    """Implicit feedback: items in the rows, users in the columns, with both kinds of id.

    It is a SciPy CSR array and works wherever one does. Selecting rows keeps the ids; other operations
    return an array without them.

    Parameters
    ----------
    arg1 : sparse array, ndarray or tuple
        As for `scipy.sparse.csr_array`: the matrix of shape (n_items, n_users).
    shape : tuple of int, optional
        As for `scipy.sparse.csr_array`.
    dtype : dtype, optional
        As for `scipy.sparse.csr_array`.
    copy : bool, default=False
        As for `scipy.sparse.csr_array`.
    item_ids : array-like of shape (n_items,), optional
        One id a row, unique.
    user_ids : array-like of shape (n_users,), optional
        One id a column, unique.
    **kwargs : dict
        As for `scipy.sparse.csr_array`.

    Attributes
    ----------
    item_ids : ndarray of shape (n_items,) or None
        Ids of the rows.
    user_ids : ndarray of shape (n_users,) or None
        Ids of the columns.

    Raises
    ------
    ValueError
        If ids are not unique or do not fit the shape.

    Examples
    --------
    >>> import pandas as pd
    >>> from modalsplit import Interactions
    >>> taken = pd.DataFrame({"user_id": ["ann", "bob", "bob"], "item_id": ["a", "a", "b"]})
    >>> Y = Interactions.from_frame(taken)
    >>> Y.shape, Y.item_ids.tolist(), Y.user_ids.tolist()
    ((2, 2), ['a', 'b'], ['ann', 'bob'])
    >>> Y[[1]].item_ids.tolist()
    ['b']
    """

    def __init__(
        self,
        arg1: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        copy: bool = False,
        *,
        item_ids: ArrayLike | None = None,
        user_ids: ArrayLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(arg1, shape=shape, dtype=dtype, copy=copy, **kwargs)  # type: ignore[arg-type]
        self.item_ids = _checked_ids(item_ids, self.shape[0], "item_ids", "rows")
        self.user_ids = _checked_ids(user_ids, self.shape[-1], "user_ids", "columns")

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        item: str = "item_id",
        user: str = "user_id",
        item_ids: ArrayLike | None = None,
        user_ids: ArrayLike | None = None,
    ) -> Interactions:
        """Build the matrix from a table with one row an interaction; repeated pairs count once.

        Parameters
        ----------
        frame : DataFrame
            One row an interaction: of pandas, or what has ``to_pandas()``, such as polars has.
        item : str, default="item_id"
            Column that holds the item's id.
        user : str, default="user_id"
            Column that holds the user's id.
        item_ids : array-like of shape (n_items,), optional
            Rows of the result, in this order; ``items.index`` aligns them with a catalogue. By default
            the ids in `frame`, sorted.
        user_ids : array-like of shape (n_users,), optional
            Columns of the result, in this order. By default the ids in `frame`, sorted.

        Returns
        -------
        Interactions of shape (n_items, n_users)
            Ones where a user took an item, float32.

        Raises
        ------
        ValueError
            If a column is missing or empty, or `frame` names an id that is not among those given.
        """
        if hasattr(frame, "to_pandas"):
            frame = frame.to_pandas()
        missing = [column for column in (item, user) if column not in frame.columns]
        if missing:
            raise ValueError(
                f"The interactions have no column {missing[0]!r}; they have {list(frame.columns)}. "
                "Say which columns to read with item= and user=."
            )
        rows, item_ids = _encode(frame[item], item_ids, "item")
        columns, user_ids = _encode(frame[user], user_ids, "user")
        counts = sparse.coo_array(
            (np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(item_ids), len(user_ids))
        ).tocsr()
        counts.data[:] = 1.0
        return cls(counts, item_ids=item_ids, user_ids=user_ids)

    def k_core(self, k: int = 5) -> Interactions:
        """Keep only items and users with at least `k` interactions each, repeatedly until none is left out.

        Only positive values are interactions, as for a recommender; what is stored twice is added up first.

        Parameters
        ----------
        k : int, default=5
            Interactions that every item and every user must keep.

        Returns
        -------
        Interactions
            The k-core, with the ids that remain. It may be empty.
        """
        rows, columns = np.arange(self.shape[0]), np.arange(self.shape[1])
        core = sparse.csr_array(self, copy=True)
        core.sum_duplicates()
        core.data[core.data <= 0] = 0
        core.eliminate_zeros()
        while core.nnz:
            keep_row = np.diff(core.indptr) >= k
            core = core[keep_row]
            keep_column = np.bincount(core.indices, minlength=core.shape[1]) >= k
            rows, columns = rows[keep_row], columns[keep_column]
            if keep_row.all() and keep_column.all():
                break
            core = core[:, keep_column]
        else:
            rows, columns = rows[:0], columns[:0]
            core = core[:0, :0]
        return Interactions(core, item_ids=_take(self.item_ids, rows), user_ids=_take(self.user_ids, columns))

    def copy(self) -> Interactions:
        """Copy the matrix and keep its ids.

        Returns
        -------
        Interactions
            The copy.
        """
        out: Interactions = super().copy()
        out.item_ids, out.user_ids = self.item_ids, self.user_ids
        return out

    def __getitem__(self, key: Any) -> Any:
        out = super().__getitem__(key)
        if isinstance(out, Interactions) and out.ndim == 2:
            rows, columns = _row_and_column_key(key)
            out.item_ids = _take(self.item_ids, rows)
            out.user_ids = _take(self.user_ids, columns)
            if out.item_ids is not None and len(out.item_ids) != out.shape[0]:
                out.item_ids = None
            if out.user_ids is not None and len(out.user_ids) != out.shape[1]:
                out.user_ids = None
        return out


def _row_and_column_key(key: Any) -> tuple[Any, Any]:
    parts = key if isinstance(key, tuple) else (key,)
    given = [part for part in parts if part is not Ellipsis]
    if parts[0] is Ellipsis and len(given) < 2:
        given.insert(0, slice(None))
    return given[0], given[1] if len(given) > 1 else slice(None)


def _take(ids: NDArray[Any] | None, key: Any) -> NDArray[Any] | None:
    """Select ids; np.ix_ makes keys of two dimensions."""
    return None if ids is None else np.ravel(ids[key])


def _checked_ids(ids: ArrayLike | None, n: int, name: str, what: str) -> NDArray[Any] | None:
    if ids is None:
        return None
    array = np.asarray(ids)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, but the interactions have {n} {what}.")
    duplicated = pd.Index(array).duplicated()
    if duplicated.any():
        repeated = array[duplicated].tolist()[0]
        raise ValueError(f"{name} must be unique, but {repeated!r} occurs more than once.")
    return array


def _encode(values: pd.Series[Any], ids: ArrayLike | None, what: str) -> tuple[NDArray[np.intp], NDArray[Any]]:
    if values.isna().any():
        raise ValueError(f"{int(values.isna().sum())} interactions have no {what} id. Drop them first.")
    known = np.unique(values.to_numpy()) if ids is None else np.asarray(ids)
    index = pd.Index(known)
    if index.has_duplicates:
        repeated = index[index.duplicated()].tolist()[0]
        raise ValueError(f"{what}_ids must be unique, but {repeated!r} occurs more than once.")
    codes = index.get_indexer(pd.Index(values))
    if (codes < 0).any():
        unknown = values[codes < 0]
        raise ValueError(
            f"{unknown.nunique()} {what} ids of the interactions are not in {what}_ids, such as "
            f"{unknown.tolist()[0]!r}. Both sides must spell ids alike, also in type ({values.dtype} here, "
            f"{index.dtype} there)."
        )
    return codes, known
