"""How many columns the parts need: the directions that are shared, and the effective rank of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor

from modalsplit.nn import Moments, effective_rank
from modalsplit.objectives._closed_form import Anchored, anchor, best_width, common_directions
from modalsplit.objectives._fitted import Settings
from modalsplit.objectives._judge import judge
from modalsplit.objectives._stored import Matrix

N_PERMUTATIONS = 5


def automatic_width(views: Sequence[Matrix], settings: Settings) -> int:
    """Choose the number of components.

    The common directions are those whose canonical correlation on held-out rows is above the largest of five
    permutations of the rows of one modality. Each modality's effective rank of what these leave, less the median
    variance as noise, says how many columns the specific parts need; the widest decides.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        One a modality; NaN in rows that lack it. Of a store, the rows at hand decide.
    settings : Settings
        ``n_components`` is the most that can be had.

    Returns
    -------
    int
        Columns of each part, 1 to the most.

    References
    ----------
    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    # With a ridge of 1 the variances of the components can be had back from the anchors.
    anchored = anchor(views, replace(settings, ridge=1.0))
    width, _ = best_width(anchored)
    features = anchored.leading(width)
    ranks = {pair: _supported(features, anchored, pair) for pair in combinations(range(len(views)), 2)}
    moments = Moments([x.shape[1] for x in features]).add(features, anchored.present)
    directions = common_directions(moments, ranks)
    rest = max(
        _rank_of_rest(scores.double(), direction, int(have.sum()))
        for scores, direction, have in zip(anchored.scores, directions, anchored.present.T, strict=True)
    )
    return max(1, min(settings.n_components, directions[0].shape[1] + math.ceil(rest)))


def _supported(features: Sequence[Tensor], anchored: Anchored, pair: tuple[int, int]) -> int:
    """Count the leading correlations above those of permuted rows."""
    settings, present = anchored.settings, anchored.present[:, list(pair)]
    a, b = (features[m] for m in pair)

    def correlations(order: Tensor) -> Tensor:
        shuffled = torch.stack([present[:, 0], present[order, 1]], dim=1)
        candidates = [[a, b[order]]] * len(anchored.folds)
        targets = [a[:, :1], b[order, :1]]
        verdict = judge(candidates, targets, shuffled, anchored.folds, settings.n_components, None)
        return verdict.correlations

    n, device = len(present), settings.generator.device
    null = [
        correlations(torch.randperm(n, generator=settings.generator, device=device).to(a.device))
        for _ in range(N_PERMUTATIONS)
    ]
    highest = max((float(c.max()) for c in null if len(c)), default=0.0)
    return int((correlations(torch.arange(n, device=a.device)) > highest).long().cumprod(0).sum())


def _rank_of_rest(scores: Tensor, direction: Tensor, n_rows: int) -> float:
    """Effective rank of the principal components less the common directions."""
    share = scores.square().sum(0) / n_rows
    components = scores / (1 - share).clamp(min=1e-6).sqrt()
    common = scores[:, : len(direction)] @ direction[:, direction.any(0)]
    if common.shape[1]:
        basis = torch.linalg.qr(common).Q
        components = components - basis @ (basis.T @ components)
    variances = torch.linalg.eigvalsh(components.T @ components / n_rows)
    # Noise is spread over all columns: what more than half of them have is taken for it.
    return float(effective_rank(variances - variances.median()))
