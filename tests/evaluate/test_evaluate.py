import sys
import tracemalloc
from subprocess import run

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from modalsplit import Interactions
from modalsplit.baselines import ALS, Popularity
from modalsplit.evaluate import (
    DotProduct,
    Evaluation,
    dot_product,
    evaluate,
    ndcg_at_k,
    recall_at_k,
    split_interactions,
)
from modalsplit.recommend import AttentiveBPR


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    Y = Interactions(
        rng.random((50, 80)) < 0.2,
        item_ids=[f"i{i}" for i in range(50)],
        user_ids=[f"u{u}" for u in range(80)],
    )
    return split_interactions(Y, random_state=0)


@pytest.fixture
def scores():
    return np.random.default_rng(1).random((50, 80))


def test_per_user_values_are_the_metrics_indexed_by_user(parts, scores):
    train, valid, test = parts
    per_user = evaluate(scores, test, seen=train + valid, k=[5, 10]).per_user
    assert per_user.columns.tolist() == ["recall@5", "ndcg@5", "recall@10", "ndcg@10"]
    assert per_user.index.tolist() == test.user_ids.tolist()
    np.testing.assert_array_equal(per_user["ndcg@5"], ndcg_at_k(scores, test, 5, seen=train + valid))
    np.testing.assert_array_equal(per_user["recall@10"], recall_at_k(scores, test, 10, seen=train + valid))


def test_only_the_metrics_and_users_asked_for_are_judged(parts, scores):
    found = evaluate(scores, parts[2], metrics=["recall"], users=[7, 3]).per_user
    assert found.index.tolist() == ["u7", "u3"]
    assert found.columns.tolist() == ["recall@10"]
    np.testing.assert_array_equal(found["recall@10"], recall_at_k(scores, parts[2])[[7, 3]])


def test_users_without_held_out_items_are_left_out_or_zero():
    held_out = np.array([[1, 0], [0, 0]])
    assert evaluate(np.ones((2, 2)), held_out).per_user.index.tolist() == [0]
    assert evaluate(np.ones((2, 2)), held_out, empty="zero").per_user["ndcg@10"].tolist()[1] == 0


def test_a_recommender_is_scored_in_blocks_and_its_training_items_are_masked(parts):
    train, valid, test = parts
    model = Popularity().fit(np.zeros((50, 1)), train)
    expected = np.repeat(train.sum(axis=1)[:, None], 80, axis=1)
    for seen in (None, train + valid):
        found = evaluate(model, test, seen=seen, block=32).per_user["ndcg@10"]
        np.testing.assert_allclose(found, ndcg_at_k(expected, test, seen=train if seen is None else seen))


@pytest.mark.parametrize("moved", ["item_ids", "user_ids"])
def test_held_out_interactions_must_have_the_ids_of_the_recommender(parts, moved):
    train, _, test = parts
    model = Popularity().fit(np.zeros((50, 1)), train)
    other = test.copy()
    setattr(other, moved, getattr(test, moved)[::-1])
    with pytest.raises(ValueError, match=f"{moved} of held_out are not those that Popularity was fitted on"):
        evaluate(model, other)


def test_the_summary_holds_mean_and_bootstrap_interval():
    values = np.random.default_rng(0).exponential(size=(500, 1))
    found = Evaluation(pd.DataFrame(values, columns=["ndcg@10"]))
    row = found.summary(random_state=0).loc["ndcg@10"]
    assert row["mean"] == pytest.approx(values.mean())
    assert row["n_users"] == 500
    half = 1.96 * values.std() / np.sqrt(500)
    assert row["low"] == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert row["high"] == pytest.approx(values.mean() + half, abs=0.15 * half)
    narrower = found.summary(confidence_level=0.5, random_state=0).loc["ndcg@10"]
    assert row["low"] < narrower["low"] < narrower["high"] < row["high"]


def test_a_seed_repeats_the_interval(parts, scores):
    found = evaluate(scores, parts[2])
    pd.testing.assert_frame_equal(found.summary(random_state=3), found.summary(random_state=3))


def test_an_interval_needs_two_users(scores, parts):
    with pytest.raises(ValueError, match="at least two users, but 1 were judged"):
        evaluate(scores, parts[2], users=[0]).summary()


def test_an_unknown_metric_is_named_in_the_error(scores, parts):
    with pytest.raises(ValueError, match=r"metrics may be \['recall', .*, but \['auc'\] was given"):
        evaluate(scores, parts[2], metrics=["auc"])


def test_judging_loads_no_torch():
    code = "import sys, modalsplit.evaluate, modalsplit.datasets; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("metrics", [["ndcg"], ["ndcg", "map", "novelty", "coverage"]])
def test_memory_does_not_grow_with_users_times_items(metrics):
    rng = np.random.default_rng(0)
    items, peaks = rng.standard_normal((2000, 4)), []
    for n_users in (500, 4000):
        users = np.arange(n_users)
        held_out = sparse.csr_array((np.ones(n_users), (users % 2000, users)), shape=(2000, n_users))
        score = dot_product(rng.standard_normal((n_users, 4)), items)
        tracemalloc.start()
        evaluate(score, held_out, seen=sparse.csr_array(held_out.shape), metrics=metrics, block=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    more_scores = 3500 * 2000 * 8
    assert peaks[1] - peaks[0] < more_scores / 20


def test_a_dot_product_scores_users_by_vectors():
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((9, 3)), rng.standard_normal((7, 3))
    score = dot_product(users, items)
    for asked in ([0, 5], [1], [8, 2, 3, 3]):
        np.testing.assert_allclose(score(np.array(asked)), users[asked] @ items.T)
    with pytest.raises(ValueError, match=r"users has shape \(9, 3\) and items \(7, 2\)"):
        dot_product(users, items[:, :2])
    np.testing.assert_allclose(
        dot_product(users, items, np.arange(7))(np.array([3])), users[[3]] @ items.T + np.arange(7)
    )
    with pytest.raises(ValueError, match=r"biases has shape \(9,\), but there are 7 items"):
        dot_product(users, items, np.ones(9))


@pytest.fixture
def vectors():
    """Vectors of users, vectors and biases of items; many items equal others, so that scores tie."""
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((300, 6)), rng.standard_normal((640, 6))
    users, items = users.astype(np.float32), items.astype(np.float32)
    items[:160] = items[160:320]
    return users, items, rng.standard_normal(640).astype(np.float32).round(1)


@pytest.fixture
def others(vectors):
    """What 300 users took of 640 items, and what is held out: nothing of some users, what is on top of some."""
    rng = np.random.default_rng(1)
    taken = rng.random((640, 300)) < 0.02
    held_out = rng.random((640, 300)) < 0.004
    users, items, biases = vectors
    for user in range(0, 300, 6):
        held_out[rng.choice(np.argsort(users[user] @ items.T + biases)[-6:], 3), user] = True
    held_out &= ~taken
    return taken, held_out


class Spied:
    """Counts which users are scored."""

    def __init__(self, monkeypatch, owner, name):
        self.users, original = [], getattr(owner, name)

        def spied(model, users):
            self.users += list(users)
            return original(model, users)

        monkeypatch.setattr(owner, name, spied)


@pytest.mark.parametrize("options", [{}, {"ties": "pessimistic"}, {"empty": "zero"}, {"users": range(51, 250, 3)}])
@pytest.mark.parametrize("k", [1, [3, 10]])
@pytest.mark.parametrize("biased", [False, True])
def test_users_that_are_passed_over_are_judged_the_same(vectors, others, monkeypatch, options, k, biased):
    users, items, biases = vectors
    biases = biases if biased else np.zeros_like(biases)
    seen, held_out = others
    metrics = ["recall", "ndcg", "mrr", "map", "precision", "hit_rate", "recall_capped"]
    options = {"seen": seen, "k": k, "metrics": metrics, "block": 32} | options
    wanted = evaluate(lambda some: users[some] @ items.T + biases, held_out, **options)
    spied = Spied(monkeypatch, DotProduct, "__call__")
    found = evaluate(dot_product(users, items, biases if biased else None), held_out, **options)
    assert_frame_equal(found.per_user, wanted.per_user)
    n_judged = np.count_nonzero(held_out[:, list(options.get("users", range(300)))].any(axis=0))
    assert len(spied.users) < 0.9 * n_judged
    assert wanted.per_user.to_numpy().max() > 0


def test_what_rounding_could_turn_is_scored(monkeypatch):
    # All items are as good as the held-out one, to the last bits of the sums.
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(40).astype(np.float32)
    items = np.tile(direction, (320, 1)) * (1 + 1e-7 * rng.standard_normal((320, 1)).astype(np.float32))
    users = np.tile(direction, (10, 1))
    held_out = np.zeros((320, 10), dtype=bool)
    held_out[7] = True
    spied = Spied(monkeypatch, DotProduct, "__call__")
    evaluate(dot_product(users, items), held_out, k=5)
    assert len(spied.users) == 10


def test_users_without_held_out_items_are_not_scored(others):
    seen, held_out = others
    asked = []

    def score(users):
        asked.extend(users.tolist())
        return np.zeros((len(users), 640))

    evaluate(score, held_out, seen=seen)
    assert asked == np.flatnonzero(held_out.any(axis=0)).tolist()
    asked.clear()
    evaluate(score, held_out, seen=seen, metrics=["ndcg", "coverage"])
    assert asked == list(range(300))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["users", "items"])
def test_vectors_whose_scores_are_nan_are_refused(vectors, others, value, where):
    given = {"users": vectors[0].copy(), "items": vectors[1].copy()}
    given[where][:, 0], given[where][:, 1] = value, -value
    given["items" if where == "users" else "users"][:, :2] = 1e10
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="scores are NaN"):
        evaluate(dot_product(**given), others[1], seen=others[0])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64])
def test_vectors_of_any_type_are_judged_by_their_scores(vectors, others, dtype):
    users, items = ((4 * part).round().astype(dtype) for part in vectors[:2])
    found = evaluate(dot_product(users, items), others[1], seen=others[0])
    assert_frame_equal(found.per_user, evaluate(lambda some: users[some] @ items.T, others[1], seen=others[0]).per_user)


@pytest.mark.parametrize("model", [ALS(4, random_state=0), AttentiveBPR(4, parts=None, max_epochs=2, random_state=0)])
def test_recommenders_of_vectors_are_judged_as_by_all_their_scores(others, model, monkeypatch):
    seen, held_out = others
    model.fit(np.ones((640, 1)), seen)
    wanted = evaluate(model._score_users(np.arange(300)).T, held_out, seen=seen)
    spied = Spied(monkeypatch, type(model), "_score_users")
    found = evaluate(model, held_out)
    np.testing.assert_allclose(found.per_user, wanted.per_user, rtol=0, atol=1e-12)
    assert len(spied.users) < np.count_nonzero(held_out.any(axis=0))


def test_seen_must_have_the_ids_of_what_is_held_out(parts, scores):
    train, _, test = parts
    moved = Interactions(train.toarray()[:, ::-1], item_ids=train.item_ids, user_ids=train.user_ids[::-1])
    for judge in (evaluate, recall_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match="user_ids of held_out and seen differ"):
            judge(scores, test, seen=moved)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"metrics": "ndcg"}, ValueError, r"write \['ndcg'\]"),
        ({"k": 2.0}, TypeError, "whole number of items"),
        ({"k": []}, ValueError, "at least one length"),
        ({"users": ["u1"]}, ValueError, "list of positions"),
        ({"users": np.ones(80, dtype=bool)}, ValueError, "flatnonzero"),
        ({"users": [80]}, ValueError, "0 to 79"),
        ({"block": 0}, ValueError, "block=0"),
        ({"ideal": "x", "metrics": ["recall"]}, ValueError, "ideal must be one of"),
        ({"empty": "x", "metrics": ["novelty"]}, ValueError, "empty must be one of"),
    ],
)
def test_what_is_wrong_with_the_input_is_said(parts, scores, given, error, message):
    train, _, test = parts
    with pytest.raises(error, match=message):
        evaluate(scores, test, seen=train, **given)


def test_no_users_are_no_rows(parts, scores):
    assert evaluate(scores, parts[2], users=[]).per_user.shape == (0, 2)


@pytest.mark.parametrize("model", [Popularity(), make_pipeline(Popularity())], ids=repr)
def test_a_recommender_must_be_fitted(parts, model):
    with pytest.raises(NotFittedError):
        evaluate(model, parts[2])


def test_other_estimators_must_give_scores(parts):
    with pytest.raises(TypeError, match="Ridge is no Recommender"):
        evaluate(Ridge(), parts[2])
