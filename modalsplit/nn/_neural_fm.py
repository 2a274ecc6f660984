"""The neural factorization machine: pooled products of fields, and a network on top."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modalsplit.nn._pairs import ContentFields, PairScorer, drawn


class NeuralFM(PairScorer):
    """``w_u + w_i + <w, f> + h MLP(pool)``, where `pool` sums the products of all pairs of fields.

    The fields are the user, the item, and each block of the content, mapped linearly. With s the sum of the
    item's fields and p the sum of their products, the pool of a pair is ``v_u * s + p``: what does not depend
    on the user is computed once an item.

    Parameters
    ----------
    n_users : int
        Number of users.
    content : Tensor of shape (n_items, n_features)
        What the items are like.
    widths : sequence of int
        Columns of each field of the content.
    n_components : int
        Columns that a field is embedded in.
    hidden_units : sequence of int
        Of each hidden layer.
    dropout : tuple of two float
        Shares of the pool and of each hidden layer that are dropped in training.
    spread : float
        Standard deviation of the initial embeddings.

    References
    ----------
    X. He, T.-S. Chua, "Neural factorization machines for sparse predictive analytics", SIGIR 2017, Eq. 3, 4 and 9.
    """

    def __init__(
        self,
        n_users: int,
        content: Float[Tensor, "I F"],
        widths: Sequence[int],
        n_components: int,
        hidden_units: Sequence[int],
        dropout: tuple[float, float],
        spread: float,
    ) -> None:
        tables = [[drawn(n, n_components, spread), torch.zeros(n, 1)] for n in (n_users, len(content))]
        super().__init__(tables[0], tables[1], content)
        self.numbers_a_pair = 2 * max(n_components, *hidden_units, 1)
        self.fields = ContentFields(widths, n_components)
        self.weigh = nn.Linear(content.shape[1], 1)
        nn.init.zeros_(self.weigh.weight)
        layers: list[nn.Module] = [nn.BatchNorm1d(n_components), nn.Dropout(dropout[0])]
        n_in = n_components
        for n_out in hidden_units:
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Dropout(dropout[1])]
            n_in = n_out
        self.network = nn.Sequential(*layers, nn.Linear(n_in, 1, bias=False))

    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Put the embedding and the weight side by side."""
        return torch.cat(free, dim=1)

    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Put the sum of the fields, the sum of their products and the linear part side by side."""
        fields = torch.cat([free[0][:, None], self.fields(content)], dim=1)
        total = fields.sum(dim=1)
        products = (total.square() - fields.square().sum(dim=1)) / 2
        return torch.cat([total, products, free[1] + self.weigh(content)], dim=1)

    def score(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N"]:
        """Score items for users."""
        width = users.shape[1] - 1
        total, products, linear = torch.split(items, [width, width, 1], dim=2)
        pool = users[:, None, :width] * total + products
        out: Tensor = self.network(pool.flatten(0, 1)).view(pool.shape[:2])
        return out + linear[..., 0] + users[:, width:]
