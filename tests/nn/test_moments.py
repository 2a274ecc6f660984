"""Sums over rows that come at once are taken in blocks, and are those of all rows."""

import torch

from modalsplit.nn import Moments
from modalsplit.nn._objectives import cross_covariance_energy

N = 9_000  # more than two blocks


def drawn(width, seed):
    return torch.randn(N, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_moments_of_many_rows_are_those_of_all_at_once():
    features = [drawn(3, 0), drawn(2, 1)]
    present = torch.rand(N, 2, generator=torch.Generator().manual_seed(2)) < 0.8
    features = [x * have[:, None] for x, have in zip(features, present.T, strict=True)]
    moments = Moments([3, 2]).add(features, present)
    rows = torch.cat(features, dim=1)
    for pattern in ((True, True), (True, False), (False, True)):
        chosen = rows[(present == torch.tensor(pattern)).all(1)]
        group = moments.groups[pattern]
        assert group.n_rows == len(chosen)
        torch.testing.assert_close(group.total, chosen.sum(0))
        torch.testing.assert_close(group.products, chosen.T @ chosen)
    assert len(moments.groups) == 3


def test_energy_of_many_rows_is_that_of_the_formula():
    a, b = drawn(3, 3), drawn(2, 4)
    b[:, 0] += a[:, 1]
    k, m = ((x - x.mean(0)) @ (x - x.mean(0)).T for x in (a[:6000], b[:6000]))
    n = len(k)
    k.fill_diagonal_(0), m.fill_diagonal_(0)
    expected = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)
    expected = expected / (n * (n - 3))
    torch.testing.assert_close(cross_covariance_energy(a[:6000], b[:6000]), expected)
