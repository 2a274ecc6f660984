"""CorrAE: codes of two modalities that agree."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from modalsplit._sklearn import CallbackSupportMixin, Interval, StrOptions, with_callbacks
from modalsplit.baselines._training import reported, seeded
from modalsplit.blocks import Columns, block_names
from modalsplit.files._packed import PackedModules
from modalsplit.modalities import (
    check_same_items,
    column_names,
    modality_names,
    pair_names,
    second_is_y,
    stacked_columns,
)
from modalsplit.nn import CorrespondenceAutoencoder
from modalsplit.recommend._fitting import _available
from modalsplit.training import minimise

Floats = NDArray[np.floating[Any]]
POSITIVE = Interval(Integral, 1, None, closed="left")
ALPHA = {"corr": 0.8, "cross": 0.2, "full": 0.8}
N_MODALITIES = 2
NUMBERS: Any = [np.float64, np.float32]


class CorrAE(CallbackSupportMixin, TransformerMixin, PackedModules):
    """Correspondence autoencoder: one code a modality, which reconstructs items and agrees with the other code.

    An item is represented by both codes side by side. Give them to a recommender, such as `VBPR`.

    Parameters
    ----------
    n_components : int, default=64
        Columns of a code.
    variant : {"corr", "cross", "full"}, default="corr"
        What a code reconstructs: its own modality (Corr-AE), the other (Corr-Cross-AE), or both (Corr-Full-AE).
    alpha : float, optional
        Weight of the squared distance of the codes, 0 to 1; the reconstruction has the rest. Near 1 the codes
        collapse to a constant. By default 0.8, 0.2 and 0.8 for the three variants.
    split : "auto", int, tuple of int, tuple of str, or None, default="auto"
        Where the second modality is, as for `modalsplit.DisentangledModalityEncoder`.
    hidden_units : int, default=256
        Of the hidden layer on either side of a code.
    learning_rate : float, default=1e-3
        Of Adam.
    max_epochs : int, default=100
        Passes over the items.
    batch_size : int, default=128
        Items a step.
    random_state : int, RandomState instance or None, default=None
        Pass an int for repeatable results. The global generators are left as they were.
    device : str or "auto", default="auto"
        Where to train, as `torch.device` takes it; ``"auto"`` takes a CUDA device if there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    module_ : torch.nn.Module
        The autoencoders.
    scalers_ : tuple of two StandardScaler
        Bring the columns of the modalities to variance 1, as the loss asks.
    modality_names_ : tuple of two str
        The prefixes of X's columns, or "x" and "y".
    history_ : list of dict of str to float
        The loss and its two terms, an epoch.
    n_iter_ : int
        Epochs.
    n_features_in_ : int
        Columns of both modalities.

    See Also
    --------
    modalsplit.DisentangledModalityEncoder : Keeps what is shared and what is not apart.

    Notes
    -----
    The paper stacks restricted Boltzmann machines under the autoencoders and trains layer by layer; here each
    side is one hidden layer, trained at once. Errors are means over columns, so that `alpha` does not depend on
    the widths.

    Stability: may change.

    References
    ----------
    F. Feng, X. Wang, R. Li, "Cross-modal retrieval with correspondence autoencoder", MM 2014.

    Examples
    --------
    >>> from modalsplit.baselines import CorrAE
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(100, n_features=(12, 9), random_state=0)
    >>> codes = CorrAE(4, max_epochs=2, random_state=0).fit_transform(data.X_img, data.X_txt)
    >>> codes.shape
    (100, 8)
    """

    _packed = ("module_", "_dtype")
    _columns: Sequence[Columns]
    modality_names_: tuple[str, ...]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [POSITIVE],
        "variant": [StrOptions(set(ALPHA))],
        "alpha": [Interval(Real, 0, 1, closed="both"), None],
        "split": [StrOptions({"auto"}), POSITIVE, tuple, list, None],
        "hidden_units": [POSITIVE],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [POSITIVE],
        "batch_size": [POSITIVE],
        "random_state": ["random_state"],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 64,
        *,
        variant: Literal["corr", "cross", "full"] = "corr",
        alpha: float | None = None,
        split: str | int | Sequence[int] | Sequence[str] | None = "auto",
        hidden_units: int = 256,
        learning_rate: float = 1e-3,
        max_epochs: int = 100,
        batch_size: int = 128,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.variant = variant
        self.alpha = alpha
        self.split = split
        self.hidden_units = hidden_units
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @with_callbacks  # type: ignore[untyped-decorator, unused-ignore]
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the codes.

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
            If there are not two modalities, they have different numbers of rows, or values are missing.
        FloatingPointError
            If the loss is no longer finite: lower `learning_rate`.
        """
        self._validate_params()
        views = self._views_to_fit(X, y)
        self.scalers_ = tuple(StandardScaler().set_output(transform="default").fit(view) for view in views)
        device = torch.device(_available(self.device))
        first, second = (view.to(device, torch.float32) for view in self._scaled(views))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        alpha = ALPHA[self.variant] if self.alpha is None else self.alpha
        widths = (first.shape[1], second.shape[1])
        with seeded(seed, device) as generator, reported(self, X=X, y=y) as on_epoch:
            module = CorrespondenceAutoencoder(widths, self.n_components, self.hidden_units, self.variant).to(device)
            self.history_ = minimise(
                lambda rows: module.losses(first[rows], second[rows], alpha),
                len(first),
                [torch.optim.Adam(module.parameters(), lr=self.learning_rate)],
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                generator=generator,
                on_epoch=on_epoch,
            )
        self.module_ = module.to("cpu", self._dtype).eval()
        self.n_iter_ = len(self.history_)
        return self

    def transform(self, X: Any, y: Any = None) -> Floats:
        """Compute the codes of items.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            As for `fit`.
        y : array-like of shape (n_items, n_columns_second), optional
            The second modality, where X is the first.

        Returns
        -------
        ndarray of shape (n_items, 2 * n_components)
            The code of the first modality, then that of the second; values in (0, 1).

        Raises
        ------
        ValueError
            If the columns are not those that `fit` saw, or values are missing.
        """
        check_is_fitted(self)
        whole = validate_data(self, X if y is None else _side_by_side(X, y), reset=False, dtype=NUMBERS)
        with torch.inference_mode():
            codes = self.module_(*self._scaled([whole[:, columns] for columns in self._columns]))
        result: Floats = torch.cat(codes, dim=1).numpy()
        return result

    def fit_transform(self, X: Any, y: Any = None) -> Floats:
        """Fit, then compute the codes of the same items.

        Parameters
        ----------
        X : array-like of shape (n_items, n_columns)
            See `fit`.
        y : array-like, optional
            See `fit`.

        Returns
        -------
        ndarray of shape (n_items, 2 * n_components)
            See `transform`.
        """
        self.fit(X, y)
        return self.transform(X, y if self._is_pair else None)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Name the columns of the codes: ``image_code__0`` and so on.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the columns of `fit`, and not used otherwise.

        Returns
        -------
        ndarray of str of shape (2 * n_components,)
            The names.

        Raises
        ------
        ValueError
            If `input_features` are not the columns of `fit`.
        """
        OneToOneFeatureMixin.get_feature_names_out(self, input_features)  # for its checks
        names = [name for m in self.modality_names_ for name in block_names(f"{m}_code", self.n_components)]
        return np.asarray(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _views_to_fit(self, X: Any, y: Any) -> list[Floats]:
        self._is_pair = second_is_y(self.split, X, y)
        given = _side_by_side(X, y) if self._is_pair else X
        whole = validate_data(self, given, reset=True, dtype=NUMBERS)
        if self._is_pair:
            n_first = np.shape(X)[1]
            self._columns = [slice(0, n_first), slice(n_first, None)]
            self.modality_names_ = pair_names(column_names(X), column_names(y))[0]
        else:
            self._columns = stacked_columns(self.split, column_names(X), whole.shape[1])
            self.modality_names_ = modality_names(self.split, column_names(X), len(self._columns))
        if len(self._columns) != N_MODALITIES:
            raise ValueError(
                f"CorrAE takes two modalities, but X has {len(self._columns)}: {self.modality_names_}. Select the "
                "columns of two."
            )
        self._dtype = torch.float32 if whole.dtype == np.float32 else torch.float64
        return [whole[:, columns] for columns in self._columns]

    def _scaled(self, views: Sequence[Floats]) -> list[Tensor]:
        return [
            torch.as_tensor(scaler.transform(view)).to(self._dtype)
            for scaler, view in zip(self.scalers_, views, strict=True)
        ]


def _side_by_side(X: Any, y: Any) -> Any:
    """Put two modalities into one matrix, with column names if both have them."""
    views = [check_array(view, dtype=NUMBERS, input_name=name) for view, name in ((X, "X"), (y, "y"))]
    check_same_items(X, y)
    names = pair_names(column_names(X), column_names(y))[1]
    whole = np.hstack(views)
    return pd.DataFrame(whole, columns=names) if names else whole
