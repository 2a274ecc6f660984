"""``stable``: learned primitives, then the exact projection; never below the closed form.

Non-linearity belongs into the primitive. If c were a non-linear function of e, then s = e - c would carry
-c in full. So the primitives get features that show linearly what the modalities' columns do not:

- A rectified modality, such as a network's activations after a ReLU, is put back to what it was before the cut.
- Products of two directions tell of the other modality what squares and products can, in closed form.
- Small networks learn features φ of the anchors, in rounds: first such that a linear map leads from them to the other
  modalities' anchors, then such that agree across the modalities in what the rounds before did not find. The canonical
  directions are then computed from [anchors | products | φ], and the split is exact.

Held-out rows decide on each of these; where they gain nothing, the closed form is kept.

Of many rows, those at hand are judged by and give the products; networks learn from all others, whose
anchors are on disk, and the split is that of all.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import combinations, permutations
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modalsplit.nn import (
    Affine,
    FeatureNetwork,
    LearnedPrimitive,
    Moments,
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
    written_over,
)
from modalsplit.objectives._fitted import Fitted, Resolved, Settings, resolved
from modalsplit.objectives._judge import Fold, Verdict, agrees_better, centre, predicts_better
from modalsplit.objectives._stored import AllRows, Matrix, StoredView
from modalsplit.training import average_gradients, minimise, shared_out

COLUMNS_AT_ONCE = 64
# Products are many times as wide as the anchors, and are there in full for so many rows at a time.
ROWS_COMPUTED = 512
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

# Rows of a store that tell whether a modality is rectified, and how.
MOST_ROWS = 5000

# A module for each modality that computes features of its anchors; None where it has none.
_Modules = list[nn.Module | None]


def fit_stable(views: Sequence[Matrix], settings: Settings) -> Fitted:
    """Split modalities by canonical directions of anchors and learned features.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        One a modality; NaN in rows that lack it.
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
        return split_anchors(anchored, width, verdict, history=[])
    anchored, width, verdict = _uncensored(views, anchored, width, verdict)
    anchored = anchored.narrowed(max(width, chosen.n_components))
    fitted, history = _learned(anchored, chosen, width, verdict)
    return fitted or split_anchors(anchored.widened(), width, verdict, history=history)


def _learned(
    anchored: Anchored, settings: Resolved, width: int, verdict: Verdict
) -> tuple[Fitted | None, list[dict[str, float]]]:
    """Split anchors and features, if unseen rows gain by features; and what was trained."""
    with ExitStack() as stack:
        learning = _FeatureLearning(anchored, settings, width, verdict, stack)
        try:
            learning.multiply()
            learning.run()
        except KeyboardInterrupt:
            if settings.on_interrupt is None:
                raise
            settings.on_interrupt()
        return learning.split() if learning.rounds else None, learning.history


def _uncensored(
    views: Sequence[Matrix], anchored: Anchored, width: int, verdict: Verdict
) -> tuple[Anchored, int, Verdict]:
    """Put rectified modalities back to what they were, one by one, where the modalities then agree better."""
    settings = anchored.settings
    for modality, x in enumerate(views):
        present = anchored.everyone[:, modality]
        rows = present.nonzero()[:, 0][_spread(int(present.sum()))]
        if _share_censored(x, rows) < 0.5:
            continue
        uncensor = fit_uncensor(x[rows].float(), settings.n_components, settings.generator).double()
        candidate = with_anchors(anchored, modality, uncensor, x).counted()
        candidate_width, candidate_verdict = best_width(candidate)
        if agrees_better(candidate_verdict, verdict):
            anchored, width, verdict = candidate, candidate_width, candidate_verdict
    return anchored, width, verdict


def _share_censored(x: Matrix, rows: Tensor) -> float:
    """Share of the columns that are cut at their lowest value, in some rows; of a matrix in memory, some columns at a time."""
    blocks = [x[rows]] if isinstance(x, StoredView) else (part[rows] for part in torch.split(x, COLUMNS_AT_ONCE, dim=1))
    return float(torch.cat([censored_columns(block) for block in blocks]).double().mean())


def _spread(n_rows: int) -> Tensor:
    """Select rows that lie evenly, as many as `fit_uncensor` makes use of."""
    rows = torch.arange(min(n_rows, MOST_ROWS))
    return rows * n_rows // max(len(rows), 1)


class _Batch(NamedTuple):
    """Rows to learn from.

    Attributes
    ----------
    inputs : list of Tensor of shape (n_rows, n_components)
        Leading anchors, float32; 0 in rows that lack the modality.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which modality.
    known : list of Tensor of shape (n_rows, n_known)
        Common directions that are not to be found again.
    """

    inputs: list[Tensor]
    present: Tensor
    known: list[Tensor]


class _Known(NamedTuple):
    """Common directions that the rounds before found: their values at hand, and how they are computed of other rows."""

    values: list[Tensor]
    directions: list[Tensor]


class _Learner(NamedTuple):
    """Networks that are learning: what is trained with them, the loss of some rows, and how these are had."""

    networks: list[FeatureNetwork]
    modules: nn.ModuleList
    loss: Callable[[_Batch], Tensor]
    known: _Known


class _FeatureLearning:
    """Rounds of features of the anchors: a module a modality, or none."""

    def __init__(self, anchored: Anchored, settings: Resolved, width: int, verdict: Verdict, stack: ExitStack) -> None:
        self.anchored = anchored
        self.settings = settings
        self.width = width
        self.verdict = verdict
        if anchored.at_hand is not None:
            # Features are judged by what rows at hand make of them, so the anchors must be, too.
            self.verdict = anchored.judged([anchored.leading(width)] * len(anchored.folds), verdict.ridge)
        self.n_features = min(max(FEWEST_FEATURES, settings.n_components // 4), MOST_FEATURES)
        self.inputs = [x.float() for x in anchored.leading(settings.n_components)]
        self.rounds: list[_Modules] = []
        self.features: list[list[Tensor]] = []
        self.history: list[dict[str, float]] = []
        self.stopped = False
        self.n_tried = 0
        self.all_rows: AllRows | None = None
        if anchored.at_hand is not None:
            self.all_rows = anchored.all_rows()
            self.all_rows.keep_on_disk(stack)

    def multiply(self) -> None:
        """Try products of each modality's anchors, and keep those by which unseen rows gain."""
        folds = self._folds_to_judge()
        nothing = [(None, x[:, :0]) for x in self.anchored.scores]
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
        """Compute features of the rows at hand, in the precision of their anchors."""
        features = []
        for module, x, scores in zip(modules, self.inputs, self.anchored.scores, strict=True):
            with torch.no_grad():
                blocks = [] if module is None else [module(rows) for rows in torch.split(x, ROWS_COMPUTED)]
            features.append(torch.cat(blocks).to(scores.dtype) if blocks else scores[:, :0])
        return features

    def _judged(self, features: Sequence[Sequence[Sequence[Tensor]]]) -> Verdict:
        """Let unseen rows judge [anchors | features], given the features of all rounds as each fold makes them."""
        candidates = [self._wholes(of_fold, self.width)[0] for of_fold in features]
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
        x, y = self.inputs[modality], [self.inputs[number] for number in others]
        module, left_out = fit_products(x, y[0] if len(y) == 1 else torch.cat(y, dim=1), self.n_features, rows)
        module = module.float()
        features = self._computed([module if number == modality else None for number in range(len(self.inputs))])
        features[modality][rows] = left_out.to(features[modality].dtype)
        return module, features[modality]

    def split(self) -> Fitted:
        """Split [anchors | features of all rounds]."""
        self._refit_products()
        columns = self._columns()
        wholes, self.means = self._wholes(self.features, self._n_anchors)
        if self.all_rows is None:
            moments = Moments([whole.shape[1] for whole in wholes]).add(wholes, self.anchored.present)
        else:
            raw = self.all_rows.moments(self._features_of)
            moments, self.means = raw.centred(), raw.means()
        support, readouts = split_readouts(moments, columns, self.verdict, self.settings.n_components)
        primitives = [self._primitive(modality, readout) for modality, readout in enumerate(readouts)]
        values = written_over(wholes, readouts)
        return assemble(
            primitives, values, support, self.verdict, self.anchored, primitive="learned features", history=self.history
        )

    @property
    def _n_anchors(self) -> int:
        """How many anchors, at most, stand beside the features."""
        return max(self.width, self.settings.n_components)

    def _wholes(self, features: Sequence[Sequence[Tensor]], n_anchors: int) -> tuple[list[Tensor], list[Tensor]]:
        """Leading anchors and learned features of the rows at hand side by side, centred; and their means."""
        wholes = [
            torch.cat([anchors, *(of_round[modality] for of_round in features)], dim=1)
            for modality, anchors in enumerate(self.anchored.leading(n_anchors))
        ]
        return wholes, centre(wholes, self.anchored.present)

    def _features_of(self, scores: Sequence[Tensor]) -> list[Tensor]:
        """Anchors and learned features of any rows, float64, not centred."""
        wholes = []
        for modality, anchors in enumerate(scores):
            inputs = anchors[:, : self.settings.n_components].float()
            modules = [module for of_round in self.rounds if (module := of_round[modality]) is not None]
            with torch.no_grad():
                features = [module(inputs).double() for module in modules]
            wholes.append(torch.cat([anchors[:, : self._n_anchors].double(), *features], dim=1))
        return wholes

    def _columns(self) -> list[list[int]]:
        """Which columns of the wholes give canonical directions."""
        columns = []
        for modality, anchors in enumerate(self.anchored.leading(self._n_anchors)):
            n_anchors = anchors.shape[1]
            n_features = sum(of_round[modality].shape[1] for of_round in self.features)
            columns.append([*range(min(self.width, n_anchors)), *range(n_anchors, n_anchors + n_features)])
        return columns

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

    def _found(self) -> _Known:
        """Compute the common directions that the rounds before found."""
        if not self.rounds:
            return _Known([x[:, :0] for x in self.inputs], [])
        wholes, self.means = self._wholes(self.features, self._n_anchors)
        candidate = [whole[:, chosen] for whole, chosen in zip(wholes, self._columns(), strict=True)]
        moments = Moments([x.shape[1] for x in candidate]).add(candidate, self.anchored.present)
        directions = common_directions(moments, self.verdict.ranks, self.verdict.ridge)
        return _Known([(x @ d.to(x.dtype)).float() for x, d in zip(candidate, directions, strict=True)], directions)

    def _at_hand(self, rows: Tensor, known: _Known) -> _Batch:
        """Select rows at hand."""
        return _Batch([x[rows] for x in self.inputs], self.anchored.present[rows], [x[rows] for x in known.values])

    def _from_disk(self, rows: Tensor, known: _Known) -> _Batch:
        """Read rows that are not at hand."""
        assert self.all_rows is not None
        scores, present = self.all_rows.rows(rows)
        found = [x[:, :0] for x in scores]
        if known.directions:
            apart = [x - mean for x, mean in zip(self._features_of(scores), self.means, strict=True)]
            found = [
                torch.where(have[:, None], x[:, chosen] @ direction, 0.0).float()
                for have, x, chosen, direction in zip(present.T, apart, self._columns(), known.directions, strict=True)
            ]
        return _Batch([x[:, : self.settings.n_components] for x in scores], present, found)

    def _rows_to_learn_from(self, known: _Known) -> tuple[int, Callable[[Tensor], _Batch]]:
        """How many rows there are besides those that judge, and how to get some of them."""
        first, at_hand = self.anchored.folds[0], self.anchored.at_hand
        if self.all_rows is None or at_hand is None:
            return len(first.train), lambda batch: self._at_hand(first.train[batch], known)
        judges = at_hand[first.held_out.to(at_hand.device)].sort().values
        # The k-th row that does not judge: k and the number of judges before it.
        before = judges - torch.arange(len(judges))
        n_rows = len(self.anchored.views[0]) - len(judges)
        return n_rows, lambda batch: self._from_disk(
            batch.cpu() + torch.searchsorted(before, batch.cpu(), right=True), known
        )

    def _train(self, learner: _Learner) -> None:
        """Train one round, and keep the state that was best on the held-out rows."""
        settings = self.settings
        n_rows, rows_of = self._rows_to_learn_from(learner.known)
        unseen = self._at_hand(self.anchored.folds[0].held_out, learner.known)
        steps_an_epoch = math.ceil(n_rows / settings.batch_size)
        max_epochs = settings.max_epochs or max(FEWEST_EPOCHS, math.ceil(STEPS / steps_an_epoch))
        n_steps = max(3, max_epochs * steps_an_epoch)  # the cycle divides by the steps of either phase
        optimizer = torch.optim.AdamW(
            learner.modules.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=n_steps, pct_start=max(WARM_UP, 2 / n_steps)
        )
        course = _Course(self, learner, unseen, max_epochs)
        with settings.progress(f"round {len(self.rounds) + 1}", max_epochs, "epochs") as done:
            course.done = done
            self.history += minimise(
                lambda batch: learner.loss(rows_of(batch)),
                n_rows,
                [optimizer],
                batch_size=settings.batch_size,
                max_epochs=max_epochs,
                generator=settings.generator,
                schedulers=[scheduler],
                min_batch=4,
                on_epoch=course.on_epoch,
                on_interrupt=None if settings.on_interrupt is None else course.on_interrupt,
                resume=course.resume(),
                keep=course.keep,
                reduce=average_gradients,
            )
        learner.modules.load_state_dict(course.best[1])

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

        def loss(batch: _Batch) -> Tensor:
            features = [_by_all(network, x) for network, x in zip(networks, batch.inputs, strict=True)]
            losses = []
            for a, b in pairs:
                both = batch.present[:, a] & batch.present[:, b]
                if both.any():
                    error = (maps[a, b](features[a][both]) - batch.inputs[b][both]).square().mean()
                    losses.append(error / sizes[b])
            return torch.stack(losses).mean() if losses else features[0].sum() * 0

        return _Learner(networks, nn.ModuleList([*networks, *maps.values()]), loss, _Known([], []))

    def _agreement(self) -> _Learner:
        """Learn features that agree across modalities in what the rounds before did not find."""
        networks = [self._network(x) for x in self.inputs]

        def loss(batch: _Batch) -> Tensor:
            features = [
                _without(_by_all(network, x), known)
                for network, x, known in zip(networks, batch.inputs, batch.known, strict=True)
            ]
            losses = []
            for a, b in combinations(range(len(features)), 2):
                both = batch.present[:, a] & batch.present[:, b]
                if both.sum() > 1:
                    losses.append(agreement_loss(features[a][both], features[b][both]))
            return torch.stack(losses).mean() if losses else features[0].sum() * 0

        return _Learner(networks, nn.ModuleList(networks), loss, self._found())


def _by_all(network: FeatureNetwork, x: Tensor) -> Tensor:
    """Compute features of a batch; where several processes train together, each of its share of the rows."""
    (features,) = shared_out(lambda rows: [network(rows)], x)
    return features


class _Course:
    """One round of learning: its best state, and what it takes to go on after it was cut off."""

    def __init__(self, learning: _FeatureLearning, learner: _Learner, unseen: _Batch, max_epochs: int) -> None:
        self.learning = learning
        self.learner = learner
        self.unseen = unseen
        self.max_epochs = max_epochs
        self.stages = learning.settings.stages
        self.name = f"round-{learning.n_tried}"
        learning.n_tried += 1
        self.best = (math.inf, copy.deepcopy(learner.modules.state_dict()))
        self.done: Callable[..., object] = lambda n, record=None: None

    def resume(self) -> dict[str, Any] | None:
        """Find out where this round was cut off."""
        kept = self.stages.load(self.name)
        if kept is None:
            return None
        self.best = kept["best"]
        self.learning.stopped = kept["training"]["ended"]
        self.done(len(kept["training"]["history"]))
        state: dict[str, Any] = kept["training"]
        return state

    def on_epoch(self, record: dict[str, float]) -> bool:
        """Judge an epoch."""
        with torch.no_grad():
            record["validation_loss"] = float(self.learner.loss(self.unseen))
        record["round"] = len(self.learning.rounds) + 1
        if record["validation_loss"] < self.best[0]:
            self.best = (record["validation_loss"], copy.deepcopy(self.learner.modules.state_dict()))
        self.done(1, record)
        self.learning.stopped = self.learning.settings.on_epoch(record)
        return self.learning.stopped

    def keep(self, state: dict[str, Any]) -> None:
        """Keep where this round stands."""
        at_once = state["ended"] or len(state["history"]) == self.max_epochs
        self.stages.keep(self.name, lambda: {"training": state, "best": self.best}, at_once=at_once)

    def on_interrupt(self) -> None:
        """End the learning with what there is."""
        self.learning.stopped = True
        if self.learning.settings.on_interrupt is not None:
            self.learning.settings.on_interrupt()


def _without(features: Tensor, known: Tensor) -> Tensor:
    """Project out of each feature what is linear in the known directions."""
    if not known.shape[1]:
        return features
    basis = torch.linalg.qr(known - known.mean(0)).Q
    rest: Tensor = features - basis @ (basis.T @ features)
    return rest
