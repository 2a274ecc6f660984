"""RecTools: item features, and the table of pretrained vectors of UniSRec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from modalsplit.interop._items import Blocks, item_blocks, shown

if TYPE_CHECKING:
    from torch import Tensor

_MOST_EMPTY = 100  # rows of the table for an item of the catalogue


def to_rectools(items: Any, item_ids: ArrayLike | None = None, *, blocks: Blocks = None) -> pd.DataFrame:
    """Make the frame of dense item features that ``rectools.dataset.Dataset.construct`` takes.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    item_ids : array-like of shape (n,), optional
        Ids of all items in the interactions, each once: checked, and what is exported. By default all items, of which
        RecTools takes those without interactions for cold ones.
    blocks : str or sequence of str, optional
        Which blocks. By default all.

    Returns
    -------
    DataFrame of shape (n_items, 1 + n_columns)
        Column ``id``, then one a dimension: for ``item_features_df=`` with ``make_dense_item_features=True``.

    Raises
    ------
    ValueError
        If an item has no row, or `items` are not sound.

    References
    ----------
    MTS, "RecTools", https://github.com/MobileTeleSystems/RecTools.
    """
    found = item_blocks(items)
    found = found if item_ids is None else found.take(item_ids)
    features = found._replace(blocks={name: found.blocks[name] for name in found.named(blocks)}).to_frame()
    return features.rename_axis("id").reset_index()


def to_unisrec(items: Any, item_ids: ArrayLike | None = None, *, variants: bool = False) -> Tensor:
    """Make the table of pretrained item vectors that UniSRec of RecTools takes.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`. Ids must be integers from 1 on: they are the rows of the table.
    item_ids : array-like of shape (n,), optional
        Ids of all items in the interactions, each once: checked, and what is exported. By default all items.
    variants : bool, default=False
        Whether each block is a vector of its own, instead of all side by side; they must be of one width.

    Returns
    -------
    Tensor of shape (largest id + 1, n_columns) or (largest id + 1, n_blocks, width), float32
        For ``UniSRecModel(pretrained_item_embeddings=)``; row 0 pads, rows without an item are zeros.

    Raises
    ------
    ValueError
        If ids are no positive integers or far apart, widths differ, an item has no row, or `items` are not sound.

    References
    ----------
    Y. Hou et al., "Towards universal sequence representation learning for recommender systems", KDD 2022.
    """
    import torch

    found = item_blocks(items)
    found = found if item_ids is None else found.take(item_ids)
    if found.ids.dtype == object or found.ids.min() < 1:
        raise ValueError(
            f"UniSRec reads ids as rows, so they must be integers from 1 on, but there are such as {shown(found.ids)}. "
            "Number the items, in the interactions too: {id: n for n, id in enumerate(items.ids, 1)}."
        )
    if found.ids.max() > _MOST_EMPTY * len(found.ids):
        raise ValueError(
            f"The largest of {len(found.ids)} ids is {found.ids.max()}, and the table has a row for every integer up "
            "to it. Number the items without gaps."
        )
    widths = {name: X.shape[1] for name, X in found.blocks.items()}
    if variants and len(set(widths.values())) > 1:
        raise ValueError(f"variants=True needs blocks of one width, but they have {widths}.")
    rows = np.stack(list(found.blocks.values()), axis=1) if variants else found.matrix()
    table = np.zeros((found.ids.max() + 1, *rows.shape[1:]), dtype=np.float32)
    table[found.ids] = rows
    return torch.from_numpy(table)
