"""The compiled step against plain autograd and the torch path: same batches, same numbers."""

import numpy as np
import pytest
import torch
from plain_loss import PlainLoss
from scipy import sparse

from modalsplit import AttentiveBPR
from modalsplit.nn import AttentiveRanker
from modalsplit.recommend import _compiled
from modalsplit.recommend._batches import Batches, BatchLoss
from modalsplit.recommend._compiled import CompiledLoss, has_numba
from modalsplit.recommend._negatives import TakenItems
from modalsplit.recommend._row_adam import RowAdam

N_USERS, N_ITEMS, WIDTH, STEPS = 40, 30, 37, 3
needs_numba = pytest.mark.skipif(not has_numba(), reason="Numba is not installed: pip install modalsplit[fast]")


def made(fine_tune, bias):
    """A ranker in float32, as in a fit: compiling for another type would take longer than the tests."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator)

    present = torch.ones(N_ITEMS, 4, dtype=torch.bool)
    present[2, [0, 2]] = False
    present[3] = False
    model = AttentiveRanker(
        drawn(N_ITEMS, 4, WIDTH) * present[:, :, None],
        present,
        drawn(4).abs(),
        [(0, 2), (1, 3)] if fine_tune else [],
        drawn(N_ITEMS, WIDTH),
        drawn(N_USERS, WIDTH),
        drawn(N_ITEMS) if bias else None,
        history=False,
        projection=None,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * drawn(*parameter.shape)
    return model


def batches_of(n_negatives):
    taken = (np.random.default_rng(1).random((N_USERS, N_ITEMS)) < 0.3).astype(float)
    taken[5], taken[6] = 1, 0  # of the one no interaction is a sample, and the other has none
    lists = TakenItems(sparse.csr_array(taken), torch.device("cpu"))
    return Batches(lists, "interactions", n_negatives, torch.Generator().manual_seed(2))


def trained(kind, fine_tune, bias, attention, loss, l2, n_negatives):
    model, batches = made(fine_tune, bias), batches_of(n_negatives)
    rows = RowAdam(model.tables(), lr=0.01)
    optimizers = [rows] if model.delta is None else [rows, torch.optim.SGD([model.delta], lr=0.1)]
    if kind == "compiled":
        loss_of = CompiledLoss(BatchLoss(model, batches, attention, loss, l2), rows, loss)
    else:
        loss_of = PlainLoss(model, batches, attention, loss, l2)
    values = []
    for samples in torch.arange(batches.n_samples).split(-(-batches.n_samples // STEPS)):
        value = loss_of(samples)
        for optimizer in optimizers:
            optimizer.zero_grad()
        value.backward()
        for optimizer in optimizers:
            optimizer.step()
        values.append(value.item())
    moments = [each for table in model.tables() for each in rows.state[table]["moments"]]
    return values, [parameter.detach() for parameter in model.parameters()], moments


@needs_numba
@pytest.mark.parametrize("fine_tune", [False, True])
@pytest.mark.parametrize("attention", ["item", "mean"])
@pytest.mark.parametrize("loss", ["bpr", "logistic", "softmax"])
@pytest.mark.parametrize(("l2", "bias", "n_negatives"), [(0.0, False, 1), (0.1, True, 3)])
def test_compiled_steps_are_those_of_plain_autograd(fine_tune, attention, loss, l2, bias, n_negatives):
    arguments = (fine_tune, bias, attention, loss, l2, n_negatives)
    (ours, parameters, moments), (plain, expected, of_plain) = (trained(k, *arguments) for k in ("compiled", "plain"))
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    for one, other in zip(moments, of_plain, strict=True):  # gradients, and their squares
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    for one, other in zip(parameters, expected, strict=True):
        # Adam divides by the size of a gradient: where that is rounding alone, the step is of any size up to the rate.
        far = (one - other).abs() > 1e-4
        assert far.float().mean() < 1e-3


@needs_numba
@pytest.mark.parametrize("n_negatives", [1, 4])
def test_compiled_batches_are_those_of_torch(n_negatives):
    ours, theirs = batches_of(n_negatives), batches_of(n_negatives)
    model = made(False, False)
    step = CompiledLoss(BatchLoss(model, ours, "item", "bpr", 0.0), RowAdam(model.tables(), lr=1), "bpr")
    samples = torch.randperm(ours.n_samples, generator=torch.Generator().manual_seed(3))
    users, row, lists = step._drawn(samples)
    batch = theirs.draw(samples)
    np.testing.assert_array_equal(users, batch.users)
    np.testing.assert_array_equal(row, batch.row)
    np.testing.assert_array_equal(lists, torch.cat([batch.item[:, None], batch.negative], dim=1))


@needs_numba
@pytest.mark.parametrize("n", [20, 20_000])
def test_items_are_numbered_once_each(n):
    from modalsplit.recommend._kernels import number

    lists, place_of, distinct = np.array([[5, 1], [7, 5]]), np.full(n, -1), np.empty(4, dtype=np.int64)
    count = number(lists, place_of, distinct)
    assert sorted(distinct[:count]) == [1, 5, 7]
    np.testing.assert_array_equal(distinct[lists], [[5, 1], [7, 5]])
    assert (place_of == -1).all()


@needs_numba
def test_without_a_folder_to_write_each_process_compiles(monkeypatch):
    from modalsplit.recommend import _kernels

    def njit(function, *, cache=False, **_):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(_kernels.numba, "njit", njit)
    assert _kernels.compiled(len) is len


@pytest.fixture
def calls(monkeypatch):
    counted = []
    step = CompiledLoss.step
    monkeypatch.setattr(CompiledLoss, "step", lambda self, samples: counted.append(1) or step(self, samples))
    return counted


def fitted(**params):
    rng = np.random.default_rng(0)
    taken = (rng.random((60, 80)) < 0.2).astype(np.float32)
    paper = {"loss": "bpr", "users": "embedding", "projection": False, "sampling": "interactions", "max_epochs": 4}
    model = AttentiveBPR(random_state=0, batch_size=64, device="cpu", blocks=4, **(paper | params))
    return model.fit(rng.normal(size=(60, 4 * 8)).astype(np.float32), taken)


@needs_numba
@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_fit_is_the_same_with_and_without(monkeypatch, calls, fine_tune):
    plain = fitted(fine_tune=fine_tune)
    assert not calls
    monkeypatch.setattr(_compiled, "LEAST_WORK", 0)
    compiled, again = fitted(fine_tune=fine_tune), fitted(fine_tune=fine_tune)
    np.testing.assert_array_equal(compiled.user_embeddings_, again.user_embeddings_)
    assert calls
    assert compiled.history_ == again.history_
    np.testing.assert_allclose(compiled.user_embeddings_, plain.user_embeddings_, atol=2e-3)
    np.testing.assert_allclose(
        [record["loss"] for record in compiled.history_], [record["loss"] for record in plain.history_], rtol=1e-4
    )


@needs_numba
def test_a_compiled_fit_goes_on_from_its_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(_compiled, "LEAST_WORK", 0)
    rng = np.random.default_rng(0)
    parts, taken = rng.normal(size=(60, 32)).astype(np.float32), (rng.random((60, 80)) < 0.2).astype(np.float32)

    def model():
        return AttentiveBPR(
            loss="bpr", users="embedding", projection=False, sampling="interactions", max_epochs=4, fine_tune=True,
            blocks=4, batch_size=64, random_state=0, device="cpu",
        )  # fmt: skip

    whole = model().fit(parts, taken)
    calls = []
    step = CompiledLoss.step

    def interrupted(self, samples):
        calls.append(1)
        if len(calls) == 40:
            raise MemoryError
        return step(self, samples)

    monkeypatch.setattr(CompiledLoss, "step", interrupted)
    with pytest.raises(MemoryError):
        model().fit(parts, taken, checkpoint=tmp_path / "kept")
    resumed = model().fit(parts, taken, checkpoint=tmp_path / "kept")
    np.testing.assert_array_equal(resumed.user_embeddings_, whole.user_embeddings_)
    np.testing.assert_array_equal(resumed.item_embeddings_, whole.item_embeddings_)


def test_small_fits_and_uncovered_forms_are_not_compiled(monkeypatch):
    def chosen(attention):
        model, batches = made(False, False), batches_of(1)
        return _compiled.compiled(
            BatchLoss(model, batches, attention, "bpr", 0.0), RowAdam(model.tables(), 1), "bpr", 1
        )

    assert type(chosen("item")) is BatchLoss
    monkeypatch.setattr(_compiled, "LEAST_WORK", 0)
    assert type(chosen("item")) is (CompiledLoss if has_numba() else BatchLoss)
    assert type(chosen("user")) is BatchLoss


def test_without_numba_torch_does_it(monkeypatch):
    monkeypatch.setattr(_compiled, "LEAST_WORK", 0)
    monkeypatch.setattr(_compiled.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_compiled, "CompiledLoss", None)
    assert len(fitted().history_) == 4
