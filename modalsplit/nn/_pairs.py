"""Models that score a user and an item from a vector of each, and the simplest one: inner products."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

from modalsplit.nn._ranking import bpr_loss


class PairScorer(nn.Module):
    """Abstract: tables of users and items, the content of the items, and the score of a pair.

    A subclass writes `encode_users` and `encode_items`, and `score` if it is no inner product. Weights are
    drawn from torch's global generator.

    Parameters
    ----------
    user_tables : sequence of Tensor of shape (n_users, n_columns)
        Initial free parameters of the users.
    item_tables : sequence of Tensor of shape (n_items, n_columns)
        Of the items.
    content : Tensor of shape (n_items, n_features)
        What the items are like.
    """

    content: Tensor
    numbers_a_pair = 1  # that `score` holds at once, to choose how many pairs to score at a time

    def __init__(
        self, user_tables: Sequence[Tensor], item_tables: Sequence[Tensor], content: Float[Tensor, "I F"]
    ) -> None:
        super().__init__()
        self.user_tables = nn.ParameterList(user_tables)
        self.item_tables = nn.ParameterList(item_tables)
        self.register_buffer("content", content)

    @abstractmethod
    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Make vectors of B users from their rows of the tables."""

    @abstractmethod
    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Make vectors of N items from their rows of the tables and from their content."""

    def score(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N"]:
        """Score items for users.

        Parameters
        ----------
        users : Tensor of shape (B, U)
            Vectors of B users.
        items : Tensor of shape (B, N, V) or (1, N, V)
            Vectors of N items for each user, or of the same for all.

        Returns
        -------
        Tensor of shape (B, N)
            Higher is better. Here the inner product.
        """
        return users @ items[0].T if len(items) == 1 else torch.einsum("bd,bnd->bn", users, items)

    def vectors(
        self, users: Int[Tensor, " B"], items: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "B U"], Float[Tensor, "N V"]]:
        """Make the vectors that `score` takes.

        Parameters
        ----------
        users : Tensor of int of shape (B,)
            Users, by position.
        items : Tensor of int of shape (N,)
            Items, by position.

        Returns
        -------
        users : Tensor of shape (B, U)
            Of the users.
        items : Tensor of shape (N, V)
            Of the items.
        """
        of_users = [embedding(users, table) for table in self.user_tables]
        of_items = [embedding(items, table) for table in self.item_tables]
        return self.encode_users(of_users), self.encode_items(of_items, self.content[items])

    def cold(self, content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Make vectors of items that are known by their content only: the mean item lends its free parameters."""
        free = [table.mean(dim=0).expand(len(content), -1) for table in self.item_tables]
        return self.encode_items(free, content)

    def release(self) -> None:
        """Let go of what only training needs: vectors of the known users and items were made and kept."""
        self.content = self.content[:0]

    def size(self, users: Int[Tensor, " B"], items: Int[Tensor, "B N"]) -> Float[Tensor, ""]:
        """Measure the free parameters that some comparisons read.

        Parameters
        ----------
        users : Tensor of int of shape (B,)
            A user a comparison.
        items : Tensor of int of shape (B, N)
            Its items.

        Returns
        -------
        Tensor of shape ()
            The mean over comparisons of the sum of squares: ``|p_u|² + |q_i|² + |q_j|²`` of a triple.
        """
        read = [(users, table) for table in self.user_tables] + [(items, table) for table in self.item_tables]
        total = self.content.new_zeros(())
        for rows, table in read:
            total = total + embedding(rows, table).square().sum() / len(users)
        return total


class ContentFields(nn.Module):
    """One linear map for each field of the content.

    Parameters
    ----------
    widths : sequence of int
        Columns of each field; they stand side by side.
    n_components : int
        Columns that each is mapped to.
    """

    def __init__(self, widths: Sequence[int], n_components: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.maps = nn.ModuleList(nn.Linear(width, n_components, bias=False) for width in widths)

    def forward(self, content: Float[Tensor, "N F"]) -> Float[Tensor, "N M D"]:
        """Map each of the M fields."""
        parts = torch.split(content, self.widths, dim=1)
        return torch.stack([field(part) for field, part in zip(self.maps, parts, strict=True)], dim=1)


class Factors(PairScorer):
    """Inner products: ``b_i + <p_u, q_i>``, and with content ``<t_u, E f_i> + <b, f_i>`` (VBPR).

    Parameters
    ----------
    n_users : int
        Number of users.
    content : Tensor of shape (n_items, n_features)
        What the items are like.
    n_free : int
        Columns of q; 0 for items that are known by content alone: ``<t_u, E f_i + e>``.
    n_mapped : int
        Columns of E f; 0 to ignore the content.
    spread : float
        Standard deviation of the initial tables.

    References
    ----------
    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009.

    R. He, J. McAuley, "VBPR: visual Bayesian personalized ranking from implicit feedback", AAAI 2016, Eq. 4.
    """

    def __init__(self, n_users: int, content: Float[Tensor, "I F"], n_free: int, n_mapped: int, spread: float) -> None:
        n_items, width = content.shape
        free = [drawn(n_items, n_free, spread), torch.zeros(n_items, 1)] if n_free else []
        super().__init__([drawn(n_users, n_free + n_mapped, spread)], free, content)
        self.map = nn.Linear(width, n_mapped, bias=not n_free) if n_mapped else None
        self.weigh = nn.Linear(width, 1, bias=False) if n_mapped and n_free else None
        if self.weigh is not None:
            nn.init.zeros_(self.weigh.weight)

    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Append the 1 that the item's bias is multiplied by."""
        return torch.cat([free[0], torch.ones_like(free[0][:, :1])], dim=1)

    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Put free factors, mapped content and bias side by side."""
        bias = free[1] if free else content.new_zeros(len(content), 1)
        if self.weigh is not None:
            bias = bias + self.weigh(content)
        mapped = [] if self.map is None else [self.map(content)]
        return torch.cat([*free[:1], *mapped, bias], dim=1)

    def map_size(self) -> Float[Tensor, ""]:
        """Measure the maps of the content: the sum of their squares."""
        maps = [layer.weight for layer in (self.map, self.weigh) if layer is not None]
        return sum((weight.square().sum() for weight in maps), start=self.content.new_zeros(()))


def drawn(n: int, n_columns: int, spread: float) -> Float[Tensor, "n n_columns"]:
    """Draw a table from a normal distribution, by torch's global generator.

    Parameters
    ----------
    n : int
        Rows.
    n_columns : int
        Columns.
    spread : float
        Standard deviation.

    Returns
    -------
    Tensor of shape (n, n_columns)
        The table.
    """
    return spread * torch.randn(n, n_columns)


def pairwise_loss(scores: Float[Tensor, "B N"]) -> Float[Tensor, ""]:
    """Compare a positive with its negatives, as `bpr_loss` does.

    Parameters
    ----------
    scores : Tensor of shape (B, N)
        Of a positive, first, and its N - 1 negatives.

    Returns
    -------
    Tensor of shape ()
        The mean of ``-log sigmoid(positive - negative)``.
    """
    row = torch.arange(len(scores), device=scores.device)
    return bpr_loss(scores[:, 0], scores[:, 1:], torch.ones_like(scores[:, 1:], dtype=torch.bool), row)


def pointwise_loss(scores: Float[Tensor, "B N"]) -> Float[Tensor, ""]:
    """Tell a positive from its negatives, each on its own: binary cross-entropy.

    Parameters
    ----------
    scores : Tensor of shape (B, N)
        Of a positive, first, and its N - 1 negatives.

    Returns
    -------
    Tensor of shape ()
        The mean over all B N examples.
    """
    truth = torch.zeros_like(scores)
    truth[:, 0] = 1
    return binary_cross_entropy_with_logits(scores, truth)
