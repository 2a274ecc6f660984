"""Made data with a known answer."""

import numpy as np
import pandas as pd


def checkerboard(n=40):
    """Users take items of their own parity, except one each: what is left out is the one right answer."""
    taken = (np.arange(n)[:, None] + np.arange(n)) % 2 == 0
    taken[np.arange(n), np.arange(n)] = False
    return taken.astype(np.float32)


def parity_parts(n=40, width=4):
    """Four parts, of which the first common one tells the parity and the others are noise."""
    rng = np.random.default_rng(0)
    parts = 0.1 * rng.normal(size=(n, 4, width))
    parts[:, 0, 0] += np.where(np.arange(n) % 2, 1.0, -1.0)
    return parts.reshape(n, -1)


def named(parts, ids=None):
    """Parts with the encoder's column names, and item ids in the index."""
    blocks = ("image_common", "text_common", "image_specific", "text_specific")
    width = parts.shape[1] // 4
    columns = [f"{block}__{column}" for block in blocks for column in range(width)]
    ids = [f"item{row}" for row in range(len(parts))] if ids is None else ids
    return pd.DataFrame(parts, index=ids, columns=columns)
