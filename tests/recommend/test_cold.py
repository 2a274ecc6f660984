"""What stands in for items that nobody took."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import normalize

from modalsplit import AttentiveBPR
from modalsplit.evaluate import evaluate
from modalsplit.recommend import _cold

QUICK = {"n_components": 4, "max_epochs": 2, "random_state": 0}


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 12)), (rng.random((40, 25)) < 0.3).astype(float)


@pytest.mark.parametrize("attention", ["mean", "item"])
def test_cold_items_are_a_kernel_ridge_regression_on_their_parts(items, attention):
    X, taken = items
    model = AttentiveBPR(**QUICK, blocks=1, attention=attention, cold_degree=3, cold_alpha=0.7).fit(X, taken)
    cold = np.random.default_rng(1).normal(size=(5, 12))
    learned = np.hstack([model.item_vectors_, model.item_bias_[:, None]])
    oracle = KernelRidge(alpha=0.7, kernel="poly", degree=3, gamma=0.5, coef0=0.5)
    oracle.fit(normalize(X), learned - learned.mean(axis=0))
    expected = oracle.predict(normalize(cold)) + learned.mean(axis=0)
    scores = expected[:, :-1] @ model.user_embeddings_.T + expected[:, -1:]
    assert_allclose(model.decision_function(cold), scores, rtol=1e-3, atol=1e-4)


def test_of_more_items_those_taken_most_serve(items, monkeypatch):
    X, taken = items
    monkeypatch.setattr(_cold, "MOST_LANDMARKS", 30)
    model = AttentiveBPR(**QUICK, blocks=1).fit(X, taken)
    most = np.sort(taken.sum(axis=1))[::-1][:30]
    assert_allclose(model.cold_landmarks_, normalize(X)[np.argsort(-taken.sum(axis=1), kind="stable")[:30]], rtol=1e-5)
    assert most[-1] > taken.sum(axis=1).min()


def test_a_modality_that_tells_nothing_counts_little():
    rng = np.random.default_rng(0)
    telling, noise = rng.normal(size=(300, 6)), 10 * rng.normal(size=(300, 6))
    liking = rng.normal(size=(6, 120))
    taken = (telling @ liking > np.quantile(telling @ liking, 0.9, axis=0)).astype(float)
    params = {"n_components": 8, "max_epochs": 20, "random_state": 0}
    both = np.hstack([noise, telling])
    model = AttentiveBPR(**params, blocks=2).fit(both[:250], taken[:250])
    assert_allclose(model.cold_shares_.sum(), 1, rtol=1e-6)
    assert model.cold_shares_[1] > 0.8

    def ndcg(fitted, X):
        return evaluate(fitted.decision_function(X[250:]), taken[250:]).per_user["ndcg@10"].mean()

    alone = AttentiveBPR(**params, blocks=1).fit(telling[:250], taken[:250])
    together = AttentiveBPR(**params, blocks=1).fit(both[:250], taken[:250])
    assert ndcg(model, both) > 0.95 * ndcg(alone, telling) > 1.2 * ndcg(together, both)


def test_a_common_and_a_specific_part_are_one_modality(items):
    X, taken = items
    columns = [f"{part}__{i}" for part in ("a_common", "b_common", "a_specific", "b_specific") for i in range(3)]
    model = AttentiveBPR(**QUICK).fit(pd.DataFrame(X, columns=columns), taken)
    assert model.cold_shares_.shape == (2,)


def test_error_of_rows_left_out_is_that_of_leaving_each_out():
    rng = np.random.default_rng(0)
    x, targets, alpha = rng.normal(size=(12, 4)), rng.normal(size=(12, 3)), 0.5
    targets -= targets.mean(axis=0)
    gram = x @ x.T
    errors = []
    for i in range(12):
        rest = np.arange(12) != i
        oracle = KernelRidge(alpha=alpha, kernel="precomputed").fit(gram[np.ix_(rest, rest)], targets[rest])
        errors.append(np.square(oracle.predict(gram[[i]][:, rest]) - targets[i]).sum())
    assert_allclose(_cold._left_out_error(gram, targets, np.eye(3), alpha), np.mean(errors), rtol=1e-10)


def test_an_item_of_which_content_says_nothing_is_the_mean_item(items):
    X, taken = items
    model = AttentiveBPR(**QUICK, blocks=1, attention="mean").fit(X, taken)
    mean = model.item_vectors_.mean(axis=0) @ model.user_embeddings_.T + model.item_bias_.mean()
    assert_allclose(model.predict(np.full((1, 12), np.nan))[0], mean, rtol=1e-4, atol=1e-5)
