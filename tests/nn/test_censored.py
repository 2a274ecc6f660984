"""What stood below the floor of rectified features."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, truncnorm

from modalsplit.nn import Uncensor, censored_columns, fit_uncensor, imputed
from modalsplit.nn._censored import inverse_mills_ratio


def generator():
    return torch.Generator().manual_seed(0)


def rectified(n=1500, p=40, rank=6, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p)) + noise * rng.standard_normal((n, p))
    return torch.tensor(x), torch.tensor(np.maximum(x, 0))


def test_cells_below_the_floor_come_back_and_others_stay():
    x, cut = rectified(n=3000)
    restored = fit_uncensor(cut[:1500], 10, generator())(cut[1500:])
    below = cut[1500:] == 0
    assert (restored[below] < 0).all()
    assert torch.equal(restored[~below], cut[1500:][~below])
    assert np.corrcoef(restored[below], x[1500:][below])[0, 1] > 0.9


def test_the_expected_value_is_that_of_a_truncated_normal():
    """One column with nothing to predict it: mean and variance from scipy."""
    floor, mean, sd = 0.5, 1.2, 0.8
    as_tensor = lambda x: torch.tensor([x], dtype=torch.float64)
    model = Uncensor(as_tensor(floor), as_tensor(mean), torch.ones(1, 1).double(), as_tensor(0.0), as_tensor(sd))
    expected = truncnorm(-np.inf, (floor - mean) / sd, loc=mean, scale=sd)
    assert model(torch.tensor([[0.5]], dtype=torch.float64)).item() == pytest.approx(expected.mean())
    assert model._expected(torch.zeros(1, 1).double())[1].item() == pytest.approx(expected.var())


def test_a_row_alone_is_imputed_as_in_a_batch_and_in_single_precision():
    _, cut = rectified()
    model = fit_uncensor(cut, 10, generator())
    batch = model(cut[:9])
    torch.testing.assert_close(torch.cat([model(row[None]) for row in cut[:9]]), batch)
    torch.testing.assert_close(model.float()(cut[:9].float()).double(), batch, atol=1e-3, rtol=1e-3)


def test_only_columns_with_many_cells_at_their_lowest_value_are_censored():
    _, cut = rectified(p=4)
    one_hot = (torch.arange(1500) % 3 == 0).double()[:, None]
    dense = torch.randn(1500, 1, dtype=torch.float64, generator=generator())
    x = torch.cat([cut, one_hot, dense, torch.ones(1500, 1)], dim=1)
    assert censored_columns(x).tolist() == [True] * 4 + [False] * 3
    restored = fit_uncensor(x, 3, generator())(x)
    assert torch.equal(restored[:, 4:], x[:, 4:])


def test_missing_rows_stay_missing_and_scale_does_not_matter():
    _, cut = rectified()
    model = fit_uncensor(cut, 10, generator())
    assert model(torch.full((1, 40), torch.nan, dtype=torch.float64)).isnan().all()
    for scale in (1e-6, 1e6):
        scaled = fit_uncensor(cut * scale, 10, generator())(cut[:5] * scale)
        torch.testing.assert_close(scaled / scale, model(cut[:5]), rtol=1e-6, atol=1e-6)


def test_many_rows_are_sampled_without_touching_global_random_numbers(monkeypatch):
    monkeypatch.setattr("modalsplit.nn._censored.MOST_ROWS", 500)
    _, cut = rectified()
    before = torch.random.get_rng_state()
    model = fit_uncensor(cut, 10, generator())
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.isfinite(model(cut)).all()


def test_the_inverse_mills_ratio_is_exact_in_both_precisions_where_the_tails_vanish():
    x = torch.linspace(-60, 8, 2001, dtype=torch.float64)
    expected = torch.tensor(np.exp(norm.logpdf(x) - norm.logcdf(x)))
    torch.testing.assert_close(inverse_mills_ratio(x), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(inverse_mills_ratio(x.float()).double(), expected, rtol=1e-5, atol=0)


def test_rows_are_imputed_in_blocks_as_the_module_imputes_them(monkeypatch):
    monkeypatch.setattr("modalsplit.nn._censored.ROWS_A_BLOCK", 7)
    _, cut = rectified(n=300)
    cut[5] = torch.nan
    model = fit_uncensor(cut[10:], 10, generator())
    found = imputed(model, cut)
    torch.testing.assert_close(found, model(cut), rtol=1e-3, atol=1e-3, equal_nan=True)
    assert torch.equal(found[cut > 0], cut[cut > 0])
