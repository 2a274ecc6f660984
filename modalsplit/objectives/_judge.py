"""Rows that were held out judge canonical directions: how many are real, and how well they serve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import canonical_directions, joint_covariance, pairwise_correlations

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


class PairVerdict(NamedTuple):
    """What unseen rows say of the canonical directions between two modalities.

    Attributes
    ----------
    rank : int
        How many directions are common.
    correlations : Tensor of shape (n_pairs,)
        Of the canonical pairs.
    variates : pair of Tensor of shape (n_held_out, n_pairs)
        The canonical variates of both modalities, each standardised.
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


def centred(features: Sequence[Tensor], present: Tensor, rows: Tensor | None = None) -> list[Tensor]:
    """Subtract each modality's mean, and put 0 where it is absent, so that sums pass over these rows.

    Parameters
    ----------
    features : sequence of Tensor of shape (n_rows, n_features)
        A matrix a modality; whatever stands in its absent rows does not matter.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.
    rows : Tensor of int of shape (n_chosen,), optional
        Rows that the means are taken over; all by default.

    Returns
    -------
    list of Tensor of shape (n_rows, n_features)
        The features.
    """
    counted = present if rows is None else torch.zeros_like(present).index_copy(0, rows, present[rows])
    out = []
    for x, have, counts in zip(features, present.T, counted.T, strict=True):
        mean = x[counts].mean(0) if counts.any() else x.new_zeros(x.shape[1])
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

    Returns
    -------
    Verdict
        Rank, correlations and errors of each pair of modalities.
    """
    verdicts = {}
    for pair in combinations(range(len(targets)), 2):
        of_pair = [[features[m] for m in pair] for features in candidates]
        judged = list(_judged_folds(of_pair, present[:, list(pair)], folds, ridge))
        n_pairs = min(u.shape[1] for (u, _), _ in judged)
        held_out = [torch.cat([sides[m][fold.held_out, :n_pairs] for sides, fold in judged]) for m in (0, 1)]
        correlations = pairwise_correlations(held_out[0], held_out[1])
        rank = common_rank(correlations, len(held_out[0]), most, fixed)
        errors = torch.cat(
            [
                _prediction_errors([side[:, :rank] for side in sides], [targets[m] for m in pair], fold)
                for sides, fold in judged
            ]
        )
        u, v = (_standardised(x) for x in held_out)
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


def _judged_folds(
    candidates: Sequence[Sequence[Tensor]], present: Tensor, folds: Sequence[Fold], ridge: float
) -> Iterator[tuple[tuple[Tensor, Tensor], Fold]]:
    """Canonical variates of two modalities by the directions of each fold's training rows; rows that have both."""
    both = present.all(1)
    for fold, features in zip(folds, candidates, strict=True):
        a, b = centred(features, present, fold.train)
        (left, cross), (_, right) = joint_covariance([a[fold.train], b[fold.train]], present[fold.train])
        canonical = canonical_directions(left, right, cross, ridge)
        rows = Fold(fold.train[both[fold.train]], fold.held_out[both[fold.held_out]])
        yield (a @ canonical.left, b @ canonical.right), rows


def _prediction_errors(common: Sequence[Tensor], targets: Sequence[Tensor], fold: Fold) -> Tensor:
    return (_one_way_errors(common[0], targets[1], fold) + _one_way_errors(common[1], targets[0], fold)) / 2


def _one_way_errors(common: Tensor, target: Tensor, fold: Fold) -> Tensor:
    """Squared errors of a regression on held-out rows; the columns of common are independent on training rows."""
    apart = target - target[fold.train].mean(0)
    known = common[fold.train]
    coefficients = torch.linalg.solve(known.T @ known, known.T @ apart[fold.train])
    errors = (apart[fold.held_out] - common[fold.held_out] @ coefficients).square().sum(1)
    share: Tensor = errors / apart[fold.held_out].square().sum(1).mean().clamp(min=torch.finfo(target.dtype).tiny)
    return share


def _standardised(x: Tensor) -> Tensor:
    apart = x - x.mean(0)
    return apart / apart.square().mean(0).sqrt().clamp(min=torch.finfo(x.dtype).tiny)


def _beyond_chance(gains: Sequence[Tensor]) -> bool:
    gain = torch.cat(list(gains))
    n = len(gain)
    return n >= FEWEST_HELD_OUT and bool(gain.mean() > STANDARD_ERRORS * gain.std() / n**0.5)
