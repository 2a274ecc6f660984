"""Tune a method on validation interactions, fit it, judge it on the test; what is known already is not run again."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import optuna
import pandas as pd

from benchmarks.paper.data import Case, content
from benchmarks.paper.kept import TARGET, Judged, Kept, NotKeptError
from benchmarks.paper.methods import Method
from modalsplit.evaluate import SampledNegatives, evaluate

K = (5, 10)
MOST_SCORES = 50_000_000  # kept at once; more are computed anew for each protocol
N_RANDOM = 4  # trials before the sampler models what it saw


@dataclass(frozen=True)
class Budget:
    """What a method may cost: trials of its search, seeds of its final fit, epochs of any fit if these are limited."""

    trials: int = 8
    seeds: int = 3
    epochs: int | None = None


class Runner:
    """Runs methods on one fold of one data set.

    Where `compute` is False, answers come from what is kept alone; `left_out` lists what is not.
    """

    def __init__(self, case: Case, budget: Budget, kept: Kept, *, compute: bool = True) -> None:
        self.case, self.budget, self.kept, self.compute = case, budget, kept, compute
        self.split = case.split
        self.left_out: list[str] = []
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @property
    def seeds(self) -> range:
        return range(1, self.budget.seeds + 1)

    def settings(self, method: Method) -> dict[str, Any]:
        """Search the settings by NDCG@10 on the validation part."""
        if not method.space:
            return {}
        name = self._search_of(method)
        search = self.kept.searches.get(name, {})
        if "chosen" in search:  # by an earlier search whose trials were not kept
            return dict(search["chosen"])
        trials = [trial for trial in search.get("trials", []) if set(trial["settings"]) == set(method.space)]
        while len(trials) < self.budget.trials:
            self._must_compute(f"search {name}")
            settings = _next_trial(method, trials)
            start = time.perf_counter()
            value = self._validated(method, settings)
            seconds = round(time.perf_counter() - start, 1)
            trials.append({"settings": settings, "value": round(value, 6), "seconds": seconds})
            self.kept.searches[name] = {"trials": trials}
            self.kept.write_searches()
            say(f"{self.case.name}, {name}, trial {len(trials)}: {value:.4f}, {seconds:.0f} s")
        best = max(trials[: self.budget.trials], key=lambda trial: trial["value"])
        return dict(best["settings"])

    def remark(self, method: Method) -> str:
        """Say what a search was, where it was not one of all trials that were kept."""
        return str(self.kept.searches.get(self._search_of(method), {}).get("of", ""))

    def _search_of(self, method: Method) -> str:
        return f"fold {self.case.fold}: {method.name} on {method.content}"

    def test(self, method: Method, case: Case | None = None) -> list[Judged]:
        """Tune a method, then judge it; `case` may hold other features of the same items."""
        try:
            settings = self.settings(method)
        except NotKeptError as error:
            self.left_out.append(str(error))
            return []
        return self.judge_all(method, settings, case)

    def judge_all(
        self, method: Method, settings: dict[str, Any], case: Case | None = None, *, paired: bool = True
    ) -> list[Judged]:
        """Judge given settings by the test part, once a seed; what has no chance in it is fitted once."""
        found = []
        for seed in self.seeds if self._has_chance(method) else [1] * len(self.seeds):
            try:
                found.append(self.judge(method, settings, seed, case, paired=paired))
            except NotKeptError as error:
                self.left_out.append(str(error))
        return found

    def judge(
        self,
        method: Method,
        settings: dict[str, Any],
        seed: int,
        case: Case | None = None,
        *,
        paired: bool = True,
    ) -> Judged:
        """Judge given settings by the test part: full ranking, and the paper's 1,000 sampled items ("sampled ...").

        With `paired`, the values of the users are kept, for tests.
        """
        case = case or self.case
        return self.kept_or(method, settings, seed, case, lambda: self._tested(method, settings, seed, case), paired)

    def judge_others(self, method: Method) -> list[Judged]:
        """Tune a method as for the test, and judge it by interactions that are in no part of the data, once a seed."""
        case, found = replace(self.case, name=f"{self.case.name}, other interactions"), []
        for seed in self.seeds if self._has_chance(method) else [1] * len(self.seeds):
            try:
                settings = self.settings(method)
                made = partial(self._tested_by_others, method, settings, seed)
                found.append(self.kept_or(method, settings, seed, case, made, paired=True))
            except NotKeptError as error:
                self.left_out.append(str(error))
        return found

    def kept_or(
        self,
        method: Method,
        settings: dict[str, Any],
        seed: int,
        case: Case,
        make: Callable[[], pd.DataFrame],
        paired: bool = False,
    ) -> Judged:
        """Return what is kept of a fit, or make it if that is allowed."""
        what = {
            "case": case.name,
            "fold": self._fold(seed),
            "method": method.name,
            "content": method.content,
            "seed": seed,
            "model": " ".join(repr(self.make(method, settings, seed)).split()),
        }
        said = f"{case.name}, fold {what['fold']}, {method.name} on {method.content}, seed {seed}"

        def allowed() -> pd.DataFrame:
            self._must_compute(said)
            return make()

        found, is_new = self.kept.judged(what, allowed, paired=paired)
        if is_new:
            say(f"{said}: {found.means.iloc[:8].to_dict()}")
        return found

    def make(self, method: Method, settings: dict[str, Any], seed: int) -> Any:
        """Make a model within the budget."""
        model = method.make(settings, seed)
        if self.budget.epochs is not None and "max_epochs" in model.get_params():
            most = self.budget.epochs
            model.set_params(max_epochs=min(model.max_epochs or most, most))
        return model

    def fit(self, method: Method, settings: dict[str, Any], seed: int, case: Case | None = None) -> Any:
        """Fit a method on the training part."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of rank 0 where much is masked
            Z = content(case or self.case, method.content, seed)
            return self.make(method, settings, seed).fit(Z, self.split.train)

    def _has_chance(self, method: Method) -> bool:
        return method.content != "none" or "random_state" in method.recommender.get_params()

    def _fold(self, seed: int) -> int:
        return self.case.fold

    def _must_compute(self, what: str) -> None:
        if not self.compute:
            raise NotKeptError(what)

    def _validated(self, method: Method, settings: dict[str, Any]) -> float:
        model = self.fit(method, settings, 0)
        return float(evaluate(model, self.split.valid, seen=self.split.train, k=10).per_user[TARGET].mean())

    def _tested_by_others(self, method: Method, settings: dict[str, Any], seed: int) -> pd.DataFrame:
        model = self.fit(method, settings, seed)
        # All that the data have of a user is out of the ranking, the test part too.
        return evaluate(model, self.case.others, seen=self.case.interactions, k=K).per_user

    def _tested(self, method: Method, settings: dict[str, Any], seed: int, case: Case) -> pd.DataFrame:
        start = time.perf_counter()
        model = self.fit(method, settings, seed, case)
        seconds = time.perf_counter() - start
        n_items, n_users = self.case.interactions.shape
        judged = model
        if n_items * n_users <= MOST_SCORES:
            judged = model.decision_function(content(case, method.content, seed))
        protocol = {"held_out": self.split.test, "seen": self.split.seen, "k": K}
        full = evaluate(judged, **protocol).per_user
        sampled = evaluate(judged, **protocol, candidates=SampledNegatives()).per_user
        return full.join(sampled.add_prefix("sampled ")).assign(seconds=seconds)


def _next_trial(method: Method, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Suggest settings after these trials, the defaults first; the same ones, whenever it is asked."""
    if not trials:
        return method.defaults
    sampler = optuna.samplers.TPESampler(n_startup_trials=N_RANDOM, seed=len(trials))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for trial in trials:
        done = optuna.trial.create_trial(params=trial["settings"], distributions=method.space, value=trial["value"])
        study.add_trial(done)
    return study.ask(method.space).params


def with_content(method: Method, what: str, **settings: Any) -> Method:
    """Give a method other content, and its recommender other fixed settings."""
    recommender = method.make(settings, 0)
    return replace(method, content=what, recommender=recommender)


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
