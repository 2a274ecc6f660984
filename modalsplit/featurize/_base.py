"""What every featurizer is: one column of raw items in, one block of numbers out."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from modalsplit._sklearn import wrap_output


class Column(NamedTuple):
    """Raw items, and what to call them in messages.

    Attributes
    ----------
    items : list of length n_items
        The raw items, in the order of the rows.
    labels : sequence of length n_items
        The index of a pandas column, row numbers otherwise.
    """

    items: list[Any]
    labels: Sequence[Any]


def read_column(X: Any) -> Column:
    """Read one column of raw items.

    Parameters
    ----------
    X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
        Raw items; an array of shape (n_items, height, width, channels) is a column of pictures.

    Returns
    -------
    Column
        The items and their labels.

    Raises
    ------
    ValueError
        If `X` is a single item or has more than one column.
    """
    if isinstance(X, (str, bytes, bytearray, PathLike)) or not hasattr(X, "__iter__"):
        raise ValueError(f"X must hold one raw item a row, but it is a single {type(X).__name__}: pass [X].")
    shape: tuple[int, ...] = getattr(X, "shape", (-1,))
    if len(shape) == 2 and shape[1] == 1:
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    elif len(shape) not in (1, 4):
        raise ValueError(
            f"X must be one column of raw items, but its shape is {shape}. Name one column "
            'in the ColumnTransformer, such as ("image", featurizer, "image"); pass a single picture as [X].'
        )
    items = list(X)
    return Column(items, list(X.index) if hasattr(X, "iloc") else range(len(items)))


def is_missing(item: Any) -> bool:
    """Tell whether there is no item: None, NaN, or what pandas writes for them.

    Parameters
    ----------
    item : object
        A raw item of any kind.

    Returns
    -------
    bool
        True if it is absent.
    """
    if item is None or isinstance(item, str):
        return item is None
    import pandas as pd

    return bool(pd.api.types.is_scalar(item) and pd.isna(item))


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a parameter that is none of its legal values.

    Parameters
    ----------
    name : str
        The parameter.
    value : object
        What was given.
    choices : collection of str
        The legal values.

    Raises
    ------
    ValueError
        If `value` is not in `choices`.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, but it is {value!r}.")


class BadItemError(ValueError):
    """An item that no features can be made of.

    Parameters
    ----------
    reason : str
        What is wrong with it; no full stop.
    mend : str
        What its owner can do: a sentence.
    is_missing : bool, default=False
        There is no item at all. That is usual in a catalogue, so it is noted but not warned of.
    """

    def __init__(self, reason: str, mend: str, *, is_missing: bool = False) -> None:
        super().__init__(reason, mend)
        self.reason = reason
        self.mend = mend
        self.is_missing = is_missing

    def __str__(self) -> str:
        return f"{self.reason}. {self.mend}"


def absent() -> BadItemError:
    """Say that there is no item.

    Returns
    -------
    BadItemError
        A new one.
    """
    return BadItemError("there is none", "Give one, or let the encoder do without it.", is_missing=True)


class Failure(NamedTuple):
    """Why a row is NaN.

    Attributes
    ----------
    id : object
        The item: its index label, or its row number where there is no index.
    reason : str
        What is wrong with it.
    mend : str
        What can be done about it.
    """

    id: Any
    reason: str
    mend: str


class Quarantine:
    """The items of one column that no features could be made of.

    Parameters
    ----------
    labels : sequence of length n_items
        What to call the items.
    noun : str
        What they are: "picture" or "text".
    on_error : {"nan", "raise"}
        Whether to collect bad items or to stop at the first.
    """

    def __init__(self, labels: Sequence[Any], noun: str, on_error: str) -> None:
        self._labels = labels
        self._noun = noun
        self._on_error = on_error
        self._bad: dict[int, BadItemError] = {}

    def add(self, row: int, error: BadItemError) -> None:
        """Set an item aside.

        Parameters
        ----------
        row : int
            Its row.
        error : BadItemError
            What is wrong with it.

        Raises
        ------
        ValueError
            With ``on_error="raise"``.
        """
        if self._on_error == "raise":
            raise ValueError(
                f"{self._noun.capitalize()} {self._labels[row]!r} cannot be used: {error} "
                'With on_error="nan" it becomes a row of NaN.'
            ) from error
        self._bad[row] = error

    def failures(self) -> list[Failure]:
        """List the items that were set aside.

        Returns
        -------
        list of Failure
            In the order of the rows.
        """
        return [Failure(self._labels[row], self._bad[row].reason, self._bad[row].mend) for row in sorted(self._bad)]

    def warn(self) -> None:
        """Warn once of all bad items; those that are only missing do not count."""
        rows = [row for row in sorted(self._bad) if not self._bad[row].is_missing]
        if rows:
            warnings.warn(
                f"{len(rows)} of {len(self._labels)} {self._noun}s cannot be used; their rows are NaN, like missing "
                f"ones. The first is {self._labels[rows[0]]!r}: {self._bad[rows[0]]} failed_ lists them all.",
                stacklevel=4,
            )


class ItemFeaturizer(TransformerMixin, BaseEstimator):
    """One column of raw items in, one block of numbers out; a missing item is a row of NaN.

    What is too big for a pickle (a network, word vectors) comes from `_load`. It is loaded on first use,
    again when a parameter in `_loaded_from` changes, and it stays behind when the featurizer is pickled.
    """

    _loaded_from: tuple[str, ...]
    _noun: str
    _held: tuple[list[Any], Any] | None = None
    on_error: str
    failed_: list[Failure]

    def _load(self) -> Any:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        raise NotImplementedError

    def _check_parameters(self) -> None:
        check_choice("on_error", self.on_error, ("nan", "raise"))

    def _resource(self) -> Any:
        key = [getattr(self, name) for name in self._loaded_from]
        if self._held is None or self._held[0] != key:
            self._held = (key, self._load())
        return self._held[1]

    def _forget(self) -> None:
        self._held = None

    def _finish(self, X: Any, features: NDArray[np.float32], quarantine: Quarantine) -> Any:
        """Say what failed, and put `features` into the container of ``set_output``."""
        self.failed_ = quarantine.failures()
        quarantine.warn()
        original = X.to_frame() if hasattr(X, "to_frame") else X  # scikit-learn 1.6 forgets a Series' index
        return wrap_output(self, features, list(self.get_feature_names_out()), original)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_held"}

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to the items and featurize them.

        Parameters
        ----------
        X : iterable of length n_items
            Raw items, as in ``transform``.
        y : None
            Ignored.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            What ``transform`` returns.
        """
        if isinstance(X, Iterator):
            X = list(X)  # fit and transform both read it
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns ``0``, ``1`` and so on; ``ColumnTransformer`` puts the block before them.

        Parameters
        ----------
        input_features : None
            Ignored: the names do not depend on the input's.

        Returns
        -------
        ndarray of shape (n_features,) of str
            The names, in order.
        """
        return np.asarray([str(column) for column in range(self._n_features_out)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load what the featurizer needs, and learn from the items where there is something to learn.

        Parameters
        ----------
        X : iterable of length n_items
            Raw items, as in ``transform``.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted featurizer.
        """
        raise NotImplementedError
