"""Hit rate, MRR, MAP, precision and capped recall against other implementations, and under ties."""

from itertools import permutations

import ir_measures
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.functional import retrieval

from modalsplit.evaluate import evaluate
from modalsplit.evaluate._placements import SORTING_PAYS

K = [1, 2, 3, 7, 40]
NAMES = ["recall", "recall_capped", "precision", "hit_rate", "mrr", "map", "ndcg"]


@pytest.fixture(scope="module")
def no_ties():
    """Scores of 40 items for 25 users without ties, and one to nine held-out items a user."""
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(1, 41.0)[:, None], 25), axis=0)
    held_out = np.zeros((40, 25))
    for user in range(25):
        held_out[rng.choice(40, size=1 + user % 9, replace=False), user] = 1
    return scores, held_out


def retold(ranked, k, *, ideal="truncated"):
    """All metrics of one user from a list of whether each rank holds a held-out item."""
    n, hits = sum(ranked), [rank for rank, hit in enumerate(ranked, start=1) if hit and rank <= k]
    n_ideal = min(n, k) if ideal == "truncated" else n
    precisions = [sum(ranked[:rank]) / rank for rank in hits]
    return {
        "recall": len(hits) / n,
        "recall_capped": len(hits) / min(n, k),
        "precision": len(hits) / k,
        "hit_rate": float(bool(hits)),
        "mrr": 1 / hits[0] if hits else 0.0,
        "map": sum(precisions) / n_ideal,
        "ndcg": sum(1 / np.log2(r + 1) for r in hits) / sum(1 / np.log2(r + 1) for r in range(1, n_ideal + 1)),
    }


@pytest.mark.parametrize("ideal", ["truncated", "untruncated"])
@pytest.mark.parametrize("k", K)
def test_without_ties_the_metrics_are_their_definitions(no_ties, k, ideal):
    scores, held_out = no_ties
    found = evaluate(scores, held_out, k=k, metrics=NAMES, ideal=ideal).per_user
    for user in range(25):
        expected = retold(held_out[np.argsort(-scores[:, user]), user].astype(int).tolist(), k, ideal=ideal)
        for name in NAMES:
            assert found.loc[user, f"{name}@{k}"] == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize("k", K)
def test_ir_measures_agrees(no_ties, k):
    scores, held_out = no_ties
    item, user = held_out.nonzero()
    qrels = pd.DataFrame({"query_id": user.astype(str), "doc_id": item.astype(str), "relevance": 1})
    item, user = np.indices(scores.shape).reshape(2, -1)
    run = pd.DataFrame({"query_id": user.astype(str), "doc_id": item.astype(str), "score": scores.ravel()})
    theirs = {
        "precision": ir_measures.P @ k,
        "hit_rate": ir_measures.Success @ k,
        "mrr": ir_measures.RR @ k,
        "map": ir_measures.AP @ k,  # divides by all held-out items
    }
    values = {(m.measure, int(m.query_id)): m.value for m in ir_measures.iter_calc(theirs.values(), qrels, run)}
    found = evaluate(scores, held_out, k=k, metrics=list(theirs), ideal="untruncated").per_user
    for name, measure in theirs.items():
        np.testing.assert_allclose(found[f"{name}@{k}"], [values[measure, user] for user in range(25)], atol=1e-7)


@pytest.mark.parametrize("k", K)
def test_torchmetrics_agrees(no_ties, k):
    scores, held_out = no_ties
    found = evaluate(scores, held_out, k=k, metrics=["precision", "hit_rate", "mrr"]).per_user
    theirs = {
        "precision": retrieval.retrieval_precision,
        "hit_rate": retrieval.retrieval_hit_rate,
        "mrr": retrieval.retrieval_reciprocal_rank,
    }
    pairs = list(zip(torch.from_numpy(scores.T.copy()), torch.from_numpy(held_out.T.copy()).long(), strict=True))
    for name, metric in theirs.items():
        expected = [float(metric(s, h, top_k=k)) for s, h in pairs]
        np.testing.assert_allclose(found[f"{name}@{k}"], expected, atol=1e-7)


def test_scikit_learn_agrees_on_average_precision_of_whole_rankings(no_ties):
    scores, held_out = no_ties
    expected = [average_precision_score(h, s) for h, s in zip(held_out.T, scores.T, strict=True)]
    np.testing.assert_allclose(
        evaluate(scores, held_out, k=40, metrics=["map"]).per_user["map@40"], expected, atol=1e-7
    )


@settings(max_examples=80, deadline=None)
@given(
    scores=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    held_out=st.lists(st.integers(0, 1), min_size=6, max_size=6).filter(any),
    k=st.integers(1, 7),
    ideal=st.sampled_from(["truncated", "untruncated"]),
)
def test_ties_are_the_mean_and_the_worst_of_all_their_orders(scores, held_out, k, ideal):
    orders = pd.DataFrame(
        retold([held_out[i] for i in sorted(order, key=lambda i: -scores[i])], k, ideal=ideal)  # sorted is stable
        for order in permutations(range(6))
    )
    column = [np.asarray(values)[:, None] for values in (scores, held_out)]
    for ties, expected in (("expected", orders.mean()), ("pessimistic", orders.min())):
        found = evaluate(*column, k=k, metrics=NAMES, ties=ties, ideal=ideal).per_user.iloc[0]
        np.testing.assert_allclose(found, expected[NAMES], atol=1e-12)


def official(scores, held_out, k):
    """PAMD's released evaluation, retold: negatives stand first in a list that is sorted stably."""
    candidates = [*np.flatnonzero(held_out == 0), *np.flatnonzero(held_out)]
    top = sorted(candidates, key=lambda item: -scores[item])[:k]
    dcg = sum(1 / np.log2(rank + 2) for rank, item in enumerate(top) if held_out[item])
    ideal = sum(1 / np.log2(rank + 2) for rank in range(int(held_out.sum())))
    return sum(held_out[item] for item in top) / held_out.sum(), dcg / ideal


@pytest.mark.parametrize("k", [2, 5, 10])
def test_the_released_code_is_reproduced_with_its_ties_and_its_ideal(no_ties, k):
    scores, held_out = no_ties
    scores = scores // 6
    found = evaluate(scores, held_out, k=k, ties="pessimistic", ideal="untruncated").per_user
    expected = [official(s, h, k) for s, h in zip(scores.T, held_out.T, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_users_with_many_held_out_items_are_ranked_by_sorting_as_by_counting():
    rng = np.random.default_rng(3)
    scores, held_out = rng.integers(0, 9, (60, 5)).astype(float), rng.random((60, 5)) < 0.5
    assert held_out.sum(axis=0).min() > SORTING_PAYS
    found = evaluate(scores, held_out, k=20).per_user["recall@20"]
    for user in range(5):
        own = scores[held_out[:, user], user]
        above, tied = (scores[:, user] > own[:, None]).sum(1), (scores[:, user] == own[:, None]).sum(1)
        assert found[user] == pytest.approx(np.clip((20 - above) / tied, 0, 1).mean())


def test_ranks_far_down_may_be_bounded_without_changing_any_metric():
    """Above 1,024 items, maxima of groups decide which held-out items are near the top at all."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 300, (3000, 30)).astype(np.float32)
    held_out = np.zeros((3000, 30), dtype=bool)
    for user in range(30):  # some held-out items near the top, some anywhere
        held_out[np.argsort(-scores[:, user])[[user % 7, 9, 25]], user] = True
        held_out[rng.choice(3000, 4), user] = True
    seen = (rng.random(scores.shape) < 0.02) & ~held_out
    seen |= (scores > 297) & ~held_out  # the best ones are seen
    found = evaluate(scores, held_out, seen=seen, k=[5, 20], metrics=NAMES).per_user
    exact = evaluate(scores, held_out, seen=seen, k=[5, 20, 3000], metrics=NAMES).per_user
    np.testing.assert_array_equal(found, exact[found.columns])
    assert 0.05 < found["recall@20"].mean() < 0.95
    shown = np.where(seen, -1, scores).T
    for user in range(30):
        own = shown[user][held_out[:, user]]
        above, tied = (shown[user] > own[:, None]).sum(1), (shown[user] == own[:, None]).sum(1)
        assert found.loc[user, "recall@20"] == pytest.approx(np.clip((20 - above) / tied, 0, 1).mean())
