"""Rivals that are trained: DCCA, DCCAE and Barlow Twins of cca-zoo, and InfoNCE heads as in CLIP.

All have our networks: one hidden layer of 256 units on the leading principal components, and our optimiser, schedule
and steps, so that the objective is what differs. cca-zoo's models are minimised in the same loop as InfoNCE, without
Lightning's trainer.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, normalize

from benchmarks.representation.data import Budget, Task, Views
from benchmarks.representation.parts import Encode, Outcome, Outcomes, agreement, completed, held_out_fifth, settings_of
from benchmarks.representation.rivals import of_rank
from modalsplit.training import minimise

HIDDEN_UNITS = 256
BATCH_SIZE = 500
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2
# Of the sines, against the initial weights of a linear layer; as in our own networks.
FREQUENCY = 2.0
CHECKS = 25


class Network(nn.Module):
    """One hidden layer: smooth ramps only, or half of the units sines, as in our networks."""

    def __init__(self, n_in: int, n_out: int, waves: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_in, HIDDEN_UNITS)
        self.out = nn.Linear(HIDDEN_UNITS, n_out)
        self.n_ramps = HIDDEN_UNITS // 2 if waves else HIDDEN_UNITS
        with torch.no_grad():
            self.hidden.weight[self.n_ramps :] *= FREQUENCY

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch."""
        hidden = self.hidden(x)
        ramps, waves = hidden[:, : self.n_ramps], hidden[:, self.n_ramps :]
        out: Tensor = self.out(torch.cat([gelu(ramps), torch.sin(waves)], dim=1))
        return out


class InfoNCE(nn.Module):
    """Heads as in CLIP: each row is to find its counterpart among the other rows of the batch.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision, ICML 2021.
    """

    def __init__(self, encoders: list[nn.Module], temperature: float) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, views: list[Tensor]) -> list[Tensor]:
        """Encode both views, on the unit sphere."""
        return [normalize(encoder(x), dim=1) for encoder, x in zip(self.encoders, views, strict=True)]

    def loss(self, batch: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """Cross-entropy of the counterpart, averaged over both directions."""
        first, second = self(batch["views"])
        similarity = first @ second.T * self.log_scale.exp().clamp(max=100)
        own = torch.arange(len(first))
        return {"objective": (cross_entropy(similarity, own) + cross_entropy(similarity.T, own)) / 2}


def _dcca(encoders: list[nn.Module], widths: list[int], d: int, reg_covar: float) -> nn.Module:
    from cca_zoo.deep import DCCA

    return DCCA(d, encoders, reg_covar=reg_covar)


def _dccae(encoders: list[nn.Module], widths: list[int], d: int, lam: float) -> nn.Module:
    from cca_zoo.deep import DCCAE

    decoders = [Network(d, width, waves=False) for width in widths]
    return DCCAE(d, encoders, decoders, lam=lam, reg_covar=1e-3)


def _barlow_twins(encoders: list[nn.Module], widths: list[int], d: int, lam: float) -> nn.Module:
    from cca_zoo.deep import BarlowTwins

    return BarlowTwins(d, encoders, lam=lam)


def _info_nce(encoders: list[nn.Module], widths: list[int], d: int, temperature: float) -> nn.Module:
    return InfoNCE(encoders, temperature)


class Deep(NamedTuple):
    """A method that is trained.

    Attributes
    ----------
    name : str
        In the tables.
    build : callable
        Makes the model from networks, the columns of their inputs, the number of components and one setting.
    setting, values : str and tuple of float
        What is searched beside the kind of hidden units.
    is_aligned : bool
        Whether its encodings share coordinates; those of deep CCA need a linear CCA, as its authors say.
    """

    name: str
    build: Callable[..., nn.Module]
    setting: str
    values: tuple[float, ...]
    is_aligned: bool

    def __call__(self, task: Task, seed: int, budget: Budget) -> Outcomes:
        """Search settings in short trainings, train, and give the parts of all components and of the searched rank."""
        d, views = task.n_components, task.train
        start = time.perf_counter()
        train, held_out = held_out_fifth(views, seed)
        trials = [{self.setting: v, "waves": w} for v in self.values for w in (False, True)][: budget.trials]
        judged = []
        for settings in trials:
            encode = self.fit(train, held_out, d, seed, budget.trial_steps, **settings)
            judged.append(agreement(encode, train, held_out, seed).score)
        settings = trials[int(np.argmax(judged))]
        encode = self.fit(train, held_out, d, seed, budget.steps, **settings)
        rank = agreement(encode, train, held_out, seed).rank
        seconds = time.perf_counter() - start
        whole = encode if self.is_aligned else of_rank(encode, views, d)
        yield Outcome(self.name, completed(whole, views, d), seconds, d, settings_of(settings))
        split = completed(of_rank(encode, views, rank), views, d)
        yield Outcome(f"{self.name}, rank searched", split, seconds, rank, settings_of(settings))

    def fit(
        self, train: Views, held_out: Views, d: int, seed: int, steps: int, *, waves: bool, **setting: float
    ) -> Encode:
        """Train, and keep the state with the lowest loss on the rows held out."""
        pcas = [PCA(d, random_state=seed).fit(x) for x in train]
        scales = [float(np.sqrt(pca.explained_variance_.mean())) for pca in pcas]

        def inputs(given: Views) -> list[Tensor]:
            scaled = [pca.transform(x) / s for pca, x, s in zip(pcas, given, scales, strict=True)]
            return [torch.from_numpy(np.ascontiguousarray(x)).float() for x in scaled]

        widths = [pca.n_components_ for pca in pcas]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.build([Network(width, d, waves) for width in widths], widths, d, **setting)
        _train(model, inputs(train), inputs(held_out), seed, steps)

        def encode(given: Views) -> Views:
            with torch.inference_mode():
                first, second = model(inputs(given))
            return first.double().numpy(), second.double().numpy()

        return encode


def _train(model: Any, train: list[Tensor], held_out: list[Tensor], seed: int, steps: int) -> None:
    n = len(train[0])
    steps_an_epoch = math.ceil(n / BATCH_SIZE)
    max_epochs = math.ceil(steps / steps_an_epoch)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=max_epochs * steps_an_epoch, pct_start=0.1
    )
    best: tuple[float, dict[str, Any]] = (math.inf, copy.deepcopy(model.state_dict()))
    epoch, check_every = itertools.count(1), max(1, max_epochs // CHECKS)

    def on_epoch(record: dict[str, float]) -> bool:
        nonlocal best
        if next(epoch) % check_every == 0:
            model.eval()
            with torch.no_grad():
                loss = float(model.loss({"views": held_out})["objective"])
            model.train()
            if loss < best[0]:
                best = (loss, copy.deepcopy(model.state_dict()))
        return False

    minimise(
        lambda batch: model.loss({"views": [x[batch] for x in train]})["objective"],
        n,
        [optimizer],
        batch_size=BATCH_SIZE,
        max_epochs=max_epochs,
        generator=torch.Generator().manual_seed(seed),
        schedulers=[scheduler],
        # A covariance of few rows has no inverse.
        min_batch=BATCH_SIZE // 2,
        on_epoch=on_epoch,
    )
    model.load_state_dict(best[1])
    model.eval()


DEEP = [
    Deep("DCCA", _dcca, "reg_covar", (1e-3, 1e-2, 1e-1), is_aligned=False),
    Deep("DCCAE", _dccae, "lam", (0.5, 0.9, 0.1), is_aligned=False),
    Deep("Barlow Twins", _barlow_twins, "lam", (5e-3, 2e-2, 1e-1), is_aligned=True),
    Deep("InfoNCE", _info_nce, "temperature", (0.1, 0.3, 1.0), is_aligned=True),
]
