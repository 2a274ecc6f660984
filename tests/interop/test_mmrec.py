"""MMRec's folder, by the byte and as its loader reads it."""

import numpy as np
import pandas as pd
import pytest
import yaml

from modalsplit import Interactions
from modalsplit.evaluate import split_interactions
from modalsplit.interop import item_blocks, write_mmrec


def taken(*pairs):
    return pd.DataFrame(map(list, pairs), columns=["user_id", "item_id"])


def test_files_by_the_byte(tmp_path):
    items = item_blocks({"image": [[1, 2], [3, 4], [5, 6]], "text": [[7], [8], [9]]}, item_ids=["a", "b", "c"])
    path = write_mmrec(
        tmp_path / "shop", items, taken("uc", "va"), taken("ua"), taken("vc"), image="image", text="text"
    )
    assert (path / "shop.inter").read_bytes() == (
        b"userID\titemID\trating\ttimestamp\tx_label\n0\t1\t1\t0\t0\n1\t0\t1\t0\t0\n0\t0\t1\t0\t1\n1\t1\t1\t0\t2\n"
    )
    assert (path / "i_id_mapping.csv").read_bytes() == b"asin\titemID\na\t0\nc\t1\n"  # nobody took b
    assert (path / "u_id_mapping.csv").read_bytes() == b"user_id\tuserID\nu\t0\nv\t1\n"
    np.testing.assert_array_equal(np.load(path / "image_feat.npy"), [[1, 2], [5, 6]])
    np.testing.assert_array_equal(np.load(path / "text_feat.npy"), [[7], [9]])
    settings = yaml.safe_load((path / "shop.yaml").read_text())
    assert settings["inter_file_name"] == "shop.inter"
    assert settings["field_separator"] == "\t"


def test_numbers_lead_back_to_ids_and_vectors(items, interactions, tmp_path):
    parts = split_interactions(interactions, shares=(0.6, 0.2, 0.2), random_state=0)
    path = write_mmrec(tmp_path / "shop", items, *parts, image=["image_common", "image_specific"])
    # What MMRec reads, and how it counts.
    table = pd.read_csv(path / "shop.inter", usecols=["userID", "itemID", "x_label"], sep="\t")
    images, texts = (np.load(path / f"{name}_feat.npy") for name in ("image", "text"))
    n_items = table.itemID.max() + 1
    assert len(images) == len(texts) == n_items == len(interactions.item_ids)
    assert images.dtype == np.float32

    item_ids = pd.read_csv(path / "i_id_mapping.csv", sep="\t").set_index("itemID").asin
    user_ids = pd.read_csv(path / "u_id_mapping.csv", sep="\t").set_index("userID").user_id
    np.testing.assert_array_equal(images, items.take(item_ids.to_numpy()).matrix(["image_common", "image_specific"]))
    np.testing.assert_array_equal(texts, items.take(item_ids.to_numpy()).matrix())
    for label, part in enumerate(parts):
        rows = table[table.x_label == label]
        back = Interactions.from_frame(
            pd.DataFrame({"user_id": user_ids[rows.userID].array, "item_id": item_ids[rows.itemID].array}),
            item_ids=part.item_ids,
            user_ids=part.user_ids,
        )
        assert (back != part).nnz == 0


def test_users_who_are_not_in_training_are_refused(tmp_path):
    items = item_blocks({"image": [[1.0], [2.0]]}, item_ids=["a", "b"])
    with pytest.raises(ValueError, match="1 users of valid and test have nothing in train, such as 'w'"):
        write_mmrec(tmp_path / "shop", items, taken("ua"), taken("ub"), taken("wb"))
    with pytest.raises(ValueError, match="have no row, such as 'c'"):
        write_mmrec(tmp_path / "shop", items, taken("ua"), taken("uc"), taken("ub"))
    assert list(tmp_path.iterdir()) == []
