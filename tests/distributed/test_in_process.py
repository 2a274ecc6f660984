"""What needs no cluster: one worker is this process, and what is wrong with a cluster is said at once."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from raw_items import featurizer, items
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, TfidfFeaturizer, distributed
from modalsplit.datasets import make_modalities
from modalsplit.distributed._engine import Workers, check_room
from modalsplit.stores import ArrayStore, ParquetTable, open_store

N = 600
IDS = [f"i{n}" for n in range(N)]


@pytest.fixture(scope="module")
def data():
    return make_modalities(N, n_features=(30, 20), random_state=0)


@pytest.fixture(scope="module")
def store(data):
    return ArrayStore({"image": data.X_img, "text": data.X_txt}, IDS)


@pytest.fixture(scope="module")
def encoder(store):
    return DisentangledModalityEncoder(6, objective="cca", random_state=0).fit(store)


def test_fit_by_one_worker_is_fit(store, encoder):
    fitted = distributed.fit(DisentangledModalityEncoder(6, objective="cca", random_state=0), store)
    assert fitted._fingerprint() == encoder._fingerprint()


def test_transform_writes_what_the_encoder_writes(store, encoder, tmp_path):
    expected = encoder.transform(store, out=tmp_path / "one")
    parts = distributed.transform(encoder, store, tmp_path / "two")
    assert [p.read_bytes() for p in parts.paths] == [p.read_bytes() for p in expected.paths]
    # Either goes on with what the other began.
    assert len(distributed.transform(encoder, store, tmp_path / "one")) == N
    assert len(encoder.transform(store, out=tmp_path / "two")) == N


def test_transform_by_shards_has_all_ids_in_order(store, encoder, tmp_path):
    parts = distributed.transform(encoder, store, tmp_path / "parts", rows_a_shard=250)
    assert [path.name for path in parts.paths] == [f"part-00000{n}.parquet" for n in range(3)]
    assert parts.read_ids(slice(0, N)).tolist() == IDS
    whole = np.hstack([parts.read(slice(0, N), part) for part in range(4)])
    assert_array_equal(whole, encoder.transform(store))


def test_featurize_is_the_featurizer(tmp_path):
    frame = items(tmp_path / "items")
    fitted = featurizer(frame)
    features = distributed.featurize(fitted, tmp_path / "items", tmp_path / "features", rows_a_shard=16)
    assert (features.names, features.widths, len(features.paths)) == (("image", "text"), (3, 2), 3)
    assert features.read_ids(slice(0, 40)).tolist() == IDS[:40]
    expected = np.asarray(fitted.transform(frame), dtype=np.float32)
    got = np.hstack([features.read(slice(0, 40), modality) for modality in (0, 1)])
    assert_array_equal(got, expected)
    assert np.isnan(got[7, 3:]).all()
    # Other items, or another featurizer, are other features.
    frame.iloc[:5].to_parquet(tmp_path / "few.parquet")
    for wrong in (
        lambda: distributed.featurize(fitted, tmp_path / "few.parquet", tmp_path / "features", rows_a_shard=16),
        lambda: distributed.featurize(
            featurizer(frame[:20]), tmp_path / "items", tmp_path / "features", rows_a_shard=16
        ),
    ):
        with pytest.raises(ValueError, match="other data or other options"):
            wrong()


def test_featurizers_that_do_not_fit_are_refused(tmp_path):
    frame = items(tmp_path / "items")
    with pytest.raises(NotFittedError):
        distributed.featurize(ColumnTransformer([]), tmp_path / "items", tmp_path / "out")
    one = ColumnTransformer([("text", TfidfFeaturizer(2), "note")]).fit(frame)
    with pytest.raises(ValueError, match=r"makes the blocks \['text'\], but a store has two"):
        distributed.featurize(one, tmp_path / "items", tmp_path / "out")


@pytest.fixture(scope="module")
def model(data):
    taken = np.random.default_rng(0).random((N, 50)) < 0.05
    return AttentiveBPR(4, max_epochs=1, random_state=0).fit(data.X_txt, pd.DataFrame(taken, columns=range(100, 150)))


def test_recommend_is_recommend(model, tmp_path):
    table = distributed.recommend(model, tmp_path / "lists", k=5, rows_a_shard=20)
    expected = model.recommend(k=5)
    read = table.read(slice(0, 50))
    assert (table.columns, len(table.paths), read.index.tolist()) == (("item_id", "score"), 3, list(model.user_ids_))
    assert_array_equal(np.stack(read["item_id"]), expected.ids)
    assert_array_equal(np.stack(read["score"]), expected.scores)
    some = distributed.recommend(model, tmp_path / "some", users=[120, 101], k=2, exclude_seen=False).read(slice(0, 2))
    assert_array_equal(np.stack(some["item_id"]), model.recommend([120, 101], 2, exclude_seen=False).ids)
    frame = pd.read_parquet(tmp_path / "lists")
    assert frame["user_id"].tolist() == list(model.user_ids_)
    with pytest.raises(ValueError, match="is named 2 times"):
        distributed.recommend(model, tmp_path / "twice", users=[101, 101])
    with pytest.raises(ValueError, match="not seen in fit"):
        distributed.recommend(model, tmp_path / "unknown", users=[7])
    with pytest.raises(ValueError, match="other options"):
        distributed.recommend(model, tmp_path / "lists", k=6, rows_a_shard=20)


# What is wrong is said -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_number_of_workers(number, store, encoder, tmp_path):
    with pytest.raises(ValueError, match="must be a whole number from 1 on"):
        distributed.transform(encoder, store, tmp_path / "parts", num_workers=number)


def test_workers_of_nothing(store, encoder, tmp_path):
    with pytest.raises(ValueError, match="cannot work"):
        distributed.transform(encoder, store, tmp_path / "parts", num_workers=2, cpus_per_worker=0)


def test_without_ray_the_message_says_how_to_get_it(store, encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[ray\]'"):
        distributed.transform(encoder, store, tmp_path / "parts", num_workers=2)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[ray\]'"):
        distributed.fit(encoder, store, num_workers=2)


def test_nothing_starts_ray():
    pytest.importorskip("ray", reason="the extra modalsplit[ray] is not installed")
    code = """
import sys
import numpy as np
from modalsplit import DisentangledModalityEncoder, distributed
assert "ray" not in sys.modules
X = np.random.default_rng(0).normal(size=(100, 4))
store = {"a": X, "b": X + 1}
try:
    distributed.fit(DisentangledModalityEncoder(2, objective="cca"), store, num_workers=2)
except RuntimeError as error:
    print(error)
import ray
assert not ray.is_initialized()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Call ray.init()" in done.stdout


def test_memory_maps_are_not_sent(data, encoder, tmp_path):
    np.save(tmp_path / "image.npy", data.X_img)
    store = open_store({"image": np.load(tmp_path / "image.npy", mmap_mode="r"), "text": data.X_txt})
    for call in (
        lambda: distributed.transform(encoder, store, tmp_path / "parts", num_workers=2),
        lambda: distributed.fit(encoder, store, num_workers=2),
    ):
        with pytest.raises(ValueError, match="Name the files instead"):
            call()


def cluster(nodes, free):
    return SimpleNamespace(
        nodes=lambda: (
            [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {"CPU": 99}}]
        ),
        available_resources=lambda: free.pop(0) if len(free) > 1 else free[0],
    )


def test_cluster_that_is_too_small():
    small = cluster([{"CPU": 3.0}, {"CPU": 1.0, "GPU": 2.0}], [{"CPU": 4.0}])
    check_room(small, Workers(4))
    with pytest.raises(ValueError, match="which has room for 4: its nodes have 3 CPUs and 0 GPUs, 1 CPUs and 2 GPUs"):
        check_room(small, Workers(5))
    with pytest.raises(ValueError, match="which has room for 1"):
        check_room(small, Workers(2, cpus=2))
    with pytest.raises(ValueError, match="which has room for 2"):
        check_room(small, Workers(3, cpus=0.5, gpus=1))


def test_cluster_that_others_hold():
    check_room(cluster([{"CPU": 2.0}], [{}, {"CPU": 0.5}, {"CPU": 1.0}]), Workers(2))
    with pytest.raises(RuntimeError, match=r"0.5 CPUs and 0 GPUs were free for 0.3 s, and a worker needs 1 and 0"):
        check_room(cluster([{"CPU": 2.0}], [{"CPU": 0.5}]), Workers(2, patience=0.3))


def test_table_of_items_is_taken_as_it_is(tmp_path):
    frame = items(tmp_path / "items").rename(columns={"item_id": "sku"})
    frame.to_parquet(tmp_path / "items.parquet")
    table = ParquetTable([tmp_path / "items.parquet"], "sku")
    features = distributed.featurize(featurizer(frame), table, tmp_path / "features")
    assert features.read_ids(slice(38, 40)).tolist() == IDS[38:40]
