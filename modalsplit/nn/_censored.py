"""Rectified features, such as a network's after a ReLU: what stood below the floor that cut them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

# A column is censored if this share of its cells or more, but not nearly all, stand at its lowest value.
FEWEST_AT_FLOOR, MOST_AT_FLOOR = 0.05, 0.95
# Rounds of estimation and of imputation; more change the scores of probes by 0.001 or less.
FIT_ROUNDS, ROUNDS = 30, 20
# Rows beyond these do not make the model better, only slower.
MOST_ROWS = 5000
# Noise has at least this share of the mean variance, or a column that others determine would divide by 0.
LEAST_NOISE = 1e-6


class Uncensor(nn.Module):
    """Put the expected value below the floor in place of each cell at the floor.

    The features before they were cut are taken for Gaussian, with a covariance of low rank plus noise. A cell at
    its floor is then a normal variable of which only an upper limit is known (a Tobit model): its expected
    value, given the row's other cells, is found by a fixed number of substitutions.

    Parameters
    ----------
    floor : Tensor of shape (n_columns,)
        Lowest value of each column; minus infinity for a column that is not cut.
    mean : Tensor of shape (n_columns,)
        Of the features before they were cut.
    directions : Tensor of shape (n_columns, n_directions)
        Orthonormal principal directions of these.
    shrinkage : Tensor of shape (n_directions,)
        Share of signal in the variance along each.
    deviation : Tensor of shape (n_columns,)
        Standard deviation of a cell around what the row's other cells predict.

    References
    ----------
    Tobin, Estimation of relationships for limited dependent variables, Econometrica 1958; Tipping and Bishop,
    Probabilistic principal component analysis, JRSS B 1999.
    """

    floor: Tensor
    mean: Tensor
    directions: Tensor
    shrinkage: Tensor
    deviation: Tensor

    def __init__(
        self,
        floor: Float[Tensor, " P"],
        mean: Float[Tensor, " P"],
        directions: Float[Tensor, "P K"],
        shrinkage: Float[Tensor, " K"],
        deviation: Float[Tensor, " P"],
    ) -> None:
        super().__init__()
        self.register_buffer("floor", floor)
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("shrinkage", shrinkage)
        self.register_buffer("deviation", deviation)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Impute a batch; cells above their floor stay as they are."""
        at_floor = x <= self.floor
        y = torch.where(at_floor, (self.floor - self.deviation).nan_to_num(), x)
        for _ in range(ROUNDS):
            y = torch.where(at_floor, self._expected(y)[0], x)
        return y

    def _expected(self, y: Float[Tensor, "B P"]) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P"]]:
        """Mean and variance of every cell, were it known to lie below its floor."""
        predicted = self.mean + ((y - self.mean) @ self.directions * self.shrinkage) @ self.directions.T
        distance = ((self.floor - predicted) / self.deviation).nan_to_num(neginf=0.0)
        # Inverse Mills ratio φ/Φ; erfcx keeps it exact where both vanish.
        mills = math.sqrt(2 / math.pi) / torch.special.erfcx(-distance / math.sqrt(2))
        variance = self.deviation.square() * (1 - distance * mills - mills.square()).clamp(0, 1)
        return predicted - self.deviation * mills, variance


def censored_columns(x: Float[Tensor, "N P"]) -> Bool[Tensor, " P"]:
    """Tell which columns are cut at their lowest value.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        The modality.

    Returns
    -------
    Tensor of bool of shape (n_columns,)
        True where 5 % to 95 % of the cells stand exactly at the lowest value and the others are not all equal.
    """
    lowest, highest = x.min(0).values, x.max(0).values
    share = (x == lowest).double().mean(0)
    two_valued = ((x == lowest) | (x == highest)).all(0)
    return (share >= FEWEST_AT_FLOOR) & (share <= MOST_AT_FLOOR) & ~two_valued


def fit_uncensor(x: Float[Tensor, "N P"], n_directions: int, generator: torch.Generator) -> Uncensor:
    """Estimate the features before they were cut, by expectation and maximisation.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        The modality, float64.
    n_directions : int
        Rank of the signal; at most half of the columns are used, so that noise can be told from it.
    generator : torch.Generator
        Draws the rows, if there are more than 5,000, and the first directions.

    Returns
    -------
    Uncensor
        The map, float64.
    """
    device = generator.device
    if len(x) > MOST_ROWS:
        x = x[torch.randperm(len(x), generator=generator, device=device)[:MOST_ROWS].to(x.device)]
    n_columns = x.shape[1]
    n_directions = max(1, min(n_directions, n_columns // 2, len(x) - 1))
    cut = censored_columns(x)
    lowest = x.min(0).values
    floor = torch.where(cut, lowest, -torch.inf)
    at_floor = x <= floor
    basis = torch.randn(n_columns, n_directions, dtype=x.dtype, generator=generator, device=device).to(x.device)
    y = torch.where(at_floor, lowest - x.std(0) / 2, x)
    unsure = torch.zeros_like(floor)
    for _ in range(FIT_ROUNDS):
        mean = y.mean(0)
        basis = torch.linalg.qr(_covariance_times(y - mean, unsure, basis)).Q
        model, basis = _low_rank_model(floor, mean, y - mean, unsure, basis)
        expected, variance = model._expected(y)
        y = torch.where(at_floor, expected, x)
        unsure = (variance * at_floor).mean(0)
    return model


def _low_rank_model(
    floor: Tensor, mean: Tensor, centred: Tensor, unsure: Tensor, basis: Tensor
) -> tuple[Uncensor, Tensor]:
    small = basis.T @ _covariance_times(centred, unsure, basis)
    variances, rotation = torch.linalg.eigh((small + small.T) / 2)
    directions = basis @ rotation
    total = centred.square().mean(0).sum() + unsure.sum()
    n_columns, n_directions = directions.shape
    noise = (total - variances.sum()) / max(n_columns - n_directions, 1)
    noise = noise.clamp(min=LEAST_NOISE * total / n_columns).clamp(min=torch.finfo(total.dtype).tiny)
    signal = (variances - noise).clamp(min=0)
    shrinkage = signal / (signal + noise)
    deviation = (noise + directions.square() @ (noise * shrinkage)).sqrt()
    return Uncensor(floor, mean, directions, shrinkage, deviation), directions


def _covariance_times(centred: Tensor, unsure: Tensor, basis: Tensor) -> Tensor:
    """Covariance of the imputed features, with what is unsure of them, times a basis."""
    product: Tensor = centred.T @ (centred @ basis) / len(centred) + unsure[:, None] * basis
    return product
