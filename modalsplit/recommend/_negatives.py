"""What users took in training, and what they did not: lists of positives and uniform negatives."""

from __future__ import annotations

import functools

import torch
from scipy import sparse
from torch import Tensor


class TakenItems:
    """The items that each user took in training, in a form that is quick to look up.

    Only training interactions are known here, so that held-out items can be drawn as negatives: to spare
    them would give the answers away.

    Parameters
    ----------
    taken : csr_array of shape (n_users, n_items)
        Interactions.
    device : torch.device
        Where the lists live.

    Attributes
    ----------
    counts : Tensor of int64 of shape (n_users,)
        How many items each user took.
    items : Tensor of int of shape (n_interactions,)
        Items, by user and ascending: the indices of `taken` themselves where they are in order, so that they may be a file
        that is mapped into memory.
    """

    def __init__(self, taken: sparse.csr_array, device: torch.device) -> None:
        if not taken.has_sorted_indices:
            taken = taken.sorted_indices()
        self.n_items = taken.shape[1]
        self.items = torch.as_tensor(taken.indices, device=device)
        self.bounds = torch.as_tensor(taken.indptr, dtype=torch.int64, device=device)
        self.start, self._end = self.bounds[:-1], self.bounds[1:]
        self.counts = self.bounds.diff()

    @functools.cached_property
    def users(self) -> Tensor:
        """Whose each of `items` is: int64 of shape (n_interactions,). Made when it is asked for; `owners` needs no such list."""
        return torch.repeat_interleave(self.counts)

    def owners(self, places: Tensor) -> Tensor:
        """Tell whose interactions some are.

        Parameters
        ----------
        places : Tensor of int64 of shape (n,)
            Positions in `items`.

        Returns
        -------
        Tensor of int64 of shape (n,)
            Users, by position.
        """
        return torch.searchsorted(self._end, places, right=True)

    def of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """List the items of some users.

        Parameters
        ----------
        users : Tensor of int64 of shape (n,)
            Users, by position.

        Returns
        -------
        row : Tensor of int64 of shape (n_taken,)
            Position in `users`.
        item : Tensor of int64 of shape (n_taken,)
            The item.
        """
        counts = self.counts[users]
        row = torch.repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        within = torch.arange(len(row), device=row.device) - first[row]
        return row, self.items[self.start[users][row] + within].long()

    def draw_negatives(self, users: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw items that users did not take, uniformly and with replacement.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_rows,)
            Users, by position. Each must have left at least one item.
        n : int
            Items a row.
        generator : torch.Generator
            Source of chance.

        Returns
        -------
        Tensor of int64 of shape (n_rows, n)
            Items.
        """
        return self.negatives_at(users, draw_chance(users, n, generator))

    def negatives_at(self, users: Tensor, chance: Tensor) -> Tensor:
        """Find the items that chance points to, among those that users did not take.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_rows,)
            Users, by position. Each must have left at least one item.
        chance : Tensor of float64 of shape (n_rows, n)
            From 0 to 1.

        Returns
        -------
        Tensor of int64 of shape (n_rows, n)
            Items.
        """
        left = (self.n_items - self.counts[users]).unsqueeze(1)
        r = (chance * left).long().clamp(max=left - 1)
        return r + self._n_taken_before(users.unsqueeze(1), r)

    def _n_taken_before(self, users: Tensor, r: Tensor) -> Tensor:
        """Count the items that users took before the r-th item that they did not take."""
        # The k-th taken item t has t - k items before it that were not taken: a bisection of these finds the place.
        start, most = self.start[users], self.counts[users]
        low, high = torch.zeros_like(r), most.expand_as(r)
        for _ in range(int(most.max()).bit_length() if len(users) else 0):
            middle = (low + high) // 2
            place = (start + middle).clamp(max=len(self.items) - 1)
            is_before = (middle < high) & (self.items[place] - middle <= r)
            low, high = torch.where(is_before, middle + 1, low), torch.where(is_before, high, middle)
        return low

    def not_taken(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Tell which candidates each user did not take.

        Parameters
        ----------
        users : Tensor of int64 of shape (n,)
            Users, by position.
        candidates : Tensor of int64 of shape (n_candidates,)
            Distinct items.

        Returns
        -------
        Tensor of bool of shape (n, n_candidates)
            True where the user did not take the candidate.
        """
        place = torch.full((self.n_items,), -1, device=candidates.device)
        place[candidates] = torch.arange(len(candidates), device=candidates.device)
        row, item = self.of(users)
        column = place[item]
        hit = column >= 0
        untaken = torch.ones(len(users), len(candidates), dtype=torch.bool, device=users.device)
        untaken[row[hit], column[hit]] = False
        return untaken


def draw_chance(users: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw what negatives are found by.

    Parameters
    ----------
    users : Tensor of shape (n_rows,)
        Users.
    n : int
        Items a row.
    generator : torch.Generator
        Source of chance.

    Returns
    -------
    Tensor of float64 of shape (n_rows, n)
        From 0 to 1: which of the items that a user did not take, as a share of their number.
    """
    return torch.rand(len(users), n, generator=generator, device=users.device, dtype=torch.float64)
