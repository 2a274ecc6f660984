"""The other ways to save estimators work where their authors say so."""

import io

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline

from modalsplit import AttentiveBPR, DisentangledModalityEncoder
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


def test_skops_keeps_a_recommender(X, taken):
    model = AttentiveBPR(max_epochs=1, random_state=0).fit(X, taken)
    written = skops.io.dumps(model)
    loaded = skops.io.loads(written, trusted=skops.io.get_untrusted_types(data=written))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_skops_keeps_a_featurizer():
    featurizer = TfidfFeaturizer(3).fit(TEXTS)
    written = skops.io.dumps(featurizer)
    loaded = skops.io.loads(written, trusted=skops.io.get_untrusted_types(data=written))
    np.testing.assert_array_equal(loaded.transform(TEXTS), featurizer.transform(TEXTS))
