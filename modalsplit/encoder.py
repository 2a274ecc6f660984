"""DisentangledModalityEncoder: split modalities into what they share and what is specific to each."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state, gen_batches
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from modalsplit._sklearn import CallbackSupportMixin, Interval, StrOptions, epochs, with_callbacks, wrap_output
from modalsplit.blocks import SEPARATOR, Columns, block_columns, block_names
from modalsplit.exceptions import ConvergenceError
from modalsplit.files._packed import PackedModules
from modalsplit.modalities import (
    FEWEST_MODALITIES,
    check_same_items,
    column_names,
    modality_names,
    pair_names,
    present,
    second_is_y,
    stacked_columns,
)
from modalsplit.objectives import (
    Fitted,
    Seen,
    Settings,
    Stages,
    StoredView,
    automatic_width,
    check_finite,
    fit_objective,
    fit_seen,
    nothing_seen,
    opened_by_ranks,
    see,
    survey,
)
from modalsplit.stores import FeatureStore
from modalsplit.stores._write import write_matrix, write_shards
from modalsplit.training import from_first, ranks

DEFAULT_COMPONENTS = 150
_OBJECTIVES = {"stable", "cca", "paper", "paper_literal", "official", "con", "en", "de"}
_PARTS = ("common", "specific")
_NUMBERS = (np.float64, np.float32, np.float16)
_ROWS_A_BLOCK = 512
# Parameters that go to the objectives as they are.
_SETTINGS = (
    "objective",
    "common_rank",
    "ridge",
    "extractor",
    "hidden_units",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "batch_size",
    "max_epochs",
    "family",
    "orthogonality",
    "gap",
    "anchor",
    "temperature",
    "batch_sum_negative",
    "validation_fraction",
)


class _Pair(NamedTuple):
    common: Any
    specific: Any


class ModalityEmbeddings(_Pair):
    """The two parts of every item; unpack it as ``common, specific``.

    Attributes
    ----------
    common : array of shape (n_items, 2 * n_components)
        What the modalities share: of the first modality, then of the second.
    specific : array of shape (n_items, 2 * n_components)
        What is specific: to the first modality, then to the second.
    imputed : ndarray of bool of shape (n_items, 2)
        Which modality of which item was missing, so that its parts are not measured.
    """

    imputed: NDArray[np.bool_]

    def __new__(cls, common: Any, specific: Any, imputed: Any = None) -> Self:
        """Make the pair."""
        self = super().__new__(cls, common, specific)
        self.imputed = np.zeros((len(common), 2), dtype=bool) if imputed is None else imputed
        return self

    def __getnewargs__(self) -> tuple[Any, Any, Any]:
        return self.common, self.specific, self.imputed


class ModalityParts(NamedTuple):
    """The parts of every item, one matrix a modality.

    Attributes
    ----------
    names : tuple of str of length n_modalities
        The modalities.
    views : tuple of (ndarray of shape (n_items, n_columns) or None)
        Their features, as given; None for one that is not given.
    common : tuple of ndarray of shape (n_items, n_components)
        What a modality shares with another.
    specific : tuple of ndarray of shape (n_items, n_components)
        What it shares with none.
    imputed : ndarray of bool of shape (n_items, n_modalities)
        Which modality of which item was missing, so that its parts are not measured.
    """

    names: tuple[str, ...]
    views: tuple[NDArray[Any] | None, ...]
    common: tuple[NDArray[Any], ...]
    specific: tuple[NDArray[Any], ...]
    imputed: NDArray[np.bool_]


def _is_closed_form(encoder: Any) -> bool:
    return bool(encoder.objective == "cca")


class _TransformMethods:
    """Outside `TransformerMixin` on purpose: its automatic wrapper would mislabel named tuples."""

    def transform(self: Any, X: Any = None, y: Any = None, *, out: str | PathLike[str] | None = None) -> Any:
        """Split items into common and specific parts.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns), FeatureStore or None
            All modalities side by side; or the first of two, when `y` is given or when X has just its
            columns: those of a stack by their names. None if only the second modality is known. A store holds all modalities.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality.
        out : str or Path, optional
            Where the parts of a store's items go, a block at a time, so that they need not fit memory: a folder of
            Parquet shards with the items' ids, or one ``.npy`` file. A run that was cut off goes on where it ended.

        Returns
        -------
        array of shape (n_items, 2 * n_modalities * n_components), ModalityEmbeddings or ParquetStore
            One array for one argument X: common parts of all modalities, then specific parts of all, or
            what `output` selects. The named tuple ``(common, specific)`` when the second argument is given. With `out`, a
            store of the folder, a part of a modality each, or a memory map of the file.

        Raises
        ------
        ValueError
            If the columns are not those that `fit` saw, or values are missing or infinite; if two DataFrames hold other
            ids, or the same in another order; if `out` holds something else, such as parts of another encoder.
        RuntimeError
            If another run is writing to `out`.
        OSError
            If the disk is full.
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        """
        check_is_fitted(self, "module_")
        if isinstance(X, FeatureStore):
            return self._transform_store(X, y, out)
        if out is not None:
            raise ValueError("out= is for the items of a store: pass modalsplit.stores.open_store(...) as X.")
        views = self._views_to_transform(X, y)
        original = X if X is not None else y
        parts, imputed = self._encode(views)

        def stacked(name: str) -> Any:
            chosen = parts if name == "all" else parts[:, _PARTS.index(name)]
            return wrap_output(self, chosen.reshape(len(parts), -1), self._names(name), original)

        if y is None:
            return stacked(self.output)
        wrapped = [stacked(name) for name in _PARTS]
        return ModalityEmbeddings(wrapped[0], wrapped[1], imputed)

    def fit_transform(self: Any, X: Any, y: Any = None, *, checkpoint: str | PathLike[str] | None = None) -> Any:
        """Fit, then split the same items.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            See `fit`.
        y : array-like, optional
            See `fit`.
        checkpoint : str or Path, optional
            See `fit`.

        Returns
        -------
        array of shape (n_items, 2 * n_modalities * n_components) or ModalityEmbeddings
            The named tuple if `fit` took y for the second modality, else one array.
        """
        self.fit(X, y, checkpoint=checkpoint)
        return self.transform(X, y) if self.fit_mode_ == "pair" else self.transform(X)


class DisentangledModalityEncoder(_TransformMethods, CallbackSupportMixin, TransformerMixin, PackedModules):
    """Split the modalities of the same items into a common and a specific part each.

    Every modality gets a primitive representation e; its common part c is what another modality also
    shows, and its specific part is the rest, s = e - c (Eq. 2 of the paper). The common parts of all
    modalities live in the same coordinates, and rows that were held out of the computation decide how many
    of these there are.

    Parameters
    ----------
    n_components : int, "auto" or None, default=None
        Columns of each part; at most the columns of the widest modality and the number of items minus 1.
        None takes the most that can be had, up to 150, the paper's value. "auto" takes as many as the data
        need, up to the same limit: the canonical correlations above those of permuted rows, and the effective
        rank of what these leave.
    objective : str, default="stable"
        How the parts are found:

        - ``"stable"``: canonical directions of the modalities' principal anchors, of their products, and of
          features that small networks learn from them. Finds non-linear sharing and sees through rectified features. Where
          held-out items are not served better than by ``"cca"``, it is ``"cca"``.
        - ``"cca"``: the closed form without learned features, fast and linear.
        - ``"paper"``: Eq. 3 and the bounded reading of Eq. 10, trained by gradients.
        - ``"paper_literal"``: Eq. 3 and Eq. 10 as printed, which has no lower bound: `fit` raises
          `ConvergenceError` when it diverges, and keeps the last finite state.
        - ``"official"``: the loss of the released code.
        - ``"con"``, ``"en"``, ``"de"``: the paper's ablations, Eq. 3 + Eq. 5, Eq. 3 alone and the ranking part
          alone; `family` says whose.

        All but the first two are there to compare with: their parts do not separate what is shared from what
        is not.
    split : "auto", int, tuple of int, tuple of str, or None, default="auto"
        Where the modalities are:

        - ``"auto"``: in X, if X is a DataFrame whose columns have two or more prefixes (``image__0``,
          ``text__0``); else the second is y, if y is a dense real matrix; else it is the second half of X's
          columns, with a warning.
        - int: in X, the second from this column on; a tuple for more modalities, such as ``(4096, 4396)``.
          ``y`` is ignored.
        - tuple such as ``("image", "text")``: in X, by column names that start so. ``y`` is ignored.
        - None: the second is y, always.
    output : {"all", "common", "specific"}, default="all"
        What ``transform(X)`` returns when it returns one array.
    missing : {"error", "translate", "nan"}, default="error"
        What to do with an item one modality of which is missing (any NaN in its columns): refuse it; let
        the common parts of its other modalities stand in and set the specific part to its mean, 0 (as all parts
        of an item that has none); or return NaN for its parts. `fit` uses incomplete items for what they have:
        each modality's own structure. One of two modalities given alone is always allowed.
    common_rank : int or None, default=None
        Rank of the common parts that two modalities share; None to let held-out items decide. Of "stable" and
        "cca".
    ridge : float, default=3.0
        How strongly directions of large variance are held down in the anchors: to λ / (λ + ridge · mean λ), λ the
        variance. 0 makes noise as large as signal. Of "stable" and "cca".
    extractor : "learned", "linear", "mlp" or None, default=None
        What is trained: primitives that have a network, with a linear Θ; an affine primitive and a linear Θ; or
        an affine primitive and a Θ with one hidden layer. None for the objective's own: "learned" for
        ``"stable"``, "linear" for the others. ``"stable"`` with "linear" or "mlp" is a gradient-trained form
        on canonical anchors, which shrinks what it should remove.
    hidden_units : int, default=256
        Of the networks.
    optimizer : "sgd", "adam", "adamw" or None, default=None
        None for the objective's own: AdamW for ``"stable"``, SGD for ``"paper_literal"``, else Adam.
    learning_rate : float or None, default=None
        None for the objective's own: for ``"stable"`` 2e-3 at most in one cycle, or falling from 5e-3 with
        ``extractor="linear"`` and 2e-3 with ``"mlp"``; else 1e-3.
    weight_decay : float or None, default=None
        None for the objective's own: 1e-2 for ``"stable"`` with learned features, 1e-5 for the official family, else 0.
    batch_size : int or None, default=None
        Items in a gradient step. None for the objective's own: 500 for ``"stable"``, else 100.
    max_epochs : int or None, default=None
        Passes over the items, for ``"stable"`` in each round of learning. None for the objective's own: for ``"stable"``
        as many as make 1,500 gradient steps, and 10 at least, of which the state with the lowest loss on held-out
        items is kept; else 100.
    family : {"paper", "official"}, default="paper"
        Whose ablation "con", "en" and "de" are.
    orthogonality : {"inner", "hadamard", "covariance", "hsic"}, default="inner"
        How the product in Eq. 3 is read: an item's inner product, as in the released code; its element-wise
        product; the covariance between the parts in a batch; or an unbiased estimate of it.
    gap : {"batch", "item"}, default="batch"
        Whether Eq. 10 compares the gaps of a batch or of each item.
    anchor : "primitive", "specific" or None, default=None
        What Eq. 9 translates to: the primitives, or the specific parts as printed. None for the objective's own.
    temperature : float or None, default=None
        Divides what the ranking part compares. None for the objective's own: 1; 0.5 in the official family; 0.1 for
        ``"stable"`` with ``extractor="linear"`` or ``"mlp"``, which alone of its forms ranks.
    batch_sum_negative : bool, default=False
        Whether the official family sums the similarity of the specific parts over the batch, as the released code
        does by a slip.
    validation_fraction : float, default=0.2
        Share of the items that are held out to judge directions and features.
    device : str, default="auto"
        Where to compute: "auto" takes CUDA if there is any; else a torch device such as "cpu".
    random_state : int, RandomState or None, default=None
        Makes results repeatable. torch's global generator is not touched.
    verbose : int, default=0
        1 shows a progress bar. scikit-learn's own callbacks work as well, from its release 1.9 on, but those that score a model
        while it is fitted find none: an encoder is put together at the end.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted encoder, a `modalsplit.nn.Disentangler`.
    common_rank_ : int
        How many columns of the common parts are not 0: they come first. For the trained objectives, the numerical
        rank of the first modality's common part.
    common_support_ : ndarray of bool of shape (n_modalities, n_components)
        Which modality shows which column of the common parts; with two, both show all that are not 0.
    canonical_correlations_ : ndarray of shape (n_pairs,)
        Correlations of the canonical pairs on held-out items, of which the first `common_rank_` are
        common; with more than two modalities, one row a pair of modalities, in the order of
        `itertools.combinations`. For the trained objectives, those of the columns of the common parts.
    translation_error_ : float
        Squared error of a modality's anchors on held-out items, predicted from the other's common part
        (Eq. 5), as a share of their mean square. 0 to 1; lower is better, 1 means that nothing is shared.
    residual_share_ : float
        Share of the covariance between the modalities that the specific parts still carry, on the items
        of `fit`: 0 is best, 1 is worst; NaN if there is no covariance. The mean over pairs of modalities.
    primitive_ : str
        What the primitives are made of.
    history_ : list of dict of str to float
        A record an epoch.
    n_iter_ : int
        How many epochs there were.
    n_components_ : int
        Columns of each part.
    modality_names_ : tuple of str
        The prefixes of X's columns, or "x" and "y".
    n_features_per_modality_ : tuple of int
        Columns of the modalities.
    n_features_in_ : int
        Their sum.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if they have any.
    fit_mode_ : {"pair", "stacked"}
        How `fit` got the modalities. The rest of the fitted state does not depend on it.

    See Also
    --------
    AttentiveBPR : Recommends from the parts.
    sklearn.cross_decomposition.CCA : Finds canonical directions, but neither their number nor the rest.

    Notes
    -----
    Stability: the parameters of the networks may change.

    References
    ----------
    T. Han, P. Wang, S. Niu, C. Li, "Modality matches modality: pretraining modality-disentangled item
    representations for recommendation" (PAMD), WWW 2022, https://doi.org/10.1145/3485447.3512079.

    Examples
    --------
    >>> from modalsplit import DisentangledModalityEncoder
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(500, n_shared=3, random_state=0)
    >>> encoder = DisentangledModalityEncoder(20, objective="cca", random_state=0)
    >>> common, specific = encoder.fit(data.X_img, data.X_txt).transform(data.X_img, data.X_txt)
    >>> common.shape, specific.shape, encoder.common_rank_
    ((500, 40), (500, 40), 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "objective": [StrOptions(_OBJECTIVES)],
        "split": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "output": [StrOptions({"all", *_PARTS})],
        "missing": [StrOptions({"error", "translate", "nan"})],
        "common_rank": [Interval(Integral, 0, None, closed="left"), None],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "extractor": [StrOptions({"learned", "linear", "mlp"}), None],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions({"sgd", "adam", "adamw"}), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "batch_size": [Interval(Integral, 4, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "family": [StrOptions({"paper", "official"})],
        "orthogonality": [StrOptions({"inner", "hadamard", "covariance", "hsic"})],
        "gap": [StrOptions({"batch", "item"})],
        "anchor": [StrOptions({"primitive", "specific"}), None],
        "temperature": [Interval(Real, 0, None, closed="neither"), None],
        "batch_sum_negative": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    fit_mode_: str
    n_features_per_modality_: tuple[int, ...]
    _packed = ("module_", "_seen")
    # Where results go is no matter of routing.
    __metadata_request__transform: ClassVar[dict[str, Any]] = {"out": UNUSED}

    def __init__(
        self,
        n_components: int | str | None = None,
        *,
        objective: str = "stable",
        split: str | int | Sequence[int] | Sequence[str] | None = "auto",
        output: str = "all",
        missing: str = "error",
        common_rank: int | None = None,
        ridge: float = 3.0,
        extractor: str | None = None,
        hidden_units: int = 256,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        family: str = "paper",
        orthogonality: str = "inner",
        gap: str = "batch",
        anchor: str | None = None,
        temperature: float | None = None,
        batch_sum_negative: bool = False,
        validation_fraction: float = 0.2,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.objective = objective
        self.split = split
        self.output = output
        self.missing = missing
        self.common_rank = common_rank
        self.ridge = ridge
        self.extractor = extractor
        self.hidden_units = hidden_units
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.family = family
        self.orthogonality = orthogonality
        self.gap = gap
        self.anchor = anchor
        self.temperature = temperature
        self.batch_sum_negative = batch_sum_negative
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any = None, *, checkpoint: str | PathLike[str] | None = None) -> Self:
        """Learn the two parts of each modality.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns) or FeatureStore
            The first modality, or all side by side; `split` says which. A store, which need not fit memory, holds all
            modalities and names them; of ``"stable"`` and ``"cca"``.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality, or ignored; `split` says which.
        checkpoint : str or Path, optional
            A folder to keep what takes long. The same call after the process was killed goes on from there, and on one
            thread ends with the same numbers. Delete it when it is no longer needed.

        Returns
        -------
        self
            The fitted encoder.

        Raises
        ------
        ValueError
            If the modalities have different numbers of rows, or are DataFrames whose indexes hold other ids or the same in
            another order, if y looks like labels or interactions while `split` is "auto", if a modality is constant or has infinite values, if values are missing and
            `missing` is "error", if too few items have two modalities, or if `n_components` is larger than
            can be had; if the checkpoint was begun with another configuration or other data.
        RuntimeError
            If another process uses the checkpoint.
        OSError
            If the disk is full.
        ConvergenceError
            If ``"paper_literal"`` diverges. The encoder then holds the last finite state and can be used.

        Notes
        -----
        A `KeyboardInterrupt` ends the learning, with a warning: the encoder then holds what held-out items confirm
        of what was learned so far, at least the closed form. One that comes before there is a closed form goes through.
        """
        self._validate_params()
        views = self._views_to_fit(X, y)
        most = self._most_components(views)
        device = _device(self.device)
        tensors = [view if isinstance(view, StoredView) else _tensor(view, device) for view in views]
        seed = self._seed()
        with (
            self._stages(checkpoint, views, seed) as (stages, seed),
            # Rounds of learning, whose number nobody knows before, have `max_epochs` each.
            epochs(self, None if self.objective == "stable" else self.max_epochs, X=X, y=y) as end_of_epoch,
        ):
            settings = replace(
                self._settings(most, seed, device),
                on_epoch=lambda record: end_of_epoch(None),
                on_interrupt=lambda: self._warn_of_interrupt(checkpoint),
                stages=stages,
            )
            if self.n_components == "auto":
                settings = replace(settings, n_components=automatic_width(tensors, settings))
            fitted = fit_objective(tensors, settings)
        self._remember(fitted, settings.n_components, _torch_dtype(views))
        return self

    @available_if(_is_closed_form)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Learn from more items, with ``objective="cca"``: each item is seen once.

        The parts are those of `fit` on all items seen so far. Means and covariances are exact; as many items as
        have 2²⁴ values, drawn with equal chances, judge how many directions are common.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            See `fit`.
        y : array-like of shape (n_items, n_columns_second), optional
            See `fit`.

        Returns
        -------
        self
            The fitted encoder.

        Raises
        ------
        ValueError
            As `fit`; or if the columns are not those of the items before.

        Notes
        -----
        The first call begins anew, also after `fit`. Each costs the eigenvectors of all columns: give thousands of items.
        """
        self._validate_params()
        if isinstance(X, FeatureStore):
            raise ValueError("partial_fit takes arrays of a few thousand items. fit takes a store as a whole.")
        seen: Seen | None = getattr(self, "_seen", None)
        if seen is None:
            views = self._views_to_fit(X, y)
            seen = nothing_seen(self.n_features_per_modality_, self._seed())
        else:
            found = self._views_to_transform(X, y if self.fit_mode_ == "pair" else None)
            views = [view for view in found if view is not None]
            if len(views) < len(found):
                raise ValueError("partial_fit got one modality. Pass both, with rows of NaN where an item lacks one.")
        if self.missing == "error":
            self._refuse_missing(present(views))
        seen = see(seen, [_tensor(view, torch.device("cpu")) for view in views])
        most = self._most_components([view.numpy() for view in seen["rows"]])
        settings = self._settings(most, seen["seed"], torch.device("cpu"))
        if self.n_components == "auto":
            settings = replace(settings, n_components=automatic_width(seen["rows"], settings))
        fitted = fit_seen(seen, settings)
        self._remember(fitted, settings.n_components, _torch_dtype(views))
        self._seen = seen
        return self

    def missing_modalities(self, X: Any = None, y: Any = None) -> NDArray[np.bool_]:
        """Tell which modality of which item is missing, so that `transform` imputes its parts.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns) or None
            As for `transform`.
        y : array-like of shape (n_items, n_columns_second), optional
            As for `transform`.

        Returns
        -------
        ndarray of bool of shape (n_items, n_modalities)
            True where the modality has a NaN or is not given.
        """
        check_is_fitted(self, "module_")
        return ~present(self._views_to_transform(X, y))

    def parts(self, X: Any = None, y: Any = None) -> ModalityParts:
        """Split items, and return one matrix a part and modality, whatever `output` and ``set_output`` say.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns) or None
            As for `transform`.
        y : array-like of shape (n_items, n_columns_second), optional
            As for `transform`.

        Returns
        -------
        ModalityParts
            Names, features, common and specific parts.
        """
        check_is_fitted(self, "module_")
        views = self._views_to_transform(X, y)
        parts, imputed = self._encode(views)
        common, specific = (
            tuple(np.ascontiguousarray(parts[:, kind, m]) for m in range(len(views))) for kind in range(len(_PARTS))
        )
        return ModalityParts(tuple(self.modality_names_), tuple(views), common, specific, imputed)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Name the columns of ``transform(X)``: ``image_common__0`` and so on.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the columns of `fit`, and not used otherwise.

        Returns
        -------
        ndarray of str of shape (n_columns_out,)
            The names.

        Raises
        ------
        ValueError
            If `input_features` are not the columns of `fit`.
        """
        check_is_fitted(self, "module_")
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            known = getattr(self, "feature_names_in_", None)
            if known is not None and not np.array_equal(given, known):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != self.n_features_in_:
                raise ValueError(
                    f"input_features should have length equal to number of features ({self.n_features_in_}), "
                    f"got {len(given)}"
                )
        return np.asarray(self._names(self.output), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _seed(self) -> int:
        return from_first(lambda: int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)))

    def _settings(self, n_components: int, seed: int, device: torch.device) -> Settings:
        return Settings(
            **{name: getattr(self, name) for name in _SETTINGS},
            n_components=n_components,
            generator=torch.Generator(device).manual_seed(seed),
            progress=self._progress,
        )

    @contextmanager
    def _progress(self, what: str, n_steps: int, unit: str) -> Iterator[Callable[..., object]]:
        """Show what is done, how fast, and how long it will take."""
        name = f"{type(self).__name__}: {what}"
        with tqdm(desc=name, total=n_steps, unit=f" {unit}", disable=not self.verbose or ranks().rank > 0) as bar:

            def done(n: int = 1, record: dict[str, float] | None = None) -> None:
                if record is not None:
                    bar.set_postfix({key: f"{value:.3g}" for key, value in record.items()}, refresh=False)
                bar.update(n)

            yield done

    @contextmanager
    def _stages(
        self, checkpoint: str | PathLike[str] | None, views: list[Any], seed: int
    ) -> Iterator[tuple[Stages, int]]:
        """Open the checkpoint, if there is one, and say with which seed to go on."""
        if checkpoint is None:
            yield Stages(), seed
            return
        free = {"random_state", "output", "verbose"}
        parameters = {name: value for name, value in self.get_params().items() if name not in free}
        versions = {"modalities": self.modality_names_, "torch": torch.__version__}
        data = {"items": len(views[0]), "columns": self.n_features_per_modality_, "sha256": _fingerprint(views)}
        known = None if self.random_state is None else seed
        with opened_by_ranks(checkpoint, {**parameters, **versions}, data, known) as stages:
            yield stages

    def _warn_of_interrupt(self, checkpoint: str | PathLike[str] | None) -> None:
        further = "" if checkpoint is None else f" The same call with checkpoint={str(checkpoint)!r} goes on."
        warnings.warn(
            f"fit was interrupted. The encoder holds what was learned so far, and can be used.{further}",
            UserWarning,
            stacklevel=2,
        )

    def _transform_store(self, store: FeatureStore, y: Any, out: str | PathLike[str] | None) -> Any:
        if y is not None:
            raise ValueError("X is a store, which holds all modalities: leave y out.")
        parts = self._parts_of(store)

        def stacked(rows: slice) -> NDArray[Any]:
            return np.hstack(list(parts(rows).values()))

        with self._progress("transform", len(store), "items") as done:
            if out is None:
                whole = np.empty((len(store), len(self._names(self.output))), dtype=store.dtype)
                for rows in store.blocks():
                    whole[rows] = stacked(rows)
                    done(rows.stop - rows.start)
                index = pd.DataFrame(index=store.read_ids(slice(0, len(store))))
                return wrap_output(self, whole, self._names(self.output), index)
            if str(out).endswith(".npy"):
                return write_matrix(out, store, stacked, self._origin_of_parts(store), on_rows=done)
            return write_shards(out, store, parts, self._origin_of_parts(store), on_rows=done)

    def _parts_of(self, store: FeatureStore) -> Callable[[slice], dict[str, NDArray[Any]]]:
        """Give a function that splits some rows of a store: a matrix a part and modality, by name."""
        order = self._order_of(store)
        kept = _PARTS if self.output == "all" else (self.output,)

        def parts(rows: slice) -> dict[str, NDArray[Any]]:
            views = [store.read(rows, modality) for modality in order]
            for view, name in zip(views, self.modality_names_, strict=True):
                check_finite(view, name, rows.start)
            found, _ = self._encode(views, rows.start)
            return {
                f"{name}_{part}": found[:, _PARTS.index(part), m]
                for part in kept
                for m, name in enumerate(self.modality_names_)
            }

        return parts

    def _origin_of_parts(self, store: FeatureStore) -> dict[str, Any]:
        """Say what the parts of a store's items depend on."""
        return {"encoder": self._fingerprint(), "store": store.fingerprint(), "output": self.output}

    def _order_of(self, store: FeatureStore) -> list[int]:
        """Find the modalities of `fit` in a store."""
        for name, width in zip(self.modality_names_, self.n_features_per_modality_, strict=True):
            if name not in store.names:
                raise ValueError(
                    f"The store has no modality {name!r}; it has {store.names}, fit saw {self.modality_names_}."
                )
            found = store.widths[store.names.index(name)]
            if found != width:
                raise ValueError(f"The {name} modality of the store has {found} columns, but had {width} in fit.")
        return [store.names.index(name) for name in self.modality_names_]

    def _fingerprint(self) -> str:
        """Tell what this encoder computes from what others do."""
        digest = hashlib.sha256(repr((self.modality_names_, self.missing, self.common_support_.tolist())).encode())
        for name, tensor in self.module_.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def _remember(self, fitted: Fitted, n_components: int, dtype: torch.dtype) -> None:
        self.n_components_ = n_components
        self.module_ = fitted.module.to("cpu", dtype).eval()
        self.common_rank_ = fitted.rank
        everywhere = np.ones((len(self.modality_names_), n_components), dtype=bool)
        self.common_support_ = everywhere if fitted.support is None else fitted.support.cpu().numpy()
        self.canonical_correlations_ = fitted.correlations.cpu().numpy()
        self.translation_error_ = fitted.translation_error
        self.residual_share_ = fitted.residual_share
        self.primitive_ = fitted.primitive
        self.history_ = fitted.history
        self.n_iter_ = max(1, len(fitted.history))
        if fitted.diverged is not None:
            raise ConvergenceError(fitted.diverged)
        if self.common_rank_ == 0 and self.common_rank is None:
            warnings.warn(
                "The modalities share nothing that held-out items confirm: the common parts are 0 and the "
                "specific parts are everything. Check that the rows of all modalities are in the same "
                "order, fit on more items, or set common_rank.",
                UserWarning,
                stacklevel=4,
            )

    # Which columns are which modality ---------------------------------------------------------------

    def _views_to_fit(self, X: Any, y: Any) -> list[Any]:
        if hasattr(self, "_seen"):
            del self._seen
        if isinstance(X, FeatureStore):
            return self._stored_views(X, y)
        pair = second_is_y(self.split, X, y)
        self.fit_mode_ = "pair" if pair else "stacked"
        if pair:
            views = [self._checked(X, "X"), self._checked(y, "y")]
            check_same_items(X, y)
            self.modality_names_: tuple[str, ...]
            self.modality_names_, names = pair_names(column_names(X), column_names(y))
            self._set_feature_names(names)
        else:
            whole = validate_data(self, X, reset=True, **_check_options(X))
            names = column_names(X)
            columns = stacked_columns(self.split, names, whole.shape[1])
            views = [whole[:, chosen] for chosen in columns]
            self.modality_names_ = modality_names(self.split, names, len(columns))
        self.n_features_per_modality_ = tuple(view.shape[1] for view in views)
        self.n_features_in_ = sum(self.n_features_per_modality_)
        dtype = np.result_type(*views)
        # Half precision stays as it is: what computes in blocks makes no copy of all.
        return [view.astype(dtype, copy=False) for view in views]

    def _stored_views(self, store: FeatureStore, y: Any) -> list[StoredView]:
        if y is not None:
            raise ValueError("X is a store, which holds all modalities: leave y out.")
        chosen = store.names if self.split == "auto" else self.split
        if not isinstance(chosen, tuple | list) or not all(isinstance(name, str) for name in chosen):
            raise ValueError(f"split={self.split!r} counts columns, but a store names its modalities: {store.names}.")
        unknown = [name for name in chosen if name not in store.names]
        if unknown or len(chosen) < FEWEST_MODALITIES:
            raise ValueError(
                f"split={self.split!r} must name two modalities or more of the store, which has {store.names}."
            )
        self.fit_mode_ = "stacked"
        self.modality_names_ = tuple(str(name) for name in chosen)
        order = [store.names.index(name) for name in self.modality_names_]
        self.n_features_per_modality_ = tuple(store.widths[modality] for modality in order)
        self.n_features_in_ = sum(self.n_features_per_modality_)
        widths = zip(self.modality_names_, self.n_features_per_modality_, strict=True)
        self._set_feature_names([column for name, width in widths for column in block_names(name, width)])
        return [survey(store, modality, self._progress, _device(self.device)) for modality in order]

    def _views_to_transform(self, X: Any, y: Any) -> list[NDArray[Any] | None]:
        """All modalities, None for one that is not given."""
        if X is None and y is None:
            raise ValueError("transform got no modality: pass X, y or both.")
        if y is not None:
            self._check_two()
            views = [None if X is None else self._checked(X, "X", 0), self._checked(y, "y", 1)]
            if X is not None:
                check_same_items(X, y)
            return views
        if self._is_first_alone(X):
            return [self._checked(X, "X", 0), None]
        whole = validate_data(self, X, reset=False, **_check_options(X))
        return [whole[:, columns] for columns in self._columns_seen()]

    def _is_first_alone(self, X: Any) -> bool:
        """Tell whether X has the columns of the first of two modalities, which those of a stack say by their names."""
        is_known = self.fit_mode_ == "pair" or (bool(self._names_seen()) and bool(column_names(X)))
        shape = getattr(X, "shape", None) or (np.shape(X) if isinstance(X, list | tuple) else ())
        first, *others = self.n_features_per_modality_
        return is_known and len(others) == 1 and shape[-1:] == (first,)

    def _check_two(self) -> None:
        if len(self.n_features_per_modality_) > FEWEST_MODALITIES:
            raise ValueError(
                f"y was given, but the encoder was fitted on {len(self.modality_names_)} modalities: "
                f"{self.modality_names_}. Pass one matrix X with the columns of all, and a row of NaN in the block of "
                "one that is missing."
            )

    def _columns_seen(self) -> Sequence[Columns]:
        """Where the modalities stood in the columns of `fit`."""
        if self.fit_mode_ == "pair" or self._is_cut():
            first = self.n_features_per_modality_[0]
            return slice(0, first), slice(first, self.n_features_in_)
        return stacked_columns(self.split, self._names_seen(), self.n_features_in_)

    def _is_cut(self) -> bool:
        """Tell whether nothing said where the second modality begins, so that it begins in the middle."""
        return isinstance(self.split, str) and len(block_columns(self._names_seen())) < FEWEST_MODALITIES

    def _names_seen(self) -> list[str]:
        return list(getattr(self, "feature_names_in_", []))

    def _checked(self, X: Any, name: str, modality: int | None = None) -> NDArray[Any]:
        """Check one modality, given alone; after `fit` with the number of its columns and their names."""
        array: NDArray[Any] = check_array(X, input_name=name, **_check_options(X))
        if modality is None:
            return array
        n_columns = self.n_features_per_modality_[modality]
        if array.shape[1] != n_columns:
            raise ValueError(
                f"{name} has {array.shape[1]} features, but {type(self).__name__} is expecting {n_columns} features "
                f"as input: modalities {self.modality_names_} had {self.n_features_per_modality_} columns in fit."
            )
        self._check_names(column_names(X), name, modality)
        return array

    def _check_names(self, given: list[str], name: str, modality: int) -> None:
        """Refuse other columns than those of `fit`, or another order; where both have names, with or without prefix."""
        seen = np.array(self._names_seen(), dtype=object)
        if not given or not len(seen):
            return
        prefix = f"{self.modality_names_[modality]}{SEPARATOR}"
        expected = [column.removeprefix(prefix) for column in seen[self._columns_seen()[modality]]]
        for number, (found, wanted) in enumerate(zip(given, expected, strict=True)):
            if found.removeprefix(prefix) != wanted:
                raise ValueError(
                    f"The feature names should match those that were passed during fit, in the same order: column {number} of "
                    f"{name} is {found!r}, where {self.modality_names_[modality]} had {prefix + wanted!r}."
                )

    def _set_feature_names(self, names: list[str]) -> None:
        if names:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _names(self, output: str) -> list[str]:
        parts = _PARTS if output == "all" else (output,)
        return [
            name
            for part in parts
            for modality in self.modality_names_
            for name in block_names(f"{modality}_{part}", self.n_components_)
        ]

    # What the values must be ------------------------------------------------------------------------

    def _most_components(self, views: list[Any]) -> int:
        """Check that there is enough to learn from, and how many components it can give."""
        stored = [view.present.cpu().numpy() for view in views if isinstance(view, StoredView)]
        have = np.column_stack(stored) if stored else present(views)
        if self.missing == "error":
            self._refuse_missing(have)
        n_complete = int((have.sum(axis=1) >= FEWEST_MODALITIES).sum())
        counts = ", ".join(
            f"{name}: {int(column.sum())}" for name, column in zip(self.modality_names_, have.T, strict=True)
        )
        if not n_complete or not have.any(axis=0).all():
            raise ValueError(
                f"None of the {len(have)} items has two modalities, or one modality is missing everywhere (items that "
                f"have one: {counts}). The encoder learns what is shared from items with two."
            )
        if n_complete < 2:
            raise ValueError("Found array with 1 sample(s) that has two modalities, a minimum of 2 is required.")
        for view, name, rows in zip(views, self.modality_names_, have.T, strict=True):
            if not stored:  # a store was looked through before
                self._check_variation(view if rows.all() else view[rows], name)
        return self._usable_components(n_complete)

    def _refuse_missing(self, have: NDArray[np.bool_], first_row: int = 0) -> None:
        absent = ~have
        if absent.any():
            counts = ", ".join(
                f"{int(gaps.sum())} of {name}" for name, gaps in zip(self.modality_names_, absent.T, strict=True)
            )
            raise ValueError(
                f"Input X contains NaN: {counts}; the first is row {first_row + int(absent.any(axis=1).argmax())}. "
                f"{type(self).__name__} with missing='error' takes complete items only. Mend the featurizer, or "
                "pass missing='translate' or missing='nan'."
            )

    def _check_variation(self, rows: NDArray[Any], name: str) -> None:
        if np.ptp(rows, axis=0).max(initial=0) == 0:
            raise ValueError(
                f"The {name} modality is constant: its {rows.shape[1]} feature(s) have the same values in all "
                f"{len(rows)} items, so there is nothing to split. Check its featurizer."
            )

    def _usable_components(self, n_complete: int) -> int:
        most = max(1, min(n_complete - 1, max(self.n_features_per_modality_)))
        if self.n_components in {None, "auto"}:
            return int(min(DEFAULT_COMPONENTS, most))
        if int(self.n_components) > most:
            widths = " and ".join(map(str, self.n_features_per_modality_))
            raise ValueError(
                f"n_components={self.n_components} is larger than can be had: {n_complete} complete items, and "
                f'modalities of {widths} columns, give {most} at most. Pass n_components={most}, "auto" or None.'
            )
        return int(self.n_components)

    # Encoding ---------------------------------------------------------------------------------------

    def _encode(
        self, views: Sequence[NDArray[Any] | None], first_row: int = 0
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Split rows: an array of shape (n_items, 2, n_modalities, n_components), common parts first; and what is missing."""
        have = present(views)
        if self.missing == "error":
            self._refuse_missing(have | [view is None for view in views], first_row)
        dtype = np.promote_types(np.float32, next(view.dtype for view in views if view is not None))
        parts = np.full((len(have), len(_PARTS), len(views), self.n_components_), np.nan, dtype=dtype)
        for m, view in enumerate(views):
            if view is not None:
                self._encode_modality(view, have[:, m], m, parts[:, :, m])
        if self.missing != "nan" and not have.all():
            common, specific = parts[:, 0], parts[:, 1]
            stand_in = self._stand_in(common, have)
            for m, absent in enumerate(~have.T):
                common[absent, m] = stand_in[absent] * self.common_support_[m]
                specific[absent, m] = 0
        return parts, ~have

    def _stand_in(self, common: NDArray[Any], have: NDArray[np.bool_]) -> NDArray[Any]:
        """Average each column of the common parts over the modalities that an item has and that show it."""
        total = np.zeros_like(common[:, 0])
        count = np.zeros_like(total)
        for m, (rows, support) in enumerate(zip(have.T, self.common_support_, strict=True)):
            shown = rows[:, None] & support
            total += np.where(shown, common[:, m], 0)
            count += shown
        mean: NDArray[Any] = total / np.maximum(count, 1)
        return mean

    def _encode_modality(self, view: NDArray[Any], rows: NDArray[np.bool_], modality: int, out: NDArray[Any]) -> None:
        """Split the rows that have a modality, into an array of shape (n_items, 2, n_components)."""
        dtype = next(self.module_.buffers()).dtype
        for block in gen_batches(len(rows), _ROWS_A_BLOCK):  # so that what is made on the way stays small
            have = rows[block]
            if not have.any():
                continue
            where = slice(None) if have.all() else have
            with torch.inference_mode():
                parts = self.module_(_shared(view[block][where]).to(dtype), modality)
            for kind, part in enumerate(parts):
                out[block, kind][where] = part.numpy()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _tensor(view: NDArray[Any], device: torch.device) -> torch.Tensor:
    return _shared(view).to(device)


def _torch_dtype(views: Sequence[Any]) -> torch.dtype:
    dtypes = [view.store.dtype if isinstance(view, StoredView) else view.dtype for view in views]
    return torch.float64 if np.float64 in dtypes else torch.float32


def _fingerprint(views: Sequence[Any]) -> str:
    """Tell the data of a fit from others."""
    if isinstance(views[0], StoredView):
        fingerprint: str = views[0].store.fingerprint()
        return fingerprint
    digest = hashlib.sha256()
    for view in views:
        digest.update(f"{view.dtype} {view.shape}".encode())
        for start in range(0, len(view), 4096):
            digest.update(np.ascontiguousarray(view[start : start + 4096]).data)
    return digest.hexdigest()


def _check_options(X: Any) -> dict[str, Any]:
    dtype: Any = list(_NUMBERS)
    if hasattr(X, "to_numpy") and not hasattr(X, "iloc"):
        # scikit-learn reads the dtype of a polars frame as float64 even if every column is float32.
        dtype = np.float32 if X.to_numpy().dtype == np.float32 else np.float64
    return {"dtype": dtype, "ensure_all_finite": "allow-nan", "ensure_min_samples": 1}


def _shared(view: NDArray[Any]) -> torch.Tensor:
    """Look at an array as a tensor, without a copy if torch can. Nobody writes to it, so that it may be read-only."""
    if not view.flags.c_contiguous and not (view.flags.writeable and all(stride > 0 for stride in view.strides)):
        view = view.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(view)
