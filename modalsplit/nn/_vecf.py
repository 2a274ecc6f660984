"""VECF: the regions of a picture that a user looks at, and what the user writes about them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, relu

from modalsplit.nn._pairs import PairScorer, drawn

Merge = Literal["product", "add", "concat"]
Head = Literal["product", "layers"]
N_SIGMOID_LAYERS = 4


class RegionAttention(PairScorer):
    """Score an item by its embedding and by the regions of its picture, as the user attends to them.

    A user's attention to region k is the softmax of ``<w, relu((A p) * (B r_k))>`` over the regions. As
    relu(a b) is relu(a) relu(b) + relu(-a) relu(-b), this is an inner product of a vector of the user and one
    of the region.

    Parameters
    ----------
    n_users : int
        Number of users.
    content : Tensor of shape (n_items, n_regions * n_channels)
        Features of the regions, side by side.
    n_regions : int
        Regions of a picture.
    n_components : int
        Columns of an embedding.
    n_attention : int
        Columns in which users and regions are compared.
    merge : {"product", "add", "concat"}
        How the picture joins the item's embedding: ``q * C image``, ``(q + C image) / 2``, or both side by side.
    head : {"product", "layers"}
        The inner product with the user, or the public code's sigmoid layers.
    hidden_units : int
        Of each sigmoid layer.
    spread : float
        Standard deviation of the initial embeddings.

    References
    ----------
    X. Chen et al., "Personalized fashion recommendation with visual explanations based on multimodal attention
    network: towards visually explainable recommendation", SIGIR 2019.
    """

    def __init__(
        self,
        n_users: int,
        content: Float[Tensor, "I F"],
        n_regions: int,
        n_components: int,
        n_attention: int,
        merge: Merge,
        head: Head,
        hidden_units: int,
        spread: float,
    ) -> None:
        n_merged = 2 * n_components if merge == "concat" else n_components
        n_user = n_merged if head == "product" else n_components
        # The bias stands beside the embedding; the paper has none, its sigmoid layers can make one.
        super().__init__(
            [drawn(n_users, n_user, spread)],
            [drawn(len(content), n_components, spread), torch.zeros(len(content), 1)],
            content,
        )
        n_channels = content.shape[1] // n_regions
        self.n_regions, self.n_channels = n_regions, n_channels
        self.n_user, self.n_components = n_user, n_components
        self.n_attention, self.merge = n_attention, merge
        self.numbers_a_pair = 2 * n_regions + 2 * n_merged + (2 * hidden_units if head == "layers" else 0)
        self.attend_user = nn.Linear(n_user, n_attention, bias=False)
        self.attend_region = nn.Linear(n_channels, n_attention, bias=False)
        self.attend = nn.Parameter(drawn(1, n_attention, 1.0)[0])
        self.picture = nn.Linear(n_channels, n_components, bias=False)
        self.first = nn.Linear(n_user + n_merged, hidden_units) if head == "layers" else None
        layers: list[nn.Module] = [nn.Sigmoid()]
        for _ in range(N_SIGMOID_LAYERS):
            layers += [nn.Linear(hidden_units, hidden_units), nn.Sigmoid()]
        self.rest = nn.Sequential(*layers, nn.Linear(hidden_units, 1)) if head == "layers" else None

    def encode_users(self, free: list[Tensor]) -> Float[Tensor, "B U"]:
        """Put the embedding and what the user attends to side by side."""
        wanted = self.attend_user(free[0])
        return torch.cat([free[0], self.attend * relu(wanted), self.attend * relu(-wanted)], dim=1)

    def encode_items(self, free: list[Tensor], content: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Put the embedding, the bias, and what each region is compared by and consists of side by side."""
        regions = content.reshape(len(content), self.n_regions, self.n_channels)
        shown = self.attend_region(regions)
        compared = torch.cat([relu(shown), relu(-shown)], dim=2)
        return torch.cat([*free, compared.flatten(1), self.picture(regions).flatten(1)], dim=1)

    def attention(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N K"]:
        """Say how much attention each region gets: 0 to 1, and 1 in total."""
        return self._attention(users, self._split(items)[2])

    def pictures(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N D"]:
        """Sum the regions, mapped, by the attention that they get."""
        _, _, compared, seen = self._split(items)
        return self._pictures(self._attention(users, compared), seen)

    def score(self, users: Float[Tensor, "B U"], items: Float[Tensor, "C N V"]) -> Float[Tensor, "B N"]:
        """Score items for users."""
        taste = users[:, None, : self.n_user]
        own, bias, compared, seen = self._split(items)
        picture = self._pictures(self._attention(users, compared), seen)
        if self.merge == "product":
            merged = own * picture
        elif self.merge == "add":
            merged = (own + picture) / 2
        else:
            merged = torch.cat([own.expand_as(picture), picture], dim=2)
        if self.first is None or self.rest is None:
            return (taste * merged).sum(dim=2) + bias[..., 0]
        pairs = torch.cat([taste.expand(-1, merged.shape[1], -1), merged], dim=2)
        out: Tensor = self.rest(self.first(pairs))[..., 0]
        return out + bias[..., 0]

    def _split(self, items: Float[Tensor, "C N V"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cut vectors into embedding, bias, and what each region is compared by and consists of.

        The last two have no first dimension where all users have the same items.
        """
        widths = [self.n_components, 1, self.n_regions * 2 * self.n_attention, self.n_regions * self.n_components]
        own, bias, compared, seen = torch.split(items, widths, dim=2)
        compared = compared.reshape(*compared.shape[:2], self.n_regions, 2 * self.n_attention)
        seen = seen.reshape(*seen.shape[:2], self.n_regions, self.n_components)
        return (own, bias, compared[0], seen[0]) if len(items) == 1 else (own, bias, compared, seen)

    def _attention(self, users: Float[Tensor, "B U"], compared: Float[Tensor, "*own N K H"]) -> Float[Tensor, "B N K"]:
        own = "b" if compared.ndim == 4 else ""
        return torch.einsum(f"bh,{own}nkh->bnk", users[:, self.n_user :], compared).softmax(dim=2)

    def _pictures(self, attention: Float[Tensor, "B N K"], seen: Float[Tensor, "*own N K D"]) -> Float[Tensor, "B N D"]:
        own = "b" if seen.ndim == 4 else ""
        return torch.einsum(f"bnk,{own}nkd->bnd", attention, seen)


class ReviewWriter(nn.Module):
    """Predict the words of a user's review of an item, each from those before, from the pair and from its picture.

    Parameters
    ----------
    n_words : int
        Words, with 0 for "no word here".
    n_user : int
        Columns of a user's embedding.
    n_components : int
        Columns of an item's embedding and of a picture.
    n_context : int
        Columns of the context.
    n_hidden : int
        Columns of the LSTM's state.
    n_embedding : int
        Columns of a word.

    References
    ----------
    X. Chen et al., SIGIR 2019: the gate between the picture and the pair, and the start from both embeddings.
    """

    def __init__(
        self, n_words: int, n_user: int, n_components: int, n_context: int, n_hidden: int, n_embedding: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words, n_embedding)
        self.start = nn.Linear(n_user + n_components, 2 * n_hidden, bias=False)
        self.gate = nn.Linear(n_hidden, 1, bias=False)
        self.of_picture = nn.Linear(n_components, n_context)
        self.of_pair = nn.Linear(n_user + n_components, n_context, bias=False)
        self.cell = nn.LSTMCell(n_embedding + n_context, n_hidden)
        self.out = nn.Linear(n_hidden, n_words)

    def forward(
        self, pair: Float[Tensor, "B E"], picture: Float[Tensor, "B D"], words: Int[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        """Compute the loss of B reviews.

        Parameters
        ----------
        pair : Tensor of shape (B, E)
            Embeddings of user and item, side by side.
        picture : Tensor of shape (B, D)
            What the user sees of the item.
        words : Tensor of int of shape (B, T)
            The words, then zeros.

        Returns
        -------
        Tensor of shape ()
            Mean over the reviews of the sum over their words of ``-log p(word)``.
        """
        h, c = self.start(pair).tanh().chunk(2, dim=1)
        seen, known = self.of_picture(picture), self.of_pair(pair)
        before = torch.zeros_like(words[:, 0])
        logits = []
        for word in words.unbind(dim=1):
            gate = self.gate(h).sigmoid()
            context = relu(gate * seen + (1 - gate) * known)
            h, c = self.cell(torch.cat([self.words(before), context], dim=1), (h, c))
            logits.append(self.out(h))
            before = word
        predicted = torch.stack(logits, dim=1).flatten(0, 1)
        return cross_entropy(predicted, words.flatten(), ignore_index=0, reduction="sum") / len(words)


def review_loss(
    ranker: RegionAttention,
    writer: ReviewWriter,
    users: Int[Tensor, " B"],
    items: Int[Tensor, " B"],
    words: Int[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Let reviews teach where users look.

    Parameters
    ----------
    ranker : RegionAttention
        What scores, and attends.
    writer : ReviewWriter
        What predicts reviews.
    users : Tensor of int of shape (B,)
        Who wrote each review.
    items : Tensor of int of shape (B,)
        Of what.
    words : Tensor of int of shape (B, T)
        The words, then zeros.

    Returns
    -------
    Tensor of shape ()
        See `ReviewWriter`.
    """
    of_users, of_items = ranker.vectors(users, items)
    picture = ranker.pictures(of_users, of_items[:, None])[:, 0]
    pair = [embedding(users, ranker.user_tables[0]), embedding(items, ranker.item_tables[0])]
    loss: Tensor = writer(torch.cat(pair, dim=1), picture, words)
    return loss
