"""Negatives are what users did not take, each with the same chance."""

import numpy as np
import pytest
import torch
from scipy import sparse

from modalsplit.recommend._batches import Batches
from modalsplit.recommend._negatives import TakenItems


@pytest.fixture
def taken():
    rng = np.random.default_rng(0)
    return rng.random((6, 9)) < np.array([[0.0], [0.2], [0.5], [0.5], [0.8], [0.95]])


@pytest.fixture
def lists(taken):
    return TakenItems(sparse.csr_array(taken.astype(float)), torch.device("cpu"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_negatives_are_never_taken_and_cover_the_rest_uniformly(taken, lists):
    users = torch.tensor([u for u in range(6) if not taken[u].all()])
    drawn = lists.draw_negatives(users, 20_000, generator()).numpy()
    for u, items in zip(users.tolist(), drawn, strict=True):
        left = np.flatnonzero(~taken[u])
        counts = np.bincount(items, minlength=9)
        assert set(np.flatnonzero(counts)) == set(left)
        expected = 20_000 / len(left)
        assert np.abs(counts[left] - expected).max() < 5 * np.sqrt(expected)


def test_not_taken_is_the_complement(taken, lists):
    users, candidates = torch.tensor([3, 0, 5]), torch.tensor([8, 1, 4, 2])
    expected = ~taken[np.ix_(users, candidates)]
    np.testing.assert_array_equal(lists.not_taken(users, candidates).numpy(), expected)


def test_of_lists_what_each_user_took(taken, lists):
    users = torch.tensor([4, 0, 2])
    row, item = lists.of(users)
    expected = [(place, i) for place, u in enumerate(users.tolist()) for i in np.flatnonzero(taken[u])]
    assert list(zip(row.tolist(), item.tolist(), strict=True)) == expected


@pytest.mark.parametrize("sampling", ["users", "interactions"])
def test_an_epoch_holds_every_positive_once(taken, lists, sampling):
    batches = Batches(lists, sampling, 3, generator())
    batch = batches.draw(torch.arange(batches.n_samples))
    pairs = sorted(zip(batch.users[batch.row].tolist(), batch.item.tolist(), strict=True))
    assert pairs == sorted((u, i) for u, i in np.argwhere(taken).tolist() if not taken[u].all())


def test_negatives_are_redrawn(lists):
    batches = Batches(lists, "interactions", 4, generator())
    first, second = batches.draw(torch.arange(10)), batches.draw(torch.arange(10))
    assert not torch.equal(first.negative, second.negative)


def test_a_small_catalogue_is_shared_whole(lists):
    batch = Batches(lists, "users", 100, generator()).draw(torch.arange(2))
    assert batch.negative.tolist() == list(range(9))
