"""What is exported is checked, whatever form it comes in."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from modalsplit import DisentangledModalityEncoder, make_pamd_pipeline
from modalsplit.datasets import make_modalities
from modalsplit.interop import (
    item_blocks,
    to_arrow,
    to_cornac,
    to_faiss,
    to_implicit,
    to_keyed_vectors,
    to_lenskit,
    to_lightfm,
    to_rectools,
    to_unisrec,
    to_usearch,
    write_ducho,
    write_elliot,
    write_faiss,
    write_mmrec,
    write_projector,
    write_recbole,
    write_table,
    write_usearch,
    write_word2vec,
)

IDS = ["a", "b", "c"]
X = np.arange(6.0).reshape(3, 2)


def frame(values=X, ids=IDS, block="image"):
    return pd.DataFrame(values, index=ids).add_prefix(f"{block}__")


def test_frame_gives_ids_and_blocks(parts, items):
    assert items.ids.tolist() == parts.index.tolist()
    assert list(items.blocks) == ["image_common", "text_common", "image_specific", "text_specific"]
    assert all(block.dtype == np.float32 for block in items.blocks.values())
    np.testing.assert_array_equal(items.matrix(), parts.to_numpy(np.float32))


def test_frame_comes_back(parts, items):
    pd.testing.assert_frame_equal(items.to_frame(), parts.astype(np.float32), check_names=False)


def test_both_parts_of_a_pair_are_one_set_of_blocks():
    data = make_modalities(20, random_state=0)
    encoder = DisentangledModalityEncoder(2, objective="cca", random_state=0).set_output(transform="pandas")
    ids = list(range(100, 120))
    pair = encoder.fit_transform(frame(data.X_img, ids), frame(data.X_txt, ids, "text"))
    found = item_blocks(pair)
    assert list(found.blocks) == ["image_common", "text_common", "image_specific", "text_specific"]
    np.testing.assert_array_equal(found.matrix(), np.hstack(pair).astype(np.float32))
    assert found.ids.tolist() == ids


def test_mapping_takes_ids():
    assert item_blocks({"a": X}, item_ids=IDS).ids.tolist() == IDS
    assert item_blocks({"a": pd.DataFrame(X, index=IDS)}).ids.tolist() == IDS
    with pytest.raises(ValueError, match="different indexes"):
        item_blocks({"a": pd.DataFrame(X, index=IDS), "b": pd.DataFrame(X, index=IDS[::-1])})


def test_polars_frame_takes_ids():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    found = item_blocks(polars.from_pandas(frame()), item_ids=IDS)
    np.testing.assert_array_equal(found.matrix(), X.astype(np.float32))


def test_take_reorders_rows(items):
    wanted = items.ids[::-2]
    np.testing.assert_array_equal(items.take(wanted).matrix(), items.matrix()[::-2])


def test_blocks_are_chosen_by_name(items):
    np.testing.assert_array_equal(items.matrix("text_common"), items.blocks["text_common"])
    chosen = items.matrix(["text_specific", "image_common"])
    np.testing.assert_array_equal(chosen, np.hstack([items.blocks["text_specific"], items.blocks["image_common"]]))
    with pytest.raises(ValueError, match="no block 'audio'; there are"):
        items.matrix("audio")
    with pytest.raises(ValueError, match="No block is named"):
        items.matrix([])


def test_made_by_describes_estimators(items):
    assert items.made_by["class"] == "modalsplit.encoder.DisentangledModalityEncoder"
    assert items.made_by["parameters"]["split"] == ["image", "text"]
    pipeline = make_pamd_pipeline(image="passthrough", text="passthrough")
    steps = item_blocks(frame(), made_by=pipeline[:-1]).made_by["steps"]
    assert steps["disentangle"]["parameters"]["missing"] == "translate"
    assert item_blocks(frame(), made_by={"layer": np.int64(3)}).made_by == {"layer": 3}


@pytest.mark.parametrize(
    ("Z", "options", "message"),
    [
        (frame(ids=["a", "b", "a"]), {}, "The index must be unique, but 1 are repeated, such as 'a'"),
        (frame(ids=["a", None, "c"]), {}, "all str or all int, but there are (NoneType|float) and str"),
        (frame(ids=["a", 2, "c"]), {}, "all str or all int, but there are int and str"),
        (frame(ids=[1.0, 2.0, 3.0]), {}, "all str or all int, but there are float"),
        (frame(ids=range(3)), {}, r"The rows have no ids: give item_ids="),
        ({"a": X}, {}, "The rows have no ids"),
        ({"a": X}, {"item_ids": IDS[:2]}, "has 3 rows, but there are 2 ids"),
        (frame(), {"item_ids": ["a", "c", "b"]}, "row 1 is 'b' in the index and 'c' in item_ids .2 of 3"),
        (frame(), {"item_ids": IDS[:2]}, "There are 2 item_ids, but the index has 3 rows"),
        ({"a": X}, {"item_ids": [IDS]}, "must be a list of ids, one at least, but has shape"),
        ({"a": X[:0]}, {"item_ids": []}, "one at least"),
        (frame([[1, 2], [3, np.inf], [5, 6]]), {}, "values that no float32 can hold in 1 of 3 items, such as 'b'"),
        (frame([[1, 2], [3, np.nan], [5, 6]]), {}, "Block 'image' has NaN in 1 of 3 items, such as 'b'"),
        (frame((X + 1) * 1e300), {}, "no float32 can hold in 3 of 3 items"),
        (frame(np.array([["x", "y"]] * 3)), {}, "must be numbers"),
        (frame(X.astype(complex)), {}, "of dtype complex128, but must be numbers"),
        ({"a": sparse.csr_array(X)}, {"item_ids": IDS}, "is sparse. Give X.toarray"),
        ({"a": X[:, 0]}, {"item_ids": IDS}, r"has shape \(3,\)"),
        ({"a": X[:, :0]}, {"item_ids": IDS}, r"has shape \(3, 0\)"),
        ({"a": X, "b": X[:2]}, {"item_ids": IDS}, "Block 'b' has 2 rows, but there are 3 ids"),
        ({"../a": X}, {"item_ids": IDS}, "no name for a block"),
        ({"a__b": X}, {"item_ids": IDS}, "no name for a block"),
        ({}, {"item_ids": IDS}, "no block to export"),
        (pd.DataFrame(X, index=IDS, columns=["price", "abv"]), {}, "no named blocks: it is columns such as 'price'"),
        (X, {"item_ids": IDS}, "a ndarray without column names"),
    ],
)
def test_unsound_items_are_refused(Z, options, message):
    with pytest.raises(ValueError, match=message):
        item_blocks(Z, **options)


def test_what_was_checked_is_not_checked_again(items):
    assert item_blocks(items) is items
    with pytest.raises(ValueError, match="checked already"):
        item_blocks(items, made_by="me")


def test_take_refuses_ids_that_are_absent_or_spelt_otherwise(items, numbered):
    with pytest.raises(ValueError, match="1 of 2 item_ids have no row, such as 'nobody'"):
        items.take([items.ids[0], "nobody"])
    with pytest.raises(ValueError, match="spell ids alike, also in type"):
        numbered.take(numbered.ids.astype(str))
    with pytest.raises(ValueError, match="must be unique"):
        items.take(items.ids[[0, 0]])


TO = [to_arrow, to_faiss, to_keyed_vectors, to_lenskit, to_rectools, to_unisrec, to_usearch]
TO_IDS = [to_cornac, to_lightfm, lambda Z, ids: to_implicit(Z, None, ids)]
WRITE = [
    write_ducho,
    write_elliot,
    write_faiss,
    lambda path, Z: write_mmrec(path, Z, None, None, None),
    write_projector,
    write_recbole,
    lambda path, Z: write_table(path.with_suffix(".npz"), Z),
    write_usearch,
    write_word2vec,
]
UNSOUND = {
    "has NaN in 1 of 3 items": frame(np.where(X == 3, np.nan, X)),
    "must be unique": frame(ids=["a", "a", "b"]),
    "The rows have no ids": frame(ids=range(3)),
    "has 2 rows, but there are 3 ids": {"text": frame(), "image": X[:2]},
}


@pytest.mark.parametrize("message", UNSOUND)
@pytest.mark.parametrize("write", WRITE)
def test_no_writer_leaves_a_file_of_unsound_items(write, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", UNSOUND[message])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("message", UNSOUND)
@pytest.mark.parametrize("make", [*TO, *(lambda Z, to=to: to(Z, IDS) for to in TO_IDS)])
def test_no_maker_takes_unsound_items(make, message):
    with pytest.raises(ValueError, match=message):
        make(UNSOUND[message])


@pytest.mark.parametrize("make", TO_IDS)
def test_items_of_the_other_side_must_have_rows(make, items):
    with pytest.raises(ValueError, match="1 of 2 item_ids have no row, such as 'nobody'"):
        make(items, [items.ids[0], "nobody"])
