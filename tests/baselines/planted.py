"""Made data: tastes that content tells, and popularity that it does not."""

import numpy as np
import pandas as pd

from modalsplit import Interactions
from modalsplit.evaluate import split_interactions


def planted(n_items=120, n_users=300, n_tastes=4, seed=0):
    """Items of a few kinds, and users who mostly take one kind, popular items more often.

    Two content blocks of different width show the kind, in noise.
    """
    rng = np.random.default_rng(seed)
    kind, taste = np.arange(n_items) % n_tastes, np.arange(n_users) % n_tastes
    odds = np.exp(rng.normal(size=(n_items, 1)) + 2.5 * (kind[:, None] == taste))
    taken = rng.random((n_items, n_users)) < 14 * odds / odds.sum(axis=0)
    shown = np.eye(n_tastes)[kind]
    blocks = {"image": 12, "text": 8}
    content = np.hstack(
        [
            shown @ rng.normal(size=(n_tastes, width)) + 0.3 * rng.normal(size=(n_items, width))
            for width in blocks.values()
        ]
    )
    columns = [f"{block}__{column}" for block, width in blocks.items() for column in range(width)]
    X = pd.DataFrame(content, index=[f"i{i}" for i in range(n_items)], columns=columns)
    Y = Interactions(taken.astype(np.float32), item_ids=X.index, user_ids=[f"u{u}" for u in range(n_users)])
    train, test = split_interactions(Y, shares=(0.8, 0.2), random_state=0)
    return X, train, test
