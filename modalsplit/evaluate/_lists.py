"""What a recommender puts forward, right or wrong: coverage, novelty, popularity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.evaluate._placements import Block, Floats

OF_USERS = ("novelty", "popularity")
OF_CATALOGUE = ("coverage", "popularity_lift")


class ListStatistics:
    """Gather what the lists of `k` hold, block after block.

    Where ties leave open what is listed, an item counts with its chance to be listed.

    Parameters
    ----------
    lengths : sequence of int
        Lengths of the lists.
    n_taken : ndarray of int of shape (n_items,)
        Users in training who took each item.
    n_users : int
        Users in training.
    """

    def __init__(self, lengths: Sequence[int], n_taken: NDArray[np.intp], n_users: int) -> None:
        self.share = n_taken / max(n_users, 1)
        # One more user, who took everything: an item that nobody took has a finite novelty.
        self.information = np.log2(n_users + 1) - np.log2(n_taken + 1)
        self.profiles: list[Floats] = []
        self.found: dict[str, list[Floats]] = {f"{name}@{k}": [] for name in OF_USERS for k in lengths}
        self.log_unlisted = {k: np.zeros(len(n_taken)) for k in lengths}

    def add(self, block: Block) -> None:
        """Count the lists of the users of a block who have held-out items.

        Parameters
        ----------
        block : Block
            From `score_blocks`.
        """
        is_judged = np.diff(block.held_out.indptr) > 0
        n_seen, n_users = np.diff(block.seen.indptr), len(is_judged)
        total = np.where(is_judged & (n_seen > 0), block.seen @ self.share, np.nan)
        self.profiles.append(total / np.maximum(n_seen, 1))
        user, item, score = _top(block, max(self.log_unlisted), is_judged)
        for k, log_unlisted in self.log_unlisted.items():
            chance = _chance_to_be_listed(user, score, k, n_users)
            total = np.where(is_judged, np.bincount(user, chance, minlength=n_users), np.nan)
            for name, value in zip(OF_USERS, (self.information, self.share), strict=True):
                self.found[f"{name}@{k}"].append(np.bincount(user, chance * value[item], minlength=n_users) / total)
            with np.errstate(divide="ignore"):
                np.add.at(log_unlisted, item, np.log1p(-chance))

    def per_user(self) -> dict[str, Floats]:
        """Novelty and popularity of each user's lists; NaN for users without held-out items.

        Returns
        -------
        dict of ndarray of shape (n_users,)
            By name, such as ``"novelty@10"``.
        """
        return {name: np.concatenate(blocks) for name, blocks in self.found.items()}

    def catalogue(self) -> dict[str, float]:
        """Coverage and popularity lift of all lists together.

        Returns
        -------
        dict of float
            By name, such as ``"coverage@10"``.
        """
        profiles = np.concatenate(self.profiles)
        took = ~np.isnan(profiles)
        out = {}
        for k, log_unlisted in self.log_unlisted.items():
            out[f"coverage@{k}"] = float(np.mean(-np.expm1(log_unlisted)))
            listed = np.concatenate(self.found[f"popularity@{k}"])
            lift = listed[took].mean() / profiles[took].mean() - 1 if took.any() else np.nan
            out[f"popularity_lift@{k}"] = float(lift)
        return out


def _top(block: Block, k: int, is_judged: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """List users, candidates and scores: those of the top `k` and all that tie with the last, a few more, best first."""
    n_seen, n_items = np.diff(block.seen.indptr), block.scores.shape[1]
    # k + n_seen groups reach this bound, so at least k candidates do, as each seen item can have raised one group only.
    depth = k + n_seen
    maxima = np.sort(block.maxima, axis=1)
    bound = np.take_along_axis(maxima, np.maximum(-depth, -maxima.shape[1])[:, None], axis=1)
    bound[depth > maxima.shape[1]] = -np.inf
    reached = np.flatnonzero(block.scores >= bound)
    user = reached // n_items
    seen = np.repeat(np.arange(len(n_seen)) * n_items, n_seen) + block.seen.indices
    reached = reached[is_judged[user] & ~_is_in(reached, seen)]
    user, item = np.divmod(reached, n_items)
    score = block.scores[user, item]
    order = np.lexsort((-score, user))
    return user[order], item[order], score[order]


def _is_in(values: NDArray[Any], ascending: NDArray[Any]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[place] == values)


def _chance_to_be_listed(user: NDArray[Any], score: NDArray[Any], k: int, n_users: int) -> Floats:
    """Share the places that are left below the higher scores among those that tie."""
    n_of_user = np.bincount(user, minlength=n_users)
    last = np.cumsum(n_of_user) - n_of_user + np.minimum(k, n_of_user) - 1
    least = score[last[user]]
    n_above = np.bincount(user[score > least], minlength=n_users)
    n_tied = np.bincount(user[score == least], minlength=n_users)
    chance = np.minimum((k - n_above) / np.maximum(n_tied, 1), 1.0)[user]
    return np.select([score > least, score == least], [1.0, chance], 0.0)
