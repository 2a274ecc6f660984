import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from modalsplit import Interactions
from modalsplit.baselines import ContentKNN
from modalsplit.evaluate import RankingScorer, evaluate, ndcg_at, ndcg_at_k, recall_at, recall_at_k, warm_start_folds


class Taste(BaseEstimator):
    """Score an item by one of its columns, and know the items of training by their ids."""

    def __init__(self, column=0):
        self.column = column

    def fit(self, X, y):
        self.taken_ = pd.DataFrame(np.asarray(y.todense()) > 0, index=getattr(X, "index", range(len(X))))
        return self

    def decision_function(self, X):
        return np.repeat(np.asarray(X)[:, [self.column]], self.taken_.shape[1], axis=1)

    def seen(self, X):
        if not hasattr(X, "index"):
            return None
        return sparse.csr_array(self.taken_.reindex(X.index, fill_value=False).to_numpy())


@pytest.fixture
def liked():
    """Thirty items; users take the better ones by column 1, and column 0 is noise."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((30, 2)), index=[f"i{i}" for i in range(30)])
    Y = rng.random((30, 40)) < 1 / (1 + np.exp(4 - 3 * X[[1]].to_numpy()))
    return X, Interactions(Y.astype(np.float32), item_ids=X.index)


@pytest.mark.parametrize(("make", "metric"), [(ndcg_at, ndcg_at_k), (recall_at, recall_at_k)])
def test_a_scorer_is_the_mean_metric_of_users_ranking_items(liked, make, metric):
    X, Y = liked
    model = Taste(1).fit(X, Y)
    expected = np.nanmean(metric(model.decision_function(X), Y, 5))
    for y in (Y, sparse.csc_array(Y), Y.toarray()):
        assert make(5)(model, X, y) == pytest.approx(expected)
    assert make(5)(model, X, Y) != pytest.approx(np.nanmean(metric(model.decision_function(X).T, Y.T, 5)))


def test_a_pipeline_is_scored_by_its_last_step_on_what_the_others_make(liked):
    X, Y = liked
    scaled = make_pipeline(StandardScaler(), Taste(1)).set_output(transform="pandas").fit(X, Y)
    alone = Pipeline([("taste", Taste(1).fit(X, Y))])
    expected = ndcg_at(5)(alone[-1], X, Y)
    assert ndcg_at(5)(scaled, X, Y) == pytest.approx(expected)
    assert ndcg_at(5)(alone, X, Y) == pytest.approx(expected)


def test_seen_items_are_masked_for_models_that_know_rows(liked):
    X, Y = liked
    train = Interactions(Y.toarray() * (np.arange(30) % 2 == 0)[:, None])
    held_out = Interactions(Y.toarray() * (np.arange(30) % 2 == 1)[:, None])
    pipe = make_pipeline(StandardScaler(), Taste(1)).set_output(transform="pandas").fit(X, train)
    expected = np.nanmean(ndcg_at_k(pipe.decision_function(X), held_out, 5, seen=train))
    assert ndcg_at(5, exclude_seen=True)(pipe, X, held_out) == pytest.approx(expected)
    assert ndcg_at(5)(pipe, X, held_out) < expected


def test_masking_rows_without_ids_is_refused(liked):
    X, Y = liked
    pipe = make_pipeline(StandardScaler(), Taste(1)).fit(X, Y)
    with pytest.raises(ValueError, match=r"Taste knows none.*set_output"):
        ndcg_at(5, exclude_seen=True)(pipe, X, Y)


def test_grid_search_over_items_finds_the_better_column(liked):
    X, Y = liked
    scoring = {"ndcg": ndcg_at(5), "recall": recall_at(5)}
    search = GridSearchCV(Taste(), {"column": [0, 1]}, cv=KFold(3), refit="ndcg", scoring=scoring).fit(X, Y)
    assert search.best_params_ == {"column": 1}


def test_grid_search_over_interactions_finds_the_better_column_and_masks_training(liked):
    X, Y = liked
    X2, Y2, cv = warm_start_folds(X, Y, n_splits=3, random_state=0)
    pipe = make_pipeline(StandardScaler(), Taste()).set_output(transform="pandas")
    found = {
        masked: GridSearchCV(
            pipe,
            {"taste__column": [0, 1]},
            cv=cv,
            refit=False,
            error_score="raise",
            scoring=ndcg_at(5, exclude_seen=masked),
        )
        .fit(X2, Y2)
        .cv_results_["mean_test_score"]
        for masked in (True, False)
    }
    assert found[True][1] > found[True][0]
    assert found[True][1] > found[False][1]
    expected = [ndcg_at_k(np.repeat(X[[1]], 40, axis=1), Y2[test], 5, seen=Y2[train]) for train, test in cv]
    assert found[True][1] == pytest.approx(np.mean([np.nanmean(fold) for fold in expected]))


def test_one_user_may_be_one_dimensional(liked):
    X, Y = liked

    class OneUser(Taste):
        def decision_function(self, X):
            return super().decision_function(X)[:, 0]

    y = Y.toarray()[:, 3]
    model = OneUser(1).fit(X, Y)
    assert recall_at(5)(model, X, y) == pytest.approx(recall_at_k(X[[1]], y[:, None], 5)[0])
    assert recall_at(5)(model, X, y.tolist()) == recall_at(5)(model, X, y)


def test_scorers_survive_pickling_and_are_equal_by_value():
    scorer = ndcg_at(7, exclude_seen=True)
    assert pickle.loads(pickle.dumps(scorer)) == scorer != ndcg_at(7)


def test_nothing_to_find_is_an_error(liked):
    X, Y = liked
    with pytest.raises(ValueError, match="y holds no interactions"):
        ndcg_at(5)(Taste().fit(X, Y), X, np.zeros(Y.shape))


@pytest.mark.parametrize("metric", ["recall_capped", "precision", "hit_rate", "mrr", "map"])
def test_a_scorer_of_any_metric_can_be_made(liked, metric):
    X, Y = liked
    model = Taste(1).fit(X, Y)
    expected = evaluate(model.decision_function(X), Y, k=5, metrics=[metric]).per_user.mean().item()
    assert RankingScorer(metric, 5, exclude_seen=False)(model, X, Y) == pytest.approx(expected)
    with pytest.raises(ValueError, match="but 'auc' was given"):
        RankingScorer("auc", 5, exclude_seen=False)(model, X, Y)


@pytest.mark.parametrize("axis", ["items", "users"])
def test_other_rows_and_users_are_refused(axis):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((20, 3)), index=[f"i{i}" for i in range(20)])
    Y = Interactions(rng.random((20, 15)) < 0.4, item_ids=X.index, user_ids=[f"u{u}" for u in range(15)])
    model = ContentKNN().fit(X, Y)
    order = rng.permutation(20 if axis == "items" else 15)
    moved = Y[order] if axis == "items" else Y[:, order]
    for score in (ndcg_at(10), recall_at(10), ContentKNN.score):
        assert score(model, X, Y) > 0
        with pytest.raises(ValueError, match=r"differ|order"):
            score(model, X, moved)
