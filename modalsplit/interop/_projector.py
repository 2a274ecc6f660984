"""TensorBoard: the embedding projector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from modalsplit.interop._files import Place, as_text, written
from modalsplit.interop._items import Blocks, ItemBlocks, checked_ids, ids_as_text, item_blocks, shown


def write_projector(
    path: Place, items: Any, labels: Any = None, *, blocks: Blocks = None, overwrite: bool = False
) -> Path:
    """Write a log folder that TensorBoard's projector shows: a cloud of items a block.

    Parameters
    ----------
    path : str or Path
        The folder, for ``tensorboard --logdir``. Its files also load into the projector's web page.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    labels : DataFrame or Series, optional
        What to show and to colour by, such as the title and the type; indexed by id. Tabs and line breaks become
        spaces.
    blocks : str or sequence of str, optional
        Which blocks. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder, with ``<block>.tsv``, ``metadata.tsv`` and ``projector_config.pbtxt``.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If an item has no label, or `items` are not sound.

    References
    ----------
    D. Smilkov et al., "Embedding projector: interactive visualization and interpretation of embeddings", NIPS 2016
    Workshop on Interpretable Machine Learning.
    """
    items = item_blocks(items)
    names, metadata = items.named(blocks), _metadata(items, labels)
    with written(path, items, "TensorBoard projector", overwrite=overwrite, folder=True, columns=names) as folder:
        for name in names:
            lines = (f"{row}\n" for row in as_text(items.blocks[name], "\t"))
            with (folder / f"{name}.tsv").open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
        (folder / "metadata.tsv").write_text(metadata, encoding="utf-8")
        (folder / "projector_config.pbtxt").write_text("".join(map(_embedding, names)), encoding="utf-8")
    return Path(path)


def _metadata(items: ItemBlocks, labels: Any) -> str:
    ids = ids_as_text(items.ids, r"[\t\r\n]", "the projector")
    if labels is None:
        return "".join(f"{item}\n" for item in ids)  # one column must have no header
    frame = labels.to_frame() if labels.ndim == 1 else labels
    at = pd.Index(checked_ids(frame.index, "The index of labels")).get_indexer(pd.Index(items.ids))
    if (at < 0).any():
        raise ValueError(
            f"{int((at < 0).sum())} of {len(at)} items have no label, such as {shown(items.ids[at < 0])}. Index labels "
            "by the items' ids."
        )
    texts = frame.iloc[at].astype(str).replace(r"[\t\r\n]+", " ", regex=True)
    rows = [["item_id", *map(str, frame.columns)], *([i, *row] for i, row in zip(ids, texts.to_numpy(), strict=True))]
    return "".join("\t".join(row) + "\n" for row in rows)


def _embedding(name: str) -> str:
    return f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "{name}.tsv"\n  metadata_path: "metadata.tsv"\n}}\n'
