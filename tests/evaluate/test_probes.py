import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from modalsplit.datasets import make_modalities
from modalsplit.evaluate import disentanglement_score


@pytest.fixture(scope="module")
def data():
    return make_modalities(2000, random_state=0)


@pytest.fixture(scope="module")
def private(data):
    return data.private_img, data.private_txt


def score(common, specific, data, private):
    return disentanglement_score(common, specific, data.shared, private, random_state=0)


def test_the_factors_themselves_are_perfect_parts(data, private):
    perfect = score((data.shared,) * 2, private, data, private)
    np.testing.assert_allclose(perfect.D, 1, atol=0.02)
    assert perfect.D_strict == pytest.approx(1, abs=1e-3)


def test_swapped_parts_score_minus_one(data, private):
    assert score(private, (data.shared,) * 2, data, private).D_strict == pytest.approx(-1, abs=1e-3)


def test_everything_in_both_parts_scores_zero(data, private):
    both = tuple(np.hstack([data.shared, p]) for p in private)
    found = score(both, both, data, private)
    np.testing.assert_allclose(found.D, 0, atol=0.01)
    assert found.cP_strict > 0.99


def test_shrinking_a_leak_deceives_d_but_not_d_strict(data, private):
    leaky = tuple(np.hstack([data.shared, 1e-3 * p]) for p in private)
    found = score(leaky, private, data, private)
    assert found.D > 0.97
    assert found.D_strict == pytest.approx(0.5, abs=0.01)


def test_a_leak_below_the_whitening_threshold_does_not_count(data, private):
    leaky = tuple(np.hstack([data.shared, 1e-7 * p]) for p in private)
    assert score(leaky, private, data, private).cP_strict < 0.01


def test_an_all_zero_part_shows_nothing(data, private):
    zero = [np.zeros((2000, 4), dtype=np.float32)] * 2
    found = score((data.shared,) * 2, zero, data, private)
    assert (found.sP, found.sS, found.sP_strict, found.sS_strict) == (0, 0, 0, 0)
    assert found.D_strict == pytest.approx(0.5, abs=1e-3)


def test_a_part_of_rounding_error_counts_as_zero(data, private):
    common = [X.astype(np.float32) for X in (data.X_img, data.X_txt)]
    rest = [(c * np.float32(1.1)) / np.float32(1.1) - c for c in common]
    assert all(np.abs(r).max() > 0 for r in rest)
    found = score(common, rest, data, private)
    assert (found.sP_strict, found.sS_strict) == (0, 0)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scale_and_offset_of_a_part_do_not_matter(data, private, factor):
    common = (data.X_img, data.X_txt)
    plain = score(common, private, data, private)
    changed = score([factor * c + 3 * factor for c in common], [factor * p for p in private], data, private)
    np.testing.assert_allclose(changed, plain, atol=1e-6)


def test_the_score_combines_the_probes_as_defined(data, private):
    found = score((data.X_img, data.X_txt), private, data, private)
    np.testing.assert_allclose(found.D, 0.5 * (found.cS - found.cP + found.sP - found.sS))
    strict = 0.5 * (found.cS_strict - found.cP_strict + found.sP_strict - found.sS_strict)
    assert found.D_strict == pytest.approx(strict)


def test_a_strict_probe_is_a_ridge_on_whitened_principal_components(data, private):
    found = disentanglement_score(
        [data.X_img[:, :30]], [private[0]], data.shared, [private[0]], random_state=np.random.RandomState(3)
    )
    order = np.random.RandomState(3).permutation(2000)
    test, train = order[:500], order[500:]
    X = data.X_img[:, :30] - data.X_img[train, :30].mean(axis=0)
    variances, directions = np.linalg.eigh(X[train].T @ X[train] / 1500)
    kept = np.sqrt(variances) > 1e-5 * np.sqrt(variances[-1])
    white = X @ directions[:, kept] / np.sqrt(variances[kept])
    predicted = Ridge(alpha=1.0).fit(white[train], data.shared[train]).predict(white[test])
    assert found.cS_strict == pytest.approx(r2_score(data.shared[test], predicted), abs=1e-6)


def test_modalities_must_agree_in_number(data, private):
    with pytest.raises(ValueError, match="have 1, 2 and 2 modalities"):
        score([data.shared], private, data, private)
