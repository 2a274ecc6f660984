"""Several processes that train one model together, as ``torch.distributed`` knows them; alone, all this does nothing.

Every process draws the same batches and holds the same parameters. Of a batch, each computes its share of the rows; what the
loss needs of the batch is then put together on every process, so that batch statistics (covariances, gaps of means, ranks) are
those of the whole batch whatever the loss, and gradients flow back to the rows' own process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


class Ranks(NamedTuple):
    """Which of how many processes this one is.

    Attributes
    ----------
    rank : int
        From 0 on.
    world : int
        How many there are.
    """

    rank: int
    world: int


def ranks() -> Ranks:
    """Find out which of how many processes this one is.

    Returns
    -------
    Ranks
        ``(0, 1)`` unless ``torch.distributed.init_process_group`` was called.
    """
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks(0, 1)


def shared_out(compute: Callable[[Tensor], Sequence[Tensor]], x: Tensor) -> list[Tensor]:
    """Compute matrices of the rows of a batch, each process those of its share, and put them together on all.

    Parameters
    ----------
    compute : callable
        Takes some rows and returns matrices with as many; what it makes of a row must not depend on the other rows.
    x : Tensor of shape (n_rows, n_columns)
        The batch, the same on every process.

    Returns
    -------
    list of Tensor of shape (n_rows, n_out)
        Of all rows. Gradients of a loss that every process computes alike are right after `average_gradients`.
    """
    rank, world = ranks()
    if world == 1:
        return list(compute(x))
    return [_Together.apply(part, len(x)) for part in compute(x[rank::world])]


class _Together(torch.autograd.Function):
    """Rows of all processes, of which each gave every `world`-th."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, n_rows: int) -> Tensor:
        return dealt_together(mine, n_rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # The mean over the processes takes the factor back.
        rank, world = ranks()
        return world * grads[0][rank::world], None


def summed(mine: Tensor) -> Tensor:
    """Add up a number of which each process computed its share.

    Parameters
    ----------
    mine : Tensor of shape ()
        The share of this process.

    Returns
    -------
    Tensor of shape ()
        The sum, the same on all. Its gradient is that of the share: those of all processes are still to be added.
    """
    total: Tensor = mine if ranks().world == 1 else _Summed.apply(mine)
    return total


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class Rows(NamedTuple):
    """Rows of a table that any process asks for, of which each asks for some.

    Attributes
    ----------
    ids : Tensor of int64 of shape (n_rows,)
        All of them, ascending.
    place : Tensor of int64 of shape (n_mine,)
        Where those of this process stand among them.
    is_first : Tensor of bool of shape (n_mine,)
        Whether no earlier process asks for a row: over all processes, each row is marked once.
    """

    ids: Tensor
    place: Tensor
    is_first: Tensor

    def summed(self, mine: Tensor) -> Tensor:
        """Add up what the processes know of their rows.

        Parameters
        ----------
        mine : Tensor of shape (n_mine, n_columns)
            Of this process.

        Returns
        -------
        Tensor of shape (n_rows, n_columns)
            Of all, the same on all.
        """
        total = mine.new_zeros(len(self.ids), *mine.shape[1:])
        total[self.place] = mine
        dist.all_reduce(total)
        return total


def rows_of_all(mine: Tensor) -> Rows:
    """Find out which rows of a table the processes ask for.

    Parameters
    ----------
    mine : Tensor of int64 of shape (n_mine,)
        What this process asks for, each once.

    Returns
    -------
    Rows
        Of all.
    """
    parts = _gathered(mine)
    ids, place = torch.unique(torch.cat(parts), return_inverse=True)
    sizes = [len(part) for part in parts]
    rank = torch.repeat_interleave(
        torch.arange(len(parts), device=mine.device), torch.tensor(sizes, device=mine.device)
    )
    first = torch.full((len(ids),), len(parts), device=mine.device).scatter_reduce(0, place, rank, "amin")
    own = place[sum(sizes[: ranks().rank]) :][: len(mine)]
    return Rows(ids, own, first[own] == ranks().rank)


def dealt_together(mine: Tensor, n_rows: int) -> Tensor:
    """Put a table together of which each process holds every `world`-th row.

    Parameters
    ----------
    mine : Tensor of shape (n_mine, n_columns)
        Rows ``rank``, ``rank + world`` and so on.
    n_rows : int
        Of the table.

    Returns
    -------
    Tensor of shape (n_rows, n_columns)
        The table, the same on all processes.
    """
    world = ranks().world
    if world == 1:
        return mine
    padded = mine.new_zeros(-(-n_rows // world), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:n_rows]


def _gathered(mine: Tensor) -> list[Tensor]:
    """Vectors of all processes, whatever their lengths."""
    sizes = [torch.zeros(1, dtype=torch.int64, device=mine.device) for _ in range(ranks().world)]
    dist.all_gather(sizes, torch.tensor([len(mine)], device=mine.device))
    longest = max(int(size) for size in sizes)
    padded = mine.new_zeros(longest)
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return [part[: int(size)] for part, size in zip(parts, sizes, strict=True)]


def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Add up the dense gradients of all processes, in one message.

    Parameters
    ----------
    parameters : sequence of Tensor
        The same ones on every process; where one has no gradient, it counts as 0.
    """
    if ranks().world == 1 or not parameters:
        return
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    message = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(message)
    parts = torch.split(message, [grad.numel() for grad in grads])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Average the gradients of all processes, in one message.

    Parameters
    ----------
    parameters : sequence of Tensor
        The same ones on every process.
    """
    world = ranks().world
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    sum_gradients(with_gradient)
    for parameter in with_gradient if world > 1 else ():
        assert parameter.grad is not None
        parameter.grad.div_(world)


def from_first(make: Callable[[], T]) -> T:
    """Let the first process make something, and give it to all.

    Parameters
    ----------
    make : callable
        Called on the first process alone.

    Returns
    -------
    object
        What it returned.

    Raises
    ------
    Exception
        What it raised, on every process.
    """
    rank, world = ranks()
    if world == 1:
        return make()
    found: list[Any] = [_tried(make) if rank == 0 else None]
    dist.broadcast_object_list(found)
    value: T = _value(found[0])
    return value


def mapped_by_ranks(function: Callable[..., Any], shared: Sequence[Any], items: Sequence[Any]) -> Iterator[Any]:
    """Call a function once for each item, each process for some, and give the results to all.

    Parameters
    ----------
    function : callable
        Pure.
    shared : sequence
        First arguments of every call.
    items : sequence
        Last argument, one a call; the same ones on every process.

    Yields
    ------
    object
        The results, in the order of the items.

    Raises
    ------
    Exception
        What the function raises, on every process.
    """
    rank, world = ranks()
    if world == 1:
        for item in items:
            yield function(*shared, item)
        return
    for start in range(0, len(items), world):
        mine = [_tried(partial(function, *shared, item)) for item in items[start + rank : start + rank + 1]]
        found: list[Any] = [None] * world
        dist.all_gather_object(found, mine)
        for of_rank in found:
            for tried in of_rank:
                yield _value(tried)


def _tried(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Call, and keep an error: processes that wait for this one would wait for ever."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def _value(tried: Any) -> Any:
    value, error = tried
    if error is not None:
        raise error
    return value
