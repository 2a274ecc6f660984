"""DisentangledModalityEncoder: roles of X and y, outputs, missing modalities, bad input."""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from modalsplit import DisentangledModalityEncoder, ModalityEmbeddings
from modalsplit.datasets import make_modalities
from modalsplit.exceptions import ConvergenceError

D = 12


@pytest.fixture(scope="module")
def data():
    return make_modalities(300, n_shared=3, n_private=3, n_features=(20, 14), random_state=0)


@pytest.fixture(scope="module")
def stacked(data):
    return np.hstack([data.X_img, data.X_txt])


@pytest.fixture(scope="module")
def frame(data):
    columns = [f"image__{i}" for i in range(20)] + [f"text__{i}" for i in range(14)]
    index = [f"item{i}" for i in range(300)]
    return pd.DataFrame(np.hstack([data.X_img, data.X_txt]), columns=columns, index=index)


def encoder(**parameters):
    return DisentangledModalityEncoder(D, **{"objective": "cca", "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def fitted(data):
    return encoder().fit(data.X_img, data.X_txt)


# Roles -------------------------------------------------------------------------------------------


def test_pair_gives_a_named_tuple(data, fitted):
    common, specific = parts = fitted.transform(data.X_img, data.X_txt)
    assert isinstance(parts, ModalityEmbeddings)
    assert isinstance(parts, tuple)
    assert parts._fields == ("common", "specific")
    assert common.shape == specific.shape == (300, 2 * D)
    assert not parts.imputed.any()
    assert_array_equal(pickle.loads(pickle.dumps(parts)).specific, specific)


def test_one_array_holds_common_parts_first(data, stacked, fitted):
    common, specific = fitted.transform(data.X_img, data.X_txt)
    assert_array_equal(fitted.transform(stacked), np.hstack([common, specific]))


@pytest.mark.parametrize("split", [20, ("image", "text"), "auto"])
def test_fitted_state_does_not_depend_on_how_the_modalities_came(split, data, frame, stacked, fitted):
    X = stacked if split == 20 else frame
    other = encoder(split=split).fit(X)
    assert other.fit_mode_ == "stacked"
    assert fitted.fit_mode_ == "pair"
    assert_allclose(other.transform(X), fitted.transform(stacked), atol=1e-9)
    assert_array_equal(other.transform(data.X_img, data.X_txt).common, fitted.transform(data.X_img, data.X_txt).common)


@pytest.mark.parametrize("split", [20, ("image", "text"), "auto"])
def test_y_is_never_looked_at_when_columns_or_split_say_where_the_second_modality_is(split, frame):
    anything = np.random.default_rng(0).standard_normal((300, 5))
    for y in (None, sparse.csr_array(anything > 1), anything, anything[:, 0], ["label"] * 300):
        result = encoder(split=split).fit(frame, y)
        assert result.n_features_per_modality_ == (20, 14)
        assert_array_equal(result.transform(frame), encoder(split=split).fit_transform(frame, y))


def test_columns_of_the_modalities_may_be_interleaved(frame):
    shuffled = frame.sample(frac=1, axis=1, random_state=0)
    result = encoder().fit(shuffled)
    assert set(result.modality_names_) == {"image", "text"}
    assert dict(zip(result.modality_names_, result.n_features_per_modality_, strict=True)) == {"image": 20, "text": 14}
    by_hand = encoder().fit(
        shuffled[[c for c in shuffled if c.startswith(result.modality_names_[0])]].to_numpy(),
        shuffled[[c for c in shuffled if c.startswith(result.modality_names_[1])]].to_numpy(),
    )
    assert_allclose(
        np.abs(result.transform(shuffled)),
        np.abs(
            by_hand.transform(
                np.hstack(
                    [
                        shuffled[[c for c in shuffled if c.startswith(name)]].to_numpy()
                        for name in result.modality_names_
                    ]
                )
            )
        ),
    )


@pytest.mark.parametrize(
    "y",
    [
        sparse.random_array((300, 9), density=0.1, rng=0),
        (np.random.default_rng(0).random((300, 9)) < 0.1).astype(float),
        np.random.default_rng(0).random((300, 9)) < 0.1,
        np.random.default_rng(0).integers(0, 2, (300, 9)),
        np.full((300, 2), "red"),
    ],
    ids=["sparse", "0/1 floats", "bool", "0/1 ints", "strings"],
)
def test_y_that_looks_like_interactions_is_refused_with_three_ways_out(y, data):
    with pytest.raises(ValueError, match=r"(?s)looks like interactions.*image__0.*split=<column.*split=None"):
        encoder().fit(data.X_img, y)


def test_split_none_takes_y_whatever_it_looks_like(data):
    bag_of_words = (data.X_txt > 0).astype(float)
    assert encoder(split=None).fit(data.X_img, bag_of_words).n_features_per_modality_ == (20, 14)
    with pytest.raises(ValueError, match="split=None"):
        encoder(split=None).fit(data.X_img)


@pytest.mark.parametrize("y", [None, np.arange(300)])
def test_plain_matrix_is_cut_in_the_middle_with_a_warning(y, stacked):
    with pytest.warns(UserWarning, match="first 17 of 34 columns.*Pass split="):
        assert encoder().fit(stacked, y).n_features_per_modality_ == (17, 17)


def test_object_matrix_of_numbers_is_a_modality(data):
    assert encoder().fit(data.X_img, data.X_txt.astype(object)).fit_mode_ == "pair"


# Outputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["all", "common", "specific"])
def test_output_selects_blocks_and_names_them(output, frame):
    result = encoder(output=output).fit(frame)
    names = result.get_feature_names_out()
    assert result.transform(frame).shape == (300, len(names))
    blocks = list(dict.fromkeys(name.split("__")[0] for name in names))
    everything = ["image_common", "text_common", "image_specific", "text_specific"]
    assert blocks == [block for block in everything if output == "all" or output in block]


def test_pandas_output_keeps_the_index_in_both_forms(data, frame):
    result = encoder().set_output(transform="pandas").fit(frame)
    Z = result.transform(frame)
    assert list(Z.index) == list(frame.index)
    assert list(Z.columns) == list(result.get_feature_names_out())
    image, text = frame.iloc[:, :20], frame.iloc[:, 20:]
    common, specific = result.fit_transform(image, text)
    assert list(common.index) == list(specific.index) == list(frame.index)
    assert [c.split("__")[0] for c in common.columns[[0, D]]] == ["image_common", "text_common"]
    pd.testing.assert_frame_equal(pd.concat([common, specific], axis=1), result.transform(frame))


def test_polars_in_and_out_keeps_float32(frame):
    frame = pl.from_pandas(frame.astype(np.float32))
    result = encoder().set_output(transform="polars").fit(frame)
    Z = result.transform(frame)
    assert isinstance(Z, pl.DataFrame)
    assert set(Z.dtypes) == {pl.Float32}
    assert Z.columns == list(result.get_feature_names_out())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype, data):
    parts = encoder().fit_transform(data.X_img.astype(dtype), data.X_txt.astype(dtype))
    assert parts.common.dtype == parts.specific.dtype == dtype


def test_both_precisions_give_the_same_parts(data, fitted):
    single = encoder().fit(data.X_img.astype(np.float32), data.X_txt.astype(np.float32))
    args = data.X_img, data.X_txt
    assert_allclose(single.transform(*args).common, fitted.transform(*args).common, atol=1e-3)


def test_parts_feed_any_other_estimator(frame, data):
    model = make_pipeline(encoder(), Ridge()).fit(frame, data.shared)
    assert model.score(frame, data.shared) > 0.9


# Fitted state ------------------------------------------------------------------------------------


def test_diagnostics_say_what_was_found(fitted):
    assert fitted.common_rank_ == 3
    assert fitted.canonical_correlations_[:3].min() > 0.9
    assert abs(fitted.residual_share_) < 0.05
    assert 0 < fitted.translation_error_ < 1
    assert fitted.n_iter_ >= 1


def test_learning_is_recorded_epoch_by_epoch(data):
    result = encoder(objective="stable", max_epochs=4).fit(data.X_img, data.X_txt)
    assert result.n_iter_ == len(result.history_) == 8  # a round by translation, and one by agreement
    assert set(result.history_[0]) == {"loss", "validation_loss", "round"}
    assert result.history_[3]["loss"] < result.history_[0]["loss"]


def test_random_state_repeats_the_fit_and_leaves_global_numbers_alone(data):
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    results = [encoder(objective="stable", max_epochs=2).fit(data.X_img, data.X_txt) for _ in range(2)]
    assert_array_equal(numpy_state, np.random.get_state()[1])
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert_array_equal(*(r.transform(data.X_img, data.X_txt).common for r in results))


def test_clone_pickle_and_frozen_round_trip(frame, tmp_path):
    result = encoder().fit(frame)
    expected = result.transform(frame)
    assert not hasattr(clone(result), "module_")
    assert_array_equal(pickle.loads(pickle.dumps(result)).transform(frame), expected)
    joblib.dump(result, tmp_path / "encoder.joblib")
    assert_array_equal(joblib.load(tmp_path / "encoder.joblib", mmap_mode="r").transform(frame), expected)
    assert_array_equal(FrozenEstimator(result).transform(frame), expected)


def test_verbose_shows_a_bar(data, capsys):
    encoder(objective="stable", max_epochs=2, verbose=1).fit(data.X_img, data.X_txt)
    assert "DisentangledModalityEncoder" in capsys.readouterr().err


def test_callbacks_follow_and_can_stop_the_epochs(data):
    callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

    class StopAfterTwo:
        def __init__(self):
            self.ended = 0

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context, **kwargs): ...

        def on_fit_task_end(self, estimator, context, **kwargs):
            self.ended += context.task_name == "epoch"
            return self.ended >= 2

    assert isinstance(StopAfterTwo(), callback.FitCallback)
    stop = StopAfterTwo()
    result = encoder(objective="stable", max_epochs=9).set_callbacks(stop).fit(data.X_img, data.X_txt)
    assert result.n_iter_ == stop.ended == 2


# Missing modalities ------------------------------------------------------------------------------


@pytest.fixture
def holes(data):
    image, text = data.X_img.copy(), data.X_txt.copy()
    image[3] = np.nan
    text[5, 2] = np.nan  # any NaN in its block means absent
    return image, text


def test_missing_modality_is_refused_by_default(holes):
    with pytest.raises(ValueError, match=r"NaN: 1 of x, 1 of y; the first is row 3.*missing='translate'"):
        encoder().fit(*holes)


def test_translate_lets_the_other_common_part_stand_in(holes):
    common, specific = parts = encoder(missing="translate").fit(*holes).transform(*holes)
    assert_array_equal(common[3, :D], common[3, D:])
    assert_array_equal(specific[3, :D], 0)
    assert_array_equal(common[5, D:], common[5, :D])
    assert_array_equal(specific[5, D:], 0)
    assert np.isfinite(common).all()
    assert [tuple(x) for x in np.argwhere(parts.imputed)] == [(3, 0), (5, 1)]


def test_common_part_that_stands_in_is_close_to_the_true_one(data):
    """The point of a joint coordinate system."""
    model = encoder().fit(data.X_img[:200], data.X_txt[:200])
    true = model.transform(data.X_img[200:], data.X_txt[200:]).common
    stand_in = model.transform(data.X_img[200:])[:, : 2 * D]
    error = ((true[:, D:] - stand_in[:, D:]) ** 2).mean() / (true[:, D:] ** 2).mean()
    assert error < 0.05


def test_nan_marks_the_parts_of_a_missing_modality(holes):
    common, specific = encoder(missing="nan").fit(*holes).transform(*holes)
    assert_array_equal(np.argwhere(np.isnan(common).any(axis=1)).ravel(), [3, 5])
    assert np.isnan(common[3, :D]).all()
    assert np.isfinite(common[3, D:]).all()
    assert np.isnan(specific[5, D:]).all()


def test_fit_uses_incomplete_items_for_what_they_have(data, holes):
    complete = np.delete(np.arange(300), [3, 5])
    reference = encoder().fit(data.X_img[complete], data.X_txt[complete])
    other = encoder(missing="nan").fit(*holes)
    args = data.X_img, data.X_txt
    assert_allclose(other.transform(*args).common, reference.transform(*args).common, atol=0.2)
    assert not np.allclose(other.transform(*args).common, reference.transform(*args).common, atol=1e-6)
    assert_array_equal(other.common_support_, reference.common_support_)


def test_an_item_without_any_modality_gets_the_mean(holes):
    image, text = holes
    text[3] = np.nan
    common, specific = parts = encoder(missing="translate").fit(image, text).transform(image, text)
    assert_array_equal(common[3], 0)
    assert_array_equal(specific[3], 0)
    assert parts.imputed[3].all()


def test_one_modality_alone(data, frame, fitted):
    both = fitted.transform(data.X_img, data.X_txt)
    image_only = fitted.transform(data.X_img)
    assert_array_equal(image_only[:, :D], both.common[:, :D])
    assert_array_equal(image_only[:, D : 2 * D], both.common[:, :D])
    text_only = fitted.transform(None, data.X_txt)
    assert_array_equal(text_only.common[:, D:], both.common[:, D:])
    assert text_only.imputed[:, 0].all()
    assert not text_only.imputed[:, 1].any()
    assert_array_equal(fitted.missing_modalities(data.X_img), np.tile([False, True], (300, 1)))


# Bad input ---------------------------------------------------------------------------------------


def bad(X, y=None, match="", **parameters):
    with pytest.raises(ValueError, match=match):
        encoder(**parameters).fit(X, y)


def test_row_counts_that_differ(data):
    bad(data.X_img, data.X_txt[:-1], "300 and 299 rows")


NAMED = pd.Index([f"item{i}" for i in range(300)])


def one_moved(index):
    return index[[0, 1, 3, 2, *range(4, 300)]]


@pytest.mark.parametrize(
    ("first", "second", "match"),
    [
        (
            NAMED,
            one_moved(NAMED),
            r"same ids in another order: row 2 is 'item2' and 'item3', row 3 .*\(2 of 300.*Y = Y.loc",
        ),
        (NAMED, NAMED[::-1], r"another order: row 0 is 'item0' and 'item299', row 1 .*, row 2 .*\(300 of 300"),
        (NAMED, NAMED[1:].append(pd.Index(["new"])), "different ids: row 0 .*299 ids are in both: ids = X.index.inter"),
        (NAMED, pd.RangeIndex(1, 301), "different ids: row 0 is 'item0' and 1.*No id is in both: spell ids alike"),
        (pd.Index(range(300)).astype(str), pd.Index(range(5, 305)), "No id is in both: spell ids alike, also in type"),
        (NAMED[[0, *range(299)]], NAMED, "different ids: row 1 is 'item0' and 'item1'.*repeated.*one row an id"),
        (pd.RangeIndex(300), one_moved(pd.RangeIndex(300)), "another order: row 2 is 2 and 3.*X.to_numpy"),
        (pd.RangeIndex(10, 310), pd.RangeIndex(300), None),
        (NAMED, pd.RangeIndex(300), None),
        (NAMED.astype(object), NAMED.astype("str"), None),
        (NAMED[[0, *range(299)]], NAMED[[0, *range(299)]], None),
        (NAMED.where(NAMED != "item7"), NAMED.where(NAMED != "item7").astype(object), None),
        (pd.MultiIndex.from_arrays([NAMED, range(300)]), pd.MultiIndex.from_arrays([NAMED, range(300)]), None),
    ],
)
def test_ids_of_two_frames_are_compared(data, fitted, first, second, match):
    X, Y = pd.DataFrame(data.X_img, index=first), pd.DataFrame(data.X_txt, index=second)
    if match is None:
        assert_array_equal(fitted.transform(X, Y).common, fitted.transform(data.X_img, data.X_txt).common)
        return
    bad(X, Y, match)
    for method in (fitted.transform, fitted.missing_modalities, fitted.parts, encoder().partial_fit):
        with pytest.raises(ValueError, match=match):
            method(X, Y)
    fitted.transform(X, data.X_txt)  # an array has no ids


def test_frames_of_different_lengths_say_what_they_share(data):
    X, Y = pd.DataFrame(data.X_img, index=NAMED), pd.DataFrame(data.X_txt[5:], index=NAMED[5:])
    bad(X, Y, "300 and 295 rows.*295 ids are in both: ids = X.index.intersection")


def test_constant_modality(data):
    bad(data.X_img, np.full((300, 14), 2.5), "y modality is constant.*14 feature")


def test_modality_that_is_all_nan(data):
    bad(data.X_img, np.full((300, 14), np.nan), "None of the 300 items has two.*x: 300, y: 0", missing="nan")


def test_infinite_values(data):
    X = data.X_img.copy()
    X[0, 0] = np.inf
    bad(X, data.X_txt, "Input X contains infinity")
    bad(data.X_txt, X, "Input y contains infinity")


def test_one_column_in_all(data):
    bad(data.X_img[:, :1], None, r"1 feature\(s\).*second modality as y")


def test_modality_of_one_column_is_split_all_the_same(data):
    parts = encoder().fit_transform(data.X_img, data.X_img[:, :1] + data.X_txt[:, :1])
    assert parts.common.shape == (300, 2 * D)


def test_more_components_than_can_be_had(data):
    match = r"n_components=21 is larger.*20 and 14 columns, give 20 at most"
    with pytest.raises(ValueError, match=match):
        DisentangledModalityEncoder(21).fit(data.X_img, data.X_txt)
    with pytest.raises(ValueError, match=r"10 complete items.*give 9 at most"):
        DisentangledModalityEncoder(15).fit(data.X_img[:10], data.X_txt[:10])


def test_strings_where_numbers_belong(data):
    bad(np.full((300, 3), "red"), data.X_txt, "could not convert string to float")
    bad(data.X_img, np.full((300, 3), "red"), "could not convert string to float", split=None)


def test_split_that_leaves_nothing(data):
    bad(data.X_img, None, "split=20 leaves no column", split=20)
    bad(data.X_img, None, "X has no column names", split=("image", "text"))
    bad(data.X_img, None, r"split=\(8, 8\) leaves no column.*rising order", split=(8, 8))


def test_split_names_that_no_column_has(frame):
    bad(frame, None, "no column of X starts with 'sound'; the first is 'image__0'", split=("image", "sound"))
    bad(frame, None, "names 1 modality", split=("image",))
    bad(frame, None, "start with two of these names", split=("image", "im"))


def test_other_columns_at_transform(data, frame, fitted):
    with pytest.raises(ValueError, match=r"y has 13 features.*expecting 14"):
        fitted.transform(data.X_img, data.X_txt[:, :-1])
    with pytest.raises(ValueError, match="feature names should match"):
        encoder().fit(frame).transform(frame.iloc[:, :-1])
    with pytest.raises(ValueError, match="33 features"):
        fitted.transform(np.hstack([data.X_img, data.X_txt])[:, :-1])
    with pytest.raises(ValueError, match="no modality"):
        fitted.transform()
    with pytest.raises(ValueError, match="300 and 299 rows"):
        fitted.transform(data.X_img, data.X_txt[:-1])


def test_not_fitted(data):
    with pytest.raises(NotFittedError):
        encoder().transform(data.X_img, data.X_txt)


def test_modalities_that_share_nothing_are_reported(data):
    shuffled = np.random.default_rng(0).permutation(data.X_txt)
    with pytest.warns(UserWarning, match="share nothing.*same order"):
        result = encoder().fit(data.X_img, shuffled)
    common, specific = result.transform(data.X_img, shuffled)
    assert_array_equal(common, 0)
    assert specific.std() > 0


# More than two modalities --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(data):
    """A third modality shows the shared factors too."""
    rng = np.random.default_rng(1)
    sound = data.shared @ rng.standard_normal((3, 9)) + 0.1 * rng.standard_normal((300, 9))
    columns = [f"{name}__{i}" for name, width in (("image", 20), ("text", 14), ("sound", 9)) for i in range(width)]
    X = np.hstack([data.X_img, data.X_txt, sound])
    return pd.DataFrame(X, columns=columns, index=[f"item{i}" for i in range(300)])


@pytest.mark.parametrize("split", ["auto", (20, 34), ("image", "text", "sound")])
def test_three_named_blocks_give_three_common_and_three_specific_parts(split, three):
    result = encoder(split=split).set_output(transform="pandas").fit(three)
    Z = result.transform(three)
    assert Z.shape == (300, 6 * D)
    names = result.modality_names_
    assert names == (("image", "text", "sound") if split != (20, 34) else ("x0", "x1", "x2"))
    assert [name.split("__")[0] for name in Z.columns[::D]] == [
        f"{m}_{p}" for p in ("common", "specific") for m in names
    ]
    assert result.common_rank_ == 3
    assert result.common_support_.sum() == 9
    parts = result.parts(three)
    assert_array_equal(Z.to_numpy(), np.hstack([*parts.common, *parts.specific]))
    for common in parts.common[1:]:
        assert_allclose(common[:, :3], parts.common[0][:, :3], atol=0.6)


def test_the_modalities_that_an_item_has_stand_in_for_one_that_it_lacks(three):
    holes = three.copy()
    holes.iloc[4, :20] = np.nan
    holes.iloc[6, :34] = np.nan
    parts = encoder(missing="translate").fit(holes).parts(holes)
    assert_allclose(parts.common[0][4], (parts.common[1][4] + parts.common[2][4]) / 2)
    assert_array_equal(parts.common[0][6], parts.common[2][6])
    assert_array_equal(parts.specific[1][6], 0)
    assert_array_equal(np.argwhere(parts.imputed), [[4, 0], [6, 0], [6, 1]])


def test_y_is_no_modality_of_an_encoder_of_three(three, data):
    with pytest.raises(ValueError, match="fitted on 3 modalities"):
        encoder().fit(three).transform(data.X_img, data.X_txt)


# Other objectives and widths -----------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["paper", "official", "con", "en", "de", "stable"])
def test_every_objective_gives_parts_of_the_same_form(objective, data, three):
    extractor = "linear" if objective == "stable" else None
    model = encoder(objective=objective, extractor=extractor, max_epochs=2, batch_size=50)
    common, specific = model.fit_transform(data.X_img, data.X_txt)
    assert common.shape == specific.shape == (300, 2 * D)
    assert np.isfinite(common).all()
    assert model.n_iter_ == 2
    assert clone(model).fit(three).transform(three).shape == (300, 6 * D)


def test_divergence_raises_and_leaves_the_last_finite_state(data):
    model = encoder(objective="paper_literal", max_epochs=100)
    with pytest.raises(ConvergenceError, match=r"diverged in epoch \d+.*no lower bound.*objective='paper'"):
        model.fit(data.X_img, data.X_txt)
    common, specific = model.transform(data.X_img, data.X_txt)
    assert np.isfinite(common).all()
    assert np.isfinite(specific).all()


def test_automatic_width_is_chosen_from_the_data(data):
    model = DisentangledModalityEncoder("auto", objective="cca", random_state=0).fit(data.X_img, data.X_txt)
    assert model.common_rank_ == 3
    assert 3 < model.n_components_ < 20
    assert model.transform(data.X_img, data.X_txt).common.shape == (300, 2 * model.n_components_)


def test_parts_come_one_matrix_a_modality_whatever_the_output(frame, fitted, data):
    parts = encoder(output="common").set_output(transform="pandas").fit(frame).parts(frame)
    assert parts.names == ("image", "text")
    assert_array_equal(parts.views[1], data.X_txt)
    assert_allclose(np.hstack(parts.common), fitted.transform(data.X_img, data.X_txt).common, atol=1e-9)
    assert_allclose(np.hstack(parts.specific), fitted.transform(data.X_img, data.X_txt).specific, atol=1e-9)


def test_half_precision_is_fitted_as_single_without_a_copy_of_all():
    data = make_modalities(400, random_state=0)
    half = data.X_img.astype(np.float16), data.X_txt.astype(np.float16)
    single = [x.astype(np.float32) for x in half]
    fits = [
        DisentangledModalityEncoder(6, objective="cca", random_state=0).fit(*views).parts(*views)
        for views in (half, single)
    ]
    for one, other in zip(fits[0].common + fits[0].specific, fits[1].common + fits[1].specific, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_map_of_memory_that_is_read_only_is_fitted_as_an_array(tmp_path):
    data = make_modalities(400, random_state=0)
    for name, x in (("image", data.X_img), ("text", data.X_txt)):
        np.save(tmp_path / f"{name}.npy", x)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("image", "text")]
    one, other = (
        DisentangledModalityEncoder(6, objective="cca", random_state=0).fit(*views).transform(*views)
        for views in (mapped, (data.X_img, data.X_txt))
    )
    np.testing.assert_array_equal(one.common, other.common)


def test_columns_of_a_modality_alone_must_be_those_of_fit(data, frame):
    image, text = frame.filter(like="image"), frame.filter(like="text")
    moved = image[image.columns[::-1]]
    for fitted in (encoder().fit(image, text), encoder().fit(frame)):
        for given in (
            (moved, text),
            (image, text[text.columns[::-1]]),
            (moved, None),
            (image.add_prefix("old_"), text),
        ):
            with pytest.raises(ValueError, match="feature names should match"):
                fitted.transform(*given)
        assert_allclose(fitted.transform(image, text).common, fitted.transform(data.X_img, data.X_txt).common)
    with pytest.raises(ValueError, match="feature names should match"):
        encoder().partial_fit(image, text).partial_fit(moved, text)


def test_columns_of_a_pair_need_no_prefix(data):
    first, second = (pd.DataFrame(x).add_prefix("column_") for x in (data.X_img, data.X_txt))
    fitted = encoder().fit(first, second)
    assert_allclose(fitted.transform(first, second).common, fitted.transform(data.X_img, data.X_txt).common)
    with pytest.raises(ValueError, match="column 0 of y is 'column_13'"):
        fitted.transform(first, second[second.columns[::-1]])


def test_the_first_modality_alone_is_known_by_its_columns(data, frame):
    alone = encoder().fit(data.X_img, data.X_txt).transform(data.X_img)
    for fitted, given in (
        (encoder().fit(data.X_img, data.X_txt), data.X_img.tolist()),
        (encoder().fit(frame), frame.filter(like="image")),
    ):
        assert_allclose(np.asarray(fitted.transform(given)), alone, atol=1e-10)


def test_nan_in_a_modality_alone_is_refused_too(data):
    X = data.X_img.copy()
    X[4, 2] = np.nan
    fitted = encoder().fit(data.X_img, data.X_txt)
    with pytest.raises(ValueError, match=r"1 of x, 0 of y; the first is row 4"):
        fitted.transform(X)


def test_partial_fit_takes_as_many_components_as_the_data_need(data):
    whole = encoder().set_params(n_components="auto").fit(data.X_img, data.X_txt)
    parted = (
        clone(whole).partial_fit(data.X_img[:150], data.X_txt[:150]).partial_fit(data.X_img[150:], data.X_txt[150:])
    )
    assert parted.n_components_ == whole.n_components_ < 20


@pytest.mark.parametrize("objective", ["cca", "stable", "paper"])
def test_callbacks_that_score_a_model_do_no_harm(data, objective):
    callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    monitor = callback.ScoringMonitor(scoring={"spread": lambda e, X, y: float(np.std(e.transform(X, y).common))})
    model = encoder(objective=objective, max_epochs=2).set_callbacks(monitor).fit(data.X_img, data.X_txt)
    assert model.n_components_ == D


def test_a_table_of_arrow_has_modalities_by_name(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fitted = encoder().fit(table)
    assert fitted.modality_names_ == ("image", "text")
    assert_allclose(fitted.transform(table), encoder().fit(frame).transform(frame))
