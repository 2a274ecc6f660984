import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modalsplit import Interactions
from modalsplit.baselines import EASE, Popularity
from modalsplit.evaluate import evaluate, interaction_folds, select


@pytest.fixture(scope="module")
def wanted():
    """Users in two groups who take items of their own half: popularity does not see it, EASE does."""
    rng = np.random.default_rng(0)
    half = np.repeat([0, 1], 30)[:, None] == np.arange(100) % 2
    Y = Interactions(rng.random((60, 100)) < np.where(half, 0.35, 0.02), item_ids=[f"i{i}" for i in range(60)])
    X = pd.DataFrame({"size": rng.random(60)}, index=Y.item_ids)
    return X, interaction_folds(Y, random_state=0)[0]


def test_the_best_on_the_validation_part_is_chosen_and_fitted_on_training_alone(wanted):
    X, split = wanted
    models = {"popular": Popularity(), "ease": EASE()}
    chosen = select(models, X, split.train, split.valid)
    assert chosen.name == "ease"
    assert chosen.table.idxmax()["ndcg@10"] == "ease"
    assert (chosen.best.interactions_ != (split.train > 0)).nnz == 0
    assert not hasattr(models["ease"], "interactions_")
    expected = evaluate(EASE().fit(X, split.train), split.valid, seen=split.train, metrics=["ndcg"])
    pd.testing.assert_frame_equal(chosen.results["ease"].per_user, expected.per_user)


def test_the_choice_does_not_depend_on_the_test_part(wanted):
    X, split = wanted
    models = [EASE(1.0), EASE(1000.0), Popularity()]
    chosen = select(models, X, split.train, split.valid, metric="map", k=5)
    nothing = split._replace(test=None)
    assert chosen.table.equals(select(models, X, nothing.train, nothing.valid, metric="map", k=5).table)
    assert chosen.table.index.tolist() == [0, 1, 2]


def test_pipelines_are_chosen_too_and_judged_by_the_test(wanted):
    X, split = wanted
    pipes = [make_pipeline(StandardScaler(), model).set_output(transform="pandas") for model in (Popularity(), EASE())]
    chosen = select(pipes, X, split.train, split.valid)
    assert chosen.name == 1
    found = evaluate(chosen.best, split.test, seen=split.seen).per_user
    pd.testing.assert_frame_equal(found, evaluate(chosen.best[-1], split.test, seen=split.seen).per_user)


def test_of_equal_models_the_first_is_best(wanted):
    X, split = wanted
    assert select({"a": Popularity(), "b": Popularity()}, X, split.train, split.valid).name == "a"


def test_what_cannot_be_chosen_is_refused(wanted):
    X, split = wanted
    with pytest.raises(ValueError, match="models is empty"):
        select([], X, split.train, split.valid)
    with pytest.raises(ValueError, match="both in train and in held_out"):
        select([Popularity()], X, split.train, split.train)
    with pytest.raises(ValueError, match="coverage@10 of 0 is NaN"):
        select([Popularity()], X, split.train, split.valid, metric="coverage")
    with pytest.raises(ValueError, match="ndcg@10 of 0 is NaN"):
        select([Popularity()], X, split.train, Interactions(split.valid * 0))
