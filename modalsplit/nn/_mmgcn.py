"""MMGCN: what users like in each modality, carried along the graph of who took what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, leaky_relu, normalize

from modalsplit.nn._pairs import PairScorer, drawn


class Graph(NamedTuple):
    """The neighbours of each node: users first, then items."""

    neighbours: Tensor  # (2 n_interactions,), nodes
    start: Tensor  # (n_nodes,), where each node's neighbours begin

    def mean(self, x: Float[Tensor, "V D"]) -> Float[Tensor, "V D"]:
        """Average over the neighbours of each node; 0 for a node without."""
        return embedding_bag(self.neighbours, x, self.start, mode="mean")


def bipartite_graph(users: Int[Tensor, " P"], items: Int[Tensor, " P"], n_users: int, n_items: int) -> Graph:
    """Make the graph of who took what.

    Parameters
    ----------
    users : Tensor of int of shape (P,)
        The user of each interaction.
    items : Tensor of int of shape (P,)
        The item of each.
    n_users : int
        Number of users.
    n_items : int
        Number of items.

    Returns
    -------
    Graph
        Of n_users + n_items nodes.
    """
    owner = torch.cat([users, items + n_users])
    neighbours = torch.cat([items + n_users, users])[torch.argsort(owner, stable=True)]
    counts = torch.bincount(owner, minlength=n_users + n_items)
    return Graph(neighbours, counts.cumsum(0) - counts)


class GraphLayer(nn.Module):
    """One step along the graph, in one modality.

    Parameters
    ----------
    n_in : int
        Columns of a node.
    n_out : int
        Columns of a node afterwards: those of its identity.
    concatenate : bool
        Whether what comes from the neighbours and what the node is are concatenated before the last map, as in
        the released code; otherwise the first is mapped and the second is added.

    References
    ----------
    Wei et al., MM 2019, Eq. 1 to 6.
    """

    def __init__(self, n_in: int, n_out: int, concatenate: bool) -> None:
        super().__init__()
        self.concatenate = concatenate
        self.of_neighbours = nn.Linear(n_in, n_in, bias=False)
        self.of_self = nn.Linear(n_in, n_out)
        self.combine = nn.Linear(n_in + n_out if concatenate else n_in, n_out)

    def forward(
        self, x: Float[Tensor, "V P"], identity: Float[Tensor, "V D"], graph: Graph | None
    ) -> Float[Tensor, "V D"]:
        """Move V nodes; without a graph they have no neighbours."""
        message = torch.zeros_like(x) if graph is None else leaky_relu(graph.mean(self.of_neighbours(x)))
        own = leaky_relu(self.of_self(x)) + identity
        if self.concatenate:
            return leaky_relu(self.combine(torch.cat([message, own], dim=1)))
        return leaky_relu(self.combine(message) + own)


class ModalityGCN(nn.Module):
    """What one modality says of each node.

    Parameters
    ----------
    n_features : int
        Columns of the modality.
    width : int
        Columns to which wider features are reduced, linearly.
    n_components : int
        Columns of an identity.
    n_layers : int
        Steps along the graph.
    concatenate : bool
        See `GraphLayer`.
    """

    def __init__(self, n_features: int, width: int, n_components: int, n_layers: int, concatenate: bool) -> None:
        super().__init__()
        self.reduce = nn.Linear(n_features, width) if n_features > width else nn.Identity()
        widths = [min(n_features, width), *[n_components] * n_layers]
        self.layers = nn.ModuleList(GraphLayer(n_in, n_out, concatenate) for n_in, n_out in pairwise(widths))

    def forward(
        self,
        preference: Float[Tensor, "U P"],
        content: Float[Tensor, "I F"],
        identity: Float[Tensor, "V D"],
        graph: Graph | None,
    ) -> Float[Tensor, "V D"]:
        """Move U users, who start from a preference, and I items, which start from their content."""
        x = normalize(torch.cat([preference, self.reduce(content)]))
        for layer in self.layers:
            x = layer(x, identity, graph)
        return x


class MultiModalGCN(PairScorer):
    """Inner products of nodes, each the mean over modalities of what the graph makes of it.

    Parameters
    ----------
    content : Tensor of shape (n_items, n_features)
        What the items are like.
    widths : sequence of int
        Columns of each modality.
    graph : Graph
        Training interactions only.
    n_components : int
        Columns of an identity and of a node's vector.
    width : int
        Columns to which wider modalities are reduced.
    n_layers : int
        Steps along the graph.
    concatenate : bool
        See `GraphLayer`.
    train_tables : bool
        False leaves identities and preferences as they were drawn, as the released code does by a slip.

    References
    ----------
    Wei et al., "MMGCN: multi-modal graph convolution network for personalized recommendation of micro-video",
    MM 2019.
    """

    def __init__(
        self,
        content: Float[Tensor, "I F"],
        widths: Sequence[int],
        graph: Graph,
        n_components: int,
        width: int,
        n_layers: int,
        concatenate: bool,
        train_tables: bool,
    ) -> None:
        n_users = len(graph.start) - len(content)
        spread = n_components**-0.5
        preferences = [drawn(n_users, min(width, own), spread) for own in widths]
        super().__init__(
            [drawn(n_users, n_components, spread), *preferences], [drawn(len(content), n_components, spread)], content
        )
        for table in (*self.user_tables, *self.item_tables):
            table.requires_grad_(train_tables)
        self.widths = list(widths)
        self.graph: Graph | None = graph
        self.modalities = nn.ModuleList(ModalityGCN(own, width, n_components, n_layers, concatenate) for own in widths)

    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Make vectors of users without neighbours."""
        return self._nodes(free, [], self.content[:0], None)

    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Make vectors of items without neighbours: what `cold` needs."""
        none = [table[:0] for table in self.user_tables]
        return self._nodes(none, free, content, None)

    def vectors(
        self, users: Int[Tensor, " B"], items: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "B U"], Float[Tensor, "N V"]]:
        """Make vectors of users and items, from the whole graph."""
        nodes = self._nodes(list(self.user_tables), list(self.item_tables), self.content, self.graph)
        return nodes[users], nodes[items + len(self.user_tables[0])]

    def release(self) -> None:
        """Let go of the content and of the graph."""
        super().release()
        self.graph = None

    def _nodes(
        self, of_users: list[Tensor], of_items: list[Tensor], content: Float[Tensor, "I F"], graph: Graph | None
    ) -> Float[Tensor, "V D"]:
        identity = torch.cat([of_users[0], *of_items])
        parts = torch.split(content, self.widths, dim=1)
        nodes = [
            modality(preference, part, identity, graph)
            for modality, preference, part in zip(self.modalities, of_users[1:], parts, strict=True)
        ]
        return torch.stack(nodes).mean(dim=0)
