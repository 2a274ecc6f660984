"""What evaluation costs: 40,000 users, 23,000 items, 150 dimensions, top 20, training items masked; beside implicit's own.

The sizes are those of Amazon Clothing, as is the number of interactions: five to train on and one or two held out a user.
Scores are inner products of vectors, the same for both: items are random, and users lie near what they took, so that seen items
are on top and about a fifth of the held-out ones is found, as with a model that has learnt. Prints CPU-seconds per 1,000 users of all threads together, the
part of it that the matrix product alone takes, and the highest memory; exits with 1 above 0.1 CPU-seconds. implicit ranks every
user who has held-out items, too, and computes four metrics (precision, MAP, NDCG, AUC).

Needs the ``interop`` extra. Run it with one thread: ``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.evaluation``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import sparse

from modalsplit.evaluate import dot_product, evaluate

TARGET = 0.1  # CPU-seconds per 1,000 users
K = 20
SIGNAL = 0.5  # of what a user took, beside the noise in the user's vector


def interactions(n_items: int, n_users: int, rng: np.random.Generator) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Training and test parts: about 5.7 and 1.4 interactions a user, popular items more often."""
    chance = 1 / np.arange(10, n_items + 10)
    item = rng.choice(n_items, size=round(7.1 * n_users), p=chance / chance.sum())
    user = np.concatenate([np.arange(n_users), rng.integers(n_users, size=len(item) - n_users)])
    is_test = np.concatenate([np.ones(n_users, dtype=bool), rng.random(len(item) - n_users) < 0.4 / 6.1])
    test = sparse.csr_array((np.ones(is_test.sum()), (item[is_test], user[is_test])), shape=(n_items, n_users)) > 0
    train = sparse.csr_array((np.ones((~is_test).sum()), (item[~is_test], user[~is_test])), shape=test.shape) > 0
    return sparse.csr_array(train > test), test


def seconds(run: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def peak() -> float:
    """Highest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def by_implicit(
    users: np.ndarray, items: np.ndarray, train: sparse.csr_array, test: sparse.csr_array
) -> dict[str, float]:
    from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
    from implicit.evaluation import ranking_metrics_at_k

    class Given(MatrixFactorizationBase):
        def fit(self, user_items: object, show_progress: bool = True) -> None:
            raise NotImplementedError("The vectors are given.")

        save = fit  # abstract too

    model = Given()
    model.user_factors, model.item_factors, model.num_threads = users, items, 1
    parts = [sparse.csr_matrix(part.T.astype(np.float32)) for part in (train, test)]
    for part in parts:
        part.indices, part.indptr = part.indices.astype(np.int32), part.indptr.astype(np.int32)
    return ranking_metrics_at_k(model, *parts, K=K, num_threads=1, show_progress=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=40_000)
    parser.add_argument("--items", type=int, default=23_000)
    parser.add_argument("--dimensions", type=int, default=150)
    parser.add_argument("--without-implicit", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    users, items = (rng.standard_normal((n, given.dimensions), dtype=np.float32) for n in (given.users, given.items))
    train, test = interactions(given.items, given.users, rng)
    taken = (train + test).T.astype(np.float32)
    users += SIGNAL * (taken @ items) / np.sqrt(taken.sum(axis=1))[:, None]
    print(f"{train.nnz / given.users:.1f} training and {test.nnz / given.users:.1f} held-out interactions a user")

    def product() -> None:
        score = dot_product(users, items)
        for start in range(0, given.users, 256):
            score(np.arange(start, min(start + 256, given.users)))

    before, rows = peak(), {}
    rows["matrix product alone"] = seconds(product)[0]
    rows["modalsplit: recall, ndcg"], ours = seconds(lambda: evaluate(dot_product(users, items), test, seen=train, k=K))
    everything = ["recall", "ndcg", "hit_rate", "mrr", "map", "precision", "novelty", "popularity", "coverage"]
    rows["modalsplit: nine metrics, with lists"], _ = seconds(
        lambda: evaluate(dot_product(users, items), test, seen=train, k=K, metrics=everything)
    )
    print(
        f"highest memory: {before:.2f} GB before, {peak():.2f} GB after; all scores would be "
        f"{given.users * given.items * 4 / 2**30:.1f} GB"
    )
    means = ours.per_user.mean()
    print(f"recall@{K}: {means.iloc[0]:.3f}")
    if not given.without_implicit:
        rows["implicit: ranking_metrics_at_k"], theirs = seconds(lambda: by_implicit(users, items, train, test))
        print(f"ndcg@{K}: {means.iloc[1]:.6f}, implicit {theirs['ndcg']:.6f}")
    for name, spent in rows.items():
        print(f"{name:<40}{spent / given.users * 1000:8.4f} CPU-seconds per 1,000 users")
    return 0 if rows["modalsplit: recall, ndcg"] / given.users * 1000 <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
