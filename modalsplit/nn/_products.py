"""Features of the second degree: what products of two columns tell of another modality, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from modalsplit.nn._canonical import NUMERICAL_RANK, whitening

# Columns that are multiplied with each other, at most: 40 have 820 products.
MOST_COLUMNS = 40
# Of the products' mean variance; cross-validation chooses.
RIDGES = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# What a search round keeps of the directions that matter.
KEPT = 2 / 3
# Whose terms are held at a time.
ROWS_A_BLOCK = 256


class ProductFeatures(nn.Module):
    """Linear combinations of some directions of a modality and of their products.

    Parameters
    ----------
    basis : Tensor of shape (n_in, n_directions)
        The directions, in the input's columns.
    mean : Tensor of shape (n_terms,)
        Of the terms: n_directions (n_directions + 3) / 2, see `terms`.
    weight : Tensor of shape (n_terms, n_features)
        From terms to features.
    """

    basis: Tensor
    mean: Tensor
    weight: Tensor

    def __init__(self, basis: Float[Tensor, "P M"], mean: Float[Tensor, " T"], weight: Float[Tensor, "T F"]) -> None:
        super().__init__()
        self.n_in = len(basis)
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)
        self.register_buffer("weight", weight)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B F"]:
        """Compute the features of a batch."""
        features: Tensor = (terms(x @ self.basis) - self.mean) @ self.weight
        return features


def terms(u: Float[Tensor, "B M"]) -> Float[Tensor, "B T"]:
    """Put columns and the products of any two, squares included, side by side.

    Parameters
    ----------
    u : Tensor of shape (n_rows, n_columns)
        The columns.

    Returns
    -------
    Tensor of shape (n_rows, n_columns (n_columns + 3) / 2)
        The columns, then the upper triangle of their products, row by row.
    """
    first, second = torch.triu_indices(u.shape[1], u.shape[1], device=u.device)
    return torch.cat([u, u[:, first] * u[:, second]], dim=1)


def fit_products(
    x: Float[Tensor, "N P"], y: Float[Tensor, "N Q"], n_features: int, rows: Int[Tensor, " R"] | None = None
) -> tuple[ProductFeatures, Float[Tensor, "R F"]]:
    """Find the functions of the second degree of one modality that tell most of another one.

    A ridge regression on all terms of the leading columns gives the functions' gradients; directions in which
    these do not vary do not matter. So the search narrows the directions by a third a round, regresses anew, and
    keeps the set that generalised cross-validation likes best: few directions have few products, hence little
    noise. The features are the leading principal components of what is predicted (reduced-rank regression).

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_in)
        Anchors of a modality, the columns of most variance first.
    y : Tensor of shape (n_rows, n_targets)
        Anchors of the others.
    n_features : int
        How many functions, at most.
    rows : Tensor of int of shape (n_chosen,), optional
        Rows to learn from; all by default.

    Returns
    -------
    features : ProductFeatures
        The functions, float64, of unit variance on these rows; none if x does not vary.
    left_out : Tensor of float64 of shape (n_chosen, n_features)
        Their values on these rows, each from the regression of all other rows: what the functions of a row
        themselves give is nearer to its own y than they will be to that of an unseen row.

    References
    ----------
    Golub, Heath and Wahba, Generalized cross-validation, Technometrics 1979; Hristache, Juditsky, Polzehl and
    Spokoiny, Structure adaptive approach for dimension reduction, Annals of Statistics 2001, for the gradients.
    """
    rows = torch.arange(len(x), device=x.device) if rows is None else rows
    deviation = x[rows].std().double()
    if len(rows) < 2 or not deviation > 0:
        nothing = x.new_zeros(len(rows) + x.shape[1] + 1, 0, dtype=torch.float64)
        return ProductFeatures(nothing[: x.shape[1]], nothing[0], nothing[:0]), nothing[: len(rows)]
    learn_from = _Rows(x, y, rows)
    basis = _searched(learn_from, deviation)
    moments = _moments(learn_from, basis)
    found = _regressed(moments)
    _, sizes, vt = torch.linalg.svd(found.weight.T @ moments.covariance @ found.weight)  # of what is told of y
    kept = sizes[:n_features] > NUMERICAL_RANK * sizes[0]
    rotation = vt.T[:, :n_features][:, kept] / sizes[:n_features][kept].sqrt()
    left_out = []
    for z, of_y in learn_from.terms_and_targets(basis):
        apart = z - moments.mean
        leverage = ((apart @ found.root).square().sum(1, keepdim=True) + 1) / len(rows)
        told = (apart @ found.weight - leverage * (of_y - moments.mean_target)) / (1 - leverage)
        left_out.append(told @ rotation)
    return ProductFeatures(basis, moments.mean, found.weight @ rotation), torch.cat(left_out)


class _Rows(NamedTuple):
    """Some rows of two modalities, which are copied a block at a time."""

    x: Tensor
    y: Tensor
    rows: Tensor

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut the rows into blocks, float64."""
        for rows in torch.split(self.rows, ROWS_A_BLOCK):
            yield self.x[rows].double(), self.y[rows].double()

    def terms_and_targets(self, basis: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Compute the terms of the directions, and give the targets beside them."""
        for x, y in self.blocks():
            yield terms(x @ basis), y


def _searched(learn_from: _Rows, deviation: Tensor) -> Tensor:
    """Directions whose terms predict best, by cross-validation."""
    (_, width), n_rows = learn_from.x.shape, len(learn_from.rows)
    # So many that the terms are fewer than half of the rows.
    widest = int(min(MOST_COLUMNS, width, max(2.0, (n_rows + 2) ** 0.5 - 1.5)))
    basis = torch.eye(width, widest, dtype=torch.float64, device=deviation.device) / deviation
    best = (torch.inf, basis)
    while True:
        found = _regressed(_moments(learn_from, basis))
        if found.error < best[0]:
            best = (found.error, basis)
        n_directions = int(basis.shape[1] * KEPT)
        if n_directions < 2:
            return best[1]
        basis = basis @ _most_varied(_products_of(learn_from, basis), found.weight)[:, :n_directions]


def _products_of(learn_from: _Rows, basis: Tensor) -> Tensor:
    """Mean products of the directions."""
    blocks = (x @ basis for x, _ in learn_from.blocks())
    return sum((u.T @ u for u in blocks), start=basis.new_zeros(basis.shape[1], basis.shape[1])) / len(learn_from.rows)


class _Moments(NamedTuple):
    """Of terms and targets: means, covariances, the targets' total variance; and how many rows there are."""

    n_rows: int
    mean: Tensor
    mean_target: Tensor
    covariance: Tensor
    joint: Tensor
    total: Tensor


def _moments(learn_from: _Rows, basis: Tensor) -> _Moments:
    n, n_terms = len(learn_from.rows), basis.shape[1] * (basis.shape[1] + 3) // 2
    mean_target = torch.stack([y.sum(0) for _, y in learn_from.blocks()]).sum(0) / n
    mean, total = basis.new_zeros(n_terms), basis.new_zeros(())
    covariance, joint = basis.new_zeros(n_terms, n_terms), basis.new_zeros(n_terms, len(mean_target))
    for z, of_y in learn_from.terms_and_targets(basis):
        apart = of_y - mean_target
        mean += z.sum(0) / n
        covariance.addmm_(z.T, z, alpha=1 / n)
        joint.addmm_(z.T, apart, alpha=1 / n)
        total += apart.square().sum() / n
    return _Moments(n, mean, mean_target, covariance.sub_(torch.outer(mean, mean)), joint, total)


def _most_varied(covariance: Tensor, weight: Tensor) -> Tensor:
    """Directions, of unit variance, along which the functions vary most: eigenvectors of their gradients' products."""
    width = len(covariance)
    first, second = torch.triu_indices(width, width, device=covariance.device)
    hessians = covariance.new_zeros(weight.shape[1], width, width)
    hessians[:, first, second] = weight[width:].T
    hessians = hessians + hessians.transpose(1, 2)
    gradients = weight[:width] @ weight[:width].T + (hessians @ covariance @ hessians).sum(0)
    white = whitening(covariance)
    back = covariance @ white
    directions: Tensor = white @ torch.linalg.eigh(back.T @ gradients @ back).eigenvectors.flip(1)
    return directions


class _Regression(NamedTuple):
    """Least generalised cross-validation error, weights, and a root of what leverages are made of."""

    error: float
    weight: Tensor
    root: Tensor


def _regressed(moments: _Moments) -> _Regression:
    """Ridge regression of the targets on the terms."""
    n, total = moments.n_rows, moments.total
    variances, vectors = torch.linalg.eigh(moments.covariance)
    variances = variances.clamp(min=0)
    projected = vectors.T @ moments.joint
    power = projected.square().sum(1)
    best, shrunk = torch.inf, torch.zeros_like(variances)
    for ridge in RIDGES:
        inverse = 1 / (variances + ridge * variances.mean())
        freedom = (variances * inverse).sum() / n
        squares = total - 2 * (power * inverse).sum() + (variances * power * inverse.square()).sum()
        error = float(squares / (1 - freedom).square())
        if error < best and freedom < 1:
            best, shrunk = error, inverse
    return _Regression(best, vectors @ (projected * shrunk[:, None]), vectors * shrunk.sqrt())
