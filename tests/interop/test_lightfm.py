"""LightFM's item features: identity beside unit rows, cold items after the known ones."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.preprocessing import normalize

from modalsplit.interop import item_blocks, to_lightfm


def test_known_items_have_a_column_of_their_own(items):
    known, cold = items.ids[5:20], items.ids[:3]
    features = to_lightfm(items, known, cold)
    assert (features.shape, features.dtype, features.format) == ((18, 31), np.float32, "csr")
    np.testing.assert_array_equal(features[:15, :15].toarray(), np.eye(15))
    assert features[15:, :15].nnz == 0
    expected = normalize(items.take([*known, *cold]).matrix())
    np.testing.assert_array_equal(features[:, 15:].toarray(), expected)
    np.testing.assert_array_equal(to_lightfm(items, known, cold, identity=False).toarray(), expected)


def test_zero_rows_stay_zero():
    features = to_lightfm(item_blocks({"image": [[0, 0], [3, 4]]}, item_ids=["a", "b"]), ["b", "a"])
    np.testing.assert_allclose(features.toarray(), [[1, 0, 0.6, 0.8], [0, 1, 0, 0]], rtol=1e-6)


def test_an_item_is_not_known_and_cold(items):
    with pytest.raises(ValueError, match="must be unique"):
        to_lightfm(items, items.ids[:3], items.ids[2:4])


def test_lightfm_learns_from_them_and_scores_cold_items(items, interactions):
    lightfm = pytest.importorskip("lightfm", reason="LightFM is not installed: pip install modalsplit[lightfm]")
    known, cold = interactions.item_ids, [items.ids[-1]]
    features = to_lightfm(items, known, cold)
    model = lightfm.LightFM(no_components=4, loss="warp", random_state=0)
    model.fit(sparse.coo_matrix(interactions.T), item_features=features[: len(known)], epochs=3)
    biases, vectors = model.get_item_representations(features)
    assert model.item_embeddings.shape == (features.shape[1], 4)
    # A representation is the features times the embeddings of the columns: ours were taken as they are.
    np.testing.assert_allclose(vectors, features @ model.item_embeddings, rtol=1e-5)
    scores = model.predict(0, np.arange(len(known) + 1), item_features=features)
    assert np.isfinite(scores).all()
    user_bias, user = model.user_biases[0], model.user_embeddings[0]
    np.testing.assert_allclose(scores[-1], vectors[-1] @ user + biases[-1] + user_bias, rtol=1e-4)
