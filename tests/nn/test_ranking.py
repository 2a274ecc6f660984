"""Each loss against a loop over positives and negatives."""

import math

import pytest
import torch

from modalsplit.nn._ranking import LOSSES, bpr_loss, logistic_loss, softmax_loss


@pytest.fixture
def scores():
    torch.manual_seed(0)
    row = torch.tensor([0, 0, 1, 2, 2])
    is_negative = torch.rand(3, 6) < 0.7
    return torch.randn(5), torch.randn(3, 6), is_negative, row


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def negatives_of(scores, p):
    _, negative, is_negative, row = scores
    return [float(value) for value, counts in zip(negative[row[p]], is_negative[row[p]], strict=True) if counts]


def test_bpr_is_the_mean_of_log_sigmoid_differences(scores):
    positive = scores[0].tolist()
    expected = 0.0
    for p in range(5):
        worse = negatives_of(scores, p)
        expected -= sum(math.log(sigmoid(positive[p] - value)) for value in worse) / len(worse) / 5
    assert bpr_loss(*scores).item() == pytest.approx(expected, rel=1e-5)


def test_logistic_judges_every_score_on_its_own(scores):
    positive = scores[0].tolist()
    expected = 0.0
    for p in range(5):
        others = negatives_of(scores, p)
        expected -= math.log(sigmoid(positive[p])) / 5
        expected -= sum(math.log(1 - sigmoid(value)) for value in others) / len(others) / 5
    assert logistic_loss(*scores).item() == pytest.approx(expected, rel=1e-5)


def test_softmax_is_the_share_of_each_positive_in_its_row(scores):
    positive, _, _, row = scores
    expected = 0.0
    for p in range(5):
        rivals = negatives_of(scores, p) + [float(positive[q]) for q in range(5) if row[q] == row[p]]
        expected -= math.log(math.exp(positive[p]) / sum(map(math.exp, rivals))) / 5
    assert softmax_loss(*scores).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_losses_stay_finite_for_huge_scores_and_rows_without_negatives(loss):
    positive = torch.tensor([300.0, -300.0], requires_grad=True)
    negative = torch.tensor([[400.0, -400.0], [0.0, 0.0]])
    value = loss(positive, negative, torch.tensor([[True, True], [False, False]]), torch.tensor([0, 1]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(positive.grad).all()


@pytest.mark.parametrize("loss", LOSSES.values())
def test_a_better_positive_costs_less(loss, scores):
    positive, *rest = scores
    better = positive.clone()
    better[0] += 1
    assert loss(better, *rest) < loss(positive, *rest)
