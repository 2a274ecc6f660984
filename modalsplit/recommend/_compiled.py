"""A step of AttentiveBPR in compiled loops: loss, gradients in closed form and the moves of Adam, a row at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding_bag

from modalsplit.recommend._batches import BatchLoss
from modalsplit.recommend._negatives import draw_chance
from modalsplit.recommend._row_adam import BETAS, EPS, RowAdam

# Fewer samples, over all epochs, are not worth the seconds that compiling may take.
LEAST_WORK = 1 << 19
Arrays = NDArray[Any]


def compiled(loss: BatchLoss, rows: torch.optim.Optimizer, name: str, max_epochs: int) -> Callable[[Tensor], Tensor]:
    """Put `CompiledLoss` in the place of a loss, where it can be and is worth it.

    Parameters
    ----------
    loss : BatchLoss
        The loss.
    rows : Optimizer
        Moves the tables.
    name : {"softmax", "bpr", "logistic"}
        Of the loss.
    max_epochs : int
        How often it will see each sample.

    Returns
    -------
    CompiledLoss or BatchLoss
        The first for the paper's form: users with embeddings, parts as they are, attention of the item, interactions as
        samples. `loss` itself without Numba, on a GPU, in several processes, and for little data.
    """
    is_large = loss.batches.n_samples * max_epochs >= LEAST_WORK
    # Losses of other classes share their work with other processes.
    if type(loss) is BatchLoss and isinstance(rows, RowAdam) and is_covered(loss) and is_large and has_numba():
        return CompiledLoss(loss, rows, name)
    return loss


def is_covered(loss: BatchLoss) -> bool:
    """Tell whether the compiled loops know the form of a model.

    Parameters
    ----------
    loss : BatchLoss
        What to compute.

    Returns
    -------
    bool
        True for the paper's form.
    """
    ranker = loss.ranker
    is_known = not ranker.history and ranker.maps is None and loss.attention != "user"
    return is_known and loss.batches.sampling == "interactions" and ranker.embedding.device.type == "cpu"


def has_numba() -> bool:
    """Tell whether Numba is installed, and allowed to compile.

    Returns
    -------
    bool
        False where the environment variable ``NUMBA_DISABLE_JIT`` is set, too.
    """
    if importlib.util.find_spec("numba") is None:
        return False
    from numba.core import config

    return not getattr(config, "DISABLE_JIT", False)


class CompiledLoss:
    """`BatchLoss` that moves the rows of users and items itself, while they are in the cache.

    The numbers are those of `BatchLoss` and `RowAdam` but for rounding, and a function of the seed: all runs on one thread.

    Parameters
    ----------
    loss : BatchLoss
        What to compute. The tables of its ranker change with each call; `delta` gets a gradient.
    optimizer : RowAdam
        Of the tables. Its moments and counts change with each call, and its own step finds no gradient.
    name : {"softmax", "bpr", "logistic"}
        How positives are compared with negatives.
    """

    def __init__(self, loss: BatchLoss, optimizer: RowAdam, name: str) -> None:
        from modalsplit.recommend import _kernels

        self.kernels: ModuleType = _kernels
        ranker, batches = self.ranker, self.batches = loss.ranker, loss.batches
        self.optimizer, self.l2 = optimizer, float(loss.l2)
        self.loss = {"bpr": _kernels.BPR, "logistic": _kernels.LOGISTIC, "softmax": _kernels.SOFTMAX}[name]
        self.bounds, self.items = batches.taken.bounds.numpy(), batches.taken.items.numpy()
        self.place_of = np.full(batches.taken.n_items, -1)
        self.scale = ranker.scale.numpy()
        self.factor = self.scale / self.scale.dtype.type(ranker.embedding.shape[1] ** 0.5)
        if loss.attention == "mean":
            self.factor = np.zeros_like(self.factor)
        self.signs = torch.zeros(len(ranker.pairs), len(self.scale), dtype=ranker.embedding.dtype)
        for signs, (common, specific) in zip(self.signs, ranker.pairs, strict=True):
            signs[common], signs[specific] = 1.0, -1.0
        self._space: dict[str, Arrays] = {}

    def __call__(self, samples: Tensor) -> Tensor:
        """Compute the loss, and move the tables.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            Positions among the samples of `batches`.

        Returns
        -------
        Tensor of shape ()
            Lower is better. Its gradient is that of `delta` alone.
        """
        value: Tensor = _Step.apply(self, samples, self.ranker.embedding, self.ranker.delta)
        return value

    def step(self, samples: Tensor) -> tuple[float, Tensor | None]:
        """Do what a call does.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            Positions among the samples of `batches`.

        Returns
        -------
        loss : float
            Of the batch.
        of_delta : Tensor of shape (n_modalities, width, width) or None
            The gradient of `delta`.
        """
        kernels, ranker = self.kernels, self.ranker
        users, row, lists = self._drawn(samples)
        distinct = self._room("distinct", (min(lists.size, len(self.place_of)),), np.int64)
        rows = distinct[: kernels.number(lists, self.place_of, distinct)]
        n, width = len(rows), ranker.embedding.shape[1]
        both, moves = self._moves(rows)
        item, user = self._adam(ranker.embedding), self._adam(ranker.users)
        given = ranker.parts.numpy(), ranker.present.numpy(), rows, self.factor, self.scale, moves.numpy()
        weights, fused = self._room("weights", (n, len(self.scale))), self._room("fused", (n, width))
        signs, scratch = self.signs.numpy(), self._room("scratch", (width,))
        kernels.fuse(item[0], *given, signs, weights, fused)
        bias = self._room("bias", (n,))
        bias[:] = 0.0 if ranker.bias is None else ranker.bias.detach().numpy()[rows, 0]
        of_items, of_bias = self._room("of_items", (n, width)), self._room("of_bias", (n,))
        scores, through = self._room("scores", (lists.shape[1],)), self._room("through", (len(self.scale),))
        loss = kernels.rank(
            self.loss, self.l2, user, users, row, lists, fused, bias, of_items, of_bias, scratch, scores
        )
        kernels.move(item, *given, signs, weights, of_items, scratch, through)
        if ranker.bias is not None:
            kernels.move_bias(self._adam(ranker.bias), rows, of_bias)
        # What was added to the parts has its gradient in its place by now.
        return loss, None if ranker.delta is None else moves.mT @ both

    def _drawn(self, samples: Tensor) -> tuple[Arrays, Arrays, Arrays]:
        """Complete samples to a batch, as `Batches.draw`: users, the user of each interaction, its item and negatives."""
        batches, n = self.batches, len(samples)
        chosen = batches.places(samples).sort().values
        chance = draw_chance(chosen, batches.n_negatives, batches.generator).numpy()
        users, row = self._room("users", (n,), np.int64), self._room("row", (n,), np.int64)
        lists = self._room("lists", (n, 1 + batches.n_negatives), np.int64)
        n_items = len(self.place_of)
        n_users = self.kernels.draw(chosen.numpy(), self.bounds, self.items, n_items, chance, users, row, lists)
        return users[:n_users], row, lists

    def _moves(self, rows: Arrays) -> tuple[Tensor, Tensor]:
        """Compute what fine-tuning adds to the parts of some items, and what from: (S, N, D) both."""
        ranker = self.ranker
        if ranker.delta is None:
            none = ranker.embedding.new_zeros(0, 0, ranker.embedding.shape[1])
            return none, none
        columns = torch.tensor(ranker.pairs)
        place = (torch.from_numpy(rows)[None, :, None] * ranker.parts.shape[1] + columns[:, None]).flatten(0, 1)
        both = embedding_bag(place, ranker.parts.flatten(0, 1), mode="sum").view(len(columns), len(rows), -1)
        return both, both @ ranker.delta.detach().mT

    def _adam(self, table: Tensor) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        """Begin a step of a table: its values, its moments, and what Adam needs to know."""
        moments, n_steps, lr = self.optimizer.begin(table)
        (one, two), values = BETAS, table.detach().numpy()
        step = [lr / (1 - one**n_steps), (1 - two**n_steps) ** -0.5, one, 1 - one, two, 1 - two, EPS]
        return values, moments[0].numpy(), moments[1].numpy(), np.array(step, dtype=values.dtype)

    def _room(self, name: str, shape: tuple[int, ...], kind: Any = None) -> Arrays:
        """Give an array to write to, the same memory in each step."""
        size = int(np.prod(shape))
        room = self._space.get(name)
        if room is None or len(room) < size:
            room = self._space[name] = np.empty(size, dtype=kind or self.scale.dtype)
        return room[:size].reshape(shape)


class _Step(Function):
    @staticmethod
    def forward(ctx: Any, loss: CompiledLoss, samples: Tensor, embedding: Tensor, delta: Tensor | None) -> Tensor:
        value, ctx.of_delta = loss.step(samples)
        return embedding.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None if ctx.of_delta is None else outer[0] * ctx.of_delta
