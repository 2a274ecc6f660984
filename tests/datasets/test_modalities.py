import numpy as np
import pytest
from sklearn.linear_model import Ridge

from modalsplit.datasets import make_modalities

HIDDEN = ["quadratic", "absolute", "product", "sine"]
KINDS = ["linear", "nonlinear", "raw", *HIDDEN]


def readable(X, factors):
    half = len(X) // 2
    return Ridge().fit(X[:half], factors[:half]).score(X[half:], factors[half:])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_those_asked_for(kind):
    data = make_modalities(50, kind=kind, n_shared=3, n_private=(2, 5), n_features=(20, 10), random_state=0)
    assert [data[name].shape for name in ("X_img", "X_txt", "shared", "private_img", "private_txt")] == [
        (50, 20),
        (50, 10),
        (50, 3),
        (50, 2),
        (50, 5),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_repeats_the_data_and_leaves_the_global_generator_alone(kind):
    before = np.random.get_state()[1].copy()
    one, two, other = (make_modalities(30, kind=kind, random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.X_txt, two.X_txt)
    assert not np.array_equal(one.X_txt, other.X_txt)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_both_precisions_show_the_same_items():
    single, double = (make_modalities(30, random_state=0, dtype=dtype) for dtype in (np.float32, np.float64))
    assert single.X_img.dtype == np.float32
    np.testing.assert_allclose(single.X_img, double.X_img, rtol=1e-5, atol=1e-6)


def test_linear_views_are_standardised_mixtures():
    data = make_modalities(2000, noise=0.0, random_state=0)
    for X, private in ((data.X_img, data.private_img), (data.X_txt, data.private_txt)):
        np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(X.std(axis=0), 1)
        z = np.hstack([data.shared, private, np.ones((2000, 1))])
        residual = X - z @ np.linalg.lstsq(z, X, rcond=None)[0]
        assert np.abs(residual).max() < 1e-10


def test_noise_is_what_the_factors_do_not_explain():
    quiet, noisy = (make_modalities(2000, kind="nonlinear", noise=sd, random_state=0) for sd in (0.0, 0.3))
    assert (noisy.X_img - quiet.X_img).std() == pytest.approx(0.3, rel=0.01)


def test_a_view_shows_its_own_private_factors_only():
    data = make_modalities(2000, random_state=0)
    assert readable(data.X_img, data.private_img) > 0.99
    assert readable(data.X_img, data.private_txt) < 0.05


def test_raw_views_are_the_nonlinear_views_cut_at_zero():
    raw, nonlinear = (make_modalities(50, kind=kind, random_state=0) for kind in ("raw", "nonlinear"))
    np.testing.assert_allclose(raw.X_img, 3 * np.maximum(nonlinear.X_img, 0))


@pytest.mark.parametrize("kind", HIDDEN)
def test_no_linear_map_of_the_image_shows_the_shared_factors(kind):
    data = make_modalities(2000, kind=kind, random_state=0)
    assert readable(data.X_txt, data.shared) > 0.99
    assert readable(data.X_img, data.shared) < 0.05
    np.testing.assert_allclose([data.shared.mean(), data.shared.std()], [0, 1], atol=0.05)
    covariance = np.cov(data.shared.T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=0.15)


def test_an_unknown_kind_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"one of \['linear', .*'cubic' was given"):
        make_modalities(10, kind="cubic")


def test_products_of_two_factors_would_be_the_same():
    with pytest.raises(ValueError, match="n_shared=3 or more"):
        make_modalities(10, kind="product", n_shared=2)
