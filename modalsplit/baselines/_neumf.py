"""NeuMF++: a product of factors and a network, with what items are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from modalsplit._sklearn import StrOptions
from modalsplit.baselines._fields import FieldSplit
from modalsplit.baselines._gradient import SPLIT, GradientRecommender, Loss, check_units
from modalsplit.nn import NeuMF as NeuMFModule
from modalsplit.nn import PairScorer
from modalsplit.recommend._negatives import TakenItems


class NeuMF(GradientRecommender):
    """Neural matrix factorization: ``h [p * q ; MLP([p' ; q' ; W f])]``, each branch with its own embeddings.

    Parameters
    ----------
    n_components : int, default=32
        Dimensions of an embedding.
    hidden_units : tuple of int, default=(32, 16, 8)
        Of the hidden layers, one at least.
    content_in : {"both", "mlp"}, default="both"
        Whether the product sees the content too, as ``q + W' f``, or only the network.
    loss : {"logistic", "bpr"}, default="logistic"
        Whether positives and negatives are told apart each on its own, or compared.
    split : "auto", int, tuple of int or tuple of str, default="auto"
        Where the fields are among the columns of X: the blocks that its names say (``image__0``, ``text__0``) or
        else all columns as one; or where the second and later ones begin; or what the names start with.
    n_negatives : int, default=4
        Items that a positive is compared with, drawn anew each time among those that the user did not take in
        training.
    learning_rate : float, default=1e-3
        Of Adam.
    decay : bool, default=True
        Whether the learning rate falls to zero, linearly over `max_epochs`.
    l2 : float, default=0.0
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
    The branches are trained together from the start; the paper's separate pre-training is left out. The authors
    choose the epoch on test data; here `max_epochs` is for the user to choose, on validation data.

    Stability: may change.

    References
    ----------
    X. He et al., "Neural collaborative filtering", WWW 2017.

    Han et al., WWW 2022, Sec. 5.1: NeuMF++.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import NeuMF
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> content = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = NeuMF(8, learning_rate=0.01, random_state=0).fit(content, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRecommender._parameter_constraints,
        "hidden_units": [tuple, list],
        "content_in": [StrOptions({"both", "mlp"})],
        "loss": [StrOptions({"logistic", "bpr"})],
        "split": SPLIT,
    }

    def __init__(
        self,
        n_components: int = 32,
        *,
        hidden_units: Sequence[int] = (32, 16, 8),
        content_in: Literal["both", "mlp"] = "both",
        loss: Loss = "logistic",
        split: FieldSplit = "auto",
        n_negatives: int = 4,
        learning_rate: float = 1e-3,
        decay: bool = True,
        l2: float = 0.0,
        max_epochs: int = 20,
        batch_size: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.hidden_units = hidden_units
        self.content_in = content_in
        self.loss = loss
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
        hidden_units, both = check_units(self.hidden_units, 1), self.content_in == "both"
        return NeuMFModule(self.n_users_, content, widths, self.n_components, hidden_units, both, spread=0.1)
