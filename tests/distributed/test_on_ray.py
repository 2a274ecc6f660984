"""Workers of a cluster do what one process does, to the last bit, whatever happens to them."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import failing_stores
import numpy as np
import pytest
import torch
from failing_stores import Deadly
from numpy.testing import assert_array_equal
from raw_items import featurizer, items
from sklearn.base import BaseEstimator

import modalsplit
from modalsplit import AttentiveBPR, DisentangledModalityEncoder, distributed
from modalsplit.datasets import make_modalities
from modalsplit.files import sole_user
from modalsplit.stores import ArrayStore, open_store, write_store

pytestmark = pytest.mark.slow

N = 3000
IDS = [f"i{n}" for n in range(N)]


@pytest.fixture(autouse=True)
def _ray(ray_cluster):
    # Workers do not know the modules of the tests.
    for module in (failing_stores, sys.modules[__name__]):
        ray_cluster.cloudpickle.register_pickle_by_value(module)


@pytest.fixture(scope="module")
def views():
    return views_of("linear")


def views_of(kind):
    data = make_modalities(N, kind=kind, n_features=(60, 40), random_state=0)
    return {"image": data.X_img, "text": data.X_txt}


@pytest.fixture(scope="module")
def encoder(views):
    return make(objective="cca").fit(ArrayStore(views, IDS))


@pytest.fixture
def many_stretches(monkeypatch):
    """Six stretches instead of one, and few rows at hand."""
    monkeypatch.setattr("modalsplit.objectives._scan.ROWS_A_BLOCK", 500)
    monkeypatch.setattr("modalsplit.objectives._scan.BLOCKS_A_STRETCH", 1)
    monkeypatch.setattr("modalsplit.objectives._stored.CELLS_AT_HAND", 1500 * 80)


def make(**parameters):
    options = {"n_components": 20, "random_state": 0, "device": "cpu", "max_epochs": 5, "hidden_units": 32}
    return DisentangledModalityEncoder(**{**options, "batch_size": 250, **parameters})


def by_two(encoder, store, folder, rows_a_shard=400):
    return distributed.transform(encoder, store, folder, rows_a_shard=rows_a_shard, num_workers=2)


def bytes_of(store):
    return [path.read_bytes() for path in store.paths]


def whole(parts):
    return np.hstack([parts.read(slice(0, len(parts)), part) for part in range(len(parts.names))])


def assert_nothing_lost(parts, encoder, views):
    assert parts.read_ids(slice(0, len(parts))).tolist() == IDS
    assert_array_equal(whole(parts), encoder.transform(ArrayStore(views)))


# The same as one process -----------------------------------------------------------------------------


def test_transform(views, encoder, tmp_path):
    write_store(ArrayStore(views, IDS), tmp_path / "features", rows_a_shard=700)
    store = open_store(tmp_path / "features")
    one = distributed.transform(encoder, store, tmp_path / "one", rows_a_shard=400)
    two = by_two(encoder, store, tmp_path / "two")
    assert len(two.paths) == 8
    assert bytes_of(two) == bytes_of(one)
    assert (tmp_path / "two" / "_manifest.json").read_bytes() == (tmp_path / "one" / "_manifest.json").read_bytes()


def test_featurize(tmp_path):
    fitted = featurizer(items(tmp_path / "items"))
    one = distributed.featurize(fitted, tmp_path / "items", tmp_path / "one", rows_a_shard=16)
    two = distributed.featurize(fitted, tmp_path / "items", tmp_path / "two", rows_a_shard=16, num_workers=2)
    assert bytes_of(two) == bytes_of(one)


def recommender(views):
    taken = np.random.default_rng(0).random((N, 300)) < 0.02
    return AttentiveBPR(4, max_epochs=1, random_state=0).fit(views["text"], taken)


def test_recommend(views, tmp_path):
    model = recommender(views)
    one = distributed.recommend(model, tmp_path / "one", k=5, rows_a_shard=50)
    two = distributed.recommend(model, tmp_path / "two", k=5, rows_a_shard=50, num_workers=2)
    assert bytes_of(two) == bytes_of(one)


@pytest.mark.usefixtures("many_stretches")
@pytest.mark.parametrize(
    ("kind", "parameters"), [("linear", {"objective": "cca"}), ("absolute", {})], ids=["cca", "stable"]
)
def test_fit_by_one_two_and_four_workers(kind, parameters, tmp_path):
    views = views_of(kind)
    for name, matrix in views.items():
        np.save(tmp_path / f"{name}.npy", matrix)
    store = open_store({name: tmp_path / f"{name}.npy" for name in views})
    expected = make(**parameters).fit(store)
    assert parameters or expected.primitive_ == "learned features"
    for n in (1, 2, 4):
        fitted = distributed.fit(make(**parameters), store, num_workers=n)
        assert fitted.history_ == expected.history_  # the loss of each epoch, to the last bit
        assert fitted._fingerprint() == expected._fingerprint()


@pytest.mark.usefixtures("many_stretches")
def test_fit_of_wide_and_incomplete_modalities(views, monkeypatch):
    monkeypatch.setattr("modalsplit.objectives._stored.WIDEST_COVARIANCE", 50)
    monkeypatch.setattr("modalsplit.nn._canonical.WIDEST_EXACT", 20)
    holes = {name: matrix.copy() for name, matrix in views.items()}
    holes["text"][np.random.default_rng(0).random(N) < 0.2] = np.nan
    parameters = {"objective": "cca", "missing": "translate", "n_components": 8}
    expected = make(**parameters).fit(ArrayStore(holes))
    fitted = distributed.fit(make(**parameters), ArrayStore(holes), num_workers=2)
    assert fitted._fingerprint() == expected._fingerprint()


# Workers die -----------------------------------------------------------------------------------------


def deadly(views, folder, deaths=1):
    folder.mkdir()
    return Deadly(views, IDS, 1234, folder, deaths)


def test_worker_killed_in_transform(views, encoder, tmp_path):
    store = deadly(views, tmp_path / "deaths")
    parts = by_two(encoder, store, tmp_path / "parts")
    assert len(list((tmp_path / "deaths").iterdir())) == 1
    assert_nothing_lost(parts, encoder, views)
    by_two(encoder, store, tmp_path / "parts")
    assert not list((tmp_path / "parts").glob(".*.parquet"))  # what the dead began is cleared away


def test_worker_that_dies_each_time_ends_in_an_error_and_the_next_run_goes_on(views, encoder, tmp_path):
    with pytest.raises(RuntimeError, match="A worker died 4 times with the same task"):
        by_two(encoder, deadly(views, tmp_path / "deaths", deaths=99), tmp_path / "parts")
    assert len(list((tmp_path / "deaths").iterdir())) == 4
    with pytest.raises(ValueError, match=r"holds \d+ of 3000 items: a shard is missing"):
        open_store(tmp_path / "parts")
    assert_nothing_lost(by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts"), encoder, views)


@pytest.mark.usefixtures("many_stretches")
def test_worker_killed_in_fit(tmp_path):
    views = views_of("absolute")
    fitted = distributed.fit(make(), deadly(views, tmp_path / "deaths", deaths=2), num_workers=2)
    assert len(list((tmp_path / "deaths").iterdir())) == 2
    assert fitted._fingerprint() == make().fit(ArrayStore(views, IDS))._fingerprint()


class Mortal(BaseEstimator):
    """What kills the first worker that uses it, and is another estimator otherwise."""

    def __init__(self, inner, folder):
        folder.mkdir(exist_ok=True)
        self.inner, self.deaths, self.fitted_ = inner, folder, True

    def __getattr__(self, name):
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def _die_once(self):
        if not any(self.deaths.iterdir()):
            (self.deaths / "death").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def transform(self, frame):
        self._die_once()
        return self.inner.transform(frame)

    def recommend(self, *arguments, **options):
        self._die_once()
        return self.inner.recommend(*arguments, **options)

    def fit(self):
        """Here for scikit-learn, which takes it for an estimator."""


def test_worker_killed_in_featurize(tmp_path):
    frame = items(tmp_path / "items")
    inner = featurizer(frame)
    mortal = Mortal(inner, tmp_path / "deaths")
    features = distributed.featurize(mortal, tmp_path / "items", tmp_path / "out", rows_a_shard=8, num_workers=2)
    assert any((tmp_path / "deaths").iterdir())
    assert features.read_ids(slice(0, 40)).tolist() == IDS[:40]
    assert_array_equal(whole(features), np.asarray(inner.transform(frame), dtype=np.float32))


def test_worker_killed_in_recommend(views, tmp_path):
    model = recommender(views)
    mortal = Mortal(model, tmp_path / "deaths")
    table = distributed.recommend(mortal, tmp_path / "out", k=5, rows_a_shard=50, num_workers=2)
    assert any((tmp_path / "deaths").iterdir())
    assert_array_equal(np.stack(table.read(slice(0, 300))["item_id"]), model.recommend(k=5).ids)


DRIVER = """
import sys, ray
sys.path.insert(0, sys.argv[1])
import failing_stores, numpy as np, modalsplit
from modalsplit import distributed
ray.init(address=sys.argv[2], log_to_driver=False, logging_level="ERROR")
ray.cloudpickle.register_pickle_by_value(failing_stores)
views = dict(np.load(sys.argv[3]))
store = failing_stores.Slow(views, [f"i{n}" for n in range(len(views["image"]))])
encoder = modalsplit.load(sys.argv[4])
print("ready", flush=True)
distributed.transform(encoder, store, sys.argv[5], rows_a_shard=100, num_workers=2)
"""


def test_process_killed_while_its_workers_write(views, encoder, ray_cluster, tmp_path):
    modalsplit.save(encoder, tmp_path / "encoder.safetensors")
    np.savez(tmp_path / "views.npz", **views)
    address = ray_cluster.get_runtime_context().gcs_address
    paths = [str(tmp_path / name) for name in ("views.npz", "encoder.safetensors", "parts")]
    arguments = [str(Path(__file__).parent), address, *paths]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "ready\n"
    until = time.monotonic() + 200
    while not list((tmp_path / "parts").glob("part-*")) and time.monotonic() < until:
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert 0 < len(list((tmp_path / "parts").glob("part-*"))) < 30
    parts = by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts", rows_a_shard=100)
    assert_nothing_lost(parts, encoder, views)


# Clusters are full, small or broken ------------------------------------------------------------------


def test_actors_that_hold_every_cpu_end_in_an_error_not_in_silence(views, encoder, ray_cluster, tmp_path):
    @ray_cluster.remote(num_cpus=1)
    class Holder:
        def ready(self):
            return True

    holders = [Holder.remote() for _ in range(4)]
    assert all(ray_cluster.get([holder.ready.remote() for holder in holders]))
    store = ArrayStore(views, IDS)
    for call in (
        lambda: distributed.transform(encoder, store, tmp_path / "parts", num_workers=2, patience=1),
        lambda: distributed.fit(make(), store, num_workers=2, patience=1),
    ):
        with pytest.raises(RuntimeError, match="Others hold the cluster: 0 CPUs and 0 GPUs were free for 1 s"):
            call()
    for holder in holders[:1]:
        ray_cluster.kill(holder)
    # One CPU is enough for all shards, one after the other.
    assert_nothing_lost(by_two(encoder, store, tmp_path / "parts"), encoder, views)
    for holder in holders[1:]:
        ray_cluster.kill(holder)


def test_more_workers_than_the_cluster_has(views, encoder, tmp_path):
    with pytest.raises(ValueError, match=r"num_workers=5 .* do not fit the cluster, which has room for 4"):
        distributed.transform(encoder, ArrayStore(views), tmp_path / "parts", num_workers=5)


OUT_OF_MEMORY = """
import sys, ray
import numpy as np, modalsplit
from modalsplit import distributed
ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
encoder = modalsplit.load(sys.argv[2])
try:
    distributed.transform(encoder, dict(np.load(sys.argv[1])), sys.argv[3], rows_a_shard=400, num_workers=2)
except RuntimeError as error:
    print(error)
"""


def test_engine_out_of_memory(views, encoder, tmp_path):
    modalsplit.save(encoder, tmp_path / "encoder.safetensors")
    np.savez(tmp_path / "views.npz", **views)
    paths = [str(tmp_path / name) for name in ("views.npz", "encoder.safetensors", "parts")]
    # Ray then takes any use of memory for too much, and does not try again.
    limits = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "50", "RAY_task_oom_retries": "0"}
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, *paths],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **limits},
    )
    assert "its node ran out of memory" in done.stdout, done.stderr
    assert "Start fewer workers a node" in done.stdout
    parts = by_two(encoder, ArrayStore(views), tmp_path / "parts")
    assert_array_equal(whole(parts), encoder.transform(ArrayStore(views)))


TWO_NODES = """
import sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import ray
from ray.cluster_utils import Cluster
import failing_stores, numpy as np, modalsplit
from modalsplit import distributed
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
ray.cloudpickle.register_pickle_by_value(failing_stores)
views = dict(np.load(sys.argv[2]))
store = failing_stores.Slow(views, [f"i{n}" for n in range(len(views["image"]))])
encoder = modalsplit.load(sys.argv[3])
out = Path(sys.argv[4])

def remove():
    while len(list(out.glob("part-*"))) < 3:
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    print("removed after", len(list(out.glob("part-*"))), flush=True)

thread = threading.Thread(target=remove)
thread.start()
parts = distributed.transform(encoder, store, out, rows_a_shard=100, num_workers=2)
thread.join()
until = time.monotonic() + 60
while sum(node["Alive"] for node in ray.nodes()) > 1 and time.monotonic() < until:
    time.sleep(0.2)  # until the head notices
print("alive", sum(node["Alive"] for node in ray.nodes()), "items", len(parts), flush=True)
ray.shutdown()
cluster.shutdown()
"""


def test_node_removed(views, encoder, tmp_path):
    modalsplit.save(encoder, tmp_path / "encoder.safetensors")
    np.savez(tmp_path / "views.npz", **views)
    paths = [str(tmp_path / name) for name in ("views.npz", "encoder.safetensors", "parts")]
    done = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(Path(__file__).parent), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(("removed", "alive"))]
    assert len(said) == 2, done.stderr
    assert int(said[0].removeprefix("removed after ")) < 30
    assert said[1] == "alive 1 items 3000"
    assert_nothing_lost(open_store(tmp_path / "parts"), encoder, views)


# Files are unsound -----------------------------------------------------------------------------------


def test_shard_that_is_cut_off(views, encoder, tmp_path):
    write_store(ArrayStore(views, IDS), tmp_path / "features", rows_a_shard=500)
    store = open_store(tmp_path / "features")
    kept = store.paths[3].read_bytes()
    store.paths[3].write_bytes(kept[:20_000])
    with pytest.raises(ValueError, match=r"part-000003.parquet is damaged in row group 0"):
        by_two(encoder, store, tmp_path / "parts")
    with pytest.raises(ValueError, match=r"part-000003.parquet is no Parquet file, or it is cut off"):
        open_store(tmp_path / "features")
    store.paths[3].write_bytes(kept)
    assert_nothing_lost(by_two(encoder, open_store(tmp_path / "features"), tmp_path / "parts"), encoder, views)


def test_finished_shard_that_is_cut_off_is_written_anew(views, encoder, tmp_path):
    parts = by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts")
    expected = bytes_of(parts)
    parts.paths[2].write_bytes(expected[2][:5000])
    assert bytes_of(by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts")) == expected


def test_shards_with_other_columns_and_shards_with_the_same_items(views, tmp_path):
    write_store(ArrayStore(views, IDS), tmp_path / "features", rows_a_shard=1000)
    narrow = {name: matrix[:100, :30] for name, matrix in views.items()}
    write_store(ArrayStore(narrow, [f"new {n}" for n in range(100)]), tmp_path / "narrow")
    again = {name: matrix[:100] for name, matrix in views.items()}
    write_store(ArrayStore(again, IDS[700:800]), tmp_path / "again")
    for other, message in (("narrow", "has other columns than"), ("again", "'i700' belongs to two items")):
        paths = [*sorted((tmp_path / "features").glob("*.parquet")), tmp_path / other / "part-000000.parquet"]
        with pytest.raises(ValueError, match=message):
            distributed.fit(make(), paths, num_workers=2)


def test_rows_of_nan(views, encoder, tmp_path):
    holes = {name: matrix.copy() for name, matrix in views.items()}
    holes["text"][[5, 1234, 2900]] = np.nan
    store = ArrayStore(holes, IDS)
    with pytest.raises(ValueError, match="contains NaN: 0 of image, 1 of text; the first is row 5"):
        by_two(encoder, store, tmp_path / "parts")
    with pytest.raises(ValueError, match="contains NaN: 0 of image, 3 of text; the first is row 5"):
        distributed.fit(make(), store, num_workers=2)
    tolerant = make(objective="cca", missing="nan").fit(ArrayStore(views, IDS))
    parts = by_two(tolerant, store, tmp_path / "tolerant")
    assert parts.read_ids(slice(0, N)).tolist() == IDS
    assert np.flatnonzero(np.isnan(parts.read(slice(0, N), 1)).any(axis=1)).tolist() == [5, 1234, 2900]


def test_infinite_values_are_named_by_their_row(views, tmp_path):
    holes = {name: matrix.copy() for name, matrix in views.items()}
    holes["text"][2900, 3] = np.inf
    with pytest.raises(ValueError, match="text modality contains infinity, first in row 2900"):
        distributed.fit(make(), ArrayStore(holes, IDS), num_workers=2)


def test_two_runs_on_one_output(views, encoder, tmp_path):
    (tmp_path / "parts").mkdir()
    with sole_user(tmp_path / "parts"), pytest.raises(RuntimeError, match=r"Another run .* is writing to"):
        by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts")
    assert_nothing_lost(by_two(encoder, ArrayStore(views, IDS), tmp_path / "parts"), encoder, views)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_disk_full(views, encoder, small_disk):
    store = ArrayStore(views, IDS)
    with pytest.raises(OSError, match="What was written is whole: make room and run the same again") as caught:
        by_two(encoder, store, small_disk / "parts")
    assert caught.value.errno == errno.ENOSPC
    n_whole = len(list((small_disk / "parts").glob("part-*")))
    assert 0 < n_whole < 8
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert_nothing_lost(by_two(encoder, store, small_disk / "parts"), encoder, views)


def test_store_that_cannot_be_sent(views, encoder, tmp_path):
    class Local(ArrayStore):
        def __init__(self, views):
            super().__init__(views)
            self.lock = threading.Lock()  # as h5py, something of this process

    with pytest.raises(
        TypeError, match=r"cannot be sent to workers: cannot pickle '_thread.lock' object. Give features as"
    ):
        by_two(encoder, Local(views), tmp_path / "parts")


def test_threads_of_workers(ray_cluster):
    assert ray_cluster.get(ray_cluster.remote(num_cpus=1)(lambda: torch.get_num_threads()).remote()) == 1
