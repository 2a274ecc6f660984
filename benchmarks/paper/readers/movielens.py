"""MovieLens with posters and plots: ml-latest-small-mm and ml-100k-mm."""

from __future__ import annotations

from pathlib import Path

from benchmarks.paper.readers.catalogue import Catalogue, joined, pictures
from benchmarks.paper.readers.files import found, rows
from benchmarks.paper.readers.pairs import MissingMetadata, Pairs, match


def read_movielens(
    folder: Path, name: str = "ml-latest-small", *, missing_metadata: MissingMetadata = "error"
) -> Catalogue:
    """Read films with their titles, plots and posters.

    Parameters
    ----------
    folder : Path
        Holds ``items.csv`` (item_id, title, text), ``interactions.csv`` (user_id, item_id) and
        ``images/<item_id>.jpg``.
    name : str, default="ml-latest-small"
        Of the catalogue.
    missing_metadata : {"error", "drop"}, default="error"
        What to do with ratings of films that are not in ``items.csv``.

    Returns
    -------
    Catalogue
        Any rating counts as an interaction.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, or films have no metadata.
    """
    source = f"'{name}-mm', the MovieLens set with posters and plots,"
    item_file = found(folder, "items.csv", source=source)
    rating_file = found(folder, "interactions.csv", source=source)
    images = found(folder, "images", source=source)

    pairs = Pairs()
    for user, film in rows(rating_file, {"user_id": str, "item_id": str}):
        pairs.add(user, film)
    metadata = {
        film: {"title": title, "text": joined(title, plot)}
        for film, title, plot in rows(item_file, {"item_id": str, "title": str.strip, "text": str})
    }
    items, interactions = match(pairs, metadata, item_file, missing_metadata)
    return Catalogue(name, items, interactions, images=pictures(items.index, images))
