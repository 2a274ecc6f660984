"""AttentiveBPR: rank items by a user's taste and by the parts of each item."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from modalsplit._sklearn import CallbackSupportMixin, Interval, StrOptions, epochs, with_callbacks
from modalsplit.evaluate import DotProduct, dot_product
from modalsplit.nn import Attention, Items, pair_attention, score
from modalsplit.nn._attention import with_parts_fused
from modalsplit.recommend._base import Floats, Recommender
from modalsplit.recommend._batches import Sampling
from modalsplit.recommend._cold import Expectation
from modalsplit.recommend._fit_inputs import Inputs
from modalsplit.recommend._fitting import Fitting, as_items, moved, sums_of_history, with_cold
from modalsplit.recommend._inputs import positions
from modalsplit.recommend._learned import Learned
from modalsplit.recommend._parts import find_parts, modalities, read_parts
from modalsplit.recommend._sharded import ShardedFitting
from modalsplit.training import ranks

SCORED_USERS, SCORED_ITEMS = 128, 1024  # at a time, so that what is made on the way stays in the cache


class AttentiveBPR(CallbackSupportMixin, Recommender):
    """Rank items by a user's taste and by the parts of each item.

    An item is its own embedding plus its parts, each with the attention it gets; a user is what the user
    took. Items that nobody took yet are known by their parts alone, users that `fit` did not see by what they
    took.

    Parameters
    ----------
    n_components : int, optional
        Dimensions of the embeddings. By default 64, or the width of a part where that is smaller or there is
        no projection.
    attention : {"item", "user", "mean"}, default="item"
        What weighs the parts of an item: its own embedding (the paper, Eq. 12), the user (PAMD's released
        code), or nothing.
    loss : {"softmax", "bpr", "logistic"}, default="softmax"
        How a positive is compared: with all its negatives at once, with each of them (the paper), or with
        none (the released code).
    parts : "both", "common", "specific" or None, default="both"
        Which parts to use: all, or those named so, like ``image_common``. None uses no content, only who took what.
    users : {"history", "embedding"}, default="history"
        A user's vector is the scaled sum of vectors of the items that the user took, or a free embedding (the
        paper). A history also serves new users, and has fewer parameters to overfit.
    blocks : int or "auto", default="auto"
        Parts that X holds side by side. ``"auto"``: what its column names say, ``image_common__0`` and so
        on; without names four if four divide the columns, else one. Where it matters which is which, because of `parts`
        or `fine_tune`, four are taken with a warning.
    projection : bool, default=True
        Whether each part is mapped linearly: once for the item itself, before attention, and once for what the item lends to
        the users who took it. The maps start from the identity or, where parts are wider than `n_components`, from the
        directions in which the parts together are largest. The paper has no such maps; without them `n_components` is the
        width of a part.
    item_bias : bool, default=True
        Whether items have biases, which start from the logarithm of their popularity. The paper has none.
    fine_tune : bool, default=False
        Whether the encoder's common extractors are trained on, as in the paper. X tells enough: with ``e =
        common + specific`` the parts become ``common + delta e`` and ``e - common``.
    init : {"normal", "uniform"}, default="normal"
        Embeddings start from a normal distribution of standard deviation 0.03 and parts are scaled to a root
        mean square of 0.2; or, as in the paper, from a uniform one between 0 and 1, with parts scaled to 1.
    sampling : {"users", "interactions"}, default="users"
        What a sample is: a user with all positives, where negatives are shared by the batch; or an
        interaction with negatives of its own (the paper).
    n_negatives : int, optional
        Negatives that a positive is compared with, drawn anew each time among the items that the user did
        not take in training. By default 5000, or the whole catalogue if it is smaller, where they are
        shared, and 1 where they are not.
    learning_rate : float, default=5e-3
        Of Adam.
    projection_learning_rate : float, default=5e-4
        Of Adam for `projection`. The maps have many numbers and each interaction moves all of them: at the rate of the
        embeddings, few interactions overfit them.
    fine_tune_learning_rate : float, default=1e-4
        Of Adam for `fine_tune`.
    decay : bool, default=True
        Whether learning rates fall to zero, linearly over `max_epochs`.
    l2 : float, default=0.02
        Weight of the mean squared norm of user vectors and item vectors.
    max_epochs : int, default=12
        Passes over the samples, at most.
    batch_size : int, optional
        Samples a step. By default so many that an epoch has 40 steps, but at most 2048. An epoch of interactions takes a
        third of the time at 32768, and learns as well if `learning_rate` grows by the square root of the factor.
    early_stopping : bool, default=False
        Whether to hold out some of each user's interactions, watch NDCG@10 on them, stop when it no longer
        grows, and return to the best epoch.
    validation_fraction : float, default=0.1
        Share of the interactions to hold out.
    n_iter_no_change : int, default=5
        Epochs without growth after which early stopping stops.
    cold_degree : int, default=5
        What is known of a cold item is expected from its parts, by ridge regression on the trained items with the
        kernel ((1 + cosine) / 2)^cold_degree. The higher, the more the nearest items count. How much each modality
        counts in the cosine is found by leaving trained items out.
    cold_alpha : float, default=0.3
        Weight of that ridge.
    random_state : int, RandomState instance or None, default=None
        Pass an int for repeatable results. The global generators are not touched.
    device : str or "auto", default="auto"
        Where to train, as `torch.device` takes it; ``"auto"`` takes a CUDA device if there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    user_embeddings_ : ndarray of shape (n_users, n_components)
        User vectors.
    item_embeddings_ : ndarray of shape (n_items, n_components)
        Free embeddings ``e_i``; expected from content for items without interactions.
    item_bias_ : ndarray of shape (n_items,)
        Biases; zeros without.
    item_vectors_ : ndarray of shape (n_items, n_components)
        Fused items (Eq. 13), with equal weights if the attention is the user's.
    history_embeddings_ : ndarray of shape (n_items, n_components) or None
        What each item lends to the users who took it; None with ``users="embedding"``.
    part_names_ : tuple of str
        Names of the parts.
    parts_ : ndarray of shape (n_items, n_parts, width)
        Parts, fine-tuned and scaled; expected from content for items without interactions.
    present_ : ndarray of bool of shape (n_items, n_parts)
        Which parts there are.
    trained_ : ndarray of int of shape (n_trained,)
        Positions of the items that were trained on: those with interactions.
    part_scales_ : ndarray of shape (n_parts,)
        Factors that brought the parts to their size.
    cold_landmarks_ : ndarray of shape (n_landmarks, n_parts * width)
        Directions of trained items that cold items are compared with: of the 3,000 taken most.
    cold_shares_ : ndarray of shape (n_modalities,)
        How much each modality counts in a direction; they sum to 1. A modality is a common part with its specific part, or
        a part that has none.
    cold_weights_ : ndarray of shape (n_landmarks, n_components + 1 + n_parts * width)
        What likeness to each adds to the mean item.
    mean_item_ : ndarray of shape (n_components + 1 + n_parts * width,)
        Fused vector, bias and parts of the mean trained item.
    part_maps_ : ndarray of shape (n_parts, width, n_components) or None
        The projections.
    extractor_deltas_ : ndarray of shape (n_modalities, width, width) or None
        What fine-tuning added to each common extractor.
    history_ : list of dict
        A record an epoch: ``"loss"``, and ``"validation_ndcg"`` with early stopping.
    n_iter_ : int
        Epochs that led to the result.
    interactions_, item_ids_, user_ids_, n_items_, n_users_, n_features_in_
        As for `Recommender`.

    See Also
    --------
    modalsplit.DisentangledModalityEncoder : Makes the parts.

    Notes
    -----
    The defaults are what ranked best on validation interactions. The paper's form is ``AttentiveBPR(
    loss="bpr", users="embedding", projection=False, item_bias=False, fine_tune=True, init="uniform",
    sampling="interactions", n_negatives=1, learning_rate=1e-4, decay=False, l2=0, batch_size=100)``; it needs
    hundreds of epochs.

    A positive is left out of the history that it is compared with, as in FISM and EASE. A user without
    interactions gets a zero vector from a history, and the mean user otherwise. Items without interactions
    are not trained on: they are cold, though they have an id.

    Stability: may change.

    References
    ----------
    T. Han, P. Wang, S. Niu, C. Li, "Modality matches modality: pretraining modality-disentangled item
    representations for recommendation", WWW 2022, Eq. 12 and 13.

    S. Kabbur, X. Ning, G. Karypis, "FISM: factored item similarity models for top-N recommender systems",
    KDD 2013: users as sums of items.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit import AttentiveBPR
    >>> taken = np.kron(np.eye(2), np.ones((4, 6)))  # two tastes: 8 items, 12 users
    >>> taken[0, 0] = 0
    >>> parts = np.kron(np.eye(2), np.ones((4, 1)))
    >>> model = AttentiveBPR(8, random_state=0).fit(parts, taken)
    >>> model.recommend(users=[0], k=1).ids
    array([[0]])
    """

    item_vectors_: Floats

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "attention": [StrOptions({"item", "user", "mean"})],
        "loss": [StrOptions({"softmax", "bpr", "logistic"})],
        "parts": [StrOptions({"both", "common", "specific"}), None],
        "users": [StrOptions({"history", "embedding"})],
        "blocks": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "projection": ["boolean"],
        "item_bias": ["boolean"],
        "fine_tune": ["boolean"],
        "init": [StrOptions({"normal", "uniform"})],
        "sampling": [StrOptions({"users", "interactions"})],
        "n_negatives": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "projection_learning_rate": [Interval(Real, 0, None, closed="left")],
        "fine_tune_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "decay": ["boolean"],
        "l2": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "cold_degree": [Interval(Integral, 1, None, closed="left")],
        "cold_alpha": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        attention: Attention = "item",
        loss: Literal["softmax", "bpr", "logistic"] = "softmax",
        parts: Literal["both", "common", "specific"] | None = "both",
        users: Literal["history", "embedding"] = "history",
        blocks: int | Literal["auto"] = "auto",
        projection: bool = True,
        item_bias: bool = True,
        fine_tune: bool = False,
        init: Literal["normal", "uniform"] = "normal",
        sampling: Sampling = "users",
        n_negatives: int | None = None,
        learning_rate: float = 5e-3,
        projection_learning_rate: float = 5e-4,
        fine_tune_learning_rate: float = 1e-4,
        decay: bool = True,
        l2: float = 0.02,
        max_epochs: int = 12,
        batch_size: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        cold_degree: int = 5,
        cold_alpha: float = 0.3,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.attention = attention
        self.loss = loss
        self.parts = parts
        self.users = users
        self.blocks = blocks
        self.projection = projection
        self.item_bias = item_bias
        self.fine_tune = fine_tune
        self.init = init
        self.sampling = sampling
        self.n_negatives = n_negatives
        self.learning_rate = learning_rate
        self.projection_learning_rate = projection_learning_rate
        self.fine_tune_learning_rate = fine_tune_learning_rate
        self.decay = decay
        self.l2 = l2
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.cold_degree = cold_degree
        self.cold_alpha = cold_alpha
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @with_callbacks  # type: ignore[untyped-decorator, unused-ignore]
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        item_ids: ArrayLike | None = None,
        checkpoint: str | PathLike[str] | None = None,
    ) -> Self:
        """Learn from who took what.

        Parameters
        ----------
        X : array-like, DataFrame or FeatureStore of shape (n_items, n_parts * width)
            Parts of the items, such as `DisentangledModalityEncoder` makes. Any NaN in a part's columns means
            that the item lacks that part. A store is read into memory as float32: a batch may need any of it.
        y : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users) or (n_items,)
            Positive where the user took the item. Or Parquet files with columns ``item_id`` and ``user_id``, which need
            not fit memory: a path, a folder, a pattern, a list of paths, a data set of PyArrow, or
            `modalsplit.stores.ParquetInteractions`.
        item_ids : array-like of shape (n_items,), optional
            Ids of the rows, where the index of `X` does not hold them.
        checkpoint : str or Path, optional
            A folder to keep what was learned, epoch by epoch. The same call after the process was killed goes on from
            there, and on one thread ends with the same numbers. Delete it when it is no longer needed.

        Returns
        -------
        self
            The fitted recommender.

        Raises
        ------
        ValueError
            If X and y do not fit together, blocks differ in width, there are no interactions, or
            `fine_tune` finds no common and specific part of the same modality; if `early_stopping` holds out nothing that
            can be judged, because `validation_fraction` is too small, users took one item each, or nobody else took
            theirs; if the checkpoint was begun with another configuration or other data.
        RuntimeError
            If another process uses the checkpoint.
        OSError
            If the disk is full.

        Warns
        -----
        UserWarning
            If `parts` or `fine_tune` needs to know which columns are which part, and neither names nor `blocks` say so.

        Notes
        -----
        Interactions in files are sorted by user once, into files in the checkpoint or a temporary folder, that are mapped
        into memory; ``interactions_`` lies there, too. Memory depends on items, users and components, not on interactions. The
        same interactions in memory give the same numbers. `early_stopping` needs them in memory.

        The samples of an epoch are shuffled on two levels: stretches of 4,096, then all samples of so many stretches as have
        2²⁰. Their order, and the negatives, follow from the seed and the number of the epoch.

        A `KeyboardInterrupt` ends the training, with a warning: the recommender then holds what was learned so far.
        """
        self._validate_params()
        inputs = Inputs(self, X, y, item_ids)
        features = inputs.features
        columns = getattr(self, "feature_names_in_", None)
        self._part_columns = find_parts(columns, features.shape[1], self.blocks, self.parts, fine_tune=self.fine_tune)
        self.part_names_ = self._part_columns.names
        pairs = self._pairs_to_fine_tune()
        with (
            inputs.stages(checkpoint) as (stages, seed),
            inputs.folder(stages) as folder,
            epochs(self, self.max_epochs, X=X, y=y) as end_of_epoch,
        ):
            inputs.remember_interactions(stages, folder)
            fitting = (Fitting if ranks().world == 1 else ShardedFitting)(
                self,
                *read_parts(features, self._part_columns),
                pairs,
                self.interactions_,
                seed=seed,
                stages=stages,
                folder=folder,
            )
            fitting.run(end_of_epoch, lambda: self._warn_of_interrupt(checkpoint))
            for name, value in fitting.learned().items():
                setattr(self, name, value)
        return self

    def _warn_of_interrupt(self, checkpoint: str | PathLike[str] | None) -> None:
        further = "" if checkpoint is None else f" The same call with checkpoint={str(checkpoint)!r} goes on."
        warnings.warn(
            f"fit was interrupted. The recommender holds what was learned so far, and can be used.{further}",
            UserWarning,
            stacklevel=2,
        )

    def explain(self, user: Any, item: Any) -> pd.Series[float] | pd.DataFrame:
        """Divide a score into what each part contributes.

        Parameters
        ----------
        user : scalar
            Id of a fitted user.
        item : scalar or array-like of shape (n,)
            Id of a fitted item, or several.

        Returns
        -------
        Series of float, or DataFrame of shape (n, n_parts + 2)
            Contributions, without unit, which sum to the score: of the item's own embedding ("item"), of each
            part (its attention times its inner product with the user) and of the item's popularity
            ("bias"). For several items, one row each.

        Raises
        ------
        ValueError
            If the user or the item is unknown, or `user` is not a single id.
        """
        check_is_fitted(self)
        if np.ndim(user) != 0:
            raise ValueError(
                f"explain divides the scores of one user, but user has shape {np.shape(user)}: {user!r}. Pass one id, and "
                "call it once a user."
            )
        u, i = positions(user, self.user_ids_, "user"), positions(item, self.item_ids_, "item")
        items = as_items(self._learned().of(i), self.part_maps_)
        users = torch.as_tensor(self.user_embeddings_[u]).expand(len(i), -1)
        of_parts = pair_attention(users, items, self.attention) * torch.einsum("nd,nmd->nm", users, items.parts)
        own = (users * items.embedding).sum(1)
        shares = torch.column_stack([own, of_parts, items.bias]).double().numpy()
        names = ["item", *self.part_names_, "bias"]
        if np.ndim(item) == 0:
            return pd.Series(shares[0], index=names, name=f"score of {item!r} for {user!r}")
        return pd.DataFrame(shares, index=self.item_ids_[i], columns=names)

    def attention_weights(self, X: Any, users: Any = None, *, item_ids: ArrayLike | None = None) -> NDArray[np.float32]:
        """Say how much attention each part of each item gets.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            One row an item.
        users : array-like of shape (n_rows,) or a single id, optional
            Whose attention to measure, where ``attention="user"``: the id of a fitted user a row.
        item_ids : array-like of shape (n_rows,), optional
            Ids of the rows, where the index of `X` does not hold them.

        Returns
        -------
        ndarray of shape (n_rows, n_parts)
            Weights, 0 to 1, in the order of `part_names_`. A row sums to 1, or to 0 if the item has no part.

        Raises
        ------
        ValueError
            If `users` is missing where attention is the user's, unknown, or of another length than X.

        References
        ----------
        Han et al., WWW 2022, Eq. 12 and Table 6.
        """
        check_is_fitted(self)
        features = self._check_rows(X)
        items = self._items_of(features, self._rows_or_cold(X, item_ids))
        if self.attention != "user":
            vectors = items.embedding
        elif users is None:
            raise ValueError('attention="user" weighs parts by the user: pass users=, one id a row of X.')
        else:
            at = positions(users, self.user_ids_, "user")
            if len(at) not in (1, len(features)):
                raise ValueError(f"X has {len(features)} rows, but users has {len(at)}: one a row, or one.")
            vectors = torch.as_tensor(self.user_embeddings_[np.broadcast_to(at, len(features))])
        weights: NDArray[np.float32] = pair_attention(vectors, items, self.attention).numpy()
        return weights

    def fold_in(self, interactions: Any) -> Floats:
        """Compute vectors of users that were not in `fit`, from what they took.

        Parameters
        ----------
        interactions : sparse matrix or array of shape (n_items, n)
            What new users took among the fitted items, one column each.

        Returns
        -------
        ndarray of shape (n, n_components)
            As `user_embeddings_`. With free user embeddings, the ridge regression of "took it" on the item
            vectors, where an item that was not taken counts a tenth.

        Raises
        ------
        ValueError
            If the rows are not the fitted items.
        """
        check_is_fitted(self)
        vectors: Floats = self._user_vectors(self._new_users(interactions))
        return vectors

    def _user_vectors(self, taken: sparse.csr_array) -> Floats:
        if self.history_embeddings_ is not None:
            return sums_of_history(taken, self.history_embeddings_)
        items = self.item_vectors_
        ridge = np.square(items).sum(axis=1).mean()
        base = 0.1 * items.T @ items + ridge * np.eye(items.shape[1])
        rows = np.split(taken.indices, taken.indptr[1:-1])
        vectors = np.stack([_ridge(items[row], base) for row in rows])
        length = np.linalg.norm(self.user_embeddings_, axis=1).mean()
        folded: Floats = (normalize(vectors) * length).astype(np.float32)
        return folded

    def _factors(self, users: NDArray[np.intp] | sparse.csr_array) -> tuple[Floats, Floats, Floats]:
        if self.attention == "user":
            raise ValueError(
                'index= needs one vector an item, but with attention="user" the vector of an item is another for each user. '
                'Leave index= out for the exact ranking, or fit with attention="item" or "mean".'
            )
        vectors = self._user_vectors(users) if sparse.issparse(users) else self.user_embeddings_[users]
        return vectors, self.item_vectors_, self.item_bias_

    def _dot_product(self) -> DotProduct | None:
        if self.attention == "user":
            return None
        return dot_product(self.user_embeddings_, self.item_vectors_, self.item_bias_ if self.item_bias else None)

    def _score_users(self, users: NDArray[np.intp]) -> Floats:
        return self._scores(self.user_embeddings_[users], None)

    def _score_new_users(self, interactions: sparse.csr_array) -> Floats:
        return self._scores(self._user_vectors(interactions), None)

    def _score_rows(self, X: Floats, rows: NDArray[np.intp]) -> Floats:
        scores: Floats = self._scores(self.user_embeddings_, self._items_of(X, rows, fused=self.attention != "user"))
        return scores.T

    def _scores(self, users: Floats, items: Items | None) -> Floats:
        """Score items, or the catalogue, for users given by vector: (n_users, n_items)."""
        if items is None and self.attention != "user":
            scores = np.asarray(users @ self.item_vectors_.T)
            if self.item_bias:
                scores += self.item_bias_
            return scores
        items = as_items(self._learned(), self.part_maps_) if items is None else items
        items = with_parts_fused(items, self.attention)
        scores = np.empty((len(users), len(items.bias)), dtype=np.float32)
        vectors = torch.as_tensor(users)
        for columns in gen_batches(len(items.bias), SCORED_ITEMS):
            some = Items(*(field[columns] for field in items))
            for block in gen_batches(len(users), SCORED_USERS):
                scores[block, columns] = score(vectors[block], some, self.attention).numpy()
        return scores

    def _rows_or_cold(self, X: Any, item_ids: ArrayLike | None) -> NDArray[np.intp]:
        rows = self._rows_of(X, item_ids)
        return np.full(len(X), -1) if rows is None else rows

    def _items_of(self, X: Floats, rows: NDArray[np.intp], *, fused: bool = False) -> Items:
        """Read items: those in the catalogue with what was learned of them, others as expected."""
        parts, present = read_parts(X, self._part_columns)
        parts = moved(parts, self.extractor_deltas_, self._part_columns.pairs()) * self.part_scales_[:, None]
        known = np.isin(rows, self.trained_)
        items = Learned(self.item_embeddings_[rows], self.item_bias_[rows], parts, present)
        expectation = Expectation(self.cold_landmarks_, self.cold_weights_, self.mean_item_, self.cold_shares_)
        groups = modalities(len(self.part_names_), self._part_columns.pairs())
        cold = np.flatnonzero(~known)
        return with_cold(items, cold, expectation, self.part_scales_, groups, self, self.part_maps_, fused=fused)

    def _learned(self) -> Learned:
        return Learned(self.item_embeddings_, self.item_bias_, self.parts_, self.present_)

    def _item_vectors(self) -> Floats:
        return self.item_vectors_

    def _pairs_to_fine_tune(self) -> list[tuple[int, int]]:
        pairs = self._part_columns.pairs()
        if self.fine_tune and not pairs:
            raise ValueError(
                "fine_tune=True needs the common and the specific part of a modality, such as "
                f"image_common__0 and image_specific__0; the parts used are {list(self.part_names_)}."
            )
        return pairs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _ridge(taken: Floats, base: Floats) -> Floats:
    solved: Floats = np.linalg.solve(base + taken.T @ taken, taken.sum(axis=0))
    return solved
