"""Yelp open dataset: businesses, reviews and photos."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from benchmarks.paper.readers.catalogue import Catalogue, joined
from benchmarks.paper.readers.files import found, objects
from benchmarks.paper.readers.pairs import MissingMetadata, collect, match

SOURCE = "'Yelp Open Dataset' (both archives: JSON and photos)"
PAPER_WINDOW = ("2020-01-01", "2020-12-01")


def read_yelp(
    folder: Path,
    *,
    window: tuple[str, str] | None = PAPER_WINDOW,
    keep_reviews: bool = False,
    missing_metadata: MissingMetadata = "error",
) -> Catalogue:
    """Read businesses that were reviewed within a window of time, with their names, categories and first photos.

    Parameters
    ----------
    folder : Path
        Holds ``yelp_academic_dataset_business.json``, ``yelp_academic_dataset_review.json``, and ``photos.json``
        beside the folder ``photos``, these two also in ``yelp_photos``.
    window : tuple of two str or None, default=("2020-01-01", "2020-12-01")
        First and last day, both included; by default those of the paper. None for all time.
    keep_reviews : bool, default=False
        Whether to keep what users wrote.
    missing_metadata : {"error", "drop"}, default="error"
        What to do with reviews of businesses that are not in the list of businesses.

    Returns
    -------
    Catalogue
        The picture of a business is the first in ``photos.json`` whose file is there.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, there is no review in the window, or businesses have no metadata.
    """
    business_file = found(folder, "yelp_academic_dataset_business.json", source=SOURCE)
    review_file = found(folder, "yelp_academic_dataset_review.json", source=SOURCE)
    list_of_photos = found(folder, "photos.json", "yelp_photos/photos.json", source=SOURCE)
    photos = found(folder, "photos", "yelp_photos/photos", source=SOURCE)

    reviews = objects(review_file, ("user_id", "business_id", "date"))
    within = (review for review in reviews if window is None or window[0] <= review["date"][:10] <= window[1])
    pairs, written = collect(within, "user_id", "business_id", "text" if keep_reviews else None)
    if not pairs.items:
        raise ValueError(f"{review_file} has no review in the window {window}.")
    metadata = {
        business["business_id"]: {
            "title": joined(business["name"]),
            "text": joined(business["name"], business.get("categories")),
        }
        for business in objects(business_file, ("business_id", "name"))
        if business["business_id"] in pairs.items
    }
    items, interactions = match(pairs, metadata, business_file, missing_metadata)
    first = _first_photos(list_of_photos, photos, pairs.items)
    return Catalogue("yelp", items, interactions, images=[first.get(i) for i in items.index], reviews=written)


def _first_photos(list_of_photos: Path, photos: Path, wanted: Container[str]) -> dict[str, Path]:
    there = {path.name for path in photos.iterdir()}
    first: dict[str, Path] = {}
    for photo in objects(list_of_photos, ("photo_id", "business_id")):
        name = f"{photo['photo_id']}.jpg"
        if photo["business_id"] in wanted and name in there:
            first.setdefault(photo["business_id"], photos / name)
    return first
