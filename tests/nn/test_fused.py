"""Gradients in closed form against those that autograd finds from the plain formulas."""

import pytest
import torch

from modalsplit.nn import Items, fuse, item_attention, move_common
from modalsplit.nn._fused import attend_and_fuse, inner_products, score_lists


def made(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def gradients(value, of):
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view(value.shape)
    return torch.autograd.grad((weights * value).sum(), of)


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_missing", [0, 1, 4])
@pytest.mark.parametrize("pairs", [[], [(0, 2)], [(0, 2), (1, 3)]])
def test_fusing_has_the_value_and_gradients_of_the_plain_formula(n_missing, pairs):
    embedding, parts = made(5, 6).requires_grad_(), made(9, 4, 6)
    rows, scale = torch.tensor([0, 2, 3, 7, 8]), torch.tensor([0.5, 2.0, 1.0, 0.7], dtype=torch.float64)
    present = torch.ones(9, 4, dtype=torch.bool)
    present[3, :n_missing] = False
    parts[~present] = 0.0
    delta = 0.3 * made(len(pairs), 6, 6) if pairs else None
    learned = [embedding] if delta is None else [embedding, delta.requires_grad_()]
    ours = attend_and_fuse(embedding, parts, present, rows, scale, delta, pairs)
    moved = parts if delta is None else move_common(parts, delta, pairs)
    items = Items(embedding, (moved * scale[:, None])[rows], present[rows], torch.zeros(5, dtype=torch.float64))
    plain = fuse(items, item_attention(items, "item"))
    assert_equal([ours], [plain])
    assert_equal(gradients(ours, learned), gradients(plain, learned))


def test_scores_of_lists_have_the_value_and_gradients_of_the_plain_formula():
    users, items = made(4, 6).requires_grad_(), made(7, 6).requires_grad_()
    row = torch.tensor([0, 0, 1, 3, 3])  # the third user has no list
    place = torch.tensor([[1, 2], [1, 1], [6, 0], [2, 5], [2, 1]])  # the fourth and fifth item are in none
    ours = score_lists(users, items, row, place)
    plain = torch.einsum("pd,pkd->pk", users[row], items[place])
    assert_equal([ours], [plain])
    assert_equal(gradients(ours, [users, items]), gradients(plain, [users, items]))


def test_inner_products_may_name_a_pair_twice_in_any_order():
    left, right = made(2, 5), made(4, 5)
    row, place = torch.tensor([0, 1, 1]), torch.tensor([[3, 0, 3], [2, 2, 2], [1, 3, 2]])
    expected = torch.stack([right[at] @ left[r] for r, at in zip(row, place, strict=True)])
    torch.testing.assert_close(inner_products(left, right, row, place), expected)
