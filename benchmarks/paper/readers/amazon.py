"""Amazon product data, 2014: 5-core reviews, metadata, and image features (4,096 numbers of a convolutional network)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from benchmarks.paper.readers.catalogue import Catalogue, joined
from benchmarks.paper.readers.files import found, objects
from benchmarks.paper.readers.pairs import MissingMetadata, collect, match

CLOTHING = "Clothing_Shoes_and_Jewelry"
SOURCE = "'Amazon product data' (McAuley, the release of 2014, not 2018; category {}: 5-core, metadata, image features)"
RECORD = np.dtype([("asin", "S10"), ("features", "<f4", (4096,))])
N_RECORDS = 1024  # 17 MB a block
ID_COMES_FIRST = re.compile(r"\{'asin': '(\w+)'")


def read_amazon(
    folder: Path,
    category: str = CLOTHING,
    *,
    keep_reviews: bool = False,
    missing_metadata: MissingMetadata = "error",
) -> Catalogue:
    """Read one category.

    Parameters
    ----------
    folder : Path
        Holds ``reviews_<category>_5.json``, ``meta_<category>.json`` (both also as .gz) and
        ``image_features_<category>.b``.
    category : str, default="Clothing_Shoes_and_Jewelry"
        As in the names of the files.
    keep_reviews : bool, default=False
        Whether to keep what users wrote.
    missing_metadata : {"error", "drop"}, default="error"
        What to do with items that have reviews but no metadata.

    Returns
    -------
    Catalogue
        With image features: 16 kB an item.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, or items have no metadata.
    """
    source = SOURCE.format(category)
    reviews_file, metadata_file, features_file = (
        found(folder, name, source=source)
        for name in (f"reviews_{category}_5.json", f"meta_{category}.json", f"image_features_{category}.b")
    )
    reviews = objects(reviews_file, ("reviewerID", "asin"))
    pairs, written = collect(reviews, "reviewerID", "asin", "reviewText" if keep_reviews else None)

    def is_unwanted(line: str) -> bool:
        # To read a literal takes longer than all the rest, and few products are in the 5-core.
        first = ID_COMES_FIRST.match(line)
        return first is not None and first[1] not in pairs.items

    # The lines of this release are Python literals, not JSON; literal_eval runs no code.
    products = objects(metadata_file, ("asin",), parse=ast.literal_eval, skip=is_unwanted)
    metadata = {product["asin"]: _texts(product) for product in products}
    items, interactions = match(pairs, metadata, metadata_file, missing_metadata)
    features = read_image_features(features_file, items.index)
    return Catalogue(f"amazon {category}", items, interactions, image_features=features, reviews=written)


def _texts(product: dict[str, str]) -> dict[str, str]:
    title = joined(product.get("title"))
    return {"title": title, "text": joined(title, product.get("description"))}


def read_image_features(path: Path, ids: pd.Index[str]) -> NDArray[np.float32]:
    """Read the rows of some products: records of a 10-byte ASIN and 4,096 little-endian float32.

    Parameters
    ----------
    path : Path
        The file, which may be larger than memory: it is read in blocks of 17 MB.
    ids : Index of str
        Wanted products.

    Returns
    -------
    ndarray of float32 of shape (n_ids, 4096)
        NaN where the file has no record.

    Raises
    ------
    ValueError
        If the file is cut short or is of another format.
    """
    n_records, rest = divmod(path.stat().st_size, RECORD.itemsize)
    if rest or not n_records:
        raise ValueError(
            f"{path} ends in the middle of record {n_records + 1}: it has {path.stat().st_size} bytes, and a record has "
            f"{RECORD.itemsize} (10 of the ASIN, 4,096 float32). Download it again, and unpack it if it is packed."
        )
    features = np.full((len(ids), 4096), np.nan, dtype=np.float32)
    with path.open("rb") as file:
        for start in tqdm(range(0, n_records, N_RECORDS), desc=path.name, disable=None):
            block = np.fromfile(file, dtype=RECORD, count=N_RECORDS)
            is_asin = np.char.isalnum(block["asin"])
            if not is_asin.all():
                wrong = int(np.flatnonzero(~is_asin)[0])
                raise ValueError(
                    f"{path}, record {start + wrong + 1}: {bytes(block['asin'][wrong])!r} is no ASIN. A part of the file "
                    "is missing, or it is of another format. Download it again."
                )
            rows = ids.get_indexer(block["asin"].astype("U10"))
            features[rows[rows >= 0]] = block["features"][rows >= 0]
    return features
