"""NFM++: a neural factorization machine of users, items and what items are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from modalsplit._sklearn import StrOptions
from modalsplit.baselines._fields import FieldSplit
from modalsplit.baselines._gradient import SPLIT, GradientRecommender, Loss, check_units
from modalsplit.nn import NeuralFM, PairScorer
from modalsplit.recommend._negatives import TakenItems


class NFM(GradientRecommender):
    """Neural factorization machine: products of all pairs of fields, pooled, and a network on top.

    The fields are the user, the item, and each field of the content, mapped linearly.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of an embedding.
    hidden_units : tuple of int, default=(64,)
        Of the hidden layers.
    dropout : tuple of two float, default=(0.5, 0.2)
        Shares of the pooled products and of each hidden layer that are dropped in training.
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
    A field of the content has one embedding, a linear map of its columns; an embedding a column would be
    thousands. The authors' code squares errors and uses Adagrad; its log loss never ran.

    Stability: may change.

    References
    ----------
    X. He, T.-S. Chua, "Neural factorization machines for sparse predictive analytics", SIGIR 2017.

    Han et al., WWW 2022, Sec. 5.1: NFM++.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import NFM
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> content = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = NFM(8, learning_rate=0.01, max_epochs=50, random_state=0).fit(content, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRecommender._parameter_constraints,
        "hidden_units": [tuple, list],
        "dropout": [tuple, list],
        "loss": [StrOptions({"logistic", "bpr"})],
        "split": SPLIT,
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        hidden_units: Sequence[int] = (64,),
        dropout: tuple[float, float] = (0.5, 0.2),
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
        self.dropout = dropout
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
        units, dropout = check_units(self.hidden_units, 0), tuple(self.dropout)
        if len(dropout) != 2 or not all(0 <= share < 1 for share in dropout):
            raise ValueError(
                f"dropout={self.dropout!r} must hold two shares, 0 or more and less than 1: of the pooled products, and "
                "of each hidden layer."
            )
        return NeuralFM(self.n_users_, content, widths, self.n_components, units, dropout, spread=0.1)
