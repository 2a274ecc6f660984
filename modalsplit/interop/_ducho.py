"""Ducho and Elliot: folders with a file an item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalsplit.blocks import block_names
from modalsplit.interop._files import Place, as_yaml, write_vectors, written
from modalsplit.interop._items import Blocks, ids_as_text, item_blocks, shown


def write_ducho(
    path: Place,
    items: Any,
    *,
    backend: str = "modalsplit",
    model: str = "parts",
    overwrite: bool = False,
) -> Path:
    """Write the tree in which Ducho leaves extracted features: ``<backend>/<model>/<block>/<id>.npy``.

    Parameters
    ----------
    path : str or Path
        The folder.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    backend : str, default="modalsplit"
        Name of the first level: Ducho's has the extracting library.
    model : str, default="parts"
        Name of the second level. The third, Ducho's layer, is the block.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder. A file holds a float32 matrix of shape (1, n_columns).

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If an id cannot be a file name or has a dot, where Ducho's readers cut it, or `items` are not sound.

    References
    ----------
    D. Malitesta et al., "Ducho: a unified framework for the extraction of multimodal features in recommendation",
    ACM Multimedia 2023.
    """
    path, items = Path(path), item_blocks(items)
    ids = ids_as_text(items.ids, r"[./\\\x00]", "Ducho")
    with written(path, items, "Ducho", overwrite=overwrite, folder=True) as folder:
        for name, X in items.blocks.items():
            write_vectors(folder / backend / model / name, ids, X[:, None])
    return path


def write_elliot(
    path: Place, items: Any, *, visual: Blocks = None, textual: Blocks = None, overwrite: bool = False
) -> Path:
    """Write the folders that Elliot's loaders of side information read: ``visual/<id>.npy``, ``textual/<id>.npy``.

    Parameters
    ----------
    path : str or Path
        The folder.
    items : ItemBlocks or DataFrame
        As for `item_blocks`. Ids must be integers, and every item of the experiment should be there: Elliot drops
        items without a file.
    visual, textual : str or sequence of str, optional
        Blocks that take the place of visual and of textual features, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The folder, with ``side_information.yaml`` to be pasted into an experiment's ``data_config``.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If ids are no integers, or `items` are not sound.

    Notes
    -----
    The settings are spelt as Elliot 0.3 and Ducho-meets-Elliot do; plain Elliot 0.3 has no ``TextualAttribute``.

    References
    ----------
    V. W. Anelli et al., "Elliot: a comprehensive and rigorous framework for reproducible recommender systems
    evaluation", SIGIR 2021.
    """
    path, items = Path(path), item_blocks(items)
    if items.ids.dtype == object:
        raise ValueError(f"Elliot reads file names as integers, but ids are such as {shown(items.ids)}. Number them.")
    chosen = {"visual": items.named(visual), "textual": items.named(textual)}
    loaders = [
        {"dataloader": "VisualAttribute", "visual_features": str(path / "visual")},
        {"dataloader": "TextualAttribute", "textual_features": str(path / "textual")},
    ]
    with written(path, items, "Elliot", overwrite=overwrite, folder=True, columns=chosen) as folder:
        for name, blocks in chosen.items():
            write_vectors(folder / name, items.ids, items.matrix(blocks))
        (folder / "side_information.yaml").write_text(as_yaml({"side_information": loaders}), encoding="utf-8")
    return path


def read_ducho(folders: Mapping[str, Place], *, integer_ids: bool = False) -> pd.DataFrame:
    """Read folders with a file an item, as Ducho and `write_elliot` leave them.

    Parameters
    ----------
    folders : mapping of str to str or Path
        The folder of each block, such as ``{"image": "out/torch/ResNet50/avgpool"}``.
    integer_ids : bool, default=False
        Whether ids are integers. The id is the file name before its first dot.

    Returns
    -------
    DataFrame of shape (n_items, n_columns), float32
        Indexed by ``item_id``, sorted; columns ``block__0 ... block__n``, as the encoder reads them. NaN in a block
        where an item has no file in its folder.

    Raises
    ------
    FileNotFoundError
        If a folder has no ``.npy`` file.
    ValueError
        If files of a folder are not vectors of one length, two have one id, or an id is no integer.
    """
    frames = []
    for name, folder in folders.items():
        vectors = _read_folder(Path(folder), integer_ids)
        matrix = np.stack(list(vectors.values()))
        frames.append(pd.DataFrame(matrix, index=list(vectors), columns=block_names(name, matrix.shape[1])))
    return pd.concat(frames, axis=1).sort_index().rename_axis("item_id")


def _read_folder(folder: Path, integer_ids: bool) -> dict[str | int, NDArray[np.float32]]:
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise FileNotFoundError(f"There are no .npy files in {folder}. Name the folder that holds the items' files.")
    vectors: dict[str | int, NDArray[np.float32]] = {}
    for file in files:
        item: str | int = file.name.partition(".")[0]
        if integer_ids:
            if not str(item).isdecimal():
                raise ValueError(f"{file.name} is no integer id. Leave integer_ids= out.")
            item = int(item)
        if item in vectors:
            raise ValueError(f"Two files in {folder} have the id {item!r}: ids end at the first dot.")
        vector = np.load(file, allow_pickle=False)
        if vector.size != max(vector.shape, default=0) or vector.dtype.kind not in "iuf":
            raise ValueError(f"{file} holds {vector.dtype} of shape {vector.shape}, but a vector of numbers is needed.")
        vectors[item] = vector.ravel().astype(np.float32)
        width = len(next(iter(vectors.values())))
        if vector.size != width:
            raise ValueError(f"{file} has {vector.size} numbers, but the first file of its folder has {width}.")
    return vectors
