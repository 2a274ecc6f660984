"""The three steps as one scikit-learn Pipeline, from a DataFrame of raw items to recommendations."""

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from gensim.models import KeyedVectors
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, Interactions, make_pamd_pipeline
from modalsplit.datasets import make_modalities
from modalsplit.evaluate import evaluate, ndcg_at, split_interactions, warm_start_folds
from modalsplit.featurize import GloveFeaturizer, ImageFeaturizer

N_ITEMS, N_USERS = 80, 60
IMAGE, TEXT = [f"pixel{i}" for i in range(10)], [f"word{i}" for i in range(8)]


@pytest.fixture(scope="module")
def shop():
    """Items with two modalities, and users whose taste is a direction of the shared factors."""
    data = make_modalities(N_ITEMS, n_shared=2, n_private=2, n_features=(10, 8), random_state=0)
    ids = [f"item{i:02d}" for i in range(N_ITEMS)]
    items = pd.DataFrame(np.hstack([data.X_img, data.X_txt]), index=ids, columns=[*IMAGE, *TEXT])
    taste = np.random.default_rng(0).standard_normal((2, N_USERS))
    affinity = data.shared @ taste
    taken = affinity >= np.sort(affinity, axis=0)[-12]
    users = [f"user{u:02d}" for u in range(N_USERS)]
    return items, Interactions(taken.astype(np.float32), item_ids=ids, user_ids=users)


def pipeline(memory=None, **bpr):
    features = ColumnTransformer([("image", StandardScaler(), IMAGE), ("text", StandardScaler(), TEXT)])
    steps = [
        ("features", features),
        ("disentangle", DisentangledModalityEncoder(6, objective="cca", random_state=0)),
        ("recommend", AttentiveBPR(random_state=0, **{"max_epochs": 5, **bpr})),
    ]
    return Pipeline(steps, memory=memory).set_output(transform="pandas")


@pytest.fixture(scope="module")
def fitted(shop):
    return pipeline(max_epochs=20).fit(*shop)


def test_ids_reach_the_last_step(shop, fitted):
    items, interactions = shop
    ids, scores = fitted[-1].recommend(users=["user03", "user00"], k=7)
    assert ids.shape == scores.shape == (2, 7)
    assert set(ids.ravel()) <= set(items.index)
    seen = interactions.toarray().astype(bool)
    for user, row in zip((3, 0), ids, strict=True):
        assert not any(seen[items.index.get_loc(item), user] for item in row)


def test_encoder_reads_the_blocks_that_column_transformer_writes(fitted):
    assert fitted["disentangle"].modality_names_ == ("image", "text")
    assert fitted["recommend"].part_names_ == ("image_common", "text_common", "image_specific", "text_specific")


def test_scores_are_items_by_users_and_rows_are_known_by_id(shop, fitted):
    items, _ = shop
    scores = fitted.decision_function(items)
    assert scores.shape == (N_ITEMS, N_USERS)
    order = np.random.default_rng(0).permutation(N_ITEMS)
    assert_allclose(fitted.predict(items.iloc[order]), scores[order], rtol=1e-5, atol=1e-6)


def test_pipeline_learns_to_rank_held_out_interactions(shop):
    items, interactions = shop
    train, valid, test = split_interactions(interactions, random_state=0)
    model = pipeline(max_epochs=40).fit(items, train)
    found = evaluate(model[-1], test, seen=train + valid).summary(random_state=0)
    assert found.loc["ndcg@10", "mean"] > 0.3  # chance is below 0.1


def test_clone_forgets_and_refits_alike(shop, fitted):
    items, interactions = shop
    again = clone(fitted)
    with pytest.raises(Exception, match="not fitted"):
        again.predict(items)
    assert_allclose(again.fit(items, interactions).predict(items), fitted.predict(items), rtol=1e-5, atol=1e-6)


def test_joblib_round_trip(shop, fitted, tmp_path):
    items, _ = shop
    joblib.dump(fitted, tmp_path / "pamd.joblib")
    loaded = joblib.load(tmp_path / "pamd.joblib")
    assert_array_equal(loaded.predict(items), fitted.predict(items))
    assert_array_equal(loaded[-1].recommend(["user01"], k=5).ids, fitted[-1].recommend(["user01"], k=5).ids)


def test_memory_caches_the_first_two_steps(shop, tmp_path, fitted):
    items, interactions = shop
    first = pipeline(memory=str(tmp_path), max_epochs=20).fit(items, interactions)
    cached = list(tmp_path.rglob("output.pkl"))
    assert len(cached) == 2
    stamps = [path.stat().st_mtime_ns for path in cached]
    second = pipeline(memory=str(tmp_path), max_epochs=20).fit(items, interactions)
    assert stamps == [path.stat().st_mtime_ns for path in cached]
    assert_allclose(second.predict(items), first.predict(items))
    assert_allclose(second.predict(items), fitted.predict(items), rtol=1e-5, atol=1e-6)


def test_grid_search_over_nested_parameters_and_rows_is_item_cold_start(shop):
    items, interactions = shop
    grid = {
        "disentangle__output": ["all", "common"],
        "recommend__attention": ["item", "mean"],
        "features__text": [StandardScaler(), StandardScaler(with_std=False)],
    }
    search = GridSearchCV(
        pipeline(max_epochs=20),
        grid,
        cv=KFold(2, shuffle=True, random_state=0),
        scoring=ndcg_at(10),
        error_score="raise",
    ).fit(items, interactions)
    assert len(search.cv_results_["params"]) == 8
    assert search.best_score_ > 0.3  # cold items, ranked by content alone; chance is below 0.2
    assert search.best_estimator_[-1].recommend(["user00"], k=3).ids.shape == (1, 3)


def test_default_score_works_in_grid_search(shop):
    search = GridSearchCV(pipeline(), {"recommend__max_epochs": [1, 2]}, cv=2, error_score="raise").fit(*shop)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_grid_search_over_folds_of_interactions(shop):
    items, interactions = shop
    X, Y, cv = warm_start_folds(items, interactions, n_splits=3, random_state=0)
    grid = {"recommend__max_epochs": [1, 40]}
    scorer = ndcg_at(10, exclude_seen=True)
    search = GridSearchCV(pipeline(), grid, cv=cv, scoring=scorer, refit=False, error_score="raise").fit(X, Y)
    short, long = search.cv_results_["mean_test_score"]
    assert long > short
    # Fold 0 by hand gives the same number.
    train, test = cv[0]
    by_hand = pipeline(max_epochs=40).fit(X.iloc[train], Y[train])
    assert scorer(by_hand, X.iloc[test], Y[test]) == pytest.approx(search.cv_results_["split0_test_score"][1], abs=1e-6)


def test_missing_modality_reaches_the_recommender(shop):
    items, interactions = shop
    items = items.copy()
    items.loc[["item05", "item06"], IMAGE] = np.nan
    for missing in ("translate", "nan"):
        model = pipeline().set_params(disentangle__missing=missing).fit(items, interactions)
        assert np.isfinite(model.predict(items)).all()


def test_new_items_are_ranked_by_their_content(shop):
    items, interactions = shop
    train, new = items.iloc[:60], items.iloc[60:]
    model = pipeline(max_epochs=40).fit(train, interactions[:60])
    scores = model.decision_function(new)
    auc = [
        (scores[taken, u][:, None] > scores[~taken, u]).mean()
        for u, taken in enumerate(interactions.toarray()[60:].astype(bool).T)
        if 0 < taken.sum() < 20
    ]
    assert np.mean(auc) > 0.65  # chance is 0.5


def test_make_pamd_pipeline_runs_from_pictures_and_words(tmp_path):
    rng = np.random.default_rng(0)
    colours = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
    rows = []
    for i in range(60):
        name = list(colours)[i % 3]
        path = tmp_path / f"{i}.png"
        pixels = np.clip(np.array(colours[name]) + rng.integers(-25, 25, (8, 8, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        extra = rng.choice(["old", "new", "small", "large"], size=2)
        rows.append((f"item{i}", path, f"{name} {' '.join(extra)}"))
    items = pd.DataFrame(rows, columns=["id", "image", "text"]).set_index("id")
    items.loc["item7", "image"] = None  # a missing picture is no reason to stop
    vectors = KeyedVectors(6)
    vectors.add_vectors([*colours, "old", "new", "small", "large"], np.eye(7, 6, dtype=np.float32) + 0.1)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    model = make_pamd_pipeline(
        ImageFeaturizer(network),
        GloveFeaturizer(vectors, pooling="mean"),
        recommender=AttentiveBPR(max_epochs=30, random_state=0),
    ).set_params(disentangle__objective="cca", disentangle__random_state=0)
    taken = np.array([[i % 3 == u % 3 and (i + u) % 5 > 0 for u in range(30)] for i in range(60)], dtype=float)
    interactions = Interactions(taken, item_ids=items.index, user_ids=[f"u{u}" for u in range(30)])
    model.fit(items, interactions)
    ids, _ = model[-1].recommend(["u0"], k=4)  # u0 takes red; its unseen red items are those with i % 5 == 0
    assert sum(int(i.removeprefix("item")) % 3 == 0 for i in ids[0]) >= 3
    assert model["disentangle"].common_rank_ >= 1
