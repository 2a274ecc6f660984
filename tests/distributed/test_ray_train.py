"""Processes that Ray Train starts fit one model together, and it is that of one process, whatever happens to them."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from torch import distributed as dist

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, distributed
from modalsplit.datasets import make_modalities
from modalsplit.stores import ArrayStore

# Ray Data, which Ray Train imports, warns of its own options.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")]

N_ITEMS, N_USERS = 60, 151


@pytest.fixture(autouse=True)
def _ray(ray_cluster):
    ray_cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def store():
    data = make_modalities(1500, kind="absolute", n_features=(40, 30), random_state=0)
    return ArrayStore({"image": data.X_img, "text": data.X_txt})


def encoder():
    return DisentangledModalityEncoder(
        12, random_state=0, device="cpu", max_epochs=4, hidden_units=32, batch_size=250, common_rank=8
    )


def recommender(**more):
    options = {"loss": "bpr", "users": "embedding", "sampling": "interactions", "n_negatives": 2, "batch_size": 200}
    return AttentiveBPR(6, **{"max_epochs": 4, "random_state": 0, "device": "cpu", **options, **more})


def parts_and_taken():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ITEMS, 24)), (rng.random((N_ITEMS, N_USERS)) < 0.15).astype(np.float32)


def assert_same_losses(fitted, expected):
    assert len(fitted.history_) == len(expected.history_)
    for record, other in zip(fitted.history_, expected.history_, strict=True):
        assert record == pytest.approx(other, rel=1e-6)


def test_encoder_by_two_processes(store):
    expected = encoder().fit(store)
    assert expected.history_
    fitted = distributed.fit(encoder(), store, num_workers=2, launcher="train")
    assert_same_losses(fitted, expected)
    assert_allclose(fitted.transform(store), expected.transform(store), atol=1e-4)


def test_recommender_by_two_processes():
    parts, taken = parts_and_taken()
    expected = recommender().fit(parts, taken)
    fitted = distributed.fit(recommender(), parts, taken, num_workers=2)
    assert_same_losses(fitted, expected)
    assert_array_equal(fitted.recommend(k=5).ids, expected.recommend(k=5).ids)


class Mortal(AttentiveBPR):
    """One of its processes kills itself in an epoch, at most so many times; each death leaves a file."""

    deaths: Path
    most = 1

    def fit(self, X, y, *, item_ids=None, checkpoint=None):
        import modalsplit.objectives._checkpoint as kept
        from modalsplit.recommend import _sharded

        kept.SECONDS = 0.0
        drawn, epochs = _sharded.OwnBatches, set()

        class Deadly(drawn):
            def draw_own(self, samples):
                epochs.add(self.generator.initial_seed())
                if len(epochs) == 3 and dist.get_rank() == 1 and len(list(Mortal.deaths.iterdir())) < Mortal.most:
                    (Mortal.deaths / str(os.getpid())).touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().draw_own(samples)

        _sharded.OwnBatches = Deadly
        try:
            return super().fit(X, y, item_ids=item_ids, checkpoint=checkpoint)
        finally:
            _sharded.OwnBatches = drawn


@pytest.fixture
def deaths(tmp_path, monkeypatch):
    folder = tmp_path / "deaths"
    folder.mkdir()
    monkeypatch.setattr(Mortal, "deaths", folder, raising=False)
    return folder


def mortal(**more):
    return Mortal(**recommender(**more).get_params())


@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_process_killed_in_the_fit_of_a_recommender(with_checkpoint, deaths, tmp_path):
    parts, taken = parts_and_taken()
    checkpoint = tmp_path / "checkpoint" if with_checkpoint else None
    fitted = distributed.fit(mortal(), parts, taken, num_workers=2, checkpoint=checkpoint)
    assert len(list(deaths.iterdir())) == 1
    assert_same_losses(fitted, recommender().fit(parts, taken))


def test_process_that_dies_each_time_ends_in_an_error_and_the_next_run_goes_on(deaths, monkeypatch, tmp_path):
    parts, taken = parts_and_taken()
    monkeypatch.setattr(Mortal, "most", 99)
    # From the checkpoint an attempt has two epochs less to go, so that it would not reach the third.
    model = mortal(max_epochs=20)
    with pytest.raises(RuntimeError, match=r"The processes of the fit died 4 times"):
        distributed.fit(model, parts, taken, num_workers=2, checkpoint=tmp_path / "checkpoint")
    assert len(list(deaths.iterdir())) == 4
    monkeypatch.setattr(Mortal, "most", 0)
    fitted = distributed.fit(model, parts, taken, num_workers=2, checkpoint=tmp_path / "checkpoint")
    assert_same_losses(fitted, recommender(max_epochs=20).fit(parts, taken))


def test_errors_of_the_data_are_told_at_once():
    parts, taken = parts_and_taken()
    with pytest.raises(ValueError, match="X has 59 rows"):
        distributed.fit(recommender(), parts[1:], taken, num_workers=2)


def test_actors_that_hold_cpus_end_in_an_error_not_in_silence(ray_cluster):
    @ray_cluster.remote(num_cpus=1)
    class Holder:
        def ready(self):
            return True

    holders = [Holder.remote() for _ in range(3)]
    assert all(ray_cluster.get([holder.ready.remote() for holder in holders]))
    parts, taken = parts_and_taken()
    with pytest.raises(RuntimeError, match="1 CPUs and 0 GPUs were free for 1 s, and each of 2 workers needs 1 and 0"):
        distributed.fit(recommender(), parts, taken, num_workers=2, patience=1)
    for holder in holders:
        ray_cluster.kill(holder)


def test_launchers_that_are_unknown_or_not_for_a_recommender():
    parts, taken = parts_and_taken()
    with pytest.raises(ValueError, match="launcher='spark' is neither"):
        distributed.fit(recommender(), parts, taken, launcher="spark")
    with pytest.raises(ValueError, match="makes no passes that tasks could share"):
        distributed.fit(recommender(), parts, taken, launcher="tasks")
