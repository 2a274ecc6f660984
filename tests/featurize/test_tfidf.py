"""TfidfFeaturizer: dense, named, and honest about missing texts."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from modalsplit.featurize import TfidfFeaturizer

TEXTS = ["red wine of the north", "white wine", "red fruit and old oak", "oak and white fruit", "wine"]


def test_is_the_svd_of_the_weighted_counts():
    ours = TfidfFeaturizer(3).fit_transform(TEXTS)
    counts = TfidfVectorizer(sublinear_tf=True).fit_transform(TEXTS).toarray()
    u, s, _ = np.linalg.svd(counts, full_matrices=False)
    assert_allclose(np.abs(ours), np.abs(u[:, :3] * s[:3]), atol=1e-5)
    assert ours.dtype == np.float32


def test_missing_and_unknown_texts_are_rows_of_nan():
    featurizer = TfidfFeaturizer(2).fit([*TEXTS, None, np.nan, ""])
    with pytest.warns(UserWarning, match="none of its terms is known"):
        block = featurizer.transform(["red wine", None, "", "qwertyuiop", np.nan])
    assert np.isfinite(block[0]).all()
    assert np.isnan(block[1:]).all()


def test_works_in_a_column_transformer_with_pandas_output():
    items = pd.DataFrame({"text": TEXTS}, index=list("abcde"))
    block = (
        ColumnTransformer([("text", TfidfFeaturizer(2), "text")]).set_output(transform="pandas").fit_transform(items)
    )
    assert list(block.columns) == ["text__0", "text__1"]
    assert list(block.index) == list("abcde")


def test_takes_any_vectorizer_and_clones_it():
    vectorizer = CountVectorizer(token_pattern="[^|]+", binary=True)
    featurizer = TfidfFeaturizer(9, vectorizer=vectorizer).fit(["a|b c", "b c|d", "a|d", "d"])
    assert list(featurizer.vectorizer_.get_feature_names_out()) == ["a", "b c", "d"]
    assert featurizer.transform(["a"]).shape == (1, 3)  # as many as there are terms
    assert not hasattr(vectorizer, "vocabulary_")
    assert clone(featurizer).n_components == 9


def test_bad_texts_are_quarantined_or_raise():
    featurizer = TfidfFeaturizer(2).fit(TEXTS)
    with pytest.warns(UserWarning, match="1 of 3 texts cannot be used"):
        block = featurizer.transform([3, "red wine", None])
    assert np.isnan(block).all(axis=1).tolist() == [True, False, True]
    assert [failure.id for failure in featurizer.failed_] == [0, 2]
    with pytest.raises(ValueError, match="Text 0 cannot be used: it is no text but of type int"):
        featurizer.set_params(on_error="raise").transform([3])


def test_fit_needs_texts():
    with pytest.raises(ValueError, match="None of the 2 items has a text"):
        TfidfFeaturizer(2).fit([None, None])
