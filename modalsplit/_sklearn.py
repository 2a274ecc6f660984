"""The one place that touches scikit-learn's private side or bridges its releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAS_CALLBACKS = True
except ImportError:
    HAS_CALLBACKS = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand in for scikit-learn's callbacks where it has none yet."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[misc]
        """Leave `fit` as it is."""
        return method


@contextmanager
def epochs(estimator: Any, max_epochs: int, **fit_inputs: Any) -> Iterator[Callable[..., bool]]:
    """Report a fit to scikit-learn's callbacks, epoch by epoch.

    Parameters
    ----------
    estimator : estimator
        The estimator in whose ``fit`` this runs; ``fit`` must be wrapped in `with_callbacks`.
    max_epochs : int
        The most epochs there can be.
    **fit_inputs : dict
        ``X`` and ``y`` of ``fit``, for callbacks that score.

    Yields
    ------
    callable
        Call it with a function that returns the fitted attributes so far, after each epoch; it returns
        True when a callback asked to stop.
    """
    if not HAS_CALLBACKS:
        yield lambda attributes: False
        return
    context = estimator._init_callback_context(max_subtasks=max_epochs)
    context.call_on_fit_task_begin(estimator=estimator, **fit_inputs)

    def end_of_epoch(attributes: Callable[[], dict[str, Any]]) -> bool:
        task = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=estimator)
        return bool(
            task.call_on_fit_task_end(
                estimator=estimator, reconstruction_attributes=attributes, **fit_inputs
            )
        )

    yield end_of_epoch
    context.call_on_fit_task_end(estimator=estimator, **fit_inputs)


def wrap_output(estimator: Any, array: NDArray[Any], columns: list[str], original: Any) -> Any:
    """Return `array` in the container that ``set_output`` asks for.

    scikit-learn's own wrapper takes one array and one list of names; ours serves named tuples too.

    Parameters
    ----------
    estimator : estimator
        Whose ``set_output`` counts.
    array : ndarray of shape (n_samples, n_columns)
        What to wrap.
    columns : list of str of length n_columns
        Names of the columns.
    original : array-like or DataFrame
        The input, whose index the rows keep.

    Returns
    -------
    ndarray or DataFrame
        `array` itself by default.
    """
    container = _get_output_config("transform", estimator)["dense"]
    if container == "default":
        return array
    adapter = ADAPTERS_MANAGER.adapters[container]
    index_from = original if hasattr(original, "iloc") or container != "pandas" else array
    return adapter.create_container(array, index_from, columns=lambda: np.asarray(columns, dtype=object))
