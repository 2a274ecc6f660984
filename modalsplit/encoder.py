"""DisentangledModalityEncoder: split two modalities into what they share and what is specific to each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from modalsplit._sklearn import CallbackSupportMixin, Interval, StrOptions, epochs, with_callbacks, wrap_output
from modalsplit.blocks import Columns, block_columns, block_names
from modalsplit.modalities import (
    column_names,
    modality_names,
    pair_names,
    present,
    second_is_y,
    stacked_columns,
)
from modalsplit.objectives import Settings, fit_closed_form, fit_stable

DEFAULT_COMPONENTS = 150
_OBJECTIVES: dict[str, Callable[..., Any]] = {"stable": fit_stable, "cca": fit_closed_form}
_PARTS = ("common", "specific")
_NUMBERS = (np.float64, np.float32)


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


class _TransformMethods:
    """Outside `TransformerMixin` on purpose: its automatic wrapper would mislabel named tuples."""

    def transform(self: Any, X: Any = None, y: Any = None) -> Any:
        """Split items into common and specific parts.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns) or None
            Both modalities side by side; or the first modality, when `y` is given or when X has just its
            columns. None if only the second modality is known.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality.

        Returns
        -------
        array of shape (n_items, 4 * n_components) or ModalityEmbeddings
            One array for one argument X: common parts of both modalities, then specific parts of both, or
            what `output` selects. The named tuple ``(common, specific)`` when the second argument is given.

        Raises
        ------
        ValueError
            If the columns are not those that `fit` saw, or values are missing or infinite.
        sklearn.exceptions.NotFittedError
            If the encoder is not fitted.
        """
        check_is_fitted(self, "module_")
        views = self._views_to_transform(X, y)
        original = X if X is not None else y
        common, specific, imputed = self._encode(views)
        if y is None:
            kept = {"all": [*common, *specific], "common": common, "specific": specific}[self.output]
            return wrap_output(self, np.hstack(kept), self._names(self.output), original)
        wrapped = [
            wrap_output(self, np.hstack(part), self._names(name), original)
            for part, name in ((common, "common"), (specific, "specific"))
        ]
        return ModalityEmbeddings(wrapped[0], wrapped[1], imputed)

    def fit_transform(self: Any, X: Any, y: Any = None) -> Any:
        """Fit, then split the same items.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            See `fit`.
        y : array-like, optional
            See `fit`.

        Returns
        -------
        array of shape (n_items, 4 * n_components) or ModalityEmbeddings
            The named tuple if `fit` took y for the second modality, else one array.
        """
        self.fit(X, y)
        return self.transform(X, y) if self.fit_mode_ == "pair" else self.transform(X)


class DisentangledModalityEncoder(_TransformMethods, CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Split two modalities of the same items into a common and a specific part each.

    Every modality gets a primitive representation e; its common part c is what the other modality also
    shows, and its specific part is the rest, s = e - c (Eq. 2 of the paper). The common parts of the two
    modalities live in the same coordinates, and rows that were held out of the computation decide how many
    of these there are.

    Parameters
    ----------
    n_components : int or None, default=None
        Columns of each part; at most the columns of the wider modality and the number of items minus 1.
        None takes the most that can be had, up to 150, the paper's value.
    objective : {"stable", "cca"}, default="stable"
        How the parts are found:

        - ``"stable"``: canonical directions of the modalities' principal anchors and of features that two
          small networks learn from them. Finds non-linear sharing. Where held-out items are not predicted
          better than by ``"cca"``, it is ``"cca"``.
        - ``"cca"``: the closed form without learned features, fast and linear.
    split : "auto", int, tuple of two str, or None, default="auto"
        Where the second modality is:

        - ``"auto"``: in X, if X is a DataFrame whose columns have exactly two prefixes (``image__0``,
          ``text__0``); else in y, if y is a dense real matrix; else the second half of X's columns, with
          a warning.
        - int: in X, from this column on. ``y`` is ignored.
        - tuple such as ``("image", "text")``: in X, by column names that start so. ``y`` is ignored.
        - None: in y, always.
    output : {"all", "common", "specific"}, default="all"
        What ``transform(X)`` returns when it returns one array.
    missing : {"error", "translate", "nan"}, default="error"
        What to do with an item one modality of which is missing (any NaN in its columns): refuse it; let
        the common part of the other modality stand in and set the specific part to its mean, 0 (as all parts of
        an item that has neither); or return NaN for its parts. `fit` uses the complete items. One modality
        given alone is always allowed.
    common_rank : int or None, default=None
        Rank of the common parts; None to let held-out items decide.
    ridge : float, default=0.1
        How strongly directions of small variance are held down, in units of the mean variance of the
        leading ones. 0 makes noise as large as signal.
    hidden_units : int, default=256
        Of the networks that learn features.
    learning_rate : float, default=2e-3
        Highest learning rate of the networks (AdamW, one cycle).
    weight_decay : float, default=1e-2
        Of the networks.
    batch_size : int, default=500
        Items in a gradient step.
    max_epochs : int or None, default=None
        Passes over the items; None takes as many as make 1,500 gradient steps, and 10 at least. The state
        with the lowest loss on held-out items is kept.
    validation_fraction : float, default=0.2
        Share of the items that are held out to judge directions and features.
    device : str, default="auto"
        Where to compute: "auto" takes CUDA if there is any; else a torch device such as "cpu".
    random_state : int, RandomState or None, default=None
        Makes results repeatable. torch's global generator is not touched.
    verbose : int, default=0
        1 shows a progress bar. scikit-learn's own callbacks work as well, from its release 1.9 on.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted encoder, a `modalsplit.nn.Disentangler`.
    common_rank_ : int
        How many columns of the common parts are not 0: they come first.
    canonical_correlations_ : ndarray of shape (n_pairs,)
        Correlations of the canonical pairs on held-out items, of which the first `common_rank_` are
        common.
    translation_error_ : float
        Squared error of a modality's anchors on held-out items, predicted from the other's common part
        (Eq. 5), as a share of their mean square. 0 to 1; lower is better, 1 means that nothing is shared.
    residual_share_ : float
        Share of the covariance between the modalities that the specific parts still carry, on the items
        of `fit`: 0 is best, 1 is worst; NaN if there is no covariance.
    primitive_ : str
        What the primitives are made of.
    history_ : list of dict of str to float
        A record an epoch.
    n_iter_ : int
        How many epochs there were.
    n_components_ : int
        Columns of each part.
    modality_names_ : tuple of two str
        The prefixes of X's columns, or "x" and "y".
    n_features_per_modality_ : tuple of two int
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
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "objective": [StrOptions(set(_OBJECTIVES))],
        "split": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "output": [StrOptions({"all", *_PARTS})],
        "missing": [StrOptions({"error", "translate", "nan"})],
        "common_rank": [Interval(Integral, 0, None, closed="left"), None],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "hidden_units": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 4, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        objective: str = "stable",
        split: str | int | Sequence[str] | None = "auto",
        output: str = "all",
        missing: str = "error",
        common_rank: int | None = None,
        ridge: float = 0.1,
        hidden_units: int = 256,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 500,
        max_epochs: int | None = None,
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
        self.hidden_units = hidden_units
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the two parts of each modality.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            The first modality, or both side by side; `split` says which.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality, or ignored; `split` says which.

        Returns
        -------
        self
            The fitted encoder.

        Raises
        ------
        ValueError
            If the modalities have different numbers of rows, if y looks like labels or interactions while
            `split` is "auto", if a modality is constant or has infinite values, if values are missing and
            `missing` is "error", if too few items are complete, or if `n_components` is larger than can
            be had.
        """
        self._validate_params()
        views = self._views_to_fit(X, y)
        complete = self._complete_rows(views)
        self._check_variation(views, complete)
        self.n_components_ = self._usable_components(int(complete.sum()))
        device = _device(self.device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        bar = tqdm(desc=type(self).__name__, unit=" epochs", disable=not self.verbose)
        with bar, epochs(self, self.max_epochs, X=X, y=y) as end_of_epoch:

            def on_epoch(record: dict[str, float]) -> bool:
                bar.update()
                bar.set_postfix({name: f"{value:.3g}" for name, value in record.items()}, refresh=False)
                return end_of_epoch(dict)

            settings = Settings(
                n_components=self.n_components_,
                ridge=self.ridge,
                common_rank=self.common_rank,
                validation_fraction=self.validation_fraction,
                generator=torch.Generator(device).manual_seed(seed),
                hidden_units=self.hidden_units,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                on_epoch=on_epoch,
            )
            tensors = [torch.from_numpy(_writeable(view, complete)).to(device) for view in views]
            fitted = _OBJECTIVES[self.objective]((tensors[0], tensors[1]), settings)
        self.module_ = fitted.module.to("cpu", tensors[0].dtype).eval()
        self.common_rank_ = fitted.rank
        self.canonical_correlations_ = fitted.correlations.cpu().numpy()
        self.translation_error_ = fitted.translation_error
        self.residual_share_ = fitted.residual_share
        self.primitive_ = fitted.primitive
        self.history_ = fitted.history
        self.n_iter_ = max(1, len(fitted.history))
        if self.common_rank_ == 0 and self.common_rank is None:
            warnings.warn(
                "The modalities share nothing that held-out items confirm: the common parts are 0 and the "
                "specific parts are everything. Check that the rows of both modalities are in the same "
                "order, fit on more items, or set common_rank.",
                UserWarning,
                stacklevel=3,
            )
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
        ndarray of bool of shape (n_items, 2)
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
        common, specific, imputed = self._encode(views)
        return ModalityParts(tuple(self.modality_names_), tuple(views), tuple(common), tuple(specific), imputed)

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

    # Which columns are which modality ---------------------------------------------------------------

    def _views_to_fit(self, X: Any, y: Any) -> list[NDArray[Any]]:
        pair = second_is_y(self.split, X, y)
        self.fit_mode_ = "pair" if pair else "stacked"
        if pair:
            views = [self._checked(X, "X"), self._checked(y, "y")]
            _check_same_rows(*views)
            self.modality_names_, names = pair_names(column_names(X), column_names(y))
            self._set_feature_names(names)
        else:
            whole = validate_data(self, X, reset=True, **_check_options(X))
            names = column_names(X)
            columns = stacked_columns(self.split, names, whole.shape[1])
            views = [whole[:, chosen] for chosen in columns]
            self.modality_names_ = modality_names(self.split, names)
        self.n_features_per_modality_ = (views[0].shape[1], views[1].shape[1])
        self.n_features_in_ = sum(self.n_features_per_modality_)
        dtype = np.result_type(*views)
        return [view.astype(dtype, copy=False) for view in views]

    def _views_to_transform(self, X: Any, y: Any) -> list[NDArray[Any] | None]:
        """Both modalities, None for one that is not given."""
        first, second = self.n_features_per_modality_
        if X is None and y is None:
            raise ValueError("transform got neither modality: pass X, y or both.")
        if y is not None:
            views = [None if X is None else self._checked(X, "X", first), self._checked(y, "y", second)]
            if views[0] is not None and views[1] is not None:
                _check_same_rows(views[0], views[1])
            return views
        if self.fit_mode_ == "pair" and getattr(X, "shape", (0,))[-1] == first:
            return [self._checked(X, "X", first), None]
        whole = validate_data(self, X, reset=False, **_check_options(X))
        return [whole[:, columns] for columns in self._columns_seen()]

    def _columns_seen(self) -> tuple[Columns, Columns]:
        """Where the modalities stood in the columns of `fit`."""
        first = self.n_features_per_modality_[0]
        names = list(getattr(self, "feature_names_in_", []))
        if self.fit_mode_ == "pair" or (self.split == "auto" and len(block_columns(names)) != 2):
            return slice(0, first), slice(first, self.n_features_in_)
        return stacked_columns(self.split, names, self.n_features_in_)

    def _checked(self, X: Any, name: str, n_columns: int | None = None) -> NDArray[Any]:
        array: NDArray[Any] = check_array(X, input_name=name, **_check_options(X))
        if n_columns not in {None, array.shape[1]}:
            raise ValueError(
                f"{name} has {array.shape[1]} features, but {type(self).__name__} is expecting {n_columns} features "
                f"as input: modalities {self.modality_names_} had {self.n_features_per_modality_} columns in fit."
            )
        return array

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

    def _complete_rows(self, views: list[NDArray[Any]]) -> NDArray[np.bool_]:
        have = present(views)
        complete = np.asarray(have.all(axis=1))
        if self.missing == "error":
            self._refuse_missing(have)
        if not complete.any():
            counts = ", ".join(
                f"{name}: {int(column.sum())}" for name, column in zip(self.modality_names_, have.T, strict=True)
            )
            raise ValueError(
                f"None of the {len(complete)} items has both modalities (items that have one: {counts}). The "
                "encoder learns from complete items."
            )
        if complete.sum() < 2:
            raise ValueError("Found array with 1 sample(s) that has both modalities, a minimum of 2 is required.")
        return complete

    def _refuse_missing(self, have: NDArray[np.bool_]) -> None:
        absent = ~have
        if absent.any():
            counts = ", ".join(
                f"{int(gaps.sum())} of {name}" for name, gaps in zip(self.modality_names_, absent.T, strict=True)
            )
            raise ValueError(
                f"Input X contains NaN: {counts}; the first is row {int(np.flatnonzero(absent.any(axis=1))[0])}. "
                f"{type(self).__name__} with missing='error' takes complete items only. Mend the featurizer, or "
                "pass missing='translate' or missing='nan'."
            )

    def _check_variation(self, views: list[NDArray[Any]], complete: NDArray[np.bool_]) -> None:
        for view, name in zip(views, self.modality_names_, strict=True):
            rows = view[complete] if not complete.all() else view
            if np.ptp(rows, axis=0).max(initial=0) == 0:
                raise ValueError(
                    f"The {name} modality is constant: its {rows.shape[1]} feature(s) have the same values in all "
                    f"{len(rows)} items, so there is nothing to split. Check its featurizer."
                )

    def _usable_components(self, n_complete: int) -> int:
        most = max(1, min(n_complete - 1, max(self.n_features_per_modality_)))
        if self.n_components is None:
            return int(min(DEFAULT_COMPONENTS, most))
        if self.n_components > most:
            raise ValueError(
                f"n_components={self.n_components} is larger than can be had: {n_complete} complete items, and "
                f"modalities of {self.n_features_per_modality_[0]} and {self.n_features_per_modality_[1]} columns, "
                f"give {most} at most. Pass n_components={most} or None."
            )
        return int(self.n_components)

    # Encoding ---------------------------------------------------------------------------------------

    def _encode(
        self, views: list[NDArray[Any] | None]
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]], NDArray[np.bool_]]:
        have = present(views)
        if self.missing == "error" and all(view is not None for view in views):
            self._refuse_missing(have)
        parts = [self._encode_modality(view, have[:, m], m) for m, view in enumerate(views)]
        dtype = next(view.dtype for view in views if view is not None)
        common, specific = ([part[i].astype(dtype, copy=False) for part in parts] for i in (0, 1))
        if self.missing != "nan":
            for m, absent in enumerate(~have.T):
                common[m][absent] = common[1 - m][absent]
                specific[m][absent] = 0
            for part in common:
                part[~have.any(axis=1)] = 0
        return common, specific, ~have

    def _encode_modality(
        self, view: NDArray[Any] | None, rows: NDArray[np.bool_], modality: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        dtype = next(self.module_.buffers()).dtype
        common, specific = torch.full((2, len(rows), self.n_components_), torch.nan, dtype=dtype)
        if view is not None and rows.any():
            with torch.inference_mode():
                parts = self.module_(torch.from_numpy(_writeable(view, rows)).to(dtype), modality)
            kept = torch.from_numpy(rows)
            common[kept], specific[kept] = parts
        return common.numpy(), specific.numpy()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _check_options(X: Any) -> dict[str, Any]:
    dtype: Any = list(_NUMBERS)
    if hasattr(X, "to_numpy") and not hasattr(X, "iloc"):
        # scikit-learn reads the dtype of a polars frame as float64 even if every column is float32.
        dtype = np.float32 if X.to_numpy().dtype == np.float32 else np.float64
    return {"dtype": dtype, "ensure_all_finite": "allow-nan", "ensure_min_samples": 1}


def _check_same_rows(X: NDArray[Any], y: NDArray[Any]) -> None:
    if len(X) != len(y):
        raise ValueError(
            f"The modalities have {len(X)} and {len(y)} rows. Row i of both must be the same item: pass one "
            "row an item in each."
        )


def _writeable(view: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[Any]:
    """Select rows; a copy only where torch needs one."""
    if not rows.all():
        return np.ascontiguousarray(view[rows])
    return view if view.flags.writeable and all(stride > 0 for stride in view.strides) else view.copy()
