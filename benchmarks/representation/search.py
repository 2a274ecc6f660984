"""How a rival's settings and its number of shared components are chosen, the same for all.

A fifth of the rows to fit on is set aside; the other four fifths fit a candidate. Two criteria, as neither serves every rival:

* translation: a linear regression, fitted to the four fifths, from one view's shared part to the 64 leading principal components
  of the other view; the explained share of their variance in the fifth, mean of both directions. Components that are not
  shared only cost: what they seem to explain is not there in the fifth.
* agreement: what is saved of the squared differences in the fifth between the two views' shared parts, standardised, against
  parts that are 0 in one view. A component pays if its correlation is above 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.representation.data import Views

RANKS = (2, 4, 8, 16, 32, 64)
N_TARGETS = 64
VALIDATION = 0.2
# The variants of a rival: as many shared components as the parts are wide, or a number that is searched.
FIXED = "all components"
BY_TRANSLATION, BY_AGREEMENT = "rank by translation", "rank by agreement"

# Maps views to their shared parts, the columns ordered by importance.
Shared = Callable[[Views], Views]


class Parts(NamedTuple):
    common: Views
    specific: Views


class Fitted(NamedTuple):
    """A fitted method: its label, what it does to views, and remarks for the page."""

    variant: str
    parts: Callable[[Views], Parts]
    note: str = ""


class Trial(NamedTuple):
    """One setting of a rival: its label and how to fit it to standardised views."""

    label: str
    fit: Callable[[Views], Shared]


class Scaler:
    """Standardises both views by the mean and deviation of the rows to fit on."""

    def __init__(self, views: Views) -> None:
        self.scalers = [StandardScaler().fit(view) for view in views]

    def __call__(self, views: Views) -> Views:
        first, second = (scaler.transform(view) for scaler, view in zip(self.scalers, views, strict=True))
        return first, second


class Judge:
    """Scores shared parts by the fifth that is set aside."""

    def __init__(self, views: Views, seed: int) -> None:
        rows = train_test_split(np.arange(len(views[0])), test_size=VALIDATION, random_state=seed)
        (self.train, self.valid) = ((views[0][r], views[1][r]) for r in rows)
        pcas = [PCA(min(N_TARGETS, *view.shape), random_state=seed).fit(view) for view in self.train]
        self.targets = [
            [pca.transform(v) for pca, v in zip(pcas, part, strict=True)] for part in (self.train, self.valid)
        ]

    def translation(self, shared: Shared, k: int) -> float:
        train, valid = ([z[:, :k] for z in shared(part)] for part in (self.train, self.valid))
        scores = []
        for source, target in ((0, 1), (1, 0)):
            regression = LinearRegression().fit(train[source], self.targets[0][target])
            told = regression.predict(valid[source])
            scores.append(r2_score(self.targets[1][target], told, multioutput="variance_weighted"))
        return float(np.mean(scores))

    def agreement(self, shared: Shared, k: int) -> float:
        train, valid = (np.stack([z[:, :k] for z in shared(part)]) for part in (self.train, self.valid))
        centre, size = train.mean(axis=1, keepdims=True), train.std(axis=1, keepdims=True)
        first, second = (valid - centre) / np.where(size > 0, size, 1)
        return float(np.sum((first**2 + second**2) / 2 - (first - second) ** 2) / len(first))


def memoised(shared: Shared) -> Shared:
    """Keep the last results: the judge asks for the same rows once for each number of components."""
    known: dict[int, tuple[Views, Views]] = {}

    def call(views: Views) -> Views:
        if id(views) not in known:
            known[id(views)] = (views, shared(views))  # the views are kept too, so that their id stays theirs
        return known[id(views)][1]

    return call


def ranks(d: int) -> list[int]:
    return [k for k in RANKS if k < d] + [d]


def searched(trials: Iterable[Trial], views: Views, d: int, seed: int) -> list[tuple[str, Shared, int, str]]:
    """Choose a trial at d components, and a trial with its number of components by either criterion; fit to all rows."""
    judge = Judge(views, seed)
    trials = list(trials)
    scores: dict[str, dict[tuple[int, int], float]] = {BY_TRANSLATION: {}, BY_AGREEMENT: {}}
    for number, trial in enumerate(trials):
        shared = memoised(trial.fit(judge.train))
        for k in ranks(d):
            scores[BY_TRANSLATION][number, k] = judge.translation(shared, k)
            scores[BY_AGREEMENT][number, k] = judge.agreement(shared, k)
    at_d = max(range(len(trials)), key=lambda number: scores[BY_AGREEMENT][number, d])
    chosen = {FIXED: (at_d, d)} | {name: max(of, key=of.__getitem__) for name, of in scores.items()}
    fitted = {number: trials[number].fit(views) for number in {number for number, _ in chosen.values()}}
    return [(name, fitted[number], k, trials[number].label) for name, (number, k) in chosen.items()]


def with_residual(shared: Shared, k: int, views: Views, d: int, seed: int) -> Callable[[Views], Parts]:
    """Take as specific what a regression on the view's own shared part leaves of its d principal components."""
    pcas = [PCA(min(d, *view.shape), random_state=seed).fit(view) for view in views]
    fitted = [z[:, :k] for z in shared(views)]
    regressions = [LinearRegression().fit(z, p.transform(v)) for z, p, v in zip(fitted, pcas, views, strict=True)]

    def parts(new: Views) -> Parts:
        common = [z[:, :k] for z in shared(new)]
        specific = [p.transform(v) - r.predict(z) for z, p, r, v in zip(common, pcas, regressions, new, strict=True)]
        return Parts((_wide(common[0], d), _wide(common[1], d)), (specific[0], specific[1]))

    return parts


def _wide(part: np.ndarray, d: int) -> np.ndarray:
    """Fill up with zeros to d columns, as all parts have as many."""
    return np.pad(part, ((0, 0), (0, d - part.shape[1])))
