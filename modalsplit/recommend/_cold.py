"""What is expected of an item that nobody took, from its parts: kernel ridge regression on the items that were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from modalsplit.recommend._learned import Learned

Floats = NDArray[np.floating[Any]]
Groups = Sequence[Sequence[int]]
MOST_LANDMARKS = 3000  # of more items, those taken most: of them most is known
MOST_WEIGHED = 500  # enough to weigh modalities by
STEPS = (0.5, 0.25, 0.125, 0.0625)
ROWS_AT_ONCE = 512


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
    shares : ndarray of shape (n_modalities,)
        How much each modality counts in a direction; they sum to 1.
    """

    landmarks: Floats
    weights: Floats
    mean: Floats
    shares: Floats


def directions(parts: Floats, scales: Floats, groups: Groups) -> list[Floats]:
    """Bring each modality to length 1, its parts in the proportions that the encoder gave them.

    The size of a part says how much it tells apart: one of four directions must not count as much as one of sixty. The
    size of a modality says nothing: it has as many directions as its features happened to have.

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
    items: Learned,
    trained: NDArray[np.intp],
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
    items : Learned
        All items.
    trained : ndarray of int of shape (n,)
        Rows of those with interactions.
    scales : ndarray of shape (n_parts,)
        What their parts were multiplied by.
    groups : sequence of sequence of int
        The parts of each modality.
    degree : int
        Of the kernel ((1 + cosine) / 2)^degree.
    alpha : float
        Ridge: noise variance beside a signal of 1.
    vectors : ndarray of shape (n_items, n_components)
        All items as users see them, parts fused; their embeddings where each user fuses parts otherwise.
    users : ndarray of shape (n_users, n_components)
        Users.
    taken : ndarray of int of shape (n,)
        How many took each item.

    Returns
    -------
    Expectation
        Of vectors, biases and parts, side by side. Without landmarks if there are no parts.
    """
    columns = vectors, items.bias[:, None], items.parts.reshape(len(vectors), -1)
    mean = np.hstack([_mean(each, trained) for each in columns])
    if not items.parts.size:
        nothing = np.zeros((0, len(mean)), dtype=mean.dtype)
        return Expectation(nothing[:, :0], nothing, mean, np.ones(0, dtype=np.float32))
    chosen = trained[np.argsort(-taken, kind="stable")[:MOST_LANDMARKS]]
    known = directions(items.parts[chosen], scales, groups)
    learned = np.hstack([each[chosen] for each in columns])
    shares: Floats = np.ones(1)
    if len(groups) > 1:
        few = slice(None, None, -(-len(chosen) // MOST_WEIGHED))
        likings, liking = users.T @ users / len(users), users.mean(axis=0)[:, None]
        metric = np.block([[likings, liking], [liking.T, np.ones((1, 1))]])  # of errors of vector and bias
        targets = learned[few, : len(metric)].astype(np.float64)
        shares = _balanced([x[few] @ x[few].T for x in known], targets, metric, degree, alpha)
    landmarks = _weighed(known, shares)
    del known  # memory is needed for the next step
    gram = _kernel(landmarks @ landmarks.T, degree)
    landmarks = landmarks.astype(np.float32)
    gram[np.diag_indices(len(gram))] += alpha
    learned -= mean
    # The transpose, which is the same matrix, lies in memory as LAPACK wants it, and needs no copy.
    weights: Floats = linalg.solve(gram.T, learned, assume_a="pos", overwrite_a=True)
    return Expectation(landmarks, weights.astype(np.float32), mean, np.asarray(shares, dtype=np.float32))


def _mean(values: Floats, rows: NDArray[np.intp]) -> Floats:
    """Average some rows without a copy of all of them."""
    total = np.zeros(values.shape[1])
    for some in gen_batches(len(rows), ROWS_AT_ONCE):
        total += values[rows[some]].sum(axis=0, dtype=np.float64)
    mean: Floats = (total / len(rows)).astype(values.dtype)
    return mean


def stand_in(
    items: Learned,
    cold: NDArray[np.intp],
    expectation: Expectation,
    scales: Floats,
    groups: Groups,
    degree: int,
) -> None:
    """Overwrite what is held of cold items by what is expected of them: embeddings by the vectors of `expect`.

    Their own parts only say whom they are like. Maps that were trained on few items fit those items too well to be
    trusted with other parts: on wines, own parts under such maps cost a third of the NDCG of cold items. What is expected
    of the parts of an embedding is not expected of the whole either, because attention is not linear.

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
    for rows in np.array_split(cold, -(-len(cold) // ROWS_AT_ONCE)) if len(cold) else ():
        of_rows = _weighed(directions(items.parts[rows], scales, groups), expectation.shares)
        expected = np.broadcast_to(expectation.mean, (len(rows), len(expectation.mean))).copy()
        says = of_rows.any(axis=1)
        expected[says] += _kernel(of_rows[says] @ expectation.landmarks.T, degree) @ expectation.weights
        items.embedding[rows], items.bias[rows] = expected[:, :width], expected[:, width]
        items.parts[rows] = expected[:, width + 1 :].reshape(items.parts[rows].shape)
        items.present[rows] = True


def _weighed(of_modalities: Sequence[Floats], shares: Floats) -> Floats:
    """Put modalities side by side so that a product of rows is the mean of their cosines."""
    weighed = [np.sqrt(share) * x for share, x in zip(shares, of_modalities, strict=True)]
    return np.hstack(weighed) if weighed else np.zeros((0, 0))


def _kernel(cosines: Floats, degree: int) -> Floats:
    """Turn cosines into likeness, in their place."""
    cosines += 1
    cosines /= 2
    return np.power(cosines, degree, out=cosines)


def _balanced(cosines: Sequence[Floats], targets: Floats, metric: Floats, degree: int, alpha: float) -> Floats:
    """Find how much each modality should count: steps towards one of them, as long as the error falls."""
    shares = np.full(len(cosines), 1 / len(cosines))

    def error_of(tried: Floats) -> float:
        mixed = np.einsum("m,mij->ij", tried, np.stack(cosines))
        return _left_out_error(_kernel(mixed, degree), targets, metric, alpha)

    error = error_of(shares)
    for step in STEPS:
        falls = True
        while falls:
            moved = [(1 - step) * shares + step * one for one in np.eye(len(cosines))]
            errors = [error_of(each) for each in moved]
            if falls := min(errors) < error:
                shares, error = moved[int(np.argmin(errors))], min(errors)
    return shares


def _left_out_error(gram: Floats, targets: Floats, metric: Floats, alpha: float) -> float:
    """Mean squared error of what kernel ridge regression expects of each row if it is left out, in the closed form."""
    inverse: Floats = linalg.inv(gram + alpha * np.eye(len(gram)))
    residuals = (inverse @ (targets - targets.mean(axis=0))) / np.diag(inverse)[:, None]
    return float(np.einsum("nd,de,ne->", residuals, metric, residuals)) / len(gram)
