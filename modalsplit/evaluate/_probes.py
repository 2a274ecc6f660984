"""What can be read from the common and the specific parts, when the factors are known."""

# ruff: noqa: N815 -- cS, cP, sP and sS are the names of the probes

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

NOISE = 0.1
SMALLEST_DIRECTION = 1e-5


class DisentanglementScore(NamedTuple):
    """The two scores and the eight probes behind them.

    Attributes
    ----------
    D : float
        ½(cS - cP + sP - sS), where a part's directions of negligible variance do not count. -1 to 1;
        1 is perfect, 0 is no disentanglement.
    D_strict : float
        The same of the strict probes: any linear trace counts, however small. -1 to 1; 1 is perfect.
    cS, cP, sP, sS : float
        R² of a probe, 0 to 1: the shared (S) or the private (P) factors read from the common (c) or the
        specific (s) part, averaged over the modalities.
    cS_strict, cP_strict, sP_strict, sS_strict : float
        The same of the strict probes.
    """

    D: float
    D_strict: float
    cS: float
    cP: float
    sP: float
    sS: float
    cS_strict: float
    cP_strict: float
    sP_strict: float
    sS_strict: float


def disentanglement_score(
    common: Sequence[ArrayLike],
    specific: Sequence[ArrayLike],
    shared: ArrayLike,
    private: Sequence[ArrayLike],
    *,
    test_size: float = 0.25,
    random_state: int | np.random.RandomState | None = None,
) -> DisentanglementScore:
    """Score how well common and specific parts separate factors that are known.

    A ridge regression reads each block of factors from each part; its R² on held-out rows, clipped to
    0 to 1, says how much of the factors the part shows. Good parts show what they should and nothing
    else: ½(cS - cP + sP - sS) is 1.

    A part can hide what it should not contain by shrinking it, so there are two scores and both belong
    in a report. For ``D`` the part is centred, scaled by one scalar to unit root mean square and gets
    Gaussian noise of standard deviation 0.1: directions of negligible variance do not count. For
    ``D_strict`` the part is whitened, in the principal directions above 1e-5 of its largest singular
    value, and gets no noise: whatever a ``StandardScaler`` downstream would bring back counts.

    Parameters
    ----------
    common : sequence of n_modalities array-like of shape (n_samples, n_components)
        The common part of each modality.
    specific : sequence of n_modalities array-like of shape (n_samples, n_components)
        The specific part of each modality.
    shared : array-like of shape (n_samples, n_shared)
        Factors that all modalities show.
    private : sequence of n_modalities array-like of shape (n_samples, n_private)
        Factors that one modality alone shows, for each modality.
    test_size : float, default=0.25
        Share of the rows that judge the probes. The others fit them.
    random_state : int, RandomState or None, default=None
        Of the split and of the noise.

    Returns
    -------
    DisentanglementScore
        ``D``, ``D_strict`` and the probes. A part that is zero up to the rounding of common + specific
        shows nothing: its probes are 0.

    Raises
    ------
    ValueError
        If `common`, `specific` and `private` do not have the same number of modalities.

    See Also
    --------
    modalsplit.datasets.make_modalities : Makes such data.

    Examples
    --------
    >>> from modalsplit.datasets import make_modalities
    >>> from modalsplit.evaluate import disentanglement_score
    >>> data = make_modalities(500, random_state=0)
    >>> private = (data.private_img, data.private_txt)
    >>> common = (data.shared, data.shared)
    >>> perfect = disentanglement_score(common, private, data.shared, private, random_state=0)
    >>> round(perfect.D, 2), round(perfect.D_strict, 2)
    (0.99, 1.0)
    """
    if not len(common) == len(specific) == len(private):
        raise ValueError(
            f"common, specific and private have {len(common)}, {len(specific)} and {len(private)} "
            "modalities. Pass one matrix a modality in each, such as common=(common_img, common_txt)."
        )
    rng = check_random_state(random_state)
    shared = np.asarray(shared, dtype=float)
    rows = train_test_split(np.arange(len(shared)), test_size=test_size, random_state=rng)
    probes = []
    for c, s, p in zip(common, specific, private, strict=True):
        factors = (shared, np.asarray(p, dtype=float))
        probes.append([_read(part, factors, rows, rng) for part in _without_rounding_error(c, s)])
    (cS, cP), (sS, sP) = (pair.T for pair in np.mean(probes, axis=0))  # each: noisy, strict
    noisy, strict = 0.5 * (cS - cP + sP - sS)
    return DisentanglementScore(*map(float, (noisy, strict, *np.transpose([cS, cP, sP, sS]).ravel())))


def _without_rounding_error(common: ArrayLike, specific: ArrayLike) -> list[Floats]:
    """Centre the parts; one that is only what rounding left of a difference becomes zero."""
    parts = [np.asarray(part) for part in (common, specific)]
    eps = max(np.finfo(np.result_type(part, np.float32)).eps for part in parts)
    centred = [np.asarray(part - part.mean(axis=0), dtype=float) for part in parts]
    whole = np.sqrt(sum(np.mean(part**2) for part in centred))
    return [part if np.sqrt(np.mean(part**2)) > 8 * eps * whole else np.zeros_like(part) for part in centred]


def _read(part: Floats, factors: Sequence[Floats], rows: tuple[Rows, Rows], rng: Any) -> list[list[float]]:
    """R² of both blocks of factors from the noisy and from the whitened part: rows are versions."""
    train, test = rows
    versions = (_noisy(part, rng), _whitened(part, train))
    return [[_probe(version, block, train, test) for block in factors] for version in versions]


def _noisy(part: Floats, rng: Any) -> Floats:
    size = np.sqrt(np.mean(part**2)) or 1.0
    noise: Floats = rng.standard_normal(part.shape)
    return part / size + NOISE * noise


def _whitened(part: Floats, train: Rows) -> Floats:
    _, sizes, directions = np.linalg.svd(part[train] - part[train].mean(axis=0), full_matrices=False)
    kept = sizes > SMALLEST_DIRECTION * sizes[0]
    whitening: Floats = directions[kept].T / sizes[kept] * np.sqrt(len(train))
    return part @ whitening


def _probe(part: Floats, block: Floats, train: Rows, test: Rows) -> float:
    if part.shape[1] == 0:
        return 0.0
    ridge = Ridge().fit(part[train], block[train])
    return float(np.clip(r2_score(block[test], ridge.predict(part[test])), 0, 1))
