"""The objectives that are trained by gradients: the paper's, its released code's, their ablations, and `stable`.

They differ in what a pair of modalities is asked to minimise, and in what primitives are: trainable affine maps, or
for `stable` frozen canonical anchors. Everything else is here, once.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from modalsplit.nn import cross_covariance_energy
from modalsplit.objectives._fitted import Fitted, Resolved, Settings, is_official, resolved
from modalsplit.objectives._losses import Pair, pair_losses
from modalsplit.objectives._network import (
    FEWEST_ROWS,
    ROWS_A_BLOCK,
    Network,
    PartsOf,
    Rows,
    canonical_anchors,
    divided,
    scaling,
    through,
)
from modalsplit.objectives._verdict import judge_parts
from modalsplit.training import average_gradients, minimise, shared_out

OPTIMIZERS: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
# Devices for which torch moves all parameters in one go.
FUSED = ("cpu", "cuda")
# Gradient steps of the trained `stable`, whatever the number of rows.
STEPS = 3000
# Longer gradients are shortened: one extreme row must not throw the parameters away.
MAX_NORM = 10.0
# Specific parts that grew by this factor are on their way to infinity.
MOST_GROWTH = 1e3
PRIMITIVES = {
    "stable": "canonical anchors",
    "linear": "trained affine map",
    "mlp": "trained affine map",
    "learned": "trained network",
}


def fit_trained(views: Sequence[Tensor], settings: Settings) -> Fitted:
    """Split two or more modalities by minimising an objective with gradients.

    The loss is the mean over all pairs of modalities; in a batch, a pair counts with the rows that have both.

    Parameters
    ----------
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality, on one device; NaN in a row of a modality that is absent.
    settings : Settings
        ``objective`` says which. ``"stable"`` is trained with ``extractor="linear"`` or ``"mlp"``; without, it
        is `fit_stable`. ``common_rank`` is ignored: training gives common parts of any rank.

    Returns
    -------
    Fitted
        The encoder, in its last state. If ``"paper_literal"`` diverged, that of the last epoch before, and
        ``diverged`` says how. ``history`` holds means over the batches of an epoch:

        - ``"loss"`` and its terms (``"alignment"``, ``"orthogonality"`` or ``"residual"``, ``"ranking"``,
          ``"map"``), before they are weighted;
        - ``"common_gap"``, ``"primitive_gap"``, ``"specific_gap"``: L_c, L_p and L_s in one unit. Squared error an
          item of both primitives; for the official family 1 - cosine with raw features;
        - ``"rms_common"``, ``"rms_specific"``: root mean square of the parts.

    Raises
    ------
    ValueError
        If the objective is not trained here.
    FloatingPointError
        If another objective than ``"paper_literal"`` is no longer finite, as with a learning rate of 1e6.

    References
    ----------
    Han et al., WWW 2022, Eq. 1 to 11 and 14.
    """
    chosen = resolved(settings)
    if chosen.objective == "cca" or (chosen.objective == "stable" and chosen.extractor == "learned"):
        raise ValueError(
            f"objective={chosen.objective!r} with extractor={chosen.extractor!r} is not trained by gradients alone: "
            "use fit_closed_form or fit_stable, or extractor='linear' or 'mlp' with 'stable'."
        )
    training = _Training(divided(views, chosen), chosen)
    history, diverged = training.run()
    module = training.network.behind(training.fronts)
    verdict = judge_parts(module, training.rows)
    primitive = PRIMITIVES[chosen.objective if chosen.objective == "stable" else chosen.extractor]
    return Fitted(module, *verdict, primitive=primitive, history=history, diverged=diverged)


# Some rows of a batch: a mask, or None for all.
_Where = Tensor | None


class _Training:
    """One network, and the rows that it learns from."""

    def __init__(self, rows: Rows, settings: Resolved) -> None:
        self.rows = rows
        self.settings = settings
        self.fronts: list[nn.Module]
        if settings.objective == "stable":
            self.fronts = [*canonical_anchors(rows, settings.n_components, settings.ridge, settings.generator)]
        else:
            self.fronts = [scaling(rows, modality) for modality in range(len(rows.views))]
        self.inputs = [through(front, view).float() for front, view in zip(self.fronts, rows.views, strict=True)]
        self.network = Network([x.shape[1] for x in self.inputs], settings).to(rows.present.device)
        self.complete = bool(rows.present.all())
        self.pairs = list(combinations(range(len(rows.views)), 2))
        self.wholes = [self._whole(*pair) for pair in self.pairs]

    def run(self) -> tuple[list[dict[str, float]], str | None]:
        """Train; return the history and, of `paper_literal`, what went wrong."""
        settings, n = self.settings, len(self.rows.train)
        steps_an_epoch = math.ceil(n / settings.batch_size)
        max_epochs = settings.max_epochs or math.ceil(STEPS / steps_an_epoch)
        optimizer, schedulers = self._optimizer(max_epochs * steps_an_epoch)
        watch = _Watch(self) if settings.objective == "paper_literal" else None
        history: list[dict[str, float]] = []

        kept = settings.stages.load("training")
        if kept is not None:
            history += kept["training"]["history"]
        if kept is not None and watch is not None:
            watch.state = kept["last finite"]

        def on_epoch(record: dict[str, float]) -> bool:
            history.append(record)
            done(1, record)
            stop = settings.on_epoch(record)
            return stop or (watch is not None and watch.sees_divergence(len(history)))

        def keep(state: dict[str, Any]) -> None:
            if watch is not None and watch.diverged is not None:
                return
            last = None if watch is None else watch.state
            at_once = state["ended"] or len(history) == max_epochs
            settings.stages.keep("training", lambda: {"training": state, "last finite": last}, at_once=at_once)

        with settings.progress("epochs", max_epochs, "epochs") as done:
            done(len(history))
            try:
                minimise(
                    lambda batch: self.losses(self.rows.train[batch]),
                    n,
                    [optimizer],
                    batch_size=settings.batch_size,
                    max_epochs=max_epochs,
                    generator=settings.generator,
                    schedulers=schedulers,
                    min_batch=FEWEST_ROWS,
                    max_norm=None if watch else MAX_NORM,
                    on_epoch=on_epoch,
                    on_interrupt=settings.on_interrupt,
                    resume=None if kept is None else kept["training"],
                    keep=keep,
                    reduce=average_gradients,
                )
            except FloatingPointError:
                if watch is None:
                    raise
                watch.go_back(len(history) + 1)
        return history, watch.diverged if watch else None

    def _optimizer(self, n_steps: int) -> tuple[Any, list[Any]]:
        settings = self.settings
        optimizer = OPTIMIZERS[settings.optimizer](
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.rows.present.device.type in FUSED,
        )
        is_scheduled = settings.objective == "stable"
        return optimizer, [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)] if is_scheduled else []

    def losses(self, rows: Tensor) -> dict[str, Tensor]:
        """Average the losses of all pairs on some rows, and measure the size of the parts."""
        inputs = [x.index_select(0, rows) for x in self.inputs]  # a third of the time of x[rows]
        parts = [
            PartsOf(*shared_out(functools.partial(self.network.parts, modality=modality), x))
            for modality, x in enumerate(inputs)
        ]
        present = None if self.complete else self.rows.present[rows]
        losses = []
        for pair, whole in zip(self.pairs, self.wholes, strict=True):
            both = None if present is None else present[:, pair].all(1)
            if len(_taken(rows, both)) >= FEWEST_ROWS:
                losses.append(pair_losses(self._pair(pair, whole, both, inputs, parts), self.settings))
        sizes = _sizes(parts, present)
        if not losses:  # too few rows to learn from: nothing to minimise, and the gradient is 0
            return {"loss": 0 * next(self.network.parameters()).sum(), **sizes}
        if len(losses) == 1:  # most often, and then nine means of one number would be a tenth of a step
            return losses[0] | sizes
        return {name: torch.stack([terms[name] for terms in losses]).mean() for name in losses[0]} | sizes

    def parts(self, rows: Tensor) -> list[PartsOf]:
        """Split some rows of every modality; what is absent is 0 before it is split."""
        return [self.network.parts(x[rows], modality) for modality, x in enumerate(self.inputs)]

    def _pair(
        self, pair: tuple[int, int], whole: Tensor, both: _Where, inputs: list[Tensor], parts: list[PartsOf]
    ) -> Pair:
        i, j = pair
        first, second = (PartsOf(*(_taken(x, both) for x in parts[m])) for m in pair)
        maps = self.network.maps
        target = (first.primitive, second.primitive)
        if is_official(self.settings):
            target = (_taken(inputs[i], both), _taken(inputs[j], both))
        return Pair(
            (first.primitive, second.primitive),
            (first.common, second.common),
            (first.specific, second.specific),
            target,
            (maps[i, j], maps[j, i]) if maps else (),
            whole,
        )

    def _whole(self, first: int, second: int) -> Tensor:
        """H₀ of the residual loss, from all training rows."""
        rows = self.rows.both(first, second, self.rows.train)
        if self.settings.objective != "stable" or len(rows) < FEWEST_ROWS:
            return torch.ones((), device=self.rows.present.device)
        a, b = self.inputs[first][rows], self.inputs[second][rows]
        # Modalities that share nothing have an energy of 0 give or take chance, and that is no divisor.
        chance = a.var(0).sum() * b.var(0).sum() / len(rows)
        return torch.maximum(cross_covariance_energy(a, b), chance).clamp(min=torch.finfo(a.dtype).eps)


class _Watch:
    """Notices that an objective without a lower bound runs away, and goes back to before that."""

    def __init__(self, training: _Training) -> None:
        self.training = training
        self.initial = self._sizes()
        self.state = copy.deepcopy(training.network.state_dict())
        self.diverged: str | None = None

    def sees_divergence(self, epoch: int) -> bool:
        """Keep the state at the end of an epoch, or go back to the last one kept."""
        specific, weight = self._sizes()
        if specific <= MOST_GROWTH * self.initial[0] and math.isfinite(weight):
            self.state = copy.deepcopy(self.training.network.state_dict())
            return False
        self.go_back(epoch)
        return True

    def go_back(self, epoch: int) -> None:
        """Say what grew in this epoch, and restore the last state kept."""
        reached = [f"{size:.3g}" if math.isfinite(size) else "beyond all numbers" for size in self._sizes()]
        self.diverged = (
            f"Training with objective='paper_literal' diverged in epoch {epoch}: the root mean square of the specific "
            f"parts went from {self.initial[0]:.3g} to {reached[0]}, the largest weight from {self.initial[1]:.3g} to "
            f"{reached[1]}. Eq. 10 as printed has no lower bound, so nothing stops it. The encoder kept is that of "
            f"epoch {epoch - 1}{'' if epoch > 1 else ', as it was drawn'}. Use objective='paper', the bounded reading "
            "of Eq. 10, or objective='stable'."
        )
        self.training.network.load_state_dict(self.state)

    @torch.no_grad()
    def _sizes(self) -> tuple[float, float]:
        """Root mean square of the specific parts, and the largest weight; NaN if any is."""
        weights = nn.utils.parameters_to_vector(self.training.network.parameters())
        rows = self.training.rows.train[:ROWS_A_BLOCK]
        sizes = _sizes(self.training.parts(rows), self.training.rows.present[rows])
        return float(sizes["rms_specific"]), float(weights.abs().max())


def _taken(x: Tensor, where: _Where) -> Tensor:
    return x if where is None else x[where]


@torch.no_grad()
def _sizes(parts: list[PartsOf], present: Tensor | None) -> dict[str, Tensor]:
    """Root mean square of all common and of all specific parts that are there."""
    if present is not None:
        parts = [PartsOf(*(x[have] for x in part)) for part, have in zip(parts, present.T, strict=True)]
    n = sum(part.common.numel() for part in parts)
    lengths = [torch.linalg.vector_norm(x) for part in parts for x in (part.common, part.specific)]
    common, specific = torch.linalg.vector_norm(torch.stack(lengths).view(-1, 2), dim=0) / math.sqrt(n)
    return {"rms_common": common, "rms_specific": specific}
