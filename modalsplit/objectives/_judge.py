"""Rows that were held out judge canonical directions: how many are real, and how well they serve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import Moments, canonical_directions, column_means
from modalsplit.objectives._scan import ROWS_A_BLOCK

# Correlations on n unseen rows scatter around 0 with 1/sqrt(n) if there is nothing; 3 of these are a proof.
NULL_DEVIATIONS = 3.0
# A direction belongs to the common part if it is at least this share of the strongest correlation: corrected
# for how noisy the modalities are, more of it is then shared than not.
LEAST_SHARE = 0.5
# A more complicated candidate must be better by this many standard errors.
STANDARD_ERRORS = 2.0
# Of errors, which are shares: what is less is rounding, and may have no spread.
LEAST_GAIN = 1e-6
# With fewer rows held out nothing can be judged.
FEWEST_HELD_OUT = 10
# At a time.
ROWS_JUDGED = 256


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
    apart : Tensor of float32 of shape (n_held_out, rank)
        Squared difference between the leading canonical variates of both modalities, each standardised, summed up to a
        column.
    errors : Tensor of shape (n_held_out,)
        Squared error of the other modality's anchors, predicted from the common part, averaged over both ways
        (Eq. 5), as a share of the anchors' mean square: 1 if nothing is predicted.
    """

    rank: int
    correlations: Tensor
    apart: Tensor
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


def centre(features: Sequence[Tensor], present: Tensor) -> list[Tensor]:
    """Subtract each modality's mean, in place, and put 0 where it is absent, so that sums pass over these rows.

    Parameters
    ----------
    features : sequence of Tensor of shape (n_rows, n_features)
        A matrix a modality, which is changed; whatever stands in its absent rows does not matter.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.

    Returns
    -------
    list of Tensor of float64 of shape (n_features,)
        The means; 0 of a modality that no row has.
    """
    means = []
    for x, have in zip(features, present.T, strict=True):
        rows = x if have.all() else x[have]
        mean = column_means(rows) if len(rows) else x.new_zeros(x.shape[1], dtype=torch.float64)
        x.sub_(mean.to(x.dtype)).masked_fill_(~have[:, None], 0.0)
        means.append(mean)
    return means


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
        Of the training rows of each fold, by pair of modalities: of columns whose first ones are the targets, and whose
        first ones are the features. Candidates of leading columns can share it. Computed by default.

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
            starts = [0, 0] if moments else [of_one.shape[1] for of_one in y]
            rows = fold.held_out[of_pair[fold.held_out].all(1)]
            trials.append(_Trial(x, y, rows, train, starts, ridge))
        correlations, scales = _correlations(trials)
        rank = common_rank(correlations, sum(len(trial.rows) for trial in trials), most, fixed)
        errors = torch.cat([trial.errors(rank) for trial in trials])
        verdicts[pair] = PairVerdict(rank, correlations, _apart(trials, scales, rank), errors)
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
        apart = [verdict.apart[:, :rank][:, -1:] for verdict in (ours, theirs)]  # no column if rank is 0
        gains.append((apart[1] - apart[0]).sum(1))
    return _beyond_chance(gains)


def _moments(features: Sequence[Tensor], targets: Sequence[Tensor], present: Tensor, rows: Tensor) -> Moments:
    """Sum up some rows of two modalities, targets and features side by side."""
    moments = Moments([x.shape[1] + y.shape[1] for x, y in zip(features, targets, strict=True)])
    for block in torch.split(rows, ROWS_A_BLOCK):
        there = present[block]
        wholes = [
            torch.where(have[:, None], torch.cat([y[block], x[block]], dim=1), 0.0)
            for x, y, have in zip(features, targets, there.T, strict=True)
        ]
        moments.add(wholes, there)
    return moments


class _Trial:
    """The canonical directions of a fold's training rows, and its held-out rows that have both modalities.

    Training rows are only known by their moments, in which a modality's targets come first and its features from the start
    that is given on. What is made of the others is made a block at a time, as the variates of all folds are as large as the
    anchors.
    """

    def __init__(
        self,
        features: Sequence[Tensor],
        targets: Sequence[Tensor],
        rows: Tensor,
        train: Moments,
        starts: Sequence[int],
        ridge: float,
    ) -> None:
        self.features, self.targets, self.rows = features, targets, rows
        self.train = train
        self.columns = [range(start, start + x.shape[1]) for start, x in zip(starts, features, strict=True)]
        chosen = train.select(self.columns)
        self.means = chosen.means()
        (left, cross), (_, right) = chosen.centred().joint()
        canonical = canonical_directions(left, right, cross, ridge)
        self.directions = canonical.left, canonical.right

    def variates(self, modality: int, n_pairs: int, rows: Tensor) -> Tensor:
        """Compute the leading canonical variates of some rows of one modality."""
        return (self.features[modality][rows] - self.means[modality]) @ self.directions[modality][:, :n_pairs]

    def errors(self, rank: int) -> Tensor:
        """Squared errors of either modality's targets, as predicted from the other one's leading variates."""
        return (self._one_way(0, 1, rank) + self._one_way(1, 0, rank)) / 2

    def _one_way(self, source: int, target: int, rank: int) -> Tensor:
        n, totals, products = self.train.complete()
        columns, wanted = self.columns[source], slice(self.targets[target].shape[1])
        of_source = slice(columns.start, columns.stop)
        total, mean, direction = totals[source][of_source], self.means[source], self.directions[source][:, :rank]
        mean_target = totals[target][wanted] / max(n, 1)
        shift = torch.outer(total, mean)
        spread = products[source][source][of_source, of_source] - shift - shift.T + n * torch.outer(mean, mean)
        joint = products[source][target][of_source, wanted] - torch.outer(total, mean_target)
        coefficients = torch.linalg.solve(direction.T @ spread @ direction, direction.T @ joint)
        errors, sizes = [], []
        for rows in torch.split(self.rows, ROWS_JUDGED):
            apart = self.targets[target][rows] - mean_target
            errors.append((apart - self.variates(source, rank, rows) @ coefficients).square().sum(1))
            sizes.append(apart.square().sum(1))
        return torch.cat(errors) / torch.cat(sizes).mean().clamp(min=torch.finfo(mean.dtype).tiny)


# Means and standard deviations of the variates of each modality.
_Scales = list[tuple[Tensor, Tensor]]


def _correlations(trials: Sequence[_Trial]) -> tuple[Tensor, _Scales]:
    """Correlate the canonical pairs over the held-out rows of all folds."""
    n_pairs = min(trial.directions[0].shape[1] for trial in trials)
    sums = trials[0].directions[0].new_zeros(5, n_pairs)
    for trial in trials:
        for rows in torch.split(trial.rows, ROWS_JUDGED):
            # The training rows' means are subtracted, so that nothing cancels below.
            u, v = (trial.variates(m, n_pairs, rows) for m in (0, 1))
            sums += torch.stack([x.sum(0) for x in (u, v, u * u, v * v, u * v)])
    u, v, uu, vv, uv = sums / max(sum(len(trial.rows) for trial in trials), 1)
    variances = [(uu - u * u).clamp(min=0), (vv - v * v).clamp(min=0)]
    size = (variances[0] * variances[1]).sqrt()
    varies = size > torch.finfo(size.dtype).eps * (uu * vv).sqrt()
    correlations = torch.where(varies, (uv - u * v) / torch.where(varies, size, 1.0), 0.0).clamp(-1, 1)
    least = torch.finfo(size.dtype).tiny
    return correlations, [(mean, x.sqrt().clamp(min=least)) for mean, x in zip((u, v), variances, strict=True)]


def _apart(trials: Sequence[_Trial], scales: _Scales, rank: int) -> Tensor:
    """Tell how far the standardised variates of the held-out rows are apart, for each number of pairs up to a rank."""
    found = []
    for trial in trials:
        for rows in torch.split(trial.rows, ROWS_JUDGED):
            u, v = (
                (trial.variates(m, rank, rows) - mean[:rank]) / deviation[:rank]
                for m, (mean, deviation) in enumerate(scales)
            )
            found.append((u - v).square().cumsum(1).float())
    return torch.cat(found)


def _beyond_chance(gains: Sequence[Tensor]) -> bool:
    gain = torch.cat(list(gains))
    n = len(gain)
    beyond = (STANDARD_ERRORS * gain.std() / n**0.5).clamp(min=LEAST_GAIN)
    return n >= FEWEST_HELD_OUT and bool(gain.mean() > beyond)
