"""The loss with gradients in closed form, and the rows that Adam moves, against plain autograd and SparseAdam."""

import numpy as np
import pytest
import torch
from plain_loss import PlainLoss
from scipy import sparse

from modalsplit.nn import AttentiveRanker
from modalsplit.recommend._batches import Batches, BatchLoss, find_distinct
from modalsplit.recommend._negatives import TakenItems
from modalsplit.recommend._row_adam import RowAdam

N_USERS, N_ITEMS, WIDTH = 12, 9, 4


def ranker(history, projection, fine_tune):
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    present = torch.ones(N_ITEMS, 4, dtype=torch.bool)
    present[2, [0, 2]] = False
    parts = drawn(N_ITEMS, 4, WIDTH) * present[:, :, None]
    made = AttentiveRanker(
        parts,
        present,
        drawn(4).abs(),
        [(0, 2), (1, 3)] if fine_tune else [],
        drawn(N_ITEMS, WIDTH),
        drawn(N_ITEMS if history else N_USERS, WIDTH),
        drawn(N_ITEMS),
        history=history,
        projection=torch.eye(WIDTH, dtype=torch.float64) if projection else None,
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * drawn(*parameter.shape)
    return made


def gradients(loss_class, model, loss, attention, sampling):
    taken = sparse.csr_array((np.random.default_rng(1).random((N_USERS, N_ITEMS)) < 0.4).astype(float))
    batches = Batches(TakenItems(taken, torch.device("cpu")), sampling, 3, torch.Generator().manual_seed(2))
    model.zero_grad()
    value = loss_class(model, batches, attention, loss, 0.1)(torch.arange(0, batches.n_samples, 2))
    value.backward()
    dense = [
        p.grad.to_dense() if p.grad.is_sparse else p.grad.clone() for p in model.parameters() if p.grad is not None
    ]
    return [value.detach(), *dense]


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("fine_tune", [True, False])
@pytest.mark.parametrize("attention", ["item", "user", "mean"])
@pytest.mark.parametrize("sampling", ["users", "interactions"])
@pytest.mark.parametrize("loss", ["bpr", "logistic", "softmax"])
def test_gradients_are_those_of_autograd(history, projection, fine_tune, attention, sampling, loss):
    model = ranker(history, projection, fine_tune)
    ours, plain = (gradients(each, model, loss, attention, sampling) for each in (BatchLoss, PlainLoss))
    assert len(ours) == len(plain)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_row_adam_moves_rows_as_sparse_adam():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3000, 5, dtype=torch.float64, generator=generator)
    tables = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    optimizers = RowAdam(tables[:1], lr=0.1), torch.optim.SparseAdam(tables[1:], lr=0.1)
    for _ in range(4):
        rows = torch.randperm(3000, generator=generator)[:2000]
        values = torch.randn(2000, 5, dtype=torch.float64, generator=generator)
        values += 0.1 * values.sign()
        for table, optimizer in zip(tables, optimizers, strict=True):
            table.grad = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=True)
            optimizer.step()
    # Epsilon is added before the bias correction there, and after it here: that shows where a gradient is about as small.
    torch.testing.assert_close(*tables, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [8, 10_000])
def test_distinct_values_are_those_of_unique(n):
    values = torch.tensor([5, 1, 7, 1, 5])
    expected = torch.unique(values, return_inverse=True)
    for ours, theirs in zip(find_distinct(values, n), expected, strict=True):
        assert torch.equal(ours, theirs)
