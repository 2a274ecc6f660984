"""What is exported: items with ids and named blocks of numbers, checked once for all targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from modalsplit.blocks import SEPARATOR, block_columns, block_names

Ids = NDArray[Any]
Blocks = str | Sequence[str] | None
SHOWN = 3  # ids in a message
# Block names become file names and attributes elsewhere.
_BLOCK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ItemBlocks(NamedTuple):
    """Items as other libraries take them; made by `item_blocks`, which checks them.

    Attributes
    ----------
    ids : ndarray of shape (n_items,)
        One unique id a row: int64, or str in an object array.
    blocks : dict of str to ndarray of shape (n_items, n_columns), float32
        Finite numbers, one matrix a block.
    made_by : dict
        How the blocks were made, for the data card; it can be written as JSON.
    """

    ids: Ids
    blocks: dict[str, NDArray[np.float32]]
    made_by: dict[str, Any]

    def matrix(self, blocks: Blocks = None) -> NDArray[np.float32]:
        """Put blocks side by side.

        Parameters
        ----------
        blocks : str or sequence of str, optional
            Names of blocks, in the order wanted. By default all.

        Returns
        -------
        ndarray of shape (n_items, n_columns), float32
            One row an item, in the order of `ids`.

        Raises
        ------
        ValueError
            If a block is not known, or none is named.
        """
        return np.hstack([self.blocks[name] for name in self.named(blocks)])

    def named(self, blocks: Blocks = None) -> list[str]:
        """List names of blocks.

        Parameters
        ----------
        blocks : str or sequence of str, optional
            Names of blocks, in the order wanted. By default all.

        Returns
        -------
        list of str
            The same, checked.

        Raises
        ------
        ValueError
            If a block is not known, or none is named.
        """
        names = list(self.blocks) if blocks is None else [blocks] if isinstance(blocks, str) else list(blocks)
        unknown = [name for name in names if name not in self.blocks]
        if unknown or not names:
            what = f"There is no block {unknown[0]!r}" if unknown else "No block is named"
            raise ValueError(f"{what}; there are {list(self.blocks)}.")
        return names

    def take(self, item_ids: ArrayLike) -> ItemBlocks:
        """Select items, in the order in which another library numbers them.

        Parameters
        ----------
        item_ids : array-like of shape (n,)
            Ids, each once.

        Returns
        -------
        ItemBlocks
            Row i belongs to ``item_ids[i]``.

        Raises
        ------
        ValueError
            If an id is not among the items, or occurs twice.
        """
        wanted = checked_ids(item_ids, "item_ids")
        rows = pd.Index(self.ids).get_indexer(pd.Index(wanted))
        absent = wanted[rows < 0]
        if absent.size:
            raise ValueError(
                f"{len(absent)} of {len(wanted)} item_ids have no row, such as {shown(absent)}; the items have ids such "
                f"as {shown(self.ids)}. Both sides must spell ids alike, also in type; transform all items before "
                "exporting them."
            )
        return ItemBlocks(wanted, {name: X[rows] for name, X in self.blocks.items()}, self.made_by)

    def to_frame(self) -> pd.DataFrame:
        """Return the matrix with named column blocks that the encoder reads.

        Returns
        -------
        DataFrame of shape (n_items, n_columns), float32
            Indexed by ``item_id``, with columns ``block__0 ... block__n``.
        """
        names = [name for block, X in self.blocks.items() for name in block_names(block, X.shape[1])]
        return pd.DataFrame(self.matrix(), index=pd.Index(self.ids, name="item_id"), columns=names)


def item_blocks(Z: Any, *, item_ids: ArrayLike | None = None, made_by: Any = None) -> ItemBlocks:
    """Check what is to be exported: ids, and blocks of numbers.

    Every exporter calls it; call it yourself to give ids or to say how the blocks were made.

    Parameters
    ----------
    Z : DataFrame, ModalityEmbeddings, mapping of str to array-like, or ItemBlocks
        Blocks of columns, one row an item: a frame whose columns are named ``block__0 ... block__n`` and whose index
        holds the ids, as the encoder returns with ``set_output(transform="pandas")``; its two parts as such frames;
        or a matrix a block, with `item_ids`.
    item_ids : array-like of shape (n_items,), optional
        Ids of the rows, all str or all int. By default the index of the frame.
    made_by : estimator, Pipeline, str or mapping, optional
        What made the blocks; the parameters of an estimator go to the data card.

    Returns
    -------
    ItemBlocks
        The same, in float32.

    Raises
    ------
    ValueError
        If ids are missing, repeated, of mixed types or not as many as rows, if they contradict the index, if a block
        has no column, or a value that is no finite float32.

    Examples
    --------
    >>> from modalsplit.interop import item_blocks
    >>> items = item_blocks({"image": [[1, 2], [3, 4]], "text": [[5], [6]]}, item_ids=["a", "b"])
    >>> items.ids.tolist(), items.matrix().tolist()
    (['a', 'b'], [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]])
    >>> item_blocks({"image": [[1, float("nan")]]}, item_ids=["a"])
    Traceback (most recent call last):
        ...
    ValueError: Block 'image' has NaN in 1 of 1 items, such as 'a'. Other libraries take it for a number. Use \
DisentangledModalityEncoder(missing="translate"), or leave these items out.
    """
    if isinstance(Z, ItemBlocks):
        if item_ids is not None or made_by is not None:
            raise ValueError("Z is checked already: give item_ids= and made_by= to the first item_blocks only.")
        return Z
    index, blocks = _named_blocks(Z)
    ids = _ids_of_rows(index, item_ids)
    if not blocks:
        raise ValueError("There is no block to export.")
    for name in blocks:
        if not _BLOCK.fullmatch(name) or SEPARATOR in name:
            raise ValueError(
                f"{name!r} is no name for a block: use letters, digits, '_', '-' and '.', no {SEPARATOR!r}, and no "
                "'_' in front."
            )
    return ItemBlocks(ids, {name: _checked_block(name, X, ids) for name, X in blocks.items()}, _description(made_by))


def checked_ids(ids: Any, name: str) -> Ids:
    """Check ids of items or users.

    Parameters
    ----------
    ids : iterable of shape (n,)
        The ids.
    name : str
        What to call them in a message.

    Returns
    -------
    ndarray of shape (n,)
        int64, or str in an object array.

    Raises
    ------
    ValueError
        If there is none, or they are not unique, not one list, or neither all str nor all int.
    """
    array = np.asarray(list(ids) if not hasattr(ids, "__array__") else ids)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be a list of ids, one at least, but has shape {array.shape}.")
    kinds = {_kind(value) for value in (array.tolist() if array.dtype.kind == "O" else array[:1])}
    if kinds != {"int"} and kinds != {"str"}:
        raise ValueError(
            f"{name} must be all str or all int, but there are {' and '.join(sorted(kinds))}. Convert them, for "
            "example with .astype(str), on both sides."
        )
    found: Ids = array.astype(np.int64) if kinds == {"int"} else array.astype(object)
    repeated = pd.Index(found).duplicated()
    if repeated.any():
        raise ValueError(
            f"{name} must be unique, but {int(repeated.sum())} are repeated, such as {shown(found[repeated])}. "
            "Keep one row an id."
        )
    return found


def ids_as_text(ids: Ids, forbidden: str, target: str) -> list[str]:
    """Turn ids into text that a format can hold.

    Parameters
    ----------
    ids : ndarray of shape (n,)
        Checked ids.
    forbidden : str
        A regular expression of what no id may contain.
    target : str
        The format, for the message.

    Returns
    -------
    list of str of length n
        The ids.

    Raises
    ------
    ValueError
        If an id is empty or contains what is forbidden.
    """
    texts = [str(item) for item in ids]
    bad = [text for text in texts if not text or re.search(forbidden, text)]
    if bad:
        raise ValueError(
            f"{len(bad)} ids cannot be written for {target}, such as {bad[0]!r}: they are empty or hold what matches "
            f"{forbidden}. Rename them."
        )
    return texts


def shown(ids: Any) -> str:
    """Show the first ids in a message.

    Parameters
    ----------
    ids : ndarray or list
        Some ids.

    Returns
    -------
    str
        At most three of them.
    """
    return ", ".join(repr(item) for item in np.asarray(ids, dtype=object)[:SHOWN].tolist())


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | np.integer):
        return "int"
    return "str" if isinstance(value, str) else type(value).__name__


def _named_blocks(Z: Any) -> tuple[pd.Index | None, dict[str, Any]]:
    if hasattr(Z, "_asdict"):  # ModalityEmbeddings
        Z = dict(Z._asdict())
        if all(hasattr(part, "iloc") for part in Z.values()):
            Z = pd.concat(Z.values(), axis=1)
    if isinstance(Z, Mapping):
        indexes = [part.index for part in Z.values() if hasattr(part, "iloc")]
        if any(not indexes[0].equals(index) for index in indexes[1:]):
            raise ValueError("The blocks have different indexes. Give all the same items in the same order.")
        return indexes[0] if indexes else None, {str(name): part for name, part in Z.items()}
    columns = [] if getattr(Z, "columns", None) is None else list(Z.columns)
    found = block_columns(columns)
    if not found:
        what = f"columns such as {shown(columns)}" if columns else f"a {type(Z).__name__} without column names"
        raise ValueError(
            f"Z has no named blocks: it is {what}. Name the columns as image__0 ... text__0, or give a mapping such as "
            '{"image": X} and item_ids=.'
        )
    if not hasattr(Z, "iloc"):  # polars
        Z = pd.DataFrame({name: Z[name].to_numpy() for name in columns})
    return Z.index, {name: Z.iloc[:, where] for name, where in found.items()}


def _ids_of_rows(index: pd.Index | None, item_ids: ArrayLike | None) -> Ids:
    unnamed = index is None or isinstance(index, pd.RangeIndex)
    if item_ids is None and unnamed:
        raise ValueError(
            "The rows have no ids: give item_ids=, or a DataFrame whose index holds them. If the positions are "
            "the ids, say item_ids=range(n)."
        )
    if item_ids is None:
        return checked_ids(index, "The index")
    ids = checked_ids(item_ids, "item_ids")
    if unnamed or index is None:
        return ids
    own = checked_ids(index, "The index")
    if len(own) != len(ids):
        raise ValueError(f"There are {len(ids)} item_ids, but the index has {len(own)} rows.")
    differs = np.flatnonzero(own != ids)
    if differs.size:
        row = differs[0]
        raise ValueError(
            f"item_ids are not the index: row {row} is {own[row]!r} in the index and {ids[row]!r} in item_ids "
            f"({differs.size} of {len(ids)} rows differ). Leave item_ids= out, or reorder one of them."
        )
    return ids


def _checked_block(name: str, X: Any, ids: Ids) -> NDArray[np.float32]:
    if sparse.issparse(X):
        raise ValueError(f"Block {name!r} is sparse. Give X.toarray().")
    array = np.asarray(X)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"Block {name!r} has shape {array.shape}, but must have one row an item and columns.")
    if len(array) != len(ids):
        raise ValueError(f"Block {name!r} has {len(array)} rows, but there are {len(ids)} ids. Give one id a row.")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Block {name!r} is of dtype {array.dtype}, but must be numbers.")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    for what, found, hint in (
        ("NaN", np.isnan(numbers), 'Use DisentangledModalityEncoder(missing="translate"), or leave these items out.'),
        ("values that no float32 can hold", np.isinf(numbers), "Scale the block."),
    ):
        rows = found.any(axis=1)
        if rows.any():
            raise ValueError(
                f"Block {name!r} has {what} in {int(rows.sum())} of {len(ids)} items, such as {shown(ids[rows])}. "
                f"Other libraries take it for a number. {hint}"
            )
    return numbers


def _description(made_by: Any) -> dict[str, Any]:
    if made_by is None:
        return {}
    if isinstance(made_by, str):
        return {"text": made_by}
    if isinstance(made_by, Mapping):
        return dict(_plain(made_by))
    if hasattr(made_by, "steps"):
        return {"steps": {name: _description(step) for name, step in made_by.steps}}
    name = f"{type(made_by).__module__}.{type(made_by).__qualname__}"
    return {"class": name, "parameters": _plain(made_by.get_params(deep=False))}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
