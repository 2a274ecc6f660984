"""gensim: keyed vectors and the text format of word2vec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modalsplit.interop._files import Place, as_text, foreign, written
from modalsplit.interop._items import Blocks, ids_as_text, item_blocks


def to_keyed_vectors(items: Any, *, blocks: Blocks = None) -> Any:
    """Make gensim's KeyedVectors: nearest items, analogies, distances.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.

    Returns
    -------
    gensim.models.KeyedVectors
        Keys are the ids as str, also if they are integers: gensim takes an integer for a position.

    Raises
    ------
    ValueError
        If `items` are not sound.

    Examples
    --------
    >>> from modalsplit.interop import item_blocks, to_keyed_vectors
    >>> items = item_blocks({"image": [[1, 0], [0, 1], [3, 1]]}, item_ids=[7, 8, 9])
    >>> to_keyed_vectors(items).most_similar("7", topn=1)[0][0]
    '9'
    """
    found = item_blocks(items)
    vectors = found.matrix(blocks)
    make = foreign("gensim.models", "gensim").KeyedVectors
    keyed = make(vectors.shape[1])  # a count would put as many rows of zeros before ours
    keyed.add_vectors([str(item) for item in found.ids], vectors)
    return keyed


def write_word2vec(path: Place, items: Any, *, blocks: Blocks = None, overwrite: bool = False) -> Path:
    """Write the text format of word2vec, which gensim and many others read.

    Parameters
    ----------
    path : str or Path
        The file.
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    blocks : str or sequence of str, optional
        Which blocks, side by side. By default all.
    overwrite : bool, default=False
        Whether to replace an earlier export.

    Returns
    -------
    Path
        The file: a line ``n_items n_columns``, then a line an item, UTF-8.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    ValueError
        If an id holds white space, or `items` are not sound.

    References
    ----------
    R. Rehurek and P. Sojka, "Software framework for topic modelling with large corpora", LREC 2010 Workshops.
    """
    path, items = Path(path), item_blocks(items)
    names = items.named(blocks)
    ids = ids_as_text(items.ids, r"\s", "word2vec")
    vectors = items.matrix(names)
    with (
        written(path, items, "word2vec text", overwrite=overwrite, columns=names) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(f"{len(vectors)} {vectors.shape[1]}\n")
        file.writelines(f"{item} {row}\n" for item, row in zip(ids, as_text(vectors), strict=True))
    return path
