"""Cornac gets every item's own row, after it has split and reordered."""

import numpy as np
import pytest

from modalsplit.interop import to_cornac


@pytest.fixture(scope="module")
def cornac():
    return pytest.importorskip("cornac", reason="Cornac is not installed: pip install modalsplit[cornac]")


@pytest.fixture
def split(cornac, items, interactions):
    taken = interactions.tocoo()
    feedback = [(interactions.user_ids[u], interactions.item_ids[i], 1.0) for i, u in zip(*taken.coords, strict=True)]
    return cornac.eval_methods.RatioSplit(
        feedback,
        test_size=0.2,
        exclude_unknowns=False,
        seed=0,
        **to_cornac(items, interactions.item_ids, image="image_common"),
    )


def test_rows_belong_to_their_items_after_the_split(split, items):
    train = split.train_set
    for modality, blocks in ((train.item_image, "image_common"), (train.item_text, None), (train.item_feature, None)):
        for item, position in split.global_iid_map.items():
            np.testing.assert_array_equal(modality.features[position], items.take([item]).matrix(blocks)[0])
        assert modality.features.dtype == np.float32
        assert len(modality.features) == len(split.global_iid_map)


def test_text_models_get_the_parts_as_bag_of_words(split, items):
    position = next(iter(split.global_iid_map.values()))
    item = next(item for item, at in split.global_iid_map.items() if at == position)
    np.testing.assert_array_equal(split.train_set.item_text.batch_bow([position])[0], items.take([item]).matrix()[0])


def test_vbpr_learns_from_them(cornac, split, capsys):
    model = cornac.models.VBPR(k=4, k2=4, n_epochs=2, batch_size=32, use_gpu=False, verbose=False, seed=0)
    model.fit(split.train_set)
    assert np.isfinite(model.score(0)).all()
    assert model.theta_item.shape == (len(split.global_iid_map), 4)
