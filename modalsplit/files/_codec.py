"""Values as JSON and arrays, and back.

JSON has no arrays, tuples or objects: each is a JSON object with a ``"kind"``, and `_KINDS` says how a kind is written
and read. Nothing else is written, and reading makes nothing else: no function, no class that `_known` does not list.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator
from torch import nn

from modalsplit.files._known import Known, value_class, value_name

Json = Any
Node = dict[str, Json]
STRUCTURE = "structure"
_PLAIN = (type(None), bool, int, str)
_NUMBERS = frozenset("?bBhHiIlLqQefd")
_TIME = re.compile(r"[<=](datetime64|timedelta64)\[\w+\]|[<=]?[mM]8(\[\w+\])?")
_TEXT = re.compile(r"[<=|]U\d+")
_SPARSE: dict[str, Any] = {
    cls.__name__: cls for cls in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.csc_matrix)
}
_TORCH_DTYPES = {str(dtype): dtype for dtype in (torch.float16, torch.float32, torch.float64, torch.int64, torch.bool)}
# Callbacks watch a fit; they are no part of what it found. Requests for metadata are written apart.
_LEFT_BEHIND = {"_skl_callbacks", "_metadata_request"}
# Methods that metadata is routed to.
_ROUTED = (
    "fit",
    "partial_fit",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score",
    "split",
    "transform",
    "inverse_transform",
)
_NO_MODULE = vars(nn.Module())


class Writer:
    """Takes a value apart.

    Parameters
    ----------
    known : Known
        Classes whose instances are written.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays so far, C-contiguous. The name `STRUCTURE` is kept free for the JSON.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.arrays: dict[str, NDArray[Any]] = {STRUCTURE: np.empty(0, np.uint8)}
        self._place: list[str] = []

    def write(self, value: Any, step: str | None = None) -> Json:
        """Write a value.

        Parameters
        ----------
        value : object
            What to write.
        step : str, optional
            Where it is in the value around it, for messages and for the names of arrays.

        Returns
        -------
        JSON value
            What `Reader.read` makes the value of.

        Raises
        ------
        TypeError
            If it is, or holds, something that cannot be written.
        """
        if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
            return value
        if step is not None:
            self._place.append(step)
        if type(value) is list:
            node: Json = [self.write(member, str(at)) for at, member in enumerate(value)]
        else:
            node = self._node(value)
        if step is not None:
            self._place.pop()
        return node

    def keep(self, array: NDArray[Any]) -> Node:
        """Keep an array, and its order in memory: products may differ in the last bit with another.

        Parameters
        ----------
        array : ndarray
            Of numbers.

        Returns
        -------
        dict
            Its name, and its axes from the slowest on.
        """
        if array.dtype.char not in _NUMBERS:
            raise self.refusal(f"an array of dtype {array.dtype}")
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
        base = name = ".".join(self._place) or "value"
        while name in self.arrays:
            name = f"{base}#{len(self.arrays)}"
        self.arrays[name] = np.ascontiguousarray(array.transpose(axes), dtype=array.dtype.newbyteorder("="))
        if array.ndim == 0:  # ascontiguousarray makes it one-dimensional
            self.arrays[name] = self.arrays[name].reshape(())
        return {"array": name} if axes == sorted(axes) else {"array": name, "axes": axes}

    def refusal(self, what: str) -> TypeError:
        """Make the error that says what cannot be saved, and where it is.

        Parameters
        ----------
        what : str
            What it is.

        Returns
        -------
        TypeError
            To be raised.
        """
        place = ".".join(self._place) or "the value itself"
        return TypeError(
            f"{place} cannot be saved: it is {what}. A file holds numbers, texts, arrays and known estimators only, so "
            "that nobody's code runs when it is loaded. Pass an estimator class of your own as save(..., trusted="
            "[YourClass]); replace a function by an estimator that does the same."
        )

    def _node(self, value: Any) -> Node:
        for name, kind in _KINDS.items():
            if kind.is_of(value):
                return {"kind": name, **kind.write(value, self)}
        raise self.refusal(_description(value))


class Reader:
    """Puts a value together again.

    Parameters
    ----------
    known : Known
        Classes of which instances are made.
    arrays : mapping of str to ndarray
        By name; they are not copied.
    """

    def __init__(self, known: Known, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.known = known
        self._arrays = arrays

    def read(self, node: Json) -> Any:
        """Read a value.

        Parameters
        ----------
        node : JSON value
            From `Writer.write`.

        Returns
        -------
        object
            The value.

        Raises
        ------
        ValueError
            If it names an unknown class. Damage also shows as `KeyError`, `TypeError` or `IndexError`.
        """
        if type(node) in _PLAIN or type(node) is float:
            return node
        if type(node) is list:
            return [self.read(member) for member in node]
        return _KINDS[node["kind"]].read(node, self)

    def array(self, node: Node) -> NDArray[Any]:
        """Fetch an array.

        Parameters
        ----------
        node : dict
            From `Writer.keep`.

        Returns
        -------
        ndarray
            Of numbers, in the order that it had in memory.
        """
        array = self._arrays[node["array"]]
        return array.transpose(np.argsort(node["axes"])) if "axes" in node else array


class _Kind(NamedTuple):
    is_of: Callable[[Any], bool]
    write: Callable[[Any, Writer], Node]
    read: Callable[[Node, Reader], Any]


def _exactly(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types


def _description(value: Any) -> str:
    kind = type(value)
    if callable(value) and hasattr(value, "__qualname__"):
        home = getattr(value, "__module__", None) or "builtins"
        return f"{'a class' if isinstance(value, type) else 'a function'}, {home}.{value.__qualname__}"
    return f"a {kind.__module__}.{kind.__qualname__}"


# Containers -------------------------------------------------------------------------------------------


def _write_dict(value: dict[Any, Any], writer: Writer) -> Node:
    if all(type(key) is str for key in value):
        return {"items": {key: writer.write(member, key) for key, member in value.items()}}
    return {"pairs": [[writer.write(key), writer.write(member, str(key))] for key, member in value.items()]}


def _read_dict(node: Node, reader: Reader) -> dict[Any, Any]:
    if "items" in node:
        return {key: reader.read(member) for key, member in node["items"].items()}
    return {reader.read(key): reader.read(member) for key, member in node["pairs"]}


# Arrays -----------------------------------------------------------------------------------------------


def _write_array(value: NDArray[Any], writer: Writer) -> Node:
    if value.dtype.kind in "OU":
        dtype = {} if value.dtype.kind == "O" else {"dtype": value.dtype.str}
        return {"shape": list(value.shape), "members": writer.write(value.ravel().tolist()), **dtype}
    if value.dtype.kind in "mM":
        return {**writer.keep(value.view(np.int64)), "dtype": value.dtype.str}
    return writer.keep(value)


def _read_array(node: Node, reader: Reader) -> NDArray[Any]:
    dtype = node.get("dtype")
    if "members" in node:
        members = reader.read(node["members"])
        array = np.empty(len(members), dtype=object if dtype is None else np.dtype(_matching(_TEXT, dtype)))
        array[:] = members
        return array.reshape(node["shape"])
    # A copy of its own: what numpy and torch compute may depend on where an array begins.
    array = reader.array(node).copy(order="K")
    return array if dtype is None else array.view(np.dtype(_matching(_TIME, dtype)))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"it holds an array of dtype {text!r}, which is none that modalsplit writes.")
    return text


def _write_tensor(value: torch.Tensor, writer: Writer) -> Node:
    if value.layout != torch.strided or str(value.dtype) == "torch.bfloat16":
        raise writer.refusal(f"a tensor of layout {value.layout} and dtype {value.dtype}")
    return {**writer.keep(value.detach().cpu().numpy()), "requires_grad": value.requires_grad}


def _read_tensor(node: Node, reader: Reader) -> torch.Tensor:
    array = reader.array(node)
    if not array.flags.writeable:  # such as a memory map of joblib, which torch warns of
        array = array.copy(order="K")
    tensor = torch.from_numpy(array).clone(memory_format=torch.preserve_format)
    return tensor.requires_grad_(bool(node["requires_grad"]))


def _read_parameter(node: Node, reader: Reader) -> nn.Parameter:
    tensor = _read_tensor(node, reader)
    return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)


def _write_sparse(value: Any, writer: Writer) -> Node:
    arrays = {name: writer.write(getattr(value, name), name) for name in ("data", "indices", "indptr")}
    return {"class": type(value).__name__, "shape": list(value.shape), **arrays}


def _read_sparse(node: Node, reader: Reader) -> Any:
    data, indices, indptr = (reader.read(node[name]) for name in ("data", "indices", "indptr"))
    matrix = _SPARSE[node["class"]]((data, indices, indptr), shape=tuple(node["shape"]))
    matrix.check_format(full_check=True)  # SciPy's own loops trust the indices
    return matrix


# Random states and objects ----------------------------------------------------------------------------


def _write_random_state(value: np.random.RandomState, writer: Writer) -> Node:
    return {"state": writer.write(value.get_state(legacy=True), "state")}


def _read_random_state(node: Node, reader: Reader) -> np.random.RandomState:
    random_state = np.random.RandomState()
    random_state.set_state(reader.read(node["state"]))
    return random_state


def _is_record(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(type(value), "_fields")


def _write_record(value: Any, writer: Writer) -> Node:
    name = writer.known.name_of(type(value))
    if name is None:
        raise writer.refusal(_description(value))
    return {"class": name, "fields": {step: writer.write(member, step) for step, member in value._asdict().items()}}


def _read_record(node: Node, reader: Reader) -> Any:
    return reader.known.class_of(node["class"])(
        **{name: reader.read(member) for name, member in node["fields"].items()}
    )


def _write_object(value: Any, writer: Writer) -> Node:
    name = writer.known.name_of(type(value))
    if name is None:
        raise writer.refusal(_description(value))
    # An object without attributes has None.
    state = value._whole_state() if hasattr(value, "_whole_state") else value.__getstate__() or {}
    if isinstance(value, nn.Module):
        state = {key: member for key, member in state.items() if not _is_default(key, member)}
    kept = {key: member for key, member in state.items() if key not in _LEFT_BEHIND}
    node = {"class": name, "state": {key: writer.write(member, key) for key, member in kept.items()}}
    if "_metadata_request" in state:
        asked = state["_metadata_request"]
        node["requests"] = {method: getattr(asked, method).requests for method in _ROUTED if hasattr(asked, method)}
    return node


def _is_default(name: str, value: Any) -> bool:
    """Tell whether an attribute is what any torch module has, such as an empty dict of hooks."""
    return name in _NO_MODULE and type(value) is type(_NO_MODULE[name]) and value == _NO_MODULE[name]


def _read_object(node: Node, reader: Reader) -> Any:
    cls = reader.known.class_of(node["class"])
    state = {name: reader.read(member) for name, member in node["state"].items()}
    hidden = [name for name in state if _hides(cls, name)]
    if hidden:
        raise ValueError(f"it would replace {hidden[0]!r} of {cls.__name__} by a value: it was tampered with.")
    made = cls.__new__(cls)
    if isinstance(made, nn.Module):
        nn.Module.__init__(made)
        vars(made).update(state)
    elif isinstance(made, BaseEstimator):
        made.__setstate__({**_defaults(cls), **state})
        _request(made, node.get("requests", {}))
    else:
        vars(made).update(state)
    return made


def _request(estimator: Any, requests: Mapping[str, Mapping[str, Any]]) -> None:
    """Ask for metadata as the estimator that was saved did."""
    with config_context(enable_metadata_routing=True):
        for method in _ROUTED:
            if requests.get(method):
                getattr(estimator, f"set_{method}_request")(**requests[method])


def _hides(cls: type, name: str) -> bool:
    """Tell whether an attribute would hide a method or a property."""
    return name.startswith("__") or any(hasattr(vars(base).get(name), "__get__") for base in cls.__mro__)


def _defaults(cls: Any) -> dict[str, Any]:
    """Read the defaults of parameters: a file from before a parameter existed lacks it."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


_KINDS: dict[str, _Kind] = {
    "float": _Kind(_exactly(float), lambda value, _: {"value": repr(value)}, lambda node, _: float(node["value"])),
    "dict": _Kind(lambda value: isinstance(value, dict), _write_dict, _read_dict),
    "tuple": _Kind(
        _exactly(tuple, torch.Size),
        lambda value, writer: {"members": writer.write(list(value))},
        lambda node, reader: tuple(reader.read(node["members"])),
    ),
    "set": _Kind(
        _exactly(set),
        lambda value, writer: {"members": writer.write(sorted(value))},
        lambda node, reader: set(reader.read(node["members"])),
    ),
    "slice": _Kind(
        _exactly(slice),
        lambda value, writer: {"members": writer.write([value.start, value.stop, value.step])},
        lambda node, reader: slice(*reader.read(node["members"])),
    ),
    "path": _Kind(
        lambda value: isinstance(value, PurePath),
        lambda value, _: {"path": str(value)},
        lambda node, _: Path(node["path"]),
    ),
    "array": _Kind(_exactly(np.ndarray, np.memmap), _write_array, _read_array),
    "scalar": _Kind(
        lambda value: isinstance(value, np.generic),
        lambda value, writer: _write_array(np.asarray(value), writer),
        lambda node, reader: _read_array(node, reader)[()],
    ),
    "tensor": _Kind(_exactly(torch.Tensor), _write_tensor, _read_tensor),
    "parameter": _Kind(_exactly(nn.Parameter), _write_tensor, _read_parameter),
    "sparse": _Kind(lambda value: _SPARSE.get(type(value).__name__) is type(value), _write_sparse, _read_sparse),
    "class": _Kind(
        lambda value: isinstance(value, type) and value_name(value) is not None,
        lambda value, _: {"name": value_name(value)},
        lambda node, _: value_class(node["name"]),
    ),
    "numpy dtype": _Kind(
        lambda value: isinstance(value, np.dtype) and value.char in _NUMBERS,
        lambda value, _: {"name": value_name(value.type)},
        lambda node, _: np.dtype(value_class(node["name"])),
    ),
    "torch dtype": _Kind(
        lambda value: isinstance(value, torch.dtype) and str(value) in _TORCH_DTYPES,
        lambda value, _: {"name": str(value)},
        lambda node, _: _TORCH_DTYPES[node["name"]],
    ),
    "device": _Kind(
        _exactly(torch.device), lambda value, _: {"name": str(value)}, lambda node, _: torch.device(node["name"])
    ),
    "random state": _Kind(_exactly(np.random.RandomState), _write_random_state, _read_random_state),
    "record": _Kind(_is_record, _write_record, _read_record),
    "object": _Kind(lambda value: not isinstance(value, type), _write_object, _read_object),
}
