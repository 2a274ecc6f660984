"""Memory of a fit beyond its input, at the paper's size. Each fit runs in a process of its own.

glibc keeps part of what was freed, more or less of it from run to run. Here it gives back what it can, so that the figure is
what a fit needs at once.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.speed.frame import Figure
from benchmarks.speed.growth import run_alone

OBJECTIVES = ("cca", "stable")
MOST = 0.2
SECONDS_APART = 0.003
GIVE_BACK = {"MALLOC_TRIM_THRESHOLD_": "1000000"}
WARM_UP = 400, 50, 8  # rows, columns and components of a fit that loads what libraries load on first use


def measure() -> Iterator[Figure]:
    """Compare memory beyond the input with the input."""
    for objective in OBJECTIVES:
        found = run_alone(objective, [], __spec__.name, **GIVE_BACK)
        what = f"memory of a fit of {objective} beyond its input"
        yield Figure(what, [found["beyond"]], [found["input"]], MOST, "MB")


def beyond_input(objective: str) -> dict[str, float]:
    """Measure a fit of the paper's size, in MB."""
    from benchmarks.speed.pretraining import N_ITEMS, D, features
    from modalsplit import DisentangledModalityEncoder

    views = features(N_ITEMS)
    n_rows, n_columns, d = WARM_UP
    DisentangledModalityEncoder(d, objective=objective, random_state=0).fit(*(x[:n_rows, :n_columns] for x in views))
    before = in_use()
    model = DisentangledModalityEncoder(D, objective=objective, random_state=0, device="cpu")
    most = highest(lambda: model.fit(*views))
    return {"beyond": (most - before) / 1e6, "input": sum(x.nbytes for x in views) / 1e6}


def highest(work: Callable[[], object]) -> float:
    """Watch the memory in use during some work; return the most that was seen, in bytes."""
    most, done = in_use(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(SECONDS_APART):
            most = max(most, in_use())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most


def in_use() -> float:
    """Read the resident bytes of this process that no file backs (Linux)."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return float(fields["RssAnon"].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(beyond_input(sys.argv[1])))
