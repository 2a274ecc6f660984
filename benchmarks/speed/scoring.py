"""The best twenty items for every user, beside implicit's; attention of users beside that of items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from benchmarks.speed.frame import Figure, alternated, timed
from benchmarks.speed.ranking import D, features, interactions

K, USERS = 20, 4000


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
