"""Which targets hold.

Differences are paired by seed, and a rival ties if the mean difference is within its standard error. A pair of linear methods
that see the same rows differs by so little that this error is next to nothing: where ours is below, but by less than the
standard error of the difference of both means, which holds the chance of drawing the data, the verdict is "tie".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from benchmarks.representation.data import PLANTED, REAL
from benchmarks.representation.measure import RAW
from benchmarks.representation.methods import DEFAULT, FULL, OURS, RIVALS

SLACK = 0.01
N_SHOWN = 4


class Verdict(NamedTuple):
    """What the table says of a target; open if it holds so far, but cells of rivals are not computed."""

    holds: bool
    text: str
    open: bool = False
    tie: bool = False

    @property
    def word(self) -> str:
        return "NO" if not self.holds else "OPEN" if self.open else "tie" if self.tie else "yes"


class Comparison(NamedTuple):
    rival: str
    mean: float
    error: float
    of_means: float  # standard error of the difference of both means, as if seeds were not paired

    @property
    def ties(self) -> bool:
        return abs(self.mean) <= self.error + 1e-12

    @property
    def is_lost(self) -> bool:
        return self.mean < 0 and not self.ties

    def __str__(self) -> str:
        unpaired = f", unpaired {self.of_means:.4f}" if self.is_lost else ""
        return f"{self.rival} ({self.mean:+.4f} ± {self.error:.4f}{unpaired})"


def label(method: str, variant: str) -> str:
    return f"{method}, {variant}" if variant else method


def verdicts(table: pd.DataFrame) -> Iterator[Verdict]:
    for data in PLANTED:
        for score in ("D", "D_strict"):
            yield from above(table, data, score, f"{data}: {score}", or_equal=False)
    for data in REAL:
        of = table[table.data == data]
        if not (of.method == DEFAULT).any():
            continue
        if data == "wikipedia":
            yield from above(table, data, "mAP by common", f"{data}: mAP from the common part", or_equal=True)
            if (of.method == RAW).any():  # its row has what chance gives
                yield at_chance(of)
        else:
            yield from not_below_raw(of, data)
            yield from above(
                table, data, "logistic of common", f"{data}: logistic probe of the common part", or_equal=False
            )
            what = f"{data}: logistic probe of the common part with all its columns in use"
            yield from above(table, data, "logistic of common", what, or_equal=False, method=FULL)


def above(
    table: pd.DataFrame, data: str, score: str, what: str, *, or_equal: bool, method: str = DEFAULT
) -> Iterator[Verdict]:
    """Compare a method of ours, the default or FULL, with every variant of every rival that was run."""
    of = table[table.data == data]
    ours, theirs = of[of.method == method], of[of.method.isin(RIVALS)]
    if not len(ours) or not len(theirs):
        return
    found = sorted(compared(ours, theirs, score), key=lambda c: c.mean)
    ties = [c for c in found if c.ties]
    lost = [c for c in found if c.is_lost]
    clearly = [c for c in lost if -c.mean > c.of_means]
    mean, nearest = ours[score].mean(), found[0]
    if lost:
        shown = "; ".join(map(str, lost[:N_SHOWN]))
        below = f"below {len(lost)} of {len(found)} variants of rivals"
        within = "" if clearly else ", by less than the standard error of both means"
        text = f"{what} {mean:.4f}, {below}{within}, the farthest {shown}"
    elif or_equal:
        text = f"{what} {mean:.4f}, at least that of the best rival computed, {nearest}"
    elif ties:
        text = f"{what} {mean:.4f}, above every rival computed but for ties"
    else:
        text = f"{what} {mean:.4f}, above every rival computed; nearest {nearest}"
    if ties:
        text += "; ties within one standard error: " + "; ".join(map(str, ties))
    if lacking := not_computed(ours, theirs):
        text += "; not computed: " + ", ".join(lacking)
    yield Verdict(not clearly, text, open=bool(lacking), tie=bool(lost))


def not_computed(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
    """Name the rivals that lack a seed that ours has, with how many they have of how many."""
    seeds = set(ours.seed)
    have = {name: len(seeds & set(theirs[theirs.method == name].seed)) for name in RIVALS}
    return [f"{name} ({n} of {len(seeds)} seeds)" for name, n in have.items() if n < len(seeds)]


def compared(ours: pd.DataFrame, theirs: pd.DataFrame, score: str) -> Iterator[Comparison]:
    base = ours.set_index("seed")[score]
    for (method, variant), group in theirs.groupby(["method", "variant"], sort=False):
        difference = (base - group.set_index("seed")[score]).dropna().to_numpy()
        if len(difference):
            error, *of_each = (standard_error(values) for values in (difference, base, group[score].dropna()))
            yield Comparison(label(method, variant), float(difference.mean()), error, float(np.hypot(*of_each)))


def standard_error(values: ArrayLike) -> float:
    """Of the mean; 0 of a single value."""
    x = np.asarray(values, dtype=float)
    return float(np.std(x, ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0


def at_chance(of: pd.DataFrame) -> Verdict:
    value, chance = of.loc[of.method == DEFAULT, "mAP by specific"].mean(), of["mAP by chance"].mean()
    allowed = max(SLACK, 3 * of["mAP by chance, deviation"].mean())
    text = f"wikipedia: mAP from the specific parts {value:.4f}, by chance {chance:.4f}, allowed above it {allowed:.4f}"
    return Verdict(bool(value - chance <= allowed), text)


def not_below_raw(of: pd.DataFrame, data: str) -> Iterator[Verdict]:
    ours, raw = of[of.method == DEFAULT], of[of.method == RAW]
    if not len(raw):
        return
    value, least = ours["logistic of both"].mean(), raw["logistic of raw"].mean()
    text = f"{data}: logistic probe of common and specific {value:.4f}, of the raw features {least:.4f}"
    yield Verdict(bool(value >= least - SLACK), f"{text}; not more than {SLACK} below")


def order(method: str) -> int:
    return (RAW, DEFAULT, FULL, *OURS, *RIVALS).index(method)
