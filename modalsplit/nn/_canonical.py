"""The closed form: principal anchors of each modality, canonical directions between two."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from modalsplit.nn._encoder import Affine

# Wider modalities get their principal directions from a random sketch instead of the whole covariance.
WIDEST_EXACT = 2048
# Directions below this share of the largest eigenvalue are rounding errors.
NUMERICAL_RANK = 1e-9
ROWS_A_BLOCK = 4096


class Canonical(NamedTuple):
    """Pairs of directions, one in each modality, most correlated pair first.

    Attributes
    ----------
    left : Tensor of shape (n_left, n_pairs)
        Maps the first modality to its canonical variates, of unit variance.
    right : Tensor of shape (n_right, n_pairs)
        The same of the second modality.
    correlations : Tensor of shape (n_pairs,)
        Of the pairs on the rows they were computed from; 0 to 1.
    """

    left: Float[Tensor, "P K"]
    right: Float[Tensor, "Q K"]
    correlations: Float[Tensor, " K"]


def principal_anchors(
    x: Float[Tensor, "N P"], n_components: int, ridge: float, generator: torch.Generator
) -> tuple[Affine, Float[Tensor, " K"]]:
    """Find the ridge-whitened principal directions of one modality.

    The scores of direction k have variance λ_k / (λ_k + r · mean λ): directions of signal get about unit
    variance, directions of noise stay small. Plain whitening would make noise as large as signal.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        The modality, float32 or float64. It is read in blocks of rows and not copied.
    n_components : int
        How many directions, at most; fewer if the modality has fewer that vary.
    ridge : float
        The r above.
    generator : torch.Generator
        Draws the sketch of a wide modality.

    Returns
    -------
    anchors : Affine
        Maps rows to their K scores, float64.
    scale : Tensor of shape (K,)
        Multiplies the scores into principal components whose mean variance is 1.
    """
    mean = _mean(x)
    if min(x.shape) > WIDEST_EXACT:
        eigenvalues, directions = _sketched_directions(x, mean, n_components, generator)
    else:
        eigenvalues, directions = _exact_directions(x, mean)
    keep = eigenvalues > NUMERICAL_RANK * eigenvalues[0].clamp(min=torch.finfo(torch.float64).tiny)
    eigenvalues, directions = eigenvalues[keep][:n_components], directions[:, keep][:, :n_components]
    whitening = (eigenvalues + ridge * eigenvalues.mean()).sqrt()
    return Affine(mean, with_fixed_signs(directions) / whitening), whitening / eigenvalues.mean().sqrt()


def canonical_directions(a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"]) -> Canonical:
    """Find the canonical directions between two centred matrices.

    Parameters
    ----------
    a : Tensor of shape (n_rows, n_left)
        First modality, centred.
    b : Tensor of shape (n_rows, n_right)
        Second modality, centred.

    Returns
    -------
    Canonical
        As many pairs as the narrower matrix has directions that vary.

    References
    ----------
    Hotelling, Relations between two sets of variates, Biometrika 1936.
    """
    left, right = _whitening(a), _whitening(b)
    u, correlations, vt = torch.linalg.svd((a @ left).T @ (b @ right) / len(a), full_matrices=False)
    # The sign of a pair is free: fix it, so that equal data give equal parts.
    sign = _column_sign(left @ u)
    return Canonical(left @ u * sign, right @ vt.T * sign, correlations.clamp(0, 1))


def pairwise_correlations(u: Float[Tensor, "N K"], v: Float[Tensor, "N K"]) -> Float[Tensor, " K"]:
    """Correlate column k of one matrix with column k of the other.

    Parameters
    ----------
    u : Tensor of shape (n_rows, n_pairs)
        First matrix.
    v : Tensor of shape (n_rows, n_pairs)
        Second matrix.

    Returns
    -------
    Tensor of shape (n_pairs,)
        Correlations, -1 to 1; 0 where a column is constant.
    """
    u, v = u - u.mean(0), v - v.mean(0)
    size = (u.square().sum(0) * v.square().sum(0)).sqrt()
    return torch.where(size > 0, (u * v).sum(0) / size.clamp(min=torch.finfo(u.dtype).tiny), 0.0)


def with_fixed_signs(directions: Float[Tensor, "P K"]) -> Float[Tensor, "P K"]:
    """Flip directions, whose sign is free, so that equal data give equal results.

    Parameters
    ----------
    directions : Tensor of shape (n_columns, n_directions)
        Directions in the columns.

    Returns
    -------
    Tensor of shape (n_columns, n_directions)
        The same, with the largest entry of each positive.
    """
    return directions * _column_sign(directions)


def _mean(x: Tensor) -> Tensor:
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for block in torch.split(x, ROWS_A_BLOCK):
        total += block.sum(0, dtype=torch.float64)
    return total / len(x)


def _exact_directions(x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) < x.shape[1]:
        _, sizes, vt = torch.linalg.svd(x.double() - mean, full_matrices=False)
        return sizes.square() / len(x), vt.T
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for block in torch.split(x, ROWS_A_BLOCK):
        centred = block.double() - mean
        covariance += centred.T @ centred
    eigenvalues, directions = torch.linalg.eigh(covariance / len(x))
    return eigenvalues.flip(0).clamp(min=0), directions.flip(1)


def _sketched_directions(
    x: Tensor, mean: Tensor, n_components: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Leading principal directions by subspace iteration from a random start (Halko et al. 2011)."""
    n_sketch = min(n_components + 32, *x.shape)
    basis = torch.randn(x.shape[1], n_sketch, dtype=torch.float64, device=generator.device, generator=generator).to(
        x.device
    )
    for _ in range(4):
        basis = torch.linalg.qr(_covariance_times(x, mean, basis)).Q
    small = basis.T @ _covariance_times(x, mean, basis)
    eigenvalues, rotation = torch.linalg.eigh((small + small.T) / 2)
    return eigenvalues.flip(0).clamp(min=0), basis @ rotation.flip(1)


def _covariance_times(x: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    out: Tensor = torch.zeros_like(basis)
    for block in torch.split(x, ROWS_A_BLOCK):
        centred = block - mean.to(block.dtype)
        out += (centred.T @ (centred @ basis.to(block.dtype))).double()
    return out / len(x)


def _whitening(a: Tensor) -> Tensor:
    """Map to uncorrelated columns of unit variance; directions without variance are left out."""
    eigenvalues, directions = torch.linalg.eigh(a.T @ a / len(a))
    keep = eigenvalues > NUMERICAL_RANK * eigenvalues[-1].clamp(min=torch.finfo(a.dtype).tiny)
    whitening: Tensor = directions[:, keep] / eigenvalues[keep].sqrt()
    return whitening


def _column_sign(matrix: Tensor) -> Tensor:
    """Sign of each column's largest entry."""
    if matrix.numel() == 0:
        return matrix.new_ones(matrix.shape[1])
    largest = matrix.abs().argmax(dim=0, keepdim=True)
    sign: Tensor = matrix.gather(0, largest).sign().squeeze(0)
    return sign + (sign == 0)
