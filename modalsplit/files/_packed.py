"""Estimators that hold torch modules, and give them to pickle and skops as numbers and text."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from sklearn.base import BaseEstimator

from modalsplit.files._codec import Reader, Writer
from modalsplit.files._known import Known

_KEYS = ("structure", "arrays")


class PackedModules(BaseEstimator):
    """A scikit-learn estimator whose state, as pickle, joblib, skops and copy see it, has arrays where it has modules.

    skops knows no torch, and refuses an estimator that holds a module. What `_packed` names is taken apart as for
    `modalsplit.save`: JSON as text, and arrays by name. A module of a class that is not known stays as it is.
    """

    _packed: ClassVar[tuple[str, ...]] = ("module_",)

    def _whole_state(self) -> dict[str, Any]:
        """Return the attributes, modules as they are.

        Returns
        -------
        dict
            By name.
        """
        state: dict[str, Any] = super().__getstate__()
        return state

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: _taken_apart(value) if name in self._packed else value for name, value in self._whole_state().items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(
            {name: _put_together(value) if name in self._packed else value for name, value in state.items()}
        )


def _taken_apart(value: Any) -> Any:
    if value is None:
        return None
    writer = Writer(Known(()))
    try:
        structure = writer.write(value)
    except TypeError:  # it holds what is not known, such as a module of the user's own
        return value
    return dict(zip(_KEYS, (json.dumps(structure), writer.arrays), strict=True))


def _put_together(value: Any) -> Any:
    if not (isinstance(value, dict) and tuple(value) == _KEYS):
        return value
    return Reader(Known(()), value["arrays"]).read(json.loads(value["structure"]))
