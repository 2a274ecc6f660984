"""Tune a method on validation interactions, fit it, judge it on the test; every result is kept."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

import optuna
import pandas as pd
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.paper.data import CACHE, Case, content, kept_frame
from benchmarks.paper.methods import Method
from modalsplit.evaluate import Evaluation, SampledNegatives, evaluate

K = (5, 10)
TARGET = "ndcg@10"


@dataclass(frozen=True)
class Budget:
    """What a method may cost: trials of its search, seeds of its final fit."""

    trials: int = 8
    seeds: int = 3


class Runner:
    """Runs methods on one data set."""

    def __init__(self, case: Case, budget: Budget) -> None:
        self.case, self.budget = case, budget
        self.split = case.split
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        CACHE.mkdir(parents=True, exist_ok=True)
        self.storage = JournalStorage(JournalFileBackend(str(CACHE / "searches.log")))

    def settings(self, method: Method) -> dict[str, Any]:
        """Search the settings by NDCG@10 on the validation part; what was searched already is not repeated."""
        if not method.space:
            return {}
        study = optuna.create_study(
            study_name=f"{self.case.name}, fold {self.case.fold}: {method.name} on {method.content}",
            storage=self.storage,
            sampler=optuna.samplers.TPESampler(n_startup_trials=4, seed=0),
            direction="maximize",
            load_if_exists=True,
        )
        if not study.trials:
            study.enqueue_trial(method.defaults)
        while len(done := study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) < self.budget.trials:
            trial = study.ask(method.space)
            start = time.perf_counter()
            value = float(self._judged(method, trial.params, 0, "valid")[TARGET].mean())
            study.tell(trial, value)
            say(f"{study.study_name}, trial {len(done) + 1}: {value:.4f}, {time.perf_counter() - start:.0f} s")
        return max(done[: self.budget.trials], key=lambda trial: trial.value).params

    def test(self, method: Method, case: Case | None = None) -> list[Evaluation]:
        """Judge the tuned method by the test part, once a seed; `case` may hold other features of the same items."""
        settings = self.settings(method)
        return [self.judge(method, settings, seed, case) for seed in range(1, self.budget.seeds + 1)]

    def judge(self, method: Method, settings: dict[str, Any], seed: int, case: Case | None = None) -> Evaluation:
        """Judge given settings by the test part: full ranking, and the paper's 1,000 sampled items ("sampled ...")."""
        case = case or self.case
        model = method.make(settings, seed)
        key = hashlib.sha256(json.dumps([method.content, repr(model), seed]).encode()).hexdigest()[:12]
        path = CACHE / case.name / f"fold-{case.fold}" / f"{_slug(method.name)}-{seed}-{key}.parquet"
        is_new = not path.exists()
        table = kept_frame(path, lambda: self._judged(method, settings, seed, "test", case))
        if is_new:
            say(f"{case.name}, {method.name} on {method.content}, seed {seed}: {table[TARGET].mean():.4f}")
        return Evaluation(table)

    def fit(self, method: Method, settings: dict[str, Any], seed: int, case: Case | None = None) -> Any:
        """Fit a method on the training part."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of rank 0 where much is masked
            Z = content(case or self.case, method.content, seed)
            return method.make(settings, seed).fit(Z, self.split.train)

    def _judged(
        self, method: Method, settings: dict[str, Any], seed: int, part: str, case: Case | None = None
    ) -> pd.DataFrame:
        start = time.perf_counter()
        model = self.fit(method, settings, seed, case)
        seconds = time.perf_counter() - start
        if part == "valid":
            return evaluate(model, self.split.valid, seen=self.split.train, k=10).per_user
        judge = {"held_out": self.split.test, "seen": self.split.seen, "k": K}
        full = evaluate(model, **judge).per_user
        sampled = evaluate(model, **judge, candidates=SampledNegatives()).per_user
        return full.join(sampled.add_prefix("sampled ")).assign(seconds=seconds)


def with_content(method: Method, what: str, **settings: Any) -> Method:
    """Give a method other content, and its recommender other fixed settings."""
    recommender = method.make(settings, 0)
    return replace(method, content=what, recommender=recommender)


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def means(results: list[Evaluation]) -> pd.DataFrame:
    """Means over users, a row a seed."""
    return pd.DataFrame([result.per_user.mean() for result in results])
