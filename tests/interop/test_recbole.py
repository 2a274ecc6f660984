"""RecBole's atomic files, by the byte and by RecBole."""

import numpy as np
import pandas as pd
import pytest
import yaml

from modalsplit import Interactions
from modalsplit.interop import check_card, item_blocks, write_recbole


@pytest.fixture
def small():
    return item_blocks({"image": [[1, 0.5], [-2, 1e-9]], "text": [[3], [0.1]]}, item_ids=["a b", "c"])


def test_files_by_the_byte(small, tmp_path):
    taken = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["c", "a b"], "rating": [4.5, 1], "timestamp": [7, 8]})
    path = write_recbole(tmp_path / "shop", small, taken)
    assert sorted(file.name for file in path.iterdir()) == [
        "modalsplit-card.json",
        "shop.inter",
        "shop.itememb",
        "shop.yaml",
    ]
    assert (path / "shop.itememb").read_bytes() == (
        b"iid:token\titem_emb:float_seq\na b\t1 0.5 3\nc\t-2 9.99999972e-10 0.100000001\n"
    )
    assert (path / "shop.inter").read_bytes() == (
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\tc\t4.5\t7\nv\ta b\t1.0\t8\n"
    )
    assert yaml.safe_load((path / "shop.yaml").read_text()) == {
        "load_col": {"itememb": ["iid", "item_emb"], "inter": ["user_id", "item_id", "rating", "timestamp"]},
        "additional_feat_suffix": ["itememb"],
        "alias_of_item_id": ["iid"],
        "preload_weight": {"iid": "item_emb"},
    }
    assert check_card(path)["target"] == "RecBole"


def test_text_gives_every_float32_back(items, tmp_path):
    path = write_recbole(tmp_path / "shop", items)
    lines = (path / "shop.itememb").read_text().splitlines()[1:]
    values = np.array([line.split("\t")[1].split(" ") for line in lines], dtype=np.float32)
    np.testing.assert_array_equal(values, items.matrix())


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        (pd.DataFrame({"user": ["u"], "item_id": ["c"]}), "no column 'user_id'; they have"),
        (pd.DataFrame({"user_id": ["u"], "item_id": ["d"]}), "1 of 1 item_ids have no row, such as 'd'"),
        (pd.DataFrame({"user_id": [None], "item_id": ["c"]}), "1 of 1 interactions have no user_id"),
        (pd.DataFrame({"user_id": ["u\t"], "item_id": ["c"]}), "cannot be written for RecBole, such as"),
        (pd.DataFrame({"user_id": [], "item_id": []}), "no interactions to export"),
        (Interactions(np.ones((2, 1))), "do not know the ids"),
    ],
)
def test_unsound_interactions_are_refused(taken, message, small, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_recbole(tmp_path / "shop", small, taken)
    assert list(tmp_path.iterdir()) == []


def test_ids_with_tabs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be written for RecBole"):
        write_recbole(tmp_path / "shop", item_blocks({"image": [[1.0]]}, item_ids=["a\tb"]))


@pytest.fixture
def config(monkeypatch):
    # RecBole 1.2.1 uses names that NumPy 2 has dropped.
    for name, kind in {"bool8": np.bool_, "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        monkeypatch.setattr(np, name, kind, raising=False)
    return pytest.importorskip(
        "recbole.config", reason="RecBole is not installed; it needs colorama 0.4.4", exc_type=ImportError
    )


@pytest.mark.filterwarnings("ignore")
def test_recbole_preloads_every_row(config, items, interactions, tmp_path):
    from recbole.data import create_dataset

    path = write_recbole(tmp_path / "shop", items, interactions)
    settings = config.Config(
        model="BPR",
        dataset="shop",
        config_file_list=[str(path / "shop.yaml")],
        config_dict={"data_path": str(tmp_path), "use_gpu": False},
    )
    dataset = create_dataset(settings)
    weights = dataset.get_preload_weight("iid")
    assert weights.shape == (len(items.ids) + 1, 16)
    assert not weights[0].any()
    tokens = dataset.id2token("item_id", np.arange(1, len(weights)))
    np.testing.assert_array_equal(weights[1:].astype(np.float32), items.take(tokens).matrix())
    assert len(dataset.inter_feat) == interactions.nnz
