"""RecBole: atomic files with preloaded item vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from modalsplit.interop._files import Place, as_text, as_yaml, written
from modalsplit.interop._interactions import interaction_table
from modalsplit.interop._items import Blocks, ids_as_text, item_blocks

_COLUMNS = {"user_id": "user_id:token", "item_id": "item_id:token", "rating": "rating:float"}
_TIME = {"timestamp": "timestamp:float"}


def write_recbole(
    path: Place, items: Any, interactions: Any = None, *, blocks: Blocks = None, overwrite: bool = False
) -> Path:
    """Write a folder of RecBole's atomic files: ``.itememb``, ``.inter`` and the settings that load them.

    Parameters
    ----------
    path : str or Path
        The folder; its name is the data set's. RecBole is given ``dataset=<name>`` and ``data_path=<parent>``.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    interactions : Interactions or DataFrame, optional
        Who took what, by ids; a table may have ``rating`` and ``timestamp``. By default only the vectors are written.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder, with ``<name>.yaml`` for ``config_file_list``.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If an id holds a tab or a line break, an interaction is with an unknown item, or `items` are not sound.

    Notes
    -----
    ``dataset.get_preload_weight("iid")`` then is a matrix of shape (items + 1, n_columns) whose row 0 pads. Items that
    nobody took get ids as well.

    References
    ----------
    W. X. Zhao et al., "RecBole: towards a unified, comprehensive and efficient framework for recommendation
    algorithms", CIKM 2021.
    """
    path, items = Path(path), item_blocks(items)
    names = items.named(blocks)
    ids = ids_as_text(items.ids, r"[\t\r\n]", "RecBole")
    table = None if interactions is None else interaction_table(interactions, items)
    if table is not None:
        ids_as_text(table.user_id.unique(), r"[\t\r\n]", "RecBole")
    with written(path, items, "RecBole", overwrite=overwrite, folder=True, columns=names) as folder:
        with (folder / f"{path.name}.itememb").open("w", encoding="utf-8", newline="\n") as file:
            file.write("iid:token\titem_emb:float_seq\n")
            file.writelines(f"{i}\t{row}\n" for i, row in zip(ids, as_text(items.matrix(names)), strict=True))
        loaded = {"itememb": ["iid", "item_emb"]}
        if table is not None:
            _write_inter(folder / f"{path.name}.inter", table)
            loaded["inter"] = list(table.columns)
        settings = {
            "load_col": loaded,
            "additional_feat_suffix": ["itememb"],
            "alias_of_item_id": ["iid"],  # a column of another name, or RecBole takes it for features of .item
            "preload_weight": {"iid": "item_emb"},
        }
        (folder / f"{path.name}.yaml").write_text(as_yaml(settings), encoding="utf-8")
    return path


def _write_inter(path: Path, table: pd.DataFrame) -> None:
    typed = table.rename(columns={**_COLUMNS, **_TIME})
    typed.to_csv(path, sep="\t", index=False, quoting=3, lineterminator="\n")
