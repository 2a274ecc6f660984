"""Interactions in Parquet files: as in memory, in bounded memory."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made import N_ITEMS, N_USERS, named, parity_parts, same, table, write

import modalsplit
from modalsplit import AttentiveBPR, Interactions
from modalsplit.recommend import _by_user
from modalsplit.stores import ParquetInteractions, open_store


@pytest.fixture
def items():
    return named(parity_parts())


@pytest.fixture
def folder(tmp_path):
    return write(table(), tmp_path / "taken")


def fitted(X, y, **params):
    return AttentiveBPR(4, **({"max_epochs": 2, "random_state": 0} | params)).fit(X, y)


@pytest.mark.parametrize("sampling", ["users", "interactions"])
@pytest.mark.parametrize("users", ["history", "embedding"])
def test_a_fit_to_files_is_that_in_memory_bit_by_bit(items, folder, sampling, users):
    params = {"sampling": sampling, "users": users}
    in_memory = fitted(items, Interactions.from_frame(table(), item_ids=items.index), **params)
    same(fitted(items, folder, **params), in_memory)


def test_rankings_leave_out_what_the_files_say_was_taken(items, folder):
    in_memory = fitted(items, Interactions.from_frame(table(), item_ids=items.index))
    model = fitted(items, folder)
    np.testing.assert_array_equal(model.recommend(k=5).ids, in_memory.recommend(k=5).ids)
    np.testing.assert_array_equal(model.seen(items).toarray(), in_memory.seen(items).toarray())


def test_interactions_in_small_pieces_are_the_same(items, folder, monkeypatch):
    whole = fitted(items, folder)
    monkeypatch.setattr(_by_user, "AT_A_TIME", 13)
    same(fitted(items, folder), whole)


@pytest.mark.parametrize("form", ["folder", "pattern", "list", "file", "dataset", "object"])
def test_files_are_named_in_many_ways(items, folder, form):
    paths = sorted(folder.glob("*.parquet"))
    if form == "file":
        pq.write_table(pa.concat_tables([pq.read_table(path) for path in paths]), folder / "all.parquet")
    given = {
        "folder": str(folder),
        "pattern": str(folder / "part*.parquet"),
        "list": [str(path) for path in paths],
        "file": folder / "all.parquet",
        "dataset": ds.dataset([str(path) for path in paths]),
        "object": ParquetInteractions(paths),
    }[form]
    same(fitted(items, given, max_epochs=1), fitted(items, ParquetInteractions(paths), max_epochs=1))


def test_columns_may_have_other_names_and_categories(items, tmp_path):
    frame = table().rename(columns={"user_id": "who", "item_id": "what"}).astype("category")
    paths = sorted(write(frame, tmp_path / "named").glob("*"))
    same(
        fitted(items, ParquetInteractions(paths, user="who", item="what")),
        fitted(items, Interactions.from_frame(table(), item_ids=items.index)),
    )


def test_users_may_be_given_in_their_order(items, folder):
    users = [f"user{u}" for u in reversed(range(N_USERS + 3))]
    model = fitted(items, ParquetInteractions(sorted(folder.glob("*")), user_ids=users))
    assert model.user_ids_.tolist() == users
    assert model.interactions_.shape == (N_ITEMS, N_USERS + 3)


def test_integers_are_positions_where_items_have_no_ids(tmp_path):
    frame = table(strings=False)
    model = fitted(parity_parts(), write(frame, tmp_path / "taken"))
    assert set(zip(*model.interactions_.nonzero(), strict=True)) == set(zip(frame.item_id, frame.user_id, strict=True))


def test_an_index_of_integers_holds_the_ids_of_the_files(tmp_path):
    X = pd.DataFrame(parity_parts(), index=np.arange(N_ITEMS)[::-1])
    frame = table(strings=False)
    model = fitted(X, write(frame, tmp_path / "taken"))
    assert model.item_ids_.tolist() == X.index.tolist()
    rows, users = model.interactions_.nonzero()
    assert set(zip(model.item_ids_[rows], users, strict=True)) == set(zip(frame.item_id, frame.user_id, strict=True))


def test_parts_may_come_from_a_store(items, folder):
    blocks = {name: items.filter(like=name).to_numpy() for name in ("image_common", "text_common")}
    store = open_store({**blocks, "item_id": items.index})
    model = fitted(store, folder)
    same(model, fitted(items.filter(like="common").astype(np.float32), folder))
    assert model.part_names_ == ("image_common", "text_common")


def test_a_model_of_files_is_saved_and_pickled_whole(items, folder, tmp_path):
    model = fitted(items, folder)
    modalsplit.save(model, tmp_path / "model.safetensors")
    for copy in (pickle.loads(pickle.dumps(model)), modalsplit.load(tmp_path / "model.safetensors")):
        np.testing.assert_array_equal(copy.recommend(k=3).ids, model.recommend(k=3).ids)


def test_unknown_ids_are_refused_and_placed(items, folder):
    frame = pd.DataFrame({"user_id": ["user1", "user2"], "item_id": ["item1", "item99"]})
    frame.to_parquet(folder / "part9.parquet")
    with pytest.raises(ValueError, match=r"item_id 'item99' in row 1 of .*part9.parquet is not among the known"):
        fitted(items, folder)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"user": ["a"], "item_id": ["item1"]}, "has no column 'user_id'; it has .* Say which columns"),
        ({"user_id": ["a", None], "item_id": ["item1", "item2"]}, "1 interactions have no user_id"),
        ({"user_id": [0.5], "item_id": ["item1"]}, "is of type double, but ids are integers or strings"),
        ({"user_id": pd.Series([], dtype=str), "item_id": pd.Series([], dtype=str)}, "no interactions"),
    ],
)
def test_what_cannot_be_read_is_refused(items, tmp_path, frame, message):
    pd.DataFrame(frame).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=message):
        fitted(items, tmp_path / "bad.parquet")


def test_a_file_that_was_cut_off_is_named(items, folder):
    path = folder / "part1.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"part1.parquet is no Parquet file, or it is cut off"):
        fitted(items, folder)


def test_early_stopping_needs_memory(items, folder):
    with pytest.raises(ValueError, match="early_stopping=True holds out interactions in memory"):
        fitted(items, folder, early_stopping=True)


def test_nothing_is_left_in_the_temporary_folder(items, folder, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    model = fitted(items, folder)
    # torch keeps a folder of its own there.
    assert [path for path in scratch.iterdir() if not path.name.startswith("torchinductor")] == []
    assert model.interactions_.sum() > 0
