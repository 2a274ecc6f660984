"""AttentiveBPR on made data with one right answer, and its promises."""

import pickle

import numpy as np
import pytest
import torch
from made import checkerboard, named, parity_parts
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_param_validation, parametrize_with_checks

from modalsplit import Interactions
from modalsplit.recommend import AttentiveBPR
from modalsplit.recommend._fitting import leading_directions

PAPER = {
    "loss": "bpr",
    "users": "embedding",
    "projection": False,
    "item_bias": False,
    "fine_tune": True,
    "init": "uniform",
    "sampling": "interactions",
    "n_negatives": 1,
    "decay": False,
    "l2": 0.0,
    "batch_size": 100,
}
QUICK = {"random_state": 0, "batch_size": 20, "learning_rate": 2e-2, "max_epochs": 40}
FREE = {"users": "embedding", "max_epochs": 150}
VARIANTS = {
    "default": {},
    "no content": {"parts": None},
    "user attention": {"attention": "user"},
    "mean attention": {"attention": "mean"},
    "bpr": {"loss": "bpr"},
    "logistic": {"loss": "logistic"},
    "free users": FREE,
    "own negatives": {"sampling": "interactions", "batch_size": 256, "n_negatives": 5, "max_epochs": 30},
    "few shared negatives": {"n_negatives": 10},
    "no projection": {"projection": False},
    "no bias": {"item_bias": False},
    "fine-tuned": {"fine_tune": True},
    "paper": {**PAPER, "max_epochs": 60, "learning_rate": 1e-2},
}
ESTIMATORS = [
    AttentiveBPR(),
    AttentiveBPR(max_epochs=2, attention="user", users="embedding", sampling="interactions", loss="bpr"),
    AttentiveBPR(max_epochs=2, parts=None, early_stopping=True),
    AttentiveBPR(4, max_epochs=2, blocks=1, attention="mean", loss="logistic", init="uniform"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_parameters_are_validated():
    check_param_validation("AttentiveBPR", AttentiveBPR(max_epochs=1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_checkerboard_is_solved(items, taken, variant):
    model = AttentiveBPR(**{**QUICK, **VARIANTS[variant]}).fit(items, taken)
    ids, _ = model.recommend(k=1)
    assert ids[:, 0].tolist() == items.index.tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_recommendations_and_explanations_tell_the_same_score(items, taken, variant):
    model = AttentiveBPR(**{**QUICK, **VARIANTS[variant], "max_epochs": 2}).fit(items, taken)
    scores = model.decision_function(items)
    ids, best = model.recommend(k=40, exclude_seen=False)
    rows = items.index.get_indexer(ids.ravel()).reshape(ids.shape)
    np.testing.assert_allclose(best, scores.T[np.arange(40)[:, None], rows], rtol=1e-4, atol=1e-5)
    for u, i in [(0, 0), (3, 17)]:
        told = model.explain(f"user{u}", f"item{i}")
        assert list(told.index) == ["item", *model.part_names_, "bias"]
        assert told.sum() == pytest.approx(scores[i, u], rel=1e-4, abs=1e-5)
    several = model.explain("user3", items.index[[17, 0, 5]])
    assert several.index.tolist() == items.index[[17, 0, 5]].tolist()
    np.testing.assert_allclose(several.loc[items.index[17]], told, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(several.sum(axis=1), scores[[17, 0, 5], 3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("users", [["user0", "user1"], ["user0"], np.array(["user3"])], ids=str)
def test_one_user_is_explained_at_a_time(items, taken, users):
    model = AttentiveBPR(random_state=0, max_epochs=1).fit(items, taken)
    with pytest.raises(ValueError, match=rf"one user, but user has shape \({len(users)},\).*'user"):
        model.explain(users, ["item0", "item1"])


def test_content_scores_cold_items(items, taken):
    warm, cold = items.iloc[:30], items.iloc[30:]
    model = AttentiveBPR(**QUICK).fit(warm, taken[:30])
    scores = model.predict(cold)
    same_parity = (np.arange(30, 40)[:, None] + np.arange(40)) % 2 == 0
    assert scores[same_parity].min() > scores[~same_parity].max()
    assert model.score(cold, taken[30:]) > 0.9
    blind = AttentiveBPR(**QUICK, parts=None).fit(warm, taken[:30])
    assert np.ptp(blind.predict(cold), axis=0).max() < 1e-5


def test_items_nobody_took_are_cold_though_they_are_in_the_catalogue(items, taken):
    fewer = taken.copy()
    fewer.data[fewer.indptr[30] :] = 0
    fewer = Interactions(fewer, item_ids=taken.item_ids, user_ids=taken.user_ids)
    whole = AttentiveBPR(**QUICK).fit(items, fewer)
    part = AttentiveBPR(**QUICK).fit(items.iloc[:30], taken[:30])
    np.testing.assert_allclose(whole.predict(items), part.predict(items), rtol=1e-4, atol=1e-5)
    assert whole.recommend("user0", k=1).ids[0] in items.index[[0, 30, 32, 34, 36, 38]]


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_new_users_are_scored_by_what_they_took(items, taken, users):
    settings = FREE if users == "embedding" else {}
    model = AttentiveBPR(**{**QUICK, **settings}).fit(items, taken)
    new = checkerboard()[:, [0, 1]]
    ids, _ = model.recommend(k=1, interactions=new)
    assert ids[:, 0].tolist() == ["item0", "item1"]
    assert model.fold_in(new).shape == (2, model.user_embeddings_.shape[1])
    if users == "history":
        np.testing.assert_allclose(model.fold_in(taken), model.user_embeddings_, rtol=1e-5)


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_a_user_without_interactions_gets_finite_scores(items, taken, users):
    y = np.hstack([taken.toarray(), np.zeros((40, 1))])
    model = AttentiveBPR(random_state=0, users=users, max_epochs=2).fit(items, y)
    ids, scores = model.recommend(40, k=40)
    assert np.isfinite(scores).all()
    assert len(set(ids)) == 40


def test_attention_sums_to_one_and_finds_missing_modalities(items, taken):
    items = items.copy()
    items.iloc[3, :4] = np.nan
    items.iloc[5, 1] = np.nan
    items.iloc[7] = np.nan
    for attention in ("item", "user", "mean"):
        model = AttentiveBPR(random_state=0, attention=attention, max_epochs=2).fit(items, taken)
        weights = model.attention_weights(items, users="user3")
        assert weights[3, 0] == 0
        assert weights[5, 0] == 0
        np.testing.assert_allclose(np.delete(weights, 7, axis=0).sum(axis=1), 1, rtol=1e-5)
        assert weights[7].tolist() == [0] * 4
        assert np.isfinite(model.predict(items)).all()


def test_user_attention_depends_on_the_user(items, taken):
    model = AttentiveBPR(**QUICK, attention="user").fit(items, taken)
    each = model.attention_weights(items, users=taken.user_ids)
    same = model.attention_weights(items, users="user0")
    assert np.abs(each - same)[1:].max() > 1e-3
    np.testing.assert_allclose(each[0], same[0], rtol=1e-6)
    with pytest.raises(ValueError, match="pass users="):
        model.attention_weights(items)
    with pytest.raises(ValueError, match="40 rows, but users has 2"):
        model.attention_weights(items, users=["user0", "user1"])


@pytest.mark.parametrize("parts", ["common", "specific"])
def test_parts_are_selected_by_name_or_by_the_encoders_order(items, taken, parts):
    model = AttentiveBPR(random_state=0, parts=parts, max_epochs=2)
    by_name, by_order = clone(model).fit(items, taken), clone(model).set_params(blocks=4).fit(items.to_numpy(), taken)
    assert by_name.part_names_ == (f"image_{parts}", f"text_{parts}")
    np.testing.assert_allclose(by_name.item_vectors_, by_order.item_vectors_, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"parts": "common"}, {"parts": "specific"}, {"fine_tune": True}], ids=str)
def test_a_guess_which_columns_are_which_part_is_told(items, taken, settings):
    model = AttentiveBPR(random_state=0, max_epochs=1, **settings)
    with pytest.warns(UserWarning, match=r"four blocks of 4 columns.*a_common, b_common, .*pass blocks=4") as told:
        guessed = clone(model).fit(items.to_numpy(), taken)
    assert len(told) == 1
    said = clone(model).set_params(blocks=4).fit(items.to_numpy(), taken)  # silent: a warning is an error here
    np.testing.assert_array_equal(guessed.item_vectors_, said.item_vectors_)
    clone(model).set_params(parts="both", fine_tune=False).fit(items.to_numpy(), taken)


def renamed(items):
    return items.rename(columns=lambda name: name.replace("image", "common_crawl").replace("text", "specific_heat"))


@pytest.mark.parametrize("parts", ["common", "specific"])
def test_a_modality_may_have_the_name_of_a_part(items, taken, parts):
    settings = {"random_state": 0, "max_epochs": 2}
    chosen = AttentiveBPR(parts=parts, **settings).fit(renamed(items), taken)
    assert chosen.part_names_ == (f"common_crawl_{parts}", f"specific_heat_{parts}")
    tuned, expected = (AttentiveBPR(fine_tune=True, **settings).fit(X, taken) for X in (renamed(items), items))
    np.testing.assert_array_equal(tuned.extractor_deltas_, expected.extractor_deltas_)
    assert len(tuned.cold_shares_) == 2  # modalities


def test_blocks_named_by_the_bare_words_are_a_pair(items, taken):
    names = {"image_common": "common", "image_specific": "specific", "text_common": "common_a", "text_specific": "rest"}
    bare = items.rename(columns=lambda name: "__".join([names[name.split("__")[0]], name.split("__")[1]]))
    model = AttentiveBPR(random_state=0, max_epochs=2, fine_tune=True).fit(bare, taken)
    assert len(model.extractor_deltas_) == 1
    assert len(model.cold_shares_) == 3
    assert clone(model).set_params(parts="common", fine_tune=False).fit(bare, taken).part_names_ == ("common",)


def test_permuting_items_permutes_scores(items, taken):
    model = AttentiveBPR(random_state=0, max_epochs=2).fit(items, taken)
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(model.predict(items.iloc[order]), model.predict(items)[order], rtol=1e-5)
    assert (model.seen(items.iloc[order]) != model.seen(items)[order]).nnz == 0


def test_fits_repeat_and_leave_the_global_generators_alone(items, taken):
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (AttentiveBPR(random_state=3).fit(items, taken) for _ in range(2))
    np.testing.assert_array_equal(first.predict(items), second.predict(items))
    assert not np.array_equal(first.item_vectors_, AttentiveBPR(random_state=4).fit(items, taken).item_vectors_)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])


def test_float32_and_float64_items_give_float32_scores(items, taken):
    for dtype in (np.float32, np.float64):
        model = AttentiveBPR(random_state=0, max_epochs=2).fit(items.astype(dtype), taken)
        assert model.predict(items.astype(dtype)).dtype == np.float32


def test_pickles_and_clones(items, taken):
    model = AttentiveBPR(random_state=0, max_epochs=2).fit(items, taken)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(items), model.predict(items))
    assert not hasattr(clone(model), "item_vectors_")
    assert not any(isinstance(value, torch.Tensor | torch.nn.Module) for value in vars(model).values())


def test_grid_search_over_items_is_cold_start(items, taken):
    grid = GridSearchCV(AttentiveBPR(**QUICK), {"parts": ["common", "specific"]}, cv=3)
    grid.fit(items, taken)
    assert grid.best_params_ == {"parts": "common"}
    assert grid.best_score_ > 0.9


@pytest.mark.parametrize("fine_tune", [True, False])
def test_fine_tuning_keeps_an_affine_extractor_affine(fine_tune):
    rng = np.random.default_rng(0)
    e = rng.normal(size=(2, 60, 5))
    extractors, offsets = rng.normal(size=(2, 5, 5)), rng.normal(size=(2, 1, 5))
    common = e @ extractors.transpose(0, 2, 1) + offsets
    X = named(np.hstack([*common, *(e - common)]))
    y = (rng.random((60, 30)) < 0.3).astype(float)
    model = AttentiveBPR(random_state=0, fine_tune=fine_tune, fine_tune_learning_rate=1e-2).fit(X, y)
    tuned = model.parts_ / model.part_scales_[:, None]
    for modality in range(2):
        c, s = tuned[:, modality], tuned[:, modality + 2]
        np.testing.assert_allclose(c + s, e[modality], atol=1e-4)  # Eq. 2 still holds
        design = np.c_[e[modality], np.ones(60)]
        found, *_ = np.linalg.lstsq(design, c)
        np.testing.assert_allclose(design @ found, c, atol=1e-4)
        delta = model.extractor_deltas_[modality] if fine_tune else 0
        np.testing.assert_allclose(found[:5].T, extractors[modality] + delta, atol=1e-4)
    if fine_tune:
        assert np.abs(model.extractor_deltas_).max() > 1e-3
    else:
        assert model.extractor_deltas_ is None


def test_fine_tuning_needs_both_parts_of_a_modality(items, taken):
    with pytest.raises(ValueError, match=r"the parts used are \['image_common', 'text_common'\]"):
        AttentiveBPR(parts="common", fine_tune=True).fit(items, taken)


def test_early_stopping_returns_to_the_best_epoch(items, taken):
    model = AttentiveBPR(random_state=0, early_stopping=True, n_iter_no_change=3, max_epochs=500, decay=False)
    model.set_params(learning_rate=2e-2).fit(items, taken)
    values = [record["validation_ndcg"] for record in model.history_]
    assert len(values) < 500
    assert model.n_iter_ == int(np.argmax(values)) + 1
    assert len(values) == model.n_iter_ + 3


ONE_EACH = np.kron(np.eye(40), np.ones((1, 2)))  # an item has two users, but a user one item
OWN_ITEMS = np.kron(np.eye(4), np.ones((10, 1)))  # a user took ten items, but an item has one user


@pytest.mark.parametrize(
    ("y", "fraction", "message"),
    [
        (ONE_EACH, 0.5, "validation_fraction=0.5 of 80 interactions of 80 users"),
        (OWN_ITEMS, 0.5, "validation_fraction=0.5 of 40 interactions of 4 users"),
        (checkerboard(), 1e-9, "validation_fraction=1e-09 of 760 interactions of 40 users"),
    ],
    ids=["one item a user", "one user an item", "tiny fraction"],
)
def test_early_stopping_by_nothing_is_refused(items, y, fraction, message):
    model = AttentiveBPR(random_state=0, early_stopping=True, validation_fraction=fraction)
    with pytest.raises(ValueError, match=f"early_stopping=True .*{message}.* pass early_stopping=False"):
        model.fit(items.to_numpy(), y)


def test_history_records_a_falling_loss(items, taken):
    model = AttentiveBPR(random_state=0).fit(items, taken)
    losses = [record["loss"] for record in model.history_]
    assert len(losses) == model.n_iter_ == model.max_epochs
    assert losses[-1] < losses[0]


def test_verbose_shows_a_bar(items, taken, capfd):
    AttentiveBPR(max_epochs=2, verbose=True).fit(items, taken)
    assert "AttentiveBPR" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(AttentiveBPR, "set_callbacks"), reason="scikit-learn has callbacks from 1.9 on")
def test_callbacks_see_every_epoch_and_can_stop(items, taken):
    class StopAfterThree:
        def __init__(self):
            self.scores = []

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            self.scores.append(None if fitted_estimator is None else fitted_estimator.score(items, taken))
            return len(self.scores) == 3

    callback = StopAfterThree()
    model = AttentiveBPR(random_state=0).set_callbacks(callback).fit(items, taken)
    assert model.n_iter_ == 3
    assert callback.scores[2] == pytest.approx(model.score(items, taken))


BAD = {
    "unequal blocks": (lambda X: X.iloc[:, :-1], {}, r"one width.*'text_specific': 3"),
    "blocks do not divide": (lambda X: X.to_numpy(), {"blocks": 3}, "16 columns, which blocks=3"),
    "no such part": (lambda X: X.iloc[:, :8], {"parts": "specific"}, r"the blocks here are \['image_common'"),
    "components without projection": (
        lambda X: X,
        {"n_components": 7, "projection": False},
        "n_components=7, but a part has 4 columns",
    ),
    "infinity": (lambda X: X.abs() * np.inf, {}, "infinity"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_reason(items, taken, case):
    change, settings, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        AttentiveBPR(**settings).fit(change(items), taken)


def test_methods_need_a_fit(items):
    for call in (
        lambda m: m.explain(0, 0),
        lambda m: m.attention_weights(items),
        lambda m: m.fold_in(np.ones((40, 1))),
    ):
        with pytest.raises(NotFittedError):
            call(AttentiveBPR())


def test_plain_features_become_one_part(taken):
    X = parity_parts()[:, :5]
    model = AttentiveBPR(random_state=0).fit(X, taken)
    assert model.part_names_ == ("block0",)
    assert model.part_maps_.shape == (1, 5, 5)


def test_divergence_is_an_error_and_not_a_silent_nan(items, taken):
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        AttentiveBPR(learning_rate=1e20, random_state=0).fit(items, taken)


def test_wide_parts_start_from_the_directions_in_which_they_are_large():
    rng = np.random.default_rng(0)
    parts = np.zeros((50, 2, 6), dtype=np.float32)
    parts[:, 0, :2] = rng.normal(size=(50, 2))  # as a common part of rank 2 is
    parts[:, 1, 2:] = rng.normal(size=(50, 4)) * [9, 9, 0.1, 0.1]  # and a specific part, in other columns
    scales = 1 / np.sqrt(np.square(parts).mean(axis=(0, 2)))
    directions = leading_directions(parts, scales, 4)
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-6)
    alike = parts * scales[:, None]
    assert np.square(alike @ directions).sum() > 0.99 * np.square(alike).sum()
    assert np.square(alike[:, :, :2]).sum() < 0.6 * np.square(alike).sum()
    np.testing.assert_array_equal(leading_directions(parts, scales, 8), np.eye(6, 8))


def test_maps_that_do_not_move_stay_where_they_start(items, taken):
    model = AttentiveBPR(4, projection_learning_rate=0.0, **QUICK).fit(items, taken)
    np.testing.assert_array_equal(model.part_maps_, np.broadcast_to(np.eye(4), (4, 4, 4)))
