"""Checks of the scikit-learn contract, for our own estimators and for those of extenders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone, is_regressor
from sklearn.utils import estimator_checks, get_tags

from modalsplit.datasets import make_modalities
from modalsplit.encoder import ModalityEmbeddings
from modalsplit.recommend import Recommender

# scikit-learn runs these on its own estimators, but `check_estimator` does not.
_STRICTER: tuple[str, ...] = (
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_array_api_input_and_values",
)
_OPTIONS: dict[str, dict[str, str]] = {"check_array_api_input_and_values": {"array_namespace": "numpy"}}
_STRICTER_FOR_TRANSFORMERS = (
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
)


def stricter_checks(estimator: Any) -> Iterator[tuple[Any, Callable[[], None]]]:
    """List the checks that scikit-learn keeps for itself.

    Parameters
    ----------
    estimator : estimator
        What to check.

    Yields
    ------
    estimator : estimator
        The same, unfitted, with a fixed `random_state` if it has one.
    check : callable
        Takes the estimator and raises if it fails; its ``func.__name__`` names it.
    """
    estimator = clone(estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)  # some checks compare two fits
    names = _STRICTER
    if get_tags(estimator).transformer_tags is not None:
        names += _STRICTER_FOR_TRANSFORMERS
    for name in names:
        yield estimator, partial(getattr(estimator_checks, name), type(estimator).__name__, **_OPTIONS.get(name, {}))


def check_encoder(estimator: Any) -> None:
    """Check a disentangling encoder: scikit-learn's contract, and what two modalities add to it.

    Parameters
    ----------
    estimator : transformer
        Not fitted; ``fit`` takes a second modality or a stacked matrix.

    Raises
    ------
    AssertionError
        If a check of scikit-learn fails or is skipped, or the parts are not what the contract says.

    Examples
    --------
    >>> from modalsplit import DisentangledModalityEncoder
    >>> from modalsplit.testing import check_encoder
    >>> check_encoder(DisentangledModalityEncoder(split=1, objective="cca"))  # doctest: +SKIP
    """
    _check_estimator(estimator)
    data = make_modalities(200, n_shared=3, n_features=(12, 9), random_state=0)
    X, Y = data.X_img, data.X_txt
    fitted = clone(estimator).set_params(split=None).fit(X, Y)
    parts = fitted.transform(X, Y)
    assert isinstance(parts, ModalityEmbeddings), "transform(X, y) must return ModalityEmbeddings"
    assert parts.common.shape == parts.specific.shape, "both parts must have the same columns"
    np.testing.assert_array_equal(fitted.transform(np.hstack([X, Y])), np.hstack(parts))
    other = clone(estimator).set_params(split=X.shape[1]).fit(np.hstack([X, Y]))
    np.testing.assert_allclose(np.hstack(other.transform(X, Y)), np.hstack(parts), atol=1e-6)


def check_recommender(estimator: Recommender) -> None:
    """Check a recommender: scikit-learn's contract, and what users and items add to it.

    Parameters
    ----------
    estimator : Recommender
        Not fitted.

    Raises
    ------
    AssertionError
        If a check of scikit-learn fails or is skipped, or a recommendation is not what the contract says.

    Examples
    --------
    >>> from modalsplit.baselines import Popularity
    >>> from modalsplit.testing import check_recommender
    >>> check_recommender(Popularity())  # doctest: +SKIP
    """
    _check_estimator(estimator)
    assert not is_regressor(estimator), "a recommender is neither classifier nor regressor"
    rng = np.random.default_rng(0)
    Z, Y = rng.standard_normal((20, 8)), (rng.random((20, 6)) < 0.3).astype(float)
    Y[:2] = 1  # no user without interactions
    fitted = clone(estimator).fit(Z, Y)
    ids, scores = fitted.recommend(np.arange(6), k=5)
    assert ids.shape == scores.shape == (6, 5), "recommend gives k items a user"
    assert not any(Y[i, u] for u in range(6) for i in ids[u]), "seen items are left out"
    assert (np.diff(scores, axis=1) <= 0).all(), "best item first"
    assert fitted.decision_function(Z).shape == (20, 6), "decision_function is items x users"


def _check_estimator(estimator: Any) -> None:
    results = estimator_checks.check_estimator(estimator, on_fail=None, on_skip=None)
    poor = [f"{r['check_name']}: {r['status']} ({r['exception']})" for r in results if r["status"] != "passed"]
    assert not poor, "\n".join(poor)
    for subject, check in stricter_checks(estimator):
        check(clone(subject))  # type: ignore[call-arg]
