"""``stable``: learned primitives, then the exact projection; never below the closed form.

Non-linearity belongs into the primitive. If c were a non-linear function of e, then s = e - c would carry
-c in full. So two small networks learn features φ of the anchors: one half agree across the modalities,
and both halves together rebuild their own modality, which makes them show its factors more linearly than
principal components do. The canonical directions are then computed from [anchors | φ], and the split is
exact. Where held-out rows are not predicted better than by the closed form, the closed form is kept.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from modalsplit.nn import Affine, FeatureNetwork, LearnedPrimitive, agreement_loss
from modalsplit.objectives._closed_form import (
    Anchored,
    anchor,
    assemble,
    best_width,
    is_better,
    judge,
    split_anchors,
    split_readouts,
)
from modalsplit.objectives._fitted import Fitted, Settings, Views
from modalsplit.training import minimise

# With fewer rows than this, features learned from them are chance.
FEWEST_ROWS = 200
# Gradient steps after which the features have settled, whatever the number of rows.
STEPS = 1500
FEWEST_EPOCHS = 10
# Agreeing features, and as many that only rebuild: a quarter of the components, within these bounds.
FEWEST_FEATURES, MOST_FEATURES = 4, 32
RECONSTRUCTION_WEIGHT = 30.0


def fit_stable(views: Views, settings: Settings) -> Fitted:
    """Split two modalities by canonical directions of anchors and learned features.

    Parameters
    ----------
    views : pair of Tensor of shape (n_rows, n_columns)
        Complete rows of both modalities.
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
    anchored = anchor(views, settings)
    width, verdict = best_width(anchored, settings)
    if len(anchored.folds[0].train) < FEWEST_ROWS:
        return split_anchors(anchored, width, verdict, views, settings, history=[])
    learning = _FeatureLearning(anchored, settings)
    history = learning.run()
    with torch.no_grad():
        wholes = learning.wholes(max(width, settings.n_components))
    columns = [_chosen(whole, width, learning.n_features) for whole in wholes]
    features = (wholes[0][:, columns[0]], wholes[1][:, columns[1]])
    # Only the rows of the first fold were not seen by the networks.
    challenger = judge(features, anchored, anchored.folds[:1], settings)
    if not is_better(challenger, verdict):
        return split_anchors(anchored, width, verdict, views, settings, history=history)
    readouts = split_readouts(wholes, columns, challenger.rank, settings.n_components)
    primitives = [learning.primitive(modality, readout) for modality, readout in enumerate(readouts)]
    return assemble(primitives, views, challenger, settings, primitive="learned features", history=history)


class _FeatureLearning:
    """Two networks that learn features of the anchors, and the two that rebuild the anchors from them."""

    def __init__(self, anchored: Anchored, settings: Settings) -> None:
        self.anchored = anchored
        self.settings = settings
        self.n_agreeing = min(max(FEWEST_FEATURES, settings.n_components // 4), MOST_FEATURES)
        self.n_features = 2 * self.n_agreeing
        self.inputs = [x.float() for x in anchored.leading(settings.n_components)]
        self.targets = [x * scale[: x.shape[1]].float() for x, scale in zip(self.inputs, anchored.scales, strict=True)]
        self.encoders = [self._network(x.shape[1], self.n_features, float(x.std())) for x in self.inputs]
        self.decoders = [self._network(self.n_features, x.shape[1], 1.0) for x in self.inputs]

    def run(self) -> list[dict[str, float]]:
        """Train, and keep the state that was best on the held-out rows."""
        settings, rows = self.settings, self.anchored.folds[0]
        steps_an_epoch = math.ceil(len(rows.train) / settings.batch_size)
        max_epochs = settings.max_epochs or max(FEWEST_EPOCHS, math.ceil(STEPS / steps_an_epoch))
        networks = nn.ModuleList([*self.encoders, *self.decoders])
        optimizer = torch.optim.AdamW(networks.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=max_epochs * steps_an_epoch, pct_start=0.1
        )
        best = (math.inf, copy.deepcopy(networks.state_dict()))

        def on_epoch(record: dict[str, float]) -> bool:
            nonlocal best
            with torch.no_grad():
                record["validation_loss"] = float(self._losses(rows.held_out)["loss"])
            if record["validation_loss"] < best[0]:
                best = (record["validation_loss"], copy.deepcopy(networks.state_dict()))
            return settings.on_epoch(record)

        history = minimise(
            lambda batch: self._losses(rows.train[batch]),
            len(rows.train),
            [optimizer],
            batch_size=settings.batch_size,
            max_epochs=max_epochs,
            generator=settings.generator,
            schedulers=[scheduler],
            min_batch=4,
            on_epoch=on_epoch,
        )
        networks.load_state_dict(best[1])
        return history

    def wholes(self, n_anchors: int) -> Views:
        """Anchors and learned features side by side, centred."""
        a, b = (
            torch.cat([x, encoder(x[:, : encoder.n_in].float()).double()], dim=1)
            for x, encoder in zip(self.anchored.leading(n_anchors), self.encoders, strict=True)
        )
        self.means = (a.mean(0), b.mean(0))
        return a - self.means[0], b - self.means[1]

    def primitive(self, modality: int, readout: Tensor) -> LearnedPrimitive:
        """Put the frozen map of one modality together, from its columns to its primitive."""
        n_anchors = len(readout) - self.n_features
        anchors = self.anchored.maps[modality]
        return LearnedPrimitive(
            Affine(anchors.mean, anchors.weight[:, :n_anchors]),
            self.encoders[modality],
            Affine(self.means[modality], readout),
        ).double()

    def _network(self, n_in: int, n_out: int, scale: float) -> FeatureNetwork:
        network = FeatureNetwork(n_in, self.settings.hidden_units, n_out, scale, self.settings.generator)
        return network.to(self.inputs[0].device)

    def _losses(self, rows: Tensor) -> dict[str, Tensor]:
        features = [encoder(x[rows]) for encoder, x in zip(self.encoders, self.inputs, strict=True)]
        agreement = agreement_loss(features[0][:, : self.n_agreeing], features[1][:, : self.n_agreeing])
        reconstruction = torch.stack(
            [
                (decoder(_standardised(z)) - target[rows]).square().mean()
                for decoder, z, target in zip(self.decoders, features, self.targets, strict=True)
            ]
        ).sum()
        loss = agreement + RECONSTRUCTION_WEIGHT * reconstruction
        return {"loss": loss, "agreement": agreement, "reconstruction": reconstruction}


def _standardised(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / (z.var(0) + 1e-4).sqrt()


def _chosen(whole: Tensor, width: int, n_features: int) -> list[int]:
    """Columns of the leading anchors and of all learned features."""
    n_anchors = whole.shape[1] - n_features
    return [*range(min(width, n_anchors)), *range(n_anchors, whole.shape[1])]
