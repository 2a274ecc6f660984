"""Two made modalities with planted shared and private factors."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import Bunch, check_random_state

Kind = Literal["linear", "nonlinear", "raw", "quadratic", "absolute", "product", "sine"]

N_HIDDEN = 96
# sin(2.75 s) correlates with s by 0.09: a straight line explains less than 1 % of it.
FREQUENCY = 2.75


def make_modalities(
    n_samples: int = 5000,
    *,
    kind: Kind = "linear",
    n_shared: int = 8,
    n_private: int | tuple[int, int] = 8,
    n_features: int | tuple[int, int] = (256, 128),
    noise: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
    dtype: DTypeLike = np.float64,
) -> Bunch:
    """Make an image-like and a text-like view of the same items, whose factors are known.

    Every item has shared factors s, which both views show, and private factors p_img and p_txt, which
    one view shows; all are independent and standard normal. A view mixes its factors z = [s | p] at
    random into its columns and adds Gaussian noise, so a method can be judged by what it recovers.

    Parameters
    ----------
    n_samples : int, default=5000
        Number of items.
    kind : {"linear", "nonlinear", "raw", "quadratic", "absolute", "product", "sine"}, default="linear"
        How a view of z, with q factors, is made. M, M1 and M2 are standard normal matrices, drawn for
        each view:

        - ``"linear"``: z M / sqrt(q) + noise, then each column is standardised.
        - ``"nonlinear"``: tanh(1.5 z M1 / sqrt(q)) M2 · 2 / sqrt(96) + noise, with 96 hidden units; not
          standardised.
        - ``"raw"``: 3 max(x, 0) of a nonlinear view x with its noise: non-negative and skewed, like the
          activations of a VGG network.
        - ``"quadratic"``: as linear, but the text view holds (s² - 1) / sqrt(2) in place of s. No linear
          map of the image view shows it, and so with the next two.
        - ``"absolute"``: the text view holds (abs(s) - sqrt(2/π)) / sqrt(1 - 2/π).
        - ``"product"``: the text view holds s_1 s_2, s_2 s_3 and so on, the last factor times the first. Needs
          three shared factors.
        - ``"sine"``: the text view holds sin(2.75 s) / sqrt((1 - exp(-15.125)) / 2), which correlates with s
          by 0.09.
    n_shared : int, default=8
        Number of factors that both views show.
    n_private : int or tuple of two int, default=8
        Number of factors that one view alone shows: of the image view and of the text view.
    n_features : int or tuple of two int, default=(256, 128)
        Number of columns of the image view and of the text view.
    noise : float, default=0.1
        Standard deviation of the noise, which each cell gets before columns are standardised
        (``"linear"``, ``"quadratic"``) or cut at zero (``"raw"``). Before noise the cells have a standard
        deviation of about 1 (linear) to 1.5 (nonlinear).
    random_state : int, RandomState or None, default=None
        Makes the data repeatable.
    dtype : dtype, default=numpy.float64
        Of the views. Data are drawn in float64, so both precisions show the same items.

    Returns
    -------
    Bunch
        With these attributes:

        X_img : ndarray of shape (n_samples, n_features[0])
            The image view.
        X_txt : ndarray of shape (n_samples, n_features[1])
            The text view.
        shared : ndarray of shape (n_samples, n_shared)
            The shared factors: what the text view holds, s or a function of s, because that is what
            both views determine.
        private_img : ndarray of shape (n_samples, n_private[0])
            The factors that the image view alone shows.
        private_txt : ndarray of shape (n_samples, n_private[1])
            The factors that the text view alone shows.

    Raises
    ------
    ValueError
        If `kind` is not one of these, or products of fewer than three factors are asked for.

    See Also
    --------
    modalsplit.evaluate.disentanglement_score : Judges parts by these factors.

    Examples
    --------
    >>> from modalsplit.datasets import make_modalities
    >>> data = make_modalities(100, kind="nonlinear", random_state=0)
    >>> data.X_img.shape, data.X_txt.shape, data.shared.shape
    ((100, 256), (100, 128), (100, 8))
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {list(get_args(Kind))}, but {kind!r} was given.")
    if kind == "product" and n_shared < 3:
        raise ValueError(f"kind='product' needs n_shared=3 or more for products that differ, but {n_shared} was given.")
    rng = check_random_state(random_state)
    private_widths, feature_widths = _pair(n_private), _pair(n_features)
    shared = rng.standard_normal((n_samples, n_shared))
    private = [rng.standard_normal((n_samples, width)) for width in private_widths]
    shown = (shared, _function(shared, kind))
    views = [
        _view(np.hstack([s, p]), width, kind, noise, rng).astype(dtype, copy=False)
        for s, p, width in zip(shown, private, feature_widths, strict=True)
    ]
    return Bunch(X_img=views[0], X_txt=views[1], shared=shown[1], private_img=private[0], private_txt=private[1])


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _function(shared: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    """Compute what the text view shows of the shared factors, of mean 0 and variance 1."""
    shown: NDArray[np.float64] = shared
    if kind == "quadratic":
        shown = (shared**2 - 1) / np.sqrt(2)
    elif kind == "absolute":
        shown = (np.abs(shared) - np.sqrt(2 / np.pi)) / np.sqrt(1 - 2 / np.pi)
    elif kind == "product":
        shown = shared * np.roll(shared, -1, axis=1)
    elif kind == "sine":
        shown = np.sin(FREQUENCY * shared) / np.sqrt((1 - np.exp(-2 * FREQUENCY**2)) / 2)
    return shown


def _view(factors: NDArray[np.float64], n_features: int, kind: Kind, noise: float, rng: Any) -> NDArray[np.float64]:
    n_samples, n_factors = factors.shape
    x: NDArray[np.float64]
    if kind not in {"nonlinear", "raw"}:
        x = factors @ rng.standard_normal((n_factors, n_features)) / np.sqrt(n_factors)
    else:
        hidden = np.tanh(1.5 * factors @ rng.standard_normal((n_factors, N_HIDDEN)) / np.sqrt(n_factors))
        x = hidden @ rng.standard_normal((N_HIDDEN, n_features)) * (2 / np.sqrt(N_HIDDEN))
    x += noise * rng.standard_normal((n_samples, n_features))
    if kind == "raw":
        return np.maximum(3 * x, 0)
    if kind == "nonlinear":
        return x
    x -= x.mean(axis=0)
    x /= x.std(axis=0)
    return x
