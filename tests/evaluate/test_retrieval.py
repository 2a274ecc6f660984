import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from modalsplit.evaluate import _retrieval, retrieval_map, retrieval_recall_at_k


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def cosines(a, b):
    return cosine_similarity(a - a.mean(axis=0), b - b.mean(axis=0))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_recall_matches_a_sort_of_cosines(rng, k):
    a = rng.normal(size=(40, 5)) + 3
    b = a + rng.normal(size=a.shape)
    ranked = np.argsort(-cosines(a, b), axis=1)
    expected = np.mean([i in ranked[i, :k] for i in range(40)])
    assert retrieval_recall_at_k(a, b, k) == pytest.approx(expected)
    assert 0 < expected <= 1


def test_recall_of_zeros_is_chance():
    assert retrieval_recall_at_k(np.zeros((50, 3)), np.zeros((50, 3)), 1) == pytest.approx(1 / 50)
    assert retrieval_recall_at_k(np.full((50, 3), 0.1), np.eye(50)[:, :3], 10) == pytest.approx(10 / 50)


def test_ties_count_as_expected_under_random_order(rng):
    a = rng.integers(0, 2, size=(9, 3)).astype(float)
    b = rng.integers(0, 2, size=(9, 3)).astype(float)
    found = np.round(cosines(a, b), 9)
    draws = []
    for _ in range(4000):
        ranked = np.lexsort([rng.random(found.shape), -found], axis=1)
        draws.append(np.mean([i in ranked[i, :2] for i in range(9)]))
    assert retrieval_recall_at_k(a, b, 2) == pytest.approx(np.mean(draws), abs=0.01)


def test_one_column_finds_no_item_by_cosine(rng):
    a = rng.normal(size=(100, 1))
    assert retrieval_recall_at_k(a, a, 1) < 0.03


def test_blocks_of_queries_change_nothing(rng, monkeypatch):
    a, b = rng.normal(size=(2, 30, 4))
    labels = rng.integers(0, 3, size=30)
    whole = retrieval_recall_at_k(a, b, 3), retrieval_map(a, b, labels, labels)
    monkeypatch.setattr(_retrieval, "CELLS_IN_A_BLOCK", 70)
    assert (retrieval_recall_at_k(a, b, 3), retrieval_map(a, b, labels, labels)) == pytest.approx(whole)


def test_map_matches_scikit_learn(rng):
    a, b = rng.normal(size=(20, 4)), rng.normal(size=(35, 4))
    ours, theirs = rng.integers(0, 3, size=20), rng.integers(0, 3, size=35)
    found = cosines(a, b)
    expected = np.mean([average_precision_score(theirs == ours[i], found[i]) for i in range(20)])
    assert retrieval_map(a, b, ours, theirs) == pytest.approx(expected)


def test_map_of_ties_is_the_mean_over_all_orders():
    candidates = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-3.0, 0.0]])
    queries, labels = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array(["a", "b", "a", "a"])
    relevant = labels == "a"
    expected = np.mean([precision([*relevant[list(order)], relevant[3]]) for order in itertools.permutations(range(3))])
    backwards = np.mean(
        [precision([relevant[3], *relevant[list(order)]]) for order in itertools.permutations(range(3))]
    )
    found = retrieval_map(queries, candidates, ["a", "a"], labels)
    assert found == pytest.approx((expected + backwards) / 2)


def precision(relevant):
    return np.mean([np.mean(relevant[: i + 1]) for i in range(len(relevant)) if relevant[i]])


def test_map_takes_several_labels_an_item(rng):
    a = rng.normal(size=(15, 3))
    classes = rng.integers(0, 3, size=15)
    assert retrieval_map(a, a, np.eye(3)[classes], np.eye(3)[classes]) == pytest.approx(
        retrieval_map(a, a, classes, classes)
    )


def test_queries_without_a_relevant_candidate_do_not_count(rng):
    a = rng.normal(size=(4, 2))
    assert retrieval_map(a, a, [0, 0, 1, 2], [0, 0, 1, 1]) == pytest.approx(
        retrieval_map(np.vstack([a, a])[:4], a, [0, 0, 1, 9], [0, 0, 1, 1])
    )
    with pytest.raises(ValueError, match="No query has a relevant candidate"):
        retrieval_map(a, a, [0] * 4, [1] * 4)


@pytest.mark.parametrize(
    ("queries", "candidates", "k", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), 1, "3 and 4 rows"),
        (np.ones((3, 2)), np.ones((3, 1)), 1, "the same columns"),
        (np.ones((3, 2)), np.full((3, 2), np.nan), 1, "not finite"),
        (np.ones((3, 2)), np.ones((3, 2)), 0, "k=0"),
    ],
)
def test_recall_refuses_what_cannot_be_ranked(queries, candidates, k, message):
    with pytest.raises(ValueError, match=message):
        retrieval_recall_at_k(queries, candidates, k)


def test_map_refuses_labels_of_another_length():
    with pytest.raises(ValueError, match="The labels have the shapes"):
        retrieval_map(np.ones((3, 2)), np.ones((3, 2)), [0, 1], [0, 1, 2])
