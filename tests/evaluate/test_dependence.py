import numpy as np
import pytest
import torch

from modalsplit.evaluate import cka, hsic, permutation_test
from modalsplit.nn import cross_covariance_energy

KERNELS = ["linear", "rbf"]


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 3)) + 5
    return a, a[:, :2] ** 2 + rng.normal(size=(12, 2))


def gram(x, kernel):
    distances = np.array([[np.sum((p - q) ** 2) for q in x] for p in x])
    if kernel == "linear":
        return x @ x.T
    return np.exp(-distances / (2 * np.median(distances[np.triu_indices(len(x), 1)])))


def slow_hsic(a, b, kernel):
    """The sum over four different rows in Song et al. (2012), Eq. 4: pairs, chains, and disjoint pairs."""
    k, l = gram(a, kernel), gram(b, kernel)  # noqa: E741
    n = len(a)
    pairs = np.mean([k[i, j] * l[i, j] for i in range(n) for j in range(n) if i != j])
    chains = [k[i, j] * l[i, q] for i in range(n) for j in range(n) for q in range(n) if len({i, j, q}) == 3]
    disjoint = [
        k[i, j] * l[q, r]
        for i in range(n)
        for j in range(n)
        for q in range(n)
        for r in range(n)
        if len({i, j, q, r}) == 4
    ]
    return pairs + np.mean(disjoint) - 2 * np.mean(chains)


@pytest.mark.parametrize("kernel", KERNELS)
def test_hsic_is_the_u_statistic(pair, kernel):
    assert hsic(*pair, kernel=kernel) == pytest.approx(slow_hsic(*pair, kernel))


def test_linear_hsic_is_the_cross_covariance_energy(pair):
    expected = cross_covariance_energy(*(torch.tensor(x) for x in pair)).item()
    assert hsic(*pair) == pytest.approx(expected)


def test_wide_matrices_give_the_same_as_narrow_ones(pair):
    wide = [np.hstack([x, np.zeros((12, 30))]) for x in pair]
    assert hsic(*wide) == pytest.approx(hsic(*pair))


@pytest.mark.parametrize("kernel", KERNELS)
def test_hsic_of_independent_matrices_is_zero_on_average(kernel):
    rng = np.random.default_rng(1)
    values = [hsic(*rng.normal(size=(2, 20, 6)), kernel=kernel) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)


@pytest.mark.parametrize("kernel", KERNELS)
def test_cka_ignores_rotation_scale_and_offset(pair, kernel):
    a = pair[0]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert cka(a, 1e-4 * a @ rotation + 7, kernel=kernel) == pytest.approx(1)
    expected = hsic(*pair, kernel=kernel) / np.sqrt(hsic(a, a, kernel=kernel) * hsic(pair[1], pair[1], kernel=kernel))
    assert cka(*pair, kernel=kernel) == pytest.approx(expected)


def test_cka_of_a_constant_matrix_is_nan(pair):
    assert np.isnan(cka(pair[0], np.ones((12, 2))))


@pytest.mark.parametrize("kernel", KERNELS)
def test_permutation_test_counts_hsic_of_reordered_rows(pair, kernel):
    found = permutation_test(*pair, kernel=kernel, n_permutations=30, random_state=0)
    rng = np.random.RandomState(0)
    null = [hsic(pair[0], pair[1][rng.permutation(12)], kernel=kernel) for _ in range(30)]
    np.testing.assert_allclose(found.null, null, atol=1e-12)
    assert found.statistic == pytest.approx(hsic(*pair, kernel=kernel))
    assert found.p_value == pytest.approx((1 + np.sum(np.array(null) >= found.statistic)) / 31)


def test_p_values_of_independent_matrices_are_uniform():
    rng = np.random.default_rng(0)
    p_values = [
        permutation_test(*rng.normal(size=(2, 30, 3)), n_permutations=19, random_state=i).p_value for i in range(200)
    ]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert np.mean(p_values) == pytest.approx(0.525, abs=0.06)


def test_rbf_sees_what_is_not_linear():
    a = np.random.default_rng(0).normal(size=(200, 2))
    assert permutation_test(a, a**2, kernel="rbf", n_permutations=99, random_state=0).p_value == 0.01
    assert permutation_test(a, a**2, n_permutations=99, random_state=0).p_value > 0.02


def test_a_constant_matrix_is_never_significant(pair):
    assert permutation_test(pair[0], np.ones((12, 1)), n_permutations=9).p_value == 1


@pytest.mark.parametrize(
    ("a", "b", "kernel", "message"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), "linear", "the same 4 rows or more"),
        (np.ones((3, 2)), np.ones((3, 2)), "linear", "the same 4 rows or more"),
        (np.ones((5, 2)), np.full((5, 2), np.inf), "linear", "not finite"),
        (np.ones((5, 2)), np.ones((5, 2)), "cubic", "'cubic' was given"),
    ],
)
def test_hsic_refuses_what_it_cannot_compare(a, b, kernel, message):
    with pytest.raises(ValueError, match=message):
        hsic(a, b, kernel=kernel)


def test_permutation_test_needs_permutations(pair):
    with pytest.raises(ValueError, match="n_permutations=0"):
        permutation_test(*pair, n_permutations=0)
