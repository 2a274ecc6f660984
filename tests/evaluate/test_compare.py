import numpy as np
import pandas as pd
import pytest
from scipy import stats

from modalsplit.evaluate import Evaluation, average_users, compare, evaluate, holm, seed_sweep


def evaluation(values, name="ndcg@10", index=None):
    return Evaluation(pd.DataFrame({name: values}, index=index))


@pytest.fixture
def three():
    rng = np.random.default_rng(0)
    base = rng.random(400)
    users = [f"u{u}" for u in range(400)]
    return {
        "ours": evaluation(base + 0.05 + 0.1 * rng.standard_normal(400), index=users),
        "close": evaluation(base + 0.04 + 0.1 * rng.standard_normal(400), index=users),
        "far": evaluation(base + 0.1 * rng.standard_normal(400), index=users),
    }


def test_rows_are_the_tests_of_scipy(three):
    found = compare(three, random_state=0)
    assert found.index.tolist() == [("ndcg@10", "close"), ("ndcg@10", "far")]
    ours = three["ours"].per_user["ndcg@10"]
    for _, rival in found.index:
        row, theirs = found.loc["ndcg@10", rival], three[rival].per_user["ndcg@10"]
        difference = ours - theirs
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["p_t"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
        assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(ours, theirs).pvalue)
        assert row["effect_size"] == pytest.approx(difference.mean() / difference.std())
        half = 1.96 * difference.std() / 20
        assert row["low"] == pytest.approx(difference.mean() - half, abs=0.2 * half)
        assert row["high"] == pytest.approx(difference.mean() + half, abs=0.2 * half)
        assert row["n_users"] == 400
    for test in ("p_t", "p_wilcoxon"):
        np.testing.assert_allclose(found[f"{test}_holm"], holm(found[test]))


def test_the_reference_can_be_any(three):
    one, other = compare(three, random_state=0), compare(three, reference="far", random_state=0)
    assert other.loc[("ndcg@10", "ours"), "difference"] == pytest.approx(-one.loc[("ndcg@10", "far"), "difference"])


def test_equal_results_do_not_differ():
    same = evaluation(np.random.default_rng(0).random(50))
    row = compare({"a": same, "b": same}).iloc[0]
    assert row[["difference", "low", "high", "effect_size"]].tolist() == [0, 0, 0, 0]
    assert row[["p_t", "p_wilcoxon", "p_t_holm"]].tolist() == [1, 1, 1]


def test_under_the_null_five_percent_are_found_before_and_fewer_after_correction():
    rng = np.random.default_rng(0)
    raw, corrected = [], []
    for _ in range(200):
        found = compare({name: evaluation(rng.standard_normal(40)) for name in "abcde"}, n_resamples=2)
        raw.append((found["p_t"] < 0.05).any())
        corrected.append((found["p_t_holm"] < 0.05).any())
    assert np.mean(corrected) < 0.1 < np.mean(raw)


def test_holm_is_its_step_down_definition():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7):
        p = rng.random(n).round(1) ** 2  # with ties
        corrected = holm(p)
        for level in (0.01, 0.05, 0.2, 0.5):
            rejected = np.zeros(n, dtype=bool)
            for step, i in enumerate(np.argsort(p)):
                if p[i] > level / (n - step):
                    break
                rejected[i] = True
            np.testing.assert_array_equal(corrected <= level + 1e-12, rejected)


def test_holm_corrects_as_r_does():
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") in R."""
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])


def test_folds_are_averaged_for_each_user_first(three):
    shifted = {name: [e, Evaluation(e.per_user + 0.5)] for name, e in three.items()}
    pd.testing.assert_frame_equal(compare(shifted, random_state=0), compare(three, random_state=0))


def test_a_user_is_averaged_over_the_folds_that_have_one():
    found = average_users([evaluation([1.0, 2], index=["a", "b"]), evaluation([4.0], index=["b"])])
    assert found.per_user["ndcg@10"].to_dict() == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ({"a": evaluation([1.0, 2])}, {}, "at least two results, but 1"),
        ({"a": evaluation([1.0, 2]), "b": evaluation([1.0, 2])}, {"reference": "c"}, "reference='c' is not among"),
        ({"a": evaluation([1.0, 2]), "b": evaluation([1.0])}, {}, r"judge different users \(2 and 1\)"),
        ({"a": evaluation([1.0, 2]), "b": evaluation([1.0, 2], "recall@5")}, {}, "different metrics"),
        ({"a": evaluation([1.0]), "b": evaluation([2.0])}, {}, "at least two users, but 1"),
        ({"a": [], "b": evaluation([2.0])}, {}, "No results were given"),
    ],
)
def test_what_cannot_be_compared_is_refused(results, options, message):
    with pytest.raises(ValueError, match=message):
        compare(results, **options)


@pytest.mark.parametrize("p", [[0.5, 1.2], [[0.5]], [np.nan]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm(p)


def test_a_sweep_runs_each_seed_and_has_students_interval():
    held_out, asked = np.eye(40, 20), []

    def run(seed):
        asked.append(seed)
        scores = np.random.default_rng(seed).random((40, 20))
        return evaluate(scores, held_out, seen=np.zeros((40, 20)), metrics=["ndcg", "coverage"])

    sweep = seed_sweep(run, [3, 5, 7, 9])
    assert asked == [3, 5, 7, 9]
    assert sweep.per_seed.shape == (4, 2)
    row, values = sweep.summary().loc["ndcg@10"], sweep.per_seed["ndcg@10"]
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    assert row[["mean", "sd", "low", "high", "n_seeds"]].tolist() == pytest.approx(
        [values.mean(), values.std(), interval.low, interval.high, 4]
    )


@pytest.mark.parametrize("seeds", [[1], [1, 2, 1], []])
def test_seeds_must_be_several_and_different(seeds):
    with pytest.raises(ValueError, match="two or more different numbers"):
        seed_sweep(lambda seed: evaluation([1.0]), seeds)
