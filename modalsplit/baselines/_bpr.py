"""BPR: matrix factorization that learns from pairs of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modalsplit.baselines._gradient import GradientRecommender
from modalsplit.nn import Factors, PairScorer
from modalsplit.recommend._negatives import TakenItems


class BPR(GradientRecommender):
    """Matrix factorization: the score is ``b_i + <p_u, q_i>``, learned by comparing taken with other items.

    The content of items is ignored; an item that was not in training gets the mean item's vector.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of an embedding.
    n_negatives : int, default=1
        Items that a positive is compared with, drawn anew each time among those that the user did not take in
        training.
    learning_rate : float, default=5e-3
        Of Adam.
    decay : bool, default=True
        Whether the learning rate falls to zero, linearly over `max_epochs`.
    l2 : float, default=0.03
        Weight of the squared norms of the free parameters that a comparison reads.
    max_epochs : int, default=30
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

    See Also
    --------
    VBPR : Adds the content of items.

    Notes
    -----
    Each interaction is a sample, with negatives drawn uniformly. The paper draws samples with replacement and
    steps after each (SGD); here an epoch is a permutation, and Adam steps after each batch.

    Stability: may change.

    References
    ----------
    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import BPR
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> content = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = BPR(8, random_state=0).fit(content, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        n_negatives: int = 1,
        learning_rate: float = 5e-3,
        decay: bool = True,
        l2: float = 0.03,
        max_epochs: int = 30,
        batch_size: int | None = None,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
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
        return Factors(self.n_users_, content, self.n_components, 0, spread=0.1)
