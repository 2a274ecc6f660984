"""The closed form against scikit-learn and against its own definition."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

import modalsplit.nn._canonical as canonical_module
from modalsplit.nn import canonical_directions, pairwise_correlations, principal_anchors


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((400, 3))
    a = np.hstack([shared, rng.standard_normal((400, 5))]) @ rng.standard_normal((8, 8))
    b = np.hstack([shared, rng.standard_normal((400, 2))]) @ rng.standard_normal((5, 6))
    b += 0.5 * rng.standard_normal((400, 6))
    return torch.tensor(a - a.mean(0)), torch.tensor(b - b.mean(0))


def generator():
    return torch.Generator().manual_seed(0)


def test_correlations_equal_those_of_scikit_learn(views):
    a, b = views
    ours = canonical_directions(a, b)
    theirs = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-10).fit(a, b)
    u, v = theirs.transform(a.numpy(), b.numpy())
    expected = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(3)]
    assert ours.correlations[:3].tolist() == pytest.approx(expected, abs=1e-4)


def test_variates_are_white_and_correlated_in_pairs_only(views):
    a, b = views
    left, right, correlations = canonical_directions(a, b)
    u, v = a @ left, b @ right
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(u.T @ u / 400, identity)
    torch.testing.assert_close(v.T @ v / 400, identity)
    torch.testing.assert_close(u.T @ v / 400, torch.diag(correlations))
    torch.testing.assert_close(pairwise_correlations(u, v), correlations)


def test_columns_without_variance_give_no_direction(views):
    a, b = views
    a = torch.cat([a, torch.zeros(400, 2, dtype=torch.float64), a[:, :1]], dim=1)
    assert len(canonical_directions(a, b).correlations) == 6


def test_anchors_are_principal_components_with_damped_noise(views):
    a, _ = views
    anchors, scale = principal_anchors(a, 4, 0.1, generator())
    pca = PCA(4).fit(a.numpy())
    eigenvalues = pca.explained_variance_ * 399 / 400
    expected = eigenvalues / (eigenvalues + 0.1 * eigenvalues.mean())
    assert anchors(a).var(0, correction=0).tolist() == pytest.approx(expected.tolist())
    scores = np.abs((anchors(a) * scale).numpy()) * np.sqrt(eigenvalues.mean())
    np.testing.assert_allclose(scores, np.abs(pca.transform(a.numpy())), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(50, 80), (80, 50)])
def test_anchors_of_a_wide_modality_come_from_a_sketch(monkeypatch, shape):
    x = torch.randn(shape, generator=generator(), dtype=torch.float64) * torch.arange(1, shape[1] + 1) ** -1.0
    exact, _ = principal_anchors(x, 5, 0.1, generator())
    monkeypatch.setattr(canonical_module, "WIDEST_EXACT", 10)
    sketched, _ = principal_anchors(x, 5, 0.1, generator())
    torch.testing.assert_close(sketched(x), exact(x), rtol=1e-3, atol=1e-3)


def test_anchors_touch_no_global_random_numbers(views, monkeypatch):
    monkeypatch.setattr(canonical_module, "WIDEST_EXACT", 2)
    before = torch.random.get_rng_state()
    principal_anchors(views[0], 2, 0.1, generator())
    assert torch.equal(before, torch.random.get_rng_state())
