"""What stands in for items that nobody took."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.kernel_ridge import KernelRidge
from sklearn.preprocessing import normalize

from modalsplit import AttentiveBPR
from modalsplit.recommend import _cold

QUICK = {"n_components": 4, "max_epochs": 2, "random_state": 0}


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 12)), (rng.random((40, 25)) < 0.3).astype(float)


def test_cold_items_are_a_kernel_ridge_regression_on_their_parts(items):
    X, taken = items
    model = AttentiveBPR(**QUICK, blocks=1, attention="mean", cold_degree=3, cold_alpha=0.7).fit(X, taken)
    cold = np.random.default_rng(1).normal(size=(5, 12))
    learned = np.hstack([model.item_vectors_, model.item_bias_[:, None]])
    oracle = KernelRidge(alpha=0.7, kernel="poly", degree=3, gamma=0.5, coef0=0.5)
    oracle.fit(normalize(X), learned - learned.mean(axis=0))
    expected = oracle.predict(normalize(cold)) + learned.mean(axis=0)
    scores = expected[:, :-1] @ model.user_embeddings_.T + expected[:, -1:]
    assert_allclose(model.decision_function(cold), scores, rtol=1e-3, atol=1e-4)


def test_fewer_landmarks_come_close(items, monkeypatch):
    X, taken = items
    X[20:] = X[:20] + 0.01 * X[20:]  # neighbours, of whom one serves
    exact = AttentiveBPR(**QUICK, blocks=1).fit(X, taken)
    monkeypatch.setattr(_cold, "MOST_LANDMARKS", 30)
    few = AttentiveBPR(**QUICK, blocks=1).fit(X, taken)
    assert few.cold_landmarks_.shape == (30, 12)
    cold = X[:5] + 0.1
    assert_allclose(few.predict(cold), exact.predict(cold), atol=0.1 * np.ptp(exact.predict(cold)))


def test_an_item_of_which_content_says_nothing_is_the_mean_item(items):
    X, taken = items
    model = AttentiveBPR(**QUICK, blocks=1, attention="mean").fit(X, taken)
    mean = model.item_vectors_.mean(axis=0) @ model.user_embeddings_.T + model.item_bias_.mean()
    assert_allclose(model.predict(np.full((1, 12), np.nan))[0], mean, rtol=1e-4, atol=1e-5)
