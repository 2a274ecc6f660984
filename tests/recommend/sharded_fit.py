"""One of several processes that fit AttentiveBPR together; started by test_sharded.py."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed as dist

import modalsplit
import modalsplit.objectives._checkpoint as checkpoint
from modalsplit import AttentiveBPR
from modalsplit.recommend import _sharded

N_ITEMS, N_USERS = 60, 151


def taken():
    """Two tastes, and one user who took nothing."""
    rng = np.random.default_rng(0)
    same = (np.arange(N_ITEMS)[:, None] + np.arange(N_USERS)) % 2 == 0
    chosen = (rng.random((N_ITEMS, N_USERS)) < np.where(same, 0.3, 0.02)).astype(np.float32)
    chosen[:, 7] = 0
    return chosen


def parts():
    rng = np.random.default_rng(1)
    found = rng.normal(size=(N_ITEMS, 4, 6))
    found[:, 0, 0] += np.where(np.arange(N_ITEMS) % 2, 2.0, -2.0)
    return found.reshape(N_ITEMS, -1)


def fitted(how, y=None, checkpoint=None):
    options = {"max_epochs": 4, "random_state": 0, "device": "cpu", "blocks": 4}
    return AttentiveBPR(6, **{**options, **how}).fit(parts(), taken() if y is None else y, checkpoint=checkpoint)


def numbers(model):
    """Everything that was learned, in one vector."""
    names = ("user_embeddings_", "item_embeddings_", "item_bias_", "item_vectors_", "part_maps_", "extractor_deltas_")
    arrays = [getattr(model, name) for name in names]
    return np.concatenate([np.ravel(array) for array in arrays if array is not None])


def die_in_epoch(rank, number, mark):
    """Let a process kill itself once in the first step of an epoch; the mark tells that it did."""
    drawn = _sharded.OwnBatches.draw_own
    epochs = set()

    def draw_own(self, samples):
        epochs.add(self.generator.initial_seed())
        if len(epochs) == number and dist.get_rank() == rank and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return drawn(self, samples)

    _sharded.OwnBatches.draw_own = draw_own


def main():
    folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    checkpoint.SECONDS = 0.0
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for name, case in cases.items():
        if "dies" in case:
            die_in_epoch(1, case["dies"], folder.parent / "death")
        model = fitted(case["how"], case.get("files"), case.get("checkpoint"))
        found = {"history": model.history_, "n_iter": model.n_iter_, "users": list(model.user_embeddings_.shape)}
        (folder / f"{name}-{rank}.json").write_text(json.dumps(found))
        np.save(folder / f"{name}-{rank}.npy", numbers(model))
        if rank == 0:
            modalsplit.save(model, folder / f"{name}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
