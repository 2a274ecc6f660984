"""LensKit holds a vector attribute a block."""

import numpy as np
import pandas as pd
import pytest

from modalsplit.interop import item_blocks, to_lenskit

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def data():
    return pytest.importorskip("lenskit.data", reason="LensKit is not installed; it needs pandas < 3")


def test_attributes_of_a_new_data_set(data, items):
    entities = to_lenskit(items).build().entities("item")
    ids = entities.ids()
    assert ids.tolist() == sorted(items.ids)
    for name, X in items.take(ids).blocks.items():
        values = entities.attribute(name).numpy()
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, X)


def test_attributes_beside_interactions_and_on_disk(data, items, interactions, tmp_path):
    taken = interactions.tocoo()
    table = pd.DataFrame({"user_id": interactions.user_ids[taken.col], "item_id": interactions.item_ids[taken.row]})
    builder = data.DatasetBuilder()
    builder.add_interactions("rating", table, entities=["user", "item"], missing="insert", default=True)
    dataset = to_lenskit(items, builder, blocks=["text_common", "image_specific"]).build()
    assert (dataset.item_count, dataset.interaction_count) == (40, len(table))
    dataset.save(tmp_path / "set")
    entities = data.Dataset.load(tmp_path / "set").entities("item")
    ours = items.take(entities.ids())
    for name in ("text_common", "image_specific"):
        np.testing.assert_array_equal(entities.attribute(name).numpy(), ours.blocks[name])
    assert "image_common" not in entities.attributes


def test_items_that_lenskit_knows_must_have_rows(data, items):
    builder = data.DatasetBuilder()
    builder.add_entities("item", [*items.ids, "nobody"])
    with pytest.raises(ValueError, match="such as 'nobody'"):
        to_lenskit(items, builder)


def test_names_that_lenskit_refuses():
    with pytest.raises(ValueError, match="end in _id or _num, such as 'image_id'"):
        to_lenskit(item_blocks({"image_id": [[1.0]]}, item_ids=["a"]))
