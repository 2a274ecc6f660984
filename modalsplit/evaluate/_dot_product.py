"""Scores of models whose users and items are vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scorer = Callable[[NDArray[np.intp]], NDArray[np.floating[Any]]]


def dot_product(users: ArrayLike, items: ArrayLike) -> Scorer:
    """Score items by the inner product of their vectors with a user's, for `evaluate`.

    Parameters
    ----------
    users : array-like of shape (n_users, n_dimensions)
        A vector a user.
    items : array-like of shape (n_items, n_dimensions)
        A vector an item. Biases fit in as one more dimension, where users have a one.

    Returns
    -------
    callable
        Takes an ndarray of user positions and returns their scores, of shape (n, n_items). The array is used
        again in the next call: no more than one block is ever in memory.

    Raises
    ------
    ValueError
        If the vectors have different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import dot_product
    >>> dot_product([[1.0, 2.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])(np.array([0]))
    array([[1., 3.]])
    """
    left, right = np.asarray(users), np.asarray(items)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError(
            f"users has shape {left.shape} and items {right.shape}. Give vectors of one length: a row a user, a "
            "row an item."
        )
    # Columns that lie side by side make the product up to a third faster on blocks of users.
    columns = np.ascontiguousarray(right.T)
    buffer = np.empty((0, len(right)), dtype=np.result_type(left, right))

    def score(positions: NDArray[np.intp]) -> NDArray[np.floating[Any]]:
        nonlocal buffer
        if len(buffer) < len(positions):
            buffer = np.empty((len(positions), len(right)), dtype=buffer.dtype)
        return np.matmul(left[positions], columns, out=buffer[: len(positions)])

    return score
