"""Neural matrix factorization: a product and a network, side by side."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from modalsplit.nn._pairs import ContentFields, PairScorer, drawn


class NeuMF(PairScorer):
    """``h [p * q ; MLP([p' ; q' ; W f])]``: the branches have tables of their own.

    The first layer is linear in the user and in the item, so that each one's share of it is computed once.

    Parameters
    ----------
    n_users : int
        Number of users.
    content : Tensor of shape (n_items, n_features)
        What the items are like.
    widths : sequence of int
        Columns of each field of the content.
    n_components : int
        Columns of an embedding.
    hidden_units : sequence of int
        Of each hidden layer, one at least.
    both : bool
        Whether the product sees the content too: q is ``q + W' f``.
    spread : float
        Standard deviation of the initial embeddings.

    References
    ----------
    X. He et al., "Neural collaborative filtering", WWW 2017, Eq. 12.
    """

    def __init__(
        self,
        n_users: int,
        content: Float[Tensor, "I F"],
        widths: Sequence[int],
        n_components: int,
        hidden_units: Sequence[int],
        both: bool,
        spread: float,
    ) -> None:
        tables = [[drawn(n, n_components, spread) for _ in range(2)] for n in (n_users, len(content))]
        super().__init__(tables[0], tables[1], content)
        self.n_components = n_components
        self.numbers_a_pair = n_components + 2 * max(hidden_units)
        self.product_fields = ContentFields(widths, n_components) if both else None
        self.fields = ContentFields(widths, n_components)
        self.of_user = nn.Linear(n_components, hidden_units[0])
        self.of_item = nn.Linear(n_components * (1 + len(widths)), hidden_units[0], bias=False)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(hidden_units):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        self.out = nn.Linear(n_components + hidden_units[-1], 1)

    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Put the factor of the product and the share of the first layer side by side."""
        return torch.cat([free[0], self.of_user(free[1])], dim=1)

    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Put the factor of the product and the share of the first layer side by side."""
        factor = free[0]
        if self.product_fields is not None:
            factor = factor + self.product_fields(content).sum(dim=1)
        concatenated = torch.cat([free[1], self.fields(content).flatten(1)], dim=1)
        return torch.cat([factor, self.of_item(concatenated)], dim=1)

    def score(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N"]:
        """Score items for users."""
        D = self.n_components
        product = users[:, None, :D] * items[..., :D]
        deep = self.tower(relu(users[:, None, D:] + items[..., D:]))
        out: Tensor = self.out(torch.cat([product, deep], dim=2))[..., 0]
        return out
