"""Refuse what training must not know."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from scipy import sparse, stats

from modalsplit.evaluate._placements import by_user, check_same_ids

CHANCE = 1e-6  # how unlikely an honest draw must be to be refused


def check_no_leak(train: Any, *held_out: Any, negatives: Any = None) -> None:
    """Refuse parts that share interactions, and training negatives that know what is held out.

    Parameters
    ----------
    train : Interactions, sparse array or ndarray of shape (n_items, n_users)
        What models are fitted on; positive where a user took an item.
    *held_out : Interactions, sparse array or ndarray of shape (n_items, n_users)
        Validation and test parts.
    negatives : sparse array or ndarray of shape (n_items, n_users), optional
        Positive where training takes an item for a negative of a user. Negatives must be drawn among all items
        that are not in `train`, so held-out items are among them, but as often as chance has it: if they are
        rarer, the draw avoided them, which tells the model that they are good; if more frequent, they were put
        there. Both are refused if chance would do so less than once in a million times.

    Raises
    ------
    ValueError
        If shapes or ids differ, parts overlap, a negative is in `train`, or negatives know held-out items.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import check_no_leak
    >>> check_no_leak(np.eye(3), np.eye(3)[::-1])
    Traceback (most recent call last):
    ValueError: 1 interaction is both in train and in held_out[0]. Split each user's interactions once, after ...
    """
    names = ["train", *(f"held_out[{i}]" for i in range(len(held_out)))]
    _check_alike(dict(zip(names, (train, *held_out), strict=True)))
    parts = [by_user(part, name) for part, name in zip((train, *held_out), names, strict=True)]
    for (one, a), (other, b) in combinations(zip(names, parts, strict=True), 2):
        n_both = a.multiply(b).nnz
        if n_both:
            shared = "1 interaction is" if n_both == 1 else f"{n_both} interactions are"
            raise ValueError(
                f"{shared} both in {one} and in {other}. Split each user's interactions once, after removing "
                "duplicates."
            )
    if negatives is not None:
        _check_negatives(parts[0], by_user(negatives, "negatives"), parts[1:])


def _check_alike(parts: dict[str, Any]) -> None:
    for (one, a), (other, b) in combinations(parts.items(), 2):
        if np.shape(a) != np.shape(b):
            raise ValueError(f"{one} has shape {np.shape(a)}, but {other} has shape {np.shape(b)}.")
        check_same_ids(one, a, other, b)


def _check_negatives(train: sparse.csr_array, negatives: sparse.csr_array, held_out: list[sparse.csr_array]) -> None:
    if negatives.shape != train.shape:
        raise ValueError(f"negatives has shape {negatives.shape[::-1]}, but train has shape {train.shape[::-1]}.")
    n_both = negatives.multiply(train).nnz
    if n_both:
        raise ValueError(f"{n_both} training negatives are in train. Draw them among the other items.")
    n_negatives, n_train = np.diff(negatives.indptr), np.diff(train.indptr)
    for position, part in enumerate(held_out):
        n_hit = negatives.multiply(part).nnz
        n_expected = np.sum(n_negatives * np.diff(part.indptr) / np.maximum(train.shape[1] - n_train, 1))
        # Poisson is wider than the sum of hypergeometric counts that it stands for: a draw is not refused too soon.
        if min(stats.poisson.cdf(n_hit, n_expected), stats.poisson.sf(n_hit - 1, n_expected)) < CHANCE:
            what = "avoid" if n_hit < n_expected else "single out"
            raise ValueError(
                f"The training negatives {what} held_out[{position}]: {n_hit} of them are in it, where chance has "
                f"{n_expected:.1f}. Draw negatives among all items that are not in train, and know no other part."
            )
