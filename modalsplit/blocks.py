"""Named column blocks: one matrix, columns ``block__0 ... block__n``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "__"
Columns = slice | NDArray[np.intp]


def block_columns(names: Sequence[object], separator: str = SEPARATOR) -> dict[str, Columns]:
    """Find the blocks in a list of column names.

    Parameters
    ----------
    names : sequence of str of length n_columns
        Column names, such as ``ColumnTransformer`` writes them. The block is what stands before the
        first `separator`.
    separator : str, default="__"
        What stands between the block and the column.

    Returns
    -------
    dict of str to slice or ndarray of int
        Columns of each block, in order of first appearance; a slice where they stand together, because a
        slice makes a view and an index array makes a copy. Empty if any name has no prefix.

    Examples
    --------
    >>> from modalsplit.blocks import block_columns
    >>> block_columns(["image__0", "image__1", "text__0"])
    {'image': slice(0, 2, None), 'text': slice(2, 3, None)}
    >>> block_columns(["price", "image__0"])
    {}
    """
    members: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        prefix, found, _ = str(name).partition(separator)
        if not found or not prefix:
            return {}
        members.setdefault(prefix, []).append(column)
    return {block: as_slice(columns) for block, columns in members.items()}


def block_names(block: str, width: int, separator: str = SEPARATOR) -> list[str]:
    """Name the columns of a block: ``image__0``, ``image__1`` and so on.

    Parameters
    ----------
    block : str
        The block's name.
    width : int
        How many columns it has.
    separator : str, default="__"
        What stands between the block and the column's number.

    Returns
    -------
    list of str of length width
        The names, in order.
    """
    return [f"{block}{separator}{column}" for column in range(width)]


def width(columns: Columns) -> int:
    """Count the columns of a block.

    Parameters
    ----------
    columns : slice or ndarray of int
        A value of `block_columns`.

    Returns
    -------
    int
        How many columns it selects.
    """
    return columns.stop - columns.start if isinstance(columns, slice) else len(columns)


def as_slice(columns: Sequence[int]) -> Columns:
    """Turn a list of columns into a slice where they stand together.

    Parameters
    ----------
    columns : sequence of int
        Rising column numbers, one at least.

    Returns
    -------
    slice or ndarray of int
        What selects them.
    """
    first, last = columns[0], columns[-1]
    if last - first + 1 == len(columns):
        return slice(first, last + 1)
    return np.asarray(columns)
