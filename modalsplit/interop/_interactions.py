"""Who took what, as a table that other libraries read."""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy import sparse

from modalsplit.interop._items import ItemBlocks, checked_ids

_OPTIONAL = ("rating", "timestamp")


def interaction_table(interactions: Any, items: ItemBlocks) -> pd.DataFrame:
    """List interactions, and check that every item of theirs is exported.

    Parameters
    ----------
    interactions : Interactions of shape (n_items, n_users), or DataFrame
        Who took what: a matrix that knows its ids, or a table with columns user_id and item_id, and perhaps rating and
        timestamp.
    items : ItemBlocks
        What is exported.

    Returns
    -------
    DataFrame of shape (n_interactions, 2 to 4)
        Columns user_id, item_id, and of rating and timestamp what there is.

    Raises
    ------
    ValueError
        If ids are missing, or an item is not among those exported.
    """
    table = _from_frame(interactions) if hasattr(interactions, "iloc") else _from_matrix(interactions)
    if table.empty:
        raise ValueError("There are no interactions to export.")
    for column in table.columns:
        missing = int(table[column].isna().sum())
        if missing:
            raise ValueError(f"{missing} of {len(table)} interactions have no {column}. Drop them, or fill it in.")
    checked_ids(table.user_id.unique(), "user_id")
    items.take(table.item_id.unique())
    return table


def _from_frame(frame: pd.DataFrame) -> pd.DataFrame:
    absent = [column for column in ("user_id", "item_id") if column not in frame.columns]
    if absent:
        raise ValueError(f"The interactions have no column {absent[0]!r}; they have {list(frame.columns)}. Rename it.")
    table = frame[["user_id", "item_id", *(name for name in _OPTIONAL if name in frame.columns)]]
    return table.reset_index(drop=True)


def _from_matrix(matrix: Any) -> pd.DataFrame:
    item_ids, user_ids = getattr(matrix, "item_ids", None), getattr(matrix, "user_ids", None)
    if item_ids is None or user_ids is None:
        raise ValueError(
            "The interactions do not know the ids of items and users. Give modalsplit.Interactions(..., item_ids=, "
            "user_ids=), or a DataFrame with columns user_id and item_id."
        )
    taken = sparse.coo_array(matrix)
    positive = taken.data > 0
    return pd.DataFrame({"user_id": user_ids[taken.col[positive]], "item_id": item_ids[taken.row[positive]]})
