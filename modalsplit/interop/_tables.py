"""Tables: Parquet, Arrow and npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalsplit.interop._files import Place, data_card, foreign, written
from modalsplit.interop._items import ItemBlocks, item_blocks

_ID = "item_id"
_SUFFIXES = (".parquet", ".arrow", ".npz")


def to_arrow(items: Any) -> Any:
    """Make an Arrow table: a column of ids, and a column of vectors a block.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.

    Returns
    -------
    pyarrow.Table of shape (n_items, 1 + n_blocks)
        ``item_id``, then fixed-size lists of float32. The schema's metadata hold the data card as ``modalsplit``.

    Raises
    ------
    ValueError
        If `items` are not sound, or a block is named ``item_id``.
    """
    found = item_blocks(items)
    _check_names(found)
    pa = foreign("pyarrow", "pyarrow")
    columns = {_ID: pa.array(found.ids.tolist(), pa.string() if found.ids.dtype == object else pa.int64())}
    for name, X in found.blocks.items():
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
    return pa.table(columns).replace_schema_metadata({"modalsplit": json.dumps(data_card(found, "Arrow"))})


def write_table(path: Place, items: Any, *, overwrite: bool = False) -> Path:
    """Write items to one file that anything reads.

    Parameters
    ----------
    path : str or Path
        The file. Its suffix says how: ``.parquet``, ``.arrow`` (the IPC format, also called Feather) or ``.npz``.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The file. In Parquet and Arrow as `to_arrow`; in npz arrays ``item_id`` and one a block, without pickle.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If the suffix is another, or `items` are not sound.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from modalsplit.interop import item_blocks, read_table, write_table
    >>> items = item_blocks({"image": [[1, 2], [3, 4]], "text": [[5], [6]]}, item_ids=["a", "b"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     frame = read_table(write_table(Path(folder) / "items.parquet", items))
    >>> list(frame), frame.loc["b"].tolist()
    (['image__0', 'image__1', 'text__0'], [3.0, 4.0, 6.0])
    """
    path, items = Path(path), item_blocks(items)
    suffix = _suffix(path)
    _check_names(items)
    with written(path, items, suffix[1:], overwrite=overwrite) as unfinished:
        if suffix == ".npz":
            ids = items.ids.astype(str) if items.ids.dtype == object else items.ids
            np.savez(unfinished, **{_ID: ids}, **items.blocks)
        elif suffix == ".parquet":
            foreign("pyarrow.parquet", "pyarrow").write_table(to_arrow(items), unfinished)
        else:
            # Uncompressed, so that it can be mapped into memory.
            foreign("pyarrow.feather", "pyarrow").write_feather(to_arrow(items), unfinished, "uncompressed")
    return path


def read_table(path: Place) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path : str or Path
        The file: ``.parquet``, ``.arrow`` or ``.npz``.

    Returns
    -------
    DataFrame of shape (n_items, n_columns), float32
        Indexed by ``item_id``, with columns ``block__0 ... block__n``, as the encoder and the recommenders read them.

    Raises
    ------
    ValueError
        If the suffix is another, or what is in the file is not sound.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as packed:
            blocks = dict(packed)
        ids = blocks.pop(_ID, None)
    else:
        module = "pyarrow.parquet" if suffix == ".parquet" else "pyarrow.feather"
        table = foreign(module, "pyarrow").read_table(path)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        ids = columns.pop(_ID).to_pylist() if _ID in columns else None
        blocks = {name: _matrix(name, column) for name, column in columns.items()}
    if ids is None:
        raise ValueError(f"{path} has no {_ID}, but {list(blocks)}. Read it otherwise, and give it to item_blocks.")
    return item_blocks(blocks, item_ids=ids).to_frame()


def _matrix(name: str, column: Any) -> Any:
    width = getattr(column.type, "list_size", None)
    if width is None or column.null_count:
        raise ValueError(f"Column {name!r} is {column.type}, but must be fixed-size lists of numbers, none missing.")
    return column.flatten().to_numpy().reshape(len(column), width)


def _suffix(path: Path) -> str:
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"The file must end in one of {', '.join(_SUFFIXES)}, but is {path.name!r}.")
    return path.suffix


def _check_names(items: ItemBlocks) -> None:
    if _ID in items.blocks:
        raise ValueError(f"A block must not be named {_ID!r}: the column of ids is. Rename it.")
