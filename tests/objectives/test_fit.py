"""The objectives on planted factors: what they recover, and that they are exact."""

import pytest
import torch

from modalsplit.datasets import make_modalities
from modalsplit.evaluate import disentanglement_score
from modalsplit.nn import residual_share
from modalsplit.objectives import Settings, fit_closed_form, fit_stable
from modalsplit.objectives._closed_form import Verdict, common_rank, is_better


def planted(kind, noise=0.1, seed=0, n=2000):
    return make_modalities(n, kind=kind, n_shared=4, n_private=4, n_features=(80, 60), noise=noise, random_state=seed)


def settings(seed=0, **changes):
    values = {"n_components": 40, "ridge": 0.1, "common_rank": None, "validation_fraction": 0.2}
    return Settings(generator=torch.Generator().manual_seed(seed), **{**values, **changes})


def tensors(data):
    return torch.tensor(data.X_img), torch.tensor(data.X_txt)


def parts_of(fitted, data):
    with torch.no_grad():
        (c_img, s_img), (c_txt, s_txt) = (fitted.module(x, m) for m, x in enumerate(tensors(data)))
    return (c_img, c_txt), (s_img, s_txt)


def score(fitted, data):
    common, specific = parts_of(fitted, data)
    return disentanglement_score(common, specific, data.shared, (data.private_img, data.private_txt), random_state=0)


def test_closed_form_recovers_linear_factors_and_their_number():
    data = planted("linear")
    fitted = fit_closed_form(tensors(data), settings())
    assert fitted.rank == 4
    result = score(fitted, data)
    assert result.D > 0.98
    assert result.D_strict > 0.99


@pytest.mark.parametrize(("kind", "noise"), [("linear", 0.1), ("linear", 0.7), ("nonlinear", 0.1)])
def test_stable_is_never_below_the_closed_form(kind, noise):
    data = planted(kind, noise)
    closed, stable = (score(fit(tensors(data), settings()), data) for fit in (fit_closed_form, fit_stable))
    assert stable.D >= closed.D - 1e-9
    assert stable.D_strict >= closed.D_strict - 1e-9


def test_stable_is_above_the_closed_form_on_skewed_features():
    data = planted("raw", n=3000)
    closed, stable = (score(fit(tensors(data), settings()), data) for fit in (fit_closed_form, fit_stable))
    assert stable.D > closed.D + 0.005
    assert stable.D_strict > closed.D_strict + 0.005


def test_stable_recovers_factors_that_no_linear_map_shows():
    data = planted("quadratic", n=3000)
    closed, stable = (fit(tensors(data), settings()) for fit in (fit_closed_form, fit_stable))
    assert closed.rank == 0
    assert score(closed, data).D_strict < 0.3
    assert stable.rank >= 4
    assert score(stable, data).D_strict > 0.9


def test_common_part_has_exactly_its_rank_and_specific_the_rest():
    data = planted("linear")
    fitted = fit_closed_form(tensors(data), settings())
    common, specific = parts_of(fitted, data)
    for c, s in zip(common, specific, strict=True):
        assert torch.linalg.matrix_rank(c - c.mean(0)) == 4
        assert (c[:, 4:] == 0).all()
        assert (s[:, :4] == 0).all()
        correlation = torch.corrcoef(torch.cat([c[:, :4], s[:, 4:]], dim=1).T)[:4, 4:]
        assert correlation.abs().max() < 1e-9  # nothing linear of c is left in s


def test_residual_share_is_that_of_the_parts():
    data = planted("linear")
    fitted = fit_closed_form(tensors(data), settings())
    common, specific = parts_of(fitted, data)
    wholes = tuple(c + s for c, s in zip(common, specific, strict=True))
    assert fitted.residual_share == pytest.approx(float(residual_share(wholes, specific)))
    assert abs(fitted.residual_share) < 0.02


def test_independent_modalities_have_no_common_part():
    generator = torch.Generator().manual_seed(0)
    views = tuple(torch.randn(600, 30, dtype=torch.float64, generator=generator) for _ in range(2))
    for fit in (fit_closed_form, fit_stable):
        assert fit(views, settings(n_components=20, max_epochs=5)).rank == 0


def test_rank_can_be_fixed():
    data = planted("linear", n=300)
    assert fit_closed_form(tensors(data), settings(common_rank=2)).rank == 2
    assert fit_closed_form(tensors(data), settings(common_rank=999)).rank <= 40


def test_rank_counts_leading_correlations_above_chance_and_half_of_the_strongest():
    correlations = torch.tensor([0.9, 0.6, 0.4, 0.8])
    assert common_rank(correlations, 10_000, 10, None) == 2  # 0.4 is below 0.45, and ends the count
    assert common_rank(correlations, 16, 10, None) == 1  # chance is 0.75
    assert common_rank(correlations, 10_000, 1, None) == 1
    assert common_rank(correlations[:0], 100, 10, None) == 0
    assert common_rank(torch.tensor([0.02]), 100, 10, None) == 0


def test_a_candidate_wins_only_beyond_chance():
    base = torch.linspace(0, 1, 100)
    verdict = lambda errors: Verdict(1, errors[:0], errors)
    noise = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert is_better(verdict(base - 0.1), verdict(base))
    assert not is_better(verdict(base + noise - noise.mean() - 0.001), verdict(base))
    assert not is_better(verdict(base), verdict(base))


def test_equal_generators_give_equal_parts_and_global_numbers_stay_untouched():
    data = planted("quadratic", n=600)
    state = torch.random.get_rng_state()
    first, second = (fit_stable(tensors(data), settings(max_epochs=3)) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    for a, b in zip(parts_of(first, data)[0], parts_of(second, data)[0], strict=True):
        assert torch.equal(a, b)


def test_runs_on_every_device(device):
    data = planted("quadratic", n=400)
    generator = torch.Generator(device).manual_seed(0)
    views = tuple(x.to(device) for x in tensors(data))
    fitted = fit_stable(views, Settings(40, 0.1, None, 0.2, generator, max_epochs=2))
    assert next(fitted.module.buffers()).device.type == device
