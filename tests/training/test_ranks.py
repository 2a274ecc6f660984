"""Two processes that train together are one: the same losses, the same parameters, half the rows each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from modalsplit.training import average_gradients, mapped_by_ranks, minimise, shared_out

N, WIDTH, BATCH = 205, 6, 50  # the last batch has 5 rows: 3 for one process, 2 for the other


def covariance(features, weight):
    apart = features - features.mean(0)
    return ((apart.T @ apart / len(features) - torch.eye(features.shape[1])) ** 2).sum()


def gap_of_means(features, weight):
    return -torch.nn.functional.logsigmoid(features[:, 0].mean() - features[:, 1].square().mean())


def ranks_of_pairs(features, weight):
    distances = (features[:, None] - features[None]).square().sum(2)
    return torch.softmax(-distances, dim=1).square().mean()


def replicated(features, weight):
    """A parameter that every process uses on the whole batch."""
    return (features @ weight - 1).square().mean()


LOSSES = [covariance, gap_of_means, ranks_of_pairs, replicated]


def trained(loss):
    """Losses and parameters after three epochs, and how many rows this process computed."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, WIDTH, generator=generator, dtype=torch.float64)
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    with torch.no_grad():
        for parameter in [*network.parameters(), weight]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
    n_rows = []

    def compute(rows):
        n_rows.append(len(rows))
        return [network(rows)]

    history = minimise(
        lambda batch: loss(shared_out(compute, x[batch])[0], weight),
        N,
        [torch.optim.Adam([*network.parameters(), weight], lr=1e-2)],
        batch_size=BATCH,
        max_epochs=3,
        generator=generator,
        max_norm=1.0,
        reduce=average_gradients,
    )
    parameters = nn.utils.parameters_to_vector([*network.parameters(), weight]).detach()
    return [record["loss"] for record in history], parameters, sum(n_rows)


def failing(number):
    if number == 3:
        raise ValueError("number 3 cannot be done")
    return number * 2


def process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {loss.__name__: trained(loss) for loss in LOSSES}
    found["map"] = list(mapped_by_ranks(failing, (), [0, 1, 2]))
    try:
        list(mapped_by_ranks(failing, (), [0, 1, 2, 3, 4]))
    except ValueError as error:
        found["error"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(process, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_learn_what_one_does(loss, two):
    losses, parameters, n_rows = trained(loss)
    assert n_rows == 3 * N
    assert losses[-1] < losses[0]
    for rank, found in enumerate(two):
        assert found[loss.__name__][0] == pytest.approx(losses, rel=1e-10)
        # A bias that the loss does not see has a gradient of rounding, which Adam divides by 1e-8.
        torch.testing.assert_close(found[loss.__name__][1], parameters, rtol=1e-9, atol=1e-8)
        # 4 batches of 50 and one of 5, three times.
        assert found[loss.__name__][2] == 3 * (4 * 25 + (3, 2)[rank])


def test_results_and_errors_reach_all_processes(two):
    assert [found["map"] for found in two] == [[0, 2, 4]] * 2
    assert [found["error"] for found in two] == ["number 3 cannot be done"] * 2


# Under torchrun --------------------------------------------------------------------------------------

FIT = """
import json, os, signal, sys
from pathlib import Path
import torch
import torch.distributed as dist
import modalsplit
from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.stores import ArrayStore
import modalsplit.objectives._checkpoint as checkpoint
import modalsplit.objectives._scan as scan
import modalsplit.objectives._stable as stable
import modalsplit.objectives._stored as stored

folder, how = Path(sys.argv[1]), json.loads(sys.argv[2])
torch.set_num_threads(1)
scan.BLOCKS_A_STRETCH, scan.ROWS_A_BLOCK, checkpoint.SECONDS = 1, 500, 0.0
rank = int(os.environ.get("RANK", 0))
if "RANK" in os.environ:
    dist.init_process_group("gloo")
few, kept, deadly = how.pop("few", False), how.pop("checkpoint", None), how.pop("deadly", False)
if few:
    stored.CELLS_AT_HAND = 1500 * 80
if deadly:
    inner = stable._Course.on_epoch
    def on_epoch(self, record):
        epochs.append(record)
        if rank == 1 and len(epochs) == 3 and not Path(deadly).exists():
            Path(deadly).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, record)
    epochs = []
    stable._Course.on_epoch = on_epoch
data = make_modalities(3010, kind="absolute", n_features=(60, 40), random_state=0)
stored_fit = how.pop("store", True)
options = {"device": "cpu", "max_epochs": 4, "hidden_units": 32, "batch_size": 250, "random_state": 0}
encoder = DisentangledModalityEncoder(20, **{**options, **how})
if stored_fit:
    encoder.fit(ArrayStore({"image": data.X_img, "text": data.X_txt}), checkpoint=kept)
else:
    encoder.fit(data.X_img, data.X_txt, checkpoint=kept)
text = json.dumps({"history": encoder.history_, "fingerprint": encoder._fingerprint()})
(folder / f"{rank}.json").write_text(text)
if dist.is_initialized():
    dist.destroy_process_group()
"""


def run(command, folder, **how):
    folder.mkdir(parents=True)
    (folder / "fit.py").write_text(FIT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(folder / "fit.py"), str(folder), json.dumps(how)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(folder.glob("?.json"))]


def alone(folder, **how):
    return run([sys.executable], folder, **how)[0]


def torchrun(folder, *options, **how):
    program = Path(sys.executable).with_name("torchrun")
    return run([str(program), "--standalone", "--nproc-per-node=2", *options], folder, **how)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"few": True},
        {"objective": "cca"},
        {"store": False, "objective": "paper"},
        {"store": False, "objective": "paper", "orthogonality": "hsic"},
        {"store": False, "objective": "official"},
        {"store": False, "extractor": "mlp"},
    ],
    ids=lambda how: "-".join(str(value) for value in how.values()),
)
def test_fit_under_torchrun_is_fit(how, tmp_path):
    one, (first, second) = alone(tmp_path / "one", **how), torchrun(tmp_path / "two", **how)
    assert first == second
    assert len(first["history"]) == len(one["history"])
    for record, expected in zip(first["history"], one["history"], strict=True):
        assert record["loss" if "loss" in record else "translation_error"] == pytest.approx(
            expected.get("loss", expected.get("translation_error")), rel=1e-6
        )
    if how.get("objective") == "cca":
        assert first["fingerprint"] == one["fingerprint"]


@pytest.mark.slow
def test_process_killed_under_torchrun_and_the_same_command_again(tmp_path):
    expected = torchrun(tmp_path / "expected", few=True)
    options = {"few": True, "checkpoint": str(tmp_path / "checkpoint"), "deadly": str(tmp_path / "death")}
    with pytest.raises(AssertionError, match=r"exitcode  : -9"):
        torchrun(tmp_path / "killed", **options)
    assert (tmp_path / "death").exists()
    assert torchrun(tmp_path / "again", **options) == expected


@pytest.mark.slow
def test_checkpoint_of_another_configuration_is_refused_by_all_processes(tmp_path):
    torchrun(tmp_path / "one", objective="cca", checkpoint=str(tmp_path / "checkpoint"))
    with pytest.raises(
        AssertionError, match=r"begun with another configuration(?s:.*)begun with another configuration"
    ):
        torchrun(tmp_path / "two", objective="cca", ridge=2.0, checkpoint=str(tmp_path / "checkpoint"))
