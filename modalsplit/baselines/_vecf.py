"""VECF: the regions of a picture that a user looks at, taught by what the user wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from modalsplit._sklearn import StrOptions, with_callbacks
from modalsplit.baselines._gradient import POSITIVE, WEIGHT, GradientRecommender, Loss
from modalsplit.nn import PairScorer, RegionAttention, ReviewWriter, review_loss
from modalsplit.recommend._inputs import positions
from modalsplit.recommend._negatives import TakenItems

N_CONTEXT, N_HIDDEN, N_EMBEDDING = 50, 100, 64  # of the writer, as in the public code


class VECF(GradientRecommender):
    """Visually explainable collaborative filtering: an item is its embedding and the regions a user looks at.

    X holds the features of the regions of each item's picture side by side, such as the 7 x 7 x 512 of a
    convolutional layer, flattened region by region. Reviews, if there are any, teach where users look.

    Parameters
    ----------
    n_components : int, default=32
        Dimensions of an embedding.
    n_regions : int, default=1
        Regions of a picture, which divide the columns of X. Attention has nothing to choose from with 1.
    n_attention : int, default=16
        Dimensions in which users and regions are compared.
    merge : {"product", "add", "concat"}, default="add"
        How what the user sees joins the item's embedding: their product (the paper), their mean, or side by side.
    head : {"product", "layers"}, default="product"
        What scores: the inner product with the user, or the public code's five sigmoid layers.
    loss : {"logistic", "bpr"}, default="logistic"
        Whether positives and negatives are told apart each on its own, or compared.
    review_weight : float, default=0.01
        Weight of the loss of the reviews that `fit` is given.
    n_words : int, default=5000
        Words to predict at most: the most frequent ones.
    max_words : int, default=30
        Where reviews are cut.
    n_negatives : int, default=1
        Items that a positive is compared with, drawn anew each time among those that the user did not take in
        training.
    learning_rate : float, default=2e-3
        Of Adam.
    decay : bool, default=True
        Whether the learning rate falls to zero, linearly over `max_epochs`.
    l2 : float, default=0.01
        Weight of the squared norms of the free parameters that a comparison reads.
    max_epochs : int, default=20
        Passes over the interactions.
    batch_size : int, optional
        Interactions a step. By default so many that an epoch has 40 steps, but at most 1024.
    random_state : int, RandomState instance or None, default=None
        Pass an int for repeatable results. The global generators are left as they were.
    device : str or "auto", default="auto"
        Where to train, as `torch.device` takes it; ``"auto"`` takes a CUDA device if there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted model.
    writer_ : torch.nn.Module or None
        What predicts reviews; None if there were none.
    vocabulary_ : list of str
        Its words; empty without reviews.
    user_vectors_, item_vectors_ : ndarray of shape (n_users, n) and (n_items, n_)
        What the module scores from.
    trained_ : ndarray of int of shape (n_trained,)
        Positions of the items that were trained on: those with interactions.
    history_ : list of dict of str to float
        The loss of each epoch.
    n_iter_ : int
        Epochs.
    interactions_, item_ids_, user_ids_, n_items_, n_users_, n_features_in_
        As for `Recommender`.

    Notes
    -----
    The public code draws negatives once, some of them from test items, switches biases off, and chooses the epoch
    on test data; nothing of this is kept. Items have a bias. On sparse made data (8 interactions a user) the
    product learned hardly more than the bias, the mean more, which is why it is the default. Words have embeddings of their own, not pre-trained
    ones. Memory: a picture costs ``n_regions * (2 * n_attention + n_components)`` numbers after training.

    Stability: experimental.

    References
    ----------
    X. Chen et al., "Personalized fashion recommendation with visual explanations based on multimodal attention
    network: towards visually explainable recommendation", SIGIR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import VECF
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> regions = np.kron(np.eye(2), np.ones((4, 3)))  # of each item: two regions, three channels
    >>> model = VECF(8, n_regions=2, learning_rate=0.02, random_state=0).fit(regions, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    _packed = ("module_", "writer_")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRecommender._parameter_constraints,
        "n_regions": [POSITIVE],
        "n_attention": [POSITIVE],
        "merge": [StrOptions({"product", "add", "concat"})],
        "head": [StrOptions({"product", "layers"})],
        "loss": [StrOptions({"logistic", "bpr"})],
        "review_weight": [WEIGHT],
        "n_words": [POSITIVE],
        "max_words": [POSITIVE],
    }

    def __init__(
        self,
        n_components: int = 32,
        *,
        n_regions: int = 1,
        n_attention: int = 16,
        merge: Literal["product", "add", "concat"] = "add",
        head: Literal["product", "layers"] = "product",
        loss: Loss = "logistic",
        review_weight: float = 0.01,
        n_words: int = 5000,
        max_words: int = 30,
        n_negatives: int = 1,
        learning_rate: float = 2e-3,
        decay: bool = True,
        l2: float = 0.01,
        max_epochs: int = 20,
        batch_size: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_regions = n_regions
        self.n_attention = n_attention
        self.merge = merge
        self.head = head
        self.loss = loss
        self.review_weight = review_weight
        self.n_words = n_words
        self.max_words = max_words
        super().__init__(
            n_components,
            n_negatives=n_negatives,
            learning_rate=learning_rate,
            decay=decay,
            l2=l2,
            max_epochs=max_epochs,
            batch_size=batch_size,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )

    @with_callbacks  # type: ignore[untyped-decorator, unused-ignore]
    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None, reviews: pd.DataFrame | None = None) -> Self:
        """Learn from who took what, and from what they wrote.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_items, n_regions * n_channels)
            One row an item: the features of its picture's regions, side by side. Any NaN means that the item has
            no picture.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.
        reviews : DataFrame with columns "user", "item" and "text", optional
            What users wrote of items, by the ids of users and items. Reviews of pairs that are not in `y` are not
            read: they may belong to test data. Of several reviews of a pair the last row is read; rows without text are
            left out.

        Returns
        -------
        self
            The fitted recommender.

        Raises
        ------
        ValueError
            If X and y do not fit together, there are no interactions, `n_regions` does not divide the columns of
            X, `reviews` lacks a column, or none of them belongs to an interaction.
        FloatingPointError
            If the loss is no longer finite: lower `learning_rate`.
        """
        self._reviews = reviews
        self.writer_: ReviewWriter | None = None
        self.vocabulary_: list[str] = []
        try:
            self._fit(X, y, item_ids)
        finally:
            del self._reviews
        if self.writer_ is not None:
            self.writer_ = self.writer_.cpu().eval()
            del self._words
        return self

    def attention(self, user: Any, item: Any) -> NDArray[np.float32]:
        """Say how much attention a user pays to each region of an item's picture.

        Parameters
        ----------
        user : scalar
            Id of a fitted user.
        item : scalar
            Id of a fitted item.

        Returns
        -------
        ndarray of shape (n_regions,)
            Weights, 0 to 1; they sum to 1.

        Raises
        ------
        ValueError
            If the user or the item is unknown.
        """
        u, i = positions(user, self.user_ids_, "user"), positions(item, self.item_ids_, "item")
        with torch.inference_mode():
            users, items = torch.as_tensor(self.user_vectors_[u]), torch.as_tensor(self.item_vectors_[i])
            weights: NDArray[np.float32] = self._ranker.attention(users, items[None])[0, 0].numpy()
        return weights

    @property
    def _ranker(self) -> RegionAttention:
        assert isinstance(self.module_, RegionAttention)
        return self.module_

    def _make_module(self, content: Tensor, widths: Any, taken: TakenItems) -> PairScorer:
        if content.shape[1] % self.n_regions:
            raise ValueError(
                f"X has {content.shape[1]} columns, which n_regions={self.n_regions} does not divide: give the same "
                "number of channels for each region, side by side."
            )
        ranker = RegionAttention(
            self.n_users_,
            content,
            self.n_regions,
            self.n_components,
            self.n_attention,
            self.merge,
            self.head,
            hidden_units=N_HIDDEN,
            spread=0.1,
        )
        if self._reviews is not None:
            self._words = self._read_reviews(self._reviews, taken)
            n_words = len(self.vocabulary_) + 1
            self.writer_ = ReviewWriter(n_words, ranker.n_user, self.n_components, N_CONTEXT, N_HIDDEN, N_EMBEDDING).to(
                taken.items.device
            )
        return ranker

    def _extra_loss(self, samples: Tensor, taken: TakenItems) -> Tensor | None:
        if self.writer_ is None:
            return None
        words = self._words[samples]
        written = samples[words[:, 0] > 0]
        if not len(written):
            return None
        users, items = taken.users[written], taken.items[written].long()
        share = len(written) / len(samples)
        loss = review_loss(self._ranker, self.writer_, users, items, self._words[written])
        return self.review_weight * share * loss

    def _parameters(self) -> list[torch.nn.Parameter]:
        own = super()._parameters()
        return own if self.writer_ is None else [*own, *self.writer_.parameters()]

    def _read_reviews(self, reviews: pd.DataFrame, taken: TakenItems) -> Tensor:
        """Read the words of each interaction: (n_interactions, max_words), 0 where there is none."""
        missing = {"user", "item", "text"} - set(reviews.columns)
        if missing:
            raise ValueError(f"reviews lacks the columns {sorted(missing)}; it has {list(reviews.columns)}.")
        written = reviews.dropna(subset=["text"]).drop_duplicates(["user", "item"], keep="last")
        users = pd.Index(self.user_ids_).get_indexer(written["user"])
        items = pd.Index(self.item_ids_[self.trained_]).get_indexer(written["item"])
        pairs = pd.MultiIndex.from_arrays([taken.users.cpu().numpy(), taken.items.cpu().numpy()])
        place = pairs.get_indexer(pd.MultiIndex.from_arrays([users, items]))
        texts = [_words(text) for text in written["text"][place >= 0]]
        counts = Counter(word for text in texts for word in text)
        self.vocabulary_ = [word for word, _ in counts.most_common(self.n_words)]
        if not self.vocabulary_:
            raise ValueError(
                f"None of the {len(reviews)} reviews has a word and belongs to an interaction in y: users and items "
                f"must be ids like {self.user_ids_[:1].tolist()} and {self.item_ids_[:1].tolist()}."
            )
        number = {word: row for row, word in enumerate(self.vocabulary_, start=1)}
        words = torch.zeros(len(taken.items), self.max_words, dtype=torch.int64)
        for row, text in zip(place[place >= 0], texts, strict=True):
            known = [number[word] for word in text if word in number][: self.max_words]
            words[row, : len(known)] = torch.as_tensor(known, dtype=torch.int64)
        return words.to(taken.items.device)


def _words(text: Any) -> Iterable[str]:
    return re.findall(r"\w+", str(text).lower())
