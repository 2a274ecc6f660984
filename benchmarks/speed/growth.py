"""How time and memory grow with the size of the data: AttentiveBPR with all its sizes together, the encoder with its rows.

Each size runs in a process of its own. `axes` has each of AttentiveBPR's sizes alone, and larger ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.speed.frame import Figure, timed

TIMES = (0.25, 1.0, 4.0)  # the paper's size
SLOPE = 1.05
RANKED_USERS = 500
WIDTHS, D = (512, 338), 64  # of the encoder's modalities: an eighth of the paper's columns


def measure() -> Iterator[Figure]:
    """Compare steps of size with what a slope of 1 asks."""
    yield from slopes("ranker", "of AttentiveBPR", TIMES, [[t, t, t] for t in TIMES])
    yield from slopes("encoder", "of the encoder, cca", TIMES, [[t] for t in TIMES])


def slopes(what: str, said: str, times: Sequence[float], sizes: Sequence[Sequence[float]]) -> Iterator[Figure]:
    """Fit a line through the logarithms of what each size took."""
    found = [run_alone(what, size) for size in sizes]
    for name in found[0]:
        slope = float(np.polyfit(np.log(times), np.log([max(each[name], 1e-9) for each in found]), 1)[0])
        figure = f"log-log slope of {name} {said}, {times[0]} to {times[-1]} x the paper's size"
        yield Figure(figure, [slope], [1.0], SLOPE, "")


def run_alone(
    what: str, times: Sequence[float], module: str = "benchmarks.speed.growth", **environment: str
) -> dict[str, float]:
    command = [sys.executable, "-m", module, what, *map(str, times)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | environment).stdout
    return dict(json.loads(out.splitlines()[-1]))


def ranker(users: float, items: float, interactions: float) -> dict[str, float]:
    """Measure a fit of two epochs and rankings, in CPU seconds and bytes beyond what was there before."""
    from scipy import sparse

    from benchmarks.speed.ranking import SIZES, D, drawn, features
    from modalsplit import AttentiveBPR

    n_users, n_items, n_taken = (int(t * size) for t, size in zip((users, items, interactions), SIZES, strict=True))
    taken, parts = drawn(n_users, n_items, n_taken), features(n_items, 4 * D)
    model = AttentiveBPR(
        D, users="embedding", projection=False, loss="bpr", sampling="interactions", blocks=4, max_epochs=2,
        batch_size=32_768, random_state=0, device="cpu",
    )  # fmt: skip
    taken = sparse.csr_array(taken.T)
    before = memory_so_far()
    fit = timed(lambda: model.fit(parts, taken))
    memory = memory_so_far(peak=True) - before
    ranked = timed(lambda: model.recommend(np.arange(RANKED_USERS), 20)) / RANKED_USERS
    return {"seconds of fit": fit, "memory of fit": memory, "seconds of ranking for a user": ranked}


def encoder(rows: float) -> dict[str, float]:
    """Measure a fit and a transform."""
    from benchmarks.speed.pretraining import N_ITEMS, features
    from modalsplit import DisentangledModalityEncoder

    views = features(int(rows * N_ITEMS), WIDTHS)
    model = DisentangledModalityEncoder(D, objective="cca", random_state=0, device="cpu")
    before = memory_so_far()
    fit = timed(lambda: model.fit(*views))
    memory = memory_so_far(peak=True) - before
    # The fastest: the first ones also wait for memory that the machine has not handed out before.
    transform = min(timed(lambda: model.transform(*views)) for _ in range(3))
    return {"seconds of fit": fit, "memory of fit": memory, "seconds of transform": transform}


def memory_so_far(*, peak: bool = False) -> float:
    """Read the resident bytes of this process, or their peak since this was last asked for (Linux)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    found = float(fields["VmHWM" if peak else "VmRSS"].split()[0]) * 1024
    Path("/proc/self/clear_refs").write_text("5")
    return found


if __name__ == "__main__":
    print(json.dumps({"ranker": ranker, "encoder": encoder}[sys.argv[1]](*map(float, sys.argv[2:]))))
