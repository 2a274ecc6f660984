"""What a fit by gradients needs around `minimise`: a seed for torch's global generator, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

from modalsplit._sklearn import epochs


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Lend torch's global generator to modules, which draw their weights and what they drop from it.

    Parameters
    ----------
    seed : int
        Where it starts.
    device : torch.device
        Where modules are trained.

    Yields
    ------
    torch.Generator
        One more, on the device, for everything else. Afterwards the global one is as it was.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)


@contextmanager
def reported(estimator: Any, **fit_inputs: Any) -> Iterator[Callable[[dict[str, float]], bool]]:
    """Report each epoch to a progress bar and to scikit-learn's callbacks.

    Parameters
    ----------
    estimator : estimator
        Whose ``fit`` this is; it has `max_epochs` and `verbose`.
    **fit_inputs : dict
        ``X`` and ``y`` of ``fit``, for callbacks that score.

    Yields
    ------
    callable
        Takes the record of an epoch; returns True when a callback asks to stop.
    """
    name, n_epochs = type(estimator).__name__, estimator.max_epochs
    bar = tqdm(total=n_epochs, disable=not estimator.verbose, desc=name, unit="epoch")
    with bar, epochs(estimator, n_epochs, **fit_inputs) as end_of_epoch:

        def on_epoch(record: dict[str, float]) -> bool:
            bar.set_postfix(record, refresh=False)
            bar.update()
            return end_of_epoch(dict)

        yield on_epoch
