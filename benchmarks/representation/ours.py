"""Our encoder as it comes, and the paper's objectives and ablations."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any, NamedTuple

from benchmarks.representation.data import FULL, Budget, Task, Views
from benchmarks.representation.parts import Outcome, Outcomes, Parts
from modalsplit import DisentangledModalityEncoder
from modalsplit.exceptions import ConvergenceError

BATCH_SIZE = 500
# Share of the rows that the encoder trains on; the others judge.
TRAINED_SHARE = 0.8


class Ours(NamedTuple):
    """One objective of `DisentangledModalityEncoder`, without any search: all else is default."""

    objective: str

    @property
    def name(self) -> str:
        """In the tables."""
        return f"modalsplit, {self.objective}"

    def __call__(self, task: Task, seed: int, budget: Budget) -> Outcomes:
        """Fit, and split rows with what was fitted."""
        encoder = DisentangledModalityEncoder(
            task.n_components, objective=self.objective, random_state=seed, **self._steps(len(task.train[0]), budget)
        )
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                # That nothing is shared, where a linear method finds nothing.
                warnings.simplefilter("ignore", UserWarning)
                encoder.fit(*task.train)
        except ConvergenceError:
            yield Outcome(self.name, None, time.perf_counter() - start, chosen="diverged")
            return

        def split(given: Views) -> Parts:
            parts = encoder.parts(*given)
            return Parts(parts.common, parts.specific)

        yield Outcome(self.name, split, time.perf_counter() - start, encoder.common_rank_, encoder.primitive_)

    def _steps(self, n_rows: int, budget: Budget) -> dict[str, Any]:
        """Give the trained objectives as many gradient steps, of as many rows, as the rivals have."""
        if self.objective == "cca" or (self.objective == "stable" and budget == FULL):
            return {}
        steps_an_epoch = math.ceil(TRAINED_SHARE * n_rows / BATCH_SIZE)
        return {"batch_size": BATCH_SIZE, "max_epochs": math.ceil(budget.steps / steps_an_epoch)}


OURS = [Ours(o) for o in ("stable", "cca", "official", "paper", "paper_literal", "con", "en", "de")]
