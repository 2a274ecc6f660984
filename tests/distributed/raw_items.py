"""Raw items in Parquet files, and a featurizer of them."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from modalsplit import TfidfFeaturizer


def items(folder, n=40):
    colours = np.array(["red cherry", "white peach", "pink rose", "deep black"])
    frame = pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(n)],
            "label": colours[np.arange(n) % 4],
            "note": colours[np.arange(n) // 2 % 4],
        }
    )
    frame.loc[7, "note"] = None
    folder.mkdir()
    for number, start in enumerate(range(0, n, 15)):
        frame[start : start + 15].to_parquet(folder / f"items-{number}.parquet")
    return frame


def featurizer(frame):
    columns = [("image", TfidfFeaturizer(3), "label"), ("text", TfidfFeaturizer(2), "note")]
    return ColumnTransformer(columns, sparse_threshold=0).fit(frame)
