"""Who took what, as it streams by, and what is known of the items."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from modalsplit import Interactions

MissingMetadata = Literal["error", "drop"]


class Pairs:
    """Users and the items they took: an id is kept once, a pair costs 8 bytes."""

    def __init__(self) -> None:
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self._codes = array("i"), array("i")

    def add(self, user: str, item: str) -> None:
        for code, ids, key in zip(self._codes, (self.users, self.items), (user, item), strict=True):
            code.append(ids.setdefault(key, len(ids)))

    def interactions(self, item_ids: pd.Index[str]) -> Interactions:
        """Build the matrix with these rows; pairs of other items are left out."""
        users, items = (np.frombuffer(code, dtype=np.intc) for code in self._codes)
        taken = pd.DataFrame({"item_id": item_ids.get_indexer(list(self.items))[items], "user_id": users})
        by_number = Interactions.from_frame(
            taken[taken["item_id"] >= 0], item_ids=np.arange(len(item_ids)), user_ids=np.arange(len(self.users))
        )
        return Interactions(by_number, item_ids=item_ids.to_numpy(), user_ids=list(self.users))


def collect(
    reviews: Iterable[Mapping[str, Any]], user: str, item: str, text: str | None = None
) -> tuple[Pairs, pd.DataFrame | None]:
    """Read pairs, and what users wrote if the key of `text` is given."""
    pairs, written = Pairs(), []
    for review in reviews:
        pairs.add(review[user], review[item])
        if text is not None:
            written.append((review[user], review[item], review.get(text) or ""))
    return pairs, None if text is None else pd.DataFrame(written, columns=["user", "item", "text"])


def match(
    pairs: Pairs, metadata: Mapping[str, Mapping[str, str]], source: Path, missing_metadata: MissingMetadata
) -> tuple[pd.DataFrame, Interactions]:
    """Put items that were taken, sorted by id, beside who took them.

    Parameters
    ----------
    pairs : Pairs
        Who took what.
    metadata : mapping of str to mapping
        Columns of each item, by its id; of other items too.
    source : Path
        Where these are from, for the error.
    missing_metadata : {"error", "drop"}
        What to do with items that were taken and of which nothing is known.

    Returns
    -------
    items : DataFrame
        As in `Catalogue`.
    interactions : Interactions
        As in `Catalogue`.

    Raises
    ------
    ValueError
        If there are no interactions, or items without metadata that are not to be dropped.
    """
    unknown = [item for item in pairs.items if item not in metadata]
    if unknown and missing_metadata == "error":
        raise ValueError(
            f"{len(unknown)} of {len(pairs.items)} items were taken but are not in {source}, such as {unknown[0]!r}. "
            "Download the complete file, or leave these items out with missing_metadata='drop'."
        )
    ids = sorted(pairs.items.keys() & metadata.keys())
    if not ids:
        raise ValueError(f"There are no interactions with the items of {source}.")
    items = pd.DataFrame([metadata[i] for i in ids], index=pd.Index(ids, name="item_id", dtype=object))
    return items, pairs.interactions(items.index)
