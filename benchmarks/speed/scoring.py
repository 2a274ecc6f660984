"""The best twenty items for every user, beside implicit's; attention of users beside that of items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from benchmarks.speed.frame import Figure, alternated, timed
from benchmarks.speed.ranking import D, features, interactions

K, USERS = 20, 4000
LARGE = 100_000  # items, where an index may pay
FACTORS = 64  # dimensions in which users and items differ there, as those of a fitted model do


def measure() -> Iterator[Figure]:
    """Time rankings of the whole catalogue, for a tenth of the users: in blocks, seconds grow with users."""
    taken = interactions()
    ours, by_user, peer = fitted(taken, "item"), fitted(taken, "user"), implicit_model(taken)
    users, seen = np.arange(USERS), sparse.csr_matrix(taken)[:USERS]
    sides = alternated(
        lambda: timed(lambda: ours.recommend(users, K)),
        lambda: timed(lambda: peer.recommend(users, seen, N=K)),
    )
    yield Figure(f"top {K} of {USERS} users, exact, beside implicit's recommend", *sides, at_most=1)
    few = users[: USERS // 4]
    sides = alternated(
        lambda: timed(lambda: by_user.recommend(few, K)),
        lambda: timed(lambda: ours.recommend(few, K)),
    )
    yield Figure(f"top {K} of {len(few)} users with attention of users, beside that of items", *sides, at_most=6)
    yield from by_index(ours, few, "the paper's catalogue")
    large, some = drawn_model(), users[: USERS // 8]
    yield from by_index(large, some, f"{LARGE:,} items")


def by_index(model, users: np.ndarray, where: str) -> Iterator[Figure]:
    """Rank through graphs, whose recall the name of the row tells, beside the exact ranking."""
    for kind in ("hnsw", "usearch"):
        index = model.index_items(kind)
        recall = model.index_recall(index, users, K)
        sides = alternated(
            lambda i=index: timed(lambda: model.recommend(users, K, index=i)),
            lambda: timed(lambda: model.recommend(users, K)),
        )
        print(f"recall of {kind} among {where}: {recall:.4f}")
        yield Figure(f"top {K} of {len(users)} users through {kind}, {where}, beside exact", *sides)


def drawn_model():
    """Make a model of a large catalogue without fitting it: users and items share factors, and some items are popular."""
    from modalsplit import AttentiveBPR

    rng = np.random.default_rng(0)
    taken = sparse.random_array((LARGE, USERS), density=20 / LARGE, rng=rng, format="csr", dtype=np.float32)
    model = AttentiveBPR(parts=None, users="embedding")
    model._remember(np.zeros((LARGE, 1)), taken)
    mix = rng.normal(size=(FACTORS, D)) / FACTORS**0.5
    spectrum = np.arange(1, FACTORS + 1) ** -0.5
    users, items = ((rng.normal(size=(n, FACTORS)) * spectrum) @ mix for n in (USERS, LARGE))
    model.user_embeddings_, model.item_vectors_ = users.astype(np.float32), items.astype(np.float32)
    model.item_bias_ = rng.gumbel(size=LARGE).astype(np.float32) / 4
    return model


def fitted(taken: sparse.csr_array, attention: str):
    """Fit for an epoch: how long a ranking takes does not depend on what was learned."""
    from modalsplit import AttentiveBPR

    model = AttentiveBPR(
        D, attention=attention, users="embedding", projection=False, loss="bpr", sampling="interactions", blocks=4,
        max_epochs=1, batch_size=65_536, random_state=0, device="cpu",
    )  # fmt: skip
    return model.fit(features(taken.shape[1], 4 * D), sparse.csr_array(taken.T))


def implicit_model(taken: sparse.csr_array):
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(factors=D, iterations=1, num_threads=1, random_state=0)
    model.fit(sparse.csr_matrix(taken), show_progress=False)
    return model
