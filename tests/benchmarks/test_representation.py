import json
import os

import numpy as np
import pandas as pd
import pytest

from benchmarks.representation import data, heads, report, rivals, search, verdicts
from benchmarks.representation.measure import RAW, cell
from benchmarks.representation.methods import FULL, METHODS, RIVALS, ours
from benchmarks.representation.search import BY_AGREEMENT, BY_TRANSLATION, FIXED, Judge, Scaler
from benchmarks.representation.store import Key, Store
from modalsplit.datasets import make_modalities
from modalsplit.evaluate import disentanglement_score

D = 16


@pytest.fixture(scope="module")
def task():
    made = make_modalities(900, n_shared=3, n_private=4, n_features=(40, 30), random_state=0)
    views = (made.X_img, made.X_txt)
    truth = {key: made[key][600:] for key in ("shared", "private_img", "private_txt")}
    return data.Task("linear", "planted", data._rows(views, slice(600)), data._rows(views, slice(600, None)), truth)


def needs(*packages):
    for package in packages:
        pytest.importorskip(package, reason=f"the rival's package {package} is not installed")


def scores(task, fitted):
    private = (task.truth["private_img"], task.truth["private_txt"])
    out = {}
    for method in fitted:
        parts = method.parts(task.test)
        assert all(part.shape == (300, D) for part in (*parts.common, *parts.specific))
        out[method.variant] = disentanglement_score(*parts, task.truth["shared"], private, random_state=0)
    return out


@pytest.mark.parametrize("name", ["sklearn CCA", "RidgeCCA", "KCCA"])
def test_canonical_rivals_separate_linear_factors_once_their_rank_is_searched(task, name):
    if name != "sklearn CCA":
        needs("cca_zoo")
    found = scores(task, METHODS[name](task.fit, D, 0))
    assert set(found) == {FIXED, BY_TRANSLATION, BY_AGREEMENT}
    assert max(score.D_strict for score in found.values()) > 0.9


def test_pls_separates_linear_factors_in_part(task):
    found = scores(task, METHODS["PLSCanonical"](task.fit, D, 0))
    assert found[BY_AGREEMENT].D > 0.3


def test_ajive_separates_rows_that_it_was_not_fitted_on(task):
    needs("mvlearn")
    views = Scaler(task.fit)(task.fit)
    model = rivals.Ajive(7, views, 0)
    assert model.rank == 3
    common = model.shared(Scaler(task.fit)(task.test))
    np.testing.assert_allclose(
        [np.corrcoef(a, b)[0, 1] for a, b in zip(*map(np.transpose, common), strict=True)], 1, atol=0.1
    )
    found = scores(task, [search.Fitted("", lambda new: model.parts(Scaler(task.fit)(new), D))])[""]
    assert found.D_strict > 0.9


@pytest.mark.filterwarnings("ignore")  # mvlearn's own, about numpy's matrix class
def test_ajive_out_of_sample_map_gives_its_own_scores_on_the_fitted_rows(task):
    needs("mvlearn")
    from mvlearn.decomposition import AJIVE

    views = Scaler(task.fit)(task.fit)
    model = rivals.Ajive(7, views, 0)
    own = AJIVE([7, 7], n_wedin_samples=rivals.N_DRAWS, n_randdir_samples=rivals.N_DRAWS, random_state=0).fit(
        list(views)
    )
    for mine in model.shared(views):
        np.testing.assert_allclose(mine / np.sqrt(len(mine)), own.joint_scores_, atol=0.02)


def test_kernel_cca_on_all_rows_as_landmarks_is_kernel_cca():
    needs("cca_zoo")
    from cca_zoo.nonparametric import KCCA

    made = make_modalities(120, kind="quadratic", n_shared=1, n_private=2, n_features=(6, 5), random_state=0)
    views = Scaler((made.X_img, made.X_txt))((made.X_img, made.X_txt))
    trial = next(t for t in rivals.kernel_trials(2, 0, n_landmarks=120) if t.label == "rbf 1.0, shrinkage 0.1")
    ours_, theirs = (
        trial.fit(views)(views),
        KCCA(2, kernel="rbf", gamma=[1 / 6, 1 / 5], shrinkage=0.1).fit_transform(list(views)),
    )
    for mine, other in zip(ours_, theirs, strict=True):
        assert abs(np.corrcoef(mine[:, 0], other[:, 0])[0, 1]) > 0.999


@pytest.mark.parametrize("name", ["Barlow Twins", "InfoNCE", "DCCA", "DCCAE"])
def test_deep_rivals_learn_what_is_shared(task, name):
    needs(*["cca_zoo", "lightning"][: 2 if name.startswith("DCCA") else 1])
    fitted = METHODS[name](task.fit, D, 0, n_steps=120)
    found = scores(task, fitted)
    assert max(score.D for score in found.values()) > 0.5
    again = METHODS[name](task.fit, D, 0, n_steps=120)
    np.testing.assert_allclose(again[0].parts(task.test).common[0], fitted[0].parts(task.test).common[0])


def test_ours_gets_the_matrices_as_they_are_and_a_diverged_fit_still_gives_parts(task):
    assert scores(task, ours("cca", task.fit, D, 0))[""].D_strict > 0.9
    (diverged,) = ours("paper_literal", task.fit, D, 0)
    assert diverged.note == "diverged"
    assert np.isfinite(diverged.parts(task.test).common[0]).all()


def test_few_rows_with_the_same_covariance_give_the_same_cca(task):
    from sklearn.cross_decomposition import CCA

    views = Scaler(task.fit)(task.fit)
    (trial,) = rivals.sklearn_trials("CCA", 3, 0)
    fast = trial.fit(views)(Scaler(task.fit)(task.test))
    slow = CCA(3, scale=False, max_iter=5000, tol=1e-6).fit(*views).transform(*Scaler(task.fit)(task.test))
    for a, b in zip(fast, slow, strict=True):
        explained = np.linalg.svd(np.linalg.qr(a - a.mean(0))[0].T @ np.linalg.qr(b - b.mean(0))[0])[1]
        np.testing.assert_allclose(explained, 1, atol=1e-3)


def test_both_criteria_peak_at_the_planted_rank():
    rng = np.random.default_rng(0)
    s = rng.standard_normal((2000, 4))
    views = tuple(np.hstack([s, rng.standard_normal((2000, 12))]) for _ in range(2))
    judge = Judge(views, 0)
    for criterion in (judge.translation, judge.agreement):
        assert max(search.ranks(16), key=lambda k: criterion(lambda new: new, k)) == 4


def test_every_cell_has_a_file_of_its_own():
    keys = [Key(d, m, s) for d in data.NAMES for m in (RAW, *METHODS) for s in range(2)]
    assert len({key.file_name() for key in keys}) == len(keys)


def test_a_store_is_read_back_and_a_cell_belongs_to_one_process(tmp_path):
    store, key = Store(tmp_path), Key("linear", "cca", 0)
    assert store.read(key) is None
    with store.claimed(key) as mine, store.claimed(key) as other:
        assert (mine, other) == (True, False)
        assert store.is_claimed(key)
    assert not store.is_claimed(key)
    store.write(key, [{"variant": "", "D": 0.5}])
    assert store.read(key) == [{"data": "linear", "method": "cca", "seed": 0, "variant": "", "D": 0.5}]


def test_a_claim_of_a_process_that_is_gone_does_not_count(tmp_path):
    store, key = Store(tmp_path), Key("linear", "cca", 0)
    gone = os.fork()
    if not gone:
        os._exit(0)
    os.waitpid(gone, 0)
    (tmp_path / (key.file_name() + ".lock")).write_text(str(gone))
    with store.claimed(key) as mine:
        assert mine


def planted_rows(values):
    rows = []
    for method, by_seed in values.items():
        variant = BY_AGREEMENT if method in verdicts.RIVALS and method != "con" else ""
        for seed, value in enumerate(by_seed):
            row = {"data": "linear", "method": method, "variant": variant, "seed": seed, "note": "", "seconds": 1.0}
            rows.append({**row, "D": value, "D_strict": value})
    return rows


@pytest.mark.parametrize(
    ("theirs", "holds", "words"),
    [
        ([0.8, 0.8, 0.8], True, "above every rival computed; nearest RidgeCCA"),
        ([0.89, 0.91, 0.9], True, "but for ties; ties within one standard error: RidgeCCA"),
        ([0.95, 0.95, 0.951], False, "below 1 of 2 variants of rivals, the farthest RidgeCCA"),
    ],
)
def test_verdicts_tell_wins_ties_and_losses(theirs, holds, words):
    table = pd.DataFrame(planted_rows({"stable": [0.9, 0.9, 0.9], "RidgeCCA": theirs, "con": [0.0, 0.0, 0.0]}))
    found = list(verdicts.verdicts(table))
    assert len(found) == 2
    assert all(verdict.holds is holds and words in verdict.text for verdict in found)
    # Two rivals of many are no proof; a loss to one is.
    assert {verdict.word for verdict in found} == {"OPEN" if holds else "NO"}
    assert all("InfoNCE (0 of 3 seeds)" in verdict.text for verdict in found)


def test_a_verdict_is_final_with_all_rivals_in_all_seeds():
    rivals_of_all = {name: [0.5, 0.5] for name in verdicts.RIVALS}
    table = pd.DataFrame(planted_rows({"stable": [0.9, 0.9], **rivals_of_all}))
    assert {verdict.word for verdict in verdicts.verdicts(table)} == {"yes"}
    lacking = pd.DataFrame(planted_rows({"stable": [0.9, 0.9], **rivals_of_all, "KCCA": [0.5]}))
    found = list(verdicts.verdicts(lacking))
    assert {verdict.word for verdict in found} == {"OPEN"}
    assert all(verdict.text.endswith("not computed: KCCA (1 of 2 seeds)") for verdict in found)


def test_a_loss_within_the_chance_of_the_data_is_a_tie():
    of_all = {name: [0.5, 0.5, 0.5] for name in verdicts.RIVALS}
    ours = [0.8, 0.9, 0.85]
    close = {**of_all, "RidgeCCA": [value + 0.001 for value in ours]}
    found = list(verdicts.verdicts(pd.DataFrame(planted_rows({"stable": ours, **close}))))
    assert {(verdict.word, verdict.holds) for verdict in found} == {("tie", True)}
    assert all("by less than the standard error of both means" in verdict.text for verdict in found)
    far = {**of_all, "RidgeCCA": [value + 0.1 for value in ours]}
    assert {v.word for v in verdicts.verdicts(pd.DataFrame(planted_rows({"stable": ours, **far})))} == {"NO"}


def test_the_page_has_a_row_a_variant_and_the_exit_code_tells(tmp_path, capsys):
    theirs = {name: [0.5, 0.5] for name in verdicts.RIVALS}
    rows = planted_rows({"stable": [0.9, 0.92], "cca": [0.9, 0.9], **theirs})
    assert report.finish(rows, [], [], 2, tmp_path) == 0
    page = (tmp_path / "representation.md").read_text()
    assert "| stable | 0.910 ± 0.014 |" in page
    assert "| RidgeCCA, rank by agreement | 0.500 ± 0.000 |" in page
    assert len(pd.read_csv(tmp_path / "representation.csv")) == len(rows)
    assert report.finish(rows, [Key("raw", "cca", 0)], [], 2, None) == 1
    assert "1 cells are not computed: raw, cca, seed 0" in capsys.readouterr().out


@pytest.mark.parametrize("several", [False, True])
def test_real_tasks_are_probed_and_searched(several):
    made = make_modalities(300, n_shared=3, n_private=4, n_features=(20, 15), random_state=0)
    labels = (made.shared > 0).astype(int) if several else (made.shared[:, 0] > 0).astype(int)
    views = (made.X_img, made.X_txt)
    truth = {"fit": labels[:200], "test": labels[200:]}
    task = data.Task("any", "real", data._rows(views, slice(200)), data._rows(views, slice(200, None)), truth)
    (raw,), (row,) = cell(task, RAW, 0), cell(task, "cca", 0, 8)
    assert row["logistic of common"] > 0.8
    assert raw["logistic of raw"] > 0.8
    assert row["Recall@10 by common"] > 0.8
    assert row["Recall@10 by specific"] < 0.3
    assert ("mAP image→text by common" in row) is not several
    json.dumps([raw, row])


def test_rivals_are_all_but_the_default_in_both_forms_and_its_closed_form():
    assert set(RIVALS) == set(METHODS) - {"stable", FULL, "cca"}
    assert set(heads.RATES)
    assert len(heads.RATES) == len(rivals.SHRINKAGES) == 3
