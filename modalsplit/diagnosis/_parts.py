"""Measures of the parts: rank, size, what they predict, what they leak."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import Ridge, RidgeCV

from modalsplit.diagnosis._sample import Floats, Rows
from modalsplit.evaluate import hsic

PENALTIES = np.logspace(-2, 5, 8)


class Gaps(NamedTuple):
    """Errors of one shared map, as a share of the primitives' variance: 1 is that of predicting the mean.

    Attributes
    ----------
    common : float
        L_c of the paper (Eq. 5).
    primitive : float
        L_p (Eq. 8).
    specific : float
        L_s (Eq. 9, with the primitive as target).
    """

    common: float
    primitive: float
    specific: float

    def are_ordered(self) -> bool:
        """Tell whether L_c <= L_p < L_s, the former up to rounding.

        Returns
        -------
        bool
            True if they are.
        """
        return self.common <= self.primitive + 1e-6 * abs(self.primitive) and self.primitive < self.specific

    def are_disordered(self) -> bool:
        """Tell whether the order is wrong by more than 2 % of the largest gap.

        Returns
        -------
        bool
            True if it is; gaps that differ by less are neither ordered nor disordered.
        """
        slack = 0.02 * max(abs(gap) for gap in self)
        return self.common > self.primitive + slack or self.primitive > self.specific + slack


def effective_rank(part: Floats) -> float:
    """Count the directions in which a part varies, each by how much it does.

    exp(-Σ p log p), where p are the eigenvalues of the covariance, divided by their sum.

    Parameters
    ----------
    part : ndarray of shape (n_rows, n_components)
        Centred.

    Returns
    -------
    float
        1 to n_components; 0 if it does not vary.

    References
    ----------
    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    variances = np.linalg.svd(part, compute_uv=False) ** 2
    if not variances.sum() > 0:
        return 0.0
    shares = variances / variances.sum()
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def variance(part: Floats) -> float:
    """Sum the variances of a part's columns.

    Parameters
    ----------
    part : ndarray of shape (n_rows, n_components)
        Centred.

    Returns
    -------
    float
        0 or more.
    """
    return float(np.sum(part**2) / len(part))


def residual_share(primitive: tuple[Floats, Floats], specific: tuple[Floats, Floats]) -> float:
    """Share of the covariance between two modalities that the specific parts still carry, without bias.

    Parameters
    ----------
    primitive : pair of ndarray of shape (n_rows, n_components)
        Of two modalities.
    specific : pair of ndarray of shape (n_rows, n_components)
        Of the same.

    Returns
    -------
    float
        About 0 (best) to 1; NaN if the modalities share nothing.
    """
    whole = hsic(*primitive)
    if whole <= 0:
        return float("nan")
    return (hsic(specific[0], primitive[1]) + hsic(specific[1], primitive[0])) / (2 * whole)


def predicted_share(source: Floats, target: Floats, train: Rows, test: Rows) -> float:
    """R² of a matrix as predicted from another by ridge regression, on held-out rows.

    Columns of the source are brought to unit variance, so that a trace counts however small it is. The
    penalty is chosen by leave-one-out on the training rows.

    Parameters
    ----------
    source : ndarray of shape (n_rows, n_components)
        What predicts.
    target : ndarray of shape (n_rows, n_columns)
        What is predicted; its columns count by their variance.
    train, test : ndarray of int
        Rows that fit and rows that judge.

    Returns
    -------
    float
        1 is perfect, 0 is as good as the mean; somewhat less than 0 by chance.
    """
    sizes = source[train].std(axis=0)
    varies = sizes > 0
    if not varies.any():
        return 0.0
    scaled = source[:, varies] / sizes[varies]
    ridge = RidgeCV(alphas=PENALTIES).fit(scaled[train], target[train])
    error = np.sum((target[test] - ridge.predict(scaled[test]).reshape(len(test), -1)) ** 2)
    return float(1 - error / np.sum((target[test] - target[train].mean(axis=0)) ** 2))


def translation_gaps(
    common: tuple[Floats, Floats],
    specific: tuple[Floats, Floats],
    primitive: tuple[Floats, Floats],
    train: Rows,
    test: Rows,
) -> Gaps:
    """Translate common, primitive and specific parts by one map, which is fitted on the common parts.

    Parameters
    ----------
    common, specific, primitive : pair of ndarray of shape (n_rows, n_components)
        Of two modalities.
    train, test : ndarray of int
        Rows that fit the map and rows that judge.

    Returns
    -------
    Gaps
        Errors in predicting the other modality's primitive, both ways together.

    References
    ----------
    Han et al., WWW 2022, Eq. 4 to 9; the map is ridge regression in place of a network.
    """
    errors, whole = np.zeros(3), 0.0
    for a, b in ((0, 1), (1, 0)):
        target = primitive[b]
        scale = np.sqrt(np.mean(common[a] ** 2)) or 1.0
        shared_map = Ridge(alpha=1.0).fit(common[a][train] / scale, target[train])
        for i, part in enumerate((common[a], primitive[a], specific[a])):
            errors[i] += np.sum((target[test] - shared_map.predict(part[test] / scale)) ** 2)
        whole += float(np.sum((target[test] - target[train].mean(axis=0)) ** 2))
    return Gaps(*(float(error) for error in errors / (whole or 1.0)))
