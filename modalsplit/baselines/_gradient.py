"""What the baselines that are trained by gradients share: their parameters, the loop, and scoring."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state, gen_batches
from torch import Tensor

from modalsplit._sklearn import CallbackSupportMixin, Interval, StrOptions, with_callbacks
from modalsplit.baselines._fields import Fields, FieldSplit
from modalsplit.baselines._training import reported, seeded
from modalsplit.files._packed import PackedModules
from modalsplit.modalities import column_names
from modalsplit.nn import PairScorer, pairwise_loss, pointwise_loss
from modalsplit.recommend import Recommender
from modalsplit.recommend._base import BLOCK_BYTES
from modalsplit.recommend._fitting import _available, _items_to_train
from modalsplit.recommend._negatives import TakenItems
from modalsplit.training import minimise

Floats = NDArray[np.floating[Any]]
POSITIVE = Interval(Integral, 1, None, closed="left")
WEIGHT = Interval(Real, 0, None, closed="left")
SPLIT = [StrOptions({"auto"}), POSITIVE, tuple, list]
Loss = Literal["bpr", "logistic"]
LOSSES: dict[Loss, Callable[[Tensor], Tensor]] = {"bpr": pairwise_loss, "logistic": pointwise_loss}


def check_units(hidden_units: Sequence[int], fewest: int) -> tuple[int, ...]:
    """Check the sizes of hidden layers.

    Parameters
    ----------
    hidden_units : sequence of int
        Units of each layer.
    fewest : int
        Layers that are needed.

    Returns
    -------
    tuple of int
        The same.

    Raises
    ------
    ValueError
        If there are fewer layers, or a size is not a positive integer.
    """
    units = tuple(hidden_units)
    if len(units) < fewest or not all(isinstance(n, Integral) and n > 0 for n in units):
        raise ValueError(
            f"hidden_units={hidden_units!r} must hold a positive integer for each hidden layer, and {fewest} at least."
        )
    return units


class GradientRecommender(CallbackSupportMixin, PackedModules, Recommender):
    """Abstract: a module that scores pairs, trained on interactions and uniform negatives.

    A subclass writes `_make_module`. It may have `split`, which says where the fields of the content are, and
    `loss`.

    Items without interactions are not trained on, neither as negatives: like items that `fit` did not see, they
    are known by their content, and have the mean item's free parameters. Users without interactions get the
    mean user's vector.
    """

    module_: PairScorer
    trained_: NDArray[np.intp]
    user_vectors_: Floats
    item_vectors_: Floats

    split: FieldSplit = "auto"
    loss: Loss = "bpr"
    _steps_an_epoch = 40
    _largest_batch = 1024  # by default

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [POSITIVE],
        "n_negatives": [POSITIVE],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "decay": ["boolean"],
        "l2": [WEIGHT],
        "max_epochs": [POSITIVE],
        "batch_size": [POSITIVE, None],
        "random_state": ["random_state"],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int,
        *,
        n_negatives: int,
        learning_rate: float,
        decay: bool,
        l2: float,
        max_epochs: int,
        batch_size: int | None,
        random_state: Any,
        device: str,
        verbose: bool,
    ) -> None:
        self.n_components = n_components
        self.n_negatives = n_negatives
        self.learning_rate = learning_rate
        self.decay = decay
        self.l2 = l2
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @with_callbacks  # type: ignore[untyped-decorator, unused-ignore]
    def fit(self, X: Any, y: Any, *, item_ids: ArrayLike | None = None) -> Self:
        """Learn from who took what.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_items, n_features)
            One row an item: its content. Any NaN in a field means that the item lacks it.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        self
            The fitted recommender.

        Raises
        ------
        ValueError
            If X and y do not fit together, or there are no interactions.
        FloatingPointError
            If the loss is no longer finite: lower `learning_rate`.
        """
        return self._fit(X, y, item_ids)

    @abstractmethod
    def _make_module(self, content: Tensor, widths: Sequence[int], taken: TakenItems) -> PairScorer:
        """Make the module for the items to train on; torch's global generator is seeded here."""

    def _extra_loss(self, samples: Tensor, taken: TakenItems) -> Tensor | None:
        """Compute what is added to the loss of a batch, given by positions among the interactions."""
        return None

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.module_.parameters() if parameter.requires_grad]

    def _fit(self, X: Any, y: Any, item_ids: ArrayLike | None) -> Self:
        self._validate_params()
        features = self._remember(X, y, item_ids)
        self._fields = Fields(features, column_names(X), self.split)
        by_user = sparse.csr_array(self.interactions_.T)
        self.trained_ = _items_to_train(by_user)
        content = self._fields.transform(features)
        device = torch.device(_available(self.device))
        taken = TakenItems(by_user[:, self.trained_], device)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(seed, device) as generator:
            module = self._make_module(torch.as_tensor(content[self.trained_]), self._fields.widths, taken)
            self.module_ = module.to(device)
            self._train(taken, generator, X=X, y=y)
        self.n_iter_ = max(1, len(self.history_))
        self._keep_vectors(content, np.diff(by_user.indptr) > 0, device)
        return self

    def _train(self, taken: TakenItems, generator: torch.Generator, **fit_inputs: Any) -> None:
        left_some = (taken.counts < taken.n_items)[taken.users].nonzero()[:, 0]
        self.history_: list[dict[str, float]] = []
        if not len(left_some):  # nobody left an item: there is nothing to rank
            return
        default = min(-(-len(left_some) // self._steps_an_epoch), self._largest_batch)
        batch_size = self.batch_size or default
        optimizer = torch.optim.Adam(self._parameters(), lr=self.learning_rate, fused=True)
        n_steps = self.max_epochs * -(-len(left_some) // batch_size)
        with reported(self, **fit_inputs) as on_epoch:
            self.history_ = minimise(
                self._loss_of(taken, left_some, generator),
                len(left_some),
                [optimizer],
                batch_size=batch_size,
                max_epochs=self.max_epochs,
                generator=generator,
                schedulers=[torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, n_steps)] if self.decay else [],
                on_epoch=on_epoch,
            )

    def _loss_of(self, taken: TakenItems, samples: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        module, loss = self.module_, LOSSES[self.loss]

        def loss_of(batch: Tensor) -> Tensor:
            chosen = samples[batch]
            users, positive = taken.users[chosen], taken.items[chosen].long()
            negative = taken.draw_negatives(users, self.n_negatives, generator)
            items = torch.cat([positive[:, None], negative], dim=1)
            # Each distinct item is encoded once, however often it occurs in the batch.
            distinct, place = torch.unique(items, return_inverse=True)
            of_users, of_items = module.vectors(users, distinct)
            total = loss(module.score(of_users, of_items[place])) + self.l2 * module.size(users, items)
            extra = self._extra_loss(chosen, taken)
            return total if extra is None else total + extra

        return loss_of

    @torch.inference_mode()
    def _keep_vectors(self, content: NDArray[np.float32], active: NDArray[np.bool_], device: torch.device) -> None:
        module = self.module_.eval()
        users = torch.arange(self.n_users_, device=device)
        items = torch.arange(len(self.trained_), device=device)
        of_users, of_items = (vectors.cpu().numpy() for vectors in module.vectors(users, items))
        of_users[~active] = of_users[active].mean(axis=0)
        module.release()
        self.module_ = module.cpu()
        self.user_vectors_ = of_users
        self.item_vectors_ = np.empty((self.n_items_, of_items.shape[1]), dtype=of_items.dtype)
        self.item_vectors_[self.trained_] = of_items
        cold = np.setdiff1d(np.arange(self.n_items_), self.trained_)
        self.item_vectors_[cold] = self._cold_vectors(content[cold])

    @torch.inference_mode()
    def _cold_vectors(self, content: NDArray[np.float32]) -> Floats:
        vectors: Floats = self.module_.cold(torch.as_tensor(content)).numpy()
        return vectors

    @torch.inference_mode()
    def _scores(self, users: Floats, items: Floats) -> Floats:
        """Score items for users, given by vectors: (n_users, n_items)."""
        scores = np.empty((len(users), len(items)), dtype=np.float32)
        shared = torch.as_tensor(items)[None]
        n_numbers = max(1, len(items) * self.module_.numbers_a_pair)
        for block in gen_batches(len(users), max(1, BLOCK_BYTES // (4 * n_numbers))):
            scores[block] = self.module_.score(torch.as_tensor(users[block]), shared).numpy()
        return scores

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        return self._scores(self.user_vectors_[users], self.item_vectors_)

    def _score_rows(self, X: Floats, rows: NDArray[np.intp]) -> Floats:
        vectors = self.item_vectors_[rows]
        cold = ~np.isin(rows, self.trained_)
        vectors[cold] = self._cold_vectors(self._fields.transform(X[cold]))
        return self._scores(self.user_vectors_, vectors).T

    def _item_vectors(self) -> Floats:
        return self.item_vectors_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
