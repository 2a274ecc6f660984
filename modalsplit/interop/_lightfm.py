"""LightFM: item features beside the identity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.preprocessing import normalize

from modalsplit.interop._items import Blocks, checked_ids, item_blocks


def to_lightfm(
    items: Any, item_ids: ArrayLike, cold_ids: ArrayLike | None = None, *, identity: bool = True, blocks: Blocks = None
) -> sparse.csr_matrix:
    """Make the item features that LightFM takes.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    item_ids : array-like of shape (n_items,)
        Ids of the columns of the users-by-items matrix that ``fit`` gets, in their order.
    cold_ids : array-like of shape (n_cold,), optional
        More items, after these, for ``predict``: they have no column of their own.
    identity : bool, default=True
        Whether each of `item_ids` has a column of its own, so that LightFM learns more of it than its content.
    blocks : str or sequence of str, optional
        Which blocks. By default all.

    Returns
    -------
    csr_matrix of shape (n_items + n_cold, n_items + n_columns), float32
        For ``item_features=``. The rows of the blocks are scaled to length 1: LightFM turns to NaN on large values.

    Raises
    ------
    ValueError
        If an item has no row or is cold and known at once, or `items` are not sound.

    References
    ----------
    M. Kula, "Metadata embeddings for user and item cold-start recommendations", CBRecSys 2015.
    """
    known = checked_ids(item_ids, "item_ids")
    all_ids = known if cold_ids is None else [*known, *checked_ids(cold_ids, "cold_ids")]
    found = item_blocks(items).take(all_ids)
    content = sparse.csr_matrix(normalize(found.matrix(blocks)))
    if not identity:
        return content
    own = sparse.eye(len(found.ids), len(known), dtype=np.float32)
    return sparse.csr_matrix(sparse.hstack([own, content], format="csr"))
