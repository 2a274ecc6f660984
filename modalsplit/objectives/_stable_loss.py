"""The loss of the trained `stable`, with its gradient in closed form.

Autograd would take several times as many operations on small matrices, which is what a step then spends its time on. The same
loss made of `modalsplit.nn.relative_alignment_loss`, `residual_loss`, `bounded_ranking_loss` and `relative_errors` is the
reference in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Both = tuple[Tensor, Tensor]

TERMS = ("alignment", "residual", "ranking", "map")
# By how much a gap must exceed the one before, as a share of the target's variance.
MARGIN = 0.05


def stable_losses(
    primitive: Both,
    common: Both,
    maps: Sequence[nn.Linear],
    whole: Tensor,
    temperature: float,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """Compute the loss of one pair of modalities whose primitives are frozen.

    Parameters
    ----------
    primitive : pair of Tensor of shape (n_batch, n_components)
        Of each modality; no gradient.
    common : pair of Tensor of shape (n_batch, n_components)
        Of each modality. Specific parts are what they leave of the primitives.
    maps : sequence of Linear of length 2
        From the first modality to the second, and back. They learn from the common parts alone: the ranking must not be
        won by maps that make the most of a specific part.
    whole : Tensor of shape ()
        H₀ of `modalsplit.nn.residual_loss`.
    temperature : float
        Of the ranking, in shares of a target's variance.
    weights : mapping of str to float
        Of each of the `TERMS`.

    Returns
    -------
    dict of str to Tensor of shape ()
        ``"loss"``, which has a gradient; its terms before they are weighted: ``"alignment"``
        (`relative_alignment_loss`), ``"residual"`` (`residual_loss`), ``"ranking"`` (`bounded_ranking_loss` of
        the `relative_errors` of either direction, with a margin of `MARGIN`) and ``"map"`` (the errors of the
        common parts); and the gaps L_c, L_p and L_s.
    """
    parameters = [parameter for layer in maps for parameter in (layer.weight, layer.bias)]
    scales = [weights[name] for name in TERMS]
    loss, found = _StableLoss.apply(*common, *parameters, *primitive, whole, temperature, scales)
    return {"loss": loss, **dict(zip((*TERMS, "common_gap", "primitive_gap", "specific_gap"), found, strict=True))}


class _StableLoss(Function):
    """All of it for both directions at once: entry m of a stack is modality m, which predicts the other one.

    Products take rows as they are; what is about covariances takes centred ones. What is squared is written side by
    side and squared at once, and the few numbers that a loss is made of are read from the device once: the rest is arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        c0, c1, weight0, bias0, weight1, bias1, e0, e1, whole, temperature, weights = given
        n = len(e0)
        rows = torch.stack([e0, e1, e0, c0, c1])
        raw_e, raw_target, raw_c = rows[:2], rows[1:3], rows[3:]
        maps = torch.stack([weight0, weight1])
        aim, read = raw_target - torch.stack([bias0, bias1])[:, None], maps.mT

        centred = rows - rows.mean(1, keepdim=True)
        e, target, c = centred[:2], centred[1:3], centred[3:]
        left = rows.new_empty(9, *e0.shape)
        s, error_c, error_e, error_s, apart = left[:2], left[2:4], left[4:6], left[6:8], left[8:]
        torch.sub(e, c, out=s)
        torch.baddbmm(aim, raw_c, read, alpha=-1, out=error_c)
        torch.baddbmm(aim, raw_e, read, alpha=-1, out=error_e)
        torch.sub(error_e, error_c, out=error_s).add_(aim)  # what is left of a part is left of its prediction
        torch.sub(raw_c[:1], raw_c[1:], out=apart)
        cross = s.mT @ target

        lengths = torch.cat([torch.linalg.vector_norm(x, dim=2) for x in (centred, left)]).square_()
        of_both, of_cross = lengths[1:3] * lengths[5:7], torch.linalg.vector_norm(cross, dim=(1, 2)).square_()
        sums = _Sums.read(torch.cat([lengths.sum(1), of_both.sum(1), of_cross]).tolist())
        terms, gaps, rates, pull = sums.losses(n, float(whole), temperature, weights, torch.finfo(e.dtype).eps)
        by_c, by_s, by_cross, by_row, by_all, by_own = e.new_tensor(rates)[:, :, None, None]

        # A prediction is in an error with the sign -1, and a common part in a specific one.
        to_maps, to_biases = error_c.mul_(by_c).mT @ raw_c, error_c.sum(1)
        of_covariance = s.mul_(torch.addcmul(by_all, lengths[1:3, :, None], by_row)).addcmul_(c, by_own)
        of_covariance.baddbmm_(target, cross.mul_(by_cross).mT)
        to_c = torch.baddbmm(of_covariance - of_covariance.mean(1, keepdim=True), error_c.addcmul_(error_s, by_s), maps)
        to_c[0].add_(apart[0], alpha=pull)
        to_c[1].sub_(apart[0], alpha=pull)

        ctx.gradients = to_c, to_maps, to_biases
        found = e.new_tensor([*terms, *gaps])
        ctx.mark_non_differentiable(found)
        return e.new_tensor(sum(weight * term for weight, term in zip(weights, terms, strict=True))), found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        to_c, to_maps, to_biases = (gradient * grads[0] for gradient in ctx.gradients)
        return (*to_c, to_maps[0], to_biases[0], to_maps[1], to_biases[1], *[None] * 5)


class _Sums(NamedTuple):
    """Sums of squares over the rows of a batch, of both directions."""

    apart: float
    of_target: list[float]
    of_c: list[float]
    of_s: list[float]
    error_c: list[float]
    error_e: list[float]
    error_s: list[float]
    of_both: list[float]  # products of squared lengths
    cross: list[float]

    @classmethod
    def read(cls, found: list[float]) -> _Sums:
        """Take what was squared, in its order."""
        pairs = [found[at : at + 2] for at in (1, 3, 5, 7, 9, 11, 14, 16)]
        return cls(found[13], *pairs)

    def losses(
        self, n: int, whole: float, temperature: float, weights: Sequence[float], eps: float
    ) -> tuple[list[float], list[float], list[list[float]], float]:
        """Compute the terms, the gaps, and what each matrix is multiplied by in the gradients of both directions.

        The last number is what the distance of the common parts is multiplied by.
        """
        w_alignment, w_residual, w_ranking, w_map = weights
        spread = sum(self.of_c) / n
        divisor = max(spread, eps)
        alignment = self.apart / (n * divisor)
        pull = 2 * w_alignment / (n * divisor)
        by_own = -pull * alignment * (spread > eps)
        least = -self.of_target[0] * self.of_target[1] / n**3
        terms, gaps, rates = [alignment, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], []
        for m in range(2):
            # Without bias: see `cross_covariance_energy`.
            chance = self.of_target[m] / (n * (n - 1) * (n - 2) * (n - 3))
            energy = self.cross[m] / (n * (n - 3)) - self.of_both[m] / ((n - 2) * (n - 3)) + chance * self.of_s[m]
            active = (energy > least) * w_residual / whole
            terms[1] += max(energy, least) / (2 * whole)
            variance = max(self.of_target[m] / n, eps)
            of_part = [error[m] / n for error in (self.error_c, self.error_e, self.error_s)]
            c, e, s = (gap / variance for gap in of_part)
            first, last = (c - e + MARGIN) / temperature, (e - s + MARGIN) / temperature
            terms[2] += _softplus(first) + _softplus(last)
            terms[3] += c
            gaps = [before + gap for before, gap in zip(gaps, of_part, strict=True)]
            rates.append(
                [
                    -2 / (n * variance) * (w_map + w_ranking / temperature * _sigmoid(first)),
                    -2 / (n * variance) * w_ranking / temperature * _sigmoid(last),
                    -active / (n * (n - 3)),
                    active / ((n - 2) * (n - 3)),
                    -active * chance,
                    by_own,
                ]
            )
        return terms, gaps, [list(each) for each in zip(*rates, strict=True)], pull


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
