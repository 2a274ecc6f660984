"""Find the parts of items in the columns of a matrix."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modalsplit.blocks import block_columns, width

Floats = NDArray[np.floating[Any]]
ENCODER_ORDER = ("a_common", "b_common", "a_specific", "b_specific")


class PartColumns(NamedTuple):
    """Which columns hold which part; all parts have the same width."""

    names: tuple[str, ...]
    columns: NDArray[np.intp]  # (n_parts, width)

    def pairs(self) -> list[tuple[int, int]]:
        """Match the common and the specific part of each modality, by name.

        Returns
        -------
        list of tuple of int
            Positions of the common and the specific part.
        """
        partner = {name: place for place, name in enumerate(self.names)}
        return [
            (place, partner[_specific_of(name)])
            for place, name in enumerate(self.names)
            if _is_kind(name, "common") and _specific_of(name) in partner
        ]


def _is_kind(name: str, kind: str) -> bool:
    """Tell by the end of a name: a modality may have the word in its own, such as ``common_crawl``."""
    return name == kind or name.endswith(f"_{kind}")


def _specific_of(name: str) -> str:
    return name.removesuffix("common") + "specific"


def modalities(n_parts: int, pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Group parts by modality.

    Parameters
    ----------
    n_parts : int
        How many parts there are.
    pairs : list of tuple of int
        Positions of the common and the specific part of the same modality.

    Returns
    -------
    list of list of int
        Positions of such a pair, or of a part that is in none.
    """
    alone = set(range(n_parts)) - {place for pair in pairs for place in pair}
    return sorted([*map(list, pairs), *([place] for place in alone)])


def find_parts(names: Any, n_columns: int, blocks: Any, parts: str | None, *, fine_tune: bool = False) -> PartColumns:
    """Divide the columns into parts of one width.

    Parameters
    ----------
    names : array-like of str of shape (n_columns,) or None
        Column names; blocks are read from ``block__column``.
    n_columns : int
        How many columns there are.
    blocks : int or "auto"
        Number of parts, which stand side by side. ``"auto"``: what the names say; without them four, in the
        encoder's order, if four divide the columns, else one.
    parts : {"both", "common", "specific"} or None
        Which to keep: all of them, those whose name is the word or ends in it (``image_common``), or none.
    fine_tune : bool, default=False
        Whether it matters which part is which even if all are kept.

    Returns
    -------
    PartColumns
        The parts kept.

    Raises
    ------
    ValueError
        If parts differ in width, the number does not divide the columns, or `parts` selects none.

    Warns
    -----
    UserWarning
        If it matters which part is which, and neither names nor `blocks` say so.
    """
    if parts is None:
        return PartColumns((), np.empty((0, 0), dtype=np.intp))
    named = block_columns(names) if blocks == "auto" and names is not None else {}
    found = _named_parts(named, n_columns) if named else _counted_parts(n_columns, blocks)
    is_guess = blocks == "auto" and not named and found.names == ENCODER_ORDER
    if is_guess and (fine_tune or parts != "both"):
        _warn_of_guess(n_columns, parts, fine_tune)
    if parts == "both":
        return found
    keep = [place for place, name in enumerate(found.names) if _is_kind(name, parts)]
    if not keep:
        raise ValueError(
            f"parts={parts!r} needs blocks named so, like image_{parts}__0, or four blocks without names in "
            f"the encoder's order; the blocks here are {list(found.names)}."
        )
    return PartColumns(tuple(found.names[place] for place in keep), found.columns[keep])


def _warn_of_guess(n_columns: int, parts: str, fine_tune: bool) -> None:
    what = "fine_tune=True" if fine_tune else f"parts={parts!r}"
    warnings.warn(
        f"{what} needs to know which columns are common and which are specific, and the {n_columns} columns of X do "
        f"not say so. They were cut into four blocks of {n_columns // 4} columns, in the order of an encoder of two "
        f"modalities: {', '.join(ENCODER_ORDER)}. If that is right, pass blocks=4; if not, name the columns, as the "
        'encoder does after set_output(transform="pandas").',
        UserWarning,
        stacklevel=4,
    )


def _named_parts(named: dict[str, Any], n_columns: int) -> PartColumns:
    widths = {name: width(columns) for name, columns in named.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            "The blocks of X must have one width, because the parts of an item are added; they have "
            f"{widths}. DisentangledModalityEncoder makes such parts; or pass blocks=1 to use all columns as "
            "one part."
        )
    every = np.arange(n_columns)
    return PartColumns(tuple(named), np.stack([every[columns] for columns in named.values()]))


def _counted_parts(n_columns: int, blocks: Any) -> PartColumns:
    n_blocks = (4 if n_columns % 4 == 0 else 1) if blocks == "auto" else blocks
    if n_columns % n_blocks:
        raise ValueError(f"X has {n_columns} columns, which blocks={n_blocks} does not divide into equal blocks.")
    names = ENCODER_ORDER if n_blocks == 4 else tuple(f"block{block}" for block in range(n_blocks))
    return PartColumns(names, np.arange(n_columns).reshape(n_blocks, -1))


def read_parts(X: Floats, found: PartColumns) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cut a matrix into parts.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        One row an item. Any NaN in a part's columns means that the item lacks that part.
    found : PartColumns
        From `find_parts`.

    Returns
    -------
    parts : ndarray of float32 of shape (n_rows, n_parts, width)
        Zeros where missing.
    present : ndarray of bool of shape (n_rows, n_parts)
        Which parts there are.
    """
    cut = X[:, found.columns].astype(np.float32, copy=False)
    present: NDArray[np.bool_] = np.logical_not(np.isnan(cut).any(axis=2))
    cut[~present] = 0.0
    return cut, present
