"""The losses: the paper's equations, and what the default objective adds to them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad, relu, softplus

from modalsplit.nn._moments import column_means

Parts = tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]
Orthogonality = Literal["inner", "hadamard", "covariance", "hsic"]
Gap = Literal["batch", "item"]
ROWS_A_BLOCK = 1024  # centred at a time, where all rows of a fit come at once


def encoder_loss(common: Parts, specific: Parts, orthogonality: Orthogonality = "inner") -> Float[Tensor, ""]:
    """Align the common parts and make the specific parts orthogonal (Eq. 3).

    L_en = mean over items of ‖c_v - c_t‖² + (s_v · s_t)²

    Parameters
    ----------
    common : pair of Tensor of shape (n_batch, n_components)
        Common part of each modality.
    specific : pair of Tensor of shape (n_batch, n_components)
        Specific part of each modality.
    orthogonality : {"inner", "hadamard", "covariance", "hsic"}, default="inner"
        How the product is read; see `orthogonality_loss`.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 3.
    """
    return alignment_loss(common) + orthogonality_loss(specific, orthogonality)


def alignment_loss(common: Parts) -> Float[Tensor, ""]:
    """Bring the common parts of an item together (Eq. 3, first term).

    mean over items of ‖c_v - c_t‖²

    Parameters
    ----------
    common : pair of Tensor of shape (n_batch, n_components)
        Common part of each modality.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 3. PAMD's released code takes the mean over dimensions as well: this by n_components.
    """
    return (common[0] - common[1]).square().sum(1).mean()


def orthogonality_loss(specific: Parts, reading: Orthogonality = "inner") -> Float[Tensor, ""]:
    """Make the specific parts orthogonal (Eq. 3, second term, ‖s_v · s_t‖²).

    Parameters
    ----------
    specific : pair of Tensor of shape (n_batch, n_components)
        Specific part of each modality.
    reading : {"inner", "hadamard", "covariance", "hsic"}, default="inner"
        What the product is, which the paper leaves open:

        - ``"inner"``: mean over items of (s_v · s_t)², as in PAMD's released code.
        - ``"hadamard"``: mean over items of ‖s_v ∘ s_t‖², the product element by element.
        - ``"covariance"``: ‖Cov(s_v, s_t)‖² (Frobenius) of the batch. Too large by about
          tr Cov(s_v) · tr Cov(s_t) / n_batch.
        - ``"hsic"``: the same without bias, `cross_covariance_energy`, of 4 items or more. What is negative counts
          as 0: it is chance, and on few items the parts could make it as negative as they like by growing.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 3.
    """
    a, b = specific
    if reading == "hsic":
        return relu(cross_covariance_energy(a, b))
    if reading == "covariance":
        return ((a - a.mean(0)).T @ (b - b.mean(0)) / max(1, len(a) - 1)).square().sum()
    product = a * b
    return (product.sum(1).square() if reading == "inner" else product.square().sum(1)).mean()


def common_gap(primitive: Parts, translated: Parts, gap: Gap = "batch") -> Float[Tensor, "*gap"]:
    """Error of each primitive when it is translated from the other modality's common part (Eq. 5).

    L_c = mean over items of ‖e_t - Φ_v(c_v)‖² + ‖e_v - Φ_t(c_t)‖²

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Primitive of each modality.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's common part (Eq. 4), in the same order.
    gap : {"batch", "item"}, default="batch"
        Whether the mean over items is taken.

    Returns
    -------
    Tensor of shape () or (n_batch,)
        The gap of the batch, or of each item; 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 4 and 5.
    """
    return _gap(primitive, translated, gap)


def primitive_gap(primitive: Parts, translated: Parts, gap: Gap = "batch") -> Float[Tensor, "*gap"]:
    """Error of each primitive when it is translated from the other modality's primitive (Eq. 8).

    L_p = mean over items of ‖e_t - Φ_v(e_v)‖² + ‖e_v - Φ_t(e_t)‖²

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Primitive of each modality.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's primitive (Eq. 6), in the same order.
    gap : {"batch", "item"}, default="batch"
        Whether the mean over items is taken.

    Returns
    -------
    Tensor of shape () or (n_batch,)
        The gap of the batch, or of each item; 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 6 and 8.
    """
    return _gap(primitive, translated, gap)


def specific_gap(target: Parts, translated: Parts, gap: Gap = "batch") -> Float[Tensor, "*gap"]:
    """Error of each target when it is translated from the other modality's specific part (Eq. 9).

    L_s = mean over items of ‖y_t - Φ_v(s_v)‖² + ‖y_v - Φ_t(s_t)‖²

    Parameters
    ----------
    target : pair of Tensor of shape (n_batch, n_components)
        As printed, the specific part of each modality; the primitive, as the text after Eq. 9 says,
        makes the three gaps comparable.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's specific part (Eq. 7), in the same order.
    gap : {"batch", "item"}, default="batch"
        Whether the mean over items is taken.

    Returns
    -------
    Tensor of shape () or (n_batch,)
        The gap of the batch, or of each item; 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 7 and 9.
    """
    return _gap(target, translated, gap)


def printed_ranking_loss(
    common: Float[Tensor, "*gap"], primitive: Float[Tensor, "*gap"], specific: Float[Tensor, "*gap"]
) -> Float[Tensor, ""]:
    """Order the gaps L_c < L_p < L_s, as printed (Eq. 10); it has no lower bound.

    L_de = log σ(L_c - L_p) + log σ(L_p - L_s)

    Parameters
    ----------
    common, primitive, specific : Tensor of shape () or (n_batch,)
        The three gaps, of the batch or of each item; of the latter the mean loss is taken.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or less, without a lower bound.

    References
    ----------
    Han et al., WWW 2022, Eq. 10. With Eq. 3 added it is the paper's objective, Eq. 11.
    """
    return (logsigmoid(common - primitive) + logsigmoid(primitive - specific)).mean()


def bounded_ranking_loss(
    common: Float[Tensor, "*gap"],
    primitive: Float[Tensor, "*gap"],
    specific: Float[Tensor, "*gap"],
    temperature: float = 1.0,
    margin: float = 0.0,
) -> Float[Tensor, ""]:
    """Order the gaps L_c < L_p < L_s by the bounded reading of Eq. 10.

    softplus((L_c - L_p + m) / τ) + softplus((L_p - L_s + m) / τ)

    Parameters
    ----------
    common, primitive, specific : Tensor of shape () or (n_batch,)
        The three gaps, of the batch or of each item; of the latter the mean loss is taken.
    temperature : float, default=1.0
        The τ above, in the units of the gaps.
    margin : float, default=0.0
        The m above, in the units of the gaps.

    Returns
    -------
    Tensor of shape ()
        The loss, more than 0.

    References
    ----------
    Han et al., WWW 2022, Eq. 10, with the sign and curvature of a ranking loss.
    """
    common_first = softplus((common - primitive + margin) / temperature)
    specific_last = softplus((primitive - specific + margin) / temperature)
    return (common_first + specific_last).mean()


def translated_cosines(
    target: Float[Tensor, "B P"], parts: Sequence[Float[Tensor, "B D"]], layer: nn.Linear
) -> list[Float[Tensor, " B"]]:
    """Cosine of each target with the translations of several parts, without making the translations.

    With y the target, x a part, W and b the map:

    cos(y, Wx + b) = (x · Wᵀy + b · y) / (‖y‖ √(xᵀWᵀW x + 2 x · Wᵀb + b · b))

    so that one product with the target and one of W with itself serve all parts, where translations would take three
    products each, forth and back, and as many matrices of the target's size.

    Parameters
    ----------
    target : Tensor of shape (n_batch, n_columns)
        One modality: its raw features. It gets no gradient.
    parts : sequence of Tensor of shape (n_batch, n_components)
        Parts of the other modality.
    layer : Linear
        From a part to the target, with a bias.

    Returns
    -------
    list of Tensor of shape (n_batch,)
        The cosines of each part; 0 where a target is 0.

    References
    ----------
    PAMD's released code, in the place of Han et al., WWW 2022, Eq. 4, 6 and 7.
    """
    target = target.detach()
    affine = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    shown, gram = target @ affine, affine.T @ affine
    length = _not_tiny(target.square().sum(1)).sqrt()
    cosines = []
    for part in parts:
        x = pad(part, (0, 1), value=1.0)
        squared = ((x @ gram) * x).sum(1)
        cosines.append((x * shown).sum(1) / (length * _not_tiny(squared).sqrt()))
    return cosines


def cosine_ranking_loss(
    common: Float[Tensor, " B"],
    primitive: Float[Tensor, " B"],
    specific: Float[Tensor, " B"],
    temperature: float = 0.5,
    batch_sum_negative: bool = False,
) -> Float[Tensor, ""]:
    """Order translations by cosine similarity with their target, one direction, as PAMD's released code does.

    With the cosines c, p, s of the three translations of an item: mean over items of
    -log[e^(c/τ) / (e^(c/τ) + e^(p/τ) + e^(s/τ))] - log[e^(p/τ) / (e^(p/τ) + e^(s/τ))]

    Parameters
    ----------
    common, primitive, specific : Tensor of shape (n_batch,)
        The cosines of the target with the modality as translated from the other one's common part, primitive and
        specific part; see `translated_cosines`.
    temperature : float, default=0.5
        The τ above, in units of cosine.
    batch_sum_negative : bool, default=False
        Whether s is the sum of the cosines of all items of the batch, the same for each, as in the released
        code, where the reduction lacks its axis.

    Returns
    -------
    Tensor of shape ()
        The loss, more than 0. Computed from logarithms of sums of exponentials, it does not overflow.

    References
    ----------
    PAMD's released code, in the place of Han et al., WWW 2022, Eq. 10.
    """
    c, p, s = (cosine / temperature for cosine in (common, primitive, specific))
    if batch_sum_negative:
        s = s.sum().expand_as(s)
    return (torch.stack([c, p, s]).logsumexp(0) - c + softplus(s - p)).mean()


def cosine_gap(first: Float[Tensor, " B"], second: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Measure how far translations point away from their targets.

    mean over items and both directions of 1 - cos(y, ŷ)

    Parameters
    ----------
    first, second : Tensor of shape (n_batch,)
        Cosines of either modality with its translation from the other one; see `translated_cosines`.

    Returns
    -------
    Tensor of shape ()
        The gap, 0 to 2; lower is better.

    References
    ----------
    L_c, L_p and L_s (Han et al., WWW 2022, Eq. 5, 8 and 9) in the units of PAMD's released code.
    """
    return 1 - (first.mean() + second.mean()) / 2


def relative_alignment_loss(common: Parts) -> Float[Tensor, ""]:
    """Bring the common parts of an item together, whatever their size: shrinking them gains nothing.

    L_align = mean over items of ‖c_v - c_t‖² / (tr Var c_v + tr Var c_t)

    Parameters
    ----------
    common : pair of Tensor of shape (n_batch, n_components)
        Common part of each modality.

    Returns
    -------
    Tensor of shape ()
        The loss: 0 if the parts are the same, 1 if they are uncorrelated, of equal means.
    """
    return alignment_loss(common) / _positive(total_variance(common[0]) + total_variance(common[1]))


def relative_errors(target: Float[Tensor, "B D"], translations: Sequence[Float[Tensor, "B D"]]) -> Float[Tensor, " K"]:
    """Measure the squared errors of translations, one direction, as shares of the target's variance.

    ℓ = mean over items of ‖y - ŷ‖² / tr Var y

    Parameters
    ----------
    target : Tensor of shape (n_batch, n_components)
        Primitive of one modality. It gets no gradient: the prediction is to improve, not the target.
    translations : sequence of Tensor of shape (n_batch, n_components)
        The same as predicted from parts of the other modality.

    Returns
    -------
    Tensor of shape (n_translations,)
        The errors, 0 or more; 1 is that of predicting the mean.
    """
    target = target.detach()
    errors = torch.stack([(target - translated).square().sum() for translated in translations])
    return errors / (len(target) * _positive(total_variance(target)))


def residual_loss(primitive: Parts, specific: Parts, whole: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Take what the modalities share out of the specific parts.

    L_res = ½ [H(s_v, e_t) + H(s_t, e_v)] / H₀, where H is `cross_covariance_energy`. It is measured against the
    other modality's whole primitive: the product of two specific parts is quartic in the extractors, and its gradient
    dies before the residual is gone.

    H is negative by chance, and on few rows a specific part could make it as negative as it likes by growing. So no H
    counts as less than a part as large as its primitive can have, -tr Var e_v · tr Var e_t / n_batch.

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Primitive of each modality, 4 rows or more. They get no gradient.
    specific : pair of Tensor of shape (n_batch, n_components)
        Specific part of each modality.
    whole : Tensor of shape ()
        H₀: H(e_v, e_t) of all rows; more than 0.

    Returns
    -------
    Tensor of shape ()
        The share: about 1 if nothing was taken out, 0 if the specific parts show nothing linear of the other
        modality, negative by chance.
    """
    first, second = (x.detach() for x in primitive)
    least = -total_variance(first) * total_variance(second) / len(first)
    left = torch.maximum(cross_covariance_energy(specific[0], second), least)
    right = torch.maximum(cross_covariance_energy(specific[1], first), least)
    return (left + right) / (2 * whole)


def agreement_loss(a: Float[Tensor, "B F"], b: Float[Tensor, "B F"]) -> Float[Tensor, ""]:
    """Make two modalities' features agree, keep their spread, and make them differ among themselves.

    25 · mean squared difference + 25 · mean hinge of each standard deviation at 1 + squared covariances

    Parameters
    ----------
    a : Tensor of shape (n_batch, n_features)
        Learned features of the first modality.
    b : Tensor of shape (n_batch, n_features)
        Of the second.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or more.

    References
    ----------
    Bardes, Ponce and LeCun, VICReg, ICLR 2022.
    """
    invariance = (a - b).square().mean()
    spread = torch.stack([relu(1 - (x.var(0) + 1e-4).sqrt()).mean() for x in (a, b)]).mean()
    redundancy = torch.stack([_off_diagonal_energy(x) for x in (a, b)]).sum() / a.shape[1]
    return 25 * invariance + 25 * spread + redundancy


def total_variance(x: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Sum the variances of all columns.

    tr Var x = mean over items of ‖x - mean x‖²

    Parameters
    ----------
    x : Tensor of shape (n_batch, n_components)
        A part or a primitive.

    Returns
    -------
    Tensor of shape ()
        The sum, 0 or more.
    """
    return (x - x.mean(0)).square().sum() / len(x)  # several times as fast as the sum of x.var(0)


def cross_covariance_energy(
    a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"], dtype: torch.dtype | None = None
) -> Float[Tensor, ""]:
    """Estimate ‖Cov(a, b)‖² (Frobenius) without bias: linear HSIC.

    The plug-in estimate would be too large by about tr Cov(a) · tr Cov(b) / n.

    Parameters
    ----------
    a : Tensor of shape (n_rows, n_left)
        First matrix, 4 rows or more.
    b : Tensor of shape (n_rows, n_right)
        Second matrix.
    dtype : torch.dtype, optional
        In which it is computed; that of the matrices by default.

    Returns
    -------
    Tensor of shape ()
        The estimate; it can be negative when there is no covariance.

    References
    ----------
    Song et al., Feature selection via dependence maximization, JMLR 2012, Eq. 5, with linear kernels.
    """
    n, means = len(a), [x.mean(0) if dtype is None else column_means(x, dtype) for x in (a, b)]
    blocks = zip(torch.split(a, ROWS_A_BLOCK), torch.split(b, ROWS_A_BLOCK), strict=True)
    # The means are of that dtype, and so is what they are subtracted from.
    sums = [_products(x - means[0], y - means[1]) for x, y in blocks]
    cross, of_a, of_b, diagonal = (functools.reduce(torch.add, of_blocks) for of_blocks in zip(*sums, strict=True))
    total: Tensor = cross.square().sum() - diagonal + of_a * of_b / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2)
    return total / (n * (n - 3))


def _products(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """Sum up some centred rows: their products, their squares, and the products of their squares."""
    k, m = a.square().sum(1), b.square().sum(1)
    return a.T @ b, k.sum(), m.sum(), (k * m).sum()


def residual_share(primitive: Parts, specific: tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]) -> Float[Tensor, ""]:
    """Share of the covariance between the modalities that the specific parts still carry.

    ½ [H(s_v, e_t) + H(s_t, e_v)] / H(e_v, e_t), where H is `cross_covariance_energy`: 1 if nothing was
    taken out, 0 if the specific parts show nothing linear of the other modality. Lower is better.

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_rows, n_components)
        Primitive of each modality.
    specific : pair of Tensor of shape (n_rows, n_specific)
        Specific part of each modality; columns of zeros may be left out.

    Returns
    -------
    Tensor of shape ()
        The share, float64; about 0 to 1, slightly negative by chance, NaN where the modalities share nothing
        at all.
    """
    whole = cross_covariance_energy(primitive[0], primitive[1], torch.float64)
    left = cross_covariance_energy(specific[0], primitive[1], torch.float64)
    right = cross_covariance_energy(specific[1], primitive[0], torch.float64)
    return torch.where(whole > 0, (left + right) / (2 * whole), torch.nan)


def _gap(target: Parts, translated: Parts, gap: Gap) -> Tensor:
    first, second = ((y - predicted).square().sum(1) for y, predicted in zip(target, translated, strict=True))
    return first + second if gap == "item" else (first + second).mean()


def _positive(x: Tensor) -> Tensor:
    """Keep a divisor away from 0, where all rows of a batch are equal."""
    return x.clamp(min=torch.finfo(x.dtype).eps)


def _not_tiny(x: Tensor) -> Tensor:
    """Keep a squared length away from 0, where the root has no gradient; rounding can make it negative."""
    return x.clamp(min=1e-16)


def _off_diagonal_energy(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    covariance = centred.T @ centred / (len(x) - 1)
    return covariance.square().sum() - covariance.diagonal().square().sum()
