"""Where pure functions run: in this process, or as tasks of a Ray cluster that the user has started."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# How often Ray runs a task anew whose worker or node died.
RETRIES = 3


@dataclass(frozen=True)
class Workers:
    """How many processes work, and what each is given.

    Attributes
    ----------
    number : int
        Processes; 1 is this one, and needs no Ray.
    cpus, gpus : float
        Of each, as Ray counts them; not of this process.
    patience : float
        Seconds to wait for a cluster of which others hold everything.
    """

    number: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    patience: float = 60.0

    def map(self, function: Callable[..., Any], shared: Sequence[Any], items: Sequence[Any]) -> Iterator[Any]:
        """Call a function once for each item.

        Parameters
        ----------
        function : callable
            Of a module, pure: it may run more than once for an item.
        shared : sequence
            First arguments of every call. They are sent once.
        items : sequence
            Last argument, one a call.

        Yields
        ------
        object
            The results, in the order of the items.

        Raises
        ------
        ImportError
            If there is more than one worker, and no Ray.
        RuntimeError
            If no Ray cluster was started, others hold all of it, or a task's workers died again and again.
        ValueError
            If the cluster is too small.
        TypeError
            If something shared cannot be sent.
        Exception
            What the function raises.
        """
        if self.number == 1:
            for item in items:
                yield function(*shared, item)
        elif items:
            yield from _mapped(self.check(), self, function, shared, items)

    def check(self, *, at_once: bool = False) -> Any:
        """Check that there is a cluster, and room in it.

        Parameters
        ----------
        at_once : bool, default=False
            Whether all workers must run at the same time.

        Returns
        -------
        module
            ``ray``.

        Raises
        ------
        ImportError, RuntimeError, ValueError
            As `map`.
        """
        ray = started_ray(self.number)
        check_room(ray, self, at_once=at_once)
        return ray

    def sent(self, ray: Any, value: Any) -> Any:
        """Send what all workers need to the cluster.

        Parameters
        ----------
        ray : module
            From `check`.
        value : object
            What they need.

        Returns
        -------
        ObjectRef
            For ``ray.get``.

        Raises
        ------
        TypeError
            If it cannot be sent.
        """
        try:
            return ray.put(value)
        except TypeError as error:
            raise TypeError(
                f"What is needed cannot be sent to workers: {error.__cause__ or error}. Give features as files: "
                "modalsplit.stores.write_store makes such of any store."
            ) from error


def workers_of(number: int, cpus: float, gpus: float = 0.0, *, patience: float) -> Workers:
    """Check what a user asks for.

    Parameters
    ----------
    number : int
        Processes.
    cpus, gpus : float
        Of each.
    patience : float
        In seconds.

    Returns
    -------
    Workers
        The same.

    Raises
    ------
    ValueError
        If it makes no sense.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"num_workers={number!r} must be a whole number from 1 on.")
    if cpus < 0 or gpus < 0 or not cpus + gpus:
        raise ValueError(f"A worker with {cpus!r} CPUs and {gpus!r} GPUs cannot work. Give it some of either.")
    return Workers(number, cpus, gpus, patience)


def started_ray(number: int) -> Any:
    """Import Ray, and check that the user has started it.

    Parameters
    ----------
    number : int
        Workers that were asked for.

    Returns
    -------
    module
        ``ray``.

    Raises
    ------
    ImportError
        If it is not installed.
    RuntimeError
        If this process is not connected to a cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            f"num_workers={number} needs Ray, which is not installed: pip install 'modalsplit[ray]'. num_workers=1 works "
            "without."
        ) from error
    if not ray.is_initialized():
        raise RuntimeError(
            f"num_workers={number} needs a Ray cluster, and this process is connected to none. Call ray.init() for one on "
            'this machine, or ray.init(address="auto") on a node of a cluster; modalsplit starts none by itself. '
            "num_workers=1 works without."
        )
    return ray


def check_room(ray: Any, workers: Workers, *, at_once: bool = False) -> None:
    """Check that a cluster has, and can spare, what workers need: Ray itself would wait for ever, and say nothing.

    Parameters
    ----------
    ray : module
        Ray, initialised.
    workers : Workers
        What is asked for.
    at_once : bool, default=False
        Whether all workers must run at the same time; otherwise one is enough, as tasks wait for each other.

    Raises
    ------
    ValueError
        If the nodes are too few or too small.
    RuntimeError
        If others, such as actors, hold the CPUs or GPUs for longer than the workers' patience.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_that_fit(node, workers) for node in nodes)
    if room < workers.number:
        sizes = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ValueError(
            f"num_workers={workers.number} with {workers.cpus:g} CPUs and {workers.gpus:g} GPUs each do not fit the cluster, "
            f"which has room for {room}: its nodes have {sizes}. Ask for fewer or smaller workers, or add nodes first."
        )
    waited, needed = time.monotonic(), workers.number if at_once else 1
    while _that_fit(ray.available_resources(), workers) < needed:
        if time.monotonic() - waited >= workers.patience:
            free = ray.available_resources()
            raise RuntimeError(
                f"Others hold the cluster: {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs were free for "
                f"{workers.patience:g} s, and {'a worker needs' if needed == 1 else f'each of {needed} workers needs'} "
                f"{workers.cpus:g} and {workers.gpus:g}. Actors keep theirs until "
                "they end: end some, give them fewer CPUs (num_cpus=), or pass a longer patience."
            )
        time.sleep(0.2)


def _that_fit(resources: dict[str, float], workers: Workers) -> int:
    """How many workers fit these resources."""
    shares = [
        resources.get(kind, 0.0) // needed for kind, needed in (("CPU", workers.cpus), ("GPU", workers.gpus)) if needed
    ]
    return int(min(shares, default=workers.number))


def _mapped(
    ray: Any, workers: Workers, function: Callable[..., Any], shared: Sequence[Any], items: Sequence[Any]
) -> Iterator[Any]:
    """Keep as many tasks running as there are workers, and few results waiting for their turn."""
    held = [workers.sent(ray, tuple(shared))]  # in a list, or Ray would fetch it for each task anew
    task = ray.remote(num_cpus=workers.cpus, num_gpus=workers.gpus, max_retries=RETRIES)(_run)
    running: dict[Any, int] = {}
    done: dict[int, Any] = {}
    n_sent = n_yielded = 0
    try:
        while n_yielded < len(items):
            while n_sent < len(items) and len(running) < workers.number and n_sent < n_yielded + 4 * workers.number:
                running[task.remote(function, held, items[n_sent])] = n_sent
                n_sent += 1
            for ready in ray.wait(list(running), num_returns=1)[0]:
                done[running.pop(ready)] = _result(ray, ready)
            while n_yielded in done:
                yield done.pop(n_yielded)
                n_yielded += 1
    finally:
        for task_left in running:
            ray.cancel(task_left)


def _result(ray: Any, task: Any) -> Any:
    """Get what a task returned, or raise what it raised."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.OutOfMemoryError as error:
        raise RuntimeError(
            "Ray stopped a worker because its node ran out of memory, also when it was tried again. What is finished is "
            "kept. Start fewer workers a node (num_workers=, cpus_per_worker=), or make shards smaller (rows_a_shard=), and run "
            f"the same again. Ray says: {str(error).strip()}"
        ) from error
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"A worker died {RETRIES + 1} times with the same task ({type(error).__name__}). What is finished is kept; run "
            f"the same again when the cause is mended. Ray says: {str(error).strip()}"
        ) from error


def _run(function: Callable[..., Any], held: Sequence[Any], item: Any) -> Any:
    """Call a function in a worker."""
    try:
        return function(*_fetched(held[0]), item)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} This is process {os.getpid()} on {socket.gethostname()}: all workers must see the same files, so these "
            "must be on a shared file system."
        ) from error


@lru_cache(maxsize=1)
def _fetched(held: Any) -> Any:
    """Fetch what calls share, once a worker: networks stay loaded from shard to shard."""
    import ray

    return ray.get(held)
