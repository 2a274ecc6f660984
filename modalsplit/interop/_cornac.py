"""Cornac: modalities of items."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from modalsplit.interop._files import foreign
from modalsplit.interop._items import Blocks, item_blocks


def to_cornac(
    items: Any, item_ids: ArrayLike, *, image: Blocks = None, text: Blocks = None, feature: Blocks = None
) -> dict[str, Any]:
    """Make the modalities that Cornac's models read.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    item_ids : array-like of shape (n,)
        Ids of all items in the feedback that Cornac gets, each once. An item without a row would silently be given
        the row of another one.
    image, text, feature : str or sequence of str, optional
        Blocks of each modality, side by side. By default all blocks: VBPR reads images, CDR and CDL text, and both
        can learn from any part.

    Returns
    -------
    dict of str to Modality
        ``item_image``, ``item_text`` and ``item_feature``, for ``RatioSplit(data, **to_cornac(...))`` and its kin, or
        ``Dataset.add_modalities``. Cornac reorders their rows when it splits.

    Raises
    ------
    ImportError
        If Cornac is not installed.
    ValueError
        If an item has no row, or `items` are not sound.

    Notes
    -----
    Not scaled: ``normalized=True`` of Cornac is one minimum and maximum for the whole matrix.

    References
    ----------
    A. Salah, Q.-T. Truong and H. W. Lauw, "Cornac: a comparative framework for multimodal recommender systems",
    JMLR 2020.
    """
    # Only these items: Cornac overwrites rows of others when it reorders.
    selected = item_blocks(items).take(item_ids)
    data = foreign("cornac.data", "cornac")
    ids = selected.ids.tolist()
    return {
        "item_image": data.ImageModality(features=selected.matrix(image), ids=ids, normalized=False),
        "item_text": data.TextModality(features=selected.matrix(text), ids=ids, normalized=False),
        "item_feature": data.FeatureModality(features=selected.matrix(feature), ids=ids, normalized=False),
    }
