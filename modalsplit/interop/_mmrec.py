"""MMRec: a data folder of its multimodal models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalsplit.interop._files import Place, as_yaml, written
from modalsplit.interop._interactions import interaction_table
from modalsplit.interop._items import Blocks, ids_as_text, item_blocks, shown


def write_mmrec(
    path: Place,
    items: Any,
    train: Any,
    valid: Any,
    test: Any,
    *,
    image: Blocks = None,
    text: Blocks = None,
    overwrite: bool = False,
) -> Path:
    """Write the folder that MMRec reads: ``.inter``, ``image_feat.npy``, ``text_feat.npy``, mappings and settings.

    Parameters
    ----------
    path : str or Path
        The folder; its name is the data set's. Put it into MMRec's ``data/`` and its ``<name>.yaml`` into
        ``src/configs/dataset/``.
    items : ItemBlocks or DataFrame
        As for `item_blocks`. Items that nobody took are left out: MMRec counts items by their interactions.
    train, valid, test : Interactions or DataFrame
        Who took what, by ids, as `modalsplit.evaluate.split_interactions` returns it.
    image, text : str or sequence of str, optional
        Blocks that take the place of image and of text features, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder. ``i_id_mapping.csv`` and ``u_id_mapping.csv`` say which number is which id.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If a user of `valid` or `test` has nothing in `train`, an interaction is with an unknown item, or `items` are
        not sound.

    References
    ----------
    X. Zhou, "MMRec: simplifying multimodal recommendation", MMAsia Workshops 2023.
    """
    path, items = Path(path), item_blocks(items)
    parts = [interaction_table(part, items).assign(x_label=label) for label, part in enumerate((train, valid, test))]
    table = pd.concat(parts, ignore_index=True)
    users = pd.Index(parts[0].user_id.unique())
    unknown = table.user_id[~table.user_id.isin(users)].unique()
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} users of valid and test have nothing in train, such as {shown(unknown)}: MMRec cannot "
            "judge them. Leave them out."
        )
    taken = items.take(items.ids[pd.Index(items.ids).isin(table.item_id)])
    for ids in (taken.ids, users.to_numpy()):
        ids_as_text(ids, r"[\t\r\n]", "MMRec")
    settings = {
        "USER_ID_FIELD": "userID",
        "ITEM_ID_FIELD": "itemID",
        "TIME_FIELD": "timestamp",
        "filter_out_cod_start_users": True,  # spelt so there
        "inter_file_name": f"{path.name}.inter",
        "vision_feature_file": "image_feat.npy",
        "text_feature_file": "text_feat.npy",
        "user_graph_dict_file": "user_graph_dict.npy",
        "field_separator": "\t",
    }
    chosen = {"image_feat": taken.named(image), "text_feat": taken.named(text)}
    with written(path, taken, "MMRec", overwrite=overwrite, folder=True, columns=chosen) as folder:
        _numbered(table, users, pd.Index(taken.ids)).to_csv(
            folder / f"{path.name}.inter", sep="\t", index=False, lineterminator="\n"
        )
        for name, blocks in chosen.items():
            np.save(folder / f"{name}.npy", taken.matrix(blocks))
        _write_mapping(folder / "i_id_mapping.csv", "asin", "itemID", taken.ids)
        _write_mapping(folder / "u_id_mapping.csv", "user_id", "userID", users)
        (folder / f"{path.name}.yaml").write_text(as_yaml(settings), encoding="utf-8")
    return path


def _numbered(table: pd.DataFrame, users: pd.Index, items: pd.Index) -> pd.DataFrame:
    nothing = pd.Series(0, index=table.index)
    return pd.DataFrame(
        {
            "userID": users.get_indexer(pd.Index(table.user_id)),
            "itemID": items.get_indexer(pd.Index(table.item_id)),
            "rating": table.get("rating", nothing + 1),
            "timestamp": table.get("timestamp", nothing),
            "x_label": table.x_label,
        }
    )


def _write_mapping(path: Path, id_column: str, number_column: str, ids: Any) -> None:
    mapping = pd.DataFrame({id_column: ids, number_column: np.arange(len(ids))})
    mapping.to_csv(path, sep="\t", index=False, quoting=3, lineterminator="\n")
