"""``stable``: learned primitives, then the exact projection; never below the closed form.

Non-linearity belongs into the primitive. If c were a non-linear function of e, then s = e - c would carry
-c in full. So the primitives get features that show linearly what the modalities' columns do not:

- A rectified modality, such as a network's activations after a ReLU, is put back to what it was before the cut.
- Products of two directions tell of the other modality what squares and products can, in closed form.
- Small networks learn features φ of the anchors, in rounds: first such that a linear map leads from them to the other
  modalities' anchors, then such that agree across the modalities in what the rounds before did not find. The canonical
  directions are then computed from [anchors | products | φ], and the split is exact.

Held-out rows decide on each of these; where they gain nothing, the closed form is kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modalsplit.nn import (
    Affine,
    FeatureNetwork,
    LearnedPrimitive,
    ProductFeatures,
    agreement_loss,
    censored_columns,
    drawn_linear,
    fit_products,
    fit_uncensor,
)
from modalsplit.objectives._closed_form import (
    Anchored,
    anchor,
    assemble,
    best_width,
    common_directions,
    split_anchors,
    split_readouts,
    with_anchors,
)
from modalsplit.objectives._fitted import Fitted, Resolved, Settings, resolved
from modalsplit.objectives._judge import Fold, Verdict, agrees_better, centred, predicts_better
from modalsplit.training import minimise

# With fewer rows than this, features learned from them are chance.
FEWEST_ROWS = 200
# Gradient steps after which the features of a round have settled, whatever the number of rows.
STEPS = 1500
WARM_UP = 0.1  # of the steps
FEWEST_EPOCHS = 10
MOST_ROUNDS = 4
# Features a round: a quarter of the components, within these bounds.
FEWEST_FEATURES, MOST_FEATURES = 8, 32
# Rows that judge what is cheap to fit anew for each fold.
ENOUGH_HELD_OUT = 1000

# A module for each modality that computes features of its anchors; None where it has none.
_Modules = list[nn.Module | None]


def fit_stable(views: Sequence[Tensor], settings: Settings) -> Fitted:
    """Split modalities by canonical directions of anchors and learned features.

    Parameters
    ----------
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality; NaN in rows that lack it.
    settings : Settings
        See there.

    Returns
    -------
    Fitted
        The encoder.

    References
    ----------
    Han et al., WWW 2022, Eq. 1, 2 and 5; Bardes, Ponce and LeCun, VICReg, ICLR 2022, for the agreement.
    """
    chosen = resolved(settings)
    anchored = anchor(views, chosen)
    width, verdict = best_width(anchored)
    if len(anchored.folds[0].train) < FEWEST_ROWS:
        return split_anchors(anchored, width, verdict, views, history=[])
    anchored, width, verdict = _uncensored(views, anchored, width, verdict)
    learning = _FeatureLearning(anchored, chosen, width, verdict)
    learning.multiply()
    learning.run()
    if not learning.rounds:
        return split_anchors(anchored, width, verdict, views, history=learning.history)
    return learning.split(views)


def _uncensored(
    views: Sequence[Tensor], anchored: Anchored, width: int, verdict: Verdict
) -> tuple[Anchored, int, Verdict]:
    """Put rectified modalities back to what they were, one by one, where the modalities then agree better."""
    settings = anchored.settings
    for modality, x in enumerate(views):
        rows = x[anchored.present[:, modality]]
        if censored_columns(rows).double().mean() < 0.5:
            continue
        uncensor = fit_uncensor(rows.double(), settings.n_components, settings.generator)
        candidate = with_anchors(anchored, modality, uncensor, x)
        candidate_width, candidate_verdict = best_width(candidate)
        if agrees_better(candidate_verdict, verdict):
            anchored, width, verdict = candidate, candidate_width, candidate_verdict
    return anchored, width, verdict


class _Learner(NamedTuple):
    """Networks that are learning: what is trained with them, and the loss of some rows."""

    networks: list[FeatureNetwork]
    modules: nn.ModuleList
    loss: Callable[[Tensor], Tensor]


class _FeatureLearning:
    """Rounds of features of the anchors: a module a modality, or none."""

    def __init__(self, anchored: Anchored, settings: Resolved, width: int, verdict: Verdict) -> None:
        self.anchored = anchored
        self.settings = settings
        self.width = width
        self.verdict = verdict
        self.n_features = min(max(FEWEST_FEATURES, settings.n_components // 4), MOST_FEATURES)
        self.inputs = [x.float() for x in anchored.leading(settings.n_components)]
        self.rounds: list[_Modules] = []
        self.features: list[list[Tensor]] = []
        self.history: list[dict[str, float]] = []
        self.stopped = False

    def multiply(self) -> None:
        """Try products of each modality's anchors, and keep those by which unseen rows gain."""
        folds = self._folds_to_judge()
        nothing = [(None, x[:, :0].double()) for x in self.inputs]
        kept: list[list[tuple[nn.Module | None, Tensor]]] = [[*nothing] for _ in folds]
        for modality in range(len(self.inputs)):
            fitted = [self._products(modality, fold.train) for fold in folds]
            trial = [[*k[:modality], new, *k[modality + 1 :]] for k, new in zip(kept, fitted, strict=True)]
            challenger = self._judged([[[features for _, features in of_fold]] for of_fold in trial])
            if predicts_better(challenger, self.verdict):
                kept, self.verdict = trial, challenger
        modules, features = zip(*kept[0], strict=True)
        if any(modules):
            self.rounds.append([*modules])
            self.features.append([*features])

    def _folds_to_judge(self) -> list[Fold]:
        """Select so many of the folds that together they hold out enough rows; each holds out about as many."""
        folds = self.anchored.folds
        return folds[: math.ceil(ENOUGH_HELD_OUT / len(folds[0].held_out))]

    def run(self) -> None:
        """Learn by translation, then by agreement, each round after round as long as unseen rows gain by it."""
        for kind in (self._translation, self._agreement):
            gains = True
            while gains and not self.stopped and len(self.rounds) < MOST_ROUNDS:
                gains = self._round(kind())

    def _round(self, learner: _Learner) -> bool:
        """Train networks, and keep them if unseen rows gain by it; tell if they do."""
        self._train(learner)
        # The networks did not see the rows that the first fold holds out.
        challenger = self._judged([[*self.features, self._computed([*learner.networks])]])
        if not predicts_better(challenger, self.verdict):
            return False
        self.verdict = challenger
        self._keep([*learner.networks])
        return True

    def _computed(self, modules: _Modules) -> list[Tensor]:
        with torch.no_grad():
            return [
                x[:, :0].double() if module is None else module(x).double()
                for module, x in zip(modules, self.inputs, strict=True)
            ]

    def _judged(self, features: Sequence[Sequence[Sequence[Tensor]]]) -> Verdict:
        """Let unseen rows judge [anchors | features], given the features of all rounds as each fold makes them."""
        candidates = []
        for of_fold in features:
            wholes, columns = self._wholes(of_fold)
            candidates.append([whole[:, chosen] for whole, chosen in zip(wholes, columns, strict=True)])
        return self.anchored.judged(candidates, self.verdict.ridge)

    def _keep(self, modules: _Modules) -> None:
        self.rounds.append(modules)
        self.features.append(self._computed(modules))

    def _refit_products(self) -> None:
        """Let all rows say how products tell of the other modalities, now that no row judges any more."""
        everywhere = torch.arange(len(self.anchored.present), device=self.anchored.present.device)
        for modules, features in zip(self.rounds, self.features, strict=True):
            for modality, module in enumerate(modules):
                if isinstance(module, ProductFeatures):
                    modules[modality], features[modality] = self._products(modality, everywhere)

    def _products(self, modality: int, rows: Tensor) -> tuple[ProductFeatures, Tensor]:
        """Fit products of one modality's anchors to the others', and compute them.

        0, the mean, stands for an anchor that a row lacks.
        """
        present = self.anchored.present
        others = [number for number in range(len(self.inputs)) if number != modality]
        rows = rows[(present[:, modality] & present[:, others].any(1))[rows]]
        x, y = self.inputs[modality][rows], torch.cat([self.inputs[number][rows] for number in others], dim=1)
        module, left_out = fit_products(x.double(), y.double(), self.n_features)
        features = module(self.inputs[modality].double())
        features[rows] = left_out
        return module.float(), features

    def split(self, views: Sequence[Tensor]) -> Fitted:
        """Split [anchors | features of all rounds]."""
        self._refit_products()
        wholes, columns = self._wholes(self.features)
        support, readouts = split_readouts(self.anchored, wholes, columns, self.verdict)
        primitives = [self._primitive(modality, readout) for modality, readout in enumerate(readouts)]
        return assemble(
            primitives, support, views, self.verdict, self.anchored, primitive="learned features", history=self.history
        )

    def _wholes(self, features: Sequence[Sequence[Tensor]]) -> tuple[list[Tensor], list[list[int]]]:
        """Anchors and learned features side by side, centred; and which columns give canonical directions."""
        n_anchors = max(self.width, self.settings.n_components)
        wholes, columns = [], []
        for modality, anchors in enumerate(self.anchored.leading(n_anchors)):
            whole = torch.cat([anchors, *(of_round[modality] for of_round in features)], dim=1)
            wholes.append(whole)
            columns.append([*range(min(self.width, anchors.shape[1])), *range(anchors.shape[1], whole.shape[1])])
        self.means = [whole[have].mean(0) for whole, have in zip(wholes, self.anchored.present.T, strict=True)]
        return centred(wholes, self.anchored.present), columns

    def _primitive(self, modality: int, readout: Tensor) -> LearnedPrimitive:
        """Put the frozen map of one modality together, from its columns to its primitive."""
        networks = [module for of_round in self.rounds if (module := of_round[modality]) is not None]
        n_anchors = len(readout) - sum(of_round[modality].shape[1] for of_round in self.features)
        return LearnedPrimitive(
            self.anchored.maps[modality].narrowed(n_anchors),
            networks,
            Affine(self.means[modality], readout),
        ).double()

    def _network(self, x: Tensor) -> FeatureNetwork:
        settings = self.settings
        scale = float(x.std()) or 1.0
        return FeatureNetwork(x.shape[1], settings.hidden_units, self.n_features, scale, settings.generator).to(
            x.device
        )

    def _found(self) -> list[Tensor]:
        """Compute the common directions that the rounds before found, on all rows."""
        if not self.rounds:
            return [x[:, :0] for x in self.inputs]
        wholes, columns = self._wholes(self.features)
        candidate = [whole[:, chosen] for whole, chosen in zip(wholes, columns, strict=True)]
        directions = common_directions(candidate, self.anchored.present, self.verdict.ranks, self.verdict.ridge)
        return [(x @ direction).float() for x, direction in zip(candidate, directions, strict=True)]

    def _train(self, learner: _Learner) -> None:
        """Train one round, and keep the state that was best on the held-out rows."""
        settings, rows = self.settings, self.anchored.folds[0]
        steps_an_epoch = math.ceil(len(rows.train) / settings.batch_size)
        max_epochs = settings.max_epochs or max(FEWEST_EPOCHS, math.ceil(STEPS / steps_an_epoch))
        n_steps = max(3, max_epochs * steps_an_epoch)  # the cycle divides by the steps of either phase
        optimizer = torch.optim.AdamW(
            learner.modules.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=n_steps, pct_start=max(WARM_UP, 2 / n_steps)
        )
        best = (math.inf, copy.deepcopy(learner.modules.state_dict()))

        def on_epoch(record: dict[str, float]) -> bool:
            nonlocal best
            with torch.no_grad():
                record["validation_loss"] = float(learner.loss(rows.held_out))
            record["round"] = len(self.rounds) + 1
            if record["validation_loss"] < best[0]:
                best = (record["validation_loss"], copy.deepcopy(learner.modules.state_dict()))
            self.stopped = settings.on_epoch(record)
            return self.stopped

        self.history += minimise(
            lambda batch: learner.loss(rows.train[batch]),
            len(rows.train),
            [optimizer],
            batch_size=settings.batch_size,
            max_epochs=max_epochs,
            generator=settings.generator,
            schedulers=[scheduler],
            min_batch=4,
            on_epoch=on_epoch,
        )
        learner.modules.load_state_dict(best[1])

    def _translation(self) -> _Learner:
        """Learn features that a linear map leads to the other modalities' anchors (Eq. 5)."""
        networks = [self._network(x) for x in self.inputs]
        pairs = list(permutations(range(len(networks)), 2))
        generator = self.settings.generator
        maps = {
            (a, b): drawn_linear(self.n_features, self.inputs[b].shape[1], generator).to(self.inputs[b].device)
            for a, b in pairs
        }
        sizes = [x.square().mean() for x in self.inputs]

        def loss(rows: Tensor) -> Tensor:
            present = self.anchored.present[rows]
            features = [network(x[rows]) for network, x in zip(networks, self.inputs, strict=True)]
            losses = []
            for a, b in pairs:
                both = present[:, a] & present[:, b]
                if both.any():
                    error = (maps[a, b](features[a][both]) - self.inputs[b][rows][both]).square().mean()
                    losses.append(error / sizes[b])
            return torch.stack(losses).mean() if losses else features[0].sum() * 0

        return _Learner(networks, nn.ModuleList([*networks, *maps.values()]), loss)

    def _agreement(self) -> _Learner:
        """Learn features that agree across modalities in what the rounds before did not find."""
        networks, found = [self._network(x) for x in self.inputs], self._found()

        def loss(rows: Tensor) -> Tensor:
            present = self.anchored.present[rows]
            features = [
                _without(network(x[rows]), known[rows])
                for network, x, known in zip(networks, self.inputs, found, strict=True)
            ]
            losses = []
            for a, b in combinations(range(len(features)), 2):
                both = present[:, a] & present[:, b]
                if both.sum() > 1:
                    losses.append(agreement_loss(features[a][both], features[b][both]))
            return torch.stack(losses).mean() if losses else features[0].sum() * 0

        return _Learner(networks, nn.ModuleList(networks), loss)


def _without(features: Tensor, known: Tensor) -> Tensor:
    """Project out of each feature what is linear in the known directions."""
    if not known.shape[1]:
        return features
    basis = torch.linalg.qr(known - known.mean(0)).Q
    rest: Tensor = features - basis @ (basis.T @ features)
    return rest
