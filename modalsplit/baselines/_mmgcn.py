"""MMGCN: a graph of who took what for each modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from modalsplit._sklearn import StrOptions
from modalsplit.baselines._fields import FieldSplit
from modalsplit.baselines._gradient import POSITIVE, SPLIT, GradientRecommender
from modalsplit.nn import MultiModalGCN, PairScorer, bipartite_graph
from modalsplit.recommend._negatives import TakenItems


class MMGCN(GradientRecommender):
    """Multi-modal graph convolution: in each modality, users and items are what their neighbours make of them.

    Items start from their features, users from a preference of their own; each layer averages the neighbours and
    adds an identity that all modalities share. The score is the inner product of the means over modalities.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of an embedding.
    n_layers : int, default=3
        Steps along the graph.
    width : int, default=64
        Columns to which wider modalities are reduced, linearly, before the first step.
    combine : {"concat", "sum"}, default="concat"
        How what comes from the neighbours joins what the node is. The released code concatenates, whatever it is
        told.
    train_ids : bool, default=True
        False leaves identities and preferences as they were drawn, as the released code does by a slip.
    split : "auto", int, tuple of int or tuple of str, default="auto"
        Where the fields are among the columns of X: the blocks that its names say (``image__0``, ``text__0``) or
        else all columns as one; or where the second and later ones begin; or what the names start with.
    n_negatives : int, default=1
        Items that a positive is compared with, drawn anew each time among those that the user did not take in
        training.
    learning_rate : float, default=2e-3
        Of Adam.
    decay : bool, default=True
        Whether the learning rate falls to zero, linearly over `max_epochs`.
    l2 : float, default=1e-3
        Weight of the squared norms of the free parameters that a comparison reads.
    max_epochs : int, default=20
        Passes over the interactions.
    batch_size : int, optional
        Interactions a step. By default so many that an epoch has 8 steps, but at most 8192.
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
    A step costs a pass over the whole graph, so that batches are large. The graph is made of training
    interactions only. An item without interactions is scored as a node without neighbours.

    Stability: may change.

    References
    ----------
    Y. Wei et al., "MMGCN: multi-modal graph convolution network for personalized recommendation of
    micro-video", MM 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import MMGCN
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> content = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = MMGCN(8, learning_rate=0.01, max_epochs=50, random_state=0).fit(content, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    _steps_an_epoch = 8
    _largest_batch = 8192

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRecommender._parameter_constraints,
        "n_layers": [POSITIVE],
        "width": [POSITIVE],
        "combine": [StrOptions({"concat", "sum"})],
        "train_ids": ["boolean"],
        "split": SPLIT,
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        n_layers: int = 3,
        width: int = 64,
        combine: Literal["concat", "sum"] = "concat",
        train_ids: bool = True,
        split: FieldSplit = "auto",
        n_negatives: int = 1,
        learning_rate: float = 2e-3,
        decay: bool = True,
        l2: float = 1e-3,
        max_epochs: int = 20,
        batch_size: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_layers = n_layers
        self.width = width
        self.combine = combine
        self.train_ids = train_ids
        self.split = split
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

    def _make_module(self, content: Tensor, widths: Sequence[int], taken: TakenItems) -> PairScorer:
        graph = bipartite_graph(taken.users, taken.items.long(), self.n_users_, taken.n_items)
        return MultiModalGCN(
            content,
            widths,
            graph,
            n_components=self.n_components,
            width=self.width,
            n_layers=self.n_layers,
            concatenate=self.combine == "concat",
            train_tables=self.train_ids,
        )
