"""Rectified features, such as a network's after a ReLU: what stood below the floor that cut them."""

from __future__ import annotations

import copy
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from modalsplit.nn._moments import float_blocks

# A column is censored if this share of its cells or more, but not nearly all, stand at its lowest value.
FEWEST_AT_FLOOR, MOST_AT_FLOOR = 0.05, 0.95
# Rounds of estimation and of imputation. Each goes further than to the expected value by a factor, below the 2 that would
# overshoot for ever: 12 rounds then come as near the fixed point as 20 without.
FIT_ROUNDS, ROUNDS = 30, 12
FURTHER = 1.4
# Rows at a time: what is computed of them should stay in the processor's cache.
ROWS_A_BLOCK = 256
# Of log(erfcx(x) / t) in 2 t - 1, with t = 2 / (2 + x), for x >= 0, lowest power first; relative error 1e-7.
EXPONENT = (
    -0.671794084,
    0.67264217,
    0.0473435276,
    -0.0468742683,
    -0.0098772444,
    0.0087016009,
    0.00178649683,
    -0.00204580603,
    -0.000219426882,
    0.000332440702,
    4.65786247e-06,
)
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
        for further in (*[FURTHER] * (ROUNDS - 1), 1.0):
            y = torch.where(at_floor, torch.lerp(y, self._expected(y)[0], further), x)
        return y

    def _expected(self, y: Float[Tensor, "B P"]) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P"]]:
        """Mean and variance of every cell, were it known to lie below its floor."""
        predicted = self.mean + ((y - self.mean) @ self.directions * self.shrinkage) @ self.directions.T
        distance = ((self.floor - predicted) / self.deviation).nan_to_num(neginf=0.0)
        mills = inverse_mills_ratio(distance)
        variance = self.deviation.square() * (1 - distance * mills - mills.square()).clamp(0, 1)
        return predicted - self.deviation * mills, variance


def inverse_mills_ratio(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Density of the normal distribution over its cumulative distribution, φ(x) / Φ(x), exact where both vanish.

    Parameters
    ----------
    x : Tensor
        Standardised values.

    Returns
    -------
    Tensor of the same shape
        The ratio, 0 or more, about -x far below 0. float32 is computed by a polynomial that is several times as fast as
        torch's own function, with a relative error of 1e-6.
    """
    scaled = x * -(0.5**0.5)
    ratio: Tensor = (2 / math.pi) ** 0.5 / (_erfcx(scaled) if x.dtype == torch.float32 else torch.special.erfcx(scaled))
    return ratio


def _erfcx(x: Tensor) -> Tensor:
    """Compute exp(x²) erfc(x), for x >= 0 as t exp(P(2 t - 1)) with t = 2 / (2 + x)."""
    t = 2 / (x.abs() + 2)
    centred = 2 * t - 1
    highest, *others = reversed(EXPONENT)
    exponent = torch.full_like(t, highest)
    for coefficient in others:
        exponent.mul_(centred).add_(coefficient)
    of_magnitude = exponent.exp_().mul_(t)
    return torch.where(x < 0, 2 * torch.exp(x.square()) - of_magnitude, of_magnitude)


def imputed(model: Uncensor, x: Float[Tensor, "N P"]) -> Float[Tensor, "N P"]:
    """Impute many rows, in single precision.

    Parameters
    ----------
    model : Uncensor
        What imputes.
    x : Tensor of shape (n_rows, n_columns)
        The rows.

    Returns
    -------
    Tensor of shape (n_rows, n_columns)
        Of the dtype of `x`, or float32 for half precision; cells above their floor are as they were, others have a relative error of about 1e-5.
    """
    single = copy.deepcopy(model).float()
    out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    for block, to in zip(float_blocks(x, ROWS_A_BLOCK), torch.split(out, ROWS_A_BLOCK), strict=True):
        torch.where(block <= model.floor, single(block.float()).to(out.dtype), block, out=to)
    return out


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
    at_floor, at_either = torch.zeros(2, x.shape[1], dtype=torch.int64, device=x.device)
    for block in torch.split(x, ROWS_A_BLOCK):
        is_lowest = block == lowest
        at_floor += is_lowest.sum(0)
        at_either += is_lowest.logical_or_(block == highest).sum(0)
    share = at_floor.double() / len(x)
    is_cut: Tensor = (share >= FEWEST_AT_FLOOR) & (share <= MOST_AT_FLOOR) & (at_either < len(x))
    return is_cut


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
    basis = torch.randn(n_columns, n_directions, dtype=x.dtype, generator=generator, device=device).to(x.device)
    basis = torch.linalg.qr(basis).Q
    y = torch.where(x <= floor, lowest - x.std(0) / 2, x)
    unsure = torch.zeros_like(floor)
    for _ in range(FIT_ROUNDS):
        mean = y.mean(0)
        centred = y - mean
        product = centred.T @ (centred @ basis) / len(x) + unsure[:, None] * basis  # the covariance times the basis
        total = centred.square().mean(0).sum() + unsure.sum()
        model = _low_rank_model(floor, mean, basis, product, total)
        basis = torch.linalg.qr(product).Q
        unsure = torch.zeros_like(floor)
        for rows, known in zip(torch.split(y, ROWS_A_BLOCK), torch.split(x, ROWS_A_BLOCK), strict=True):
            at_floor = known <= floor
            expected, variance = model._expected(rows)
            rows.copy_(torch.where(at_floor, torch.lerp(rows, expected, FURTHER), known))
            unsure += (variance * at_floor).sum(0) / len(x)
    return model


def _low_rank_model(floor: Tensor, mean: Tensor, basis: Tensor, product: Tensor, total: Tensor) -> Uncensor:
    """Fit signal and noise to a covariance: its product with an orthonormal basis, and its trace."""
    small = basis.T @ product
    variances, rotation = torch.linalg.eigh((small + small.T) / 2)
    directions = basis @ rotation
    n_columns, n_directions = directions.shape
    noise = (total - variances.sum()) / max(n_columns - n_directions, 1)
    noise = noise.clamp(min=LEAST_NOISE * total / n_columns).clamp(min=torch.finfo(total.dtype).tiny)
    signal = (variances - noise).clamp(min=0)
    shrinkage = signal / (signal + noise)
    deviation = (noise + directions.square() @ (noise * shrinkage)).sqrt()
    return Uncensor(floor, mean, directions, shrinkage, deviation)
