"""VBPR, or BPR++: matrix factorization with the content of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from modalsplit.baselines._fields import FieldSplit
from modalsplit.baselines._gradient import POSITIVE, SPLIT, WEIGHT, GradientRecommender
from modalsplit.nn import Factors, PairScorer
from modalsplit.recommend._negatives import TakenItems


class VBPR(GradientRecommender):
    """Matrix factorization with content: ``b_i + <p_u, q_i> + <t_u, E f_i> + <b, f_i>``.

    With ``use_id=False`` the content alone represents an item: ``<t_u, E f_i + e>``. On features of all
    modalities side by side this is BPR++, in its two readings.

    Parameters
    ----------
    n_components : int, default=64
        Dimensions of an embedding.
    n_content : int, optional
        Dimensions that the content is mapped to. By default as many as `n_components`.
    use_id : bool, default=True
        Whether items have free factors and biases.
    l2_content : float, default=0.01
        Weight of the squared norms of the maps of the content, ``E`` and ``b``.
    split : "auto", int, tuple of int or tuple of str, default="auto"
        Where the fields are among the columns of X: the blocks that its names say (``image__0``, ``text__0``) or
        else all columns as one; or where the second and later ones begin; or what the names start with.
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
    BPR : Without content.

    Notes
    -----
    Each field is centred and scaled as a whole, because large features would otherwise outweigh the rest;
    its columns keep their relative size: standardise them first if they are no alike.

    Stability: may change.

    References
    ----------
    R. He, J. McAuley, "VBPR: visual Bayesian personalized ranking from implicit feedback", AAAI 2016.

    Han et al., WWW 2022, Sec. 5.1: BPR++.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.baselines import VBPR
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> content = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = VBPR(8, random_state=0).fit(content, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRecommender._parameter_constraints,
        "n_content": [POSITIVE, None],
        "use_id": ["boolean"],
        "l2_content": [WEIGHT],
        "split": SPLIT,
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        n_content: int | None = None,
        use_id: bool = True,
        l2_content: float = 0.01,
        split: FieldSplit = "auto",
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
        self.n_content = n_content
        self.use_id = use_id
        self.l2_content = l2_content
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
        n_content = self.n_content or self.n_components
        return Factors(self.n_users_, content, self.n_components if self.use_id else 0, n_content, spread=0.1)

    def _extra_loss(self, samples: Tensor, taken: TakenItems) -> Tensor | None:
        if not self.l2_content:
            return None
        assert isinstance(self.module_, Factors)
        return self.l2_content * self.module_.map_size()
