"""Minimise a loss over batches of row indices; what a row is, only the loss knows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

__all__ = ["minimise"]

Losses = Tensor | Mapping[str, Tensor]


class Stepper(Protocol):
    """What `minimise` needs of an optimiser, or of a learning-rate schedule."""

    def step(self) -> object:
        """Move the parameters, or the learning rate."""


class _Optimizer(Stepper, Protocol):
    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> object: ...


def minimise(
    loss_of: Callable[[Tensor], Losses],
    n_samples: int,
    optimizers: Sequence[_Optimizer],
    *,
    batch_size: int,
    max_epochs: int,
    generator: torch.Generator,
    schedulers: Sequence[Stepper] = (),
    min_batch: int = 1,
    max_norm: float | None = None,
    on_epoch: Callable[[dict[str, float]], bool] | None = None,
) -> list[dict[str, float]]:
    """Minimise a loss by mini-batches, each sample once an epoch.

    Parameters
    ----------
    loss_of : callable
        Takes the indices of a batch, a Tensor of int64 of shape (n_batch,), and returns the scalar loss;
        or a mapping of scalars, of which ``"loss"`` is minimised and the others are only recorded.
    n_samples : int
        Indices run from 0 to ``n_samples - 1``.
    optimizers : sequence of torch.optim.Optimizer
        All step after each batch.
    batch_size : int
        Samples a batch.
    max_epochs : int
        Passes over the samples, at most.
    generator : torch.Generator
        Shuffles the samples, on its own device; the global generator is not used.
    schedulers : sequence of torch.optim.lr_scheduler.LRScheduler, default=()
        All step after each batch.
    min_batch : int, default=1
        A last batch with fewer samples joins the one before.
    max_norm : float, optional
        Longest gradient, over the parameters of all optimisers; a longer one is shortened. None for no limit.
    on_epoch : callable, optional
        Takes the record of the epoch that just ended, to which it may add; return True to stop.

    Returns
    -------
    list of dict of str to float
        A record an epoch: the mean of each loss over the samples.

    Raises
    ------
    FloatingPointError
        If the loss is no longer finite: the parameters are lost, and going on would hide it.
    """
    history: list[dict[str, float]] = []
    for epoch in range(max_epochs):
        totals: dict[str, Tensor] = {}
        for batch in batches(n_samples, batch_size, min_batch, generator):
            losses = loss_of(batch)
            named = losses if isinstance(losses, Mapping) else {"loss": losses}
            _step(named["loss"], optimizers, schedulers, max_norm)
            for name, value in named.items():
                totals[name] = totals.get(name, 0.0) + value.detach() * (len(batch) / n_samples)
        record = {name: float(total) for name, total in totals.items()}
        if not all(map(torch.isfinite, totals.values())):
            raise FloatingPointError(
                f"The loss is no longer finite in epoch {epoch + 1}: {record}. Lower learning_rate, or look "
                "for extreme values in the data."
            )
        history.append(record)
        if on_epoch is not None and on_epoch(record):
            break
    return history


def batches(n_samples: int, batch_size: int, min_batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Cut a fresh permutation of the samples into batches.

    Parameters
    ----------
    n_samples : int
        Indices run from 0 to ``n_samples - 1``.
    batch_size : int
        Samples a batch.
    min_batch : int
        A last batch with fewer samples joins the one before.
    generator : torch.Generator
        Shuffles the samples, on its own device.

    Yields
    ------
    Tensor of int64 of shape (n_batch,)
        Indices of a batch.
    """
    order = torch.randperm(n_samples, generator=generator, device=generator.device)
    parts = list(torch.split(order, batch_size))
    if len(parts) > 1 and len(parts[-1]) < min_batch:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts


def _step(
    loss: Tensor, optimizers: Sequence[_Optimizer], schedulers: Sequence[Stepper], max_norm: float | None
) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if max_norm is not None:
        groups = (group["params"] for optimizer in optimizers for group in optimizer.param_groups)
        clip_grad_norm_([parameter for group in groups for parameter in group], max_norm)
    for stepper in (*optimizers, *schedulers):
        stepper.step()
