"""The k highest of each row."""

import numpy as np
import pytest
import torch

from modalsplit.nn import Items, score, score_pairs
from modalsplit.recommend._highest import GROUP, highest


@pytest.mark.parametrize("n_columns", [5, GROUP, 30 * GROUP, 30 * GROUP + 7])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_is_that_of_a_full_sort(n_columns, k, dtype):
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(n_columns, dtype=dtype), (6, 1)), axis=1)
    scores[0, 3:] = -np.inf  # fewer left than asked for
    scores[1] = scores[1] // 2  # pairs of equals
    expected = -np.sort(-scores, axis=1)[:, :k]
    top = highest(scores, k)
    np.testing.assert_array_equal(np.take_along_axis(scores, top, axis=1), expected)
    assert all(len(set(row)) == k for row in top.tolist())


def test_the_best_may_all_be_in_one_group_or_in_the_last_columns():
    scores = np.zeros((2, 40 * GROUP + 9))
    scores[0, 70:75], scores[1, -5:] = [1, 5, 3, 2, 4], [1, 5, 3, 2, 4]
    assert (highest(scores, 5) - [[70], [40 * GROUP + 4]] == [1, 4, 2, 3, 0]).all()


def test_a_user_attends_only_to_parts_that_are_there():
    generator = torch.Generator().manual_seed(0)
    users, embedding = (torch.randn(n, 4, generator=generator) for n in (3, 6))
    present = torch.tensor([[True, True], [True, False], [False, True], [False, False], [True, True], [True, True]])
    parts = torch.randn(6, 2, 4, generator=generator) * present[:, :, None]
    items = Items(embedding, parts, present, torch.arange(6.0))
    scores = score(users, items, "user")
    for u in range(3):
        torch.testing.assert_close(scores[u], score_pairs(users[u].expand(6, -1), items, "user"))


@pytest.mark.parametrize("n_columns", [5, 30 * GROUP + 7])
def test_scores_that_are_nan_come_last(n_columns):
    scores = np.arange(2.0 * n_columns).reshape(2, -1)
    scores[0, -1] = np.nan
    assert highest(scores, 2).tolist() == [[n_columns - 2, n_columns - 3], [n_columns - 1, n_columns - 2]]
    assert np.isnan(scores[0, -1])
