"""Features of the second degree against loops and refits."""

import pytest
import torch

from modalsplit.nn._products import ProductFeatures, _Moments, _regressed, fit_products, terms


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_terms_are_columns_and_all_products_of_two():
    u = drawn(3, 4)
    expected = [[*row, *(row[i] * row[j] for i in range(4) for j in range(i, 4))] for row in u.tolist()]
    assert torch.allclose(terms(u), torch.tensor(expected, dtype=torch.float64))
    assert terms(u).shape[1] == 4 * (4 + 3) // 2


def test_products_that_another_modality_shows_are_found_among_many_directions():
    x = drawn(3000, 30)
    shown = torch.stack([x[:, 1] * x[:, 7], x[:, 4] ** 2 - 1], dim=1)
    y = shown @ drawn(2, 12, seed=1) + 0.3 * drawn(3000, 12, seed=2)
    features, _ = fit_products(x[:2000], y[:2000], 2)
    assert features.basis.shape[1] < 10  # three directions matter
    found = features(x[2000:])
    told = found @ torch.linalg.lstsq(found, shown[2000:]).solution
    assert (told - shown[2000:]).square().mean() / shown[2000:].square().mean() < 0.01


def test_values_that_leave_a_row_out_equal_a_regression_without_it():
    z, y = drawn(40, 5), drawn(40, 3, seed=1)
    z, y = z - z.mean(0), y - y.mean(0)
    found = _regressed(_Moments(40, z.mean(0), y.mean(0), z.T @ z / 40, z.T @ y / 40, y.square().sum() / 40))
    weight, leverage = found.weight, ((z @ found.root).square().sum(1) + 1) / 40
    told = (z @ weight - leverage[:, None] * y) / (1 - leverage[:, None])
    # The penalty is of the sum of squares, the same without the row; the constant is not penalised.
    variances = torch.linalg.eigvalsh(z.T @ z / 40)
    shrunk = torch.linalg.solve(z.T @ z / 40, z.T @ y / 40)
    ridge = min(
        (r for r in (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
        key=lambda r: float(
            (torch.linalg.solve(z.T @ z / 40 + r * variances.mean() * torch.eye(5), z.T @ y / 40) - weight).norm()
        ),
    )
    assert not torch.allclose(shrunk, weight)
    ones = torch.ones(40, 1, dtype=torch.float64)
    design = torch.cat([ones, z], dim=1)
    penalty = 40 * ridge * variances.mean() * torch.eye(6, dtype=torch.float64)
    penalty[0, 0] = 0
    for row in (0, 17):
        rest = torch.arange(40) != row
        beta = torch.linalg.solve(design[rest].T @ design[rest] + penalty, design[rest].T @ y[rest])
        assert torch.allclose(design[row] @ beta, told[row], atol=1e-10)


def test_features_have_unit_variance_and_values_of_unseen_rows_agree_with_those_left_out():
    x = drawn(2000, 10)
    y = (x[:, :1] * x[:, 1:2]) @ drawn(1, 6, seed=1) + 0.5 * drawn(2000, 6, seed=2)
    features, left_out = fit_products(x, y, 1)
    inside = features(x)
    assert inside.std(0).item() == pytest.approx(1, abs=0.01)
    correlation = lambda a: torch.corrcoef(torch.stack([a[:, 0], y @ features_of_target(y)]))[0, 1].abs()
    assert correlation(left_out) < correlation(inside)  # nothing of a row's own noise


def features_of_target(y):
    return torch.linalg.svd(y, full_matrices=False).Vh[0]


@pytest.mark.parametrize("n_rows", [12, 200])
def test_constant_columns_and_few_rows_give_finite_features(n_rows):
    x = torch.cat([drawn(n_rows, 4), torch.zeros(n_rows, 3, dtype=torch.float64)], dim=1)
    features, left_out = fit_products(x, drawn(n_rows, 5, seed=1), 4)
    assert isinstance(features, ProductFeatures)
    assert features(x).isfinite().all()
    assert left_out.isfinite().all()
    nothing, values = fit_products(torch.zeros_like(x), drawn(n_rows, 5, seed=1), 4)
    assert nothing(x).isfinite().all()
    assert values.isfinite().all()
