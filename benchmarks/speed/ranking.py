"""An epoch of AttentiveBPR beside one of implicit's BPR and one of Cornac's VBPR, on Amazon Clothing's interactions."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.speed.frame import Figure, alternated

D = 150
BATCHES = (1024, 8192, 32_768, 65_536)
TUNED_BATCH = 32_768
VBPR_FEATURES, VBPR_BATCH = 256, 4096
SIZES = (39_387, 23_033, 278_677)  # users, items, interactions
SHARED = Path(__file__).parents[3] / "shared" / "data" / "amazon-clothing-5core"


def measure() -> Iterator[Figure]:
    """Time epochs, in CPU seconds of one thread."""
    taken = interactions()
    parts = features(taken.shape[1], 4 * D)
    rival = functools.partial(implicit_epoch, taken)
    for batch_size in BATCHES:
        ours, theirs = alternated(lambda b=batch_size: our_epoch(taken, parts, b), rival, 2)
        yield Figure(f"epoch of AttentiveBPR, batch {batch_size}, beside implicit's BPR", ours, theirs, at_most=3)
    tuned, plain = alternated(
        lambda: our_epoch(taken, parts, TUNED_BATCH, fine_tune=True), lambda: our_epoch(taken, parts, TUNED_BATCH), 2
    )
    yield Figure(f"fine-tuning, batch {TUNED_BATCH}, beside none", tuned, plain, at_most=3)
    ours = [our_epoch(taken, parts, VBPR_BATCH) for _ in range(2)]
    yield Figure(
        f"epoch of AttentiveBPR, batch {VBPR_BATCH}, beside Cornac's VBPR", ours, [vbpr_epoch(taken)], at_most=1 / 10
    )


def interactions() -> sparse.csr_array:
    """Read who took what, users in the rows, all three parts together; draw it where the data set is not there."""
    if not SHARED.exists():
        return drawn(*SIZES)
    lists: dict[int, list[int]] = {}
    for part in ("train", "val", "test"):
        for user, items in json.loads((SHARED / f"{part}.json").read_text(encoding="utf-8")).items():
            lists.setdefault(int(user), []).extend(items)
    rows = np.repeat(list(lists), [len(items) for items in lists.values()])
    columns = np.concatenate([np.asarray(items, dtype=np.int64) for items in lists.values()])
    taken = sparse.coo_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=SIZES[:2]).tocsr()
    taken.data[:] = 1
    return taken


def drawn(n_users: int, n_items: int, n_taken: int) -> sparse.csr_array:
    """Draw interactions; some items are much more popular."""
    rng = np.random.default_rng(0)
    popular = (n_items * rng.random(n_taken) ** 2).astype(np.int64)
    once = np.arange(min(n_users, n_taken))  # each user takes something, if there is enough
    rows = np.concatenate([once, rng.integers(n_users, size=n_taken - len(once))])
    taken = sparse.coo_array((np.ones(n_taken, dtype=np.float32), (rows, popular)), shape=(n_users, n_items)).tocsr()
    taken.data[:] = 1
    return taken


def features(n_items: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n_items, width), dtype=np.float32)


def our_epoch(taken: sparse.csr_array, parts: np.ndarray, batch_size: int, **params: object) -> float:
    """Time the faster of two epochs of the paper's form."""
    fitting = paper_fitting(taken, parts, batch_size, **params)
    ends: list[float] = []

    def end_of_epoch(_: object) -> bool:
        ends.append(time.process_time())
        return False

    fitting.run(end_of_epoch)
    return float(min(np.diff(ends)))


def paper_fitting(taken: sparse.csr_array, parts: np.ndarray, batch_size: int, **params: object):
    """Set up a fit of three epochs, without running it."""
    from modalsplit import AttentiveBPR
    from modalsplit.recommend._fitting import Fitting  # noqa: PLC2701 epochs without what fit does once

    paper = {
        "loss": "bpr",
        "users": "embedding",
        "projection": False,
        "item_bias": False,
        "init": "uniform",
        "sampling": "interactions",
        "n_negatives": 1,
        "learning_rate": 1e-4,
        "decay": False,
        "l2": 0.0,
        "max_epochs": 3,
        "random_state": 0,
        "device": "cpu",
    }
    model = AttentiveBPR(batch_size=batch_size, **(paper | params))
    blocks = parts.reshape(len(parts), 4, -1)
    present = np.ones(blocks.shape[:2], dtype=bool)
    pairs = [(0, 2), (1, 3)] if model.fine_tune else []
    return Fitting(model, blocks, present, pairs, sparse.csr_array(taken.T))


def implicit_epoch(taken: sparse.csr_array) -> float:
    """Time the difference of four epochs and one: what implicit does once is no part of it."""
    from implicit.bpr import BayesianPersonalizedRanking

    matrix = sparse.csr_matrix(taken)

    def seconds(n_epochs: int) -> float:
        model = BayesianPersonalizedRanking(factors=D, iterations=n_epochs, num_threads=1, random_state=0)
        start = time.process_time()
        model.fit(matrix, show_progress=False)
        return time.process_time() - start

    return (seconds(4) - seconds(1)) / 3


def vbpr_epoch(taken: sparse.csr_array) -> float:
    """Time one epoch of Cornac's VBPR, its sampler included."""
    import cornac

    users, items = taken.nonzero()
    triples = list(zip(users.tolist(), items.tolist(), [1.0] * len(users), strict=True))
    image = cornac.data.ImageModality(features=features(taken.shape[1], VBPR_FEATURES), ids=list(range(taken.shape[1])))
    known = cornac.data.Dataset.from_uir(triples, seed=0)
    image.build(id_map=known.iid_map)
    known.add_modalities(item_image=image)

    def seconds(n_epochs: int) -> float:
        model = cornac.models.VBPR(
            k=D // 2, k2=D // 2, n_epochs=n_epochs, batch_size=VBPR_BATCH, use_gpu=False, verbose=False, seed=0
        )
        start = time.process_time()
        model.fit(known)
        return time.process_time() - start

    return seconds(1) - seconds(0)
