"""LensKit: vector attributes of items."""

from __future__ import annotations

from typing import Any

from modalsplit.interop._files import foreign
from modalsplit.interop._items import Blocks, item_blocks


def to_lenskit(items: Any, builder: Any = None, *, blocks: Blocks = None) -> Any:
    """Add a vector attribute a block to the items of a LensKit data set.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    builder : lenskit.data.DatasetBuilder, optional
        Where to add them; every item it knows must be in `items`, and the others are added. By default a new one.
    blocks : str or sequence of str, optional
        Which blocks. By default all.

    Returns
    -------
    lenskit.data.DatasetBuilder
        The builder; ``.build()`` makes the data set and ``.save(path)`` its files. LensKit sorts items by id.

    Raises
    ------
    ImportError
        If LensKit is not installed.
    ValueError
        If the builder knows an item without a row, a block has a name that LensKit refuses, or `items` are not sound.

    References
    ----------
    M. D. Ekstrand, "LensKit for Python: next-generation software for recommender systems experiments", CIKM 2020.
    """
    found = item_blocks(items)
    names = found.named(blocks)
    refused = [name for name in names if name.endswith(("_id", "_num"))]
    if refused:
        raise ValueError(f"LensKit refuses attributes that end in _id or _num, such as {refused[0]!r}. Rename it.")
    data = foreign("lenskit.data", "lenskit")
    schema = foreign("lenskit.data.schema", "lenskit")
    builder = data.DatasetBuilder() if builder is None else builder
    known = _item_ids(builder)
    if known:
        found.take(known)
    builder.add_entities("item", found.ids.tolist(), duplicates="update")
    # LensKit 2025.8 neither reorders nor registers an attribute that every item has, so we do both.
    ids = _item_ids(builder)
    found = found.take(ids)
    for name in names:
        X = found.blocks[name]
        builder.add_vector_attribute("item", name, ids, X)
        builder.schema.entities["item"].attributes[name] = schema.ColumnSpec(
            layout=schema.AttrLayout.VECTOR, vector_size=X.shape[1]
        )
    return builder


def _item_ids(builder: Any) -> list[Any]:
    """List the items that a builder knows, in the order of its rows."""
    table = builder.build_container().tables.get("item")
    return [] if table is None else list(table.column("item_id").to_pylist())
