"""Adam for tables of which a step reads some rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS, EPS = (0.9, 0.999), 1e-8
ROWS = 1024  # at a time, so that they stay in the cache


class RowAdam(torch.optim.Optimizer):
    """Move only the rows that have a gradient, and only their moments.

    A row that was not read keeps its moments as they are, where Adam would let them fade and move the row on: as
    `torch.optim.SparseAdam`, of which this is a faster form. The step size is that of Adam at this step.

    Parameters
    ----------
    tables : iterable of Parameter
        Their gradients are sparse, and name a row once at most.
    lr : float
        Learning rate.
    """

    def __init__(self, tables: Iterable[torch.nn.Parameter], lr: float) -> None:
        super().__init__(list(tables), {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move the parameters.

        Parameters
        ----------
        closure : None
            Not supported.
        """
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                moments, n_steps, lr = self.begin(table)
                indices, values = table.grad._indices()[0], table.grad._values()
                for rows, gradient in zip(indices.split(ROWS), values.split(ROWS), strict=True):
                    _move(table, moments, rows, gradient, n_steps - 1, lr)

    def begin(self, table: Tensor) -> tuple[list[Tensor], int, float]:
        """Count a step of a table, for who moves its rows.

        Parameters
        ----------
        table : Parameter
            One of the tables.

        Returns
        -------
        moments : list of Tensor of the table's shape
            First and second.
        n_steps : int
            How many steps there are, with this one.
        lr : float
            Learning rate.
        """
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["moments"] = [torch.zeros_like(table), torch.zeros_like(table)]
        state["step"] += 1
        return state["moments"], state["step"], self.param_groups[0]["lr"]


def _move(table: Tensor, moments: list[Tensor], rows: Tensor, gradient: Tensor, n_steps: int, lr: float) -> None:
    stored = [table, *moments]
    values, first, second = (each.index_select(0, rows) for each in stored)
    steps = torch.tensor(float(n_steps), device=table.device)
    adam(
        [values],
        [gradient.contiguous()],
        [first],
        [second],
        [],
        [steps],
        fused=True,
        amsgrad=False,
        beta1=BETAS[0],
        beta2=BETAS[1],
        lr=lr,
        weight_decay=0.0,
        eps=EPS,
        maximize=False,
    )
    for each, new in zip(stored, (values, first, second), strict=True):
        each.index_copy_(0, rows, new)
