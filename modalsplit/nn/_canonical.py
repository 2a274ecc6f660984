"""The closed form: principal anchors of each modality, canonical directions between two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modalsplit.nn._encoder import Affine
from modalsplit.nn._moments import Moments, column_means, float_blocks

# Wider modalities get their principal directions from a random sketch instead of the whole covariance.
WIDEST_EXACT = 2048
# Directions below this share of the largest eigenvalue are rounding errors.
NUMERICAL_RANK = 1e-9
ROWS_A_BLOCK = 256
COLUMNS_AT_ONCE = 64
# Passes over a wide modality, and directions that are sought beyond those that are wanted, half of them a pass.
PASSES, OVERSAMPLING = 4, 32
# Modalities share a coordinate if they agree this well on average, as a share of the best two alone.
TOGETHER = 0.75


class Canonical(NamedTuple):
    """Pairs of directions, one in each modality, most correlated pair first.

    Attributes
    ----------
    left : Tensor of shape (n_left, n_pairs)
        Maps the first modality to its canonical variates, of unit variance without a ridge.
    right : Tensor of shape (n_right, n_pairs)
        The same of the second modality.
    correlations : Tensor of shape (n_pairs,)
        Of the pairs on the rows they were computed from, without a ridge; 0 to 1.
    """

    left: Float[Tensor, "P K"]
    right: Float[Tensor, "Q K"]
    correlations: Float[Tensor, " K"]


def principal_anchors(x: Float[Tensor, "N P"], n_components: int, ridge: float, generator: torch.Generator) -> Affine:
    """Find the ridge-whitened principal directions of one modality.

    The scores of direction k have variance λ_k / (λ_k + r · mean λ): directions of signal get about unit
    variance, directions of noise stay small. Plain whitening would make noise as large as signal.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_columns)
        The modality, of any precision. It is read in blocks of rows and not copied.
    n_components : int
        How many directions, at most; fewer if the modality has fewer that vary.
    ridge : float
        The r above.
    generator : torch.Generator
        Draws the sketch of a wide modality.

    Returns
    -------
    Affine
        Maps rows to their K scores, float64.
    """
    mean = column_means(x)
    if min(x.shape) > WIDEST_EXACT:
        return sketched_anchors(mean, partial(_covariance_times, x, mean), len(x), n_components, ridge, generator)
    return _scaled_directions(mean, *_exact_directions(x, mean), n_components, ridge)


def anchors_of_covariance(
    mean: Float[Tensor, " P"],
    covariance: Float[Tensor, "P P"],
    n_rows: int,
    n_components: int,
    ridge: float,
    generator: torch.Generator,
) -> Affine:
    """Find what `principal_anchors` finds from the moments of the rows alone.

    Parameters
    ----------
    mean : Tensor of shape (n_columns,)
        Of the modality, float64.
    covariance : Tensor of shape (n_columns, n_columns)
        Of the modality, float64.
    n_rows : int
        How many rows they were computed from.
    n_components : int
        How many directions, at most.
    ridge : float
        See `principal_anchors`.
    generator : torch.Generator
        Draws the sketch of a wide modality.

    Returns
    -------
    Affine
        Maps rows to their K scores, float64.
    """
    if min(n_rows, len(mean)) > WIDEST_EXACT:
        return sketched_anchors(mean, covariance.__matmul__, n_rows, n_components, ridge, generator)
    eigenvalues, directions = torch.linalg.eigh(covariance)
    eigenvalues, directions = eigenvalues.flip(0).clamp(min=0), directions.flip(1)
    most = min(n_rows, len(mean))
    return _scaled_directions(mean, eigenvalues[:most], directions[:, :most], n_components, ridge)


def sketched_anchors(
    mean: Float[Tensor, " P"],
    covariance_times: Callable[[Float[Tensor, "P K"]], Float[Tensor, "P K"]],
    n_rows: int,
    n_components: int,
    ridge: float,
    generator: torch.Generator,
) -> Affine:
    """Find leading principal anchors in a block Krylov space of a random start.

    Parameters
    ----------
    mean : Tensor of shape (n_columns,)
        Of the modality, float64.
    covariance_times : callable
        Multiplies the modality's covariance by a matrix of shape (n_columns, n_block), float64; called four times.
    n_rows : int
        How many rows it is the covariance of.
    n_components : int
        How many directions, at most.
    ridge : float
        See `principal_anchors`; the mean variance is that of the directions found.
    generator : torch.Generator
        Draws the start.

    Returns
    -------
    Affine
        Maps rows to their K scores, float64.

    References
    ----------
    Musco and Musco, Randomized block Krylov methods for stronger and faster approximate singular value
    decomposition, NeurIPS 2015.
    """
    most = min(n_rows, len(mean))
    n_block = max(1, min((n_components + OVERSAMPLING + 1) // 2, most // PASSES))
    block = torch.randn(len(mean), n_block, dtype=torch.float64, device=generator.device, generator=generator).to(
        mean.device
    )
    basis = block.new_empty(len(mean), PASSES * n_block)
    small = block.new_empty(PASSES * n_block, PASSES * n_block)
    for start in range(0, PASSES * n_block, n_block):
        before, columns = basis[:, :start], slice(start, start + n_block)
        for _ in range(2):  # what is left of a block may be rounding errors, and then once is not enough
            block = torch.linalg.qr(block.sub_(before @ (before.T @ block))).Q
        basis[:, columns] = block
        block = covariance_times(block)
        # The covariance in the basis, of which eigh reads one triangle.
        small[: columns.stop, columns] = basis[:, : columns.stop].T @ block
    del block
    eigenvalues, rotation = torch.linalg.eigh(small, UPLO="U")
    leading = basis @ rotation.flip(1)[:, :n_components]
    del basis
    return _scaled_directions(mean, eigenvalues.flip(0).clamp(min=0), leading, n_components, ridge)


def joint_covariance(
    features: Sequence[Float[Tensor, "N _"]], present: Bool[Tensor, "N M"]
) -> list[list[Float[Tensor, "_ _"]]]:
    """Estimate the covariances within and between modalities, using incomplete rows for what they have: `Moments.joint`.

    Parameters
    ----------
    features : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality, centred; 0 in rows that lack it.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.

    Returns
    -------
    list of lists of Tensor of shape (n_columns, n_columns_other)
        Entry [a][b] is the covariance between modalities a and b.
    """
    return Moments([x.shape[1] for x in features]).add(features, present).joint()


def canonical_directions(
    left: Float[Tensor, "P P"], right: Float[Tensor, "Q Q"], cross: Float[Tensor, "P Q"], ridge: float = 0.0
) -> Canonical:
    """Find the canonical directions between two modalities.

    Parameters
    ----------
    left : Tensor of shape (n_left, n_left)
        Covariance of the first modality.
    right : Tensor of shape (n_right, n_right)
        Covariance of the second.
    cross : Tensor of shape (n_left, n_right)
        Covariance between them.
    ridge : float, default=0.0
        See `whitening`.

    Returns
    -------
    Canonical
        As many pairs as the narrower modality has directions that vary.

    References
    ----------
    Hotelling, Relations between two sets of variates, Biometrika 1936; Vinod, Canonical ridge and econometrics of
    joint production, Journal of Econometrics 1976.
    """
    to_left, to_right = whitening(left, ridge), whitening(right, ridge)
    u, correlations, vt = torch.linalg.svd(to_left.T @ cross @ to_right, full_matrices=False)
    # The sign of a pair is free: fix it, so that equal data give equal parts.
    sign = _column_sign(to_left @ u)
    return Canonical(to_left @ u * sign, to_right @ vt.T * sign, correlations.clamp(0, 1))


def whitening(covariance: Float[Tensor, "P P"], ridge: float = 0.0) -> Float[Tensor, "P K"]:
    """Map to uncorrelated columns of unit variance; directions without variance are left out.

    Parameters
    ----------
    covariance : Tensor of shape (n_columns, n_columns)
        Of what is mapped.
    ridge : float, default=0.0
        Added to each variance, in units of their mean: what varies little stays small.

    Returns
    -------
    Tensor of shape (n_columns, n_directions)
        The map.
    """
    eigenvalues, directions = torch.linalg.eigh(covariance)
    keep = eigenvalues > NUMERICAL_RANK * eigenvalues[-1:].clamp(min=torch.finfo(covariance.dtype).tiny)
    white: Tensor = directions[:, keep] / (eigenvalues[keep] + ridge * eigenvalues.mean()).sqrt()
    return white


def merged_subspace(bases: Sequence[Float[Tensor, "P _"]]) -> Float[Tensor, "P R"]:
    """Merge subspaces that are estimates of overlapping ones.

    A direction that two bases both estimate has an eigenvalue near 2 in the sum of the projections onto
    them, and what the two estimates differ by has one near 0; a direction of one basis alone has 1.

    Parameters
    ----------
    bases : sequence of Tensor of shape (n_columns, n_directions)
        Orthonormal columns each.

    Returns
    -------
    Tensor of shape (n_columns, n_merged)
        An orthonormal basis of the directions with an eigenvalue of 1/2 or more.
    """
    stacked = torch.cat(list(bases), dim=1)
    u, sizes, _ = torch.linalg.svd(stacked, full_matrices=False)
    merged: Tensor = u[:, sizes.square() >= 0.5]
    return merged


def joint_rotations(correlations: Sequence[Sequence[Float[Tensor, "_ _"]]]) -> list[Float[Tensor, "_ J"]]:
    """Rotate the variates of all modalities into joint coordinates, best agreement first.

    Coordinate by coordinate, the leading eigenvector of the correlations of what is left (MAXVAR) says which
    combination of each modality's variates agrees most. Where these agree much less than the best two modalities
    alone could, no direction is left that all show: then those two give the coordinate, and others that
    agree with both join. A modality that takes no part in a coordinate gets a column of 0. With two modalities
    this is the singular value decomposition of their correlations.

    Parameters
    ----------
    correlations : sequence of n_modalities sequences of n_modalities Tensor of shape (n_own, n_other)
        Between the uncorrelated, unit variance variates of two modalities.

    Returns
    -------
    list of n_modalities Tensor of shape (n_own, n_joint)
        Orthonormal columns and columns of 0. Variates that agree with no other modality are left out.

    References
    ----------
    Kettenring, Canonical analysis of several sets of variables, Biometrika 1971.
    """
    if len(correlations) == 2:
        u, _, vt = torch.linalg.svd(correlations[0][1], full_matrices=False)
        return [u, vt.T]
    left = [torch.eye(len(row[0]), dtype=row[0].dtype, device=row[0].device) for row in correlations]
    columns: list[list[Tensor]] = [[] for _ in left]
    while sum(basis.shape[1] > 0 for basis in left) > 1:
        blocks = [
            [p.T @ block @ q for block, q in zip(row, left, strict=True)]
            for row, p in zip(correlations, left, strict=True)
        ]
        leading = _next_coordinate(blocks)
        if not leading:
            break
        for m, basis in enumerate(left):
            direction = leading.get(m)
            columns[m].append(basis.new_zeros(len(basis)) if direction is None else basis @ direction)
            if direction is not None:
                left[m] = basis @ torch.linalg.qr(direction[:, None], mode="complete").Q[:, 1:]
    return [
        torch.stack(c, dim=1) if c else basis.new_zeros(len(basis), 0) for c, basis in zip(columns, left, strict=True)
    ]


def pairwise_correlations(u: Float[Tensor, "N K"], v: Float[Tensor, "N K"]) -> Float[Tensor, " K"]:
    """Correlate column k of one matrix with column k of the other.

    Parameters
    ----------
    u : Tensor of shape (n_rows, n_pairs)
        First matrix.
    v : Tensor of shape (n_rows, n_pairs)
        Second matrix.

    Returns
    -------
    Tensor of shape (n_pairs,)
        Correlations, -1 to 1; 0 where a column is constant.
    """
    u, v = u - u.mean(0), v - v.mean(0)
    size = (u.square().sum(0) * v.square().sum(0)).sqrt()
    return torch.where(size > 0, (u * v).sum(0) / size.clamp(min=torch.finfo(u.dtype).tiny), 0.0)


def effective_rank(eigenvalues: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Count directions by how evenly they share the variance: the exponential of the spectrum's entropy.

    Parameters
    ----------
    eigenvalues : Tensor of shape (n_directions,)
        Variances; negative ones are rounding errors.

    Returns
    -------
    Tensor of shape ()
        1 if one direction has all variance, n_directions if all have the same; 0 if there is none.

    References
    ----------
    Roy and Vetterli, The effective rank, EUSIPCO 2007.
    """
    positive = eigenvalues.clamp(min=0)
    total = positive.sum()
    share = positive / total.clamp(min=torch.finfo(total.dtype).tiny)
    entropy: Tensor = -torch.special.xlogy(share, share).sum()
    return torch.where(total > 0, entropy.exp(), 0.0)


def with_fixed_signs(directions: Float[Tensor, "P K"]) -> Float[Tensor, "P K"]:
    """Flip directions, whose sign is free, so that equal data give equal results.

    Parameters
    ----------
    directions : Tensor of shape (n_columns, n_directions)
        Directions in the columns.

    Returns
    -------
    Tensor of shape (n_columns, n_directions)
        The same, with the largest entry of each positive.
    """
    return directions * _column_sign(directions)


def with_joint_signs(directions: Sequence[Float[Tensor, "_ J"]]) -> list[Float[Tensor, "_ J"]]:
    """Flip joint coordinates in all modalities alike, so that equal data give equal results.

    Parameters
    ----------
    directions : sequence of Tensor of shape (n_columns, n_joint)
        A matrix a modality; a column of 0 where the modality does not show the coordinate.

    Returns
    -------
    list of Tensor of shape (n_columns, n_joint)
        The same, with the largest entry positive in the first modality that shows it.
    """
    sign = torch.zeros_like(_column_sign(directions[0]))
    for matrix in directions:
        sign = torch.where(sign == 0, _column_sign(matrix) * matrix.any(0), sign)
    return [matrix * torch.where(sign == 0, 1.0, sign) for matrix in directions]


def _exact_directions(x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) < x.shape[1]:
        _, sizes, vt = torch.linalg.svd(x.double() - mean, full_matrices=False)
        return sizes.square() / len(x), vt.T
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for block in torch.split(x, ROWS_A_BLOCK):
        centred = block.double() - mean
        covariance += centred.T @ centred
    eigenvalues, directions = torch.linalg.eigh(covariance / len(x))
    return eigenvalues.flip(0).clamp(min=0), directions.flip(1)


def _scaled_directions(
    mean: Tensor, eigenvalues: Tensor, directions: Tensor, n_components: int, ridge: float
) -> Affine:
    eigenvalues, directions = eigenvalues[:n_components], directions[:, :n_components]
    keep = eigenvalues > NUMERICAL_RANK * eigenvalues[0].clamp(min=torch.finfo(torch.float64).tiny)
    eigenvalues, directions = eigenvalues[keep], directions[:, keep]
    size = (eigenvalues + ridge * eigenvalues.mean()).sqrt()
    # In place, as these may be a large part of the memory of a fit; the signs are those of `with_fixed_signs`.
    return Affine(mean, directions.div_(size * _column_sign(directions)))


def _covariance_times(x: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    out: Tensor = torch.zeros_like(basis)
    basis = basis.to(torch.promote_types(x.dtype, torch.float32))
    for block in float_blocks(x, ROWS_A_BLOCK):
        centred = block - mean.to(block.dtype)
        out += centred.T @ (centred @ basis)
    return out.div_(len(x))


def _next_coordinate(blocks: Sequence[Sequence[Tensor]]) -> dict[int, Tensor]:
    """Find a unit vector for each modality that takes part in the next joint coordinate; none if nothing agrees."""
    members = [m for m in range(len(blocks)) if blocks[m][m].shape[0]]
    pairs = {(a, b): torch.linalg.svd(blocks[a][b], full_matrices=False) for a, b in combinations(members, 2)}
    best = max(pairs, key=lambda pair: float(pairs[pair].S[0]))
    strongest = float(pairs[best].S[0])
    if strongest <= NUMERICAL_RANK:
        return {}
    together = _with_partners(blocks, _leading_blocks(blocks, members), strongest)
    agreement = [float(together[a] @ blocks[a][b] @ together[b]) for a, b in combinations(sorted(together), 2)]
    if agreement and sum(agreement) / len(agreement) >= TOGETHER * strongest:
        return together
    first, second = best
    chosen = {first: pairs[best].U[:, 0], second: pairs[best].Vh[0]}
    for other in set(members) - set(best):
        direction = blocks[other][first] @ chosen[first] + blocks[other][second] @ chosen[second]
        direction = direction / direction.norm().clamp(min=torch.finfo(direction.dtype).tiny)
        if all(float(direction @ blocks[other][m] @ chosen[m]) >= strongest / 2 for m in best):
            chosen[other] = direction
    return chosen


def _with_partners(
    blocks: Sequence[Sequence[Tensor]], leading: dict[int, Tensor], strongest: float
) -> dict[int, Tensor]:
    """Leave out the modalities that agree with no other, and compute the others' vectors anew."""
    kept = [
        m
        for m in leading
        if any(
            float(leading[m] @ blocks[m][other] @ leading[other]) >= strongest / 2 for other in leading if other != m
        )
    ]
    return leading if len(kept) == len(leading) else _leading_blocks(blocks, kept) if kept else {}


def _leading_blocks(blocks: Sequence[Sequence[Tensor]], members: Sequence[int]) -> dict[int, Tensor]:
    """Leading eigenvector of the members' correlations, cut into one unit vector a member."""
    sizes = [blocks[m][m].shape[0] for m in members]
    whole = torch.cat([torch.cat([blocks[m][other] for other in members], dim=1) for m in members])
    parts = torch.split(torch.linalg.eigh(whole).eigenvectors[:, -1], sizes)
    return {
        m: part / part.norm() for m, part in zip(members, parts, strict=True) if float(part.norm()) > NUMERICAL_RANK
    }


def _column_sign(matrix: Tensor) -> Tensor:
    """Sign of each column's largest entry."""
    if matrix.numel() == 0:
        return matrix.new_ones(matrix.shape[1])
    signs = []
    for columns in torch.split(matrix, COLUMNS_AT_ONCE, dim=1):  # absolute values are a copy
        largest = columns.abs().argmax(dim=0, keepdim=True)
        signs.append(columns.gather(0, largest).sign().squeeze(0))
    sign = torch.cat(signs)
    return sign + (sign == 0)
