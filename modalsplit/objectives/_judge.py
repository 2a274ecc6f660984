"""Rows that were held out judge canonical directions: how many are real, and how well they serve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import Moments, canonical_directions, pairwise_correlations

# Correlations on n unseen rows scatter around 0 with 1/sqrt(n) if there is nothing; 3 of these are a proof.
NULL_DEVIATIONS = 3.0
# A direction belongs to the common part if it is at least this share of the strongest correlation: corrected
# for how noisy the modalities are, more of it is then shared than not.
LEAST_SHARE = 0.5
# A more complicated candidate must be better by this many standard errors.
STANDARD_ERRORS = 2.0
# With fewer rows held out nothing can be judged.
FEWEST_HELD_OUT = 10
PAIRS_AT_A_TIME = 32


Pair = tuple[int, int]


class Fold(NamedTuple):
    """Which rows compute and which judge."""

    train: Tensor
    held_out: Tensor


class PairVerdict(NamedTuple):
    """What unseen rows say of the canonical directions between two modalities.

    Attributes
    ----------
    rank : int
        How many directions are common.
    correlations : Tensor of shape (n_pairs,)
        Of the canonical pairs.
    variates : pair of Tensor of shape (n_held_out, rank)
        The leading canonical variates of both modalities, each standardised.
    errors : Tensor of shape (n_held_out,)
        Squared error of the other modality's anchors, predicted from the common part, averaged over both ways
        (Eq. 5), as a share of the anchors' mean square: 1 if nothing is predicted.
    """

    rank: int
    correlations: Tensor
    variates: tuple[Tensor, Tensor]
    errors: Tensor


class Verdict(NamedTuple):
    """What unseen rows say of a candidate.

    Attributes
    ----------
    pairs : dict of tuple of int to PairVerdict
        Of each pair of modalities.
    ridge : float
        That the canonical directions were computed with.
    """

    pairs: dict[tuple[int, int], PairVerdict]
    ridge: float = 0.0

    @property
    def ranks(self) -> dict[tuple[int, int], int]:
        """How many directions each pair of modalities shares."""
        return {pair: verdict.rank for pair, verdict in self.pairs.items()}

    @property
    def errors(self) -> Tensor:
        """Errors of all pairs, one after the other."""
        return torch.cat([pair.errors for pair in self.pairs.values()])

    @property
    def translation_error(self) -> float:
        """Mean of the errors; NaN if no row was held out."""
        return float(self.errors.mean())

    @property
    def correlations(self) -> Tensor:
        """Correlations of the canonical pairs: a row a pair of modalities, NaN where it has fewer."""
        rows = [pair.correlations for pair in self.pairs.values()]
        if len(rows) == 1:
            return rows[0]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)


def centred(features: Sequence[Tensor], present: Tensor) -> list[Tensor]:
    """Subtract each modality's mean, and put 0 where it is absent, so that sums pass over these rows.

    Parameters
    ----------
    features : sequence of Tensor of shape (n_rows, n_features)
        A matrix a modality; whatever stands in its absent rows does not matter.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.

    Returns
    -------
    list of Tensor of shape (n_rows, n_features)
        The features.
    """
    out = []
    for x, have in zip(features, present.T, strict=True):
        mean = x[have].mean(0) if have.any() else x.new_zeros(x.shape[1])
        out.append(torch.where(have[:, None], x - mean, 0.0))
    return out


def judge(
    candidates: Sequence[Sequence[Tensor]],
    targets: Sequence[Tensor],
    present: Tensor,
    folds: Sequence[Fold],
    most: int,
    fixed: int | None,
    ridge: float = 0.0,
    moments: Sequence[dict[Pair, Moments]] | None = None,
) -> Verdict:
    """Let held-out rows judge the canonical directions of a candidate.

    Parameters
    ----------
    candidates : sequence of sequence of Tensor of shape (n_rows, n_features)
        The candidate, as it is if the training rows of each fold make it: a matrix a modality.
    targets : sequence of Tensor of shape (n_rows, n_targets)
        What is to be predicted of each modality, the same for candidates that are compared.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.
    folds : sequence of Fold
        Which rows compute and which judge.
    most : int
        Columns of a part.
    fixed : int or None
        The rank that the user chose.
    ridge : float, default=0.0
        Of the canonical directions.
    moments : sequence of dict, optional
        Of the training rows of each fold, by pair of modalities: their targets and features side by side. Computed by
        default; candidates of the same columns can share it.

    Returns
    -------
    Verdict
        Rank, correlations and errors of each pair of modalities.
    """
    verdicts = {}
    for pair in combinations(range(len(targets)), 2):
        of_pair = present[:, list(pair)]
        trials = []
        for k, (fold, features) in enumerate(zip(folds, candidates, strict=True)):
            x, y = ([of_all[m] for m in pair] for of_all in (features, targets))
            train = moments[k][pair] if moments else _moments(x, y, of_pair, fold.train)
            rows = fold.held_out[of_pair[fold.held_out].all(1)]
            trials.append(_Trial(x, y, rows, train, ridge))
        correlations = _correlations(trials)
        rank = common_rank(correlations, sum(len(trial.rows) for trial in trials), most, fixed)
        errors = torch.cat([trial.errors(rank) for trial in trials])
        u, v = (_standardised(torch.cat([trial.variates(m, slice(rank)) for trial in trials])) for m in (0, 1))
        verdicts[pair] = PairVerdict(rank, correlations, (u, v), errors)
    return Verdict(verdicts, ridge)


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


def predicts_better(challenger: Verdict, incumbent: Verdict) -> bool:
    """Tell whether a candidate predicts held-out rows better than another, beyond chance.

    Parameters
    ----------
    challenger, incumbent : Verdict
        Of the two, on the same targets and folds; of the fold that both were judged on.

    Returns
    -------
    bool
        True if the paired difference of errors exceeds two standard errors.
    """
    return _beyond_chance(
        [
            theirs.errors[: len(ours.errors)] - ours.errors[: len(theirs.errors)]
            for ours, theirs in zip(challenger.pairs.values(), incumbent.pairs.values(), strict=True)
        ]
    )


def agrees_better(challenger: Verdict, incumbent: Verdict) -> bool:
    """Tell whether the variates of a candidate agree better across modalities than another's, beyond chance.

    The measure of candidates that predict different things: the mean squared difference of the paired variates
    (Eq. 3, left, of unit variance), over as many pairs as both support.

    Parameters
    ----------
    challenger, incumbent : Verdict
        Of the two, on the same folds.

    Returns
    -------
    bool
        True if the paired difference exceeds two standard errors.
    """
    gains = []
    for ours, theirs in zip(challenger.pairs.values(), incumbent.pairs.values(), strict=True):
        rank = min(ours.rank, theirs.rank)
        ours_apart, theirs_apart = (
            (u[:, :rank] - v[:, :rank]).square().sum(1) for u, v in (ours.variates, theirs.variates)
        )
        gains.append(theirs_apart - ours_apart)
    return _beyond_chance(gains)


def _moments(features: Sequence[Tensor], targets: Sequence[Tensor], present: Tensor, rows: Tensor) -> Moments:
    """Sum up some rows of two modalities, targets and features side by side."""
    there = present[rows]
    wholes = [
        torch.where(have[:, None], torch.cat([y[rows], x[rows]], dim=1), 0.0)
        for x, y, have in zip(features, targets, there.T, strict=True)
    ]
    return Moments([whole.shape[1] for whole in wholes]).add(wholes, there)


class _Trial:
    """The canonical directions of a fold's training rows, and its held-out rows that have both modalities.

    Training rows are only known by their moments. What is made of the others is made when it is asked for, as the variates of
    all folds are as large as the anchors.
    """

    def __init__(
        self, features: Sequence[Tensor], targets: Sequence[Tensor], rows: Tensor, train: Moments, ridge: float
    ) -> None:
        self.features, self.targets, self.rows = features, targets, rows
        self.train = train
        chosen = train.select([range(y.shape[1], width) for y, width in zip(targets, train.widths, strict=True)])
        self.means = chosen.means()
        (left, cross), (_, right) = chosen.centred().joint()
        canonical = canonical_directions(left, right, cross, ridge)
        self.directions = canonical.left, canonical.right

    def variates(self, modality: int, columns: slice) -> Tensor:
        """Compute some canonical variates of one modality's held-out rows."""
        apart = self.features[modality][self.rows] - self.means[modality]
        return apart @ self.directions[modality][:, columns]

    def errors(self, rank: int) -> Tensor:
        """Squared errors of either modality's targets, as predicted from the other one's leading variates."""
        return (self._one_way(0, 1, rank) + self._one_way(1, 0, rank)) / 2

    def _one_way(self, source: int, target: int, rank: int) -> Tensor:
        n, totals, products = self.train.complete()
        columns, wanted = slice(self.targets[source].shape[1], None), slice(self.targets[target].shape[1])
        total, mean, direction = totals[source][columns], self.means[source], self.directions[source][:, :rank]
        mean_target = totals[target][wanted] / max(n, 1)
        shift = torch.outer(total, mean)
        spread = products[source][source][columns, columns] - shift - shift.T + n * torch.outer(mean, mean)
        joint = products[source][target][columns, wanted] - torch.outer(total, mean_target)
        coefficients = torch.linalg.solve(direction.T @ spread @ direction, direction.T @ joint)
        apart = self.targets[target][self.rows] - mean_target
        errors = (apart - self.variates(source, slice(rank)) @ coefficients).square().sum(1)
        share: Tensor = errors / apart.square().sum(1).mean().clamp(min=torch.finfo(apart.dtype).tiny)
        return share


def _correlations(trials: Sequence[_Trial]) -> Tensor:
    """Correlate the canonical pairs over the held-out rows of all folds, some pairs at a time."""
    n_pairs = min(trial.directions[0].shape[1] for trial in trials)
    found = []
    for start in range(0, n_pairs, PAIRS_AT_A_TIME):
        columns = slice(start, min(start + PAIRS_AT_A_TIME, n_pairs))
        u, v = (torch.cat([trial.variates(m, columns) for trial in trials]) for m in (0, 1))
        found.append(pairwise_correlations(u, v))
    return torch.cat(found) if found else trials[0].directions[0].new_zeros(0)


def _standardised(x: Tensor) -> Tensor:
    apart = x - x.mean(0)
    return apart / apart.square().mean(0).sqrt().clamp(min=torch.finfo(x.dtype).tiny)


def _beyond_chance(gains: Sequence[Tensor]) -> bool:
    gain = torch.cat(list(gains))
    n = len(gain)
    return n >= FEWEST_HELD_OUT and bool(gain.mean() > STANDARD_ERRORS * gain.std() / n**0.5)
