"""Parquet, Arrow and npz: what goes in comes back."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modalsplit.interop import data_card, item_blocks, read_table, to_arrow, write_table

SUFFIXES = ["parquet", "arrow", "npz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frame_comes_back(suffix, items, numbered, tmp_path):
    for name, found in {"str": items, "int": numbered}.items():
        frame = read_table(write_table(tmp_path / f"{name}.{suffix}", found))
        pd.testing.assert_frame_equal(frame, found.to_frame())
        assert data_card(frame)["values_sha256"] == data_card(found)["values_sha256"]


def test_arrow_has_vectors_and_the_card(items):
    table = to_arrow(items)
    assert table.schema.field("image_common").type == pa.list_(pa.float32(), 4)
    assert table.column("item_id").to_pylist() == items.ids.tolist()
    np.testing.assert_array_equal(np.stack(table.column("text_specific").to_numpy()), items.blocks["text_specific"])
    assert json.loads(table.schema.metadata[b"modalsplit"])["made_by"] == items.made_by


def test_others_read_the_files(items, tmp_path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    path = write_table(tmp_path / "items.parquet", items)
    assert pq.read_metadata(path).metadata[b"modalsplit"]
    np.testing.assert_array_equal(np.stack(pd.read_parquet(path).image_common), items.blocks["image_common"])
    np.testing.assert_array_equal(polars.read_parquet(path)["text_common"].to_numpy(), items.blocks["text_common"])
    with np.load(write_table(tmp_path / "items.npz", items)) as packed:
        assert packed["item_id"].tolist() == items.ids.tolist()


def test_tables_of_many_chunks_are_read(items, tmp_path):
    write_table(tmp_path / "items.parquet", items)
    pq.write_table(to_arrow(items), tmp_path / "items.parquet", row_group_size=7)
    pd.testing.assert_frame_equal(read_table(tmp_path / "items.parquet"), items.to_frame())


def test_unsound_files_are_refused(items, tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of .parquet, .arrow, .npz, but is 'items.csv'"):
        write_table(tmp_path / "items.csv", items)
    with pytest.raises(ValueError, match="must not be named 'item_id'"):
        write_table(tmp_path / "items.npz", item_blocks({"item_id": [[1.0]]}, item_ids=["a"]))
    np.savez(tmp_path / "other.npz", image=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"has no item_id, but \['image'\]"):
        read_table(tmp_path / "other.npz")
    pq.write_table(pa.table({"item_id": ["a"], "image": [[1.0, 2.0]]}), tmp_path / "lists.parquet")
    with pytest.raises(ValueError, match=r"'image' is list<.*>, but must be fixed-size lists"):
        read_table(tmp_path / "lists.parquet")
    np.savez(tmp_path / "nan.npz", item_id=["a"], image=[[np.nan]])
    with pytest.raises(ValueError, match="has NaN in 1 of 1"):
        read_table(tmp_path / "nan.npz")
