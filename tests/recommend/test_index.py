"""Ranking with an index: what it finds, what it leaves out, and what it refuses."""

import json
import pickle

import numpy as np
import pytest
from made import parity_parts
from scipy import sparse

import modalsplit
from modalsplit import AttentiveBPR
from modalsplit.interop import check_card
from modalsplit.recommend._index import points_of

N_ITEMS, N_USERS, WIDTH = 600, 80, 8


@pytest.fixture(scope="module")
def faiss():
    return pytest.importorskip("faiss", reason="FAISS is not installed: pip install modalsplit[faiss]")


@pytest.fixture(scope="module", params=["flat", "hnsw", "usearch"])
def kind(request):
    name = "usearch" if request.param == "usearch" else "faiss"
    pytest.importorskip(name, reason=f"{name} is not installed: pip install modalsplit[{name}]")
    return request.param


def fitted(attention="item", seed=0, **params):
    rng = np.random.default_rng(seed)
    taken = rng.random((N_ITEMS, N_USERS)) < 0.02 + 0.1 * rng.random((N_ITEMS, 1)) ** 4
    taken[:, 0] = False
    taken[:150, 1] = True  # more than an index can leave out
    parts = rng.normal(size=(N_ITEMS, 4 * WIDTH))
    model = AttentiveBPR(WIDTH, attention=attention, max_epochs=2, random_state=0, **params)
    return model.fit(parts, sparse.csr_array(taken.astype(float)))


@pytest.fixture(scope="module")
def model():
    return fitted()


def shares(one, other):
    return np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(one.tolist(), other.tolist(), strict=True)])


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_an_index_finds_the_best_with_their_scores(model, kind, exclude_seen):
    exact = model.recommend(k=10, exclude_seen=exclude_seen)
    found = model.recommend(k=10, exclude_seen=exclude_seen, index=kind)
    assert shares(exact.ids, found.ids) > (0.999 if kind == "flat" else 0.95)
    np.testing.assert_allclose(found.scores[:, 0], exact.scores[:, 0], rtol=1e-4, atol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert model.index_.kind == kind
    assert 0.9 < model.index_.recall <= 1


def test_nothing_seen_is_found_whoever_asks(model, kind):
    found = model.recommend(k=20, index=kind).ids
    seen = model.interactions_.toarray()
    assert not seen[found, np.arange(N_USERS)[:, None]].any()
    assert all(len(set(row)) == 20 for row in found.tolist())


def test_who_has_little_left_gets_what_the_exact_ranking_gives(model, kind):
    exact, found = model.recommend(1, k=N_ITEMS - 100), model.recommend(1, k=N_ITEMS - 100, index=kind)
    np.testing.assert_array_equal(found.ids, exact.ids)
    assert np.isneginf(found.scores).sum() == np.isneginf(exact.scores).sum() > 0


def test_new_users_are_served_too(model, kind):
    new = model.interactions_[:, [5, 6, 7]]
    found, known = model.recommend(interactions=new, index=kind), model.recommend([5, 6, 7], index=kind)
    np.testing.assert_array_equal(found.ids, known.ids)


def test_a_single_user_gets_one_dimension(model, kind):
    assert model.recommend(3, k=4, index=kind).ids.shape == (4,)


def test_distances_are_in_the_order_of_scores_and_cosines_are_not():
    rng = np.random.default_rng(0)
    items, bias, user = rng.normal(size=(50, 5)) * rng.random((50, 1)), rng.normal(size=50), rng.normal(size=5)
    points, query = points_of(items, bias), np.append(user, [1, 0])
    by_score = np.argsort(-(items @ user + bias))
    np.testing.assert_array_equal(np.argsort(np.square(points - query).sum(axis=1)), by_score)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.linalg.norm(points, axis=1).max(), rtol=1e-6)
    plain = np.column_stack([items, bias])
    by_cosine = np.argsort(-(plain @ query[:-1]) / np.linalg.norm(plain, axis=1))
    assert (by_cosine != by_score).any()


def test_more_effort_finds_no_less(faiss, model):
    little, much = (model.index_items("hnsw", effort=effort) for effort in (1, 400))
    assert little.recall <= much.recall
    assert model.index_recall(much, k=5) > 0.98


def test_recall_below_nine_tenths_is_told(faiss, model, monkeypatch):
    monkeypatch.setattr("modalsplit.recommend._base.LOW_RECALL", 1.1)
    model.__dict__.pop("index_", None)
    with pytest.warns(UserWarning, match="of the best items only"):
        model.recommend(0, index="hnsw")


def test_threads_are_left_as_they_were(faiss, model):
    before = faiss.omp_get_max_threads()
    model.index_items("hnsw", n_jobs=before + 1)
    assert faiss.omp_get_max_threads() == before


def test_attention_of_users_has_no_vector_an_item(kind):
    by_user = fitted("user")
    with pytest.raises(ValueError, match="another for each user"):
        by_user.recommend(index=kind)


def test_other_recommenders_say_why_not():
    model = modalsplit.baselines.Popularity().fit(np.zeros((3, 1)), np.eye(3))
    with pytest.raises(ValueError, match="those of Popularity are not"):
        model.recommend(k=1, index="hnsw")


def test_an_index_of_another_fit_is_refused(faiss, model):
    with pytest.raises(ValueError, match="before another fit"):
        fitted(seed=1).recommend(index=model.index_items("flat"))


def test_another_fit_forgets_the_index(faiss):
    model = fitted()
    model.recommend(index="flat")
    model.fit(parity_parts(), np.eye(40))
    assert not hasattr(model, "index_")
    model.recommend(index="flat")


def test_an_unknown_index_is_refused(model):
    with pytest.raises(ValueError, match=r"one of \['flat', 'hnsw', 'usearch'\]"):
        model.recommend(index="annoy")


def test_an_index_is_no_part_of_pickles_and_files(faiss, model, tmp_path):
    model.recommend(index="hnsw")
    modalsplit.save(model, tmp_path / "model.safetensors")
    for copy in (pickle.loads(pickle.dumps(model)), modalsplit.load(tmp_path / "model.safetensors")):
        assert not hasattr(copy, "index_")
        np.testing.assert_array_equal(copy.recommend(k=3, index="hnsw").ids, model.recommend(k=3, index="hnsw").ids)


def test_an_index_is_exported_with_ids(kind, tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"item{row}" for row in range(N_ITEMS)]
    taken = sparse.csr_array((rng.random((N_ITEMS, N_USERS)) < 0.05).astype(float))
    model = AttentiveBPR(WIDTH, max_epochs=1, random_state=0)
    model.fit(rng.normal(size=(N_ITEMS, 4 * WIDTH)), taken, item_ids=ids)
    index = model.index_items(kind)
    folder = index.write(tmp_path / "index")
    assert check_card(folder)["query"] == "the user's vector, then 1, then 0"
    names = json.loads((folder / "ids.json").read_text())
    query = index.queries(model.user_embeddings_[:1])
    if kind == "usearch":
        usearch = pytest.importorskip("usearch.index")
        first = usearch.Index.restore(str(folder / "index.usearch")).search(query[0], 1).keys[0]
    else:
        faiss = pytest.importorskip("faiss")
        first = faiss.read_index(str(folder / "index.faiss")).search(query, 1)[1][0, 0]
    assert names[first] == model.recommend(0, k=1, exclude_seen=False).ids[0]
