"""How time and memory of fitting and ranking grow with items, users and interactions together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.speed.frame import Figure, timed

TIMES = (0.25, 1.0, 4.0)  # the paper's size
SLOPE = 1.05
RANKED_USERS = 500


def measure() -> Iterator[Figure]:
    """Compare steps of size with what a slope of 1 asks; each size runs in a process of its own."""
    sizes = [json.loads(run_alone(times)) for times in TIMES]
    for what in sizes[0]:
        values = [size[what] for size in sizes]
        slope = float(np.polyfit(np.log(TIMES), np.log(values), 1)[0])
        yield Figure(
            f"log-log slope of {what}, {TIMES[0]} to {TIMES[-1]} x the paper's size", [slope], [1.0], SLOPE, ""
        )


def run_alone(times: float) -> str:
    command = [sys.executable, "-m", "benchmarks.speed.growth", str(times)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def one_size(times: float) -> dict[str, float]:
    """Measure a fit of two epochs and rankings, in CPU seconds and bytes beyond what was there before."""
    import resource

    from scipy import sparse

    from benchmarks.speed.ranking import SIZES, D, drawn, features
    from modalsplit import AttentiveBPR

    n_users, n_items, n_taken = (int(times * size) for size in SIZES)
    taken, parts = drawn(n_users, n_items, n_taken), features(n_items, 4 * D)
    model = AttentiveBPR(
        D, users="embedding", projection=False, loss="bpr", sampling="interactions", blocks=4, max_epochs=2,
        batch_size=32_768, random_state=0, device="cpu",
    )  # fmt: skip

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0

    before = peak()
    fit = timed(lambda: model.fit(parts, sparse.csr_array(taken.T)))
    memory = peak() - before
    ranked = timed(lambda: model.recommend(np.arange(RANKED_USERS), 20)) * n_users / RANKED_USERS
    return {"seconds of fit": fit, "memory of fit": memory, "seconds of ranking for a user": ranked / n_users}


if __name__ == "__main__":
    print(json.dumps(one_size(float(sys.argv[1]))))
