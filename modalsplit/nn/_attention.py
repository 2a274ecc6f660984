"""Attention over the parts of an item, and the scores that follow from it."""

import functools
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Attention = Literal["item", "user", "mean"]

MOST_STEPS, SETTLED = 40, 1e-6  # of `before_fusion`


class Items(NamedTuple):
    """What a score needs to know of some items."""

    embedding: Float[Tensor, "N D"]
    parts: Float[Tensor, "N M D"]
    present: Bool[Tensor, "N M"]
    bias: Float[Tensor, " N"]


def attend(agreement: Float[Tensor, "*rows M"], present: Bool[Tensor, "*rows M"]) -> Float[Tensor, "*rows M"]:
    """Share attention among the parts that are there.

    Parameters
    ----------
    agreement : Tensor of shape (..., M)
        Of the query with each part; more is more attention.
    present : Tensor of bool of shape (..., M)
        False for a part that is missing, which gets none.

    Returns
    -------
    Tensor of shape (..., M)
        Weights, 0 to 1. They sum to 1, or to 0 where no part is present.
    """
    lowest = torch.finfo(agreement.dtype).min
    weights = agreement.masked_fill(~present, lowest).softmax(dim=-1)
    return weights.masked_fill(~present, 0.0)


def item_attention(items: Items, attention: Attention) -> Float[Tensor, "N M"]:
    """Weigh the parts of each item by the item itself.

    Parameters
    ----------
    items : Items
        N items of M parts.
    attention : {"item", "mean"}
        ``"item"``: the query is the item's own embedding, ``softmax(e_i · part_k / sqrt(D))``.
        ``"mean"``: equal weights.

    Returns
    -------
    Tensor of shape (N, M)
        Weights, 0 to 1.

    References
    ----------
    Han et al., WWW 2022, Eq. 12.
    """
    agreement = torch.einsum("nd,nmd->nm", items.embedding, items.parts) / items.embedding.shape[1] ** 0.5
    return attend(agreement if attention == "item" else torch.zeros_like(agreement), items.present)


def fuse(items: Items, weights: Float[Tensor, "N M"]) -> Float[Tensor, "N D"]:
    """Add the weighted parts to the embedding.

    Parameters
    ----------
    items : Items
        N items of M parts.
    weights : Tensor of shape (N, M)
        From `item_attention`.

    Returns
    -------
    Tensor of shape (N, D)
        ``e_i + sum_k a_ik part_ik``.

    References
    ----------
    Han et al., WWW 2022, Eq. 13.
    """
    return items.embedding + torch.einsum("nm,nmd->nd", weights, items.parts)


def score(users: Float[Tensor, "B D"], items: Items, attention: Attention) -> Float[Tensor, "B N"]:
    """Score every item for every user.

    Parameters
    ----------
    users : Tensor of shape (B, D)
        User vectors.
    items : Items
        N items of M parts.
    attention : {"item", "user", "mean"}
        What the parts are weighed by. With ``"user"`` it is the user, ``softmax(p_u · part_k)`` without
        scaling, as in PAMD's released code; no fused vector is needed then, because the score depends on
        inner products alone.

    Returns
    -------
    Tensor of shape (B, N)
        ``p_u · fused_i + b_i``.
    """
    if attention != "user":
        return users @ fuse(items, item_attention(items, attention)).T + items.bias
    own = torch.addmm(items.bias, users, items.embedding.T)
    if not items.parts.shape[1]:
        return own
    # Part by part: a softmax over a last dimension as short as the parts would take longer than the products.
    inner = [users @ part.T for part in items.parts.unbind(1)]
    agreement = inner
    if not items.present.all():
        lowest = torch.finfo(users.dtype).min
        agreement = [
            each.masked_fill(~there, lowest) for each, there in zip(inner, items.present.unbind(1), strict=True)
        ]
    highest = functools.reduce(torch.maximum, agreement).detach()
    weights = [(each - highest).exp() for each in agreement]
    total = weights[0] * inner[0]
    for weight, each in zip(weights[1:], inner[1:], strict=True):
        total = torch.addcmul(total, weight, each)
    # An item without parts has weights that are equal, and inner products that are 0.
    return own + total / functools.reduce(torch.add, weights)


def score_pairs(users: Float[Tensor, "N D"], items: Items, attention: Attention) -> Float[Tensor, " N"]:
    """Score each item for the user in the same row.

    Parameters
    ----------
    users : Tensor of shape (N, D)
        User vectors.
    items : Items
        N items of M parts.
    attention : {"item", "user", "mean"}
        As in `score`.

    Returns
    -------
    Tensor of shape (N,)
        ``p_u · fused_i + b_i``.
    """
    weights = pair_attention(users, items, attention)
    return (users * fuse(items, weights)).sum(-1) + items.bias


def pair_attention(users: Float[Tensor, "N D"], items: Items, attention: Attention) -> Float[Tensor, "N M"]:
    """Weigh the parts of each item for the user in the same row.

    Parameters
    ----------
    users : Tensor of shape (N, D)
        User vectors; they matter with ``attention="user"`` only.
    items : Items
        N items of M parts.
    attention : {"item", "user", "mean"}
        As in `score`.

    Returns
    -------
    Tensor of shape (N, M)
        Weights, 0 to 1.
    """
    if attention != "user":
        return item_attention(items, attention)
    return attend(torch.einsum("nd,nmd->nm", users, items.parts), items.present)


def move_common(
    parts: Float[Tensor, "N M P"], delta: Float[Tensor, "S P P"], pairs: list[tuple[int, int]]
) -> Float[Tensor, "N M P"]:
    """Change the common extractors of some modalities, and keep what each common and specific part sum to.

    With ``e = common + specific`` the new parts are ``common + delta e`` and ``e - common``. For an affine
    extractor ``common = C e + b`` this is the extractor ``C + delta``: fine-tuning needs no reference to it.

    Parameters
    ----------
    parts : Tensor of shape (N, M, P)
        The parts before.
    delta : Tensor of shape (S, P, P)
        What is added to each extractor, a matrix a modality.
    pairs : list of tuple of int of length S
        Positions of the common and the specific part of each modality.

    Returns
    -------
    Tensor of shape (N, M, P)
        The parts after.

    References
    ----------
    Han et al., WWW 2022, Eq. 2 and Sec. 4.3.
    """
    columns = list(parts.unbind(dim=1))
    for matrix, (common, specific) in zip(delta, pairs, strict=True):
        moved = (columns[common] + columns[specific]) @ matrix.T
        columns[common], columns[specific] = columns[common] + moved, columns[specific] - moved
    return torch.stack(columns, dim=1)


def with_parts_fused(items: Items, attention: Attention) -> Items:
    """Replace embeddings by fused vectors where these do not depend on the user.

    Parameters
    ----------
    items : Items
        N items.
    attention : {"item", "user", "mean"}
        With ``"user"`` items are returned as they are.

    Returns
    -------
    Items
        They have no parts any more, and the same scores.
    """
    if attention == "user":
        return items
    return without_parts(fuse(items, item_attention(items, attention)), items.bias)


def before_fusion(items: Items, attention: Attention) -> Float[Tensor, "N D"]:
    """Find the embeddings with which items are fused to given vectors.

    Parameters
    ----------
    items : Items
        N items, whose embeddings are the fused vectors.
    attention : {"item", "mean"}
        With ``"item"`` weights depend on the embedding that is looked for: what fusion added to
        the last guess is subtracted, some twenty times.

    Returns
    -------
    Tensor of shape (N, D)
        Embeddings. If the steps do not settle, those that came nearest.
    """
    vectors: Tensor = items.embedding
    guess = nearest = vectors
    least = vectors.new_full(vectors.shape[:1], torch.inf)
    for _ in range(MOST_STEPS):
        gap = vectors - with_parts_fused(items._replace(embedding=guess), attention).embedding
        size = gap.norm(dim=1)
        nearest = torch.where((size < least)[:, None], guess, nearest)
        least = torch.minimum(least, size)
        if (size <= SETTLED * vectors.norm(dim=1)).all():
            break
        guess = guess + gap
    return nearest


def without_parts(vectors: Float[Tensor, "N D"], bias: Float[Tensor, " N"]) -> Items:
    """Make items of which the parts are in the vectors already.

    Parameters
    ----------
    vectors : Tensor of shape (N, D)
        Fused items.
    bias : Tensor of shape (N,)
        Their biases.

    Returns
    -------
    Items
        They have no parts.
    """
    return Items(vectors, vectors[:, None][:, :0], torch.zeros_like(vectors[:, :0], dtype=torch.bool), bias)
