"""Equations 12 and 13, retold as loops."""

import numpy as np
import pytest
import torch

from modalsplit.nn._attention import (
    Items,
    attend,
    fuse,
    item_attention,
    move_common,
    pair_attention,
    score,
    score_pairs,
)


@pytest.fixture
def items():
    torch.manual_seed(0)
    present = torch.ones(5, 4, dtype=torch.bool)
    parts = torch.randn(5, 4, 3)
    present[1, 2], parts[1, 2] = False, 0.0
    return Items(torch.randn(5, 3), parts, present, torch.randn(5))


def slow_attention(query, parts, present):
    agreement = [float(np.dot(query, part)) for part in parts]
    weights = [np.exp(value) if there else 0.0 for value, there in zip(agreement, present, strict=True)]
    return np.array(weights) / sum(weights)


def slow_weights(user, item, attention, scale):
    embedding, parts, present = item
    if attention == "mean":
        return present / present.sum()
    return slow_attention(user if attention == "user" else embedding / scale, parts, present)


def test_attention_is_equation_12(items):
    weights = item_attention(items, "item").numpy()
    for i in range(5):
        expected = slow_attention(
            items.embedding[i].numpy() / np.sqrt(3), items.parts[i].numpy(), items.present[i].numpy()
        )
        np.testing.assert_allclose(weights[i], expected, rtol=1e-5)


def test_fused_item_is_equation_13(items):
    weights = item_attention(items, "item")
    fused = fuse(items, weights)
    for i in range(5):
        expected = items.embedding[i].clone()
        for k in range(4):
            expected += weights[i, k] * items.parts[i, k]
        torch.testing.assert_close(fused[i], expected)


@pytest.mark.parametrize("attention", ["item", "user", "mean"])
def test_scores_match_a_loop_over_users_items_and_parts(items, attention):
    users = torch.randn(2, 3)
    scores = score(users, items, attention).numpy()
    for u, user in enumerate(users.numpy()):
        for i in range(5):
            item = items.embedding[i].numpy(), items.parts[i].numpy(), items.present[i].numpy()
            weights = slow_weights(user, item, attention, np.sqrt(3))
            fused = item[0] + sum(weight * part for weight, part in zip(weights, item[1], strict=True))
            assert scores[u, i] == pytest.approx(user @ fused + float(items.bias[i]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("attention", ["item", "user", "mean"])
def test_pairs_score_as_the_whole_matrix_does(items, attention):
    users = torch.randn(5, 3)
    torch.testing.assert_close(score_pairs(users, items, attention), score(users, items, attention).diag())


@pytest.mark.parametrize("attention", ["item", "user", "mean"])
def test_attention_sums_to_one_and_skips_missing_parts(items, attention):
    weights = pair_attention(torch.randn(5, 3), items, attention)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert weights[1, 2] == 0
    assert (weights >= 0).all()


def test_an_item_without_any_part_gets_no_attention_and_no_nan():
    weights = attend(torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.bool))
    assert weights.tolist() == [[0.0] * 4]


def test_moving_the_common_part_is_a_change_of_an_affine_extractor():
    torch.manual_seed(0)
    e, extractor, b = torch.randn(50, 3), torch.randn(3, 3), torch.randn(3)
    common = e @ extractor.T + b
    delta = torch.randn(1, 3, 3)
    moved = move_common(torch.stack([common, e - common], dim=1), delta, [(0, 1)])
    torch.testing.assert_close(moved[:, 0], e @ (extractor + delta[0]).T + b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved.sum(dim=1), e, rtol=1e-4, atol=1e-5)


def test_a_delta_of_zero_leaves_the_parts_alone():
    parts = torch.randn(6, 4, 3)
    torch.testing.assert_close(move_common(parts, torch.zeros(2, 3, 3), [(0, 2), (1, 3)]), parts)


def test_no_parts_at_all_leave_the_free_embedding():
    items = Items(torch.randn(3, 2), torch.zeros(3, 0, 2), torch.zeros(3, 0, dtype=torch.bool), torch.zeros(3))
    users = torch.randn(4, 2)
    torch.testing.assert_close(score(users, items, "item"), users @ items.embedding.T)
    torch.testing.assert_close(score(users, items, "user"), users @ items.embedding.T)
