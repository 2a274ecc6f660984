"""``stable``: learned primitives, then the exact projection; never below the closed form.

Non-linearity belongs into the primitive. If c were a non-linear function of e, then s = e - c would carry
-c in full. So the primitives get features that show linearly what the modalities' columns do not:

- A rectified modality, such as a network's activations after a ReLU, is put back to what it was before the cut.
- Small networks learn features φ of the anchors, in rounds: first such that a linear map leads from them to the other
  modalities' anchors, then such that agree across the modalities in what the rounds before did not find. The canonical
  directions are then computed from [anchors | φ], and the split is exact.

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
    agreement_loss,
    censored_columns,
    drawn_linear,
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
from modalsplit.objectives._judge import Verdict, agrees_better, centred, predicts_better
from modalsplit.training import minimise

# With fewer rows than this, features learned from them are chance.
FEWEST_ROWS = 200
# Gradient steps after which the features of a round have settled, whatever the number of rows.
STEPS = 1500
FEWEST_EPOCHS = 10
MOST_ROUNDS = 4
# Features a round: a quarter of the components, within these bounds.
FEWEST_FEATURES, MOST_FEATURES = 8, 32


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
    """Rounds of networks, one a modality, that learn features of the anchors."""

    def __init__(self, anchored: Anchored, settings: Resolved, width: int, verdict: Verdict) -> None:
        self.anchored = anchored
        self.settings = settings
        self.width = width
        self.verdict = verdict
        self.n_features = min(max(FEWEST_FEATURES, settings.n_components // 4), MOST_FEATURES)
        self.inputs = [x.float() for x in anchored.leading(settings.n_components)]
        self.rounds: list[list[FeatureNetwork]] = []
        self.features: list[list[Tensor]] = []
        self.history: list[dict[str, float]] = []
        self.stopped = False

    def run(self) -> None:
        """Learn by translation, then by agreement, each round after round as long as unseen rows gain by it."""
        for kind in (self._translation, self._agreement):
            gains = True
            while gains and not self.stopped and len(self.rounds) < MOST_ROUNDS:
                gains = self._round(kind())

    def _round(self, learner: _Learner) -> bool:
        """Train networks, and keep them if unseen rows gain by it; tell if they do."""
        self._train(learner)
        with torch.no_grad():
            features = [network(x).double() for network, x in zip(learner.networks, self.inputs, strict=True)]
        wholes, columns = self._wholes([*self.features, features])
        candidate = [whole[:, chosen] for whole, chosen in zip(wholes, columns, strict=True)]
        # The networks did not see the rows that the first fold holds out.
        challenger = self.anchored.judged(candidate, self.anchored.folds[:1])
        if not predicts_better(challenger, self.verdict):
            return False
        self.verdict = challenger
        self.rounds.append(learner.networks)
        self.features.append(features)
        return True

    def split(self, views: Sequence[Tensor]) -> Fitted:
        """Split [anchors | features of all rounds]."""
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
        networks = [of_round[modality] for of_round in self.rounds]
        n_anchors = len(readout) - self.n_features * len(networks)
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
        ranks = {pair: verdict.rank for pair, verdict in self.verdict.pairs.items()}
        directions = common_directions(candidate, self.anchored.present, ranks)
        return [(x @ direction).float() for x, direction in zip(candidate, directions, strict=True)]

    def _train(self, learner: _Learner) -> None:
        """Train one round, and keep the state that was best on the held-out rows."""
        settings, rows = self.settings, self.anchored.folds[0]
        steps_an_epoch = math.ceil(len(rows.train) / settings.batch_size)
        max_epochs = settings.max_epochs or max(FEWEST_EPOCHS, math.ceil(STEPS / steps_an_epoch))
        optimizer = torch.optim.AdamW(
            learner.modules.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=max_epochs * steps_an_epoch, pct_start=0.1
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
