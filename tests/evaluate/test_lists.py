import numpy as np
import pytest

from modalsplit.evaluate import evaluate

LISTS = ["novelty", "popularity", "coverage", "popularity_lift"]


def retold(scores, held_out, seen, k):
    """Lists of k without ties, user by user."""
    n_items, n_users = scores.shape
    share = seen.sum(axis=1) / n_users
    information = -np.log2((seen.sum(axis=1) + 1) / (n_users + 1))
    judged = [u for u in range(n_users) if held_out[:, u].any()]
    lists = {u: [i for i in np.argsort(-scores[:, u]) if not seen[i, u]][:k] for u in judged}
    profiles = [share[seen[:, u]].mean() for u in judged if seen[:, u].any()]
    popularity = [share[lists[u]].mean() for u in judged]
    return (
        [information[lists[u]].mean() for u in judged],
        popularity,
        len({i for items in lists.values() for i in items}) / n_items,
        np.mean(popularity) / np.mean(profiles) - 1,
    )


@pytest.fixture(scope="module", params=[(40, 25), (3000, 40)], ids=["few items", "many items"])
def model(request):
    rng = np.random.default_rng(0)
    n_items, n_users = request.param
    seen = rng.random((n_items, n_users)) < np.linspace(0.4, 0.01, n_items)[:, None]
    held_out = (rng.random((n_items, n_users)) < 2 / n_items) & ~seen
    return rng.permuted(np.tile(np.arange(n_items * 1.0)[:, None], n_users), axis=0), held_out, seen


@pytest.mark.parametrize("k", [1, 5, 20])
def test_without_ties_they_are_their_definitions(model, k):
    scores, held_out, seen = model
    found = evaluate(scores, held_out, seen=seen, k=k, metrics=LISTS)
    novelty, popularity, coverage, lift = retold(scores, held_out, seen, k)
    np.testing.assert_allclose(found.per_user[f"novelty@{k}"], novelty)
    np.testing.assert_allclose(found.per_user[f"popularity@{k}"], popularity)
    assert found.catalogue[f"coverage@{k}"] == pytest.approx(coverage)
    assert found.catalogue[f"popularity_lift@{k}"] == pytest.approx(lift)


def test_ties_count_with_the_chance_to_be_listed(model):
    scores, held_out, seen = model
    tied = scores // 7
    rng = np.random.default_rng(1)
    orders = [evaluate(tied + rng.random(tied.shape) / 2, held_out, seen=seen, metrics=LISTS) for _ in range(200)]
    found = evaluate(tied, held_out, seen=seen, metrics=LISTS)
    for name in ("novelty@10", "popularity@10"):
        mean = np.mean([order.per_user[name].mean() for order in orders])
        assert found.per_user[name].mean() == pytest.approx(mean, rel=2e-3)
    for name in ("coverage@10", "popularity_lift@10"):
        assert found.catalogue[name] == pytest.approx(np.mean([order.catalogue[name] for order in orders]), abs=4e-3)


def test_constant_scores_cover_what_chance_covers():
    held_out, seen = np.eye(30), np.zeros((30, 30))
    found = evaluate(np.zeros((30, 30)), held_out, seen=seen, k=3, metrics=["coverage"])
    assert found.catalogue["coverage@3"] == pytest.approx(1 - 0.9**30)


def test_seen_items_are_never_listed_even_if_too_few_are_left():
    seen = np.array([[1, 1], [1, 0], [0, 0]])
    scores = np.array([[9.0, 9], [8, 8], [-np.inf, 7]])
    found = evaluate(scores, np.array([[0, 0], [0, 1], [1, 0]]), seen=seen, k=3, metrics=["popularity"]).per_user
    np.testing.assert_allclose(found["popularity@3"], [0, (0.5 + 0) / 2])


def test_lists_do_not_change_the_scores_nor_the_other_metrics(model):
    scores, held_out, seen = model
    before = scores.copy()
    both = evaluate(scores, held_out, seen=seen, metrics=["ndcg", "novelty"], block=7)
    np.testing.assert_array_equal(scores, before)
    alone = evaluate(scores, held_out, seen=seen, metrics=["ndcg"])
    np.testing.assert_array_equal(both.per_user["ndcg@10"], alone.per_user["ndcg@10"])


def test_the_catalogue_stands_below_the_users_in_the_summary(model):
    scores, held_out, seen = model
    summary = evaluate(scores, held_out, seen=seen, metrics=["ndcg", "coverage"]).summary(random_state=0)
    assert summary.index.tolist() == ["ndcg@10", "coverage@10"]
    assert summary.loc["coverage@10", ["low", "high"]].isna().all()
    assert 0 < summary.loc["coverage@10", "mean"] <= 1


def test_lists_need_what_training_has_shown():
    with pytest.raises(ValueError, match=r"\['novelty'\] need the interactions of training"):
        evaluate(np.ones((3, 3)), np.eye(3), metrics=["novelty"])


def test_lift_compares_the_same_users():
    # Users 0 and 1 are judged; of them only user 0 has a history.
    seen = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=float)
    held_out = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=float)
    scores = np.tile([[4.0], [1], [3], [2]], (1, 3))
    found = evaluate(scores, held_out, seen=seen, k=1, metrics=["popularity_lift"])
    assert found.catalogue["popularity_lift@1"] == pytest.approx((1 / 3) / (2 / 3) - 1)


def test_users_without_held_out_items_count_as_0_if_asked():
    held_out, seen = np.zeros((8, 5)), np.zeros((8, 5))
    held_out[0, 1:], seen[1, :2] = 1, 1
    scores = np.random.default_rng(0).random((8, 5))
    asked = {"seen": seen, "metrics": ["ndcg", "novelty", "popularity"], "k": 2}
    zero, skipped = (evaluate(scores, held_out, empty=empty, **asked) for empty in ("zero", "skip"))
    assert (zero.per_user.loc[0] == 0).all()
    np.testing.assert_array_equal(zero.per_user.loc[1:], skipped.per_user)
    assert zero.summary(random_state=0).notna().all(axis=None)
