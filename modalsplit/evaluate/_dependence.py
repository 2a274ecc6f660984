"""How far two matrices depend on each other: HSIC, CKA and a permutation test, without bias."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform
from sklearn.utils import check_random_state

Floats = NDArray[np.float64]
Kernel = Literal["linear", "rbf"]

FEWEST_ROWS = 4


class PermutationTest(NamedTuple):
    """What a permutation test found.

    Attributes
    ----------
    statistic : float
        HSIC of the rows as they stand.
    p_value : float
        Share of the orders, this one included, that give as much or more; above 0, up to 1.
    null : ndarray of shape (n_permutations,)
        HSIC with the rows of the second matrix in random order.
    """

    statistic: float
    p_value: float
    null: Floats


def hsic(a: ArrayLike, b: ArrayLike, *, kernel: Kernel = "linear") -> float:
    """Estimate the Hilbert-Schmidt independence criterion of two matrices without bias.

    With linear kernels it is the squared Frobenius norm of their cross-covariance: linear dependence. With
    RBF kernels it is zero only if they are independent.

    Parameters
    ----------
    a : array-like of shape (n_rows, n_left)
        First matrix, 4 rows or more.
    b : array-like of shape (n_rows, n_right)
        Second matrix.
    kernel : {"linear", "rbf"}, default="linear"
        ``"rbf"`` is exp(-‖x - y‖² / 2σ²), where σ is each matrix's own median distance. It holds two
        (n_rows, n_rows) matrices; ``"linear"`` does so only if the matrices are wider than long.

    Returns
    -------
    float
        Higher is more dependent. Of independent matrices it is 0 on average, so it can be negative.

    Raises
    ------
    ValueError
        If the numbers of rows differ or are less than 4, values are not finite, or `kernel` is unknown.

    See Also
    --------
    cka : The same without unit.
    permutation_test : Whether it is more than chance.

    References
    ----------
    Song et al., Feature selection via dependence maximization, JMLR 2012, Eq. 5.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import hsic
    >>> a = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> round(hsic(a, a), 2)
    5.17
    >>> round(hsic(a, [[1.0], [0.0], [0.0], [0.0], [1.0]]), 2)  # no linear dependence
    -0.43
    """
    left, right = _checked(a, b)
    n = len(left)
    return float(_sums(left, right, [np.arange(n)], kernel)[0] / (n * (n - 3)))


def cka(a: ArrayLike, b: ArrayLike, *, kernel: Kernel = "linear") -> float:
    """Centred kernel alignment without bias: HSIC, divided by that of each matrix with itself.

    Parameters
    ----------
    a : array-like of shape (n_rows, n_left)
        First matrix, 4 rows or more.
    b : array-like of shape (n_rows, n_right)
        Second matrix.
    kernel : {"linear", "rbf"}, default="linear"
        As for `hsic`.

    Returns
    -------
    float
        About 0 (independent) to 1 (the same up to rotation and scale), unitless; NaN if a matrix does not
        vary. It says nothing of size or rank: one column and its copy give 1.

    Raises
    ------
    ValueError
        As for `hsic`.

    References
    ----------
    Kornblith et al., Similarity of neural network representations revisited, ICML 2019; without bias as in
    Nguyen, Raghu and Kornblith, ICLR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import cka
    >>> a = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(cka(a, 7 * a[:, ::-1]), 6)
    1.0
    """
    left, right = _checked(a, b)
    order = [np.arange(len(left))]
    own = [float(_sums(x, x, order, kernel)[0]) for x in (left, right)]
    if min(own) <= 0:
        return float("nan")
    return float(_sums(left, right, order, kernel)[0] / np.sqrt(own[0] * own[1]))


def permutation_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    kernel: Kernel = "linear",
    n_permutations: int = 200,
    random_state: int | np.random.RandomState | None = None,
) -> PermutationTest:
    """Test whether two matrices depend on each other, by HSIC with the rows of one in random order.

    Parameters
    ----------
    a : array-like of shape (n_rows, n_left)
        First matrix, 4 rows or more.
    b : array-like of shape (n_rows, n_right)
        Second matrix.
    kernel : {"linear", "rbf"}, default="linear"
        As for `hsic`.
    n_permutations : int, default=200
        How many random orders. The smallest p-value that can come out is 1 / (n_permutations + 1).
    random_state : int, RandomState or None, default=None
        Of the orders.

    Returns
    -------
    PermutationTest
        ``statistic``, ``p_value`` and ``null``. The p-value takes rows for exchangeable.

    Raises
    ------
    ValueError
        As for `hsic`, or if `n_permutations` is less than 1.

    References
    ----------
    Gretton et al., A kernel statistical test of independence, NIPS 2007; the p-value counts the observed
    order as in Phipson and Smyth, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.evaluate import permutation_test
    >>> a = np.random.default_rng(0).normal(size=(100, 2))
    >>> found = permutation_test(a, a**2, kernel="rbf", n_permutations=99, random_state=0)
    >>> round(found.p_value, 3)
    0.01
    """
    left, right = _checked(a, b)
    if n_permutations < 1:
        raise ValueError(f"n_permutations={n_permutations}, but a test needs at least 1.")
    rng = check_random_state(random_state)
    n = len(left)
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(n_permutations))]
    values = _sums(left, right, orders, kernel) / (n * (n - 3))
    # Rounding must not tell equal orders apart: of a constant matrix all are 0.
    rounding = 1e-12 * np.abs(values).max()
    reached = np.sum(values[1:] >= values[0] - rounding)
    return PermutationTest(float(values[0]), float((1 + reached) / len(values)), values[1:])


def _checked(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    left, right = (np.asarray(matrix, dtype=float) for matrix in (a, b))
    if left.ndim != 2 or right.ndim != 2 or len(left) != len(right) or len(left) < FEWEST_ROWS:
        raise ValueError(
            f"The matrices have the shapes {left.shape} and {right.shape}. Give two matrices with the same "
            f"{FEWEST_ROWS} rows or more."
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("A matrix is not finite. Leave out the rows of missing modalities.")
    return left - left.mean(axis=0), right - right.mean(axis=0)


def _sums(left: Floats, right: Floats, orders: list[NDArray[np.intp]], kernel: Kernel) -> Floats:
    """HSIC times n (n - 3), for each order of the rows of the second matrix; columns are centred."""
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel must be one of {list(get_args(Kernel))}, but {kernel!r} was given.")
    if kernel == "linear" and left.shape[1] * right.shape[1] < len(left) ** 2:
        return _linear_sums(left, right, orders)
    centred, plain = _centred_kernel(left, kernel), _kernel(right, kernel)
    return np.array([np.vdot(centred, plain.take(order, axis=0).take(order, axis=1)) for order in orders])


def _kernel(x: Floats, kernel: Kernel) -> Floats:
    """Kernel matrix with a diagonal of zeros."""
    gram: Floats
    if kernel == "linear":
        gram = x @ x.T
    else:
        squared = pdist(x, "sqeuclidean")
        width = np.median(squared)
        gram = squareform(np.exp(-squared / (2 * width if width > 0 else 1)))
    np.fill_diagonal(gram, 0)
    return gram


def _centred_kernel(x: Floats, kernel: Kernel) -> Floats:
    """Kernel matrix with rows, columns and diagonal that sum to 0, so that its product with any is unbiased.

    The centring is an orthogonal projection: one factor of the product is enough.
    """
    gram = _kernel(x, kernel)
    n = len(gram)
    sums = gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums[None, :]) / (n - 2)
    np.fill_diagonal(gram, 0)
    return gram


def _linear_sums(left: Floats, right: Floats, orders: list[NDArray[np.intp]]) -> Floats:
    """Compute the same from the cross-covariance, without any (n, n) matrix."""
    n = len(left)
    k, m = np.sum(left**2, axis=1), np.sum(right**2, axis=1)
    energy = np.array([np.sum((left.T @ right[order]) ** 2) for order in orders])
    diagonal = np.array([k @ m[order] for order in orders])
    sums: Floats = energy - diagonal + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2)
    return sums
