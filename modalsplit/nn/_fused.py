"""Fusing items and scoring pairs, with gradients in closed form: what an epoch of interactions spends its time on.

All of it is made of two products with sparse matrices, which read rows where they are and make no copies of them.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import embedding_bag

from modalsplit.nn._attention import attend


def attend_and_fuse(
    embedding: Float[Tensor, "N D"],
    parts: Float[Tensor, "I M D"],
    present: Bool[Tensor, "I M"],
    rows: Int[Tensor, " N"],
    scale: Float[Tensor, " M"],
    delta: Float[Tensor, "S D D"] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
) -> Float[Tensor, "N D"]:
    """Fuse some items of a catalogue by their own attention.

    Parameters
    ----------
    embedding : Tensor of shape (N, D)
        Free embeddings, the queries.
    parts : Tensor of shape (I, M, D)
        Parts of all items; zeros where missing. They have no gradient.
    present : Tensor of bool of shape (I, M)
        Which parts there are.
    rows : Tensor of int64 of shape (N,)
        Which items, distinct.
    scale : Tensor of shape (M,)
        Factor of each part. It has no gradient.
    delta : Tensor of shape (S, D, D), optional
        What fine-tuning adds to extractors, as of `move_common`.
    pairs : sequence of tuple of int of length S, default=()
        Positions of the common and the specific part of each modality that is fine-tuned.

    Returns
    -------
    Tensor of shape (N, D)
        ``e_i + sum_k a_ik scale_k part_ik``, as of `item_attention` and `fuse`.

    References
    ----------
    Han et al., WWW 2022, Eq. 12 and 13.
    """
    moves, signs = embedding.new_zeros(0, len(rows), parts.shape[2]), embedding.new_zeros(0, parts.shape[1])
    if delta is not None:
        # Common parts gain what specific parts lose, so that (N, D) moves do, and no parts are written.
        columns = torch.tensor(pairs, device=rows.device)
        place = (rows[None, :, None] * parts.shape[1] + columns[:, None]).flatten(0, 1)
        both = embedding_bag(place, parts.flatten(0, 1), mode="sum").view(len(pairs), len(rows), -1)
        moves = both @ delta.mT
        signs = embedding.new_zeros(len(pairs), parts.shape[1])
        signs.scatter_(1, columns, signs.new_tensor([[1.0, -1.0]]).expand(len(pairs), 2))
    fused: Tensor = _AttendAndFuse.apply(embedding, moves, parts, present, rows, scale, signs)
    return fused


class _AttendAndFuse(Function):
    @staticmethod
    def forward(ctx: Any, embedding: Tensor, moves: Tensor, *rest: Tensor) -> Tensor:
        parts, present, rows, scale, signs = rest
        n_parts = parts.shape[1]
        place = rows[:, None] * n_parts + torch.arange(n_parts, device=rows.device)
        tables = _Tables(parts, place, moves, signs)
        factor = scale / embedding.shape[1] ** 0.5
        weights = attend(tables.agreement(embedding) * factor, present.index_select(0, rows))
        ctx.save_for_backward(embedding, moves, parts, place, weights, scale, signs)
        return tables.weighted(weights * scale).add_(embedding)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        embedding, moves, parts, place, weights, scale, signs = ctx.saved_tensors
        fused, tables = outer[0].contiguous(), _Tables(parts, place, moves, signs)
        of_weights = tables.agreement(fused) * scale
        # Through the softmax, whose Jacobian is diag(a) - a a'; a missing part has a = 0.
        of_agreement = weights * (of_weights - (weights * of_weights).sum(1, keepdim=True))
        of_agreement *= scale / embedding.shape[1] ** 0.5
        of_moves = None
        if ctx.needs_input_grad[1]:
            direct, through_attention = (weights * scale) @ signs.T, of_agreement @ signs.T
            of_moves = torch.empty_like(moves)
            for s, out in enumerate(of_moves):
                torch.mul(fused, direct[:, s, None], out=out).addcmul_(embedding, through_attention[:, s, None])
        return tables.weighted(of_agreement).add_(fused), of_moves, *[None] * 5


class _Tables(NamedTuple):
    """Parts of N items in a table of all, and what is added to each, with a sign."""

    parts: Tensor  # (I, M, D)
    place: Tensor  # (N, M), in the table of I * M rows
    moves: Tensor  # (S, N, D)
    signs: Tensor  # (S, M)

    def agreement(self, queries: Tensor) -> Tensor:
        """Multiply the parts of each item with its query: (N, M)."""
        own = torch.arange(len(queries), device=queries.device)
        values = inner_products(queries, self.parts.flatten(0, 1), own, self.place)
        if len(self.moves):
            values = values + inner_products(queries, self.moves.flatten(0, 1), own, self._of_moves()) @ self.signs
        return values

    def weighted(self, weights: Tensor) -> Tensor:
        """Add the parts of each item by (N, M) weights: (N, D)."""
        total = embedding_bag(self.place, self.parts.flatten(0, 1), mode="sum", per_sample_weights=weights)
        if len(self.moves):
            for moves, weight in zip(self.moves, (weights @ self.signs.T).T, strict=True):
                total.addcmul_(moves, weight[:, None])
        return total

    def _of_moves(self) -> Tensor:
        n_moves, n_items = self.moves.shape[:2]
        return torch.arange(n_moves * n_items, device=self.moves.device).view(n_moves, n_items).T


def score_lists(
    users: Float[Tensor, "B D"], items: Float[Tensor, "N D"], row: Int[Tensor, " P"], place: Int[Tensor, "P K"]
) -> Float[Tensor, "P K"]:
    """Score K items for each of P owners.

    Parameters
    ----------
    users : Tensor of shape (B, D)
        User vectors.
    items : Tensor of shape (N, D)
        Fused items.
    row : Tensor of int64 of shape (P,)
        The owner of each list, a position in `users`; ascending.
    place : Tensor of int64 of shape (P, K)
        What to score, positions in `items`.

    Returns
    -------
    Tensor of shape (P, K)
        Inner products.
    """
    scores: Tensor = _ScoreLists.apply(users, items, row, place)
    return scores


class _ScoreLists(Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, row: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(users, items, row, place)
        return inner_products(users, items, row, place)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
        users, items, row, place = ctx.saved_tensors
        length, weight, flat = place.shape[1], outer[0].flatten(), place.flatten()
        # The gradient of a user is a weighted sum of items, and that of an item one of users.
        order = flat.argsort()
        of_users = _sums(items, flat, weight, _starts(row, len(users))[:-1] * length)
        of_items = _sums(users, row[order // length], weight[order], _starts(flat, len(items))[:-1])
        return of_users, of_items, None, None


def inner_products(
    left: Float[Tensor, "B D"], right: Float[Tensor, "N D"], row: Int[Tensor, " P"], place: Int[Tensor, "P K"]
) -> Float[Tensor, "P K"]:
    """Multiply rows of one matrix with rows of another.

    Parameters
    ----------
    left : Tensor of shape (B, D)
        One side.
    right : Tensor of shape (N, D)
        The other.
    row : Tensor of int64 of shape (P,)
        Positions in `left`; ascending.
    place : Tensor of int64 of shape (P, K)
        Positions in `right`.

    Returns
    -------
    Tensor of shape (P, K)
        Inner products of ``left[row[p]]`` with ``right[place[p, k]]``.
    """
    # A pattern holds no more entries than there are pairs.
    if left.device.type != "cpu" or place.numel() > len(left) * len(right):
        return torch.einsum("pd,pkd->pk", left[row], right[place])
    starts = _starts(row, len(left)) * place.shape[1]
    size = (len(left), len(right))
    # The pattern may name an entry twice, which checks would refuse and the product does not mind.
    zeros = left.new_zeros(place.numel())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        pattern = torch.sparse_csr_tensor(starts, place.flatten(), zeros, size, check_invariants=False)
    products: Tensor = torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0).values()
    return products.view(place.shape)


def _sums(table: Tensor, rows: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    """Sum weighted rows of a table: those from one start to the next."""
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)


def _starts(values: Tensor, n: int) -> Tensor:
    """Say where each value from 0 to n - 1 begins once sorted, and where the last one ends."""
    ends = torch.bincount(values, minlength=n).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])
