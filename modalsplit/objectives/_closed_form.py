"""``cca``: the closed form, rank-exact. Also the frame that `stable` puts its learned features into.

A candidate is a matrix of features for each modality. Its canonical directions are computed from training
rows; rows that were held out say how many of them are real, and how well the common part predicts the other
modality. In the closed form every row is held out once, by cross-validation. The best candidate is then
split on all rows, exactly. Of many rows, those at hand judge; see `_stored`.
"""

from __future__ import annotations

import functools
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
    Moments,
    Uncensor,
    joint_rotations,
    merged_subspace,
    principal_anchors,
    residual_share,
    whitening,
    with_fixed_signs,
    with_joint_signs,
)
from modalsplit.objectives._fitted import Fitted, Settings
from modalsplit.objectives._judge import Fold, Pair, Verdict, judge, predicts_better
from modalsplit.objectives._stored import (
    AllRows,
    Matrix,
    StoredView,
    affine_scores,
    passed,
    presence,
    rows_at_hand,
    scores_at_hand,
    stored_anchors,
)

# Of the canonical directions, in units of the anchors' mean variance. The first one compares widths: without a ridge, chance
# in the added directions would hide what they bring.
RIDGES = (0.1, 0.0, 0.03, 0.3)
ROWS_MAPPED = 1024


class Anchored(NamedTuple):
    """All modalities in their anchors, and how the rows are divided.

    Attributes
    ----------
    maps : list of Anchors
        From a modality's columns to its anchors.
    scores : list of Tensor of shape (n_rows, n_anchors)
        The anchors of the rows at hand, in the precision of the modality, centred over all rows; 0 in rows that lack it.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row at hand has which modality.
    folds : list of Fold
        Each row at hand is held out once.
    settings : Settings
        What all objectives need to know.
    views : sequence of matrices of shape (n_all_rows, n_columns)
        All rows.
    at_hand : Tensor of int of shape (n_rows,) or None
        Which of all rows are at hand; None for all.
    everyone : Tensor of bool of shape (n_all_rows, n_modalities)
        Which of all rows has which modality.
    known : Moments or None
        Of the anchors of all rows, if more were counted than are at hand, or as many as before some were let go.
    """

    maps: list[Anchors]
    scores: list[Tensor]
    present: Tensor
    folds: list[Fold]
    settings: Settings
    views: Sequence[Matrix]
    at_hand: Tensor | None
    everyone: Tensor
    known: Moments | None = None

    def leading(self, width: int) -> list[Tensor]:
        """Select the first anchors of each modality."""
        return [scores[:, :width] for scores in self.scores]

    def narrowed(self, width: int) -> Anchored:
        """Let go the anchors beyond the first ones, also those of this object; their moments stay."""
        known, narrow = self.moments(), []
        while self.scores:  # one by one, so that no more than one is held twice
            narrow.append(self.scores.pop(0)[:, :width].clone())
        return self._replace(scores=narrow, known=known)

    def widened(self) -> Anchored:
        """Compute again what `narrowed` let go; let go of what it kept, also that of this object."""
        self.scores.clear()
        scores = [
            scores_at_hand(anchors, view, self.at_hand, have)
            for anchors, view, have in zip(self.maps, self.views, self.present.T, strict=True)
        ]
        return self._replace(scores=scores)

    def judged(self, candidates: Sequence[Sequence[Tensor]], ridge: float = 0.0) -> Verdict:
        """Let held-out rows judge a candidate, as each of the first folds makes it, by what it predicts of the anchors."""
        d, folds = self.settings.n_components, self.folds[: len(candidates)]
        return judge(candidates, self.leading(d), self.present, folds, d, self.settings.common_rank, ridge)

    def training_moments(self) -> list[dict[Pair, Moments]]:
        """Sum up the anchors of the rows that a fold does not hold out, by pair of modalities."""
        of_folds: list[dict[Pair, Moments]] = [{} for _ in self.folds]
        for pair in combinations(range(len(self.scores)), 2):
            present, scores = self.present[:, list(pair)], [self.scores[m] for m in pair]
            widths = [x.shape[1] for x in scores]
            rows = [fold.held_out for fold in self.folds]
            held_out = [Moments(widths).add([x[chosen] for x in scores], present[chosen]) for chosen in rows]
            everything = (
                functools.reduce(Moments.plus, held_out) if self.known is None else self.known.of_modalities(pair)
            )
            for of_fold in of_folds:
                of_fold[pair] = everything.without(held_out.pop(0))
        return of_folds

    def judged_width(self, width: int, moments: Sequence[dict[Pair, Moments]], ridge: float = 0.0) -> Verdict:
        """Let all folds judge the leading anchors, given `training_moments`."""
        d, rank = self.settings.n_components, self.settings.common_rank
        candidates = [self.leading(width)] * len(self.folds)
        return judge(candidates, self.leading(d), self.present, self.folds, d, rank, ridge, moments)

    def moments(self) -> Moments:
        """Sum up the anchors of all rows."""
        if self.known is not None:
            return self.known
        return Moments([scores.shape[1] for scores in self.scores]).add(self.scores, self.present)

    def counted(self) -> Anchored:
        """Count the rows that are not at hand, too."""
        return self if self.at_hand is None else self._replace(known=self.all_rows().moments())

    def all_rows(self) -> AllRows:
        """Give access to the anchors of rows that are not at hand."""
        return AllRows(self.views, self.everyone, self.maps, self.settings)


def fit_closed_form(views: Sequence[Matrix], settings: Settings) -> Fitted:
    """Split modalities by canonical directions: no training.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        One a modality; NaN in rows that lack it.
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
    with settings.progress("closed form", 1, "steps") as done:
        width, verdict = best_width(anchored)
        record = {"translation_error": verdict.translation_error}
        settings.on_epoch(record)
        done(1, record)
    return split_anchors(anchored, width, verdict, history=[record])


def anchor(views: Sequence[Matrix], settings: Settings) -> Anchored:
    """Map all modalities to their anchors, once, and divide the rows.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        One a modality; NaN in rows that lack it.
    settings : Settings
        See there.

    Returns
    -------
    Anchored
        Anchors of up to twice `n_components` columns.
    """
    everyone, at_hand = presence(views), rows_at_hand(views, settings)
    present = everyone if at_hand is None else everyone[at_hand.to(everyone.device)]
    folds = divided_rows(present, settings)
    anchored = Anchored([], [], present, folds, settings, views, at_hand, everyone)
    for modality, x in enumerate(views):
        anchored = with_anchors(anchored, modality, None, x)
    return anchored.counted()


def divided_rows(present: Tensor, settings: Settings) -> list[Fold]:
    """Divide rows into folds.

    Parameters
    ----------
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which of the rows at hand has which modality.
    settings : Settings
        Share that is held out at a time, and generator.

    Returns
    -------
    list of Fold
        Each row is held out once.
    """
    order = torch.randperm(len(present), generator=settings.generator, device=settings.generator.device)
    parts = order.to(present.device).chunk(max(2, round(1 / settings.validation_fraction)))
    return [Fold(torch.cat([*parts[:k], *parts[k + 1 :]]), part) for k, part in enumerate(parts)]


def with_anchors(anchored: Anchored, modality: int, front: Uncensor | None, x: Matrix) -> Anchored:
    """Map one modality to its anchors.

    Parameters
    ----------
    anchored : Anchored
        What is known of the others.
    modality : int
        Which one.
    front : Uncensor or None
        What its columns pass first.
    x : matrix of shape (n_all_rows, n_columns)
        The modality; NaN in rows that lack it.

    Returns
    -------
    Anchored
        The same with new anchors of this modality; `Anchored.counted` is to be called when all have theirs.
    """
    settings, have = anchored.settings, anchored.present[:, modality]
    if isinstance(x, StoredView):
        affine = stored_anchors(x, front, settings)
    else:
        whole, everyone = passed(front, x), anchored.everyone[:, modality]
        rows = whole if everyone.all() else whole[everyone]
        affine = principal_anchors(rows, 2 * settings.n_components, settings.ridge, settings.generator)
    anchors = Anchors(front, affine)
    if isinstance(x, StoredView) or anchored.at_hand is not None:
        scores = scores_at_hand(anchors, x, anchored.at_hand, have)
    else:
        scores = affine_scores(affine, whole, have)
    maps, all_scores = list(anchored.maps), list(anchored.scores)
    maps[modality : modality + 1] = [anchors]
    all_scores[modality : modality + 1] = [scores]
    return anchored._replace(maps=maps, scores=all_scores, known=None)


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
    least = anchored.settings.common_rank or 2  # who asks for a rank gets it
    widths = dict.fromkeys(min(most, max(least, width)) for width in (d, d // 2, d // 4, 2 * d))
    moments = anchored.training_moments()
    first, *others = RIDGES
    width, *challengers = widths
    verdict = anchored.judged_width(width, moments, first)
    for other in challengers:
        challenger = anchored.judged_width(other, moments, first)
        if predicts_better(challenger, verdict):
            width, verdict = other, challenger
    for ridge in others:
        challenger = anchored.judged_width(width, moments, ridge)
        if _error(challenger) < _error(verdict):  # a ridge makes nothing more complicated: the least error decides
            verdict = challenger
    return width, verdict


def split_anchors(
    anchored: Anchored,
    width: int,
    verdict: Verdict,
    *,
    history: list[dict[str, float]],
) -> Fitted:
    """Split the anchors themselves: every primitive is one affine map.

    Parameters
    ----------
    anchored : Anchored
        All modalities. The anchors at hand are written over.
    width : int
        How many anchors give the canonical directions.
    verdict : Verdict
        Of these.
    history : list of dict of str to float
        Of what was trained before the closed form was preferred.

    Returns
    -------
    Fitted
        The encoder.
    """
    columns = [list(range(min(width, scores.shape[1]))) for scores in anchored.scores]
    support, readouts = split_readouts(anchored.moments(), columns, verdict, anchored.settings.n_components)
    primitives = [anchors.then(readout) for anchors, readout in zip(anchored.maps, readouts, strict=True)]
    values = written_over(anchored.scores, readouts)
    return assemble(primitives, values, support, verdict, anchored, primitive=f"{width} anchors", history=history)


def split_readouts(
    moments: Moments, columns: Sequence[Sequence[int]], verdict: Verdict, n_components: int
) -> tuple[Tensor, list[Tensor]]:
    """Map each whole to the primitive: first the common directions, then the rest.

    Parameters
    ----------
    moments : Moments
        Of the wholes: centred features of each modality.
    columns : sequence of sequence of int
        Which of them the canonical directions are computed from.
    verdict : Verdict
        How many directions each pair of modalities shares.
    n_components : int
        Columns of the primitive.

    Returns
    -------
    support : Tensor of bool of shape (n_modalities, n_components)
        Which modality shows which column of the common parts.
    readouts : list of Tensor of shape (n_whole, n_components)
        The first columns give the common directions, the next ones the principal components of what
        these leave; columns beyond a modality's own rank, and of directions that it does not show, are zero.
    """
    directions = common_directions(moments.select(columns), verdict.ranks, verdict.ridge)
    covariances = moments.own()
    rank = min(directions[0].shape[1], n_components)
    support = torch.zeros(len(columns), n_components, dtype=torch.bool, device=directions[0].device)
    readouts = []
    for modality, (direction, covariance, chosen) in enumerate(zip(directions, covariances, columns, strict=True)):
        common = covariance.new_zeros(len(covariance), rank)
        common[chosen] = direction[:, :rank]
        support[modality, :rank] = common.any(0)
        readouts.append(_readout(common, covariance, n_components))
    return support, readouts


def common_directions(moments: Moments, ranks: dict[tuple[int, int], int], ridge: float = 0.0) -> list[Tensor]:
    """Find what each modality shares with any other one, in joint coordinates.

    With a ridge it decides which subspace a modality shares; coordinates in there are exact.

    Parameters
    ----------
    moments : Moments
        Of features of each modality, centred.
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
    covariance = moments.joint()
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


def written_over(wholes: Sequence[Tensor], readouts: Sequence[Tensor]) -> list[Tensor]:
    """Map wholes to primitives, in their own memory where there is room.

    Parameters
    ----------
    wholes : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality, which is changed.
    readouts : sequence of Tensor of shape (n_whole, n_components)
        Of the first columns of each.

    Returns
    -------
    list of Tensor of shape (n_rows, n_components)
        The primitives, in the precision of the wholes.
    """
    primitives = []
    for whole, readout in zip(wholes, readouts, strict=True):
        width, d = readout.shape
        values = whole[:, :d] if d <= whole.shape[1] else whole.new_empty(len(whole), d)
        for block, out in zip(torch.split(whole, ROWS_MAPPED), torch.split(values, ROWS_MAPPED), strict=True):
            out.copy_(block[:, :width] @ readout.to(whole.dtype))
        primitives.append(values)
    return primitives


def assemble(
    primitives: Sequence[nn.Module],
    values: Sequence[Tensor],
    support: Tensor,
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
    values : sequence of Tensor of shape (n_rows, n_components)
        The primitives of the rows at hand, which give the residual share.
    support : Tensor of bool of shape (n_modalities, n_components)
        Which modality shows which of these.
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
    projection = support.any(0).double()
    n_common = int(projection.sum())
    # In the primitive's own coordinates the oblique projection onto the common directions is a diagonal.
    module = Disentangler(
        *(Branch(e, Affine(torch.zeros_like(projection), torch.diag(projection))) for e in primitives)
    ).to(values[0].device)
    shares = []
    for a, b in combinations(range(len(values)), 2):
        both = anchored.present[:, a] & anchored.present[:, b]
        first, second = (x if both.all() else x[both] for x in (values[a], values[b]))
        # The other columns of a specific part, the first ones, are 0 and add nothing.
        shares.append(residual_share((first, second), (first[:, n_common:], second[:, n_common:])))
    share = float(torch.stack(shares).nanmean())
    return Fitted(
        module,
        n_common,
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


def _readout(common: Tensor, covariance: Tensor, n_components: int) -> Tensor:
    width, rank = common.shape
    n_specific = max(0, min(n_components, width) - rank)
    # What the common directions leave: x - (the regression of x on the variates u = whole @ common).
    shown = common[:, common.any(0)]
    onto = torch.linalg.solve(shown.T @ covariance @ shown, shown.T @ covariance)
    leave = torch.eye(width, dtype=common.dtype, device=common.device) - shown @ onto
    _, vectors = torch.linalg.eigh(leave.T @ covariance @ leave)
    specific = leave @ with_fixed_signs(vectors.flip(1)[:, :n_specific])
    missing = n_components - rank - n_specific
    return torch.nn.functional.pad(torch.cat([common, specific], dim=1), (0, missing))
