"""A fit whose passes over the items are shared among workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from os import PathLike
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from modalsplit.distributed._engine import Workers, workers_of
from modalsplit.distributed._shards import check_sendable
from modalsplit.distributed._together import fit_together
from modalsplit.encoder import DisentangledModalityEncoder
from modalsplit.objectives import scanning
from modalsplit.recommend import AttentiveBPR
from modalsplit.stores import FeatureStore, open_store

Estimator = TypeVar("Estimator", DisentangledModalityEncoder, AttentiveBPR)
Launcher = Literal["tasks", "train"]


def fit(
    estimator: Estimator,
    store: Any,
    y: Any = None,
    *,
    num_workers: int = 1,
    launcher: Launcher | None = None,
    cpus_per_worker: float = 1.0,
    patience: float = 60.0,
    checkpoint: str | PathLike[str] | None = None,
    **options: Any,
) -> Estimator:
    """Fit an encoder to the items of a store, or a recommender to interactions, with several processes.

    ``launcher="tasks"``: ``encoder.fit(store)`` with the passes over all items shared among workers. A pass sums up stretches of
    items, each where there is a worker for it; the sums are added in the order of the stretches. These depend on the number of
    items alone, so the result does not depend on the number of workers. What is learned from anchors, and all that is judged,
    is done in this process, as it is without workers.

    ``launcher="train"``: Ray Train starts processes that are connected by ``torch.distributed``, as ``torchrun`` does, and each
    calls ``fit``. The encoder's processes share the passes, and the rows of each batch. Those of `AttentiveBPR` have a share
    of the users each, with what these took and, with ``users="embedding"``, their rows of the table; items are everywhere. Losses are
    those of one process but for the order in which numbers are added.

    Parameters
    ----------
    estimator : DisentangledModalityEncoder or AttentiveBPR
        It is fitted itself. An encoder with ``objective="stable"`` or ``"cca"`` for a store.
    store : FeatureStore, or what `open_store` takes
        The items. Workers read the same files: these must be on a file system that all of them see. `AttentiveBPR` also
        takes arrays and frames.
    y : Interactions, matrix or Parquet files
        As for ``AttentiveBPR.fit``. None for an encoder.
    num_workers : int, default=1
        Processes. 1 is this one; for more, a Ray cluster is needed that was started before.
    launcher : {"tasks", "train"}, optional
        How more than one process share the work. By default "tasks" for an encoder, and "train" for `AttentiveBPR`, which has no
        other.
    cpus_per_worker : float, default=1
        What Ray sets aside for each.
    patience : float, default=60
        Seconds to wait for a cluster of which others hold everything.
    checkpoint : str or Path, optional
        A folder from which the same call goes on if this process is killed, or one of Ray Train's; see ``fit`` of the estimator.
        The number of workers may change. With "train" all workers must see it.
    **options : dict
        Other arguments of ``fit`` of the estimator, such as ``item_ids``.

    Returns
    -------
    DisentangledModalityEncoder or AttentiveBPR
        The same estimator.

    Raises
    ------
    ValueError
        As ``fit`` of the estimator; if the launcher is unknown or not for it; or if the cluster is too small.
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
    A worker that dies is replaced, and its stretch summed up again. With "train" all processes start anew, from the checkpoint or,
    without one, from the beginning; at most four times.

    Stability: experimental.
    """
    is_encoder = isinstance(estimator, DisentangledModalityEncoder)
    launcher = _launcher(launcher, is_encoder)
    workers = workers_of(num_workers, cpus_per_worker, patience=patience)
    if is_encoder or isinstance(store, str | PathLike):
        store = open_store(store)
    if workers.number > 1 and isinstance(store, FeatureStore):
        check_sendable(store)
    data = [store] if y is None else [store, y]
    if launcher == "tasks" and is_encoder:
        if workers.number > 1:
            workers.check()
        token = scanning.set(_scan_by(workers))
        try:
            return estimator.fit(*data, checkpoint=checkpoint, **options)
        finally:
            scanning.reset(token)
    if workers.number == 1:
        return estimator.fit(*data, checkpoint=checkpoint, **options)
    fit_together(estimator, data, {"checkpoint": checkpoint, **options}, workers)
    return estimator


def _launcher(launcher: Launcher | None, is_encoder: bool) -> Launcher:
    if launcher not in {None, "tasks", "train"}:
        raise ValueError(f'launcher={launcher!r} is neither "tasks" nor "train".')
    if launcher == "tasks" and not is_encoder:
        raise ValueError(
            'AttentiveBPR.fit makes no passes that tasks could share: leave launcher out, or pass "train".'
        )
    return launcher or ("tasks" if is_encoder else "train")


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
