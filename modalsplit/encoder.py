"""DisentangledModalityEncoder: split modalities into what they share and what is specific to each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
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
from modalsplit.exceptions import ConvergenceError
from modalsplit.modalities import (
    FEWEST_MODALITIES,
    column_names,
    modality_names,
    pair_names,
    present,
    second_is_y,
    stacked_columns,
)
from modalsplit.objectives import Fitted, Settings, automatic_width, fit_objective

DEFAULT_COMPONENTS = 150
_OBJECTIVES = {"stable", "cca", "paper", "paper_literal", "official", "con", "en", "de"}
_PARTS = ("common", "specific")
_NUMBERS = (np.float64, np.float32)
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


class _TransformMethods:
    """Outside `TransformerMixin` on purpose: its automatic wrapper would mislabel named tuples."""

    def transform(self: Any, X: Any = None, y: Any = None) -> Any:
        """Split items into common and specific parts.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns) or None
            All modalities side by side; or the first of two, when `y` is given or when X has just its
            columns. None if only the second modality is known.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality.

        Returns
        -------
        array of shape (n_items, 2 * n_modalities * n_components) or ModalityEmbeddings
            One array for one argument X: common parts of all modalities, then specific parts of all, or
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
        array of shape (n_items, 2 * n_modalities * n_components) or ModalityEmbeddings
            The named tuple if `fit` took y for the second modality, else one array.
        """
        self.fit(X, y)
        return self.transform(X, y) if self.fit_mode_ == "pair" else self.transform(X)


class DisentangledModalityEncoder(_TransformMethods, CallbackSupportMixin, TransformerMixin, BaseEstimator):
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
    ridge : float, default=1.0
        How strongly directions of large variance are held down in the anchors: to λ / (λ + ridge · mean λ), λ the
        variance. 0 makes noise as large as signal. Of "stable" and "cca".
    extractor : {"learned", "linear", "mlp"} or None, default=None
        What is trained: primitives that have a network, with a linear Θ; an affine primitive and a linear Θ; or
        an affine primitive and a Θ with one hidden layer. None for the objective's own: "learned" for
        ``"stable"``, "linear" for the others. ``"stable"`` with "linear" or "mlp" is a gradient-trained form
        on canonical anchors, which shrinks what it should remove.
    hidden_units : int, default=256
        Of the networks.
    optimizer : {"sgd", "adam", "adamw"} or None, default=None
        None for the objective's own: AdamW for ``"stable"``, SGD for ``"paper_literal"``, else Adam.
    learning_rate : float or None, default=None
        None for the objective's own: 2e-3 at most in one cycle for ``"stable"``, else 1e-3.
    weight_decay : float or None, default=None
        None for the objective's own: 1e-2 for ``"stable"``, 1e-5 for the official family, else 0.
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
    anchor : {"primitive", "specific"} or None, default=None
        What Eq. 9 translates to: the primitives, or the specific parts as printed. None for the objective's own.
    temperature : float or None, default=None
        Divides what the ranking part compares. None for the objective's own: 1, or 0.5 in the official family.
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
        1 shows a progress bar. scikit-learn's own callbacks work as well, from its release 1.9 on.

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

    def __init__(
        self,
        n_components: int | str | None = None,
        *,
        objective: str = "stable",
        split: str | int | Sequence[int] | Sequence[str] | None = "auto",
        output: str = "all",
        missing: str = "error",
        common_rank: int | None = None,
        ridge: float = 1.0,
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
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the two parts of each modality.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            The first modality, or all side by side; `split` says which.
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
            `missing` is "error", if too few items have two modalities, or if `n_components` is larger than
            can be had.
        ConvergenceError
            If ``"paper_literal"`` diverges. The encoder then holds the last finite state and can be used.
        """
        self._validate_params()
        views = self._views_to_fit(X, y)
        most = self._most_components(views)
        device = _device(self.device)
        tensors = [torch.from_numpy(_writeable(view)).to(device) for view in views]
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        bar = tqdm(desc=type(self).__name__, unit=" epochs", disable=not self.verbose)
        # Rounds of learning, whose number nobody knows before, have `max_epochs` each.
        known = None if self.objective == "stable" else self.max_epochs
        with bar, epochs(self, known, X=X, y=y) as end_of_epoch:

            def on_epoch(record: dict[str, float]) -> bool:
                bar.update()
                bar.set_postfix({name: f"{value:.3g}" for name, value in record.items()}, refresh=False)
                return end_of_epoch(dict)

            settings = Settings(
                **{name: getattr(self, name) for name in _SETTINGS},
                n_components=most,
                generator=torch.Generator(device).manual_seed(seed),
                on_epoch=on_epoch,
            )
            if self.n_components == "auto":
                settings = replace(settings, n_components=automatic_width(tensors, settings))
            fitted = fit_objective(tensors, settings)
        self._remember(fitted, settings.n_components, tensors[0].dtype)
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

    def _views_to_fit(self, X: Any, y: Any) -> list[NDArray[Any]]:
        pair = second_is_y(self.split, X, y)
        self.fit_mode_ = "pair" if pair else "stacked"
        if pair:
            views = [self._checked(X, "X"), self._checked(y, "y")]
            _check_same_rows(*views)
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
        return [view.astype(dtype, copy=False) for view in views]

    def _views_to_transform(self, X: Any, y: Any) -> list[NDArray[Any] | None]:
        """All modalities, None for one that is not given."""
        if X is None and y is None:
            raise ValueError("transform got no modality: pass X, y or both.")
        if y is not None:
            first, second = self._widths_of_two()
            views = [None if X is None else self._checked(X, "X", first), self._checked(y, "y", second)]
            if views[0] is not None and views[1] is not None:
                _check_same_rows(views[0], views[1])
            return views
        if self.fit_mode_ == "pair" and getattr(X, "shape", (0,))[-1] == self.n_features_per_modality_[0]:
            return [self._checked(X, "X", self.n_features_per_modality_[0]), None]
        whole = validate_data(self, X, reset=False, **_check_options(X))
        return [whole[:, columns] for columns in self._columns_seen()]

    def _widths_of_two(self) -> tuple[int, ...]:
        if len(self.n_features_per_modality_) > FEWEST_MODALITIES:
            raise ValueError(
                f"y was given, but the encoder was fitted on {len(self.modality_names_)} modalities: "
                f"{self.modality_names_}. Pass one matrix X with the columns of all, and a row of NaN in the block of "
                "one that is missing."
            )
        return self.n_features_per_modality_

    def _columns_seen(self) -> Sequence[Columns]:
        """Where the modalities stood in the columns of `fit`."""
        names = list(getattr(self, "feature_names_in_", []))
        unnamed = isinstance(self.split, str) and len(block_columns(names)) < FEWEST_MODALITIES
        if self.fit_mode_ == "pair" or unnamed:
            first = self.n_features_per_modality_[0]
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

    def _most_components(self, views: list[NDArray[Any]]) -> int:
        """Check that there is enough to learn from, and how many components it can give."""
        have = present(views)
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
            self._check_variation(view if rows.all() else view[rows], name)
        return self._usable_components(n_complete)

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
        if self.n_components > most:
            widths = " and ".join(map(str, self.n_features_per_modality_))
            raise ValueError(
                f"n_components={self.n_components} is larger than can be had: {n_complete} complete items, and "
                f'modalities of {widths} columns, give {most} at most. Pass n_components={most}, "auto" or None.'
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
        if self.missing != "nan" and not have.all():
            stand_in = self._stand_in(common, have)
            for m, absent in enumerate(~have.T):
                common[m][absent] = stand_in[absent] * self.common_support_[m]
                specific[m][absent] = 0
        return common, specific, ~have

    def _stand_in(self, common: list[NDArray[Any]], have: NDArray[np.bool_]) -> NDArray[Any]:
        """Average each column of the common parts over the modalities that an item has and that show it."""
        total = np.zeros_like(common[0])
        count = np.zeros(common[0].shape, dtype=common[0].dtype)
        for part, rows, support in zip(common, have.T, self.common_support_, strict=True):
            shown = rows[:, None] & support
            total += np.where(shown, part, 0)
            count += shown
        return total / np.maximum(count, 1)

    def _encode_modality(
        self, view: NDArray[Any] | None, rows: NDArray[np.bool_], modality: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        dtype = next(self.module_.buffers()).dtype
        common, specific = torch.full((2, len(rows), self.n_components_), torch.nan, dtype=dtype)
        if view is not None and rows.any():
            with torch.inference_mode():
                chosen = view if rows.all() else view[rows]
                parts = self.module_(torch.from_numpy(_writeable(chosen)).to(dtype), modality)
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


def _writeable(view: NDArray[Any]) -> NDArray[Any]:
    """Copy only where torch needs it."""
    return view if view.flags.writeable and all(stride > 0 for stride in view.strides) else view.copy()
