"""The baselines that are trained: what they learn from made data, and what they do with odd data."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from modalsplit import DisentangledModalityEncoder
from modalsplit.baselines import ALS, BPR, MMGCN, NFM, VBPR, VECF, CorrAE, NeuMF, Popularity
from modalsplit.baselines._fields import Fields
from modalsplit.datasets import make_modalities
from modalsplit.evaluate import evaluate, hold_out_items

# Large steps: quick, and enough for this data.
QUICK = {"learning_rate": 0.02, "batch_size": 256}
CONTENT_MODELS = [
    VBPR(16, **QUICK),
    VBPR(16, use_id=False, l2=1e-3, l2_content=0.0, **QUICK),
    NFM(16, **QUICK),
    NeuMF(16, **QUICK),
    MMGCN(16, **QUICK),
    VECF(16, n_regions=4, **QUICK),
]
MODELS = [BPR(16, **QUICK), ALS(16), *CONTENT_MODELS]


@pytest.fixture(scope="module")
def shop():
    return planted()


def ndcg(model, X, train, test):
    return evaluate(model.fit(X, train), test).per_user["ndcg@10"].mean()


def seeded(model):
    return clone(model).set_params(random_state=0)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_tastes_are_learned(shop, model):
    popular = ndcg(Popularity(), *shop)
    assert ndcg(seeded(model), *shop) > 1.3 * popular


# A node without neighbours says little: MMGCN is left out.
@pytest.mark.parametrize("model", [model for model in CONTENT_MODELS if not isinstance(model, MMGCN)], ids=repr)
def test_new_items_are_ranked_by_their_content(shop, model):
    X, train, test = shop
    Y = train + test
    known, new = hold_out_items(Y, 0.25, random_state=0)
    scores = seeded(model).fit(X.iloc[known], Y[known]).decision_function(X.iloc[new])
    kind, taste = new % 4, np.arange(Y.shape[1]) % 4
    own = kind[:, None] == taste
    assert (scores > np.median(scores, axis=0))[own].mean() > 0.8


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_results_repeat_and_global_generators_rest(shop, model):
    X, train, _ = shop
    model = seeded(model).set_params(**({"max_iter": 2} if isinstance(model, ALS) else {"max_epochs": 2}))
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (clone(model).fit(X, train).decision_function(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    torch.testing.assert_close(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_recommendations_agree_with_the_scores(shop, model):
    X, train, _ = shop
    model = seeded(model).set_params(**({} if isinstance(model, ALS) else {"max_epochs": 2})).fit(X, train)
    scores = model.decision_function(X)
    scores[train.nonzero()] = -np.inf
    ids, found = model.recommend(["u3", "u0"], k=3)
    for row, user in enumerate((3, 0)):
        np.testing.assert_allclose(found[row], np.sort(scores[:, user])[::-1][:3], rtol=1e-4)
        np.testing.assert_allclose(scores[X.index.get_indexer(ids[row]), user], found[row], rtol=1e-4)


def test_bpr_ranks_as_well_as_implicits(shop):
    implicit_bpr = pytest.importorskip("implicit.cpu.bpr", reason="implicit is not installed")
    X, train, test = shop
    theirs = Popularity().fit(X, train)
    with threadpool_limits(1, "blas"):
        model = implicit_bpr.BayesianPersonalizedRanking(
            factors=16, learning_rate=0.05, iterations=100, random_state=0, num_threads=1
        )
        model.fit(sparse.csr_matrix(train.T), show_progress=False)
    theirs._score_users = lambda users: model.user_factors[users] @ model.item_factors.T
    ours = ndcg(BPR(16, random_state=0, **QUICK), X, train, test)
    assert ours > 0.95 * evaluate(theirs, test).per_user["ndcg@10"].mean()


def test_als_solves_for_its_users(shop):
    X, train, _ = shop
    model = ALS(8, alpha=5.0, l2=3.0, max_iter=50, random_state=0).fit(X, train)
    items = model.item_vectors_.astype(float)
    for user in range(3):
        taken = train.toarray()[:, user] > 0
        weight = np.where(taken, 5.0, 1.0)
        gram = items.T @ (weight[:, None] * items) + 3.0 * np.eye(8)
        expected = items @ np.linalg.solve(gram, items.T @ (weight * taken))
        found = model.recommend(interactions=train[:, [user]], k=5, exclude_seen=False)
        np.testing.assert_allclose(found.scores[0], np.sort(expected)[::-1][:5], rtol=1e-3)


def test_als_says_what_to_install(shop, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "implicit.cpu.als", None)
    with pytest.raises(ImportError, match=r"pip install modalsplit\[interop\]"):
        ALS().fit(*shop[:2])


@pytest.mark.parametrize("model", [BPR(4), VBPR(4), NFM(4), NeuMF(4), MMGCN(4), VECF(4)], ids=repr)
def test_items_and_users_without_interactions_get_the_mean(shop, model):
    X, train, _ = shop
    Y = train.tolil()
    Y[:3] = 0
    Y[:, :2] = 0
    model = seeded(model).set_params(max_epochs=2).fit(X, Y.tocsr())
    assert not set(model.trained_) & {0, 1, 2}
    active = np.setdiff1d(np.arange(300), [0, 1])
    np.testing.assert_allclose(model.user_vectors_[0], model.user_vectors_[active].mean(axis=0), rtol=1e-4, atol=1e-6)
    scores = model.decision_function(X, item_ids=[f"new{i}" for i in range(120)])[:3]
    np.testing.assert_allclose(model.recommend(k=120, exclude_seen=False).scores.shape, (300, 120))
    np.testing.assert_allclose(scores, model.decision_function(X)[:3], rtol=1e-5)


@pytest.mark.parametrize("model", [VBPR(4), NFM(4), NeuMF(4), MMGCN(4)], ids=repr)
def test_a_field_that_is_missing_is_its_mean(shop, model):
    X, train, _ = shop
    image = X.columns.str.startswith("image")
    X = X.copy()
    X.iloc[:5, np.flatnonzero(image)[0]] = np.nan
    model = seeded(model).set_params(max_epochs=2).fit(X, train)
    mean = X.copy()
    mean.iloc[:5, image] = X.iloc[5:, image].mean()
    new = [f"new{i}" for i in range(120)]
    expected = model.decision_function(mean, item_ids=new)[:5]
    np.testing.assert_allclose(model.decision_function(X, item_ids=new)[:5], expected, rtol=1e-4, atol=1e-6)


def test_fields_are_brought_to_one_size(shop):
    X = shop[0].to_numpy() * ([100.0] * 12 + [1.0] * 8)
    for names, split in (
        (list(shop[0].columns), "auto"),
        ([], 12),
        ([], (12,)),
        (list(shop[0].columns), ("image", "text")),
    ):
        fields = Fields(X, names, split)
        assert fields.widths == [12, 8]
        out = fields.transform(X)
        np.testing.assert_allclose(np.square(out[:, :12]).sum(axis=1).mean(), 1, rtol=1e-5)
        np.testing.assert_allclose(np.square(out[:, 12:]).sum(axis=1).mean(), 1, rtol=1e-5)
        np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-6)
    assert Fields(X, [], "auto").widths == [20]


def test_content_weights_shrink(shop):
    X, train, _ = shop
    sizes = [
        float(VBPR(8, l2_content=l2, max_epochs=5, random_state=0).fit(X, train).module_.map_size().detach())
        for l2 in (0.0, 0.1)
    ]
    assert sizes[1] < 0.5 * sizes[0]


def test_the_released_mmgcn_leaves_identities_as_they_were_drawn(shop):
    X, train, _ = shop
    drawn, trained = (
        MMGCN(8, train_ids=train_ids, max_epochs=epochs, random_state=0).fit(X, train).module_.item_tables[0]
        for train_ids, epochs in ((False, 1), (True, 3))
    )
    still = MMGCN(8, train_ids=False, max_epochs=3, random_state=0).fit(X, train).module_.item_tables[0]
    torch.testing.assert_close(still, drawn, rtol=0, atol=0)
    assert not torch.allclose(trained, drawn)


# VECF ---------------------------------------------------------------------------------------------------


def reviews_of(X, Y):
    """A word a kind for every interaction, by ids."""
    items, users = Y.nonzero()
    return pd.DataFrame(
        {
            "user": Y.user_ids[users],
            "item": Y.item_ids[items],
            "text": [f"Really {('red', 'blue', 'green', 'grey')[i % 4]} indeed" for i in items],
        }
    )


def test_vecf_reads_one_review_of_a_pair_and_no_missing_text(shop):
    X, train, _ = shop
    last = reviews_of(X, train)
    first = last.assign(text="an earlier and longer opinion of it")
    lacking = last.iloc[:3].assign(text=[None, np.nan, pd.NA])
    model = VECF(8, n_regions=4, max_words=8, random_state=0, **QUICK)
    vocabulary = clone(model).fit(X, train, reviews=last).vocabulary_
    found = clone(model).fit(X, train, reviews=pd.concat([first, last, lacking], ignore_index=True))
    assert found.vocabulary_ == vocabulary


def test_vecf_learns_to_write_from_training_reviews_only(shop):
    X, train, test = shop
    secret = reviews_of(X, test).assign(text="secret")
    reviews = pd.concat([reviews_of(X, train), secret], ignore_index=True)
    model = VECF(8, n_regions=4, review_weight=1.0, max_words=4, random_state=0, **QUICK).fit(X, train, reviews=reviews)
    assert set(model.vocabulary_) == {"really", "indeed", "red", "blue", "green", "grey"}
    without = VECF(8, n_regions=4, random_state=0, **QUICK).fit(X, train)
    assert without.writer_ is None
    # Three words, of which only the kind has to be guessed: log 4 at the start of knowledge, little at its end.
    written = model.history_[-1]["loss"] - without.history_[-1]["loss"]
    assert written < 0.5 * np.log(4)


def test_vecf_shows_where_a_user_looks(shop):
    X, train, _ = shop
    model = VECF(8, n_regions=5, max_epochs=2, random_state=0).fit(X, train)
    weights = model.attention("u3", "i7")
    assert weights.shape == (5,)
    assert weights.sum() == pytest.approx(1, rel=1e-5)
    with pytest.raises(ValueError, match="1 of 1 users were not seen"):
        model.attention("nobody", "i7")


ERRORS = {
    "units": (NFM(hidden_units=(8, 0)), r"hidden_units=\(8, 0\) must hold a positive integer"),
    "layers": (NeuMF(hidden_units=()), r"hidden_units=\(\) .* 1 at least"),
    "dropout": (NFM(dropout=(0.5,)), r"dropout=\(0.5,\) must hold two shares"),
    "one": (NFM(dropout=(0.5, 1.0)), r"dropout=\(0.5, 1.0\) must hold two shares"),
    "split": (VBPR(split=30), "split=30 leaves no column"),
    "prefix": (VBPR(split=("image", "sound")), "no column of X starts with 'sound'"),
    "rate": (BPR(learning_rate=0), "'learning_rate' parameter of BPR"),
    "diverges": (VBPR(learning_rate=1e30), "loss is no longer finite"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_parameters_are_refused_with_the_reason(shop, case):
    model, message = ERRORS[case]
    with pytest.raises((ValueError, FloatingPointError), match=message):
        model.fit(*shop[:2])


VECF_ERRORS = {
    "regions": ({"n_regions": 7}, None, "X has 20 columns, which n_regions=7 does not divide"),
    "columns": ({}, pd.DataFrame({"user": ["u0"], "words": ["red"]}), r"reviews lacks the columns \['item', 'text'\]"),
    "ids": ({}, pd.DataFrame({"user": [0], "item": [0], "text": ["red"]}), "None of the 1 reviews .* ids like"),
}


@pytest.mark.parametrize("case", VECF_ERRORS)
def test_vecf_says_what_is_wrong(shop, case):
    params, reviews, message = VECF_ERRORS[case]
    with pytest.raises(ValueError, match=message):
        VECF(**params).fit(*shop[:2], reviews=reviews)


# CorrAE -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    return make_modalities(400, n_shared=3, n_features=(12, 9), random_state=0)


@pytest.mark.parametrize("variant", ["corr", "cross", "full"])
def test_codes_of_one_item_agree(pair, variant):
    train, test = slice(0, 300), slice(300, None)
    model = CorrAE(8, variant=variant, max_epochs=30, random_state=0).fit(pair.X_img[train], pair.X_txt[train])
    first, second = np.hsplit(model.transform(pair.X_img[test], pair.X_txt[test]), 2)
    own = np.square(first - second).sum(axis=1).mean()
    others = np.square(first - np.roll(second, 1, axis=0)).sum(axis=1).mean()
    assert own < 0.8 * others
    assert model.history_[-1]["reconstruction"] < model.history_[0]["reconstruction"]


def test_alpha_of_one_collapses_codes(pair):
    spread = [
        CorrAE(8, alpha=alpha, max_epochs=20, random_state=0).fit_transform(pair.X_img, pair.X_txt).std(axis=0).mean()
        for alpha in (0.2, 1.0)
    ]
    assert spread[1] < 0.5 * spread[0]


def test_pair_and_stacked_input_give_the_same_codes(pair):
    X_img, X_txt = pair.X_img, pair.X_txt
    model = CorrAE(4, max_epochs=2, random_state=0)
    codes = clone(model).fit_transform(X_img, X_txt)
    stacked = np.hstack([X_img, X_txt])
    np.testing.assert_array_equal(clone(model).set_params(split=12).fit_transform(stacked), codes)
    frame = pd.DataFrame(stacked, columns=[f"image__{i}" for i in range(12)] + [f"text__{i}" for i in range(9)])
    named = clone(model).set_output(transform="pandas").fit(frame)
    out = named.transform(frame)
    assert list(out.columns) == [f"{m}_code__{i}" for m in ("image", "text") for i in range(4)]
    np.testing.assert_allclose(out, codes)
    two = clone(model).fit(frame.iloc[:, :12], frame.iloc[:, 12:])
    np.testing.assert_allclose(two.transform(frame.iloc[:, :12], frame.iloc[:, 12:]), codes)
    np.testing.assert_allclose(two.transform(frame), codes)


def test_codes_feed_a_recommender(shop):
    steps = [("codes", CorrAE(8, max_epochs=60, random_state=0)), ("rank", VBPR(16, random_state=0, **QUICK))]
    pipeline = Pipeline(steps).set_output(transform="pandas")
    X, train, test = shop
    pipeline.fit(X, train)
    assert set(pipeline[-1].recommend("u0", k=3).ids) <= set(X.index)
    ranked = evaluate(pipeline[-1], test).per_user["ndcg@10"].mean()
    assert ranked > 1.3 * ndcg(Popularity(), *shop)


@pytest.mark.parametrize("model", [VBPR(8), NFM(8), NeuMF(8), MMGCN(8)], ids=repr)
def test_parts_of_the_encoder_are_fields(shop, model):
    X, train, _ = shop
    encoder = DisentangledModalityEncoder(6, objective="cca", random_state=0)
    steps = [("disentangle", encoder), ("rank", seeded(model).set_params(max_epochs=2))]
    pipeline = Pipeline(steps).set_output(transform="pandas").fit(X, train)
    assert pipeline[-1]._fields.widths == [6] * 4


CORR_ERRORS = {
    "rows": (lambda m, X, Y: m.fit(X, Y[:9]), "have 400 and 9 rows"),
    "three": (lambda m, X, Y: m.set_params(split=(3, 6)).fit(X), "takes two modalities, but X has 3"),
    "none": (lambda m, X, Y: m.set_params(split=None).fit(X), "split=None takes the second modality as y"),
    "nan": (lambda m, X, Y: m.fit(X, Y * np.nan), "NaN"),
    "width": (lambda m, X, Y: m.fit(X, Y).transform(X, X), "24 features, but CorrAE is expecting 21"),
}


@pytest.mark.parametrize("case", CORR_ERRORS)
def test_corr_ae_says_what_is_wrong(pair, case):
    call, message = CORR_ERRORS[case]
    with pytest.raises(ValueError, match=message):
        call(CorrAE(4, max_epochs=1), pair.X_img, pair.X_txt)


@pytest.mark.parametrize("model", [BPR(4, max_epochs=3), CorrAE(4, max_epochs=3)], ids=repr)
def test_epochs_are_reported(shop, model, capsys):
    model = clone(model).set_params(verbose=True).fit(*shop[:2])
    assert len(model.history_) == model.n_iter_ == 3
    assert "3/3" in capsys.readouterr().err
