"""Deep rivals: DCCA and DCCAE of cca-zoo, and heads trained by Barlow Twins' loss or by CLIP's.

All have one hidden layer of 256 units and the same loop: three learning rates for 150 steps each on four fifths of the
rows, and the best one goes on to 1,500 steps, its rate falling to 0. Agreement of the canonical variates in the other fifth chooses the
rate, and among the states on the way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.representation.data import MissingError, Views
from benchmarks.representation.rivals import _ridge_cca
from benchmarks.representation.search import (
    BY_AGREEMENT,
    BY_TRANSLATION,
    FIXED,
    Fitted,
    Judge,
    Scaler,
    Shared,
    memoised,
    ranks,
    with_residual,
)

N_HIDDEN = 256
N_STEPS, N_SEARCH_STEPS, N_CHECKS = 1500, 150, 4
BATCH = 500
RATES = (3e-4, 1e-3, 3e-3)
N_INPUTS = 64  # principal components of the standardised columns, at most


def mlp(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, N_HIDDEN), nn.GELU(), nn.Linear(N_HIDDEN, n_out))


class Heads(nn.Module):
    """Two encoders and a loss of what they give."""

    def __init__(self, widths: list[int], d: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([mlp(width, d) for width in widths])
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def forward(self, views: list[Tensor]) -> list[Tensor]:
        return [encoder(view) for encoder, view in zip(self.encoders, views, strict=True)]


class BarlowTwins(Heads):
    """Zbontar et al., ICML 2021: the cross-correlations of both views' outputs are to be the identity."""

    def loss(self, batch: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        a, b = ((z - z.mean(0)) / (z.std(0) + 1e-6) for z in self(batch["views"]))
        correlations = a.T @ b / len(a)
        diagonal = correlations.diagonal()
        rest = correlations.pow(2).sum() - diagonal.pow(2).sum()
        return {"objective": (1 - diagonal).pow(2).sum() + 5e-3 * rest}


class InfoNCE(Heads):
    """Radford et al., ICML 2021 (CLIP): an item is to find its counterpart in the batch, both ways."""

    def loss(self, batch: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        a, b = (functional.normalize(z, dim=1) for z in self(batch["views"]))
        logits = self.log_scale.clamp(max=np.log(100)).exp() * a @ b.T
        own = torch.arange(len(a))
        return {"objective": (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2}


def dcca(widths: list[int], d: int) -> nn.Module:
    return _cca_zoo().DCCA(d, [mlp(width, d) for width in widths], reg_covar=1e-3)


def dccae(widths: list[int], d: int) -> nn.Module:
    encoders, decoders = [mlp(width, d) for width in widths], [mlp(d, width) for width in widths]
    return _cca_zoo().DCCAE(d, encoders, decoders, reg_covar=1e-3)


def _cca_zoo() -> object:
    try:
        from cca_zoo import deep

        deep.DCCA  # noqa: B018 -- the import succeeds without lightning, this does not
    except ImportError as error:
        raise MissingError(f"{error}; install the extra 'rivals'") from error
    return deep


class Inputs:
    """Principal components of the standardised columns, scaled by one number."""

    def __init__(self, views: Views, seed: int) -> None:
        self.pcas = [PCA(min(N_INPUTS, *view.shape), random_state=seed).fit(view) for view in views]
        self.sizes = [np.sqrt(np.mean(p.transform(v) ** 2)) for p, v in zip(self.pcas, views, strict=True)]

    def __call__(self, views: Views) -> list[Tensor]:
        scores = (p.transform(v) / size for p, v, size in zip(self.pcas, views, self.sizes, strict=True))
        return [torch.as_tensor(x, dtype=torch.float32) for x in scores]


class Training:
    """One network on its way."""

    def __init__(
        self, make: Callable[[list[int], int], nn.Module], views: list[Tensor], d: int, rate: float, seed: int
    ):
        torch.manual_seed(seed)
        self.model = make([view.shape[1] for view in views], d)
        self.views = views
        self.rate = rate
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=1e-2, fused=True)
        self.rng = torch.Generator().manual_seed(seed)

    def steps(self, first: int, last: int, n_steps: int, falling: bool) -> None:
        n = len(self.views[0])
        for step in range(first, last):
            if falling:
                self.optimizer.param_groups[0]["lr"] = self.rate * 0.5 * (1 + np.cos(np.pi * step / n_steps))
            rows = torch.randperm(n, generator=self.rng)[: min(BATCH, n)]
            loss = self.model.loss({"views": [view[rows] for view in self.views]})["objective"]
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def shared(self, inputs: Inputs) -> Shared:
        model = copy.deepcopy(self.model).eval()

        def call(views: Views) -> Views:
            with torch.no_grad():
                first, second = (z.double().numpy() for z in model(inputs(views)))
            return first, second

        return call


def canonical(shared: Shared, views: Views, d: int) -> Shared:
    """Turn the outputs into canonical variates, so that they are ordered by what is shared."""
    linear = _ridge_cca(d, 1e-4, shared(views))
    return lambda new: linear(shared(new))


def trained(
    make: Callable[[list[int], int], nn.Module], judge: Judge, d: int, seed: int, n_steps: int
) -> tuple[Shared, Shared, float]:
    """Search the learning rate and go on with the best; return the best outputs, their canonical variates and the rate."""
    inputs = Inputs(judge.train, seed)
    tensors = inputs(judge.train)
    states = []

    def record(training: Training) -> float:
        shared = memoised(training.shared(inputs))
        turned = memoised(canonical(shared, judge.train, d))
        score = max(judge.agreement(turned, k) for k in ranks(d))
        states.append((score, shared, turned, training.rate))
        return score

    n_search = min(N_SEARCH_STEPS, n_steps // 2)
    candidates = [Training(make, tensors, d, rate, seed) for rate in RATES]
    scores = []
    for training in candidates:
        training.steps(0, n_search, n_steps, falling=False)
        scores.append(record(training))
    best = candidates[int(np.argmax(scores))]
    marks = np.linspace(n_search, n_steps, N_CHECKS + 1).astype(int)
    for first, last in pairwise(marks):
        best.steps(first, last, n_steps, falling=True)
        record(best)
    _, shared, turned, rate = max(states, key=lambda state: state[0])
    return shared, turned, rate


def deep(
    make: Callable[[list[int], int], nn.Module],
    views: Views,
    d: int,
    seed: int,
    *,
    rotate: bool,
    n_steps: int = N_STEPS,
) -> list[Fitted]:
    """Fit a deep rival; `rotate` says whether its definition includes the turn to canonical variates."""
    scaler = Scaler(views)
    scaled = scaler(views)
    judge = Judge(scaled, seed)
    shared, turned, rate = trained(make, judge, d, seed, n_steps)
    by_translation = max(ranks(d), key=partial(judge.translation, turned))
    by_agreement = max(ranks(d), key=partial(judge.agreement, turned))
    out = []
    for variant, how, k in (
        (FIXED, turned if rotate else shared, d),
        (BY_TRANSLATION, turned, by_translation),
        (BY_AGREEMENT, turned, by_agreement),
    ):
        parts = with_residual(how, k, scaled, d, seed)
        out.append(Fitted(variant, lambda new, parts=parts: parts(scaler(new)), f"k {k}, learning rate {rate}"))
    return out
