"""The other ways to save estimators work where their authors say so."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch import nn

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, baselines
from modalsplit.datasets import make_modalities
from modalsplit.featurize import TfidfFeaturizer

TEXTS = ["a dry red wine", "a sweet white wine", "dark fruit, red berries", "berries and oak"]


@pytest.fixture(scope="module")
def X():
    data = make_modalities(500, kind="quadratic", n_shared=2, n_private=2, n_features=(16, 12), random_state=0)
    return np.hstack([data.X_img, data.X_txt])


@pytest.fixture(scope="module")
def taken():
    return (np.random.RandomState(0).rand(500, 20) < 0.1).astype(float)


def test_joblib_keeps_a_pipeline(X, taken):
    encoder = DisentangledModalityEncoder(4, split=16, max_epochs=2, random_state=0)
    pipeline = make_pipeline(encoder, AttentiveBPR(max_epochs=1, random_state=0)).fit(X, taken)
    assert encoder.primitive_ == "learned features"
    file = io.BytesIO()
    joblib.dump(pipeline, file)
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict(X), pipeline.predict(X))


def through_skops(estimator):
    io = pytest.importorskip("skops.io", reason="skops is not installed: pip install skops")
    written = io.dumps(estimator)
    return io.loads(written, trusted=io.get_untrusted_types(data=written))


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


WAYS = pytest.mark.parametrize("again", [through_skops, through_pickle, copy.deepcopy])


@pytest.fixture(scope="module")
def learned(X):
    return DisentangledModalityEncoder(4, split=16, max_epochs=2, random_state=0).fit(X)


@WAYS
def test_encoder_is_kept(learned, X, again):
    assert learned.primitive_ == "learned features"
    loaded = again(learned)
    assert list(vars(loaded)) == list(vars(learned))
    assert isinstance(loaded.module_, nn.Module)
    assert not loaded.module_.training
    np.testing.assert_array_equal(loaded.transform(X), learned.transform(X))
    np.testing.assert_array_equal(clone(loaded).fit(X).transform(X), learned.transform(X))


@pytest.fixture(scope="module")
def linear():
    data = make_modalities(500, n_shared=2, n_features=(16, 12), random_state=0)
    return np.hstack([data.X_img, data.X_txt])


@WAYS
def test_encoder_that_goes_on_is_kept(linear, again):
    def fresh():
        encoder = DisentangledModalityEncoder(4, split=16, objective="cca", missing="translate", random_state=0)
        return encoder.partial_fit(linear[:300])

    loaded = again(fresh()).partial_fit(linear[300:])
    np.testing.assert_array_equal(loaded.transform(linear), fresh().partial_fit(linear[300:]).transform(linear))


@WAYS
@pytest.mark.parametrize("name", baselines.__all__)
def test_baseline_is_kept(X, taken, again, name):
    model = getattr(baselines, name)()
    model.set_params(
        **{key: value for key, value in {"max_epochs": 1, "split": 16}.items() if key in model.get_params()}
    )
    model.fit(X, *([] if name == "CorrAE" else [taken]))
    loaded, use = again(model), "transform" if name == "CorrAE" else "predict"
    np.testing.assert_array_equal(getattr(loaded, use)(X), getattr(model, use)(X))


class Twice(nn.Module):
    def forward(self, x, modality):
        return 2 * x, x


def test_module_of_a_class_that_is_not_known_is_pickled_as_it_is(learned, X):
    encoder = copy.deepcopy(learned)
    encoder.module_ = Twice()
    assert isinstance(through_pickle(encoder).module_, Twice)


def test_state_of_an_encoder_holds_no_torch(learned):
    state = learned.__getstate__()["module_"]
    assert all(type(array) is np.ndarray for array in state["arrays"].values())
    kept = sum(tensor.numel() for tensor in learned.module_.state_dict().values())
    assert sum(array.size for array in state["arrays"].values()) == kept


@pytest.mark.parametrize("named", [False, True])
def test_skops_keeps_a_recommender(X, taken, named):
    if named:
        X = pd.DataFrame(X, index=[f"item{n}" for n in range(len(X))])
    model = AttentiveBPR(max_epochs=1, random_state=np.random.RandomState(0)).fit(X, taken)
    loaded = through_skops(model)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.recommend(k=3).ids, model.recommend(k=3).ids)


def test_skops_keeps_a_pipeline(linear, taken):
    encoder = DisentangledModalityEncoder(4, split=16, objective="cca", random_state=0)
    pipeline = make_pipeline(encoder, AttentiveBPR(max_epochs=1, random_state=0)).fit(linear, taken)
    np.testing.assert_array_equal(through_skops(pipeline).predict(linear), pipeline.predict(linear))


def test_skops_keeps_a_featurizer():
    featurizer = TfidfFeaturizer(3).fit(TEXTS)
    np.testing.assert_array_equal(through_skops(featurizer).transform(TEXTS), featurizer.transform(TEXTS))
