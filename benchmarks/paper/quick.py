"""The short form of the benchmark: few users, few epochs, one seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.paper.data import Case
from benchmarks.paper.run import Budget
from modalsplit import Interactions

N_USERS, MOST_EPOCHS = 400, 3
BUDGET = Budget(trials=2, seeds=1, epochs=MOST_EPOCHS)
EPOCHS, SHARES = (1, 3), (0.5, 1.0)  # of the figures
SAID = f"{N_USERS} users, {BUDGET.trials} trials, {BUDGET.seeds} seed, {MOST_EPOCHS} epochs at most"


def smaller(case: Case) -> Case:
    """Keep some users and what they took; the catalogue stays whole. The encoder is fitted for a few epochs."""
    Y = case.interactions
    users = np.sort(np.random.default_rng(0).permutation(Y.shape[1])[:N_USERS])
    fewer = Interactions(Y.tocsr()[:, users], item_ids=Y.item_ids, user_ids=np.asarray(Y.user_ids)[users])
    return replace(case, name=f"{case.name}, {SAID}", interactions=fewer, encoder={"max_epochs": MOST_EPOCHS})
