"""What a figure is, how its two sides are timed, and how figures are kept and compared."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

HISTORY = Path(__file__).parent / "history"
WORSE = 1.2  # times the ratio stored last is a regression


@dataclass(frozen=True)
class Figure:
    """Seconds of ours beside seconds of what they are judged by; the fastest of each counts.

    A figure without a bound is told and kept, and never fails.
    """

    what: str
    ours: list[float]
    theirs: list[float]
    at_most: float | None = None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return min(self.ours) / min(self.theirs)

    @property
    def is_met(self) -> bool:
        return self.at_most is None or self.ratio <= self.at_most


def timed(work: Callable[[], object]) -> float:
    """Time some work in CPU seconds of the process, all threads together: other processes do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def alternated(
    ours: Callable[[], float], theirs: Callable[[], float], repeats: int = 3
) -> tuple[list[float], list[float]]:
    """Measure two sides in turn, so that both see the same machine; each returns its seconds."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=HISTORY.parent).stdout.strip()


def stored() -> list[dict]:
    """Read the stored runs, the oldest first."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in HISTORY.glob("*.json")]
    return sorted(runs, key=lambda run: run["when"])


def last_ratios(runs: list[dict], but: str) -> dict[str, float]:
    """List the last stored ratio of each figure, of other commits than one."""
    return {f["what"]: f["ratio"] for run in runs if run["commit"] != but for f in run["figures"]}


def store(figures: Iterable[Figure], at: str) -> Path:
    """Write figures to the file of a commit, in place of those of the same name."""
    path = HISTORY / f"{at}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else []
    rows = {f["what"]: f for f in kept} | {f.what: asdict(f) | {"ratio": f.ratio} for f in figures}
    run = {"commit": at, "when": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), "figures": list(rows.values())}
    HISTORY.mkdir(exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return path


def row(figure: Figure, before: float | None) -> str:
    """Write a figure as a row of the table."""
    bound = "" if figure.at_most is None else f"{figure.at_most:.3g}" + ("" if figure.is_met else " **not met**")
    sides = f"{min(figure.ours):.3g} {figure.unit} | {min(figure.theirs):.3g} {figure.unit}"
    change = "" if before is None else f"{figure.ratio / before - 1:+.0%}"
    return f"| {figure.what} | {figure.ratio:.3g} | {bound} | {sides} | {change} |"


HEAD = "| What | ratio | at most | ours | theirs | since the last |\n|---|--:|--:|--:|--:|--:|"


def regressions(figures: Iterable[Figure], before: dict[str, float]) -> list[str]:
    """List the figures whose ratio grew by more than a fifth since the last stored run."""
    return [f.what for f in figures if f.what in before and f.ratio > WORSE * before[f.what]]
