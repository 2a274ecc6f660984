"""The closed form against scikit-learn and against its own definition."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

import modalsplit.nn._canonical as canonical_module
from modalsplit.nn import (
    canonical_directions,
    effective_rank,
    joint_covariance,
    joint_rotations,
    merged_subspace,
    pairwise_correlations,
    principal_anchors,
    with_joint_signs,
)


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


def directions_between(a, b):
    n = len(a)
    return canonical_directions(a.T @ a / n, b.T @ b / n, a.T @ b / n)


def test_correlations_equal_those_of_scikit_learn(views):
    a, b = views
    ours = directions_between(a, b)
    theirs = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-10).fit(a, b)
    u, v = theirs.transform(a.numpy(), b.numpy())
    expected = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(3)]
    assert ours.correlations[:3].tolist() == pytest.approx(expected, abs=1e-4)


def test_variates_are_white_and_correlated_in_pairs_only(views):
    a, b = views
    left, right, correlations = directions_between(a, b)
    u, v = a @ left, b @ right
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(u.T @ u / 400, identity)
    torch.testing.assert_close(v.T @ v / 400, identity)
    torch.testing.assert_close(u.T @ v / 400, torch.diag(correlations))
    torch.testing.assert_close(pairwise_correlations(u, v), correlations)


def test_columns_without_variance_give_no_direction(views):
    a, b = views
    a = torch.cat([a, torch.zeros(400, 2, dtype=torch.float64), a[:, :1]], dim=1)
    assert len(directions_between(a, b).correlations) == 6


def test_anchors_are_principal_components_with_damped_noise(views):
    a, _ = views
    anchors = principal_anchors(a, 4, 0.1, generator())
    pca = PCA(4).fit(a.numpy())
    eigenvalues = pca.explained_variance_ * 399 / 400
    expected = eigenvalues / (eigenvalues + 0.1 * eigenvalues.mean())
    assert anchors(a).var(0, correction=0).tolist() == pytest.approx(expected.tolist())
    scores = np.abs(anchors(a).numpy()) * np.sqrt(eigenvalues + 0.1 * eigenvalues.mean())
    np.testing.assert_allclose(scores, np.abs(pca.transform(a.numpy())), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(50, 80), (80, 50)])
def test_anchors_of_a_wide_modality_come_from_a_sketch(monkeypatch, shape):
    x = torch.randn(shape, generator=generator(), dtype=torch.float64) * torch.arange(1, shape[1] + 1) ** -1.0
    exact = principal_anchors(x, 5, 0.1, generator())
    monkeypatch.setattr(canonical_module, "WIDEST_EXACT", 10)
    sketched = principal_anchors(x, 5, 0.1, generator())
    torch.testing.assert_close(sketched(x), exact(x), rtol=1e-3, atol=1e-3)


def test_anchors_touch_no_global_random_numbers(views, monkeypatch):
    monkeypatch.setattr(canonical_module, "WIDEST_EXACT", 2)
    before = torch.random.get_rng_state()
    principal_anchors(views[0], 2, 0.1, generator())
    assert torch.equal(before, torch.random.get_rng_state())


def test_covariances_of_complete_rows_are_the_sample_covariances(views):
    (aa, ab), (ba, bb) = joint_covariance(views, torch.ones(400, 2, dtype=torch.bool))
    expected = np.cov(np.hstack([x.numpy() for x in views]).T, bias=True)
    np.testing.assert_allclose(torch.cat([torch.cat([aa, ab], 1), torch.cat([ba, bb], 1)]), expected, atol=1e-12)


def test_incomplete_rows_sharpen_the_covariances():
    """Against the truth, expectation and maximisation beats the complete rows alone."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(10):
        z = rng.standard_normal((400, 4))
        x = torch.tensor(z @ (mixing := rng.standard_normal((4, 6))) + 0.3 * rng.standard_normal((400, 6)))
        truth = mixing.T @ mixing
        present = torch.tensor(rng.random((400, 2)) < 0.6)
        views = [torch.where(present[:, m : m + 1], x[:, 3 * m : 3 * m + 3], 0.0) for m in (0, 1)]
        full = present.all(1)
        by_expectation = joint_covariance(views, present)[0][1]
        complete = joint_covariance([v[full] for v in views], present[full])[0][1]
        errors.append([np.square(c.numpy() - truth[:3, 3:]).sum() for c in (by_expectation, complete)])
    assert np.mean(errors, axis=0)[0] < 0.8 * np.mean(errors, axis=0)[1]


def test_two_estimates_of_one_subspace_merge_to_it():
    basis = torch.linalg.qr(torch.randn(9, 3, dtype=torch.float64, generator=generator())).Q
    moved = torch.linalg.qr(basis[:, :2] + 0.05 * torch.randn(9, 2, dtype=torch.float64, generator=generator())).Q
    merged = merged_subspace([basis, moved])
    assert merged.shape == (9, 3)
    assert torch.linalg.svdvals(merged.T @ basis).min() > 0.95
    assert merged_subspace([basis[:, :0]]).shape == (9, 0)


def correlated(sources):
    """Correlations between modalities whose uncorrelated variates are rotations of these sources."""
    rotations = [
        torch.linalg.qr(torch.randn(len(s), len(s), dtype=torch.float64, generator=torch.Generator().manual_seed(i))).Q
        for i, s in enumerate(sources)
    ]
    same = [
        [torch.tensor([[float(x == y) for y in b] for x in a], dtype=torch.float64) for b in sources] for a in sources
    ]
    return [[p.T @ c @ q for c, q in zip(row, rotations, strict=True)] for row, p in zip(same, rotations, strict=True)]


def test_joint_coordinates_tell_what_all_share_from_what_two_share():
    blocks = correlated([["all", "ab", "ac"], ["ab", "all", "bc"], ["bc", "ac", "all"]])
    found = joint_rotations(blocks)
    shown = torch.stack([r.any(0) for r in found]).int()
    assert sorted(shown.T.tolist()) == [[0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        agreement = (found[a] * (blocks[a][b] @ found[b])).sum(0)
        torch.testing.assert_close(agreement, (shown[a] * shown[b]).double())
    for r in found:
        kept = r[:, r.any(0)]
        torch.testing.assert_close(kept.T @ kept, torch.eye(kept.shape[1], dtype=torch.float64))


def test_joint_coordinates_of_two_are_singular_vectors():
    cross = torch.randn(4, 3, dtype=torch.float64, generator=generator())
    left, right = joint_rotations([[torch.eye(4).double(), cross], [cross.T, torch.eye(3).double()]])
    torch.testing.assert_close((left * (cross @ right)).sum(0), torch.linalg.svdvals(cross))


def test_what_agrees_with_nothing_has_no_joint_coordinate():
    blocks = correlated([["x", "y"], ["x", "z"], ["u", "v"]])
    assert [r.any(0).int().tolist() for r in joint_rotations(blocks)] == [[1], [1], [0]]


def test_joint_signs_flip_all_modalities_alike():
    a = torch.tensor([[-2.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[3.0, -1.0]])
    first, second = with_joint_signs([a, b])
    assert first.tolist() == [[2, 0], [-1, 0]]
    assert second.tolist() == [[-3, 1]]


def test_effective_rank_counts_directions_by_their_share():
    assert effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])).item() == pytest.approx(3)
    assert effective_rank(torch.tensor([5.0, 0.0, -1e-9])).item() == pytest.approx(1)
    assert effective_rank(torch.zeros(3)).item() == 0
    shares = np.array([0.7, 0.2, 0.1])
    assert effective_rank(torch.tensor(10 * shares)).item() == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
