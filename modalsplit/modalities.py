"""Which columns are which modality: the roles of X and y, decided by declarations and never by guesses."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import gen_batches

from modalsplit.blocks import SEPARATOR, Columns, as_slice, block_columns

Split = str | int | Sequence[str] | Sequence[int] | None
FEWEST_MODALITIES = 2
ROWS_A_BLOCK = 512
_SHOWN = 3  # rows in a message


def second_is_y(split: Split, X: Any, y: Any) -> bool:
    """Tell whether y is the second modality, by `split` and by X's own columns.

    Parameters
    ----------
    split : "auto", int, sequence of int or of str, or None
        As in `DisentangledModalityEncoder`.
    X : array-like
        The first argument of ``fit``.
    y : array-like or None
        The second.

    Returns
    -------
    bool
        False if both modalities are in X.

    Raises
    ------
    ValueError
        If y is needed and missing, or looks like labels or interactions where a modality is expected.
    """
    if split is None:
        if y is None:
            raise ValueError("split=None takes the second modality as y, but y is None.")
        return True
    if not isinstance(split, str) or len(block_columns(column_names(X))) >= FEWEST_MODALITIES:
        return False
    if y is None or not (sparse.issparse(y) or np.asarray(y).ndim == 2):
        return False
    _refuse_labels(y)
    return True


def stacked_columns(split: Split, names: Sequence[str], n_columns: int) -> list[Columns]:
    """Find the columns of each modality in one matrix.

    Parameters
    ----------
    split : "auto", int, sequence of int or sequence of str
        As in `DisentangledModalityEncoder`.
    names : sequence of str
        Names of the columns; empty if they have none.
    n_columns : int
        How many there are.

    Returns
    -------
    list of (slice or ndarray of int)
        Columns of each modality, in order.

    Raises
    ------
    ValueError
        If a modality gets no column.
    """
    if isinstance(split, int | np.integer):
        return _columns_by_cuts([int(split)], n_columns)
    if not isinstance(split, str) and split is not None:
        if all(isinstance(cut, int | np.integer) for cut in split):
            return _columns_by_cuts([int(cut) for cut in split], n_columns)
        return _columns_by_prefix(names, [str(prefix) for prefix in split])
    blocks = block_columns(names)
    if len(blocks) >= FEWEST_MODALITIES:
        return list(blocks.values())
    cut = n_columns // 2
    if cut == 0:
        raise ValueError(
            f"X has {n_columns} feature(s), but two modalities need one each at least. Pass the second modality as y."
        )
    warnings.warn(
        f"X has no named blocks and y is no matrix: the first {cut} of {n_columns} columns are taken "
        "for one modality and the rest for the other. Pass split= to say where the second begins.",
        UserWarning,
        stacklevel=5,
    )
    return [slice(0, cut), slice(cut, n_columns)]


def modality_names(split: Split, names: Sequence[str], n_modalities: int) -> tuple[str, ...]:
    """Name the modalities of a stacked matrix.

    Parameters
    ----------
    split : "auto", int, sequence of int or sequence of str
        As in `DisentangledModalityEncoder`.
    names : sequence of str
        Names of the columns; empty if they have none.
    n_modalities : int
        How many there are.

    Returns
    -------
    tuple of str of length n_modalities
        The prefixes; without any, "x" and "y", or "x0", "x1" and so on if they are more than two.
    """
    if isinstance(split, tuple | list) and all(isinstance(name, str) for name in split):
        return tuple(str(name) for name in split)
    blocks = list(block_columns(names)) if isinstance(split, str) else []
    if len(blocks) == n_modalities:
        return tuple(blocks)
    return ("x", "y") if n_modalities == 2 else tuple(f"x{m}" for m in range(n_modalities))


def pair_names(first: Sequence[str], second: Sequence[str]) -> tuple[tuple[str, str], list[str]]:
    """Name two modalities and their columns.

    Parameters
    ----------
    first : sequence of str
        Column names of the first modality; empty if they have none.
    second : sequence of str
        Of the second.

    Returns
    -------
    modalities : tuple of two str
        The one prefix that each one's columns have, if these differ, or "x" and "y".
    columns : list of str
        Names of all columns with these prefixes; empty if either has no names.
    """
    blocks = [list(block_columns(names)) for names in (first, second)]
    found = all(len(block) == 1 for block in blocks) and blocks[0] != blocks[1]
    modalities = (blocks[0][0], blocks[1][0]) if found else ("x", "y")
    if not first or not second:
        return modalities, []
    if found:
        return modalities, [*first, *second]
    return modalities, [
        f"{modality}{SEPARATOR}{name}"
        for modality, names in zip(modalities, (first, second), strict=True)
        for name in names
    ]


def check_same_items(X: Any, y: Any) -> None:
    """Refuse two modalities whose rows are not the same items in the same order.

    Indexes of two DataFrames are compared, as their rows are taken by position. The index that pandas makes itself, 0 to
    n - 1, says nothing and agrees with any other, but not with one of the same numbers in another order.

    Parameters
    ----------
    X : array-like of shape (n_items, n_columns)
        The first modality.
    y : array-like of shape (n_items, n_columns_second)
        The second.

    Raises
    ------
    ValueError
        If they have different numbers of rows, or ids that differ.
    """
    first, second = (view.index if hasattr(view, "iloc") else None for view in (X, y))
    if len(X) != len(y):
        advice = _how_to_align(first, second) or "Pass one row an item in each."
        raise ValueError(
            f"The modalities have {len(X)} and {len(y)} rows. Row i of both must be the same item. {advice}"
        )
    if first is None or second is None or first.equals(second):
        return
    reordered = _are_reordered(first, second)
    if (_is_counted(first) or _is_counted(second)) and not reordered:
        return
    rows = _rows_that_differ(first, second)
    if not rows.size:  # only their types differ
        return
    shown = rows[:_SHOWN]
    pairs = ", ".join(
        f"row {row} is {one!r} and {other!r}"
        for row, one, other in zip(shown, first[shown].tolist(), second[shown].tolist(), strict=True)
    )
    raise ValueError(
        f"The indexes of the two modalities hold {'the same ids in another order' if reordered else 'different ids'}: "
        f"{pairs} ({len(rows)} of {len(first)} rows differ). Rows are taken by position: row i of both must be the same "
        f"item. {_how_to_align(first, second)} If the rows are in one order all the same, pass X.to_numpy()."
    )


def column_names(X: Any) -> list[str]:
    """Read the names of the columns.

    Parameters
    ----------
    X : array-like or DataFrame
        Any input.

    Returns
    -------
    list of str
        Empty if X has no columns or any name is not a string.
    """
    columns = getattr(X, "column_names", getattr(X, "columns", None))  # Arrow's columns are the values
    names = [] if columns is None else list(columns)
    return names if all(isinstance(name, str) for name in names) else []


def present(views: Sequence[NDArray[Any] | None]) -> NDArray[np.bool_]:
    """Tell which item has which modality: a block with any NaN counts as absent.

    Parameters
    ----------
    views : sequence of ndarray of shape (n_items, n_columns) or None
        The modalities; None for one that is not given.

    Returns
    -------
    ndarray of bool of shape (n_items, n_modalities)
        True where the item has the modality.
    """
    n_items = next(len(view) for view in views if view is not None)
    return np.column_stack([np.zeros(n_items, dtype=bool) if view is None else ~_has_nan(view) for view in views])


def _has_nan(view: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a NaN, a block at a time: a mask of all is a quarter of the values."""
    blocks = gen_batches(len(view), ROWS_A_BLOCK)
    return np.concatenate([np.isnan(view[rows]).any(axis=1) for rows in blocks] or [np.empty(0, dtype=bool)])


def _is_counted(index: pd.Index) -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def _are_reordered(first: pd.Index, second: pd.Index) -> bool:
    return first.is_unique and second.is_unique and bool(first.isin(second).all())


def _rows_that_differ(first: pd.Index, second: pd.Index) -> NDArray[np.intp]:
    ids = np.concatenate([np.asarray(first, dtype=object), np.asarray(second, dtype=object)])
    numbers = pd.factorize(ids, use_na_sentinel=False)[0]  # NaN is NaN
    return np.flatnonzero(numbers[: len(first)] != numbers[len(first) :])


def _how_to_align(first: pd.Index | None, second: pd.Index | None) -> str:
    if first is None or second is None:
        return ""
    if not (first.is_unique and second.is_unique):
        return "Ids are repeated, so that they cannot be matched: keep one row an id."
    both = first.intersection(second)
    if not len(both):
        return "No id is in both: spell ids alike, also in type."
    if len(both) == len(first) == len(second):
        return "Bring them into one order: Y = Y.loc[X.index]."
    return (
        f"{len(both)} ids are in both: ids = X.index.intersection(Y.index); X, Y = X.loc[ids], Y.loc[ids]. To keep items "
        'that lack a modality, name the columns image__0 ... text__0 and pass one frame, X.join(Y, how="outer"), with '
        'missing="translate".'
    )


def _refuse_labels(y: Any) -> None:
    if sparse.issparse(y):
        what = "sparse"
    else:
        values = np.asarray(y)
        try:
            values = values if values.dtype.kind in "biuf" else values.astype(float)
        except (TypeError, ValueError):
            what = f"of type {values.dtype}"
        else:
            if not (values.dtype.kind == "b" or _are_bits(values)):
                return
            what = "made of 0 and 1"
    raise ValueError(
        f"y is {what}: it looks like interactions or labels, not like a modality. Three ways out: give X two "
        "column prefixes such as image__0 and text__0 (a DataFrame), or pass split=<column of X where the second "
        "modality begins>, and y is ignored; or pass split=None, and y is the second modality all the same."
    )


def _are_bits(values: NDArray[Any]) -> bool:
    blocks = gen_batches(len(values), ROWS_A_BLOCK) if values.ndim else ()
    return all(np.isin(values[rows], (0, 1)).all() for rows in blocks)  # most often the first block says no


def _columns_by_cuts(cuts: Sequence[int], n_columns: int) -> list[Columns]:
    edges = [0, *cuts, n_columns]
    if not cuts or any(first >= second for first, second in itertools.pairwise(edges)):
        shown = cuts[0] if len(cuts) == 1 else tuple(cuts)
        raise ValueError(
            f"split={shown} leaves no column for a modality: X has {n_columns} feature(s), and every modality needs "
            "one at least. Pass the columns where the second and later modalities begin, in rising order."
        )
    return [slice(first, second) for first, second in itertools.pairwise(edges)]


def _columns_by_prefix(names: Sequence[str], prefixes: Sequence[str]) -> list[Columns]:
    if len(prefixes) < FEWEST_MODALITIES:
        raise ValueError(f"split={tuple(prefixes)!r} names {len(prefixes)} modality; it must name two at least.")
    found: list[list[int]] = []
    for prefix in prefixes:
        columns = [i for i, name in enumerate(names) if str(name).startswith(prefix)]
        if not columns:
            shown = f"the first is {names[0]!r}" if len(names) else "X has no column names"
            raise ValueError(f"split={tuple(prefixes)!r}: no column of X starts with {prefix!r}; {shown}.")
        if any(set(columns) & set(others) for others in found):
            raise ValueError(f"split={tuple(prefixes)!r}: some columns of X start with two of these names.")
        found.append(columns)
    return [as_slice(columns) for columns in found]
