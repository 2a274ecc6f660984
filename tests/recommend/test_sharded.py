"""AttentiveBPR by several processes, each with its share of the users, is that of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sharded_fit import N_USERS, fitted, numbers, taken

import modalsplit
from modalsplit.recommend._fitting import Fitting
from modalsplit.recommend._sharded import ShardedFitting

PAPER = {
    "loss": "bpr", "users": "embedding", "projection": False, "item_bias": False, "fine_tune": True, "init": "uniform",
    "sampling": "interactions", "n_negatives": 2, "learning_rate": 5e-3, "decay": False, "batch_size": 100,
}  # fmt: skip
CASES = {"defaults": {}, "paper": PAPER}
MORE = {
    "free users": {"users": "embedding", "batch_size": 30, "n_negatives": 20},
    "users' attention": {"attention": "user", "loss": "logistic", "sampling": "interactions", "batch_size": 64},
    "tiny batches": {**PAPER, "batch_size": 3, "max_epochs": 1},
    "stopped early": {**PAPER, "early_stopping": True, "n_iter_no_change": 2, "max_epochs": 8},
}


def torchrun(n, folder, cases, *, expect=0):
    """Fit in n processes; return what each found by case."""
    folder.mkdir(parents=True)
    program = Path(sys.executable).with_name("torchrun")
    script = Path(__file__).with_name("sharded_fit.py")
    done = subprocess.run(
        [str(program), "--standalone", f"--nproc-per-node={n}", str(script), str(folder), json.dumps(cases)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=500,
    )  # fmt: skip
    assert (done.returncode != 0) == expect, done.stderr
    return done.stderr


def found(folder, name, rank=0):
    return json.loads((folder / f"{name}-{rank}.json").read_text()), np.load(folder / f"{name}-{rank}.npy")


def assert_same_as_one(folder, name, how, n, y=None):
    one = fitted(how, y)
    for rank in range(n):
        about, learned = found(folder, name, rank)
        assert about["n_iter"] == one.n_iter_
        assert about["users"] == [N_USERS, 6]
        assert len(about["history"]) == len(one.history_)
        for record, expected in zip(about["history"], one.history_, strict=True):
            assert record == pytest.approx(expected, rel=1e-6)
        assert_allclose(learned, numbers(one), rtol=1e-3, atol=1e-4)
        assert_array_equal(learned, found(folder, name)[1])  # all processes hold the same
    return one


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded") / "two"
    torchrun(2, folder, {name: {"how": how} for name, how in CASES.items()})
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(name, of_two):
    assert_same_as_one(of_two, name, CASES[name], 2)


def test_what_two_processes_learned_can_be_used(of_two):
    model = modalsplit.load(of_two / "paper.safetensors")
    assert_array_equal(model.recommend(k=5).ids, fitted(PAPER).recommend(k=5).ids)


@pytest.mark.slow
def test_four_processes_and_files(tmp_path):
    rows, columns = np.nonzero(taken())
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))
    table = pd.DataFrame({"item_id": rows[order], "user_id": columns[order]})
    table.to_parquet(tmp_path / "taken.parquet", row_group_size=200)
    files = {"how": PAPER, "files": str(tmp_path / "taken.parquet")}
    cases = {name: {"how": how} for name, how in (CASES | MORE).items()}
    torchrun(4, tmp_path / "four", {**cases, "files": files})
    for name, how in (CASES | MORE).items():
        assert_same_as_one(tmp_path / "four", name, how, 4)
    one = fitted(PAPER, files["files"])
    about, learned = found(tmp_path / "four", "files")
    assert [r["loss"] for r in about["history"]] == pytest.approx([r["loss"] for r in one.history_], rel=1e-6)
    assert_allclose(learned, numbers(one), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("users", ["embedding", "history"])
def test_process_killed_and_the_same_command_again(users, tmp_path):
    how = {**PAPER, "users": users}
    torchrun(2, tmp_path / "whole", {"fit": {"how": how}})
    mortal = {"fit": {"how": how, "checkpoint": str(tmp_path / "checkpoint"), "dies": 3}}
    errors = torchrun(2, tmp_path / "killed", mortal, expect=1)
    assert "exitcode  : -9" in errors
    assert (tmp_path / "death").exists()
    torchrun(2, tmp_path / "again", mortal)
    whole, again = found(tmp_path / "whole", "fit"), found(tmp_path / "again", "fit")
    assert again[0] == whole[0]
    assert_array_equal(again[1], whole[1])


@pytest.mark.slow
def test_fit_that_one_process_began_goes_on_with_three(tmp_path):
    how = {**PAPER, "early_stopping": True, "max_epochs": 6}
    expected = fitted(how)
    mortal = {"fit": {"how": how, "checkpoint": str(tmp_path / "checkpoint"), "dies": 4}}
    torchrun(2, tmp_path / "two", mortal, expect=1)
    torchrun(3, tmp_path / "three", mortal)
    about, learned = found(tmp_path / "three", "fit", 2)
    assert about["n_iter"] == expected.n_iter_
    for record, other in zip(about["history"], expected.history_, strict=True):
        assert record == pytest.approx(other, rel=1e-6)
    assert_allclose(learned, numbers(expected), rtol=1e-3, atol=1e-4)
    torchrun(2, tmp_path / "ended", mortal)
    assert_array_equal(found(tmp_path / "ended", "fit")[1], learned)


@pytest.mark.parametrize("init", ["normal", "uniform"])
def test_shares_of_a_table_are_drawn_as_the_table(init, monkeypatch):
    class Drawing(ShardedFitting):
        def __init__(self):
            self.params = modalsplit.AttentiveBPR(init=init, users="embedding")
            self.device = torch.device("cpu")
            self.generator = torch.Generator().manual_seed(0)

    monkeypatch.setattr("modalsplit.recommend._sharded.DRAWN", 200)
    whole = Fitting._start(Drawing(), 103, 6)
    for rank in range(3):
        monkeypatch.setattr("modalsplit.recommend._sharded.ranks", lambda rank=rank: (rank, 3))
        assert_array_equal(Drawing()._start_lending(103, 6), whole[rank::3])
