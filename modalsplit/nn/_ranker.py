"""The parameters of AttentiveBPR and what they make of items and users."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding as read

from modalsplit.nn._attention import Attention, Items, move_common, with_parts_fused, without_parts
from modalsplit.nn._fused import attend_and_fuse


class AttentiveRanker(nn.Module):
    """Embeddings of items and users, and maps for the parts of items.

    Tables are read with sparse gradients: a step costs by what the batch holds, not by the catalogue.

    Parameters
    ----------
    parts : Tensor of shape (I, M, P)
        M parts of each of I items; zeros where missing.
    present : Tensor of bool of shape (I, M)
        Which parts there are.
    scale : Tensor of shape (M,)
        Factor that brings each part to the size of the embeddings.
    pairs : sequence of tuple of int
        Positions of the common and specific parts whose extractors are fine-tuned; empty for none.
    embedding : Tensor of shape (I, D)
        Initial free embeddings of the items.
    users : Tensor of shape (U, D) or (I, D)
        Initial user embeddings, or with ``history=True`` those that items lend to the users who took them.
    bias : Tensor of shape (I,) or None
        Initial biases of the items; None for a model without.
    history : bool
        Whether a user is the sum of what the user took.
    projection : Tensor of shape (P, D) or None
        What each part is mapped by at first, before it is attended to and before it is lent to users; None for parts as
        they are.
    """

    def __init__(
        self,
        parts: Float[Tensor, "I M P"],
        present: Bool[Tensor, "I M"],
        scale: Float[Tensor, " M"],
        pairs: Sequence[tuple[int, int]],
        embedding: Float[Tensor, "I D"],
        users: Float[Tensor, "U D"],
        bias: Float[Tensor, " I"] | None,
        *,
        history: bool,
        projection: Float[Tensor, "P D"] | None,
    ) -> None:
        super().__init__()
        self.parts: Tensor
        self.present: Tensor
        self.scale: Tensor
        for name, value in (("parts", parts), ("present", present), ("scale", scale)):
            self.register_buffer(name, value)
        n_parts, width = parts.shape[1:]
        maps = None if projection is None or not n_parts else projection.repeat(n_parts, 1, 1)
        self.pairs = list(pairs)
        self.history = history
        self.embedding = nn.Parameter(embedding)
        self.users = nn.Parameter(users)
        self.bias = None if bias is None else nn.Parameter(bias[:, None])
        self.maps = None if maps is None else nn.Parameter(maps)
        self.history_maps = nn.Parameter(maps.clone()) if history and maps is not None else None
        self.delta = nn.Parameter(parts.new_zeros(len(pairs), width, width)) if pairs else None

    def items(self, rows: Int[Tensor, " N"]) -> Items:
        """Read items.

        Parameters
        ----------
        rows : Tensor of int of shape (N,)
            Distinct items.

        Returns
        -------
        Items
            Of the N items.
        """
        embedding = read(rows, self.embedding, sparse=True)
        return Items(embedding, self.projected(self.parts[rows]), self.present[rows], self._bias(rows))

    def fused(self, rows: Int[Tensor, " N"], attention: Attention) -> Items:
        """Read items with their parts fused, where these do not depend on the user.

        Parameters
        ----------
        rows : Tensor of int of shape (N,)
            Distinct items.
        attention : {"item", "user", "mean"}
            With ``"user"`` items are returned as `items` does.

        Returns
        -------
        Items
            Of the N items, as of `with_parts_fused`.
        """
        if attention != "item" or self.maps is not None or not self.parts.shape[1]:
            return with_parts_fused(self.items(rows), attention)
        embedding = read(rows, self.embedding, sparse=True)
        vectors = attend_and_fuse(embedding, self.parts, self.present, rows, self.scale, self.delta, self.pairs)
        return without_parts(vectors, self._bias(rows))

    def _bias(self, rows: Tensor) -> Tensor:
        if self.bias is None:
            return self.embedding.new_zeros(len(rows))
        return read(rows, self.bias, sparse=True)[:, 0]

    def scaled(self, parts: Float[Tensor, "N M P"]) -> Float[Tensor, "N M P"]:
        """Bring parts to the size of the embeddings.

        Parameters
        ----------
        parts : Tensor of shape (N, M, P)
            Parts of N items; zeros where missing.

        Returns
        -------
        Tensor of shape (N, M, P)
            Fine-tuned and scaled.
        """
        if self.delta is not None:
            parts = move_common(parts, self.delta, self.pairs)
        return parts * self.scale[:, None]

    def projected(self, parts: Float[Tensor, "N M P"]) -> Float[Tensor, "N M D"]:
        """Bring parts into the space of the embeddings.

        Parameters
        ----------
        parts : Tensor of shape (N, M, P)
            Parts of N items; zeros where missing.

        Returns
        -------
        Tensor of shape (N, M, D)
            Fine-tuned, scaled and mapped.
        """
        if not parts.shape[1]:
            return parts.new_zeros(len(parts), 0, self.embedding.shape[1])
        parts = self.scaled(parts)
        return parts if self.maps is None else torch.einsum("nmp,mpd->nmd", parts, self.maps)

    def lent(self, rows: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Say what items lend to the users who take them.

        Parameters
        ----------
        rows : Tensor of int of shape (N,)
            Distinct items.

        Returns
        -------
        Tensor of shape (N, D)
            An embedding of their own, and with projection the mean of their mapped parts.
        """
        own = read(rows, self.users, sparse=True)
        if self.history_maps is None:
            return own
        parts = self.scaled(self.parts[rows])
        return own + torch.einsum("nmp,mpd->nd", parts, self.history_maps) / parts.shape[1]

    def tables(self) -> list[nn.Parameter]:
        """List the parameters that are read with sparse gradients.

        Returns
        -------
        list of Parameter
            Embeddings and biases.
        """
        return [table for table in (self.embedding, self.users, self.bias) if table is not None]

    def projections(self) -> list[nn.Parameter]:
        """List the maps of parts.

        Returns
        -------
        list of Parameter
            Those that the model has.
        """
        return [maps for maps in (self.maps, self.history_maps) if maps is not None]
