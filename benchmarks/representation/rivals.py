"""Linear and kernel rivals, and AJIVE. Each maps (views, d, seed) to its fitted variants."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from sklearn.cross_decomposition import CCA, PLSCanonical
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem

from benchmarks.representation.data import MissingError, Views
from benchmarks.representation.search import (
    BY_AGREEMENT,
    BY_TRANSLATION,
    FIXED,
    Fitted,
    Judge,
    Parts,
    Scaler,
    Shared,
    Trial,
    memoised,
    searched,
    with_residual,
)

WIDEST = 256  # wider views go to scikit-learn's iterative CCA and PLS as this many principal components
SHRINKAGES = (0.001, 0.1, 0.5)
N_LANDMARKS = 500
# The kernel's width is in units of 1 / (number of columns), scikit-learn's default for standardised columns.
KERNELS = (("rbf", 0.1), ("rbf", 1.0), ("poly", 1.0))
KERNEL_SHRINKAGES = (0.001, 0.01, 0.1)
SIGNAL_RANKS = (8, 16, 32, 64)
N_DRAWS = 40  # of AJIVE's two null distributions; its default of 1,000 takes minutes a fit

Make = Callable[[int, int], Iterable[Trial]]


def rival(make: Make, views: Views, d: int, seed: int) -> list[Fitted]:
    """Fit a rival that has no specific part of its own."""
    scaler = Scaler(views)
    scaled = scaler(views)
    most = min(d, *(view.shape[1] for view in views), len(views[0]) // 2)
    out = []
    for variant, shared, k, label in searched(make(most, seed), scaled, most, seed):
        parts = with_residual(shared, k, scaled, d, seed)
        out.append(Fitted(variant, lambda new, parts=parts: parts(scaler(new)), f"k {k}" + f", {label}" * bool(label)))
    return out


def sklearn_trials(kind: str, d: int, seed: int) -> list[Trial]:
    """Give scikit-learn few rows with the same covariance: the same solution, several times faster."""

    def fit(views: Views) -> Shared:
        pcas = [PCA(WIDEST, random_state=seed).fit(v) if v.shape[1] > WIDEST else None for v in views]

        def reduced(new: Views) -> list[np.ndarray]:
            return [v if p is None else p.transform(v) for p, v in zip(pcas, new, strict=True)]

        X, Y = reduced(views)
        both = np.hstack([X, Y])
        mean = both.mean(axis=0)
        R = np.linalg.qr(both - mean, mode="r")
        rows = np.vstack([R, -R]) if len(both) > 2 * len(R) else both - mean
        left, right = rows[:, : X.shape[1]], rows[:, X.shape[1] :]
        with warnings.catch_warnings():
            # Pairs of columns that share nothing have nothing to converge to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = (
                CCA(d, scale=False, max_iter=50, tol=1e-4).fit(left, right) if kind == "CCA" else _pls(d, left, right)
            )

        def shared(new: Views) -> Views:
            A, B = reduced(new)
            first, second = model.transform(A - mean[: A.shape[1]], B - mean[A.shape[1] :])
            return first, second

        return shared

    return [Trial("", fit)]


def _pls(d: int, left: np.ndarray, right: np.ndarray) -> PLSCanonical:
    try:
        return PLSCanonical(d, scale=False, algorithm="svd").fit(left, right)
    except np.linalg.LinAlgError:  # LAPACK gives up now and then; scikit-learn's default algorithm is slower
        return PLSCanonical(d, scale=False).fit(left, right)


def _ridge_cca(d: int, shrinkage: float, views: Views) -> Shared:
    try:
        from cca_zoo.linear import RidgeCCA
    except ImportError as error:
        raise MissingError(f"{error}; install the extra 'rivals'") from error
    model = RidgeCCA(d, shrinkage=shrinkage).fit(list(views))
    return lambda new: tuple(model.transform(list(new)))


def ridge_trials(d: int, seed: int) -> list[Trial]:
    return [Trial(f"shrinkage {c}", partial(_ridge_cca, d, c)) for c in SHRINKAGES]


def kernel_trials(d: int, seed: int, n_landmarks: int = N_LANDMARKS) -> list[Trial]:
    """Kernel CCA: cca-zoo's regularised CCA in the feature space of the kernel, spanned by landmark rows."""

    def feature_map(kernel: str, width: float, views: Views) -> Shared:
        def features(view: np.ndarray) -> Nystroem:
            shape = {"gamma": width / view.shape[1]} | ({"degree": 2, "coef0": 1} if kernel == "poly" else {})
            return Nystroem(kernel=kernel, n_components=min(n_landmarks, len(view)), random_state=seed, **shape).fit(
                view
            )

        maps = [features(view) for view in views]

        def mapped(new: Views) -> Views:
            first, second = (m.transform(v) for m, v in zip(maps, new, strict=True))
            return first, second

        return memoised(mapped)

    known: dict[tuple[str, float, int], tuple[Views, Shared]] = {}

    def fit(kernel: str, width: float, shrinkage: float, views: Views) -> Shared:
        key = (kernel, width, id(views))
        if key not in known:
            known[key] = (views, feature_map(kernel, width, views))
        mapped = known[key][1]
        linear = _ridge_cca(d, shrinkage, mapped(views))
        return lambda new: linear(mapped(new))

    return [
        Trial(f"{kernel} {width}, shrinkage {c}", partial(fit, kernel, width, c))
        for kernel, width in KERNELS
        for c in KERNEL_SHRINKAGES
    ]


class Ajive:
    """mvlearn's AJIVE, extended to rows that it was not fitted on.

    mvlearn gives the joint scores of the fitted rows alone. They are a linear function of each view's signal scores, which
    least squares finds; the individual scores are those of the view less its joint part.
    """

    def __init__(self, signal_rank: int | None, views: Views, seed: int) -> None:
        try:
            from mvlearn.decomposition import AJIVE
        except ImportError as error:
            raise MissingError(f"{error}; mvlearn is not installed") from error
        limits = [min(view.shape) - 1 for view in views]
        given = None if signal_rank is None else [min(signal_rank, limit) for limit in limits]
        state = np.random.get_state()  # noqa: NPY002 -- AJIVE seeds numpy's global generator
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = AJIVE(given, n_wedin_samples=N_DRAWS, n_randdir_samples=N_DRAWS, random_state=seed).fit(list(views))
        np.random.set_state(state)  # noqa: NPY002
        self.rank = int(model.joint_rank_)
        self.means = model.means_
        joint = model.joint_scores_[:, : self.rank]
        self.maps, self.loadings, self.directions = [], [], []
        for view, mean, signal, own in zip(
            views, model.means_, model.init_signal_ranks_, model.individual_loadings_, strict=True
        ):
            centred = view - mean
            U, sizes, V = np.linalg.svd(centred, full_matrices=False)
            U, sizes, V = U[:, :signal], sizes[:signal], V[:signal]
            self.maps.append((V.T / sizes) @ (U.T @ joint) * np.sqrt(len(view)))
            self.loadings.append(joint.T @ centred / np.sqrt(len(view)))
            self.directions.append(np.zeros((view.shape[1], 0)) if own is None else own)

    def shared(self, views: Views) -> Views:
        first, second = ((v - mean) @ to for v, mean, to in zip(views, self.means, self.maps, strict=True))
        return first, second

    def parts(self, views: Views, d: int) -> Parts:
        common = self.shared(views)
        specific = [
            ((v - mean) - c @ loading) @ own[:, :d]
            for v, mean, c, loading, own in zip(views, self.means, common, self.loadings, self.directions, strict=True)
        ]
        wide = [np.pad(part[:, :d], ((0, 0), (0, max(0, d - part.shape[1])))) for part in (*common, *specific)]
        return Parts((wide[0], wide[1]), (wide[2], wide[3]))


def ajive(views: Views, d: int, seed: int) -> list[Fitted]:
    scaler = Scaler(views)
    scaled = scaler(views)
    judge = Judge(scaled, seed)

    candidates: list[int | None] = [None, *(r for r in SIGNAL_RANKS if r < d), d]
    scores = []
    for signal_rank in candidates:
        model = Ajive(signal_rank, judge.train, seed)
        both = (judge.translation, judge.agreement) if model.rank else ()
        scores.append([criterion(model.shared, model.rank) for criterion in both] or [0.0, 0.0])
    by_translation, by_agreement = (candidates[number] for number in np.argmax(scores, axis=0))
    chosen = {FIXED: d, BY_TRANSLATION: by_translation, BY_AGREEMENT: by_agreement}
    models = {rank: Ajive(rank, scaled, seed) for rank in set(chosen.values())}
    return [
        Fitted(
            variant,
            lambda new, model=models[rank]: model.parts(scaler(new), d),
            f"joint rank {models[rank].rank}, signal ranks {'from elbows' if rank is None else rank}",
        )
        for variant, rank in chosen.items()
    ]
