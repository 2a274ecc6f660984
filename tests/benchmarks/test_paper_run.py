"""Tuning and testing in the benchmark of the paper's tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optuna", reason="the paper's benchmark needs optuna")

from benchmarks.paper import data, experiments, run
from benchmarks.paper.cold import METHODS as COLD
from benchmarks.paper.cold import ColdRunner
from benchmarks.paper.methods import ALL
from modalsplit import Interactions

METHODS = {method.name: method for method in ALL}


@pytest.fixture
def case(tmp_path, monkeypatch):
    for module in (data, run):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    monkeypatch.setattr("benchmarks.paper.cold.CACHE", tmp_path)
    monkeypatch.setattr(data, "N_COMPONENTS", 4)
    rng = np.random.default_rng(0)
    ids = [f"item{i}" for i in range(60)]
    taken = np.where(rng.random((60, 40)) < np.where(np.arange(60)[:, None] % 2 == np.arange(40) % 2, 0.5, 0.02), 1, 0)
    shared = rng.normal(size=(60, 2))
    features = pd.DataFrame(shared @ rng.normal(size=(2, 9)) + 0.3 * rng.normal(size=(60, 9)), index=ids)
    features.columns = [f"image__{i}" for i in range(5)] + [f"text__{i}" for i in range(4)]
    return data.Case("tiny", features, Interactions.from_frame(_pairs(taken, ids), item_ids=ids))


def _pairs(taken, ids):
    items, users = taken.nonzero()
    return pd.DataFrame({"user_id": [f"u{u}" for u in users], "item_id": [ids[i] for i in items]})


def test_the_search_takes_the_best_trial_and_is_not_repeated(case, monkeypatch):
    runner = run.Runner(case, run.Budget(trials=4, seeds=2))
    chosen = runner.settings(METHODS["EASE"])
    trials = runner.storage.get_all_trials(0)
    assert len(trials) == 4
    assert trials[0].params == METHODS["EASE"].defaults
    assert chosen == max(trials, key=lambda trial: trial.value).params
    monkeypatch.setattr(runner, "fit", None)  # whatever is fitted again fails
    assert runner.settings(METHODS["EASE"]) == chosen


def test_the_search_sees_nothing_of_the_test(case):
    found = run.Runner(case, run.Budget(trials=2)).settings(METHODS["EASE"])
    runner = run.Runner(replace(case, name="tiny without a test"), run.Budget(trials=2))
    runner.split = runner.split._replace(test=None)
    assert runner.settings(METHODS["EASE"]) == found


def test_results_are_kept_per_seed(case):
    runner = run.Runner(case, run.Budget(trials=1, seeds=2))
    first = runner.test(METHODS["popularity"])
    assert len(first) == 2
    assert {"ndcg@10", "recall@5", "sampled ndcg@10", "seconds"} <= set(first[0].per_user)
    again = runner.test(METHODS["popularity"])
    pd.testing.assert_frame_equal(first[0].per_user, again[0].per_user)


def test_masked_items_lack_what_is_asked(case):
    features = data.masked(case, 0.5, "image", seed=0).features
    is_image = features.columns.str.startswith("image")
    assert features.loc[:, is_image].isna().all(axis=1).sum() == 30
    assert features.loc[:, ~is_image].notna().all(axis=None)


def test_the_sparse_form_has_ten_interactions_a_user(case):
    sparse = data.sparsified(case).interactions
    counts = np.asarray(case.interactions.sum(axis=0)).ravel()
    assert (np.asarray(sparse.sum(axis=0)).ravel() == np.minimum(counts, 10)).all()
    assert (case.interactions - sparse).min() == 0


def test_cold_tests_do_not_overlap_with_what_is_searched_on(case):
    runner = ColdRunner(case, run.Budget(trials=1, seeds=2))
    knn = next(method for method in COLD if method.name == "content kNN")
    results = runner.test(knn)
    assert len(results) == 2
    assert not set(runner.folds[0]) & set(np.concatenate(runner.folds[1:]))


@pytest.mark.slow
def test_every_experiment_runs(case):
    runner = run.Runner(case, run.Budget(trials=1, seeds=1))
    for family in ("stable", "official"):
        assert set(experiments.table_3(runner, family)) == {"full", "-s", "-c"}
        shares = experiments.table_6(runner, family)
        assert shares["single highest is common"].between(0, 1).all()
        assert shares["correct"].gt(0).all()
    assert set(experiments.tables_4_and_5(runner, "official")) == {"full", "con", "en", "de"}
    assert (experiments.table_4_epochs(case, "official", 0)["epochs"] >= 1).all()
    of_epochs = pd.DataFrame(experiments.figure_3a(runner, "official", epochs=(1, 2)))
    assert of_epochs["epochs"].tolist() == [1, 2]
    assert of_epochs["ndcg@10"].between(0, 1).all()
    of_shares = pd.DataFrame(experiments.figure_3b(runner, which=("both", "image"), shares=(0.5, 1.0)))
    assert len(of_shares) == 6 * 2 * 3
    assert of_shares["ndcg@10"].between(0, 1).all()
    plugged = experiments.figure_3c(runner, [METHODS["BPR++"]])
    assert set(plugged) == {("BPR++", "raw"), ("BPR++", "stable"), ("BPR++", "official")}
