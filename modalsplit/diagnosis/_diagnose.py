"""One call that judges a fitted encoder on data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from modalsplit.diagnosis._gather import gather
from modalsplit.diagnosis._probes import probe_factors, probe_labels
from modalsplit.diagnosis._report import Diagnosis, report
from modalsplit.diagnosis._sample import FEWEST_ROWS, take_sample


def diagnose(
    encoder: Any,
    X: Any,
    y: Any = None,
    *,
    labels: ArrayLike | None = None,
    factors: Any = None,
    n_permutations: int = 200,
    max_rows: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> Diagnosis:
    """Judge a fitted encoder on data: what the parts hold, what is wrong and what to change.

    Everything is measured on the items that have all modalities. New items judge harder than those of fit,
    on which the closed form leaves no linear trace in the specific parts by construction.

    Parameters
    ----------
    encoder : DisentangledModalityEncoder
        Fitted; or any object with its method ``parts(X, y)``. What the encoder says of its fit, such as
        ``canonical_correlations_``, is compared with, where it is there.
    X, y : array-like or DataFrame
        The modalities, as for ``encoder.parts``. If both are DataFrames, their indexes are compared, and rows in
        another order are found for certain.
    labels : array-like of shape (n_items,), optional
        Classes of the items: probes read them from each part.
    factors : pair (shared, private) or mapping, optional
        Known factors, as `make_modalities` plants them: ``shared`` is a matrix and ``private`` a sequence of
        matrices, one a modality; in a mapping also ``private_img``, ``private_txt`` and so on. Gives D and
        D_strict.
    n_permutations : int, default=200
        Random orders of every permutation test. The time is proportional.
    max_rows : int, default=1000
        Rows of the measures that compare every row with every other: CKA, HSIC and retrieval.
    random_state : int, RandomState or None, default=None
        Of permutations, folds and subsets of rows.

    Returns
    -------
    Diagnosis
        Print it, or use ``ok``, ``findings``, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ValueError
        If a modality is missing or constant, fewer than 20 items are complete, `labels` or `factors` do
        not fit the items, or `n_permutations` or `max_rows` is too small.

    See Also
    --------
    modalsplit.evaluate.disentanglement_score : D and D_strict alone.

    Notes
    -----
    May change: codes of findings stay, their thresholds and sentences may not.

    L_c, L_p and L_s are the errors of one ridge regression, fitted on the common parts and applied to common
    parts, primitives and specific parts. For an exact split L_c = L_p, because the map is zero where the common
    part is: the order to expect is L_c <= L_p < L_s.

    Examples
    --------
    >>> from modalsplit import DisentangledModalityEncoder, diagnose
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(400, n_features=(60, 40), random_state=0)
    >>> encoder = DisentangledModalityEncoder(30, objective="cca", random_state=0).fit(data.X_img, data.X_txt)
    >>> diagnose(encoder, data.X_img, data.X_txt, n_permutations=100, random_state=0).ok
    True
    >>> report = diagnose(encoder, data.X_img, data.X_txt[::-1], n_permutations=100, random_state=0)
    >>> report.findings[0].code
    'reversed-rows'
    """
    if n_permutations < 1 or max_rows < FEWEST_ROWS:
        raise ValueError(
            f"n_permutations={n_permutations} and max_rows={max_rows}, but a test needs 1 permutation and "
            f"{FEWEST_ROWS} rows at least."
        )
    rng = check_random_state(random_state)
    sample = take_sample(encoder, X, y, rng)
    evidence = gather(encoder, sample, X, y, n_permutations, max_rows, rng)
    if labels is not None:
        evidence = replace(evidence, probes=probe_labels(sample, labels, rng))
    if factors is not None:
        evidence = replace(evidence, factors=probe_factors(sample, factors, rng))
    return report(evidence)
