"""Minimise a loss over batches of row indices; what a row is, only the loss knows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from modalsplit.training._ranks import (
    Rows,
    average_gradients,
    dealt_together,
    from_first,
    mapped_by_ranks,
    ranks,
    rows_of_all,
    shared_out,
    sum_gradients,
    summed,
)

__all__ = [
    "Rows",
    "average_gradients",
    "dealt_together",
    "from_first",
    "mapped_by_ranks",
    "minimise",
    "ranks",
    "rows_of_all",
    "shared_out",
    "sum_gradients",
    "summed",
]

Losses = Tensor | Mapping[str, Tensor]
State = dict[str, Any]
# More samples than these are shuffled on two levels: stretches of them, then the samples of so many stretches as make
# a window. An order of all samples would grow with their number, and so would the disk pages that a batch touches.
WINDOW, STRETCH = 1 << 20, 1 << 12


class Stepper(Protocol):
    """What `minimise` needs of an optimiser, or of a learning-rate schedule."""

    def step(self) -> object:
        """Move the parameters, or the learning rate."""

    def state_dict(self) -> State:
        """Say where it stands."""

    def load_state_dict(self, state_dict: State) -> object:
        """Stand there again."""


class _Optimizer(Stepper, Protocol):
    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> object: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state_dict: State) -> object: ...


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
    on_interrupt: Callable[[], object] | None = None,
    resume: State | None = None,
    keep: Callable[[State], object] | None = None,
    reduce: Callable[[Sequence[Tensor]], object] | None = None,
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
    on_interrupt : callable, optional
        Called at a `KeyboardInterrupt`, after which training ends with the parameters as they are. None to raise it.
    resume : dict, optional
        What `keep` was given: training goes on from there, and ends as if it had never stopped.
    keep : callable, optional
        Takes the state at the end of each epoch: parameters, optimisers, schedules, generator and history, as
        numbers, texts, tensors, and lists and dicts of them. They are not copies.
    reduce : callable, optional
        Takes the parameters and puts the gradients of all processes of ``torch.distributed`` together, where these share the
        work: `loss_of` must then give the same loss on all. `average_gradients` with `shared_out`; something else with
        `summed`. Without, each process does the same alone.

    Returns
    -------
    list of dict of str to float
        A record an epoch: the mean of each loss over the samples.

    Raises
    ------
    FloatingPointError
        If the loss is no longer finite: the parameters are lost, and going on would hide it.
    """
    steppers = [*optimizers, *schedulers]
    history: list[dict[str, float]] = []
    ended = False
    if resume is not None:
        history, ended = _restored(resume, optimizers, steppers, generator)
    try:
        while not ended and len(history) < max_epochs:
            order = batches(n_samples, batch_size, min_batch, generator)
            record = _epoch(loss_of, order, n_samples, optimizers, steppers, max_norm, reduce)
            if not all(map(math.isfinite, record.values())):
                raise FloatingPointError(
                    f"The loss is no longer finite in epoch {len(history) + 1}: {record}. Lower learning_rate, or look "
                    "for extreme values in the data."
                )
            history.append(record)
            ended = on_epoch is not None and on_epoch(record)
            if keep is not None:
                keep(_state(optimizers, steppers, generator, history, ended))
    except KeyboardInterrupt:
        if on_interrupt is None:
            raise
        on_interrupt()
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
    rest = torch.empty(0, dtype=torch.long, device=generator.device)
    for order in _shuffled(n_samples, generator):
        *whole, rest = torch.split(torch.cat([rest, order]), batch_size)
        # One whole batch is held back, in case that the last one is too small to stand alone.
        yield from whole[:-1]
        rest = torch.cat([*whole[-1:], rest])
    last = list(torch.split(rest, batch_size))
    if len(last) > 1 and len(last[-1]) < min_batch:
        last[-2:] = [torch.cat(last[-2:])]
    yield from last


def _shuffled(n_samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffle the samples, a window at a time: all that is drawn depends on the generator's state alone."""
    device = generator.device
    if n_samples <= WINDOW:
        yield torch.randperm(n_samples, generator=generator, device=device)
        return
    stretches = torch.randperm(-(-n_samples // STRETCH), generator=generator, device=device)
    within = torch.arange(STRETCH, device=device)
    for chosen in torch.split(stretches, WINDOW // STRETCH):
        samples = (chosen[:, None] * STRETCH + within).flatten()
        samples = samples[samples < n_samples]
        yield samples[torch.randperm(len(samples), generator=generator, device=device)]


def _epoch(
    loss_of: Callable[[Tensor], Losses],
    order: Iterator[Tensor],
    n_samples: int,
    optimizers: Sequence[_Optimizer],
    steppers: Sequence[Stepper],
    max_norm: float | None,
    reduce: Callable[[Sequence[Tensor]], object] | None,
) -> dict[str, float]:
    totals: dict[tuple[str, ...], Tensor] = {}  # by names, of which a batch without rows to learn from has fewer
    for batch in order:
        losses = loss_of(batch)
        named = losses if isinstance(losses, Mapping) else {"loss": losses}
        _step(named["loss"], optimizers, steppers, max_norm, reduce)
        names, values = tuple(named), torch.stack([value.detach() for value in named.values()])
        totals[names] = totals.get(names, 0.0) + values * (len(batch) / n_samples)
    record: dict[str, float] = {}
    for names, total in totals.items():
        for name, value in zip(names, total.tolist(), strict=True):
            record[name] = record.get(name, 0.0) + value
    return record


def _step(
    loss: Tensor,
    optimizers: Sequence[_Optimizer],
    steppers: Sequence[Stepper],
    max_norm: float | None,
    reduce: Callable[[Sequence[Tensor]], object] | None,
) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if reduce is not None:
        reduce(_parameters(optimizers))
    if max_norm is not None:
        _shorten([parameter.grad for parameter in _parameters(optimizers) if parameter.grad is not None], max_norm)
    for stepper in steppers:
        stepper.step()


@torch.no_grad()
def _shorten(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Do as `torch.nn.utils.clip_grad_norm_`, in a third of its time: it multiplies where nothing is too long."""
    norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])))
    if norm > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / norm)


def _parameters(optimizers: Sequence[_Optimizer]) -> list[Tensor]:
    groups = (group["params"] for optimizer in optimizers for group in optimizer.param_groups)
    return [parameter for group in groups for parameter in group]


def _state(
    optimizers: Sequence[_Optimizer],
    steppers: Sequence[Stepper],
    generator: torch.Generator,
    history: list[dict[str, float]],
    ended: bool,
) -> State:
    return {
        "parameters": [parameter.detach() for parameter in _parameters(optimizers)],
        "steppers": [stepper.state_dict() for stepper in steppers],
        "generator": generator.get_state(),
        "history": history,
        "ended": ended,
    }


@torch.no_grad()
def _restored(
    state: State, optimizers: Sequence[_Optimizer], steppers: Sequence[Stepper], generator: torch.Generator
) -> tuple[list[dict[str, float]], bool]:
    for parameter, kept in zip(_parameters(optimizers), state["parameters"], strict=True):
        parameter.copy_(kept)
    for stepper, kept in zip(steppers, state["steppers"], strict=True):
        stepper.load_state_dict(kept)
    generator.set_state(state["generator"])
    return [*state["history"]], bool(state["ended"])
