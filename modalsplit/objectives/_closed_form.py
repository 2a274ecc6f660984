"""``cca``: the closed form, rank-exact. Also the frame that `stable` puts its learned features into.

A candidate is a matrix of features for each modality. Its canonical directions are computed from training
rows; rows that were held out say how many of them are real, and how well the common part predicts the other
modality. In the closed form every row is held out once, by cross-validation. The best candidate is then
split on all rows, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modalsplit.nn import (
    Affine,
    Branch,
    Disentangler,
    canonical_directions,
    pairwise_correlations,
    principal_anchors,
    residual_share,
    with_fixed_signs,
)
from modalsplit.objectives._fitted import Fitted, Settings, Views

# Correlations on n unseen rows scatter around 0 with 1/sqrt(n) if there is nothing; 3 of these are a proof.
NULL_DEVIATIONS = 3.0
# A direction belongs to the common part if it is at least this share of the strongest correlation: corrected
# for how noisy the modalities are, more of it is then shared than not.
LEAST_SHARE = 0.5
# A more complicated candidate must be better by this many standard errors.
STANDARD_ERRORS = 2.0
# With fewer rows held out nothing can be judged.
FEWEST_HELD_OUT = 10


class Fold(NamedTuple):
    """Which rows compute and which judge."""

    train: Tensor
    held_out: Tensor


class Verdict(NamedTuple):
    """What unseen rows say of a candidate.

    Attributes
    ----------
    rank : int
        How many directions are common.
    correlations : Tensor of shape (n_pairs,)
        Of the canonical pairs, on held-out rows.
    errors : Tensor of shape (n_held_out,)
        Squared error of the other modality's anchors, predicted from the common part, averaged over both
        ways (Eq. 5), as a share of the anchors' mean square: 1 if nothing is predicted. Fold by fold.
    """

    rank: int
    correlations: Tensor
    errors: Tensor


class Anchored(NamedTuple):
    """Both modalities in their anchors, and how the rows are divided."""

    maps: tuple[Affine, Affine]
    scores: Views
    scales: Views
    folds: list[Fold]
    n_components: int

    def leading(self, width: int) -> Views:
        """Select the first anchors of each modality."""
        return self.scores[0][:, :width], self.scores[1][:, :width]


def fit_closed_form(views: Views, settings: Settings) -> Fitted:
    """Split two modalities by canonical directions: no training.

    Parameters
    ----------
    views : pair of Tensor of shape (n_rows, n_columns)
        Complete rows of both modalities.
    settings : Settings
        See there.

    Returns
    -------
    Fitted
        The encoder.

    References
    ----------
    Han et al., WWW 2022, Eq. 1 and 2, with Θ in closed form; Hotelling 1936.
    """
    anchored = anchor(views, settings)
    width, verdict = best_width(anchored, settings)
    record = {"translation_error": mean_error(verdict)}
    settings.on_epoch(record)
    return split_anchors(anchored, width, verdict, views, settings, history=[record])


def anchor(views: Views, settings: Settings) -> Anchored:
    """Map both modalities to their anchors, once, and divide the rows.

    Parameters
    ----------
    views : pair of Tensor of shape (n_rows, n_columns)
        Complete rows of both modalities.
    settings : Settings
        See there.

    Returns
    -------
    Anchored
        Anchors of up to twice `n_components` columns, float64.
    """
    maps, scales = zip(
        *(principal_anchors(x, 2 * settings.n_components, settings.ridge, settings.generator) for x in views),
        strict=True,
    )
    scores = tuple(anchors(x.double()) for anchors, x in zip(maps, views, strict=True))
    order = torch.randperm(len(views[0]), generator=settings.generator, device=settings.generator.device)
    parts = order.to(views[0].device).chunk(max(2, round(1 / settings.validation_fraction)))
    folds = [Fold(torch.cat([*parts[:k], *parts[k + 1 :]]), part) for k, part in enumerate(parts)]
    return Anchored(maps, (scores[0], scores[1]), scales, folds, settings.n_components)


def best_width(anchored: Anchored, settings: Settings) -> tuple[int, Verdict]:
    """Choose how many anchors the canonical directions are computed from.

    Few rows and many anchors make directions of chance; many rows and few anchors leave signal behind.

    Parameters
    ----------
    anchored : Anchored
        Both modalities.
    settings : Settings
        See there.

    Returns
    -------
    width : int
        The number of anchors.
    verdict : Verdict
        Of these.
    """
    d = settings.n_components
    most = max(scores.shape[1] for scores in anchored.scores)
    widths = dict.fromkeys(min(most, max(2, width)) for width in (d, d // 2, d // 4, 2 * d))
    width, *others = widths
    verdict = judge(anchored.leading(width), anchored, anchored.folds, settings)
    for other in others:
        challenger = judge(anchored.leading(other), anchored, anchored.folds, settings)
        if is_better(challenger, verdict):
            width, verdict = other, challenger
    return width, verdict


def judge(features: Views, anchored: Anchored, folds: Sequence[Fold], settings: Settings) -> Verdict:
    """Let held-out rows judge the canonical directions of a candidate.

    Parameters
    ----------
    features : pair of Tensor of shape (n_rows, n_features)
        The candidate.
    anchored : Anchored
        Whose leading anchors are to be predicted, the same for all candidates.
    folds : sequence of Fold
        Which rows compute and which judge.
    settings : Settings
        See there.

    Returns
    -------
    Verdict
        Rank, correlations and errors.
    """
    variates = [_held_out_variates(features, fold) for fold in folds]
    n_pairs = min(min(u.shape[1], v.shape[1]) for u, v in variates)
    rows = [
        torch.cat([pair[m][fold.held_out, :n_pairs] for pair, fold in zip(variates, folds, strict=True)])
        for m in (0, 1)
    ]
    correlations = pairwise_correlations(rows[0], rows[1])
    rank = common_rank(correlations, len(rows[0]), settings.n_components, settings.common_rank)
    targets = anchored.leading(anchored.n_components)
    errors = [
        (_prediction_errors(u[:, :rank], targets[1], fold) + _prediction_errors(v[:, :rank], targets[0], fold)) / 2
        for (u, v), fold in zip(variates, folds, strict=True)
    ]
    return Verdict(rank, correlations, torch.cat(errors))


def common_rank(correlations: Tensor, n_held_out: int, most: int, fixed: int | None) -> int:
    """Count the leading directions that unseen rows support.

    Parameters
    ----------
    correlations : Tensor of shape (n_pairs,)
        Of canonical pairs, on unseen rows.
    n_held_out : int
        How many rows these are.
    most : int
        Columns of a part.
    fixed : int or None
        The user's own choice.

    Returns
    -------
    int
        The rank; 0 if nothing is shared.
    """
    most = min(most, len(correlations))
    if fixed is not None:
        return min(fixed, most)
    if most == 0 or n_held_out < FEWEST_HELD_OUT:
        return 0
    least = max(NULL_DEVIATIONS * n_held_out**-0.5, LEAST_SHARE * float(correlations[0]))
    return int((correlations[:most] > least).long().cumprod(0).sum())


def is_better(challenger: Verdict, incumbent: Verdict) -> bool:
    """Tell whether a candidate predicts held-out rows better than another, beyond chance.

    Parameters
    ----------
    challenger, incumbent : Verdict
        Of the two, on the same folds; the one that was judged on fewer decides on how many.

    Returns
    -------
    bool
        True if the paired difference of errors exceeds two standard errors.
    """
    n = min(len(incumbent.errors), len(challenger.errors))
    gain = incumbent.errors[:n] - challenger.errors[:n]
    return n >= FEWEST_HELD_OUT and bool(gain.mean() > STANDARD_ERRORS * gain.std() / n**0.5)


def split_anchors(
    anchored: Anchored,
    width: int,
    verdict: Verdict,
    views: Views,
    settings: Settings,
    *,
    history: list[dict[str, float]],
) -> Fitted:
    """Split the anchors themselves: every primitive is one affine map.

    Parameters
    ----------
    anchored : Anchored
        Both modalities.
    width : int
        How many anchors give the canonical directions.
    verdict : Verdict
        Of these.
    views : pair of Tensor of shape (n_rows, n_columns)
        All rows.
    settings : Settings
        See there.
    history : list of dict of str to float
        Of what was trained before the closed form was preferred.

    Returns
    -------
    Fitted
        The encoder.
    """
    columns = [list(range(min(width, scores.shape[1]))) for scores in anchored.scores]
    readouts = split_readouts(anchored.scores, columns, verdict.rank, settings.n_components)
    primitives = [anchors.then(readout) for anchors, readout in zip(anchored.maps, readouts, strict=True)]
    return assemble(primitives, views, verdict, settings, primitive=f"{width} anchors", history=history)


def split_readouts(wholes: Views, columns: Sequence[Sequence[int]], rank: int, n_components: int) -> list[Tensor]:
    """Map each whole to the primitive: first the common directions, then the rest.

    Parameters
    ----------
    wholes : pair of Tensor of shape (n_rows, n_whole)
        Centred features of both modalities.
    columns : pair of sequence of int
        Which of them the canonical directions are computed from.
    rank : int
        How many directions are common.
    n_components : int
        Columns of the primitive.

    Returns
    -------
    list of two Tensor of shape (n_whole, n_components)
        The first `rank` columns give the canonical variates, the next ones the principal components of
        what these leave, and columns beyond a modality's own rank are zero.
    """
    canonical = canonical_directions(wholes[0][:, columns[0]], wholes[1][:, columns[1]])
    readouts = []
    for directions, whole, chosen in zip((canonical.left, canonical.right), wholes, columns, strict=True):
        common = whole.new_zeros(whole.shape[1], rank)
        common[chosen] = directions[:, :rank]
        readouts.append(_readout(common, whole, n_components))
    return readouts


def assemble(
    primitives: Sequence[nn.Module],
    views: Views,
    verdict: Verdict,
    settings: Settings,
    *,
    primitive: str,
    history: list[dict[str, float]],
) -> Fitted:
    """Put primitives and the exact projection together.

    Parameters
    ----------
    primitives : sequence of two Module
        From a modality's columns to its primitive, whose first columns are the common directions.
    views : pair of Tensor of shape (n_rows, n_columns)
        All rows, for the residual share.
    verdict : Verdict
        Of the candidate that won.
    settings : Settings
        See there.
    primitive : str
        What it is called.
    history : list of dict of str to float
        Of its training.

    Returns
    -------
    Fitted
        The encoder.
    """
    projection = torch.zeros(settings.n_components, dtype=torch.float64, device=views[0].device)
    projection[: verdict.rank] = 1
    # In the primitive's own coordinates the oblique projection onto the common directions is a diagonal.
    module = Disentangler(
        *(Branch(e, Affine(torch.zeros_like(projection), torch.diag(projection))) for e in primitives)
    ).to(views[0].device)
    with torch.no_grad():
        parts = [module(x.double(), modality) for modality, x in enumerate(views)]
    wholes = tuple(common + specific for common, specific in parts)
    left = residual_share((wholes[0], wholes[1]), (parts[0][1], parts[1][1]))
    return Fitted(module, verdict.rank, verdict.correlations, mean_error(verdict), float(left), primitive, history)


def mean_error(verdict: Verdict) -> float:
    """Average a verdict's errors.

    Parameters
    ----------
    verdict : Verdict
        Of a candidate.

    Returns
    -------
    float
        The mean; NaN if no row was held out.
    """
    return float(verdict.errors.mean())


def _held_out_variates(features: Views, fold: Fold) -> Views:
    """Canonical variates of all rows, by the directions of the training rows."""
    a, b = (x - x[fold.train].mean(0) for x in features)
    canonical = canonical_directions(a[fold.train], b[fold.train])
    return a @ canonical.left, b @ canonical.right


def _prediction_errors(common: Tensor, target: Tensor, fold: Fold) -> Tensor:
    """Squared errors on held-out rows; common has uncorrelated columns of unit variance on training rows."""
    centred = target - target[fold.train].mean(0)
    coefficients = common[fold.train].T @ centred[fold.train] / len(fold.train)
    errors = (centred[fold.held_out] - common[fold.held_out] @ coefficients).square().sum(1)
    return errors / centred[fold.held_out].square().sum(1).mean().clamp(min=torch.finfo(target.dtype).tiny)


def _readout(common: Tensor, whole: Tensor, n_components: int) -> Tensor:
    n, width = whole.shape
    n_specific = min(n_components, width) - common.shape[1]
    covariance = whole.T @ whole / n
    # What the common directions leave: x - u (uᵀx / n), for variates u = whole @ common of unit variance.
    leave = torch.eye(width, dtype=whole.dtype, device=whole.device) - common @ (common.T @ covariance)
    _, vectors = torch.linalg.eigh(leave.T @ covariance @ leave)
    specific = leave @ with_fixed_signs(vectors.flip(1)[:, :n_specific])
    missing = n_components - common.shape[1] - n_specific
    return torch.nn.functional.pad(torch.cat([common, specific], dim=1), (0, missing))
