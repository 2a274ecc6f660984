"""Tuning and testing in the benchmark of the paper's tables."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optuna", reason="the paper's benchmark needs optuna")
pytest.importorskip("matplotlib", reason="the paper's benchmark draws with matplotlib")

from benchmarks.paper import data, experiments, plots, quick
from benchmarks.paper.cold import METHODS as COLD
from benchmarks.paper.cold import ColdRunner
from benchmarks.paper.kept import Kept
from benchmarks.paper.methods import ALL, OURS
from benchmarks.paper.run import Budget, Runner
from benchmarks.paper.sections import SECTIONS, Run, page
from modalsplit import Interactions
from modalsplit.evaluate import evaluate

METHODS = {method.name: method for method in ALL}


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path)
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


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "kept", "tiny")


def reread(kept):
    return Kept(kept.fits_file.parent, "tiny")


def test_the_search_takes_the_best_trial_and_is_not_repeated(case, kept):
    chosen = Runner(case, Budget(trials=4), kept).settings(METHODS["EASE"])
    (search,) = json.loads(kept.searches_file.read_text()).values()
    assert len(search["trials"]) == 4
    assert search["trials"][0]["settings"] == METHODS["EASE"].defaults
    assert chosen == max(search["trials"], key=lambda trial: trial["value"])["settings"]
    again = Runner(case, Budget(trials=4), reread(kept), compute=False)
    assert again.settings(METHODS["EASE"]) == chosen


def test_a_search_that_was_interrupted_goes_on_as_it_would_have(case, kept, tmp_path):
    budget = Budget(trials=6)
    Runner(case, Budget(trials=5), kept).settings(METHODS["EASE"])
    Runner(case, budget, reread(kept)).settings(METHODS["EASE"])
    whole = Kept(tmp_path / "whole", "tiny")
    Runner(case, budget, whole).settings(METHODS["EASE"])

    def tried(of):
        return [(trial["settings"], trial["value"]) for trial in next(iter(of.searches.values()))["trials"]]

    assert tried(reread(kept)) == tried(whole)


def test_the_search_sees_nothing_of_the_test(case, kept, tmp_path):
    found = Runner(case, Budget(trials=2), kept).settings(METHODS["EASE"])
    runner = Runner(case, Budget(trials=2), Kept(tmp_path / "other", "tiny"))
    runner.split = runner.split._replace(test=None)
    assert runner.settings(METHODS["EASE"]) == found


def test_fits_are_kept_with_the_values_of_users(case, kept):
    budget = Budget(trials=1, seeds=2)
    first = Runner(case, budget, kept).test(METHODS["ALS"])
    assert len(first) == 2
    assert {"ndcg@10", "recall@5", "sampled ndcg@10", "ndcg@10 error", "seconds"} <= set(first[0].means.index)
    assert first[0].users.mean() == pytest.approx(first[0].ndcg, abs=1e-3)
    again = Runner(case, budget, reread(kept), compute=False).test(METHODS["ALS"])
    for new, old in zip(again, first, strict=True):
        pd.testing.assert_series_equal(new.means, old.means, check_names=False)
        pd.testing.assert_series_equal(new.users, old.users, check_names=False)


def test_what_is_not_kept_is_named_where_nothing_is_to_be_computed(case, kept):
    runner = Runner(case, Budget(), kept, compute=False)
    assert runner.test(METHODS["ALS"]) == []
    assert runner.left_out == ["search fold 0: ALS on none"]


def test_a_data_set_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="no-such-folder does not exist"):
        data.load("clothing", tmp_path / "no-such-folder")


def test_masked_items_lack_what_is_asked(case):
    features = data.masked(case, 0.5, "image", seed=0).features
    is_image = features.columns.str.startswith("image")
    assert features.loc[:, is_image].isna().all(axis=1).sum() == 30
    assert features.loc[:, ~is_image].notna().all(axis=None)


def test_masked_modalities_have_the_names_of_the_data(case, kept, monkeypatch):
    monkeypatch.setattr(experiments, "_masked", lambda *arguments: 0.5)
    named = case.features.rename(columns=lambda column: column.replace("image", "profile"))
    runner = Runner(replace(case, features=named), Budget(trials=1), kept)
    rows = experiments.figure_3b(runner, [METHODS["BPR++"]], [0.5])
    assert list(dict.fromkeys(row["masked"] for row in rows)) == ["both", "profile", "text"]


def test_the_sparse_form_has_ten_interactions_a_user(case):
    sparse = data.sparsified(case).interactions
    counts = np.asarray(case.interactions.sum(axis=0)).ravel()
    assert (np.asarray(sparse.sum(axis=0)).ravel() == np.minimum(counts, 10)).all()
    assert (case.interactions - sparse).min() == 0


def test_what_sparsifying_took_away_judges_the_sparse_form(case, kept):
    few = data.sparsified(case)
    others, test = np.asarray(few.others.todense()), np.asarray(case.split.test.todense())
    assert others.sum() > 0
    assert (others <= test).all()
    assert not (others * np.asarray(few.interactions.todense())).any()
    runner = Runner(few, Budget(trials=1, seeds=1), kept)
    (found,) = runner.judge_others(METHODS["EASE"])
    model = runner.fit(METHODS["EASE"], METHODS["EASE"].defaults, 1)
    expected = evaluate(model, few.others, seen=few.interactions, k=10).per_user["ndcg@10"].mean()
    assert found.ndcg == pytest.approx(expected, abs=1e-5)
    run = Run([runner], ColdRunner(case, runner.budget, kept), [METHODS["EASE"]], [], kept.fits_file.parent, "tiny")
    assert f"{int(others.sum())} of {int(others.any(axis=0).sum())} users" in page(run, [], "a command")


def test_the_figure_of_plugged_parts_leaves_room_for_what_is_not_run_yet(tmp_path):
    rows = [("BPR++", "raw features", 0.1), ("BPR++", "stable parts", 0.2), ("MMGCN", "raw features", 0.3)]
    plots.plugged(pd.DataFrame(rows, columns=["method", "content", "ndcg@10"]), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_cold_tests_do_not_overlap_with_what_is_searched_on(case, kept):
    runner = ColdRunner(case, Budget(trials=1, seeds=2), kept)
    knn = next(method for method in COLD if method.name == "content kNN")
    results = runner.test(knn)
    assert len(results) == 2
    assert not set(runner.folds[0]) & set(np.concatenate(runner.folds[1:]))


def test_a_part_of_the_page_is_run_and_the_rest_is_named(case, kept):
    methods = [METHODS[name] for name in ("popularity", "EASE", OURS)]
    budget = Budget(trials=1, seeds=2, epochs=1)
    folds = [Runner(replace(case, fold=fold), budget, kept) for fold in (0, 1)]
    run = Run(folds, ColdRunner(case, budget, kept), methods, [], kept.fits_file.parent, "tiny", (1,), (1.0,))
    text = page(run, ["table-1", "table-2", "table-6"], "a command")
    for name, (title, _) in SECTIONS.items():
        assert (f"## {title}" in text) == (name != "table-2-others")  # which the sparse form alone has
    assert "Folds for the test: 0, 1" in text
    rows = pd.read_csv(run.folder / "tiny-table-2.csv")
    assert rows.groupby("method").size().to_dict() == {"popularity": 4, "EASE": 4, OURS: 4}
    assert set(pd.read_csv(run.folder / "tiny-table-2-compared.csv")["rival"]) == {"popularity", "EASE"}
    assert "(`--only figure-3b`)" in text


@pytest.mark.slow
def test_the_command_makes_every_table_and_figure(case, kept):
    methods = [method for method in ALL if method.name != "VECF"]
    case = replace(case, encoder={"max_epochs": 2})
    budget = Budget(trials=1, seeds=1, epochs=1)
    cold = ColdRunner(case, budget, Kept(kept.fits_file.parent, "tiny-cold"))
    run = Run([Runner(case, budget, kept)], cold, methods, COLD, kept.fits_file.parent, "tiny", quick.EPOCHS, (1.0,))
    text = page(run, list(SECTIONS), "a command")
    assert "Nothing yet" not in text
    assert "Not run yet" not in text
    for name in ("table-2", "table-3", "tables-4-5", "table-6", "figure-3a", "figure-3b", "figure-3c", "cold"):
        assert len(pd.read_csv(run.folder / f"tiny-{name}.csv")), name
    for name in ("figure-3a", "figure-3b", "figure-3c"):
        assert (run.folder / f"tiny-{name}.png").read_bytes().startswith(b"\x89PNG"), name


def test_a_method_has_one_colour_in_all_panels(tmp_path, monkeypatch):
    rows = [("a", "both"), ("b", "both"), ("b", "text")]
    table = pd.DataFrame([(method, mask, share, 0.1) for method, mask in rows for share in (0.0, 1.0)])
    table.columns = ["method", "masked", "share", "ndcg@10"]
    drawn = {}
    monkeypatch.setattr(plots, "_line", lambda ax, of, x, label, color: drawn.setdefault(label, set()).add(color))
    monkeypatch.setattr(plots, "_save", lambda *given: None)
    plots.shares(table, tmp_path / "figure.png")
    assert len(drawn["b"]) == 1
    assert drawn["a"] != drawn["b"]
