"""Passes over all rows: what is done for one stretch of them after another, here or by others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from modalsplit.training import mapped_by_ranks

ROWS_A_BLOCK = 4096
# Stretches of rows that are summed up alone, and then together: at least so many blocks, and so many stretches at most. They
# depend on nothing but the number of rows, and so do the sums, to the last bit, whoever computes them.
BLOCKS_A_STRETCH, MOST_STRETCHES = 4, 64

Scan = Callable[[Callable[..., Any], Sequence[Any], Sequence[Any]], Iterator[Any]]


# Calls a function of a module, f(*shared, item), for each item, and yields the results in their order. Whoever has more
# processes sets another one for the time of a fit.
scanning: ContextVar[Scan] = ContextVar("scanning", default=mapped_by_ranks)


def stretches(n_rows: int) -> list[slice]:
    """Cut all rows into stretches.

    Parameters
    ----------
    n_rows : int
        How many.

    Returns
    -------
    list of slice
        Of some blocks each.
    """
    n_blocks = -(-n_rows // ROWS_A_BLOCK)
    size = ROWS_A_BLOCK * max(BLOCKS_A_STRETCH, -(-n_blocks // MOST_STRETCHES))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def blocks_of(rows: slice) -> Iterator[slice]:
    """Cut a stretch into blocks.

    Parameters
    ----------
    rows : slice
        Of step 1.

    Yields
    ------
    slice
        Of the rows of a block.
    """
    for start in range(rows.start, rows.stop, ROWS_A_BLOCK):
        yield slice(start, min(start + ROWS_A_BLOCK, rows.stop))
