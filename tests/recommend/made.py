"""Made data with a known answer."""

import numpy as np
import pandas as pd

N_ITEMS, N_USERS = 40, 60  # of the table


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


def table(strings=True, seed=0):
    """Rows in no order, some of them twice; item 7 is taken by nobody."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.2)
    users, items = users[items != 7], items[items != 7]
    order = rng.permutation(np.concatenate([np.arange(len(users)), np.arange(25)]))
    frame = pd.DataFrame({"user_id": users[order], "item_id": items[order]})
    return frame.astype(str).radd({"user_id": "user", "item_id": "item"}) if strings else frame


def write(frame, folder, n_files=3, rows_a_group=17):
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        at = folder / f"part{number}.parquet"
        frame.iloc[part].to_parquet(at, row_group_size=rows_a_group, index=False)
    return folder


def same(one, other):
    for name in ("user_embeddings_", "item_embeddings_", "item_vectors_", "item_bias_", "cold_weights_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.history_ == other.history_
    assert one.user_ids_.tolist() == other.user_ids_.tolist()
    assert (one.interactions_ != other.interactions_).nnz == 0
