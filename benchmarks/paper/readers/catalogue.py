"""What every reader returns, and the paper's preprocessing of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalsplit import Interactions


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items, what they look like and say, and who took them.

    Attributes
    ----------
    name : str
        The data set.
    items : DataFrame of n_items rows
        Indexed by the items' ids (str). "title"; "text", the title and all that is said beside it, empty if nothing is.
    interactions : Interactions of shape (n_items, n_users)
        Rows in the order of `items`; a repeated pair counts once.
    images : list of (Path or None) of length n_items, or None
        The picture of each item; None if the data set has no pictures.
    image_features : ndarray of float32 of shape (n_items, d), or None
        What the data set gives in place of pictures; NaN rows where an item has none.
    reviews : DataFrame or None
        If asked for: columns "user", "item" and "text", as `modalsplit.baselines.VECF` reads them. Not reduced with the
        items: VECF reads those of interactions.

    Raises
    ------
    ValueError
        If the rows of these are not those of `items`.
    """

    name: str
    items: pd.DataFrame
    interactions: Interactions
    images: list[Path | None] | None = None
    image_features: NDArray[np.float32] | None = None
    reviews: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if not np.array_equal(self.items.index, self.interactions.item_ids):
            raise ValueError(f"{self.name}: the rows of the interactions are not the items, in their order.")
        for what, content in (("images", self.images), ("image_features", self.image_features)):
            if content is not None and len(content) != len(self.items):
                raise ValueError(f"{self.name}: {what} has {len(content)} rows for {len(self.items)} items.")

    @property
    def has_text(self) -> NDArray[np.bool_]:
        """Which items have a text."""
        return (self.items["text"] != "").to_numpy()

    @property
    def has_image(self) -> NDArray[np.bool_]:
        """Which items have a picture or its features."""
        has = np.zeros(len(self.items), dtype=bool)
        if self.images is not None:
            has |= np.array([image is not None for image in self.images], dtype=bool)
        if self.image_features is not None:
            has |= ~np.isnan(self.image_features).any(axis=1)
        return has

    def of(self, interactions: Interactions) -> Catalogue:
        """Keep the items that these interactions have, in their order."""
        rows = self.items.index.get_indexer(interactions.item_ids)
        return replace(
            self,
            items=self.items.iloc[rows],
            interactions=interactions,
            images=None if self.images is None else [self.images[row] for row in rows],
            image_features=None if self.image_features is None else self.image_features[rows],
        )


def drop_incomplete(catalogue: Catalogue) -> Catalogue:
    """Drop the items that lack a text, or a picture if the data set has any."""
    complete = catalogue.has_text
    if catalogue.images is not None or catalogue.image_features is not None:
        complete = complete & catalogue.has_image
    return catalogue.of(catalogue.interactions[np.flatnonzero(complete)])


def prepare(catalogue: Catalogue, k: int = 5) -> Catalogue:
    """Drop incomplete items, then take the k-core: the paper's order. Repeated pairs already count once."""
    complete = drop_incomplete(catalogue)
    return complete.of(complete.interactions.k_core(k))


def joined(*texts: str | None) -> str:
    """Join what there is of several texts."""
    return ". ".join(text.strip() for text in texts if text and text.strip())


def pictures(ids: Iterable[str], folder: Path) -> list[Path | None]:
    """Find ``<id>.jpg`` of each id in a folder."""
    there = {path.name for path in folder.iterdir()}
    return [folder / f"{i}.jpg" if f"{i}.jpg" in there else None for i in ids]
