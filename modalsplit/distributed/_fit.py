"""A fit whose passes over the items are shared among workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from os import PathLike
from typing import Any, TypeVar

from torch import Tensor, nn

from modalsplit.distributed._engine import Workers, workers_of
from modalsplit.distributed._shards import check_sendable
from modalsplit.encoder import DisentangledModalityEncoder
from modalsplit.objectives import scanning
from modalsplit.stores import open_store

Encoder = TypeVar("Encoder", bound=DisentangledModalityEncoder)


def fit(
    encoder: Encoder,
    store: Any,
    *,
    num_workers: int = 1,
    cpus_per_worker: float = 1.0,
    patience: float = 60.0,
    checkpoint: str | PathLike[str] | None = None,
) -> Encoder:
    """Fit an encoder to the items of a store: ``encoder.fit(store)`` with the passes over all items shared among workers.

    A pass sums up stretches of items, each where there is a worker for it; the sums are added in the order of the stretches. These
    depend on the number of items alone, so the result does not depend on the number of workers. What is learned from
    anchors, and all that is judged, is done in this process, as it is without workers.

    Parameters
    ----------
    encoder : DisentangledModalityEncoder
        With ``objective="stable"`` or ``"cca"``. It is fitted itself.
    store : FeatureStore, or what `open_store` takes
        The items. Workers read the same files: these must be on a file system that all of them see.
    num_workers : int, default=1
        Processes. 1 is this one; for more, a Ray cluster is needed that was started before.
    cpus_per_worker : float, default=1
        What Ray sets aside for each.
    patience : float, default=60
        Seconds to wait for a cluster of which others hold everything.
    checkpoint : str or Path, optional
        A folder from which the same call goes on if this process is killed; see ``encoder.fit``. The number of workers may
        change.

    Returns
    -------
    DisentangledModalityEncoder
        The same encoder.

    Raises
    ------
    ValueError
        As ``encoder.fit``; or if the cluster is too small.
    ImportError
        If Ray is needed and not installed.
    RuntimeError
        If Ray is needed and not started or held by others, a worker died again and again, or another process uses the checkpoint.
    TypeError
        If the store cannot be sent to workers.
    OSError
        If the disk is full.

    Notes
    -----
    A worker that dies is replaced, and its stretch summed up again.

    Stability: experimental.
    """
    store = open_store(store)
    workers = workers_of(num_workers, cpus_per_worker, patience=patience)
    if workers.number > 1:
        check_sendable(store)
        workers.check()
    token = scanning.set(_scan_by(workers))
    try:
        return encoder.fit(store, checkpoint=checkpoint)
    finally:
        scanning.reset(token)


def _scan_by(workers: Workers) -> Callable[..., Iterator[Any]]:
    def scan(function: Callable[..., Any], shared: Sequence[Any], items: Sequence[Any]) -> Iterator[Any]:
        if workers.number > 1:
            shared, items = _on_cpu(shared), _on_cpu(items)
        return workers.map(function, shared, items)

    return scan


def _on_cpu(value: Any) -> Any:
    """Move tensors where every worker can have them."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, nn.Module):
        return deepcopy(value).cpu()
    if isinstance(value, tuple | list):
        return type(value)([_on_cpu(part) for part in value])
    return value
