"""What is expected of an item that nobody took, from its parts: kernel ridge regression on the items that were taken."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from modalsplit.recommend._learned import Learned

Floats = NDArray[np.floating[Any]]
MOST_LANDMARKS = 1000  # of more items, so many stand for all (Nyström)
ROWS_AT_ONCE = 4096
JITTER = 1e-6  # beside a kernel whose diagonal is 1


class Expectation(NamedTuple):
    """A regression from the direction of an item's parts to what training would learn of it.

    Attributes
    ----------
    landmarks : ndarray of shape (n_landmarks, n_parts * width)
        Directions of trained items.
    weights : ndarray of shape (n_landmarks, n_learned)
        What likeness to each of them adds.
    mean : ndarray of shape (n_learned,)
        The mean trained item, which is expected where content says nothing.
    """

    landmarks: Floats
    weights: Floats
    mean: Floats


def directions(parts: Floats, scales: Floats) -> Floats:
    """Bring items to length 1, their parts in the proportions that the encoder gave them.

    The size of a part says how much it tells apart: one of four directions must not count as much as one of sixty.

    Parameters
    ----------
    parts : ndarray of shape (n, n_parts, width)
        Parts, scaled.
    scales : ndarray of shape (n_parts,)
        What they were multiplied by.

    Returns
    -------
    ndarray of shape (n, n_parts * width)
        Rows of length 1, or 0.
    """
    sizes = np.where(scales > 0, scales, 1)[:, None]
    flat = (parts / sizes).reshape(len(parts), parts.shape[1] * parts.shape[2])
    unit: Floats = normalize(flat.astype(np.float64)) if flat.size else flat
    return unit


def expect(trained: Learned, scales: Floats, degree: int, alpha: float, seed: int) -> Expectation:
    """Fit the regression.

    Parameters
    ----------
    trained : Learned
        Items with interactions.
    scales : ndarray of shape (n_parts,)
        What their parts were multiplied by.
    degree : int
        Of the kernel ((1 + cosine) / 2)^degree.
    alpha : float
        Ridge: noise variance beside a signal of 1.
    seed : int
        Chooses the landmarks.

    Returns
    -------
    Expectation
        Without landmarks if there are no parts.
    """
    known = directions(trained.parts, scales)
    learned = np.hstack([trained.embedding, trained.bias[:, None], trained.parts.reshape(len(known), -1)])
    mean = learned.mean(axis=0)
    if not known.size:
        return Expectation(known[:0], learned[:0], mean)
    n_landmarks = min(MOST_LANDMARKS, len(known))
    landmarks = known[np.sort(np.random.default_rng(seed).permutation(len(known))[:n_landmarks])]
    gram = alpha * _kernel(landmarks, landmarks, degree)
    moments = np.zeros((n_landmarks, len(mean)))
    for rows in gen_batches(len(known), ROWS_AT_ONCE):
        likeness = _kernel(known[rows], landmarks, degree)
        gram += likeness.T @ likeness
        moments += likeness.T @ (learned[rows] - mean)
    gram[np.diag_indices(n_landmarks)] += JITTER * len(known)
    weights = linalg.solve(gram, moments, assume_a="pos").astype(np.float32)
    return Expectation(landmarks.astype(np.float32), weights, mean)


def stand_in(items: Learned, cold: NDArray[np.intp], expectation: Expectation, scales: Floats, degree: int) -> None:
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
    degree : int
        As in `expect`.
    """
    width = items.embedding.shape[1]
    for rows in np.array_split(cold, -(-len(cold) // ROWS_AT_ONCE)) if len(cold) else ():
        of_rows = directions(items.parts[rows], scales)
        expected = np.broadcast_to(expectation.mean, (len(rows), len(expectation.mean))).copy()
        says = of_rows.any(axis=1)
        expected[says] += _kernel(of_rows[says], expectation.landmarks, degree) @ expectation.weights
        items.embedding[rows], items.bias[rows] = expected[:, :width], expected[:, width]
        items.parts[rows] = expected[:, width + 1 :].reshape(items.parts[rows].shape)
        items.present[rows] = True


def _kernel(a: Floats, b: Floats, degree: int) -> Floats:
    likeness: Floats = ((1 + a @ b.T) / 2) ** degree
    return likeness
