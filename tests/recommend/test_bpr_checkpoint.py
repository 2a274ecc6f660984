"""A fit of AttentiveBPR that was killed or interrupted goes on, and ends as if it had not been."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from made import checkerboard, named, parity_parts, same, table, write

import modalsplit
from modalsplit import AttentiveBPR
from modalsplit.files import sole_user
from modalsplit.recommend import _fitting
from modalsplit.recommend._row_adam import RowAdam

# One fit in a process of its own: arguments are the interactions, the checkpoint, the result, and how.
FIT = """
import json, sys
import torch
torch.set_num_threads(1)
from made import named, parity_parts
import modalsplit
import modalsplit.objectives._checkpoint as checkpoint
checkpoint.SECONDS = 0.0
files, folder, result, how = sys.argv[1:]
model = modalsplit.AttentiveBPR(4, random_state=0, device="cpu", **json.loads(how))
print("ready", flush=True)
model.fit(named(parity_parts()), files, checkpoint=folder)
modalsplit.save(model, result)
"""
HERE = str(Path(__file__).parent)


def start(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", FIT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": HERE},
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
        time.sleep(0.001)
    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["users", "interactions"])
def test_killed_fit_ends_as_if_it_had_not_been(sampling, tmp_path):
    files = write(table(), tmp_path / "taken")
    how = json.dumps({"sampling": sampling, "max_epochs": 40})
    code, errors = ended(start(files, tmp_path / "whole", tmp_path / "whole.safetensors", how))
    assert code == 0, errors
    rng = random.Random(0)
    for most in (5, 15, 25):
        process = start(files, tmp_path / "killed", tmp_path / "killed.safetensors", how)
        kill_after(process, tmp_path / "killed", rng.randint(1, most))
        assert ended(process)[0] == -9
    code, errors = ended(start(files, tmp_path / "killed", tmp_path / "killed.safetensors", how))
    assert code == 0, errors
    same(modalsplit.load(tmp_path / "killed.safetensors"), modalsplit.load(tmp_path / "whole.safetensors"))


class CrashError(Exception):
    pass


def model(**params):
    return AttentiveBPR(4, **({"max_epochs": 4, "random_state": 0, "device": "cpu"} | params))


@pytest.fixture
def items():
    return named(parity_parts())


@pytest.fixture(params=["files", "memory"])
def taken(request, tmp_path):
    return checkerboard() if request.param == "memory" else write(table(), tmp_path / "taken")


def crash_in_epoch(monkeypatch, n, error):
    """Raise in the first step of an epoch of those to come."""
    called = []

    def shuffled(n_samples, *rest):
        called.append(0)
        if len(called) == n:
            raise error
        return batches(n_samples, *rest)

    batches = modalsplit.training.batches
    monkeypatch.setattr("modalsplit.training.batches", shuffled)


@pytest.mark.parametrize("params", [{}, {"sampling": "interactions", "loss": "bpr", "users": "embedding"}])
def test_crashed_fit_ends_as_if_it_had_not(items, taken, tmp_path, monkeypatch, params):
    monkeypatch.setattr("modalsplit.objectives._checkpoint.SECONDS", 0.0)
    whole = model(**params).fit(items, taken)
    with monkeypatch.context() as patch:
        crash_in_epoch(patch, 3, CrashError())
        with pytest.raises(CrashError):
            model(**params).fit(items, taken, checkpoint=tmp_path / "fit")
    with monkeypatch.context() as patch:
        crash_in_epoch(patch, 3, CrashError())  # two epochs are left, and two are trained
        same(model(**params).fit(items, taken, checkpoint=tmp_path / "fit"), whole)


def test_the_best_epoch_is_kept_over_a_crash(items, tmp_path, monkeypatch):
    monkeypatch.setattr("modalsplit.objectives._checkpoint.SECONDS", 0.0)
    params = {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 30, "learning_rate": 0.1, "random_state": 2}
    whole = model(**params).fit(items, checkerboard())
    assert 1 < whole.n_iter_ < len(whole.history_) < 30
    with monkeypatch.context() as patch:
        crash_in_epoch(patch, whole.n_iter_ + 1, CrashError())  # the best is behind
        with pytest.raises(CrashError):
            model(**params).fit(items, checkerboard(), checkpoint=tmp_path / "fit")
    again = model(**params).fit(items, checkerboard(), checkpoint=tmp_path / "fit")
    same(again, whole)
    assert again.n_iter_ == whole.n_iter_


def test_finished_checkpoint_is_read_and_not_trained_again(items, taken, tmp_path, monkeypatch):
    first = model().fit(items, taken, checkpoint=tmp_path / "fit")
    monkeypatch.setattr(RowAdam, "step", lambda self: pytest.fail("trained again"))
    same(model().fit(items, taken, checkpoint=tmp_path / "fit"), first)


@pytest.mark.parametrize("done", [0, 2])
def test_interrupt_leaves_a_usable_model_and_the_checkpoint_goes_on(items, taken, tmp_path, monkeypatch, done):
    monkeypatch.setattr("modalsplit.objectives._checkpoint.SECONDS", 0.0)
    whole = model().fit(items, taken)
    with monkeypatch.context() as patch:
        crash_in_epoch(patch, done + 1, KeyboardInterrupt())
        with pytest.warns(UserWarning, match="can be used. The same call with checkpoint="):
            stopped = model().fit(items, taken, checkpoint=tmp_path / "fit")
    assert len(stopped.history_) == stopped.n_iter_ == done
    assert np.isfinite(stopped.recommend(k=3).scores).all()
    same(model().fit(items, taken, checkpoint=tmp_path / "fit"), whole)


def test_other_configurations_and_data_are_refused(items, tmp_path):
    folder = tmp_path / "fit"
    model(verbose=False).fit(items, checkerboard(), checkpoint=folder)
    with pytest.raises(ValueError, match="another configuration: max_epochs=4 there and 5 now"):
        model(max_epochs=5).fit(items, checkerboard(), checkpoint=folder)
    with pytest.raises(ValueError, match="another configuration: random_state=0 there and 1 now"):
        model(random_state=1).fit(items, checkerboard(), checkpoint=folder)
    with pytest.raises(ValueError, match="begun with other data"):
        model().fit(items, 1 - checkerboard(), checkpoint=folder)
    with pytest.raises(ValueError, match="begun with other data"):
        model().fit(items + 1, checkerboard(), checkpoint=folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(verbose=True, cold_alpha=0.5).fit(items, checkerboard(), checkpoint=folder)


def test_other_files_are_refused(items, tmp_path):
    model().fit(items, write(table(), tmp_path / "one"), checkpoint=tmp_path / "fit")
    with pytest.raises(ValueError, match="begun with other data"):
        model().fit(items, write(table(seed=1), tmp_path / "other"), checkpoint=tmp_path / "fit")
    with pytest.raises(ValueError, match="begun with other data"):
        model().fit(items[::-1], tmp_path / "one", checkpoint=tmp_path / "fit")


def test_without_a_seed_the_checkpoint_keeps_one(items, tmp_path):
    first, second = (model(random_state=None).fit(items, checkerboard(), checkpoint=tmp_path / "fit") for _ in range(2))
    same(first, second)


def test_a_second_process_is_refused(items, tmp_path):
    (tmp_path / "fit").mkdir()
    with sole_user(tmp_path / "fit"), pytest.raises(RuntimeError, match="Another run"):
        model().fit(items, checkerboard(), checkpoint=tmp_path / "fit")


def test_the_order_of_an_epoch_follows_from_its_number(items, monkeypatch):
    """Samples and negatives of an epoch are the same whatever was drawn before."""
    drawn = []

    class Recorded(_fitting.BatchLoss):
        def __call__(self, samples):
            drawn.append(samples.tolist())
            return super().__call__(samples)

    monkeypatch.setattr(_fitting, "BatchLoss", Recorded)
    params = {"batch_size": 40, "sampling": "interactions"}
    model(max_epochs=3, **params).fit(items, checkerboard())
    n_batches = len(drawn) // 3
    epochs = [drawn[n_batches * e : n_batches * (e + 1)] for e in range(3)]
    drawn.clear()
    model(max_epochs=2, n_negatives=3, **params).fit(items, checkerboard())  # other negatives: more is drawn
    assert drawn == epochs[0] + epochs[1]
    assert epochs[0] != epochs[1]


def test_a_checkpoint_holds_no_pickle(items, tmp_path):
    model().fit(items, write(table(), tmp_path / "taken"), checkpoint=tmp_path / "fit")
    names = {path.name for path in (tmp_path / "fit").iterdir()}
    assert names == {
        ".lock",
        "checkpoint.json",
        "interactions.safetensors",
        "items.raw",
        "ones.raw",
        "renumbered.raw",
        "training.safetensors",
    }
    assert torch.__version__ in (tmp_path / "fit" / "checkpoint.json").read_text()
