"""FAISS and USearch hold our vectors and find an item's neighbours."""

import json

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import normalize

from modalsplit.interop import check_card, to_faiss, to_usearch, write_faiss, write_usearch

METRICS = ["cosine", "inner_product", "euclidean"]


@pytest.fixture(scope="module")
def faiss():
    return pytest.importorskip("faiss", reason="FAISS is not installed: pip install modalsplit[faiss]")


@pytest.fixture(scope="module")
def usearch():
    return pytest.importorskip("usearch.index", reason="USearch is not installed: pip install modalsplit[usearch]")


def stored(items, metric):
    return normalize(items.matrix()) if metric == "cosine" else items.matrix()


def nearest(items, metric):
    X = stored(items, metric)
    distances = pairwise_distances(X) if metric == "euclidean" else -X @ X.T
    return np.argsort(distances, axis=1, kind="stable")[:, :5]


@pytest.mark.parametrize("metric", METRICS)
def test_faiss_holds_and_finds(faiss, items, metric, tmp_path):
    for index in (
        to_faiss(items, metric=metric),
        faiss.read_index(str(write_faiss(tmp_path / "index", items, metric=metric) / "index.faiss")),
    ):
        X = stored(items, metric)
        np.testing.assert_array_equal(index.reconstruct_n(0, index.ntotal), X)
        np.testing.assert_array_equal(index.search(X, 5)[1], nearest(items, metric))
    assert json.loads((tmp_path / "index" / "ids.json").read_text()) == items.ids.tolist()
    assert check_card(tmp_path / "index")["metric"] == metric


@pytest.mark.parametrize("metric", METRICS)
def test_usearch_holds_and_finds(usearch, numbered, metric, tmp_path):
    for index in (
        to_usearch(numbered, metric=metric),
        usearch.Index.restore(str(write_usearch(tmp_path / "index", numbered, metric=metric) / "index.usearch")),
    ):
        X = stored(numbered, metric)
        np.testing.assert_array_equal(np.stack([index.get(key) for key in range(len(X))]), X)
        np.testing.assert_array_equal(index.search(X, 5, exact=True).keys, nearest(numbered, metric))
        found = index.search(X, 5).keys
        assert np.mean(found == nearest(numbered, metric)) > 0.95  # HNSW
    assert json.loads((tmp_path / "index" / "ids.json").read_text()) == numbered.ids.tolist()


def test_unknown_metric_is_refused(items):
    for make in (to_faiss, to_usearch):
        with pytest.raises(ValueError, match=r"metric may be one of .* but 'manhattan'"):
            make(items, metric="manhattan")


def test_a_graph_of_one_thread_is_the_same_each_time_and_finds_the_nearest(faiss, items):
    X = stored(items, "cosine")
    first, second = (to_faiss(items, kind="hnsw") for _ in range(2))
    assert bytes(faiss.serialize_index(first)) == bytes(faiss.serialize_index(second))
    assert np.mean(first.search(X, 5)[1] == nearest(items, "cosine")) > 0.95


def test_unknown_kind_is_refused(faiss, items):
    with pytest.raises(ValueError, match=r"kind may be one of .* but 'ivf'"):
        to_faiss(items, kind="ivf")
