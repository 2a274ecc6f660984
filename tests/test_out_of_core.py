"""An encoder fitted on a store is the encoder fitted in memory, and its parts need not fit memory either."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import modalsplit
from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.evaluate import disentanglement_score
from modalsplit.stores import ArrayStore, open_store, write_store

D = 12


@pytest.fixture(scope="module")
def data():
    return make_modalities(3000, n_features=(40, 30), random_state=0)


@pytest.fixture(scope="module")
def curved():
    return make_modalities(3000, kind="absolute", n_features=(60, 40), random_state=0)


def encoder(**parameters):
    return DisentangledModalityEncoder(**{"n_components": D, "random_state": 0, "device": "cpu", **parameters})


def learner(**parameters):
    return encoder(n_components=20, max_epochs=20, hidden_units=64, batch_size=250, **parameters)


def store_of(data, ids=None):
    return ArrayStore({"image": data.X_img, "text": data.X_txt}, ids)


def up_to_sign(parts, expected):
    return parts * np.sign((parts * expected).sum(axis=0))


def assert_same_parts(fitted, expected, data):
    for got, wanted in zip(
        fitted.transform(data.X_img, data.X_txt), expected.transform(data.X_img, data.X_txt), strict=True
    ):
        assert_allclose(up_to_sign(got, wanted), wanted, atol=1e-5 * np.abs(wanted).max())


def few_at_hand(monkeypatch, n_rows, width):
    monkeypatch.setattr("modalsplit.objectives._stored.CELLS_AT_HAND", n_rows * width)


def test_closed_form_of_a_store_is_that_in_memory(data):
    expected = encoder(objective="cca").fit(data.X_img, data.X_txt)
    fitted = encoder(objective="cca").fit(store_of(data))
    assert_same_parts(fitted, expected, data)
    assert fitted.modality_names_ == ("image", "text")
    assert fitted.common_rank_ == expected.common_rank_ == data.shared.shape[1]
    assert_allclose(fitted.canonical_correlations_, expected.canonical_correlations_, atol=1e-8)
    assert fitted.residual_share_ == pytest.approx(expected.residual_share_, abs=1e-8)


def test_closed_form_is_exact_on_rows_that_are_not_at_hand(data, monkeypatch):
    expected = encoder(objective="cca").fit(data.X_img, data.X_txt)
    few_at_hand(monkeypatch, 1500, 4 * D)
    fitted = encoder(objective="cca").fit(store_of(data))
    # The same decisions, so the same numbers: half of the rows judged, all of them counted.
    assert (fitted.common_rank_, fitted.primitive_) == (expected.common_rank_, expected.primitive_)
    assert_same_parts(fitted, expected, data)


def test_wide_modalities_are_sketched_as_in_memory(data, monkeypatch):
    monkeypatch.setattr("modalsplit.nn._canonical.WIDEST_EXACT", 20)
    expected = encoder(objective="cca", n_components=8).fit(data.X_img, data.X_txt)
    assert_same_parts(encoder(objective="cca", n_components=8).fit(store_of(data)), expected, data)
    # Too wide for a covariance: the same sketch by reading the rows again.
    monkeypatch.setattr("modalsplit.objectives._stored.WIDEST_COVARIANCE", 35)
    assert_same_parts(encoder(objective="cca", n_components=8).fit(store_of(data)), expected, data)


def test_incomplete_items_count_for_what_they_have(data, monkeypatch):
    rng = np.random.default_rng(1)
    X, Y = data.X_img.copy(), data.X_txt.copy()
    X[rng.random(len(X)) < 0.2] = np.nan
    Y[(rng.random(len(Y)) < 0.2) & ~np.isnan(X[:, 0])] = np.nan
    expected = encoder(objective="cca", missing="translate").fit(X, Y)
    few_at_hand(monkeypatch, 2000, 4 * D)
    fitted = encoder(objective="cca", missing="translate").fit(ArrayStore({"image": X, "text": Y}))
    assert fitted.primitive_ == expected.primitive_
    assert_same_parts(fitted, expected, data)


def score(fitted, data):
    c, s = fitted.transform(data.X_img, data.X_txt)
    d = fitted.n_components_
    return disentanglement_score(
        (c[:, :d], c[:, d:]), (s[:, :d], s[:, d:]), data.shared, (data.private_img, data.private_txt), random_state=0
    )


def test_learned_parts_of_a_store_are_those_in_memory(curved):
    expected = learner().fit(curved.X_img, curved.X_txt)
    fitted = learner().fit(store_of(curved))
    assert fitted.primitive_ == "learned features"
    assert [e["round"] for e in fitted.history_] == [e["round"] for e in expected.history_]
    got, wanted = score(fitted, curved), score(expected, curved)
    assert abs(got.D - wanted.D) < 1e-4
    assert abs(got.D_strict - wanted.D_strict) < 1e-4


def test_learned_parts_of_few_rows_at_hand_are_those_in_memory(curved, monkeypatch):
    all_at_hand = learner().fit(curved.X_img, curved.X_txt)
    few_at_hand(monkeypatch, 2000, 80)
    expected = learner().fit(curved.X_img, curved.X_txt)
    fitted = learner().fit(store_of(curved))
    assert fitted.primitive_ == expected.primitive_ == "learned features"
    got, wanted = score(fitted, curved), score(expected, curved)
    assert abs(got.D - wanted.D) < 1e-4
    assert abs(got.D_strict - wanted.D_strict) < 1e-4
    assert got.D > score(all_at_hand, curved).D - 0.02


def test_arrays_of_which_few_rows_are_at_hand_are_split_as_exactly(data, monkeypatch):
    X, Y = data.X_img.copy(), data.X_txt.copy()
    X[::7] = np.nan
    expected = encoder(objective="cca", missing="translate").fit(X, Y)
    few_at_hand(monkeypatch, 2000, 4 * D)
    fitted = encoder(objective="cca", missing="translate").fit(X, Y)
    assert (fitted.common_rank_, fitted.primitive_) == (expected.common_rank_, expected.primitive_)
    assert_same_parts(fitted, expected, data)


def test_rows_are_learned_from_in_an_order_of_the_seed(curved, monkeypatch):
    few_at_hand(monkeypatch, 1000, 4 * D)
    first, second, other = (encoder(max_epochs=2, random_state=seed).fit(store_of(curved)) for seed in (0, 0, 1))
    assert first.history_ == second.history_
    assert first.history_ != other.history_


def test_every_source_gives_the_same_parts(data, tmp_path):
    write_store(store_of(data), tmp_path / "features", rows_a_shard=700)
    batches = ({"image": data.X_img[i : i + 400], "text": data.X_txt[i : i + 400]} for i in range(0, 3000, 400))
    results = [
        encoder(objective="cca").fit(source).transform(source)
        for source in (store_of(data), open_store(tmp_path / "features"), open_store(batches))
    ]
    for result in results[1:]:
        assert_allclose(result, results[0], atol=1e-9)


def test_fitted_on_a_store_transforms_frames_and_arrays(data):
    fitted = encoder(objective="cca").fit(store_of(data, ids=[f"i{n}" for n in range(3000)]))
    expected = fitted.transform(store_of(data))
    names = [*[f"image__{i}" for i in range(40)], *[f"text__{i}" for i in range(30)]]
    frame = pd.DataFrame(np.hstack([data.X_img, data.X_txt]), columns=names)
    assert_allclose(fitted.transform(frame), expected, atol=1e-9)
    assert_allclose(np.hstack(fitted.transform(data.X_img, data.X_txt)), expected, atol=1e-9)
    wrapped = fitted.set_output(transform="pandas").transform(store_of(data, ids=[f"i{n}" for n in range(3000)]))
    assert wrapped.index[2] == "i2"
    assert wrapped.columns[0] == "image_common__0"


# What is wrong is said -------------------------------------------------------------------------------


def changed(data, row, column, value):
    X = data.X_img.copy()
    X[row, column] = value
    return ArrayStore({"image": X, "text": data.X_txt})


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda data: encoder().fit(changed(data, 1234, 5, np.nan)), "1 of image, 0 of text; the first is row 1234"),
        (
            lambda data: encoder().fit(changed(data, 2900, 5, np.inf)),
            "image modality contains infinity, first in row 2900",
        ),
        (lambda data: encoder().fit(ArrayStore({"a": data.X_img, "b": np.ones((3000, 4))})), "b modality is constant"),
        (lambda data: encoder(objective="paper").fit(store_of(data)), "is fitted in memory: pass arrays"),
        (lambda data: encoder().fit(store_of(data), data.X_txt), "leave y out"),
        (lambda data: encoder(split=3).fit(store_of(data)), "split=3 counts columns, but a store names"),
        (
            lambda data: encoder(split=("image", "sound")).fit(store_of(data)),
            "must name two modalities or more of the store",
        ),
        (lambda data: encoder(n_components=41).fit(store_of(data)), "larger than can be had"),
        (lambda data: encoder(objective="cca").partial_fit(store_of(data)), "partial_fit takes arrays"),
    ],
)
def test_unsound_fits_are_refused(fit, message, data):
    with pytest.raises(ValueError, match=message):
        fit(data)


def test_unsound_transforms_are_refused(data, tmp_path):
    fitted = encoder(objective="cca").fit(store_of(data))
    with pytest.raises(ValueError, match="the first is row 1234"):
        fitted.transform(changed(data, 1234, 5, np.nan), out=tmp_path / "parts")
    with pytest.raises(ValueError, match="first in row 2900"):
        fitted.transform(changed(data, 2900, 5, np.inf))
    with pytest.raises(ValueError, match="no modality 'text'"):
        fitted.transform(ArrayStore({"image": data.X_img, "sound": data.X_txt}))
    with pytest.raises(ValueError, match="image modality of the store has 39 columns, but had 40"):
        fitted.transform(ArrayStore({"image": data.X_img[:, :39], "text": data.X_txt}))
    with pytest.raises(ValueError, match="out= is for the items of a store"):
        fitted.transform(data.X_img, data.X_txt, out=tmp_path / "parts2")


# A stream --------------------------------------------------------------------------------------------


def test_partial_fit_is_the_closed_form_of_all_items(data, tmp_path):
    expected = encoder(objective="cca").fit(data.X_img, data.X_txt)
    streamed = encoder(objective="cca")
    for start in range(0, 2000, 500):
        streamed.partial_fit(data.X_img[start : start + 500], data.X_txt[start : start + 500])
    modalsplit.save(streamed, tmp_path / "streamed.safetensors")
    streamed = modalsplit.load(tmp_path / "streamed.safetensors")
    streamed.partial_fit(data.X_img[2000:], data.X_txt[2000:])
    assert_same_parts(streamed, expected, data)


def test_partial_fit_counts_rows_that_it_does_not_keep(data, monkeypatch):
    expected = encoder(objective="cca").fit(data.X_img, data.X_txt)
    monkeypatch.setattr("modalsplit.objectives._streamed.CELLS_AT_HAND", 1500 * 70)
    streamed = encoder(objective="cca")
    for start in range(0, 3000, 300):
        streamed.partial_fit(data.X_img[start : start + 300], data.X_txt[start : start + 300])
    assert len(streamed._seen["keys"]) == 1500
    assert streamed.primitive_ == expected.primitive_
    assert_same_parts(streamed, expected, data)


def test_partial_fit_is_of_the_closed_form_only(data):
    assert not hasattr(encoder(), "partial_fit")
    streamed = encoder(objective="cca").partial_fit(data.X_img, data.X_txt)
    with pytest.raises(ValueError, match="39 features"):
        streamed.partial_fit(data.X_img[:, :39], data.X_txt)
    assert not hasattr(streamed.fit(data.X_img, data.X_txt), "_seen")


# Parts that do not fit memory ------------------------------------------------------------------------


@pytest.fixture
def fitted(data):
    return encoder(objective="cca").fit(store_of(data))


def test_shards_hold_every_item_once(data, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("modalsplit.stores._write.ROWS_A_SHARD", 1024)
    ids = [f"item {n}" for n in range(3000)]
    parts = fitted.transform(store_of(data, ids), out=tmp_path / "parts")
    assert parts.names == ("image_common", "text_common", "image_specific", "text_specific")
    assert parts.read_ids(slice(0, 3000)).tolist() == ids
    assert_array_equal(
        np.hstack([parts.read(slice(0, 3000), part) for part in range(4)]), fitted.transform(store_of(data))
    )


def test_matrix_on_disk(data, fitted, tmp_path):
    whole = fitted.transform(store_of(data), out=tmp_path / "parts.npy")
    assert isinstance(whole, np.memmap)
    assert_array_equal(whole, fitted.transform(store_of(data)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".parts.npy.json", "parts.npy"]


def test_matrix_on_disk_is_kept_when_the_call_is_repeated(data, fitted, tmp_path):
    out = tmp_path / "parts.npy"
    expected = np.array(fitted.transform(store_of(data), out=out))
    before = out.stat()
    assert_array_equal(fitted.transform(store_of(data), out=out), expected)
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".parts.npy.json", "parts.npy"]
    out.unlink()
    assert_array_equal(fitted.transform(store_of(data), out=out), expected)


def assert_refused(fitted, store, out):
    before = {path: path.read_bytes() for path in out.parent.iterdir()}
    with pytest.raises(ValueError, match=rf"{out.name} is there already.*Name another file, or delete that one"):
        fitted.transform(store, out=out)
    assert {path: path.read_bytes() for path in out.parent.iterdir()} == before


def test_matrix_does_not_replace_features_of_the_store(data, fitted, tmp_path):
    np.save(tmp_path / "image.npy", data.X_img)
    np.save(tmp_path / "text.npy", data.X_txt)
    store = open_store({"image": tmp_path / "image.npy", "text": tmp_path / "text.npy"})
    assert_refused(fitted, store, tmp_path / "image.npy")


def test_matrix_does_not_replace_parts_of_another_encoder_or_store(data, fitted, tmp_path):
    out = tmp_path / "parts.npy"
    fitted.transform(store_of(data), out=out)
    assert_refused(encoder(objective="cca", n_components=5).fit(store_of(data)), store_of(data), out)
    assert_refused(fitted, changed(data, 0, 0, 3.0), out)
    # Who deletes the file wants other parts there.
    out.unlink()
    assert_array_equal(fitted.transform(changed(data, 0, 0, 3.0), out=out), fitted.transform(changed(data, 0, 0, 3.0)))


def test_matrix_that_was_changed_since_is_not_taken_for_the_parts(data, fitted, tmp_path):
    out = tmp_path / "parts.npy"
    parts = np.array(fitted.transform(store_of(data), out=out))
    np.save(out, parts / 2)
    assert_refused(fitted, store_of(data), out)


def test_matrix_does_not_replace_a_file_that_came_while_it_was_made(data, fitted, tmp_path):
    class Slow(ArrayStore):
        def read(self, rows, modality):
            (tmp_path / "parts.npy").write_text("mine")
            return super().read(rows, modality)

    slow = Slow({"image": data.X_img, "text": data.X_txt})
    slow.fingerprint = store_of(data).fingerprint  # without reading
    with pytest.raises(ValueError, match=r"parts.npy is there already"):
        fitted.transform(slow, out=tmp_path / "parts.npy")
    assert (tmp_path / "parts.npy").read_text() == "mine"
    (tmp_path / "parts.npy").unlink()
    assert_array_equal(fitted.transform(store_of(data), out=tmp_path / "parts.npy"), fitted.transform(store_of(data)))


def test_matrix_of_a_run_killed_at_its_end_is_kept(data, fitted, tmp_path, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("modalsplit.stores._write.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted.transform(store_of(data), out=tmp_path / "parts.npy")
    assert_array_equal(fitted.transform(store_of(data), out=tmp_path / "parts.npy"), fitted.transform(store_of(data)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".parts.npy.json", "parts.npy"]


def test_parts_of_another_encoder_or_store_are_refused(data, fitted, tmp_path):
    fitted.transform(store_of(data), out=tmp_path / "parts")
    fitted.transform(store_of(data), out=tmp_path / "parts")
    other = encoder(objective="cca", n_components=5).fit(store_of(data))
    with pytest.raises(ValueError, match="holds results of another encoder, other data or other options"):
        other.transform(store_of(data), out=tmp_path / "parts")
    with pytest.raises(ValueError, match="holds results of another encoder, other data or other options"):
        fitted.transform(changed(data, 0, 0, 3.0), out=tmp_path / "parts")


KILLED = """
import sys
import modalsplit
from modalsplit.stores import open_store
import modalsplit.stores._write as w
w.write_shard.__kwdefaults__['rows_a_block'] = w.ROWS_A_BLOCK = 64
encoder = modalsplit.load(sys.argv[1])
store = open_store({"image": sys.argv[2], "text": sys.argv[3]})
print("ready", flush=True)
encoder.transform(store, out=sys.argv[4])
"""


@pytest.mark.parametrize("out", ["parts", "parts.npy"])
def test_killed_transform_goes_on_without_a_gap(out, data, fitted, tmp_path, monkeypatch):
    modalsplit.save(fitted, tmp_path / "encoder.safetensors")
    np.save(tmp_path / "image.npy", data.X_img)
    np.save(tmp_path / "text.npy", data.X_txt)
    arguments = [str(tmp_path / name) for name in ("encoder.safetensors", "image.npy", "text.npy", out)]
    rng = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True, env=_one_thread()
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.2))
        process.kill()
        process.wait()
        process.stdout.close()
    monkeypatch.setattr("modalsplit.stores._write.ROWS_A_SHARD", 64)
    store = open_store({"image": tmp_path / "image.npy", "text": tmp_path / "text.npy"})
    result = fitted.transform(store, out=tmp_path / out)
    assert len(result) == 3000
    got = result if out.endswith("npy") else np.hstack([result.read(slice(0, 3000), part) for part in range(4)])
    assert_allclose(got, fitted.transform(store), atol=1e-12)


def _one_thread():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


MEMORY = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
from modalsplit import DisentangledModalityEncoder
from modalsplit.stores import open_store
import modalsplit.objectives._stored as stored
peak = 0
def watch():
    # Not the peak that the system keeps: it counts pages of files that are mapped, which stay as long as nobody wants them.
    global peak
    while True:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak = max(peak, int(status["RssAnon"].split()[0]) // 1024)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
torch.set_num_threads(1)
stored.CELLS_AT_HAND = 1 << 17
folder, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
mix = rng.normal(size=(16, 300)).astype("f4")
def batches():
    for _ in range(n // 2000):
        z = rng.normal(size=(2000, 16)).astype("f4")
        noise = rng.normal(size=(2000, 600)).astype("f4")
        yield {"image": z @ mix + noise[:, :300], "text": z[:, ::-1] @ mix + noise[:, 300:]}
store = open_store(batches())
encoder = DisentangledModalityEncoder(16, random_state=0, max_epochs=1, device="cpu").fit(store)
encoder.transform(store, out=folder)
print(peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEMORY, tmp_path / str(n), str(n)],
                capture_output=True,
                text=True,
                check=True,
                # Freed memory goes back at once: the C library would keep up to 70 MB of it, more or less from run to run.
                env={**_one_thread(), "MALLOC_TRIM_THRESHOLD_": "1000000"},
            ).stdout
        )
        for n in (8_000, 88_000)
    ]
    # The second store is 192 MB larger.
    assert peaks[1] < peaks[0] + 20


# Interrupts ------------------------------------------------------------------------------------------


def test_interrupt_ends_with_a_usable_encoder(curved, monkeypatch):
    steps = 0
    real = torch.optim.AdamW.step

    def interrupted(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 40:
            signal.raise_signal(signal.SIGINT)
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # processes of pytest-xdist ignore it
    try:
        with pytest.warns(UserWarning, match="fit was interrupted. The encoder holds what was learned so far"):
            fitted = encoder(max_epochs=50).fit(store_of(curved))
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == 40
    assert np.isfinite(fitted.transform(store_of(curved))).all()
    assert fitted.residual_share_ < 0.1
