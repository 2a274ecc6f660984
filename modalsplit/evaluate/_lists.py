"""What a recommender puts forward, right or wrong: coverage, novelty, popularity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.evaluate._placements import Block, Floats

OF_USERS = ("novelty", "popularity")
OF_CATALOGUE = ("coverage", "popularity_lift")
GROUPS_PER_LISTED = 8  # more groups bound the k-th largest score more tightly, but there are more maxima to sort


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
        judged = np.flatnonzero(np.diff(block.held_out.indptr))
        seen = block.seen[judged]
        scores, n_judged = block.scores[judged], len(judged)
        n_seen = np.diff(seen.indptr)
        self.profiles.append((seen @ self.share)[n_seen > 0] / n_seen[n_seen > 0])
        hidden = np.repeat(np.arange(n_judged), n_seen), seen.indices
        for k, log_unlisted in self.log_unlisted.items():
            user, item, chance = _listed(scores, hidden, k)
            total = np.bincount(user, chance, minlength=n_judged)
            for name, value in zip(OF_USERS, (self.information, self.share), strict=True):
                mean = np.full(len(block.users), np.nan)
                mean[judged] = np.bincount(user, chance * value[item], minlength=n_judged) / np.maximum(total, 1)
                self.found[f"{name}@{k}"].append(mean)
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
        out = {}
        for k, log_unlisted in self.log_unlisted.items():
            out[f"coverage@{k}"] = float(np.mean(-np.expm1(log_unlisted)))
            listed = np.concatenate(self.found[f"popularity@{k}"])
            taste = profiles.mean() if len(profiles) else np.nan
            out[f"popularity_lift@{k}"] = float(np.nanmean(listed) / taste - 1)
        return out


def _listed(
    scores: NDArray[np.floating[Any]], hidden: tuple[NDArray[Any], NDArray[Any]], k: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """List users, items that may be among their top `k`, and the chance that they are. Hides in `scores`."""
    scores[hidden] = -np.inf
    least = _kth_largest(scores, k)
    scores[hidden] = np.nan  # not even tied with -inf
    user, item = np.divmod(np.flatnonzero(scores >= least[:, None]), scores.shape[1])
    is_above = scores[user, item] > least[user]
    n_above = np.bincount(user[is_above], minlength=len(scores))
    n_tied = np.bincount(user[~is_above], minlength=len(scores))
    chance = np.minimum((k - n_above) / np.maximum(n_tied, 1), 1.0)
    return user, item, np.where(is_above, 1.0, chance[user])


def _kth_largest(scores: NDArray[Any], k: int) -> NDArray[Any]:
    """Each row's k-th largest score, or its smallest if it has fewer.

    The k-th largest of the maxima of groups is a lower bound; few scores are above it, so few are sorted.
    """
    n_rows, n_items = scores.shape
    if k >= n_items:
        return np.asarray(scores.min(axis=1))
    n_groups = GROUPS_PER_LISTED * k
    depth = n_items // n_groups
    if depth < 2:
        return np.partition(scores, -k, axis=1)[:, -k]
    maxima = scores[:, : depth * n_groups].reshape(n_rows, depth, n_groups).max(axis=1)
    bound = np.partition(maxima, -k, axis=1)[:, -k]
    return np.array([np.partition(row[row >= low], -k)[-k] for row, low in zip(scores, bound, strict=True)])
