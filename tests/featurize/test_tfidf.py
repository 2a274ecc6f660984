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


@pytest.mark.parametrize(
    ("texts", "error", "match"),
    [
        ([3, "a"], TypeError, "Item 0 is no text but a int"),
        ([None, None], ValueError, "None of the 2 items has a text"),
    ],
)
def test_bad_input(texts, error, match):
    with pytest.raises(error, match=match):
        TfidfFeaturizer(2).fit(texts)
