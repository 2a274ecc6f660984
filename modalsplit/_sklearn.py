"""The one place that touches scikit-learn's private side or bridges its releases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_output_config

__all__ = ["CallbackSupportMixin", "Interval", "StrOptions", "epochs", "with_callbacks", "wrap_output"]

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:
    _with_callbacks = None

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand in for scikit-learn's callbacks where it has none yet."""


Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """Let scikit-learn's callbacks follow a ``fit``, where it has callbacks.

    Parameters
    ----------
    method : function
        The ``fit`` of an estimator that is a `CallbackSupportMixin`.

    Returns
    -------
    function
        The method, wrapped.
    """
    return method if _with_callbacks is None else cast(Method, _with_callbacks(method))


@contextmanager
def epochs(estimator: Any, max_epochs: int | None, **fit_inputs: Any) -> Iterator[Callable[..., bool]]:
    """Report a fit to scikit-learn's callbacks, epoch by epoch.

    Parameters
    ----------
    estimator : estimator
        The estimator in whose ``fit`` this runs; ``fit`` must be wrapped in `with_callbacks`.
    max_epochs : int
        The most epochs there can be; None if unknown.
    **fit_inputs : dict
        ``X`` and ``y`` of ``fit``, for callbacks that score.

    Yields
    ------
    callable
        Call it after each epoch with a function that returns the fitted attributes so far, or with None if there are none
        yet; it returns True when a callback asked to stop.
    """
    if _with_callbacks is None:
        yield lambda attributes: False
        return
    context = estimator._init_callback_context(max_subtasks=max_epochs)
    context.call_on_fit_task_begin(estimator=estimator, **fit_inputs)

    def end_of_epoch(attributes: Callable[[], dict[str, Any]] | None) -> bool:
        task = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=estimator)
        return bool(task.call_on_fit_task_end(estimator=estimator, reconstruction_attributes=attributes, **fit_inputs))

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
