"""The losses: the paper's equations, and what the default objective adds to them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus

Parts = tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]


def encoder_loss(common: Parts, specific: Parts) -> Float[Tensor, ""]:
    """Align the common parts and make the specific parts of an item orthogonal (Eq. 3).

    L_en = mean over items of ‖c_v - c_t‖² + (s_v · s_t)²

    Parameters
    ----------
    common : pair of Tensor of shape (n_batch, n_components)
        Common part of each modality.
    specific : pair of Tensor of shape (n_batch, n_components)
        Specific part of each modality.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 3; the product is read as an inner product, as in the released code.
    """
    alignment = (common[0] - common[1]).square().sum(1)
    orthogonality = (specific[0] * specific[1]).sum(1).square()
    return (alignment + orthogonality).mean()


def common_gap(primitive: Parts, translated: Parts) -> Float[Tensor, ""]:
    """Error of each primitive when it is translated from the other modality's common part (Eq. 5).

    L_c = mean over items of ‖e_t - Φ_v(c_v)‖² + ‖e_v - Φ_t(c_t)‖²

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Primitive of each modality.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's common part (Eq. 4), in the same order.

    Returns
    -------
    Tensor of shape ()
        The gap, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 4 and 5.
    """
    return _gap(primitive, translated)


def primitive_gap(primitive: Parts, translated: Parts) -> Float[Tensor, ""]:
    """Error of each primitive when it is translated from the other modality's primitive (Eq. 8).

    L_p = mean over items of ‖e_t - Φ_v(e_v)‖² + ‖e_v - Φ_t(e_t)‖²

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Primitive of each modality.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's primitive (Eq. 6), in the same order.

    Returns
    -------
    Tensor of shape ()
        The gap, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 6 and 8.
    """
    return _gap(primitive, translated)


def specific_gap(target: Parts, translated: Parts) -> Float[Tensor, ""]:
    """Error of each target when it is translated from the other modality's specific part (Eq. 9).

    L_s = mean over items of ‖y_t - Φ_v(s_v)‖² + ‖y_v - Φ_t(s_t)‖²

    Parameters
    ----------
    target : pair of Tensor of shape (n_batch, n_components)
        As printed, the specific part of each modality; the primitive, as the text after Eq. 9 says,
        makes the three gaps comparable.
    translated : pair of Tensor of shape (n_batch, n_components)
        Each modality as predicted from the other one's specific part (Eq. 7), in the same order.

    Returns
    -------
    Tensor of shape ()
        The gap, 0 or more.

    References
    ----------
    Han et al., WWW 2022, Eq. 7 and 9.
    """
    return _gap(target, translated)


def printed_ranking_loss(
    common: Float[Tensor, ""], primitive: Float[Tensor, ""], specific: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Order the gaps L_c < L_p < L_s, as printed (Eq. 10); it has no lower bound.

    L_de = log σ(L_c - L_p) + log σ(L_p - L_s)

    Parameters
    ----------
    common, primitive, specific : Tensor of shape ()
        The three gaps.

    Returns
    -------
    Tensor of shape ()
        The loss, 0 or less, without a lower bound.

    References
    ----------
    Han et al., WWW 2022, Eq. 10. With Eq. 3 added it is the paper's objective, Eq. 11.
    """
    return logsigmoid(common - primitive) + logsigmoid(primitive - specific)


def bounded_ranking_loss(
    common: Float[Tensor, ""],
    primitive: Float[Tensor, ""],
    specific: Float[Tensor, ""],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Order the gaps L_c < L_p < L_s by the bounded reading of Eq. 10.

    softplus((L_c - L_p) / τ) + softplus((L_p - L_s) / τ)

    Parameters
    ----------
    common, primitive, specific : Tensor of shape ()
        The three gaps.
    temperature : float, default=1.0
        The τ above.

    Returns
    -------
    Tensor of shape ()
        The loss, more than 0.

    References
    ----------
    Han et al., WWW 2022, Eq. 10, with the sign and curvature of a ranking loss.
    """
    return softplus((common - primitive) / temperature) + softplus((primitive - specific) / temperature)


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


def cross_covariance_energy(a: Float[Tensor, "N P"], b: Float[Tensor, "N Q"]) -> Float[Tensor, ""]:
    """Estimate ‖Cov(a, b)‖² (Frobenius) without bias: linear HSIC.

    The plug-in estimate would be too large by about tr Cov(a) · tr Cov(b) / n.

    Parameters
    ----------
    a : Tensor of shape (n_rows, n_left)
        First matrix, 4 rows or more.
    b : Tensor of shape (n_rows, n_right)
        Second matrix.

    Returns
    -------
    Tensor of shape ()
        The estimate; it can be negative when there is no covariance.

    References
    ----------
    Song et al., Feature selection via dependence maximization, JMLR 2012, Eq. 5, with linear kernels.
    """
    n = len(a)
    a, b = a - a.mean(0), b - b.mean(0)
    k, m = a.square().sum(1), b.square().sum(1)
    diagonal = (k * m).sum()
    total = (a.T @ b).square().sum() - diagonal + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2)
    return total / (n * (n - 3))


def residual_share(primitive: Parts, specific: Parts) -> Float[Tensor, ""]:
    """Share of the covariance between the modalities that the specific parts still carry.

    ½ [H(s_v, e_t) + H(s_t, e_v)] / H(e_v, e_t), where H is `cross_covariance_energy`: 1 if nothing was
    taken out, 0 if the specific parts show nothing linear of the other modality. Lower is better.

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_rows, n_components)
        Primitive of each modality.
    specific : pair of Tensor of shape (n_rows, n_components)
        Specific part of each modality.

    Returns
    -------
    Tensor of shape ()
        The share; about 0 to 1, slightly negative by chance, NaN where the modalities share nothing
        at all.
    """
    whole = cross_covariance_energy(primitive[0], primitive[1])
    left = cross_covariance_energy(specific[0], primitive[1])
    right = cross_covariance_energy(specific[1], primitive[0])
    return torch.where(whole > 0, (left + right) / (2 * whole), torch.nan)


def _gap(target: Parts, translated: Parts) -> Tensor:
    return sum(
        ((y - predicted).square().sum(1).mean() for y, predicted in zip(target, translated, strict=True)),
        start=target[0].new_zeros(()),
    )


def _off_diagonal_energy(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    covariance = centred.T @ centred / (len(x) - 1)
    return covariance.square().sum() - covariance.diagonal().square().sum()
