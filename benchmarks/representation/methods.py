"""All methods by name: ours, and the rivals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.representation.data import Views
from benchmarks.representation.heads import BarlowTwins, InfoNCE, dcca, dccae, deep
from benchmarks.representation.rivals import ajive, kernel_trials, ridge_trials, rival, sklearn_trials
from benchmarks.representation.search import Fitted, Parts
from modalsplit import DisentangledModalityEncoder
from modalsplit.exceptions import ConvergenceError

N_COMPONENTS = 64
N_STEPS = 1500
BATCH_OF_OURS = 100

Method = Callable[[Views, int, int], list[Fitted]]


def ours(objective: str, views: Views, d: int, seed: int, *, full: bool = False) -> list[Fitted]:
    """Fit our encoder; the objectives that gradients train get as many steps as the deep rivals.

    With `full`, all columns of the common part are in use, as in the rivals' variants with all components.
    """
    epochs = None if objective in {"stable", "cca"} else max(1, N_STEPS * BATCH_OF_OURS // len(views[0]))
    rank = d if full else None
    encoder = DisentangledModalityEncoder(
        d, objective=objective, max_epochs=epochs, common_rank=rank, random_state=seed
    )
    note = ""
    try:
        encoder.fit(*views)
    except ConvergenceError:
        note = "diverged"

    def parts(new: Views) -> Parts:
        both = encoder.parts(*new)
        return Parts(both.common, both.specific)

    return [Fitted("", parts, note or f"k {encoder.common_rank_}")]


OURS = ("stable", "cca", "official", "paper", "con", "en", "de", "paper_literal")
DEEP: dict[str, Method] = {
    "DCCA": partial(deep, dcca, rotate=True),
    "DCCAE": partial(deep, dccae, rotate=True),
    "Barlow Twins": partial(deep, BarlowTwins, rotate=False),
    "InfoNCE": partial(deep, InfoNCE, rotate=False),
}
DEFAULT = "stable"
# On real data alone: planted factors have a rank, and who is told another one fails.
FULL = f"{DEFAULT}, all components"
METHODS: dict[str, Method] = {
    **{objective: partial(ours, objective) for objective in OURS},
    FULL: partial(ours, DEFAULT, full=True),
    "sklearn CCA": partial(rival, partial(sklearn_trials, "CCA")),
    "PLSCanonical": partial(rival, partial(sklearn_trials, "PLS")),
    "RidgeCCA": partial(rival, ridge_trials),
    "KCCA": partial(rival, kernel_trials),
    "AJIVE": ajive,
    **DEEP,
}
# Our closed form is part of the default, and not one of its rivals.
RIVALS = tuple(name for name in METHODS if name not in {DEFAULT, FULL, "cca"})
SEPARATE_RIVALS = tuple(name for name in RIVALS if name not in OURS)
