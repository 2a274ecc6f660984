"""Each formula against a slow loop written from its equation."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from modalsplit.nn import (
    Affine,
    Branch,
    Scaled,
    SkipNetwork,
    agreement_loss,
    alignment_loss,
    bounded_ranking_loss,
    common_gap,
    cosine_gap,
    cosine_ranking_loss,
    cross_covariance_energy,
    drawn_linear,
    encoder_loss,
    orthogonality_loss,
    primitive_gap,
    printed_ranking_loss,
    relative_alignment_loss,
    relative_errors,
    residual_loss,
    residual_share,
    specific_gap,
    translated_cosines,
)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def parts(rng, n=7, d=4):
    return torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng)


def squared_distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


def test_common_part_is_the_extractor_of_the_primitive_and_specific_the_rest_equations_1_and_2(rng):
    x = torch.randn(5, 3, generator=rng)
    primitive = Affine(torch.randn(3, generator=rng), torch.randn(3, 4, generator=rng))
    extractor = Affine(torch.zeros(4), torch.randn(4, 4, generator=rng))
    common, specific = Branch(primitive, extractor)(x)
    for i in range(5):
        e = [
            sum(float(x[i, k] - primitive.mean[k]) * float(primitive.weight[k, j]) for k in range(3)) for j in range(4)
        ]
        c = [sum(e[k] * float(extractor.weight[k, j]) for k in range(4)) for j in range(4)]
        assert common[i].tolist() == pytest.approx(c, rel=1e-4, abs=1e-5)
        assert specific[i].tolist() == pytest.approx([a - b for a, b in zip(e, c, strict=True)], rel=1e-4, abs=1e-5)


def test_encoder_loss_matches_equation_3(rng):
    common, specific = parts(rng), parts(rng)
    expected = 0.0
    for i in range(7):
        inner = sum(float(specific[0][i, k]) * float(specific[1][i, k]) for k in range(4))
        expected += (squared_distance(common[0][i], common[1][i]) + inner**2) / 7
    assert encoder_loss(common, specific).item() == pytest.approx(expected, rel=1e-5)


def test_alignment_is_the_first_term_of_equation_3(rng):
    common = parts(rng)
    expected = np.mean([squared_distance(common[0][i], common[1][i]) for i in range(7)])
    assert alignment_loss(common).item() == pytest.approx(expected, rel=1e-5)


def slow_covariance_energy(a, b):
    """Squared Frobenius norm of the cross-covariance, entry by entry."""
    n, total = len(a), 0.0
    for j in range(a.shape[1]):
        for k in range(b.shape[1]):
            x, y = a[:, j].tolist(), b[:, k].tolist()
            x_mean, y_mean = sum(x) / n, sum(y) / n
            total += (sum((x[i] - x_mean) * (y[i] - y_mean) for i in range(n)) / (n - 1)) ** 2
    return total


def test_the_readings_of_the_product_in_equation_3(rng):
    common, specific = parts(rng), parts(rng)
    specific = (specific[0], specific[1] + specific[0])
    products = [[float(specific[0][i, k]) * float(specific[1][i, k]) for k in range(4)] for i in range(7)]
    expected = {
        "inner": np.mean([sum(row) ** 2 for row in products]),
        "hadamard": np.mean([sum(x**2 for x in row) for row in products]),
        "covariance": slow_covariance_energy(*specific),
        "hsic": cross_covariance_energy(*specific).item(),
    }
    assert expected["hsic"] > 0
    for reading, value in expected.items():
        assert orthogonality_loss(specific, reading).item() == pytest.approx(value, rel=1e-4)
        total = value + alignment_loss(common).item()
        assert encoder_loss(common, specific, reading).item() == pytest.approx(total, rel=1e-4)


def test_an_energy_that_chance_made_negative_counts_as_zero_in_equation_3(rng):
    a, b = parts(rng)
    assert cross_covariance_energy(a, b) < 0
    assert orthogonality_loss((a, b), "hsic") == 0


def test_a_residual_that_chance_made_negative_gains_nothing_by_growing(rng):
    primitive = parts(rng, n=20)
    whole = torch.tensor(2.0)
    assert residual_loss(primitive, primitive, whole).item() == pytest.approx(
        cross_covariance_energy(*primitive).item() / 2
    )
    grown = tuple(1000 * x for x in primitive)
    assert cross_covariance_energy(grown[0], primitive[1]) < -1000
    least = -total_variance(primitive[0]) * total_variance(primitive[1]) / 20
    assert residual_loss(primitive, grown, whole).item() == pytest.approx(least / 2, rel=1e-5)


@pytest.mark.parametrize("gap", [common_gap, primitive_gap, specific_gap])
def test_gaps_of_translated_parts_match_equations_4_to_9(gap, rng):
    """The three gaps share one formula; what is translated (Eq. 4, 6, 7) tells them apart."""
    source, target = parts(rng), parts(rng)
    phi = [Affine(torch.zeros(4), torch.randn(4, 4, generator=rng)) for _ in range(2)]
    translated = (phi[1](source[1]), phi[0](source[0]))  # image from text, text from image
    expected = []
    for i in range(7):
        text = [sum(float(source[0][i, k]) * float(phi[0].weight[k, j]) for k in range(4)) for j in range(4)]
        image = [sum(float(source[1][i, k]) * float(phi[1].weight[k, j]) for k in range(4)) for j in range(4)]
        expected.append(squared_distance(target[0][i], image) + squared_distance(target[1][i], text))
    assert gap(target, translated).item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert gap(target, translated, "item").tolist() == pytest.approx(expected, rel=1e-4)


def test_printed_ranking_loss_matches_equation_10_and_sums_to_equation_11(rng):
    c, p, s = (torch.tensor(x) for x in (1.2, 0.7, 2.5))
    log_sigmoid = lambda x: -math.log1p(math.exp(-x))
    expected = log_sigmoid(1.2 - 0.7) + log_sigmoid(0.7 - 2.5)
    assert printed_ranking_loss(c, p, s).item() == pytest.approx(expected, rel=1e-5)
    common, specific = parts(rng), parts(rng)
    total = printed_ranking_loss(c, p, s) + encoder_loss(common, specific)
    assert total.item() == pytest.approx(expected + encoder_loss(common, specific).item(), rel=1e-5)


def test_bounded_ranking_loss_rewards_the_order_and_stays_positive():
    order, reversed_order = ([torch.tensor(float(x)) for x in gaps] for gaps in ((1, 2, 3), (3, 2, 1)))
    expected = math.log1p(math.exp((1 - 2) / 0.5)) + math.log1p(math.exp((2 - 3) / 0.5))
    assert bounded_ranking_loss(*order, temperature=0.5).item() == pytest.approx(expected, rel=1e-5)
    assert 0 < bounded_ranking_loss(*order) < bounded_ranking_loss(*reversed_order)


def test_a_margin_is_added_to_both_differences_before_the_temperature_divides():
    expected = math.log1p(math.exp((1 - 2 + 0.3) / 0.5)) + math.log1p(math.exp((2 - 3 + 0.3) / 0.5))
    gaps = [torch.tensor(float(x)) for x in (1, 2, 3)]
    assert bounded_ranking_loss(*gaps, temperature=0.5, margin=0.3).item() == pytest.approx(expected, rel=1e-5)


def test_of_gaps_per_item_the_mean_loss_is_taken(rng):
    gaps = [torch.rand(5, generator=rng) * 3 for _ in range(3)]
    c, p, s = (gap.tolist() for gap in gaps)
    log_sigmoid = lambda x: -math.log1p(math.exp(-x))
    printed = np.mean([log_sigmoid(c[i] - p[i]) + log_sigmoid(p[i] - s[i]) for i in range(5)])
    bounded = np.mean([-log_sigmoid((p[i] - c[i]) / 0.7) - log_sigmoid((s[i] - p[i]) / 0.7) for i in range(5)])
    assert printed_ranking_loss(*gaps).item() == pytest.approx(printed, rel=1e-5)
    assert bounded_ranking_loss(*gaps, temperature=0.7).item() == pytest.approx(bounded, rel=1e-5)


def slow_cosine(x, y):
    x, y = x.tolist(), y.tolist()
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))


def test_translated_cosines_are_those_of_the_translations_with_their_gradients(rng):
    target = torch.randn(7, 5, generator=rng, dtype=torch.float64)
    parts = [torch.randn(7, 4, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(3)]
    layer = drawn_linear(4, 5, rng).double()
    leaves = [*parts, *layer.parameters()]
    upstream = torch.randn(3, 7, generator=rng, dtype=torch.float64)
    ours = torch.stack(translated_cosines(target, parts, layer))
    plain = torch.stack([cosine_similarity(layer(x), target) for x in parts])
    torch.testing.assert_close(ours, plain)
    expected = torch.autograd.grad(plain, leaves, upstream)
    torch.testing.assert_close(torch.autograd.grad(ours, leaves, upstream), expected)


def test_translated_cosines_are_finite_where_a_target_or_a_translation_is_zero(rng):
    layer = drawn_linear(4, 5, rng)
    with torch.no_grad():
        layer.bias.zero_()
    x = torch.zeros(3, 4, requires_grad=True)
    target = torch.randn(3, 5, generator=rng)
    target[0] = 0
    (cosines,) = translated_cosines(target, [x], layer)
    (gradient,) = torch.autograd.grad(cosines.sum(), x)
    assert torch.equal(cosines, torch.zeros(3))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("batch_sum_negative", [False, True])
def test_cosine_ranking_loss_matches_the_softmax_of_the_released_code(rng, batch_sum_negative):
    target, *translations = (torch.randn(7, 5, generator=rng) for _ in range(4))
    c, p, s = cosines = [[slow_cosine(x[i], target[i]) for i in range(7)] for x in translations]
    if batch_sum_negative:
        s = [sum(s)] * 7  # the slip: one number for all items
    expected = 0.0
    for i in range(7):
        e_c, e_p, e_s = (math.exp(x / 0.5) for x in (c[i], p[i], s[i]))
        expected += (-math.log(e_c / (e_c + e_p + e_s)) - math.log(e_p / (e_p + e_s))) / 7
    loss = cosine_ranking_loss(*map(torch.tensor, cosines), temperature=0.5, batch_sum_negative=batch_sum_negative)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_cosine_ranking_loss_does_not_overflow_where_an_exponential_would():
    x = torch.ones(600, requires_grad=True)  # 600 cosines of 1: e^1200 is no float
    loss = cosine_ranking_loss(x, x, x, temperature=0.5, batch_sum_negative=True)
    loss.backward()
    assert loss.item() == pytest.approx(2 * (600 - 1) / 0.5, rel=1e-4)
    assert x.grad.isfinite().all()


def test_cosine_gap_is_the_mean_of_one_minus_cosine_over_both_directions():
    first, second = [0.5, -0.25, 1.0], [0.0, 0.75, -1.0]
    expected = np.mean([1 - cosine for cosine in first + second])
    assert cosine_gap(torch.tensor(first), torch.tensor(second)).item() == pytest.approx(expected, rel=1e-5)


def total_variance(x):
    return sum(np.var(x[:, k].tolist()) for k in range(x.shape[1]))


def test_relative_alignment_matches_its_formula_and_ignores_the_scale(rng):
    common = parts(rng)
    distance = np.mean([squared_distance(common[0][i], common[1][i]) for i in range(7)])
    expected = distance / (total_variance(common[0]) + total_variance(common[1]))
    assert relative_alignment_loss(common).item() == pytest.approx(expected, rel=1e-5)
    shrunk = (common[0] / 100, common[1] / 100)
    assert relative_alignment_loss(shrunk).item() == pytest.approx(expected, rel=1e-4)


def test_relative_alignment_is_zero_for_equal_and_one_for_uncorrelated_parts(rng):
    a, b = parts(rng, n=20_000)
    assert relative_alignment_loss((a, a)).item() == 0
    assert relative_alignment_loss((a, b)).item() == pytest.approx(1, abs=0.02)


def test_relative_error_is_a_share_of_the_variance_and_one_for_the_mean(rng):
    target, translated = parts(rng)
    errors = [squared_distance(target[i], translated[i]) for i in range(7)]
    expected = np.mean(errors) / total_variance(target)
    errors = relative_errors(target, [translated, target.mean(0).expand_as(target)])
    assert errors.tolist() == pytest.approx([expected, 1], rel=1e-5)


def test_relative_error_gives_the_target_no_gradient(rng):
    target, translated = (x.requires_grad_() for x in parts(rng))
    relative_errors(target, [translated]).sum().backward()
    assert target.grad is None
    assert translated.grad is not None


def test_residual_loss_is_the_mean_energy_of_specific_parts_with_the_other_primitive(rng):
    shared = torch.randn(30, 4, generator=rng)
    primitive = tuple(shared + x for x in parts(rng, n=30))
    specific = tuple(x / 2 for x in primitive)
    energies = [cross_covariance_energy(specific[m], primitive[1 - m]).item() for m in (0, 1)]
    assert min(energies) > 0
    loss = residual_loss(primitive, specific, torch.tensor(7.0))
    assert loss.item() == pytest.approx(sum(energies) / 2 / 7, rel=1e-5)


@pytest.mark.parametrize("loss", [relative_alignment_loss, lambda x: relative_errors(x[0], x[1:])[0]])
def test_batches_without_variance_give_finite_losses_and_gradients(loss):
    parts = (torch.zeros(5, 3, requires_grad=True), torch.ones(5, 3, requires_grad=True))
    value = loss(parts)
    value.backward()
    assert value.isfinite()
    assert parts[1].grad.isfinite().all()


def test_scaled_subtracts_and_divides_by_one_number():
    scaled = Scaled(torch.tensor([1.0, 2.0]), torch.tensor(4.0))
    assert scaled(torch.tensor([[5.0, 10.0]])).tolist() == [[1.0, 2.0]]


def test_skip_network_is_an_affine_map_plus_a_network(rng):
    module = SkipNetwork(3, 5, 2, rng)
    x = torch.randn(4, 3, generator=rng)
    torch.testing.assert_close(module(x), x @ module.affine.weight.T + module.affine.bias + module.network(x))


def test_linear_maps_are_drawn_as_torch_draws_them_but_from_their_own_generator(rng):
    state = torch.get_rng_state()
    layer = drawn_linear(400, 300, rng)
    assert torch.equal(state, torch.get_rng_state())
    for parameter in (layer.weight, layer.bias):
        assert parameter.abs().max() <= 400**-0.5
    assert layer.weight.std().item() == pytest.approx(torch.nn.Linear(400, 300).weight.std().item(), rel=0.02)
    assert drawn_linear(4, 3, rng, bias=False).bias is None


def test_agreement_loss_matches_its_formula(rng):
    a, b = (x * 0.5 for x in parts(rng, n=9, d=3))
    expected = 25 * float(np.mean((a.numpy() - b.numpy()) ** 2))
    for x in (a.numpy().astype(float), b.numpy().astype(float)):
        covariance = np.cov(x.T)
        expected += 25 / 2 * np.mean([max(0.0, 1 - math.sqrt(covariance[k, k] + 1e-4)) for k in range(3)])
        expected += sum(covariance[j, k] ** 2 for j in range(3) for k in range(3) if j != k) / 3
    assert agreement_loss(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_cross_covariance_energy_matches_the_sum_over_distinct_rows(rng):
    """The U-statistic: the mean over ordered tuples of distinct rows, by brute force."""
    n = 6
    a, b = (x.double() for x in (torch.randn(n, 2, generator=rng), torch.randn(n, 3, generator=rng)))
    K, L = (a @ a.T).numpy(), (b @ b.T).numpy()
    rows = range(n)
    pairs = np.mean([K[i, j] * L[i, j] for i in rows for j in rows if i != j])
    triples = np.mean([K[i, j] * L[i, k] for i in rows for j in rows for k in rows if len({i, j, k}) == 3])
    quads = np.mean(
        [K[i, j] * L[k, m] for i in rows for j in rows for k in rows for m in rows if len({i, j, k, m}) == 4]
    )
    assert cross_covariance_energy(a, b).item() == pytest.approx(pairs - 2 * triples + quads, rel=1e-9)


def test_cross_covariance_energy_is_unbiased(rng):
    n, truth = 60, 4.0  # four pairs of columns with covariance 1
    estimates = []
    for _ in range(300):
        a = torch.randn(n, 20, generator=rng)
        b = torch.randn(n, 20, generator=rng)
        b[:, :4] = a[:, :4]
        estimates.append(cross_covariance_energy(a, b).item())
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * np.std(estimates) / math.sqrt(300))


def test_residual_share_is_one_if_nothing_is_taken_out_and_zero_if_all_is(rng):
    e = torch.randn(500, 6, generator=rng)
    assert residual_share((e, e), (e, e)).item() == pytest.approx(1)
    assert residual_share((e, e), (e * 0, e * 0)).item() == pytest.approx(0)
