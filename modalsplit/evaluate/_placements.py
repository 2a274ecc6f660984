"""Where held-out items rank, exact under ties, a block of users at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Scores = ArrayLike | Callable[[NDArray[np.intp]], ArrayLike]
Ties = Literal["expected", "pessimistic"]
Floats = NDArray[np.float64]

SORTING_PAYS = 16  # held-out items of a user, from which on sorting is cheaper than counting for each
N_GROUPS = 512


class Candidates(Protocol):
    """Choose the items that a user's held-out items compete with."""

    def draw(self, user: int, taken: NDArray[np.intp], n_items: int, n_held_out: int) -> NDArray[np.intp]:
        """Choose among the items that are not taken, the same ones for the same user."""


class Placements(NamedTuple):
    """Where the held-out items stand in the rankings of their users.

    A held-out item stands anywhere in a block of tied candidates with equal chance.

    Attributes
    ----------
    user : ndarray of int of shape (n_placed,)
        Position among the users that were judged, ascending.
    above : ndarray of int of shape (n_placed,)
        Candidates that rank before the block.
    tied : ndarray of int of shape (n_placed,)
        Size of the block, with the item itself; 1 without ties.
    n_held_out : ndarray of int of shape (n_users,)
        Held-out items of each user.
    n_rivals : ndarray of int of shape (n_users,)
        Candidates of each user that are not held out.
    """

    user: NDArray[np.intp]
    above: NDArray[np.intp]
    tied: NDArray[np.intp]
    n_held_out: NDArray[np.intp]
    n_rivals: NDArray[np.intp]


class Judged(NamedTuple):
    """What is judged, read and checked; matrices have a row a user of the data, and `users` are the judged ones."""

    scores: Any
    held_out: sparse.csr_array
    seen: sparse.csr_array
    users: NDArray[np.intp]

    def of(self, users: NDArray[np.intp]) -> Judged:
        """Judge other users."""
        return self._replace(users=users)


class Block(NamedTuple):
    """A block of users and their scores of all items; matrices have a row a user.

    `maxima` holds the largest score of each of several groups of items.
    """

    users: NDArray[np.intp]
    scores: NDArray[np.floating[Any]]
    maxima: NDArray[np.floating[Any]]
    held_out: sparse.csr_array
    seen: sparse.csr_array


def placements(
    scores: Scores,
    held_out: Any,
    *,
    seen: Any = None,
    ties: Ties = "expected",
    users: ArrayLike | None = None,
    block: int = 256,
) -> Placements:
    """Place the held-out items of each user among the candidates.

    Parameters
    ----------
    scores : array-like of shape (n_items, n_users) or callable
        As for `recall_at_k`.
    held_out : sparse array or ndarray of shape (n_items, n_users)
        Positive where an item is held out for a user.
    seen : sparse array or ndarray of shape (n_items, n_users), optional
        Positive where an item is no candidate for the user.
    ties : {"expected", "pessimistic"}, default="expected"
        As for `recall_at_k`.
    users : array-like of int of shape (n_judged,), optional
        Positions of the users to judge; all by default.
    block : int, default=256
        Users to score at once.

    Returns
    -------
    Placements
        Of all held-out items of the users judged.

    Raises
    ------
    ValueError
        If shapes do not agree, scores are NaN, an item is both seen and held out, or `ties` is not known.
    """
    judged = read_judged(scores, held_out, seen, users)
    return joined(place(part, ties) for part in score_blocks(judged, block))


def read_judged(scores: Scores, held_out: Any, seen: Any, users: ArrayLike | None) -> Judged:
    """Read and check what is judged.

    Parameters
    ----------
    scores, held_out, seen, users
        As for `placements`.

    Returns
    -------
    Judged
        Users in the rows.

    Raises
    ------
    ValueError
        If shapes or ids do not agree, an item is both seen and held out, or `users` is wrong.
    """
    check_same_ids("held_out", held_out, "seen", seen)
    targets = by_user(held_out, "held_out")
    masked = sparse.csr_array(targets.shape, dtype=bool) if seen is None else by_user(seen, "seen")
    scores = scores if callable(scores) else np.asarray(scores)
    _check_agreement(scores, targets, masked)
    return Judged(scores, targets, masked, judged_users(users, targets.shape[0]))


def score_blocks(judged: Judged, block: int = 256) -> Iterator[Block]:
    """Score block after block of users; no more than one is in memory.

    Parameters
    ----------
    judged : Judged
        From `read_judged`. What a callable returns is neither changed nor kept.
    block : int, default=256
        Users to score at once.

    Yields
    ------
    Block
        The next users.

    Raises
    ------
    ValueError
        If scores are NaN or of another shape, or `block` is wrong.
    """
    if block < 1:
        raise ValueError(f"block={block}, but at least 1 user must be scored at once.")
    scores, targets, masked, users = judged
    for start in range(0, max(len(users), 1), block):
        part = users[start : start + block]
        own = _scores_of(scores, part, targets.shape[1])
        maxima = _maxima(own)
        if np.isnan(maxima).any():  # a maximum is NaN if any of its scores is
            raise ValueError(
                f"{int(np.isnan(own).sum())} scores are NaN, which has no rank. Use -inf for what ranks last."
            )
        yield Block(part, own, maxima, targets[part], masked[part])


def place(
    block: Block, ties: Ties = "expected", candidates: Candidates | None = None, depth: int | None = None
) -> Placements:
    """Place the held-out items of a block of users.

    Counting the candidates above each held-out item is cheaper than sorting the candidates, because most
    users have few held-out items. Most of these are not near the top, and the maxima of groups show it: each
    that is larger is a candidate above, unless it is seen.

    Parameters
    ----------
    block : Block
        From `score_blocks`.
    ties : {"expected", "pessimistic"}, default="expected"
        As for `recall_at_k`.
    candidates : Candidates, optional
        What competes with the held-out items; by default all that is not seen.
    depth : int, optional
        Ranks below it may be reported as any other rank below it. By default all ranks are exact.

    Returns
    -------
    Placements
        Of the users of this block.

    Raises
    ------
    ValueError
        If `ties` is not known.
    """
    check_option("ties", ties, Ties)
    n_users, n_items = block.scores.shape
    placed = below_all(Judged(block.scores, block.held_out, block.seen, np.arange(n_users)))
    user, above, tied, _, n_rivals = placed
    item = block.held_out.indices
    scores = block.scores[user, item]
    near_top = np.ones(len(user), dtype=bool)
    if depth is not None and candidates is None:
        near_top = _n_larger(block.maxima, user, scores) < depth + np.diff(block.seen.indptr)[user]
    for u in np.unique(user[near_top]):
        mine = np.arange(block.held_out.indptr[u], block.held_out.indptr[u + 1])
        mine = mine[near_top[mine]]
        row, own, seen = block.scores[u], scores[mine], _row(block.seen, u)
        if candidates is None:
            above[mine], tied[mine] = np.subtract(_counts(row, own), _counts(row[seen], own))
        else:
            taken = np.sort(np.concatenate([seen, item[mine]]))
            drawn = candidates.draw(int(block.users[u]), taken, n_items, len(mine))
            n_rivals[u] = len(drawn)
            above[mine], tied[mine] = np.add(_counts(row[drawn], own), _counts(own, own))
        if ties == "pessimistic":
            # The held-out items of a block share its last places.
            n_targets = np.count_nonzero(own[:, None] == own, axis=1)
            above[mine] += tied[mine] - n_targets
            tied[mine] = n_targets
    return placed


def below_all(judged: Judged) -> Placements:
    """Place the held-out items of all users below every other item.

    Parameters
    ----------
    judged : Judged
        From `read_judged`.

    Returns
    -------
    Placements
        Of the users judged, as `place` reports what is below its `depth`.
    """
    n_held_out, n_seen = (np.diff(part.indptr)[judged.users] for part in (judged.held_out, judged.seen))
    n_items = judged.held_out.shape[1]
    user = np.repeat(np.arange(len(n_held_out)), n_held_out)
    above, tied = np.full(len(user), n_items, dtype=np.intp), np.ones(len(user), dtype=np.intp)
    return Placements(user, above, tied, n_held_out.astype(np.intp), (n_items - n_seen - n_held_out).astype(np.intp))


def joined(parts: Iterator[Placements]) -> Placements:
    """Join the placements of blocks of users.

    Parameters
    ----------
    parts : iterator of Placements
        One or more, in the order of the users.

    Returns
    -------
    Placements
        Of all users.
    """
    found = list(parts)
    first = np.cumsum([0, *(len(part.n_held_out) for part in found)])
    users = [part.user + start for part, start in zip(found, first[:-1], strict=True)]
    _, *columns = (np.concatenate(column) for column in zip(*found, strict=True))
    return Placements(np.concatenate(users), *columns)


def by_user(matrix: Any, name: str) -> sparse.csr_array:
    """Transpose to users in the rows and keep the positive entries.

    Parameters
    ----------
    matrix : sparse array or ndarray of shape (n_items, n_users)
        Positive where a user took an item.
    name : str
        What the matrix is called in errors.

    Returns
    -------
    csr_array of bool of shape (n_users, n_items)
        With sorted indices.

    Raises
    ------
    ValueError
        If it has not two dimensions.
    """
    if not sparse.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise ValueError(
            f"{name} has {matrix.ndim} dimensions. Give a matrix: items in the rows, users in the columns."
        )
    positive = sparse.csr_array(sparse.coo_array(matrix).T.tocsr() > 0)
    positive.sort_indices()
    return positive


def check_same_ids(one: str, a: Any, other: str, b: Any) -> None:
    """Refuse interactions of other items or users, or in another order, where both have ids.

    Parameters
    ----------
    one, other : str
        What the interactions are called in errors.
    a, b : Interactions, or any matrix, which has no ids
        The interactions.

    Raises
    ------
    ValueError
        If ids differ.
    """
    for what in ("item_ids", "user_ids"):
        left, right = getattr(a, what, None), getattr(b, what, None)
        if left is not None and right is not None and not np.array_equal(left, right):
            raise ValueError(f"{what} of {one} and {other} differ. Split one Interactions into its parts.")


def judged_users(users: ArrayLike | None, n_users: int) -> NDArray[np.intp]:
    """Read which users are judged.

    Parameters
    ----------
    users : array-like of int of shape (n_judged,), optional
        Positions; all by default.
    n_users : int
        How many there are.

    Returns
    -------
    ndarray of int of shape (n_judged,)
        Positions.

    Raises
    ------
    ValueError
        If something else than positions is given.
    """
    if users is None:
        return np.arange(n_users)
    chosen = np.asarray(users)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise ValueError(
            f"users must be a list of positions, but has shape {chosen.shape} and dtype {chosen.dtype}. "
            "np.flatnonzero(mask) makes them of a mask, np.flatnonzero(np.isin(Y.user_ids, ids)) of ids."
        )
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < n_users):
        raise ValueError(
            f"users holds {chosen.min()} to {chosen.max()}, but the {n_users} users are at 0 to {n_users - 1}."
        )
    return chosen.astype(np.intp)


def check_option(name: str, value: str, options: Any) -> None:
    """Refuse a value that is not among the options.

    Parameters
    ----------
    name : str
        Of the parameter.
    value : str
        What was given.
    options : Literal
        What is allowed.

    Raises
    ------
    ValueError
        If `value` is not allowed.
    """
    if value not in get_args(options):
        raise ValueError(f"{name} must be one of {list(get_args(options))}, but {value!r} was given.")


def _counts(values: NDArray[Any], own: NDArray[Any]) -> tuple[Any, Any]:
    """How many values are greater than each own one, and how many equal it."""
    if len(own) < SORTING_PAYS:
        greater = np.array([np.count_nonzero(values > score) for score in own])
        return greater, np.array([np.count_nonzero(values == score) for score in own])
    ordered = np.sort(values)
    end, start = (np.searchsorted(ordered, own, side) for side in ("right", "left"))
    return len(values) - end, end - start


def _maxima(scores: NDArray[Any]) -> NDArray[Any]:
    """Maxima of groups of columns; those that are left over stand for themselves."""
    n_users, n_items = scores.shape
    size = n_items // N_GROUPS
    if size < 2:
        return scores
    grouped = scores[:, : size * N_GROUPS].reshape(n_users, size, N_GROUPS)
    return np.concatenate([grouped.max(axis=1), scores[:, size * N_GROUPS :]], axis=1)


def _n_larger(maxima: NDArray[Any], user: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """Count the groups whose maximum is larger than each score, in parts: users may hold out many items."""
    parts = [slice(start, start + N_GROUPS) for start in range(0, len(user), N_GROUPS)]
    counts = [np.count_nonzero(maxima[user[part]] > scores[part, None], axis=1) for part in parts]
    return np.concatenate([np.zeros(0, dtype=np.intp), *counts])


def _row(matrix: sparse.csr_array, row: int) -> NDArray[Any]:
    indices: NDArray[Any] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return indices


def _scores_of(scores: Any, users: NDArray[np.intp], n_items: int) -> NDArray[np.floating[Any]]:
    own = np.asarray(scores(users) if callable(scores) else scores[:, users].T)
    block: NDArray[Any] = np.ascontiguousarray(own, dtype=np.result_type(own, np.float32))
    if block.shape != (len(users), n_items):
        raise ValueError(
            f"scores returned an array of shape {block.shape} for {len(users)} users and {n_items} items. It "
            f"must return one row a user: ({len(users)}, {n_items})."
        )
    return block


def _check_agreement(scores: Any, targets: sparse.csr_array, masked: sparse.csr_array) -> None:
    shape = targets.shape[::-1]
    if not callable(scores) and scores.shape != shape:
        raise ValueError(
            f"scores has shape {scores.shape}, but held_out has shape {shape}. Both need items in the "
            "rows and users in the columns."
        )
    if masked.shape != targets.shape:
        raise ValueError(f"seen has shape {masked.shape[::-1]}, but held_out has shape {shape}.")
    n_both = masked.multiply(targets).nnz
    if n_both:
        raise ValueError(
            f"{n_both} of {targets.nnz} held-out interactions are in seen too, so they could not be "
            "recommended. Leave them out of one."
        )
