"""The objectives on planted factors: what they recover, and that they are exact."""

import pytest
import torch
from sklearn.linear_model import Ridge

from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
from modalsplit.evaluate import disentanglement_score
from modalsplit.nn import Moments, residual_share
from modalsplit.objectives import Settings, automatic_width, fit_closed_form, fit_stable
from modalsplit.objectives._closed_form import anchor, best_width, common_directions
from modalsplit.objectives._fitted import resolved
from modalsplit.objectives._judge import PairVerdict, Verdict, agrees_better, common_rank, predicts_better


def planted(kind, noise=0.1, seed=0, n=2000):
    return make_modalities(n, kind=kind, n_shared=4, n_private=4, n_features=(80, 60), noise=noise, random_state=seed)


def settings(seed=0, **changes):
    values = {"n_components": 40, "ridge": 1.0, "common_rank": None, "validation_fraction": 0.2}
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


@pytest.mark.parametrize(
    "kind",
    ["quadratic", pytest.param("absolute", marks=pytest.mark.slow), pytest.param("product", marks=pytest.mark.slow)],
)
def test_stable_recovers_factors_that_no_linear_map_shows(kind):
    data = planted(kind, n=2500)
    closed, stable = (fit(tensors(data), settings()) for fit in (fit_closed_form, fit_stable))
    assert closed.rank == 0
    assert score(closed, data).D_strict < 0.3
    assert stable.rank >= 4
    assert score(stable, data).D > 0.9
    assert score(stable, data).D_strict > 0.9


@pytest.mark.slow
def test_stable_recovers_sines():
    data = planted("sine", n=4000)
    closed, stable = (score(fit(tensors(data), settings()), data) for fit in (fit_closed_form, fit_stable))
    assert closed.cS < 0.6
    assert stable.D > 0.9
    assert stable.D_strict > 0.9


def test_later_rounds_go_on_from_the_first():
    """Absolute values of eight factors are too many for one round."""
    data = make_modalities(3000, kind="absolute", n_shared=8, n_features=(80, 60), random_state=0)
    short = {"max_epochs": 60, "n_components": 40}
    fitted = fit_stable(tensors(data), settings(**short))
    rounds = {record["round"] for record in fitted.history}
    assert rounds >= {2, 3}  # the first is the products
    assert len(fitted.module.branches[0].primitive.networks) >= 2
    assert fitted.rank >= 8


def test_common_part_has_exactly_its_rank_and_specific_the_rest():
    data = planted("linear")
    fitted = fit_closed_form(tensors(data), settings())
    common, specific = parts_of(fitted, data)
    for c, s in zip(common, specific, strict=True):
        assert torch.linalg.matrix_rank(c - c.mean(0)) == 4
        assert (c[:, 4:] == 0).all()
        assert c[:, :4].var(0) == pytest.approx([1] * 4, abs=0.02)  # the correlation, near 1 here
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
    verdict = lambda errors: Verdict({(0, 1): PairVerdict(1, errors[:0], errors[:, None], errors)})
    noise = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert predicts_better(verdict(base - 0.1), verdict(base))
    assert not predicts_better(verdict(base + noise - noise.mean() - 0.001), verdict(base))
    assert not predicts_better(verdict(base), verdict(base))
    # Rounding has no spread, so that it would exceed its standard error.
    assert not predicts_better(verdict(base.double() - 1e-12), verdict(base.double()))


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
    fitted = fit_stable(views, Settings(40, 1.0, None, 0.2, generator, max_epochs=2))
    assert next(fitted.module.buffers()).device.type == device


def test_variates_that_agree_better_win_only_beyond_chance():
    generator = torch.Generator().manual_seed(0)
    z, noise = (torch.randn(200, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    verdict = lambda v, rank: Verdict(
        {(0, 1): PairVerdict(rank, z[0, :0], (z - v)[:, :rank].square().cumsum(1), z[:0, 0])}
    )
    near, far = z + 0.1 * noise, z + 0.5 * noise
    assert agrees_better(verdict(near, 2), verdict(far, 2))
    assert not agrees_better(verdict(far, 2), verdict(near, 2))
    assert not agrees_better(verdict(near, 2), verdict(near, 2))
    assert not agrees_better(verdict(near, 0), verdict(far, 2))  # nothing to compare


def three(n=1500, seed=0):
    """Three views: 3 factors that all show, 2 that the first two show, 3 private ones each."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    everywhere, first_two, private = draw(n, 3), draw(n, 2), [draw(n, 3) for _ in range(3)]
    factors = [[everywhere, first_two, private[0]], [everywhere, first_two, private[1]], [everywhere, private[2]]]
    stacked = [torch.cat(f, dim=1) for f in factors]
    views = [f @ draw(f.shape[1], 30) / 3 + 0.1 * draw(n, 30) for f in stacked]
    return views, everywhere, first_two, private


def readable(part, factors):
    half = len(part) // 2
    return Ridge(1e-3).fit(part[:half], factors[:half]).score(part[half:], factors[half:])


@pytest.mark.parametrize("fit", [fit_closed_form, fit_stable])
def test_three_modalities_share_what_all_show_and_what_two_show(fit):
    views, everywhere, first_two, private = three()
    fitted = fit(views, settings(n_components=20, max_epochs=3))
    assert fitted.rank == 5
    assert fitted.support[:, :5].sum(0).tolist() == [3, 3, 3, 2, 2]
    assert fitted.support[2].sum() == 3
    assert fitted.correlations.shape[0] == 3  # pairs of modalities
    for m, x in enumerate(views):
        common, specific = fitted.module(x, m)
        assert readable(common, everywhere) > 0.98
        assert readable(specific, private[m]) > 0.97
        assert readable(specific, everywhere) < 0.02
        assert readable(common, private[m]) < 0.02
        assert (readable(common, first_two) > 0.98) == (m < 2)
    commons = [fitted.module(x, m)[0] for m, x in enumerate(views)]
    for j in range(3):
        assert torch.corrcoef(torch.stack([c[:, j] for c in commons])).min() > 0.97


@pytest.mark.parametrize("fit", [fit_closed_form, fit_stable])
def test_incomplete_rows_count_for_what_they_have(fit):
    """Noise makes rows precious: with a third of each modality missing, incomplete rows must help."""
    gains = []
    for seed in range(3):
        data = make_modalities(1300, noise=0.7, n_features=(100, 60), n_shared=5, n_private=5, random_state=seed)
        views = [x[:500].clone() for x in tensors(data)]
        missing = torch.rand(500, 2, generator=torch.Generator().manual_seed(seed)) < 0.35
        missing[missing.all(1)] = False
        for view, rows in zip(views, missing.T, strict=True):
            view[rows] = torch.nan
        complete = ~missing.any(1)
        scores = []
        for chosen in (views, [view[complete] for view in views]):
            fitted = fit(chosen, settings(n_components=30, max_epochs=3))
            parts = [fitted.module(x[500:], m) for m, x in enumerate(tensors(data))]
            scores.append(
                disentanglement_score(
                    *zip(*parts, strict=True),
                    data.shared[500:],
                    (data.private_img[500:], data.private_txt[500:]),
                    random_state=0,
                ).D
            )
        gains.append(scores[0] - scores[1])
    assert min(gains) > 0
    assert sum(gains) / 3 > 0.005


def test_rectified_modalities_are_put_back_where_that_agrees_better():
    data = planted("raw", n=2000)
    fitted = fit_stable(tensors(data), settings(max_epochs=2))
    primitives = [branch.primitive for branch in fitted.module.branches]
    assert all(getattr(primitive, "anchors", primitive).front is not None for primitive in primitives)
    assert score(fitted, data).D > score(fit_closed_form(tensors(data), settings()), data).D + 0.02


@pytest.mark.parametrize(("kind", "noise"), [("linear", 0.1), ("linear", 0.7), ("nonlinear", 0.1)])
def test_automatic_width_holds_the_factors_and_little_more(kind, noise):
    data = planted(kind, noise)
    width = automatic_width(tensors(data), settings(n_components=59))
    assert 8 <= width <= 30
    full, narrow = (score(fit_closed_form(tensors(data), settings(n_components=n)), data) for n in (59, width))
    assert narrow.D > full.D - 0.02


def test_products_are_found_without_training():
    """Squares are functions of the second degree: no round of networks is worth its while."""
    data = make_modalities(3000, kind="quadratic", random_state=0)
    fitted = fit_stable(tensors(data), settings(n_components=64, max_epochs=1))
    networks = [branch.primitive.networks for branch in fitted.module.branches]
    assert [[type(network).__name__ for network in of_branch] for of_branch in networks] == [["ProductFeatures"], []]
    assert fitted.rank == 8
    assert score(fitted, data).D > 0.98


def test_a_ridge_finds_directions_where_rows_are_few():
    data = make_modalities(2300, noise=0.7, n_features=(100, 60), n_shared=5, n_private=5, random_state=0)
    views = [x[:300] for x in tensors(data)]
    anchored = anchor(views, resolved(settings(n_components=50)))
    _, verdict = best_width(anchored)
    assert verdict.ridge > 0
    features = anchored.leading(50)
    directions = common_directions(
        Moments([x.shape[1] for x in features]).add(features, anchored.present), verdict.ranks, verdict.ridge
    )
    for x, direction in zip(features, directions, strict=True):
        variates = x @ direction
        covariance = variates.T @ variates / len(x)
        off = covariance - torch.diag(covariance.diagonal())
        assert off.abs().max() < 1e-9  # the ridge decides on the subspace alone


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 10])
def test_a_cycle_of_few_steps_can_be_trained(max_epochs):
    data = make_modalities(500, kind="quadratic", random_state=0)
    encoder = DisentangledModalityEncoder(6, max_epochs=max_epochs, random_state=0)
    assert encoder.fit(data.X_img, data.X_txt).n_iter_ >= max_epochs
