"""RecTools gets the features of its items, UniSRec its table."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from modalsplit.interop import item_blocks, to_rectools, to_unisrec


def test_frame_has_an_id_and_a_column_a_dimension(items):
    frame = to_rectools(items)
    assert list(frame)[:2] == ["id", "image_common__0"]
    assert frame.id.tolist() == items.ids.tolist()
    np.testing.assert_array_equal(frame.drop(columns="id").to_numpy(), items.matrix())
    chosen = to_rectools(items, items.ids[:2], blocks="text_specific")
    assert chosen.shape == (2, 5)


def test_dataset_holds_them(items, interactions):
    dataset = pytest.importorskip("rectools.dataset", reason="RecTools is not installed; it needs numpy < 2")
    table = _table(interactions)
    built = dataset.Dataset.construct(table, item_features_df=to_rectools(items), make_dense_item_features=True)
    features = built.item_features
    assert features.values.dtype == np.float32
    external = built.item_id_map.convert_to_external(np.arange(len(features.values)))
    np.testing.assert_array_equal(features.values, items.take(external).matrix())
    assert len(external) == 40  # one more than the interactions know: a cold item


def test_lightfm_of_rectools_learns_from_them(items, interactions):
    pytest.importorskip("rectools", reason="RecTools is not installed; it needs numpy < 2")
    lightfm = pytest.importorskip("lightfm", reason="LightFM is not installed")
    from rectools.dataset import Dataset
    from rectools.models import LightFMWrapperModel

    dataset = Dataset.construct(
        _table(interactions), item_features_df=to_rectools(items, interactions.item_ids), make_dense_item_features=True
    )
    model = LightFMWrapperModel(lightfm.LightFM(no_components=4, random_state=0), epochs=1).fit(dataset)
    listed = model.recommend(users=interactions.user_ids[:3], dataset=dataset, k=2, filter_viewed=True)
    assert listed.item_id.isin(items.ids).all()


def _table(interactions):
    taken = interactions.tocoo()
    items, users = (
        ids[at] for ids, at in zip((interactions.item_ids, interactions.user_ids), taken.coords, strict=True)
    )
    return pd.DataFrame({"user_id": users, "item_id": items, "weight": 1.0, "datetime": pd.Timestamp("2024-01-01")})


def test_table_is_indexed_by_id(numbered):
    table = to_unisrec(numbered)
    assert (table.shape, table.dtype) == ((numbered.ids.max() + 1, 16), torch.float32)
    np.testing.assert_array_equal(table[numbered.ids].numpy(), numbered.matrix())
    empty = np.setdiff1d(np.arange(len(table)), numbered.ids)
    assert 0 in empty
    assert not table[empty].any()


def test_variants_keep_blocks_apart(numbered):
    table = to_unisrec(numbered, numbered.ids[:7], variants=True)
    assert table.shape == (numbered.ids[:7].max() + 1, 4, 4)
    for place, X in enumerate(numbered.blocks.values()):
        np.testing.assert_array_equal(table[numbered.ids[:7], place].numpy(), X[:7])


@pytest.mark.parametrize(
    ("ids", "message"), [([0, 1], "from 1 on"), (["a", "b"], "from 1 on"), ([1, 201], "without gaps")]
)
def test_ids_that_are_no_rows_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        to_unisrec(item_blocks({"image": [[1], [2]]}, item_ids=ids))


def test_variants_of_different_widths_are_refused():
    with pytest.raises(ValueError, match="blocks of one width"):
        to_unisrec(item_blocks({"image": [[1]], "text": [[1, 2]]}, item_ids=[1]), variants=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variants", [False, True])
def test_unisrec_aligns_and_learns_from_them(numbered, variants, caplog):
    models = pytest.importorskip("rectools.fast_transformers", reason="RecTools is not installed; it needs numpy < 2")
    from rectools.fast_transformers.preprocessing.sequence_data import align_embeddings

    table = to_unisrec(numbered, variants=variants)
    ids = torch.as_tensor(np.sort(numbered.ids))
    with caplog.at_level(logging.WARNING):
        aligned = align_embeddings(table, ids, len(ids))
    assert "zero-filled" not in caplog.text
    ours = numbered.take(np.sort(numbered.ids))
    expected = np.stack(list(ours.blocks.values()), axis=1) if variants else ours.matrix()
    np.testing.assert_array_equal(aligned[1:].numpy(), expected)

    generator = np.random.default_rng(0)
    users = torch.arange(1, 21).repeat_interleave(6)
    taken = torch.as_tensor(np.concatenate([generator.choice(numbered.ids, 6, replace=False) for _ in range(20)]))
    model = models.UniSRecModel(
        table, n_factors=8, projection_hidden=8, n_blocks=1, session_max_len=8, epochs=1, device="cpu", batch_size=8
    )
    model.fit(users, taken, torch.arange(len(taken)))
