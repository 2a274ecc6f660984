"""Splits that know when an interaction was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state

from modalsplit.evaluate._placements import check_option
from modalsplit.evaluate._splits import By, Split, check_shares, entries, part_of_interactions, parts_by_place, places
from modalsplit.interactions import Interactions

Keep = Literal["first", "last"]


def interaction_times(
    frame: pd.DataFrame,
    Y: Interactions,
    *,
    time: str = "timestamp",
    item: str = "item_id",
    user: str = "user_id",
    keep: Keep = "first",
) -> sparse.coo_array:
    """Say when each interaction was, for `leave_one_out` and `temporal_split`.

    `Interactions.from_frame` counts repeated pairs once; here is which of their times counts. Otherwise a pair
    could be in training and, later, in the test.

    Parameters
    ----------
    frame : DataFrame
        One row an interaction.
    Y : Interactions of shape (n_items, n_users)
        Made from `frame`, with ids; what it has no ids for is left out, as after `Interactions.k_core`.
    time : str, default="timestamp"
        Column that holds numbers or dates.
    item : str, default="item_id"
        Column that holds the item's id.
    user : str, default="user_id"
        Column that holds the user's id.
    keep : {"first", "last"}, default="first"
        Which time of a repeated pair counts.

    Returns
    -------
    coo_array of float of shape (n_items, n_users)
        Times, of dates in their own resolution since 1970. A stored zero is a time.

    Raises
    ------
    ValueError
        If a column is missing, a time is missing, `Y` has no ids, or `keep` is not known.

    Examples
    --------
    >>> import pandas as pd
    >>> from modalsplit import Interactions
    >>> from modalsplit.evaluate import interaction_times
    >>> frame = pd.DataFrame({"user_id": ["ann"] * 3, "item_id": ["a", "b", "a"], "timestamp": [7, 8, 9]})
    >>> interaction_times(frame, Interactions.from_frame(frame)).toarray().tolist()
    [[7.0], [8.0]]
    """
    check_option("keep", keep, Keep)
    missing = [column for column in (item, user, time) if column not in frame.columns]
    if missing:
        raise ValueError(f"The interactions have no column {missing[0]!r}; they have {list(frame.columns)}.")
    if Y.item_ids is None or Y.user_ids is None:
        raise ValueError("Y has no ids, so that its rows and columns cannot be found in the frame. Use from_frame.")
    if frame[time].isna().any():
        raise ValueError(f"{int(frame[time].isna().sum())} interactions have no {time}. Drop them first.")
    rows, columns = (
        pd.Index(ids).get_indexer(pd.Index(frame[column])) for ids, column in ((Y.item_ids, item), (Y.user_ids, user))
    )
    when = _numbers(frame[time])
    known = (rows >= 0) & (columns >= 0)
    table = pd.DataFrame({"row": rows[known], "column": columns[known], "time": when[known]}).sort_values("time")
    once = table.drop_duplicates(["row", "column"], keep=keep)
    return sparse.coo_array(
        (once["time"].to_numpy(), (once["row"].to_numpy(), once["column"].to_numpy())), shape=Y.shape
    )


def _numbers(times: pd.Series[Any]) -> NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy(dtype=float)
    try:
        return pd.to_datetime(times, utc=True).dt.tz_localize(None).to_numpy().astype(np.int64).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The column {times.name!r} holds neither numbers nor dates: {error}") from error


def leave_one_out(Y: Any, *, times: Any = None, random_state: int | np.random.RandomState | None = None) -> Split:
    """Hold out one interaction of each user for the test and one for validation.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    times : sparse array of shape (n_items, n_users), optional
        When, from `interaction_times`: the last interaction is for the test and the one before for validation.
        By default they are drawn at random.
    random_state : int, RandomState or None, default=None
        Of the draw, and of the order of interactions at the same time.

    Returns
    -------
    Split
        A user of two interactions has none for validation, a user of one has only training.

    Raises
    ------
    ValueError
        If an interaction has no time.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import leave_one_out
    >>> [part.nnz for part in leave_one_out(np.ones((10, 4)), random_state=0)]
    [32, 4, 4]
    """
    taken = entries(Y)
    n_users = taken.shape[1]
    order = _in_time(taken, times, random_state)
    from_last = np.bincount(taken.col, minlength=n_users)[taken.col] - 1 - places(taken.col, order, n_users)
    is_first = places(taken.col, order, n_users) == 0
    part_of = np.where(is_first | (from_last > 1), 0, 2 - from_last)
    return Split(*(part_of_interactions(Y, taken, part_of == part) for part in range(3)))


def temporal_split(
    Y: Any,
    times: Any,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    by: By = "global",
    random_state: int | np.random.RandomState | None = None,
) -> Split:
    """Split interactions by time: train on the past, judge by the future.

    Parameters
    ----------
    Y : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Who took what; entries that are not zero.
    times : sparse array of shape (n_items, n_users)
        When, from `interaction_times`.
    shares : sequence of 3 float, default=(0.8, 0.1, 0.1)
        Shares of training, validation and test interactions.
    by : {"global", "user"}, default="global"
        ``"global"``: two moments for all, so that nothing in training is later than anything held out; interactions
        of one moment stay together, and users may be new in the test. ``"user"``: each user's last interactions,
        which lets training see the future of others.
    random_state : int, RandomState or None, default=None
        Of the order of interactions of one user at the same time, if split by user.

    Returns
    -------
    Split
        Parts in the order of time.

    Raises
    ------
    ValueError
        If an interaction has no time, shares are not three that sum to 1, `by` is not known, or a part is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import temporal_split
    >>> times = np.arange(1, 21).reshape(5, 4)
    >>> temporal_split(np.ones((5, 4)), times, shares=(0.6, 0.2, 0.2)).test.toarray()[3:]
    array([[0., 0., 0., 0.],
           [1., 1., 1., 1.]])
    """
    check_shares(shares)
    check_option("by", by, By)
    if len(shares) != 3:
        raise ValueError(f"shares must be those of training, validation and test, but are {shares}.")
    taken = entries(Y)
    order = _in_time(taken, times, random_state)
    if by == "user":
        part_of = parts_by_place(taken.col, places(taken.col, order, taken.shape[1]), taken.shape[1], shares)
    else:
        when = _times_of(taken, times)
        moments = np.quantile(when, np.cumsum(shares)[:2], method="higher") if len(when) else np.zeros(2)
        part_of = np.searchsorted(moments, when, side="right")
    split = Split(*(part_of_interactions(Y, taken, part_of == part) for part in range(3)))
    empty = [name for name, part in zip(split._fields, split, strict=True) if not part.nnz]
    if empty:
        raise ValueError(f"The {empty[0]} part is empty: too few interactions, or too many at one moment.")
    return split


def _in_time(taken: sparse.coo_array, times: Any, random_state: int | np.random.RandomState | None) -> NDArray[np.intp]:
    """Rank interactions by time, at random where it does not tell."""
    chance = check_random_state(random_state).random_sample(taken.nnz)
    when = np.zeros(taken.nnz) if times is None else _times_of(taken, times)
    rank = np.empty(taken.nnz, dtype=np.intp)
    rank[np.lexsort([chance, when])] = np.arange(taken.nnz)
    return rank


def _times_of(taken: sparse.coo_array, times: Any) -> NDArray[np.float64]:
    if np.shape(times) != taken.shape:
        raise ValueError(f"times has shape {np.shape(times)}, but Y has shape {taken.shape}.")
    if hasattr(times, "tocoo"):
        listed = times.tocoo()
        # By position, not by value: a stored zero is a time.
        known = pd.Series(listed.data, index=listed.row.astype(np.int64) * taken.shape[1] + listed.col)
        if not known.index.is_unique:
            raise ValueError(f"times has {int(known.index.duplicated().sum())} second times of a pair. Keep one.")
        when = known.reindex(taken.row.astype(np.int64) * taken.shape[1] + taken.col).to_numpy(dtype=float)
    else:
        when = np.asarray(times, dtype=float)[taken.row, taken.col]
    if np.isnan(when).any():
        raise ValueError(f"{int(np.isnan(when).sum())} interactions have no time. Make times from the same table as Y.")
    return when
