import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from modalsplit import Interactions
from modalsplit.baselines import EASE, ContentKNN, Popularity, PopularityOfNeighbours
from modalsplit.baselines._fields import Fields
from modalsplit.datasets import load_wines
from modalsplit.evaluate import evaluate, ndcg_at, split_interactions, warm_start_folds

BASELINES = [Popularity(), PopularityOfNeighbours(), EASE(), ContentKNN()]


@parametrize_with_checks(BASELINES)
def test_scikit_learn_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", BASELINES, ids=repr)
def test_no_check_is_skipped(estimator):
    statuses = {found["status"] for found in check_estimator(estimator, on_skip=None)}
    assert statuses == {"passed"}


@pytest.fixture
def shop():
    """Twelve items with ids and content, and who of thirty users took them."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((12, 5)), index=[f"i{i}" for i in range(12)])
    Y = (rng.random((12, 30)) < np.linspace(0.1, 0.7, 12)[:, None]).astype(np.float32)
    return X, Interactions(Y, item_ids=X.index, user_ids=[f"u{u}" for u in range(30)])


@pytest.fixture
def cold():
    return pd.DataFrame(np.random.default_rng(1).standard_normal((4, 5)), index=[f"new{i}" for i in range(4)])


@pytest.mark.parametrize("model", [Popularity(), PopularityOfNeighbours()], ids=repr)
def test_popularity_is_the_number_of_users(shop, model):
    X, Y = shop
    scores = model.fit(X, Y).decision_function(X)
    np.testing.assert_array_equal(scores, np.repeat(Y.toarray().sum(axis=1)[:, None], 30, axis=1))


def test_popularity_ranks_cold_items_last(shop, cold):
    X, Y = shop
    model = Popularity().fit(X, Y)
    assert model.decision_function(cold).max() <= Y.sum(axis=1).min()


def test_a_cold_item_is_as_popular_as_its_nearest_neighbours_on_average(shop, cold):
    X, Y = shop
    scores = PopularityOfNeighbours(n_neighbors=3).fit(X, Y).decision_function(cold)
    nearest = np.argsort(-cosine_similarity(cold, X), axis=1)[:, :3]
    np.testing.assert_allclose(scores[:, 0], Y.toarray().sum(axis=1)[nearest].mean(axis=1))
    assert (scores == scores[:, :1]).all()


def test_more_neighbours_than_items_are_all_items(shop, cold):
    X, Y = shop
    scores = PopularityOfNeighbours(n_neighbors=100).fit(X, Y).decision_function(cold)
    np.testing.assert_allclose(scores, Y.nnz / 12)


def test_ease_solves_its_least_squares_problem_column_by_column(shop):
    X, Y = shop
    weights = EASE(l2=3.0).fit(X, Y).weights_
    R = Y.toarray().T
    for item in range(12):
        others = np.delete(np.arange(12), item)
        A = R[:, others]
        expected = np.linalg.solve(A.T @ A + 3.0 * np.eye(11), A.T @ R[:, item])
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)
    np.testing.assert_array_equal(np.diag(weights), 0)


def test_ease_refuses_a_regularisation_that_is_not_positive(shop):
    with pytest.raises(ValueError, match="'l2' parameter of EASE"):
        EASE(l2=0).fit(*shop)


def test_content_knn_sums_cosines_to_what_the_user_took(shop, cold):
    X, Y = shop
    model = ContentKNN().fit(X, Y)
    for items in (X, cold, pd.concat([X, cold])):
        expected = cosine_similarity(items, X) @ Y.toarray()
        np.testing.assert_allclose(model.decision_function(items), expected, atol=1e-5)


def test_an_item_without_content_is_like_none(shop):
    X, Y = shop
    assert (ContentKNN().fit(X, Y).decision_function(X * 0) == 0).all()


@pytest.mark.parametrize("model", BASELINES, ids=repr)
def test_recommendations_are_the_best_unseen_items_of_the_catalogue(shop, model):
    X, Y = shop
    scores = model.fit(X, Y).decision_function(X)
    scores[Y.nonzero()] = -np.inf
    ids, found = model.recommend(["u3", "u0"], k=2)
    for row, user in enumerate((3, 0)):
        best = np.sort(scores[:, user])[::-1][:2]
        np.testing.assert_allclose(found[row], best, rtol=1e-5)
        np.testing.assert_allclose(scores[X.index.get_indexer(ids[row]), user], best, rtol=1e-5)


@pytest.mark.parametrize("model", BASELINES, ids=repr)
def test_new_users_are_scored_as_if_they_had_been_fitted(shop, model):
    X, Y = shop
    model.fit(X, Y)
    known, new = model.recommend(["u5"], k=5), model.recommend(interactions=Y[:, [5]], k=5)
    np.testing.assert_array_equal(known.ids, new.ids)
    np.testing.assert_allclose(known.scores, new.scores, rtol=1e-5)


@pytest.mark.parametrize("model", BASELINES, ids=repr)
def test_formats_of_interactions_do_not_matter(shop, model):
    X, Y = shop
    expected = model.fit(X, Y).decision_function(X)
    for y in (Y.toarray(), sparse.coo_matrix(Y), 3 * sparse.csc_array(Y)):
        np.testing.assert_array_equal(model.fit(X, y).decision_function(X), expected)


def test_l2_can_be_tuned_by_folds_of_interactions(shop):
    X, Y = shop
    stacked, stacked_Y, cv = warm_start_folds(X, Y, n_splits=3, random_state=0)
    search = GridSearchCV(
        EASE(),
        {"l2": [1.0, 100.0]},
        cv=cv,
        refit=False,
        error_score="raise",
        scoring=ndcg_at(3, exclude_seen=True),
    ).fit(stacked, stacked_Y)
    assert (search.cv_results_["mean_test_score"] > 0.3).all()


def test_wines_rank_the_baselines_as_measured():
    """PEERS.md 3.3: N@10 .005 random, .050 popularity, .053 text kNN, .115 EASE; full ranking, 5-core."""
    wines = load_wines()
    Y = wines.interactions.k_core(5)
    train, _, test = split_interactions(Y, random_state=0)
    items = wines.items.loc[Y.item_ids, ["abv"]]
    popular, ease = (
        evaluate(model.fit(items, train), test).per_user["ndcg@10"].mean() for model in (Popularity(), EASE())
    )
    assert popular == pytest.approx(0.050, abs=0.005)
    assert ease == pytest.approx(0.115, abs=0.005)


def test_a_constant_field_keeps_its_size():
    names = ["a__0", "a__1", "b__0", "b__1"]
    rng = np.random.default_rng(0)
    known = np.column_stack([rng.standard_normal((40, 2)), np.tile([0.1, 0.7], (40, 1))])
    fields = Fields(known, names, "auto")
    new = np.array([[0.0, 0.0, 0.2, 0.7]])
    assert_allclose(fields.transform(new)[0, 2:], [0.1, 0.0], atol=1e-7)


def test_the_size_of_a_field_is_that_of_the_rows_that_are_there():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4))
    X[20:, :2] = np.nan
    found = Fields(X, ["image__0", "image__1", "text__0", "text__1"], "auto").transform(X)
    assert_allclose(np.square(found[:20, :2]).sum(axis=1).mean(), 1.0, rtol=1e-6)
    assert_allclose(np.square(found[:, 2:]).sum(axis=1).mean(), 1.0, rtol=1e-6)
    assert_array_equal(found[20:, :2], 0)


def test_popularity_ranks_for_one_user_without_warnings(shop):
    model = Popularity().fit(*shop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.recommend(model.user_ids_[:1], k=3, exclude_seen=False)
