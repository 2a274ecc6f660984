"""``cca``: the closed form, rank-exact. Also the frame that `stable` puts its learned features into.

A candidate is a matrix of features for each modality. Its canonical directions are computed from training
rows; rows that were held out say how many of them are real, and how well the common part predicts the other
modality. In the closed form every row is held out once, by cross-validation. The best candidate is then
split on all rows, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modalsplit.nn import (
    Affine,
    Anchors,
    Branch,
    Disentangler,
    joint_covariance,
    joint_rotations,
    merged_subspace,
    principal_anchors,
    residual_share,
    whitening,
    with_fixed_signs,
    with_joint_signs,
)
from modalsplit.objectives._fitted import Fitted, Settings
from modalsplit.objectives._judge import Fold, Verdict, judge, predicts_better

# Of the canonical directions, in units of the anchors' mean variance.
RIDGES = (0.03, 0.1, 0.3)


class Anchored(NamedTuple):
    """All modalities in their anchors, and how the rows are divided.

    Attributes
    ----------
    maps : list of Anchors
        From a modality's columns to its anchors.
    scores : list of Tensor of shape (n_rows, n_anchors)
        The anchors, centred, float64; 0 in rows that lack the modality.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.
    folds : list of Fold
        Each row is held out once.
    settings : Settings
        What all objectives need to know.
    """

    maps: list[Anchors]
    scores: list[Tensor]
    present: Tensor
    folds: list[Fold]
    settings: Settings

    def leading(self, width: int) -> list[Tensor]:
        """Select the first anchors of each modality."""
        return [scores[:, :width] for scores in self.scores]

    def judged(self, candidates: Sequence[Sequence[Tensor]], ridge: float = 0.0) -> Verdict:
        """Let held-out rows judge a candidate, as each of the first folds makes it, by what it predicts of the anchors."""
        d, folds = self.settings.n_components, self.folds[: len(candidates)]
        return judge(candidates, self.leading(d), self.present, folds, d, self.settings.common_rank, ridge)

    def judged_width(self, width: int, ridge: float = 0.0) -> Verdict:
        """Let all folds judge the leading anchors."""
        return self.judged([self.leading(width)] * len(self.folds), ridge)


def fit_closed_form(views: Sequence[Tensor], settings: Settings) -> Fitted:
    """Split modalities by canonical directions: no training.

    Parameters
    ----------
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality; NaN in rows that lack it.
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
    width, verdict = best_width(anchored)
    record = {"translation_error": verdict.translation_error}
    settings.on_epoch(record)
    return split_anchors(anchored, width, verdict, views, history=[record])


def anchor(views: Sequence[Tensor], settings: Settings) -> Anchored:
    """Map all modalities to their anchors, once, and divide the rows.

    Parameters
    ----------
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality; NaN in rows that lack it.
    settings : Settings
        See there.

    Returns
    -------
    Anchored
        Anchors of up to twice `n_components` columns, float64.
    """
    present = torch.stack([~x.isnan().any(1) for x in views], dim=1)
    order = torch.randperm(len(present), generator=settings.generator, device=settings.generator.device)
    parts = order.to(present.device).chunk(max(2, round(1 / settings.validation_fraction)))
    folds = [Fold(torch.cat([*parts[:k], *parts[k + 1 :]]), part) for k, part in enumerate(parts)]
    anchored = Anchored([], [], present, folds, settings)
    for modality, x in enumerate(views):
        anchored = with_anchors(anchored, modality, None, x)
    return anchored


def with_anchors(anchored: Anchored, modality: int, front: nn.Module | None, x: Tensor) -> Anchored:
    """Map one modality to its anchors.

    Parameters
    ----------
    anchored : Anchored
        What is known of the others.
    modality : int
        Which one.
    front : Module or None
        What its columns pass first.
    x : Tensor of shape (n_rows, n_columns)
        The modality; NaN in rows that lack it.

    Returns
    -------
    Anchored
        The same with new anchors of this modality.
    """
    settings, have = anchored.settings, anchored.present[:, modality]
    passed = x if front is None else front(x.double()).to(x.dtype)
    rows = passed if have.all() else passed[have]
    anchors = principal_anchors(rows, 2 * settings.n_components, settings.ridge, settings.generator)
    scores = torch.where(have[:, None], anchors(passed.double()), 0.0)
    maps, all_scores = list(anchored.maps), list(anchored.scores)
    maps[modality : modality + 1] = [Anchors(front, anchors)]
    all_scores[modality : modality + 1] = [scores]
    return anchored._replace(maps=maps, scores=all_scores)


def best_width(anchored: Anchored) -> tuple[int, Verdict]:
    """Choose how many anchors the canonical directions are computed from, and with which ridge.

    Few rows and many anchors make directions of chance; many rows and few anchors leave signal behind.

    Parameters
    ----------
    anchored : Anchored
        All modalities.

    Returns
    -------
    width : int
        The number of anchors.
    verdict : Verdict
        Of these.
    """
    d = anchored.settings.n_components
    most = max(scores.shape[1] for scores in anchored.scores)
    widths = dict.fromkeys(min(most, max(2, width)) for width in (d, d // 2, d // 4, 2 * d))
    width, *others = widths
    verdict = anchored.judged_width(width)
    for other in others:
        challenger = anchored.judged_width(other)
        if predicts_better(challenger, verdict):
            width, verdict = other, challenger
    # A ridge makes nothing more complicated: the least error decides.
    return width, min([verdict, *(anchored.judged_width(width, ridge) for ridge in RIDGES)], key=_error)


def split_anchors(
    anchored: Anchored,
    width: int,
    verdict: Verdict,
    views: Sequence[Tensor],
    *,
    history: list[dict[str, float]],
) -> Fitted:
    """Split the anchors themselves: every primitive is one affine map.

    Parameters
    ----------
    anchored : Anchored
        All modalities.
    width : int
        How many anchors give the canonical directions.
    verdict : Verdict
        Of these.
    views : sequence of Tensor of shape (n_rows, n_columns)
        All rows.
    history : list of dict of str to float
        Of what was trained before the closed form was preferred.

    Returns
    -------
    Fitted
        The encoder.
    """
    columns = [list(range(min(width, scores.shape[1]))) for scores in anchored.scores]
    support, readouts = split_readouts(anchored, anchored.scores, columns, verdict)
    primitives = [anchors.then(readout) for anchors, readout in zip(anchored.maps, readouts, strict=True)]
    return assemble(primitives, support, views, verdict, anchored, primitive=f"{width} anchors", history=history)


def split_readouts(
    anchored: Anchored, wholes: Sequence[Tensor], columns: Sequence[Sequence[int]], verdict: Verdict
) -> tuple[Tensor, list[Tensor]]:
    """Map each whole to the primitive: first the common directions, then the rest.

    Parameters
    ----------
    anchored : Anchored
        Whose rows these are.
    wholes : sequence of Tensor of shape (n_rows, n_whole)
        Centred features of each modality; 0 in rows that lack it.
    columns : sequence of sequence of int
        Which of them the canonical directions are computed from.
    verdict : Verdict
        How many directions each pair of modalities shares.

    Returns
    -------
    support : Tensor of bool of shape (n_modalities, n_components)
        Which modality shows which column of the common parts.
    readouts : list of Tensor of shape (n_whole, n_components)
        The first columns give the common directions, the next ones the principal components of what
        these leave; columns beyond a modality's own rank, and of directions that it does not show, are zero.
    """
    n_components = anchored.settings.n_components
    counts = anchored.present.sum(0).tolist()
    features = [whole[:, chosen] for whole, chosen in zip(wholes, columns, strict=True)]
    directions = common_directions(features, anchored.present, verdict.ranks, verdict.ridge)
    rank = min(directions[0].shape[1], n_components)
    support = torch.zeros(len(wholes), n_components, dtype=torch.bool, device=wholes[0].device)
    readouts = []
    for modality, (direction, whole, chosen, count) in enumerate(zip(directions, wholes, columns, counts, strict=True)):
        common = whole.new_zeros(whole.shape[1], rank)
        common[chosen] = direction[:, :rank]
        support[modality, :rank] = common.any(0)
        readouts.append(_readout(common, whole, count, n_components))
    return support, readouts


def common_directions(
    features: Sequence[Tensor], present: Tensor, ranks: dict[tuple[int, int], int], ridge: float = 0.0
) -> list[Tensor]:
    """Find what each modality shares with any other one, in joint coordinates.

    With a ridge it decides which subspace a modality shares; coordinates in there are exact.

    Parameters
    ----------
    features : sequence of Tensor of shape (n_rows, n_features)
        A matrix a modality, centred; 0 in rows that lack it.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.
    ranks : dict of tuple of int to int
        How many directions each pair of modalities shares.
    ridge : float, default=0.0
        Of the canonical directions.

    Returns
    -------
    list of Tensor of shape (n_features, n_joint)
        Directions whose scores are the expected value of a shared variable of unit variance, given the modality:
        their variance is the correlation with the other modalities. 0 for a coordinate that a modality does
        not show.

    References
    ----------
    Bach and Jordan, A probabilistic interpretation of canonical correlation analysis, 2005, for the scale.
    """
    covariance = joint_covariance(features, present)
    whiteners = [whitening(row[m], ridge) for m, row in enumerate(covariance)]
    white = _mapped(covariance, whiteners)
    bases: list[list[Tensor]] = [[w.new_zeros(w.shape[1], 0)] for w in whiteners]
    for (a, b), rank in ranks.items():
        u, _, vt = torch.linalg.svd(white[a][b], full_matrices=False)
        bases[a].append(u[:, :rank])
        bases[b].append(vt.T[:, :rank])
    subspaces = [w @ merged_subspace(found) for w, found in zip(whiteners, bases, strict=True)]
    variates = [s @ whitening(s.T @ row[m] @ s) for m, (row, s) in enumerate(zip(covariance, subspaces, strict=True))]
    correlations = _mapped(covariance, variates)
    rotations = joint_rotations(correlations)
    strength = _mean_agreement(correlations, rotations).sqrt()
    found = [v @ r for v, r in zip(variates, rotations, strict=True)]
    return [direction * strength for direction in with_joint_signs(found)]


def assemble(
    primitives: Sequence[nn.Module],
    support: Tensor,
    views: Sequence[Tensor],
    verdict: Verdict,
    anchored: Anchored,
    *,
    primitive: str,
    history: list[dict[str, float]],
) -> Fitted:
    """Put primitives and the exact projection together.

    Parameters
    ----------
    primitives : sequence of Module
        From a modality's columns to its primitive, whose first columns are the common directions.
    support : Tensor of bool of shape (n_modalities, n_components)
        Which modality shows which of these.
    views : sequence of Tensor of shape (n_rows, n_columns)
        All rows, for the residual share.
    verdict : Verdict
        Of the candidate that won.
    anchored : Anchored
        Whose rows these are.
    primitive : str
        What it is called.
    history : list of dict of str to float
        Of its training.

    Returns
    -------
    Fitted
        The encoder.
    """
    device = views[0].device
    is_common = support.any(0)
    projection = is_common.double()
    # In the primitive's own coordinates the oblique projection onto the common directions is a diagonal.
    module = Disentangler(
        *(Branch(e, Affine(torch.zeros_like(projection), torch.diag(projection))) for e in primitives)
    ).to(device)
    with torch.no_grad():
        parts = [module(x.double(), modality) for modality, x in enumerate(views)]
    shares = []
    for a, b in combinations(range(len(views)), 2):
        both = anchored.present[:, a] & anchored.present[:, b]
        wholes = tuple(parts[m][0][both] + parts[m][1][both] for m in (a, b))
        shares.append(residual_share((wholes[0], wholes[1]), (parts[a][1][both], parts[b][1][both])))
    share = float(torch.stack(shares).nanmean())
    return Fitted(
        module,
        int(is_common.sum()),
        verdict.correlations,
        verdict.translation_error,
        share,
        primitive,
        history,
        support=support,
    )


def _error(verdict: Verdict) -> float:
    """Read the translation error; it is NaN if no row was held out."""
    error = verdict.translation_error
    return math.inf if math.isnan(error) else error


def _mapped(blocks: Sequence[Sequence[Tensor]], maps: Sequence[Tensor]) -> list[list[Tensor]]:
    """Covariances after a linear map of each modality."""
    return [[p.T @ block @ q for block, q in zip(row, maps, strict=True)] for row, p in zip(blocks, maps, strict=True)]


def _mean_agreement(correlations: Sequence[Sequence[Tensor]], rotations: Sequence[Tensor]) -> Tensor:
    """Correlation of each joint coordinate, averaged over the pairs of modalities that show it."""
    total = count = rotations[0].new_zeros(rotations[0].shape[1])
    for a, b in combinations(range(len(rotations)), 2):
        total = total + (rotations[a] * (correlations[a][b] @ rotations[b])).sum(0)
        count = count + (rotations[a].any(0) & rotations[b].any(0))
    return (total / count.clamp(min=1)).clamp(0, 1)


def _readout(common: Tensor, whole: Tensor, n_rows: int, n_components: int) -> Tensor:
    width, rank = common.shape
    n_specific = max(0, min(n_components, width) - rank)
    covariance = whole.T @ whole / n_rows
    # What the common directions leave: x - (the regression of x on the variates u = whole @ common).
    shown = common[:, common.any(0)]
    onto = torch.linalg.solve(shown.T @ covariance @ shown, shown.T @ covariance)
    leave = torch.eye(width, dtype=whole.dtype, device=whole.device) - shown @ onto
    _, vectors = torch.linalg.eigh(leave.T @ covariance @ leave)
    specific = leave @ with_fixed_signs(vectors.flip(1)[:, :n_specific])
    missing = n_components - rank - n_specific
    return torch.nn.functional.pad(torch.cat([common, specific], dim=1), (0, missing))
