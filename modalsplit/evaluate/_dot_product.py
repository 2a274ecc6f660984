"""Scores of models whose users and items are vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import gen_batches

SHARE_TRIED = 16  # one item in so many is scored first
USERS_SAMPLED = 1024  # to tell which items score high


def dot_product(users: ArrayLike, items: ArrayLike, biases: ArrayLike | None = None) -> DotProduct:
    """Score items by the inner product of their vectors with a user's, for `evaluate`.

    A function of your own can do that, too. This one lets `evaluate` pass over users whose held-out items are below what
    a few items score, so that judging models of vectors takes about half the time.

    Parameters
    ----------
    users : array-like of shape (n_users, n_dimensions)
        A vector a user.
    items : array-like of shape (n_items, n_dimensions)
        A vector an item.
    biases : array-like of shape (n_items,), optional
        What is added to all scores of an item.

    Returns
    -------
    DotProduct
        A callable that takes an ndarray of user positions and returns their scores, of shape (n, n_items). The array
        is used again in the next call: no more than one block is ever in memory.

    Raises
    ------
    ValueError
        If the vectors have different lengths, or there is not one bias an item.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import dot_product
    >>> dot_product([[1.0, 2.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]])(np.array([0]))
    array([[1., 3.]])
    """
    left, right = np.asarray(users), np.asarray(items)
    shifts = None if biases is None else np.asarray(biases)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError(
            f"users has shape {left.shape} and items {right.shape}. Give vectors of one length: a row a user, a "
            "row an item."
        )
    if shifts is not None and shifts.shape != right.shape[:1]:
        raise ValueError(f"biases has shape {shifts.shape}, but there are {len(right)} items. Give one number an item.")
    return DotProduct(left, right, shifts)


class DotProduct:
    """Scores that are inner products, and which users can be left out: a few items already fill their lists.

    Parameters
    ----------
    users : ndarray of shape (n_users, n_dimensions)
        A vector a user.
    items : ndarray of shape (n_items, n_dimensions)
        A vector an item.
    biases : ndarray of shape (n_items,) or None
        What is added to all scores of an item.
    """

    def __init__(self, users: NDArray[Any], items: NDArray[Any], biases: NDArray[Any] | None) -> None:
        self.users = users
        self.items = items
        # Columns that lie side by side make the product up to a third faster on blocks of users.
        self._columns = np.ascontiguousarray(items.T)
        dtype = np.result_type(users, items)
        self._biases = np.zeros(len(items), dtype=dtype) if biases is None else biases
        self._has_biases = biases is not None
        self._buffer = np.empty((0, len(items)), dtype=dtype if biases is None else np.result_type(dtype, biases))

    def __call__(self, positions: NDArray[np.intp]) -> NDArray[Any]:
        if len(self._buffer) < len(positions):
            self._buffer = np.empty((len(positions), len(self.items)), dtype=self._buffer.dtype)
        scores = np.matmul(self.users[positions], self._columns, out=self._buffer[: len(positions)])
        if self._has_biases:
            scores += self._biases
        return scores

    def in_reach(
        self, positions: NDArray[np.intp], held_out: sparse.csr_array, n_above: NDArray[np.intp], block: int
    ) -> NDArray[np.bool_]:
        """Tell which users may have a held-out item above their `n_above`-th item.

        A sixteenth of the items, those that score highest, is scored for all users. Whoever has `n_above` among them above
        all held-out items need not be scored further. What rounding could turn is not counted.

        Parameters
        ----------
        positions : ndarray of int of shape (n,)
            Users.
        held_out : csr_array of bool of shape (n_users, n_items)
            What is held out for all users.
        n_above : ndarray of int of shape (n,)
            How many items suffice.
        block : int
            Users who are scored at once afterwards: no more memory than that is taken.

        Returns
        -------
        ndarray of bool of shape (n,)
            False if all held-out items certainly have so many items above them.
        """
        may = np.ones(len(positions), dtype=bool)
        dtype = self._buffer.dtype
        n_tried = len(self.items) // SHARE_TRIED
        if dtype.kind != "f" or not n_tried or not len(positions):
            return may
        # NaN, infinity and overflow compare as false here, and are reported when the user is scored.
        with np.errstate(over="ignore", invalid="ignore"):
            longest = np.hypot(np.linalg.norm(self.items, axis=1), self._biases).max()
            highest = self._high_scores(positions)
            tried = np.sort(np.argpartition(-highest, n_tried - 1)[:n_tried])
            columns = self._columns[:, tried]
            for some in gen_batches(len(positions), block * SHARE_TRIED // 4):
                users, theirs = self.users[positions[some]], held_out[positions[some]]
                # Two sums of the same products differ by no more than this in any order (Higham 2002, Eq. 3.5).
                rounding = 4 * (users.shape[1] + 1) * np.finfo(dtype).eps * longest
                bound = self._best(users, theirs) + rounding * np.hypot(np.linalg.norm(users, axis=1), 1.0)
                scores = users @ columns + self._biases[tried]
                may[some] = np.count_nonzero(scores > bound[:, None], axis=1) < n_above[some]
                if may[some].mean() > 1 - 2 / SHARE_TRIED:
                    break  # it spares hardly more than it costs
        return may

    def _high_scores(self, positions: NDArray[np.intp]) -> NDArray[Any]:
        """Two standard deviations above the mean score of each item, of some users."""
        chosen = np.linspace(0, len(positions) - 1, min(len(positions), USERS_SAMPLED)).astype(np.intp)
        users = self.users[positions[chosen]]
        apart = users - users.mean(axis=0)
        variance = np.einsum("ij,ij->i", self.items @ (apart.T @ apart / len(users)), self.items)
        high: NDArray[Any] = self.items @ users.mean(axis=0) + self._biases + 2 * np.sqrt(variance.clip(0))
        return high

    def _best(self, users: NDArray[Any], held_out: sparse.csr_array) -> NDArray[Any]:
        """Highest score of the held-out items of each user; -inf without any."""
        best = np.full(len(users), -np.inf, dtype=self._buffer.dtype)
        user = np.repeat(np.arange(len(users)), np.diff(held_out.indptr))
        for start in range(0, len(user), USERS_SAMPLED):
            some = slice(start, start + USERS_SAMPLED)
            item = held_out.indices[some]
            scores = np.einsum("ij,ij->i", users[user[some]], self.items[item]) + self._biases[item]
            np.maximum.at(best, user[some], scores)
        return best
