"""Parts of made items, and who took which of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from modalsplit import DisentangledModalityEncoder, Interactions
from modalsplit.datasets import make_modalities
from modalsplit.interop import item_blocks

N_ITEMS, N_USERS = 40, 25


@pytest.fixture(scope="session")
def encoder():
    return DisentangledModalityEncoder(4, objective="cca", split=("image", "text"), random_state=0)


@pytest.fixture(scope="session")
def parts(encoder):
    """What the encoder returns, by ids that are in no order."""
    data = make_modalities(N_ITEMS, n_shared=2, random_state=0)
    ids = np.random.default_rng(0).permutation([f"item {number:02d}" for number in range(N_ITEMS)])
    blocks = {"image": data.X_img, "text": data.X_txt}
    frames = [pd.DataFrame(X, index=ids).add_prefix(f"{name}__") for name, X in blocks.items()]
    return encoder.set_output(transform="pandas").fit_transform(pd.concat(frames, axis=1))


@pytest.fixture(scope="session")
def items(parts, encoder):
    return item_blocks(parts, made_by=encoder)


@pytest.fixture(scope="session")
def numbered(items):
    """The same items with integer ids, which have gaps and are in no order."""
    ids = np.random.default_rng(1).permutation(np.arange(3, 3 + 2 * N_ITEMS, 2))
    return item_blocks(items.blocks, item_ids=ids)


@pytest.fixture(scope="session")
def interactions(items):
    """Who took what; items in another order than the parts, and the last of the parts taken by nobody."""
    generator = np.random.default_rng(2)
    known = generator.permutation(items.ids[:-1])
    taken = generator.random((len(known), N_USERS)) < 0.3
    taken[:, 0] |= taken.sum(axis=1) == 0  # everything is taken once
    taken[0, taken.sum(axis=0) == 0] = True
    return Interactions(
        sparse.csr_array(taken.astype(np.float32)), item_ids=known, user_ids=[f"u{n}" for n in range(N_USERS)]
    )
