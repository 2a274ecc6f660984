"""What rows that were not trained on say of the parts that an objective gives."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import Disentangler, pairwise_correlations, residual_share
from modalsplit.objectives._network import ROWS_A_BLOCK, Rows

# Directions below this share of the largest singular value are no part of the rank.
SMALLEST_DIRECTION = 1e-5
# Of the regression from common parts, as a share of their mean variance.
RIDGE = 1e-3


class PartsVerdict(NamedTuple):
    """The diagnostics of `Fitted`, in its order.

    Attributes
    ----------
    rank : int
        Numerical rank of the first modality's common part, on all rows.
    correlations : Tensor of shape (n_components,)
        Of column k of the common parts, on held-out rows, averaged over pairs of modalities.
    translation_error : float
        Squared error of a modality's primitive on held-out rows, as ridge regression predicts it from the common
        part of another one, as a share of its mean square; averaged over ordered pairs. NaN if no row was held out.
    residual_share : float
        On all rows, averaged over pairs.
    """

    rank: int
    correlations: Tensor
    translation_error: float
    residual_share: float


def judge_parts(module: Disentangler, rows: Rows) -> PartsVerdict:
    """Judge the parts of an encoder whose common parts may have any rank.

    Parameters
    ----------
    module : Disentangler
        The encoder, float64.
    rows : Rows
        What it was fitted on, and what was held out.

    Returns
    -------
    PartsVerdict
        The diagnostics.
    """
    parts = [_parts(module, view, modality) for modality, view in enumerate(rows.views)]
    common, specific = ([part[k] for part in parts] for k in (0, 1))
    primitive = [c + s for c, s in parts]
    every = torch.arange(len(rows.present), device=rows.present.device)
    pairs = list(combinations(range(len(parts)), 2))
    correlations, residuals = [], []
    for i, j in pairs:
        both, unseen = rows.both(i, j, every), rows.both(i, j, rows.held_out)
        residuals.append(
            residual_share((primitive[i][both], primitive[j][both]), (specific[i][both], specific[j][both]))
        )
        if len(unseen):
            correlations.append(pairwise_correlations(common[i][unseen], common[j][unseen]))
    errors = [
        _translation_error(common[i], primitive[j], rows.both(i, j, rows.train), rows.both(i, j, rows.held_out))
        for i, j in permutations(range(len(parts)), 2)
    ]
    width = common[0].shape[1]
    return PartsVerdict(
        rank=_rank(common[0][rows.present[:, 0]]),
        correlations=torch.stack(correlations).mean(0) if correlations else common[0].new_zeros(width),
        translation_error=float(torch.stack(errors).nanmean()),
        residual_share=float(torch.stack(residuals).nanmean()),
    )


def _parts(module: Disentangler, view: Tensor, modality: int) -> tuple[Tensor, Tensor]:
    blocks = [module(block.double(), modality) for block in torch.split(view, ROWS_A_BLOCK)]
    return torch.cat([common for common, _ in blocks]), torch.cat([specific for _, specific in blocks])


def _rank(common: Tensor) -> int:
    if not len(common):
        return 0
    return int(torch.linalg.matrix_rank(common - common.mean(0), rtol=SMALLEST_DIRECTION))


def _translation_error(common: Tensor, target: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    if not len(train) or not len(held_out):
        return common.new_full((), torch.nan)
    c, y = common[train] - common[train].mean(0), target[train] - target[train].mean(0)
    covariance = c.T @ c / len(train)
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=c.dtype, device=c.device)
    # The pseudo-inverse, because a common part without variance has a covariance of 0.
    coefficients = torch.linalg.pinv(covariance + ridge, hermitian=True) @ (c.T @ y / len(train))
    c, y = common[held_out] - common[train].mean(0), target[held_out] - target[train].mean(0)
    share: Tensor = (y - c @ coefficients).square().mean() / y.square().mean().clamp(min=torch.finfo(y.dtype).tiny)
    return share
