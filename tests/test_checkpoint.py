"""A fit that was killed goes on, and ends as if it had not been."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import modalsplit
from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.files import sole_user
from modalsplit.stores import ArrayStore

# One fit in a process of its own: arguments are where the data are, the checkpoint, the result, and how.
FIT = """
import sys, json
import numpy as np, torch
torch.set_num_threads(1)
import modalsplit
from modalsplit.stores import open_store
import modalsplit.objectives._checkpoint as checkpoint, modalsplit.objectives._stored as stored
import modalsplit.objectives._scan as scan
checkpoint.SECONDS = 0.05
data, folder, result, how = sys.argv[1:]
options = json.loads(how)
store = options.pop("store")
encoder = modalsplit.DisentangledModalityEncoder(16, random_state=0, device="cpu", **options)
print("ready", flush=True)
if store:
    stored.CELLS_AT_HAND, stored.ROWS_A_BLOCK = 1500 * 64, 100
    scan.ROWS_A_BLOCK, scan.BLOCKS_A_STRETCH = 100, 1
    encoder.fit(open_store({"image": data + "/image.npy", "text": data + "/text.npy"}), checkpoint=folder)
else:
    encoder.fit(np.load(data + "/image.npy"), np.load(data + "/text.npy"), checkpoint=folder)
modalsplit.save(encoder, result)
"""
LEARNED = {"max_epochs": 15, "hidden_units": 32, "batch_size": 250}


@pytest.fixture(scope="module")
def data():
    return make_modalities(2500, kind="absolute", n_features=(60, 40), random_state=0)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "image.npy", data.X_img)
    np.save(folder / "text.npy", data.X_txt)
    return folder


def start(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process):
    _, errors = process.communicate()
    return process.returncode, errors


def kill_after(process, folder, n_writes):
    """Kill a process as soon as so many files were seen in a folder, finished or not, or changed."""
    seen = set()
    while process.poll() is None and len(seen) < n_writes:
        for path in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                seen.add((path.name, path.stat().st_mtime_ns))
        time.sleep(0.002)
    process.kill()


def state(path):
    encoder = modalsplit.load(path)
    return {**encoder.module_.state_dict(), "history": encoder.history_, "rank": encoder.common_rank_}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"store": False, **LEARNED}, id="in memory", marks=pytest.mark.slow),
        pytest.param({"store": True, **LEARNED}, id="from a store"),
        pytest.param({"store": False, "objective": "paper", "max_epochs": 30}, id="trained", marks=pytest.mark.slow),
    ],
)
def test_killed_fit_ends_as_if_it_had_not_been(how, folder, tmp_path):
    how = json.dumps(how)
    code, errors = ended(start(folder, tmp_path / "whole", tmp_path / "whole.safetensors", how))
    assert code == 0, errors
    rng = random.Random(0)
    for most in (4, 12):
        process = start(folder, tmp_path / "killed", tmp_path / "killed.safetensors", how)
        kill_after(process, tmp_path / "killed", rng.randint(1, most))
        assert ended(process)[0] == -9
    code, errors = ended(start(folder, tmp_path / "killed", tmp_path / "killed.safetensors", how))
    assert code == 0, errors
    expected, got = state(tmp_path / "whole.safetensors"), state(tmp_path / "killed.safetensors")
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert_array_equal(got[name], value, err_msg=name)
        else:
            assert got[name] == value


def encoder(**parameters):
    return DisentangledModalityEncoder(
        **{"n_components": 16, "random_state": 0, "device": "cpu", **LEARNED, **parameters}
    )


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    """A checkpoint, and the encoder that made it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "fit"
    return folder, encoder().fit(data.X_img, data.X_txt, checkpoint=folder)


def test_checkpoint_changes_nothing(begun, data):
    expected = encoder().fit(data.X_img, data.X_txt)
    for got, wanted in zip(
        begun[1].transform(data.X_img, data.X_txt), expected.transform(data.X_img, data.X_txt), strict=True
    ):
        assert_array_equal(got, wanted)
    assert begun[1].history_ == expected.history_


def test_finished_checkpoint_is_read_and_not_trained_again(begun, data, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: pytest.fail("trained again"))
    again = encoder().fit(data.X_img, data.X_txt, checkpoint=begun[0])
    assert again.history_ == begun[1].history_


def test_checkpoint_holds_no_pickle(begun):
    names = {path.name for path in begun[0].iterdir()}
    assert {"checkpoint.json", "round-0.safetensors"} <= names
    assert {path.suffix for path in begun[0].iterdir() if path.name != ".lock"} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_epochs": 16}, "another configuration: max_epochs=15 there and 16 now"),
        ({"n_components": 15}, "n_components=16 there and 15 now"),
        ({"random_state": 1}, "random_state="),
        ({"objective": "cca"}, "objective='stable' there and 'cca' now"),
    ],
)
def test_checkpoint_of_another_configuration_is_refused(changes, message, begun, data):
    with pytest.raises(ValueError, match=message):
        encoder(**changes).fit(data.X_img, data.X_txt, checkpoint=begun[0])


def test_checkpoint_of_other_data_is_refused(begun, data):
    changed = data.X_img.copy()
    changed[1777, 3] += 1e-9
    for X, Y in ((changed, data.X_txt), (data.X_img[:-1], data.X_txt[:-1]), (data.X_img[::-1], data.X_txt[::-1])):
        with pytest.raises(ValueError, match="was begun with other data"):
            encoder().fit(X, Y, checkpoint=begun[0])
    # A store of the same values is looked at otherwise, and is no reason to mix the two.
    with pytest.raises(ValueError, match="another configuration: modalities"):
        encoder().fit(ArrayStore({"image": data.X_img, "text": data.X_txt}), checkpoint=begun[0])


def test_what_does_not_matter_may_change(begun, data):
    result = encoder(verbose=1, output="common").fit(data.X_img, data.X_txt, checkpoint=begun[0])
    assert result.history_ == begun[1].history_


def test_strange_or_damaged_folders_are_refused(begun, data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"is no checkpoint and not empty: it holds 'thesis.txt'"):
        encoder().fit(data.X_img, data.X_txt, checkpoint=tmp_path / "mine")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in begun[0].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    stage = copy / "round-0.safetensors"
    stage.write_bytes(stage.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"round-0.safetensors is no file that a fit with checkpoint= wrote, or it is cut off"
    ):
        encoder().fit(data.X_img, data.X_txt, checkpoint=copy)
    (copy / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        encoder().fit(data.X_img, data.X_txt, checkpoint=copy)
    (copy / "checkpoint.json").write_text(json.dumps({"version": "99"}))
    with pytest.raises(ValueError, match="is of version 99"):
        encoder().fit(data.X_img, data.X_txt, checkpoint=copy)


def test_two_fits_on_one_checkpoint(begun, data):
    with sole_user(begun[0]), pytest.raises(RuntimeError, match="Another run"):
        encoder().fit(data.X_img, data.X_txt, checkpoint=begun[0])


def test_full_disk_leaves_the_last_checkpoint(data, tmp_path, monkeypatch):
    real, calls = modalsplit.files._archive.save_file, []

    def full(arrays, path, metadata):
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(arrays, path, metadata)

    monkeypatch.setattr("modalsplit.objectives._checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr("modalsplit.files._archive.save_file", full)
        with pytest.raises(OSError, match="No space left"):
            encoder().fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    assert [path.name for path in (tmp_path / "fit").iterdir() if path.name.endswith(".tmp")] == []
    result = encoder().fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    assert result.history_ == encoder().fit(data.X_img, data.X_txt).history_


def test_real_full_disk(data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        with pytest.raises(OSError, match=r"round-[01].safetensors cannot be written: .*No space left on device"):
            encoder().fit(data.X_img, data.X_txt, checkpoint=disk / "fit")
        assert {path.name for path in (disk / "fit").iterdir()} <= {".lock", "checkpoint.json", "round-0.safetensors"}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_seed_is_kept_where_there_is_none(data, tmp_path):
    first = encoder(random_state=None).fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    second = encoder(random_state=None).fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    assert first.history_ == second.history_


def test_interrupted_fit_goes_on(begun, data, tmp_path, monkeypatch):
    steps = 0
    real = torch.optim.AdamW.step

    def interrupted(self, *arguments):
        nonlocal steps
        steps += 1
        if steps == 60:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr("modalsplit.objectives._checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", interrupted)
        with pytest.warns(UserWarning, match=r"can be used. The same call with checkpoint='.*fit' goes on"):
            encoder().fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    result = encoder().fit(data.X_img, data.X_txt, checkpoint=tmp_path / "fit")
    assert result.history_ == begun[1].history_


@pytest.mark.filterwarnings("ignore:The modalities share nothing:UserWarning")
def test_pipelines_and_clones_tolerate_the_keyword(data, tmp_path):
    frame = pd.DataFrame(
        np.hstack([data.X_img, data.X_txt]),
        columns=[*[f"image__{i}" for i in range(60)], *[f"text__{i}" for i in range(40)]],
    )
    model = encoder(objective="cca")
    Pipeline([("split", model), ("pass", "passthrough")]).fit(frame, split__checkpoint=tmp_path / "one")
    assert (tmp_path / "one" / "checkpoint.json").exists()
    assert "checkpoint" not in clone(model).get_params()
    with config_context(enable_metadata_routing=True):
        routed = encoder(objective="cca").set_fit_request(checkpoint=True)
        Pipeline([("split", routed), ("pass", "passthrough")]).fit(frame, checkpoint=tmp_path / "two")
    assert (tmp_path / "two" / "checkpoint.json").exists()
