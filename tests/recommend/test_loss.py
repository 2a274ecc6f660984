"""The loss of a batch against loops over its users and items."""

import numpy as np
import pytest
import torch
from scipy import sparse

from modalsplit.nn._ranker import AttentiveRanker
from modalsplit.recommend._batches import HISTORY_POWER, Batches, BatchLoss
from modalsplit.recommend._negatives import TakenItems

N_USERS, N_ITEMS, N_PARTS, WIDTH = 5, 7, 4, 3


@pytest.fixture
def taken():
    return np.random.default_rng(1).random((N_USERS, N_ITEMS)) < 0.4


def ranker(history, projection):
    torch.manual_seed(0)
    present = torch.ones(N_ITEMS, N_PARTS, dtype=torch.bool)
    made = AttentiveRanker(
        torch.randn(N_ITEMS, N_PARTS, WIDTH),
        present,
        torch.rand(N_PARTS),
        [(0, 2), (1, 3)],
        torch.randn(N_ITEMS, WIDTH),
        torch.randn(N_ITEMS if history else N_USERS, WIDTH),
        torch.randn(N_ITEMS),
        history=history,
        projection=torch.eye(WIDTH) if projection else None,
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def slow_item(model, i, attention):
    items = model.items(torch.tensor([i]))
    e, parts = items.embedding[0].detach().numpy(), items.parts[0].detach().numpy()
    agreement = np.exp([e @ part / np.sqrt(WIDTH) for part in parts]) if attention == "item" else np.ones(N_PARTS)
    weights = agreement / agreement.sum()
    return e + sum(weight * part for weight, part in zip(weights, parts, strict=True)), items.bias[0].item()


def slow_user(model, taken, u, left_out):
    if not model.history:
        return model.users[u].detach().numpy()
    lent = model.lent(torch.arange(N_ITEMS)).detach().numpy()
    count = max(int(taken[u].sum()) - 1, 1)
    return sum(lent[i] for i in np.flatnonzero(taken[u]) if i != left_out) / count**HISTORY_POWER


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("attention", ["item", "mean"])
def test_bpr_of_a_batch_of_users_matches_loops(taken, history, projection, attention):
    model = ranker(history, projection)
    lists = TakenItems(sparse.csr_array(taken.astype(float)), torch.device("cpu"))
    batches = Batches(lists, "users", N_ITEMS, torch.Generator())
    value = BatchLoss(model, batches, attention, "bpr", 0.0)(torch.arange(batches.n_samples))

    def score(u, i, left_out):
        vector, bias = slow_item(model, i, attention)
        return slow_user(model, taken, u, left_out) @ vector + bias

    each = []
    for u, i in np.argwhere(taken):
        others = np.flatnonzero(~taken[u])
        # A positive is left out of the history that scores it; a negative is not in it.
        margins = [score(u, i, left_out=i) - score(u, j, left_out=None) for j in others]
        each.append(np.mean([np.log1p(np.exp(-margin)) for margin in margins]))
    assert value.item() == pytest.approx(np.mean(each), rel=1e-4)


def test_batches_of_interactions_use_their_own_negatives(taken):
    model = ranker(history=False, projection=False)
    lists = TakenItems(sparse.csr_array(taken.astype(float)), torch.device("cpu"))
    batches = Batches(lists, "interactions", 2, torch.Generator().manual_seed(3))
    value = BatchLoss(model, batches, "item", "bpr", 0.0)(torch.arange(4))
    again = Batches(lists, "interactions", 2, torch.Generator().manual_seed(3)).draw(torch.arange(4))
    each = []
    for p in range(4):
        u = int(again.users[again.row[p]])
        user = model.users[u].detach().numpy()
        vector, bias = slow_item(model, int(again.item[p]), "item")
        for j in again.negative[p].tolist():
            assert not taken[u, j]
            other, other_bias = slow_item(model, j, "item")
            each.append(np.log1p(np.exp(user @ (other - vector) + other_bias - bias)))
    assert value.item() == pytest.approx(np.mean(each), rel=1e-4)


def test_l2_is_the_mean_squared_norm_of_users_and_items(taken):
    model = ranker(history=False, projection=False)
    lists = TakenItems(sparse.csr_array(taken.astype(float)), torch.device("cpu"))
    batches = Batches(lists, "users", N_ITEMS, torch.Generator())
    samples = torch.arange(batches.n_samples)
    without, with_l2 = (BatchLoss(model, batches, "item", "bpr", l2)(samples).item() for l2 in (0.0, 0.5))
    users = np.square(model.users[batches._samples].detach().numpy()).sum(axis=1).mean()
    items = np.mean([np.square(slow_item(model, i, "item")[0]).sum() for i in range(N_ITEMS)])
    assert with_l2 - without == pytest.approx(0.5 * (users + items), rel=1e-4)


@pytest.mark.parametrize("attention", ["item", "user", "mean"])
@pytest.mark.parametrize("history", [True, False])
def test_every_parameter_learns(taken, attention, history):
    model = ranker(history, projection=True)
    lists = TakenItems(sparse.csr_array(taken.astype(float)), torch.device("cpu"))
    batches = Batches(lists, "users", N_ITEMS, torch.Generator())
    BatchLoss(model, batches, attention, "softmax", 0.01)(torch.arange(batches.n_samples)).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
        assert gradient.abs().sum() > 0, name
