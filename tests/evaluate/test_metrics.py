from itertools import permutations
from math import log2

import ir_measures
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import retrieval_normalized_dcg, retrieval_recall

from modalsplit.evaluate import ndcg_at_k, recall_at_k

K = [1, 2, 3, 7, 40]


@pytest.fixture(scope="module")
def no_ties():
    """Scores of 40 items for 25 users without ties, and one to nine held-out items a user."""
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40.0)[:, None], 25), axis=0)
    held_out = np.zeros((40, 25))
    for user in range(25):
        held_out[rng.choice(40, size=1 + user % 9, replace=False), user] = 1
    return scores, held_out


def retold(scores, held_out, k, n_ideal):
    """Recall and DCG / IDCG of one user, item by item, as the definitions read."""
    ranked = sorted(range(len(scores)), key=lambda item: -scores[item])
    hits = [rank for rank, item in enumerate(ranked, start=1) if held_out[item] and rank <= k]
    n_held_out = sum(map(bool, held_out))
    ideal = sum(1 / log2(rank + 1) for rank in range(1, n_ideal(n_held_out) + 1))
    return len(hits) / n_held_out, sum(1 / log2(rank + 1) for rank in hits) / ideal


@pytest.mark.parametrize("k", K)
def test_without_ties_both_metrics_are_their_definitions(no_ties, k):
    scores, held_out = no_ties
    users = zip(scores.T, held_out.T, strict=True)
    expected = np.transpose([retold(s, h, k, lambda n: min(n, k)) for s, h in users])
    for ties in ("expected", "pessimistic"):
        np.testing.assert_allclose(recall_at_k(scores, held_out, k, ties=ties), expected[0], atol=1e-12)
        np.testing.assert_allclose(ndcg_at_k(scores, held_out, k, ties=ties), expected[1], atol=1e-12)


@pytest.mark.parametrize("k", K)
def test_ir_measures_agrees(no_ties, k):
    scores, held_out = no_ties
    item, user = held_out.nonzero()
    qrels = pd.DataFrame({"query_id": user.astype(str), "doc_id": item.astype(str), "relevance": 1})
    item, user = np.indices(scores.shape).reshape(2, -1)
    run = pd.DataFrame({"query_id": user.astype(str), "doc_id": item.astype(str), "score": scores.ravel()})
    measures = [ir_measures.R @ k, ir_measures.nDCG @ k]
    found = {(m.measure, int(m.query_id)): m.value for m in ir_measures.iter_calc(measures, qrels, run)}
    for measure, ours in zip(measures, (recall_at_k, ndcg_at_k), strict=True):
        theirs = [found[measure, user] for user in range(25)]
        np.testing.assert_allclose(ours(scores, held_out, k), theirs, atol=1e-7)


@pytest.mark.parametrize("k", K)
def test_torchmetrics_agrees(no_ties, k):
    scores, held_out = no_ties
    shown = torch.from_numpy(scores.T + 1)  # torchmetrics never retrieves an item whose score is zero
    pairs = list(zip(shown, torch.from_numpy(held_out.T).long(), strict=True))
    recalls = [float(retrieval_recall(s, h, top_k=k)) for s, h in pairs]
    ndcgs = [float(retrieval_normalized_dcg(s, h, top_k=k)) for s, h in pairs]
    np.testing.assert_allclose(recall_at_k(scores, held_out, k), recalls, atol=1e-6)  # float32
    np.testing.assert_allclose(ndcg_at_k(scores, held_out, k), ndcgs, atol=1e-6)


@pytest.mark.parametrize("k", K)
@pytest.mark.parametrize("n_levels", [40, 5, 1])
def test_scikit_learn_agrees_on_ndcg_with_ties_too(no_ties, k, n_levels):
    scores, held_out = no_ties
    scores = scores // (40 / n_levels)
    theirs = [ndcg_score([h], [s], k=k) for s, h in zip(scores.T, held_out.T, strict=True)]
    np.testing.assert_allclose(ndcg_at_k(scores, held_out, k), theirs, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(0, 2), min_size=5, max_size=5),
    held_out=st.lists(st.integers(0, 1), min_size=5, max_size=5).filter(any),
    k=st.integers(1, 6),
)
def test_ties_are_the_mean_and_the_worst_of_all_their_orders(scores, held_out, k):
    orders = [
        retold(np.asarray(scores) + 0.1 * np.asarray(order), held_out, k, lambda n: min(n, k))
        for order in permutations(range(5))
    ]
    column = [np.asarray(values)[:, None] for values in (scores, held_out)]
    for metric, of_orders in zip((recall_at_k, ndcg_at_k), np.transpose(orders), strict=True):
        np.testing.assert_allclose(metric(*column, k), of_orders.mean(), atol=1e-12)
        np.testing.assert_allclose(metric(*column, k, ties="pessimistic"), of_orders.min(), atol=1e-12)


def test_constant_scores_gain_nothing_from_pessimistic_ties():
    held_out = np.eye(20, 3)
    for metric in (recall_at_k, ndcg_at_k):
        assert metric(np.zeros((20, 3)), held_out, 10, ties="pessimistic").tolist() == [0, 0, 0]
    np.testing.assert_allclose(recall_at_k(np.zeros((20, 3)), held_out, 10), 0.5)


def test_the_untruncated_ideal_is_the_official_formula():
    scores, held_out = np.array([[4], [3], [2], [1]]), np.array([[1], [0], [1], [1]])
    assert ndcg_at_k(scores, held_out, 2, ideal="untruncated")[0] == pytest.approx(0.46928, abs=1e-5)
    assert ndcg_at_k(scores, held_out, 2)[0] == pytest.approx(0.61315, abs=1e-5)
    assert recall_at_k(scores, held_out, 2)[0] == pytest.approx(1 / 3)


def test_a_user_without_held_out_items_is_nan_or_zero():
    scores, held_out = np.ones((3, 2)), np.array([[1, 0], [0, 0], [0, 0]])
    for metric in (recall_at_k, ndcg_at_k):
        assert np.isnan(metric(scores, held_out)).tolist() == [False, True]
        assert metric(scores, held_out, empty="zero")[1] == 0


def test_seen_items_are_no_candidates(no_ties):
    scores, held_out = no_ties
    seen = (np.random.default_rng(1).random(scores.shape) < 0.3) & (held_out == 0)
    without = [np.delete(scores[:, u], np.flatnonzero(seen[:, u])) for u in range(25)]
    kept = [np.delete(held_out[:, u], np.flatnonzero(seen[:, u])) for u in range(25)]
    expected = [ndcg_at_k(s[:, None], h[:, None], 5)[0] for s, h in zip(without, kept, strict=True)]
    for form in (seen, sparse.csr_array(seen), sparse.coo_matrix(seen.astype(float))):
        np.testing.assert_allclose(ndcg_at_k(scores, held_out, 5, seen=form), expected)


def test_seen_items_do_not_tie_with_minus_infinity():
    scores = np.array([[-np.inf], [-np.inf], [0.0]])
    found = recall_at_k(scores, np.array([[1], [0], [0]]), 2, seen=np.array([[0], [1], [0]]))
    assert found.tolist() == [1]


def test_blocks_callables_and_formats_do_not_change_the_result(no_ties):
    scores, held_out = no_ties
    expected = ndcg_at_k(scores, held_out, 5)
    asked = []

    def score(users):
        asked.append(len(users))
        return scores.T[users]

    np.testing.assert_array_equal(ndcg_at_k(score, sparse.csc_matrix(held_out), 5, block=10), expected)
    assert asked == [10, 10, 5]
    as_lists = ndcg_at_k(scores.astype(int).tolist(), held_out.tolist(), 5, block=7)
    np.testing.assert_array_equal(as_lists, expected)


def test_the_scores_of_the_caller_are_left_alone(no_ties):
    scores, held_out = no_ties
    before = scores.copy()
    recall_at_k(scores, held_out, seen=1 - held_out)
    recall_at_k(lambda users: scores.T[users], held_out, seen=1 - held_out)
    np.testing.assert_array_equal(scores, before)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_permuting_items_and_users_and_rescaling_scores_change_nothing(seed):
    rng = np.random.default_rng(seed)
    scores, held_out = rng.integers(0, 6, (12, 4)), rng.random((12, 4)) < 0.3
    items, users = rng.permutation(12), rng.permutation(4)
    for metric in (recall_at_k, ndcg_at_k):
        expected = metric(scores, held_out, 3)[users]
        changed = (2.0**scores)[items][:, users]
        np.testing.assert_allclose(metric(changed, held_out[items][:, users], 3), expected)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones((3, 2)), np.eye(2, 3)), {}, r"scores has shape \(3, 2\), but held_out has shape \(2, 3\)"),
        ((np.full((3, 3), np.nan), np.eye(3)), {}, "9 scores are NaN"),
        ((np.ones((3, 3)), np.eye(3)), {"seen": np.eye(3)}, "3 of 3 held-out interactions are in seen"),
        ((np.ones((3, 3)), np.eye(3)), {"seen": np.eye(3, 2)}, r"seen has shape \(3, 2\)"),
        ((np.ones((3, 3)), np.eye(3)), {"k": 0}, "k=0, but a list holds at least 1"),
        ((np.ones((3, 3)), np.eye(3)), {"ties": "best"}, r"one of \['expected', 'pessimistic'\]"),
        ((np.ones((3, 3)), np.eye(3)), {"empty": "one"}, "empty must be one of .*'one' was given"),
        ((np.ones((3, 3)), np.ones(3)), {}, "held_out has 1 dimensions"),
        ((lambda users: np.ones((2, 3)), np.eye(3)), {}, r"shape \(2, 3\) for 3 users and 3 items"),
    ],
)
def test_errors_say_what_was_given(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(*arguments, **options)


def test_an_unknown_ideal_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"ideal must be one of .*'none' was given"):
        ndcg_at_k(np.ones((3, 3)), np.eye(3), ideal="none")
