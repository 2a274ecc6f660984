from collections import Counter

import numpy as np
import pytest
from scipy import sparse, stats

from modalsplit.evaluate import SampledNegatives, evaluate
from modalsplit.evaluate._sampling import _hypergeometric, _least_squares

N_ITEMS = 400


@pytest.fixture(scope="module")
def model():
    """Scores that put held-out items near the top, and what 3,000 users took."""
    rng = np.random.default_rng(0)
    n_users = 3000
    taken = rng.permuted(np.tile(np.arange(N_ITEMS) < 12, (n_users, 1)), axis=1).T
    held_out = taken & (rng.permuted(np.tile(np.arange(N_ITEMS) < N_ITEMS // 3, (n_users, 1)), axis=1).T)
    scores = rng.standard_normal((N_ITEMS, n_users)) + 1.5 * held_out
    return scores, held_out, taken & ~held_out


def drawn(sampled, user=0, taken=(), n_items=50, n_held_out=0):
    return sampled.draw(user, np.array(taken, dtype=int), n_items, n_held_out)


@pytest.mark.parametrize(("rule", "n_drawn"), [("added", 20), ("total", 17)])
def test_the_rule_says_whether_held_out_items_are_among_the_candidates(rule, n_drawn):
    assert len(drawn(SampledNegatives(20, rule), n_held_out=3)) == n_drawn


def test_negatives_are_distinct_and_never_taken():
    taken = [0, 1, 5, 17, 18, 49]
    for user in range(50):
        items = drawn(SampledNegatives(20), user, taken)
        assert len(set(items.tolist())) == 20
        assert not set(items.tolist()) & set(taken)
        assert 0 <= items.min() <= items.max() < 50


def test_negatives_are_uniform_over_the_others():
    counts = Counter(item for u in range(4000) for item in drawn(SampledNegatives(3), u, [2, 3, 9], 10).tolist())
    assert set(counts) == {0, 1, 4, 5, 6, 7, 8}
    expected = 4000 * 3 / 7
    assert max(abs(count - expected) for count in counts.values()) < 5 * np.sqrt(expected)


def test_all_others_are_taken_if_there_are_too_few():
    assert sorted(drawn(SampledNegatives(100), 0, [1, 3], 6)) == [0, 2, 4, 5]
    assert len(drawn(SampledNegatives(2, "total"), n_held_out=5)) == 0


def test_every_model_meets_the_same_candidates_however_users_are_judged(model):
    scores, held_out, seen = model
    whole = evaluate(scores, held_out, seen=seen, candidates=SampledNegatives(50)).per_user
    some = evaluate(scores, held_out, seen=seen, candidates=SampledNegatives(50), users=[9, 4], block=1).per_user
    np.testing.assert_array_equal(whole.loc[[9, 4]], some)
    other = evaluate(scores, held_out, seen=seen, candidates=SampledNegatives(50, random_state=1)).per_user
    assert not np.array_equal(whole, other)


def test_sampled_metrics_are_those_of_the_ranking_of_the_candidates(model):
    scores, held_out, seen = model
    sampled = SampledNegatives(30)
    found = evaluate(scores, held_out, seen=seen, candidates=sampled, k=5, metrics=["recall", "ndcg"]).per_user
    for user in found.index[:40]:
        targets = np.flatnonzero(held_out[:, user])
        taken = np.flatnonzero(held_out[:, user] | seen[:, user])
        items = np.concatenate([targets, sampled.draw(user, taken, N_ITEMS, len(targets))])
        only = evaluate(scores[items][:, [user]], (np.arange(len(items)) < len(targets))[:, None], k=5).per_user
        np.testing.assert_allclose(found.loc[user], only.iloc[0])


def test_ties_among_the_candidates_are_expected_or_pessimistic():
    held_out, constant = sparse.csr_array(np.eye(100, 5)), np.zeros((100, 5))
    expected = evaluate(constant, held_out, candidates=SampledNegatives(39), k=10).per_user["recall@10"]
    np.testing.assert_allclose(expected, 10 / 40)
    worst = evaluate(constant, held_out, candidates=SampledNegatives(39), k=10, ties="pessimistic").per_user
    assert (worst == 0).all(axis=None)


@pytest.mark.parametrize("metric", ["recall", "recall_capped", "ndcg", "precision"])
def test_the_correction_brings_sampled_metrics_to_those_of_the_full_ranking(model, metric):
    """Without it they are several times too high."""
    scores, held_out, seen = model
    options = {"seen": seen, "k": 10, "metrics": [metric]}
    full = evaluate(scores, held_out, **options).per_user.mean().item()
    plain = evaluate(scores, held_out, candidates=SampledNegatives(100), **options).per_user.mean().item()
    better = evaluate(scores, held_out, candidates=SampledNegatives(100, correction=0.1), **options)
    assert abs(plain - full) > 0.5 * full
    assert better.per_user.mean().item() == pytest.approx(full, rel=0.1)


@pytest.mark.parametrize("levels", [None, 3])
def test_the_correction_is_exact_when_all_items_are_drawn(model, levels):
    scores, held_out, seen = (part[:, :200] for part in model)
    if levels:
        scores = np.round(scores * levels)
    one = np.zeros_like(held_out)  # of one held-out item, as several that are tied have an order of their own
    users = np.flatnonzero(held_out.any(axis=0))
    one[held_out.argmax(axis=0)[users], users] = True
    held_out = one if levels else held_out
    full = evaluate(scores, held_out, seen=seen, k=10).per_user
    found = evaluate(scores, held_out, seen=seen, k=10, candidates=SampledNegatives(1000, correction=0.1)).per_user
    np.testing.assert_allclose(found, full, atol=1e-9)


def test_the_least_squares_weights_are_those_of_the_paper():
    """KDD 2020: no other weights have a smaller sum of squared bias + gamma x variance."""
    n, m, gamma = 60, 12, 0.1
    known = (np.arange(n + 1) < 5).astype(float)[:, None]
    chance = np.array([[stats.hypergeom.pmf(x, n, above, m) for x in range(m + 1)] for above in range(n + 1)])

    def loss(weights):
        mean = chance @ weights
        return np.sum((mean - known[:, 0]) ** 2 + gamma * (chance @ weights**2 - mean**2))

    best = _least_squares(n, m, known, gamma)[:, 0]
    rng = np.random.default_rng(0)
    assert all(loss(best + 0.01 * rng.standard_normal(m + 1)) > loss(best) for _ in range(100))


@pytest.mark.parametrize(("n", "m"), [(60, 12), (60, 60), (23000, 1000)])
def test_the_model_of_sampling_is_hypergeometric(n, m):
    above = np.array([0, 1, 7, n // 2, n - 1, n])
    expected = stats.hypergeom.pmf(np.arange(m + 1), n, above[:, None], m)
    np.testing.assert_allclose(_hypergeometric(above, n, m), expected, atol=1e-9)


def test_nobody_with_held_out_items_is_no_error():
    found = evaluate(np.ones((5, 2)), np.zeros((5, 2)), candidates=SampledNegatives(2, correction=0.1), empty="zero")
    assert (found.per_user == 0).all(axis=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0, but at least 1"),
        ({"rule": "some"}, r"rule must be one of \['added', 'total'\], but 'some'"),
        ({"correction": 0.0}, "correction=0.0, but it must be above 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SampledNegatives(**options)


def test_metrics_that_cannot_be_had_are_refused():
    with pytest.raises(ValueError, match=r"\['mrr'\] cannot be corrected"):
        evaluate(np.ones((3, 3)), np.eye(3), metrics=["mrr"], candidates=SampledNegatives(1, correction=0.1))
    with pytest.raises(ValueError, match=r"\['coverage'\] judge lists of all items"):
        evaluate(np.ones((3, 3)), np.eye(3), metrics=["coverage"], candidates=SampledNegatives(1))


@pytest.mark.parametrize("given", [{"random_state": None}, {"n": 10.0}])
def test_numbers_must_be_whole(given):
    with pytest.raises(TypeError, match="whole number"):
        SampledNegatives(**given)
