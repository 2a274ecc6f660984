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

    Rows are centred, and the error of a mean is accounted for apart. The few numbers that a loss is made of are read from the
    device once, and the rest of it is arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        c0, c1, weight0, bias0, weight1, bias1, e0, e1, whole, temperature, weights = given
        n = len(e0)
        (e, mean_e), (c, mean_c) = _centred(e0, e1), _centred(c0, c1)
        maps, offsets = torch.stack([weight0, weight1]), torch.stack([bias0, bias1])
        s, target, read = e - c, e.flip(0), maps.mT
        cross = s.mT @ target
        from_c = c @ read
        error_e = torch.baddbmm(target, e, read, alpha=-1)
        error_s = error_e + from_c
        error_c = torch.sub(target, from_c, out=from_c)
        off = (mean_e.flip(0) - offsets[:, None]) - torch.cat([mean_c, mean_e, mean_e - mean_c], 1) @ read
        apart = mean_c - mean_c.flip(0)
        of_target, of_s = torch.linalg.vecdot(target, target), torch.linalg.vecdot(s, s)

        sums = _Sums(
            *_numbers(
                [of_target, of_s, of_target * of_s], [c, cross, error_c, error_e, error_s, apart], c[0] - c[1], off
            )
        )
        terms, gaps, rates = sums.losses(n, float(whole), temperature, weights, torch.finfo(e.dtype).eps)
        by_c, by_s, by_cross, by_row, by_all, by_own, by_other = e.new_tensor(rates)[:, :, None, None]

        # A prediction is in an error with the sign -1, and a common part in a specific one.
        error_c *= by_c / n
        off_c = off[:, :1] * by_c
        to_maps = torch.baddbmm(off_c.mT * mean_c, error_c.mT, c)
        to_c = error_c.addcmul_(error_s, by_s / -n) @ maps
        to_c.baddbmm_(target * by_cross, cross.mT)
        to_c.addcmul_(s, of_target[:, :, None] * by_row + by_all)
        to_c.addcmul_(c, by_own)
        to_c.addcmul_(c.flip(0), by_other)
        to_mean = (off_c - off[:, 2:] * by_s) @ maps / n - apart * by_other
        to_c += to_mean - to_c.mean(1, keepdim=True)

        ctx.gradients = to_c, to_maps, off_c[:, 0]
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

    of_target: list[float]
    of_s: list[float]
    of_both: list[float]  # products of squared lengths
    of_c: list[float]
    cross: list[float]
    error_c: list[float]
    error_e: list[float]
    error_s: list[float]
    apart: list[float]
    distance: float
    off: list[list[float]]

    def losses(
        self, n: int, whole: float, temperature: float, weights: Sequence[float], eps: float
    ) -> tuple[list[float], list[float], list[list[float]]]:
        """Compute the terms, the gaps, and what each matrix is multiplied by in the gradients of both directions."""
        w_alignment, w_residual, w_ranking, w_map = weights
        spread = sum(self.of_c) / n
        divisor = max(spread, eps)
        alignment = (self.distance + n * self.apart[0]) / (n * divisor)
        pull = 2 * w_alignment / (n * divisor)
        least = -self.of_target[0] * self.of_target[1] / n**3
        terms, gaps, rates = [alignment, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], []
        for m in range(2):
            # Without bias: see `cross_covariance_energy`.
            chance = self.of_target[m] / (n * (n - 1) * (n - 2) * (n - 3))
            energy = self.cross[m] / (n * (n - 3)) - self.of_both[m] / ((n - 2) * (n - 3)) + chance * self.of_s[m]
            active = (energy > least) * w_residual / whole
            terms[1] += max(energy, least) / (2 * whole)
            variance = max(self.of_target[m] / n, eps)
            of_part = [
                error[m] / n + off
                for error, off in zip((self.error_c, self.error_e, self.error_s), self.off[m], strict=True)
            ]
            c, e, s = (gap / variance for gap in of_part)
            first, last = (c - e + MARGIN) / temperature, (e - s + MARGIN) / temperature
            terms[2] += _softplus(first) + _softplus(last)
            terms[3] += c
            gaps = [before + gap for before, gap in zip(gaps, of_part, strict=True)]
            rates.append(
                [
                    -2 / variance * (w_map + w_ranking / temperature * _sigmoid(first)),
                    2 / variance * w_ranking / temperature * _sigmoid(last),
                    -active / (n * (n - 3)),
                    active / ((n - 2) * (n - 3)),
                    -active * chance,
                    pull * (1 - alignment * (spread > eps)),
                    -pull,
                ]
            )
        return terms, gaps, [list(each) for each in zip(*rates, strict=True)]


def _centred(first: Tensor, second: Tensor) -> Both:
    both = torch.stack([first, second])
    means = both.mean(1, keepdim=True)
    return both.sub_(means), means


def _numbers(rows: list[Tensor], matrices: list[Tensor], single: Tensor, vectors: Tensor) -> list[Any]:
    """Sum up rows, and squares of matrices, and read all sums from the device at once."""
    lengths = [torch.linalg.vector_norm(x, dim=(1, 2)) for x in matrices]
    parts = [torch.stack(rows).sum(2), torch.stack(lengths).square(), torch.linalg.vector_norm(single).square()]
    found = torch.cat([part.flatten() for part in (*parts, vectors.square().sum(2))]).tolist()
    n_pairs = len(rows) + len(matrices)
    pairs = [found[2 * k : 2 * k + 2] for k in range(n_pairs)]
    rest = found[2 * n_pairs :]
    return [*pairs, rest[0], [rest[1:4], rest[4:]]]


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
