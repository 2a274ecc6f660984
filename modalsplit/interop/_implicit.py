"""implicit: item factors that are set before training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modalsplit.interop._items import Blocks, item_blocks

# Columns after the factors: an item's bias, and the 1 that a user's bias is multiplied by.
_BIASES = {
    "AlternatingLeastSquares": (),
    "BayesianPersonalizedRanking": (0.0,),
    "LogisticMatrixFactorization": (0.0, 1.0),
}


def to_implicit(items: Any, model: Any, item_ids: ArrayLike, *, blocks: Blocks = None) -> Any:
    """Set the item factors of a model of implicit.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`. Its columns together are the factors.
    model : AlternatingLeastSquares, BayesianPersonalizedRanking or LogisticMatrixFactorization
        A model for the CPU that is not fitted, with ``factors`` as many as there are columns.
    item_ids : array-like of shape (n_items,)
        Ids of the columns of the users-by-items matrix that ``model.fit`` gets, in their order.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.

    Returns
    -------
    model
        The same. ``fit`` starts from these factors and moves them; with ``iterations=0`` they stay, and
        ``recommend(..., recalculate_user=True)`` of ALS solves for the users.

    Raises
    ------
    ValueError
        If an item has no row, the model is of another kind or width, or `items` are not sound.

    References
    ----------
    B. Frederickson, "implicit", https://github.com/benfred/implicit.
    """
    found = item_blocks(items).take(item_ids)
    factors = found.matrix(blocks)
    name = type(model).__name__
    if name not in _BIASES or ".cpu." not in type(model).__module__:
        raise ValueError(f"model may be one of {list(_BIASES)} for the CPU, but is {type(model).__module__}.{name}.")
    if model.factors != factors.shape[1]:
        raise ValueError(
            f"The model has factors={model.factors}, but the blocks have {factors.shape[1]} columns. Make it with "
            f"factors={factors.shape[1]}."
        )
    biases = np.tile(np.array(_BIASES[name], dtype=np.float32), (len(factors), 1))
    model.item_factors = np.hstack([factors, biases])
    return model
