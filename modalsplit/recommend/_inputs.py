"""Read what `fit` is given: interactions in any format, and the ids of items and users."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils.validation import check_array

Ids = NDArray[Any]


class Taken(NamedTuple):
    """Who took what, with the ids that came with it."""

    positives: Any  # csr_array, or csc_array of files
    item_ids: Ids | None
    user_ids: Ids | None


def read_interactions(y: Any, item_ids: ArrayLike | None = None) -> Taken:
    """Turn interactions of any format into a CSR array of ones.

    Parameters
    ----------
    y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
        Positive values are interactions; zeros and negative values are none.
    item_ids : array-like of shape (n_items,), optional
        Ids of the rows, where the caller knows them.

    Returns
    -------
    Taken
        The positives (CSR of float32 ones), and the ids of rows and columns or None.

    Raises
    ------
    ValueError
        If `y` is not numeric, not finite or empty, or its ids contradict `item_ids`.
    """
    if hasattr(y, "to_pandas"):  # polars, Arrow: their columns are users, too
        y = y.to_pandas()
    own_ids = _own_item_ids(y)
    if hasattr(y, "iloc"):
        unique(y.columns.to_numpy() if y.ndim == 2 else None, "user")  # before scikit-learn's own message
    user_ids = y.columns.to_numpy() if hasattr(y, "iloc") and y.ndim == 2 else getattr(y, "user_ids", None)
    numbers: Any = _numeric(y)
    if numbers.dtype == np.float16:  # which sparse arrays do not have
        numbers = numbers.astype(np.float32)
    if not sparse.issparse(numbers):
        numbers = numbers.reshape(len(numbers), -1)
    matrix = sparse.coo_array(numbers)
    matrix.sum_duplicates()
    taken = matrix.data > 0
    positives = sparse.csr_array(
        (np.ones(int(taken.sum()), dtype=np.float32), (matrix.row[taken], matrix.col[taken])),
        shape=matrix.shape,
    )
    positives.sort_indices()
    return Taken(positives, _agreed(item_ids, own_ids), user_ids)


def _numeric(y: Any) -> Any:
    try:
        return check_array(
            y,
            accept_sparse="coo",
            ensure_2d=False,
            ensure_min_samples=0,
            ensure_min_features=0,
            input_name="y",
            dtype="numeric",
        )
    except (TypeError, ValueError) as error:
        if "NaN" in str(error) or "infinity" in str(error):
            raise
        raise ValueError(
            "y must be numeric, items in the rows and users in the columns, positive where the user took the "
            f"item; {_kind(y)} cannot be read so ({error}). Interactions.from_frame makes it from a table of "
            "user and item ids."
        ) from error


def _kind(y: Any) -> str:
    dtype = getattr(y, "dtype", None)
    return type(y).__name__ if dtype is None else f"{type(y).__name__} of dtype {dtype}"


def _agreed(given: ArrayLike | None, own: Ids | None) -> Ids | None:
    """Return the one list of ids; two lists must be the same."""
    if given is None or own is None:
        return own if given is None else np.asarray(given)
    given = np.asarray(given)
    if len(given) != len(own):
        return given  # the numbers of rows differ, and that error comes first
    differs = np.flatnonzero(given != own)
    if differs.size:
        row = differs[0]
        raise ValueError(
            f"The items of X and y are in a different order or are not the same: row {row} is {given[row]!r} "
            f"in X and {own[row]!r} in y ({differs.size} of {len(own)} rows differ). Build y with "
            "Interactions.from_frame(..., item_ids=X.index), or reorder one of them."
        )
    return given


def row_ids(X: Any, item_ids: ArrayLike | None = None) -> Ids | None:
    """Find the ids of the rows of `X`.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_rows, n_features)
        A pandas index that is not made of integers holds ids. Integers are positions, because every slice
        of a frame has them.
    item_ids : array-like of shape (n_rows,), optional
        The ids, where they are known otherwise.

    Returns
    -------
    ndarray of shape (n_rows,) or None
        The ids, or None if the rows have none.

    Raises
    ------
    ValueError
        If `item_ids` has another length than `X`, or an id is missing.
    """
    if item_ids is None:
        ids = X.index.to_numpy() if _has_id_index(X) else None
    else:
        ids = np.asarray(item_ids)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        if ids.shape != (n_rows,):
            raise ValueError(f"item_ids has shape {ids.shape}, but X has {n_rows} rows. Give one id a row.")
    if ids is not None and pd.isna(ids).any():
        raise ValueError(f"{int(pd.isna(ids).sum())} of {len(ids)} item ids are missing (NaN or None).")
    return ids


def integer_ids(X: Any, y: Any) -> Ids | None:
    """Take an integer index of `X` for ids where `y` confirms that it is.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_items, n_features)
        One row an item.
    y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users)
        Who took what.

    Returns
    -------
    ndarray of int of shape (n_items,) or None
        The index of `X`, if it has the ids of `y`; otherwise None.

    Raises
    ------
    ValueError
        If they have the same ids in another order, or only some of them, unless one of them merely counts rows.
    """
    own = y.index.to_numpy() if hasattr(y, "iloc") else getattr(y, "item_ids", None)
    if own is None or not hasattr(X, "iloc") or len(X) != len(own):
        return None
    ids: Ids = X.index.to_numpy()
    shared = pd.Index(own).isin(ids)
    if shared.all() or (shared.any() and not _count_rows(ids) and not _count_rows(own)):
        return _agreed(ids, own)
    return None


def has_integer_ids(frame: Any) -> bool:
    """Tell whether a frame has an index of integers that do more than count its rows.

    Parameters
    ----------
    frame : array-like or DataFrame
        One row an item.

    Returns
    -------
    bool
        False for an index of 0 to n - 1 in order, which pandas makes itself, and says nothing of which items the rows are.
    """
    index = getattr(frame, "index", None) if hasattr(frame, "iloc") else None
    return index is not None and pd.api.types.is_integer_dtype(index.dtype) and not _count_rows(index.to_numpy())


def _count_rows(ids: Ids) -> bool:
    return ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(len(ids)))


def is_one_user(y: Any) -> bool:
    """Tell whether the interactions are those of a single user, in one dimension.

    Parameters
    ----------
    y : Interactions, Series, DataFrame, sparse matrix or array
        Who took what.

    Returns
    -------
    bool
        True if `y` has one dimension.
    """
    return not sparse.issparse(y) and np.asarray(y).ndim == 1


def _own_item_ids(y: Any) -> Ids | None:
    ids: Ids | None = y.index.to_numpy() if _has_id_index(y) else getattr(y, "item_ids", None)
    return ids


def _has_id_index(frame: Any) -> bool:
    index = getattr(frame, "index", None) if hasattr(frame, "iloc") else None
    return index is not None and not pd.api.types.is_integer_dtype(index.dtype)


def unique(ids: Ids | None, what: str) -> pd.Index | None:
    """Make an index of the ids.

    Parameters
    ----------
    ids : ndarray of shape (n,) or None
        The ids.
    what : str
        ``"item"`` or ``"user"``, for the message.

    Returns
    -------
    Index or None
        None without ids.

    Raises
    ------
    ValueError
        If an id occurs twice.
    """
    if ids is None:
        return None
    index = pd.Index(ids)
    if index.has_duplicates:
        raise ValueError(
            f"{what} ids must be unique, but {index[index.duplicated()][0]!r} occurs more than once among {len(index)}."
        )
    return index


def positions(wanted: ArrayLike, known: Ids, what: str) -> NDArray[np.intp]:
    """Find ids among those that `fit` saw.

    Parameters
    ----------
    wanted : array-like of shape (n,)
        Ids to find.
    known : ndarray of shape (n_known,)
        Ids at fit, unique.
    what : str
        ``"item"`` or ``"user"``, for the message.

    Returns
    -------
    ndarray of int of shape (n,)
        Their positions.

    Raises
    ------
    ValueError
        If an id is unknown; the message names the first ones.
    """
    wanted = np.atleast_1d(np.asarray(wanted))
    found = pd.Index(known).get_indexer(pd.Index(wanted))
    if (found < 0).any():
        unknown = wanted[found < 0]
        raise ValueError(
            f"{len(unknown)} of {len(wanted)} {what}s were not seen in fit: {unknown[:5].tolist()}. The "
            f"fitted {what} ids look like {known[:3].tolist()}."
        )
    return found
