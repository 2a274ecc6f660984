"""Batches of positives and negatives, and the loss of AttentiveBPR on them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding as read
from torch.nn.functional import embedding_bag

from modalsplit.nn import LOSSES, Attention, AttentiveRanker, Items, score, score_pairs
from modalsplit.nn._fused import score_lists
from modalsplit.recommend._negatives import TakenItems

Sampling = Literal["users", "interactions"]
HISTORY_POWER = 0.7  # of the length of a history: 0 would sum it, 1 average it


class Batch(NamedTuple):
    """Positives of some users, and items to compare them with."""

    users: Tensor  # (B,), distinct
    row: Tensor  # (P,), each positive's place in `users`, ascending
    item: Tensor  # (P,), the positives
    negative: Tensor  # (N,), shared by all, or (P, N), each positive's own


class Compared(NamedTuple):
    """What a batch comes to: the ranking loss, and what it was computed from."""

    loss: Tensor  # ()
    users: Tensor  # (B, D)
    items: Items  # of N distinct items
    distinct: Tensor  # (N,), ascending


class Batches:
    """Draw batches: some users with all they took, or some interactions.

    Parameters
    ----------
    taken : TakenItems
        Training interactions.
    sampling : {"users", "interactions"}
        ``"users"``: a sample is a user, with all positives; negatives are shared by the batch, without
        those that a user took. ``"interactions"``: a sample is an interaction, with negatives of its own.
    n_negatives : int
        Negatives that a positive is compared with, at most.
    generator : torch.Generator
        Source of chance.

    Attributes
    ----------
    n_samples : int
        How many samples there are.
    """

    def __init__(self, taken: TakenItems, sampling: Sampling, n_negatives: int, generator: torch.Generator):
        self.taken, self.sampling = taken, sampling
        self.n_negatives, self.generator = n_negatives, generator
        self.n_samples, self._samples = self._all_samples()

    def _all_samples(self) -> tuple[int, Tensor | None]:
        """Count the samples, and list them: those of users who took some items but not all; None for all there are."""
        taken = self.taken
        if self.sampling == "users":
            users = ((taken.counts > 0) & (taken.counts < taken.n_items)).nonzero()[:, 0]
            return len(users), users
        has_all = (taken.counts == taken.n_items).nonzero()[:, 0]
        if not len(has_all):
            return len(taken.items), None
        counts = torch.ones(len(taken.items), dtype=torch.bool, device=taken.items.device)
        for user in has_all.tolist():
            counts[taken.start[user] : taken.start[user] + taken.n_items] = False
        places = counts.nonzero()[:, 0]
        return len(places), places

    def draw(self, samples: Tensor) -> Batch:
        """Complete some samples to a batch.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            From 0 to ``n_samples - 1``.

        Returns
        -------
        Batch
            With fresh negatives.
        """
        chosen = self.places(samples)
        if self.sampling == "users":
            return Batch(chosen, *self.taken.of(chosen), self._shared())
        chosen = chosen.sort().values  # and with them, their users
        owner, item = self.taken.owners(chosen), self.taken.items[chosen].long()
        users, row = torch.unique_consecutive(owner, return_inverse=True)
        return Batch(users, row, item, self.taken.draw_negatives(owner, self.n_negatives, self.generator))

    def places(self, samples: Tensor) -> Tensor:
        """Say which users or interactions some samples are.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            From 0 to ``n_samples - 1``.

        Returns
        -------
        Tensor of int64 of shape (n,)
            Positions among all users, or interactions.
        """
        return samples if self._samples is None else self._samples[samples]

    def _shared(self) -> Tensor:
        n_items, device = self.taken.n_items, self.taken.items.device
        if self.n_negatives >= n_items:
            return torch.arange(n_items, device=device)
        return torch.randperm(n_items, generator=self.generator, device=device)[: self.n_negatives]


class BatchLoss:
    """The loss of a batch: ranking, and the size of what was ranked.

    Parameters
    ----------
    ranker : AttentiveRanker
        The parameters.
    batches : Batches
        Where batches come from.
    attention : {"item", "user", "mean"}
        What the parts of an item are weighed by.
    loss : {"softmax", "bpr", "logistic"}
        How positives are compared with negatives.
    l2 : float
        Weight of the mean squared norm of user vectors and of item vectors.
    """

    def __init__(self, ranker: AttentiveRanker, batches: Batches, attention: Attention, loss: str, l2: float) -> None:
        self.ranker, self.batches = ranker, batches
        self.attention, self.loss, self.l2 = attention, LOSSES[loss], l2

    def __call__(self, samples: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        samples : Tensor of int64 of shape (n,)
            Positions among the samples of `batches`.

        Returns
        -------
        Tensor of shape ()
            Lower is better.
        """
        loss, users, items, distinct = self._compared(self.batches.draw(samples))
        if not self.l2:
            return loss
        size = users.square().sum() / len(users) + items.embedding.square().sum() / len(distinct)
        return loss + self.l2 * size

    def _compared(self, batch: Batch) -> Compared:
        every, users = self._users(batch)
        # Each distinct item is read and fused once, however often it occurs in the batch.
        mentioned = torch.cat([batch.item, batch.negative.flatten()])
        distinct, place = find_distinct(mentioned, self.batches.taken.n_items)
        items = self.ranker.fused(distinct, self.attention)
        n = len(batch.item)
        if batch.negative.ndim == 1:
            owners = every.index_select(0, batch.row) if users is None else users
            positive = score_pairs(owners, select(items, place[:n]), self.attention)
            negative = score(every, select(items, place[n:]), self.attention)
            counts = self.batches.taken.not_taken(batch.users, batch.negative)
            row = batch.row
        else:
            lists = torch.cat([place[:n, None], place[n:].view(batch.negative.shape)], dim=1)
            scores = self._score_lists(every, users, items, batch.row, lists)
            positive, negative = scores[:, 0], scores[:, 1:]
            counts, row = torch.ones_like(negative, dtype=torch.bool), torch.arange(n, device=every.device)
        return Compared(self.loss(positive, negative, counts, row), every, items, distinct)

    def _score_lists(self, every: Tensor, users: Tensor | None, items: Items, row: Tensor, lists: Tensor) -> Tensor:
        """Score a positive and its negatives for its user: (P, 1 + N)."""
        if users is None and self.attention != "user":
            scores = score_lists(every, items.embedding, row, lists)
            return scores + items.bias.index_select(0, lists.flatten()).view(lists.shape)
        users = every.index_select(0, row) if users is None else users
        columns = [score_pairs(users, select(items, place), self.attention) for place in lists.unbind(1)]
        return torch.stack(columns, dim=1)

    def _users(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Compute the vectors of the batch's users (B, D), and, where they differ, of each positive's user (P, D)."""
        if not self.ranker.history:
            return read(batch.users, self.ranker.users, sparse=True), None
        counts = self.batches.taken.counts[batch.users]
        rows, taken = torch.unique(self.batches.taken.of(batch.users)[1], return_inverse=True)
        lent = self.ranker.lent(rows)
        # A positive must not vouch for itself: leave it out of the sum it is compared with.
        weight = (counts - 1).clamp(min=1)[:, None] ** -HISTORY_POWER
        every = embedding_bag(taken, lent, counts.cumsum(0) - counts, mode="sum") * weight
        own = lent[torch.searchsorted(rows, batch.item)] * weight[batch.row]
        return every, every[batch.row] - own


def find_distinct(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """List the distinct values, as `torch.unique` does, but without sorting where there are many.

    Parameters
    ----------
    values : Tensor of int64 of shape (n_values,)
        From 0 to ``n - 1``.
    n : int
        How many values are possible.

    Returns
    -------
    distinct : Tensor of int64 of shape (n_distinct,)
        Ascending.
    place : Tensor of int64 of shape (n_values,)
        Position of each value in `distinct`.
    """
    if len(values) * 10 < n:
        distinct, place = torch.unique(values, return_inverse=True)
        return distinct, place
    is_there = torch.zeros(n, dtype=torch.bool, device=values.device)
    is_there[values] = True
    return is_there.nonzero()[:, 0], is_there.cumsum(0)[values] - 1


def select(items: Items, rows: Tensor) -> Items:
    """Take some of the items.

    Parameters
    ----------
    items : Items
        N items.
    rows : Tensor of int64 of shape (n,)
        Which to take.

    Returns
    -------
    Items
        n items.
    """
    return Items(*(field.index_select(0, rows) for field in items))
