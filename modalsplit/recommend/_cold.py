"""What is expected of an item that nobody took, from its parts: kernel ridge regression on the items that were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.preprocessing import normalize

from modalsplit.recommend._learned import Learned

Floats = NDArray[np.floating[Any]]
Groups = Sequence[Sequence[int]]
MOST_LANDMARKS = 3000  # of more items, those taken most: of them most is known
MOST_WEIGHED = 500  # enough to weigh modalities by
STEPS = (0.5, 0.25, 0.125, 0.0625)
ROWS_AT_ONCE = 4096


class Expectation(NamedTuple):
    """A regression from the directions of an item's modalities to what training would learn of it.

    Attributes
    ----------
    landmarks : ndarray of shape (n_landmarks, n_parts * width)
        Trained items, each modality of length 1.
    weights : ndarray of shape (n_landmarks, n_learned)
        What likeness to each of them adds.
    mean : ndarray of shape (n_learned,)
        The mean trained item, which is expected where content says nothing.
    shares : ndarray of shape (n_modalities,)
        How much the likeness of each modality counts; they sum to 1.
    """

    landmarks: Floats
    weights: Floats
    mean: Floats
    shares: Floats


def directions(parts: Floats, scales: Floats, groups: Groups) -> list[Floats]:
    """Bring each modality to length 1, its parts in the proportions that the encoder gave them.

    The size of a part says how much it tells apart: one of four directions must not count as much as one of sixty.
    The size of a modality says nothing: it has as many directions as its features happened to have.

    Parameters
    ----------
    parts : ndarray of shape (n, n_parts, width)
        Parts, scaled.
    scales : ndarray of shape (n_parts,)
        What they were multiplied by.
    groups : sequence of sequence of int
        The parts of each modality.

    Returns
    -------
    list of ndarray of shape (n, n_parts_of_modality * width)
        Rows of length 1, or 0.
    """
    sizes = np.where(scales > 0, scales, 1)[:, None]
    unscaled = (parts / sizes).astype(np.float64)
    return [normalize(unscaled[:, list(group)].reshape(len(parts), -1)) for group in groups]


def expect(
    trained: Learned,
    scales: Floats,
    groups: Groups,
    *,
    degree: int,
    alpha: float,
    vectors: Floats,
    users: Floats,
    taken: NDArray[np.integer[Any]],
) -> Expectation:
    """Fit the regression.

    How much a modality counts is chosen by the error of the scores, each item left out in turn.

    Parameters
    ----------
    trained : Learned
        Items with interactions.
    scales : ndarray of shape (n_parts,)
        What their parts were multiplied by.
    groups : sequence of sequence of int
        The parts of each modality.
    degree : int
        Of the kernel, the mean of ((1 + cosine) / 2)^degree over the modalities.
    alpha : float
        Ridge: noise variance beside a signal of 1.
    vectors : ndarray of shape (n, n_components)
        The items as users see them, parts fused.
    users : ndarray of shape (n_users, n_components)
        Users.
    taken : ndarray of int of shape (n,)
        How many took each item.

    Returns
    -------
    Expectation
        Without landmarks if there are no parts.
    """
    learned = np.hstack([trained.embedding, trained.bias[:, None], trained.parts.reshape(len(trained.bias), -1)])
    mean = learned.mean(axis=0)
    if not trained.parts.size:
        return Expectation(learned[:0, :0], learned[:0], mean, np.ones(0, dtype=np.float32))
    order = np.argsort(-taken, kind="stable")
    chosen = order[:MOST_LANDMARKS]
    known = directions(trained.parts[chosen], scales, groups)
    shares: Floats = np.ones(1)
    if len(groups) > 1:
        few = chosen[:: -(-len(chosen) // MOST_WEIGHED)]
        scored = np.hstack([vectors[few], trained.bias[few, None]]).astype(np.float64)
        likings, liking = users.T @ users / len(users), users.mean(axis=0)[:, None]
        metric = np.block([[likings, liking], [liking.T, np.ones((1, 1))]])  # of errors of vector and bias
        of_few = directions(trained.parts[few], scales, groups)
        shares = _balanced([_kernel(x, x, degree) for x in of_few], scored, metric, alpha)
    gram = _mixed([_kernel(x, x, degree) for x in known], shares)
    gram[np.diag_indices(len(gram))] += alpha
    weights: Floats = linalg.solve(gram, learned[chosen] - mean, assume_a="pos")
    landmarks = np.hstack(known)
    return Expectation(
        landmarks.astype(np.float32), weights.astype(np.float32), mean, np.asarray(shares, dtype=np.float32)
    )


def stand_in(
    items: Learned,
    cold: NDArray[np.intp],
    expectation: Expectation,
    scales: Floats,
    groups: Groups,
    degree: int,
) -> None:
    """Overwrite what is held of cold items by what is expected of them.

    Their own parts only say whom they are like. Maps that were trained on few items fit those items too well to be
    trusted with other parts: on wines, own parts under such maps cost a third of the NDCG of cold items.

    Parameters
    ----------
    items : Learned
        Items, of which the cold ones are overwritten.
    cold : ndarray of int of shape (n_cold,)
        Their rows.
    expectation : Expectation
        From `expect`.
    scales : ndarray of shape (n_parts,)
        What the parts were multiplied by.
    groups : sequence of sequence of int
        The parts of each modality.
    degree : int
        As in `expect`.
    """
    width = items.embedding.shape[1]
    widths = [len(group) * items.parts.shape[2] for group in groups]
    landmarks = np.split(expectation.landmarks, np.cumsum(widths)[:-1], axis=1) if widths else []
    for rows in np.array_split(cold, -(-len(cold) // ROWS_AT_ONCE)) if len(cold) else ():
        expected = np.broadcast_to(expectation.mean, (len(rows), len(expectation.mean))).copy()
        of_rows = directions(items.parts[rows], scales, groups)
        for share, ours, known in zip(expectation.shares, of_rows, landmarks, strict=True):
            expected += share * (_kernel(ours, known, degree) @ expectation.weights)
        items.embedding[rows], items.bias[rows] = expected[:, :width], expected[:, width]
        items.parts[rows] = expected[:, width + 1 :].reshape(items.parts[rows].shape)
        items.present[rows] = True


def _kernel(a: Floats, b: Floats, degree: int) -> Floats:
    """Likeness of rows of length 1; a row of zeros, an item without the modality, is like none."""
    likeness: Floats = ((1 + a @ b.T) / 2) ** degree
    likeness *= np.outer(a.any(axis=1), b.any(axis=1))
    return likeness


def _mixed(kernels: Sequence[Floats], shares: Floats) -> Floats:
    total = np.zeros_like(kernels[0])
    for share, kernel in zip(shares, kernels, strict=True):
        total += share * kernel
    return total


def _balanced(kernels: Sequence[Floats], targets: Floats, metric: Floats, alpha: float) -> Floats:
    """Find how much each kernel should count: steps towards one of them, as long as the error falls."""
    shares = np.full(len(kernels), 1 / len(kernels))
    error = _left_out_error(kernels, shares, targets, metric, alpha)
    for step in STEPS:
        falls = True
        while falls:
            moved = [(1 - step) * shares + step * one for one in np.eye(len(kernels))]
            errors = [_left_out_error(kernels, each, targets, metric, alpha) for each in moved]
            if falls := min(errors) < error:
                shares, error = moved[int(np.argmin(errors))], min(errors)
    return shares


def _left_out_error(kernels: Sequence[Floats], shares: Floats, targets: Floats, metric: Floats, alpha: float) -> float:
    """Mean squared error of what kernel ridge regression expects of each row if it is left out, in the closed form."""
    gram = _mixed(kernels, shares)
    inverse: Floats = linalg.inv(gram + alpha * np.eye(len(gram)))
    residuals = (inverse @ (targets - targets.mean(axis=0))) / np.diag(inverse)[:, None]
    return float(np.einsum("nd,de,ne->", residuals, metric, residuals)) / len(gram)
