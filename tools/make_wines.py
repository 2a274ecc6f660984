"""Pack the X-Wines slim extract into the files that `modalsplit.datasets.load_wines` reads.

    python tools/make_wines.py ../shared/data/x-wines-slim modalsplit/datasets/data

The same input gives the same bytes: rows are sorted and no file records a time.
"""

import argparse
import ast
import gzip
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = {
    "title": "title",
    "text": "text",
    "Type": "type",
    "Elaborate": "elaborate",
    "Grapes": "grapes",
    "Harmonize": "harmonize",
    "ABV": "abv",
    "Body": "body",
    "Acidity": "acidity",
    "Country": "country",
    "RegionName": "region",
    "WineryName": "winery",
}
LISTS = ["grapes", "harmonize"]
SEPARATOR = "|"


def pack(source: Path, target: Path) -> None:
    """Write ``wines.csv.gz`` and ``wines-ratings.npz`` into `target`."""
    items = pd.read_csv(source / "items.csv", index_col="item_id").sort_index().rename(columns=COLUMNS)
    items = items[list(COLUMNS.values())]
    for column in LISTS:
        items[column] = items[column].map(lambda cell: SEPARATOR.join(ast.literal_eval(cell)))
    with (target / "wines.csv.gz").open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(items.to_csv(lineterminator="\n").encode())

    ratings = pd.read_csv(source / "interactions.csv").sort_values(["item_id", "user_id"])
    users, user = np.unique(ratings["user_id"], return_inverse=True)
    n_users_of_item = ratings["item_id"].value_counts().reindex(items.index, fill_value=0)
    np.savez_compressed(
        target / "wines-ratings.npz",
        user_ids=users.astype(np.int32),
        indptr=np.concatenate([[0], np.cumsum(n_users_of_item)]).astype(np.int32),  # CSR, items in the rows
        indices=user.astype(np.uint16),
        half_stars=(2 * ratings["rating"]).astype(np.uint8),
        timestamps=ratings["timestamp"].astype(np.int32),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with items.csv and interactions.csv")
    parser.add_argument("target", type=Path, help="folder to write to")
    arguments = parser.parse_args()
    pack(arguments.source, arguments.target)
