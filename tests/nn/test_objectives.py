"""Each formula against a slow loop written from its equation."""

import math

import numpy as np
import pytest
import torch

from modalsplit.nn import (
    Affine,
    Branch,
    agreement_loss,
    bounded_ranking_loss,
    common_gap,
    cross_covariance_energy,
    encoder_loss,
    primitive_gap,
    printed_ranking_loss,
    residual_share,
    specific_gap,
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


@pytest.mark.parametrize("gap", [common_gap, primitive_gap, specific_gap])
def test_gaps_of_translated_parts_match_equations_4_to_9(gap, rng):
    """The three gaps share one formula; what is translated (Eq. 4, 6, 7) tells them apart."""
    source, target = parts(rng), parts(rng)
    phi = [Affine(torch.zeros(4), torch.randn(4, 4, generator=rng)) for _ in range(2)]
    translated = (phi[1](source[1]), phi[0](source[0]))  # image from text, text from image
    expected = 0.0
    for i in range(7):
        text = [sum(float(source[0][i, k]) * float(phi[0].weight[k, j]) for k in range(4)) for j in range(4)]
        image = [sum(float(source[1][i, k]) * float(phi[1].weight[k, j]) for k in range(4)) for j in range(4)]
        expected += (squared_distance(target[0][i], image) + squared_distance(target[1][i], text)) / 7
    assert gap(target, translated).item() == pytest.approx(expected, rel=1e-4)


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
