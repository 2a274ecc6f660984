"""How time and memory grow with users, with items and with interactions alone, and with all, to 16 times the paper's size."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.frame import Figure
from benchmarks.speed.growth import slopes

TIMES = (0.25, 1.0, 4.0, 16.0)
AXES = {"users": (1, 0, 0), "items": (0, 1, 0), "interactions": (0, 0, 1), "all three": (1, 1, 1)}


def measure() -> Iterator[Figure]:
    """Compare steps of size with what a slope of 1 asks."""
    for name, grows in AXES.items():
        sizes = [[t**power for power in grows] for t in TIMES]
        yield from slopes("ranker", f"of AttentiveBPR in {name}", TIMES, sizes)
    yield from slopes("encoder", "of the encoder, cca, in items", TIMES, [[t] for t in TIMES])
