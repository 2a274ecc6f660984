"""A name for what a model does: equal for equal weights and code, in any process."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), np.dtype)
_NOT_CODE = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl", "__slots__"}


def fingerprint(*parts: Any) -> str:
    """Name a model.

    Weights count by value. Code counts too, with the closures and globals that it uses: for a library its
    name and version, for the user's own what the functions do. Hence a changed ``forward`` has another name.

    Parameters
    ----------
    *parts : object
        Everything that decides what the model makes of an item: numbers, arrays, tensors, modules, functions.

    Returns
    -------
    str
        32 hexadecimal digits; the same in another process on the same Python.

    Raises
    ------
    TypeError
        If a part is of a kind that cannot be told from others of its kind.
    """
    walk = _Walk()
    walk.feed(parts)
    return walk.digest.hexdigest()


class _Walk:
    """One pass through objects, in an order that depends on nothing but the objects."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # an id may only be used again when its object is gone

    def feed(self, value: Any) -> None:
        if isinstance(value, _ATOMS):
            self._write(type(value).__name__, repr(value))
        elif isinstance(value, tuple) and type(value) is tuple:
            self._all("tuple", value)
        elif id(value) in self._met:  # shared, or a circle
            self._write("again", str(self._met[id(value)]))
        else:
            self._met[id(value)] = len(self._met)
            self._alive.append(value)
            self._feed_new(value)

    def _feed_new(self, value: Any) -> None:
        if type(value) is list:
            self._all("list", value)
        elif type(value) is dict:
            self._all("dict", value.items())
        else:
            feed = next((feed for kind, feed in self._kinds() if isinstance(value, kind)), self._object)
            feed(value)

    def _kinds(self) -> Iterator[tuple[Any, Callable[[Any], None]]]:
        yield np.ndarray, self._array
        if "torch" in sys.modules:
            yield sys.modules["torch"].Tensor, self._tensor
        yield Enum, lambda value: self._all("enum", (type(value).__qualname__, value.name))
        yield (set, frozenset), lambda value: self._all("set", sorted(value, key=repr))
        yield ModuleType, self._module
        yield FunctionType, self._function
        yield CodeType, self._code
        yield MethodType, lambda value: self._all("method", (value.__func__, value.__self__))
        yield (staticmethod, classmethod), lambda value: self._all("static", (value.__func__,))
        yield property, lambda value: self._all("property", (value.fget, value.fset))
        yield BuiltinFunctionType, lambda value: self._write("builtin", f"{value.__module__}.{value.__qualname__}")
        yield type, self._class

    def _write(self, kind: str, content: str | bytes) -> None:
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self.digest.update(f"{kind} {len(data)} ".encode())
        self.digest.update(data)

    def _all(self, kind: str, values: Any) -> None:
        self._write(kind, str(len(values)))
        for value in values:
            self.feed(value)

    def _array(self, array: Any) -> None:
        self._all("array", (str(array.dtype), array.shape))
        if array.dtype.hasobject:
            self._all("objects", array.ravel().tolist())
        else:
            self.digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _tensor(self, tensor: Any) -> None:
        import torch

        self._all("tensor", (str(tensor.dtype), tuple(tensor.shape)))
        self.digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def _module(self, module: ModuleType) -> None:
        self._write("module", module.__name__)
        source = getattr(module, "__file__", None)
        if not self._is_library(module.__name__) and source:
            self._write("source", Path(source).read_bytes())

    def _function(self, function: FunctionType) -> None:
        self._write("function", f"{function.__module__}.{function.__qualname__}")
        if self._is_library(function.__module__):
            return
        self._all("defaults", (function.__code__, function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            self._feed_if_possible(cell.cell_contents)
        for name in sorted(_names_in(function.__code__)):
            if name in function.__globals__:
                self._write("global", name)
                self._feed_if_possible(function.__globals__[name])

    def _code(self, code: CodeType) -> None:
        self._all("code", (code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars))

    def _class(self, kind: type) -> None:
        self._write("class", f"{kind.__module__}.{kind.__qualname__}")
        if self._is_library(kind.__module__):
            return
        self._all("bases", kind.__bases__)
        for name in sorted(set(vars(kind)) - _NOT_CODE):
            self._write("attribute", name)
            self._feed_if_possible(vars(kind)[name])

    def _object(self, value: Any) -> None:
        """Take an object apart as pickle would."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:  # whatever a class raises that does not want to be pickled
            raise TypeError(
                f"A {type(value).__name__} cannot be told from another one ({error}), so cache_dir could return "
                "features of another model. Do without cache_dir, or use a plain torch module or function."
            ) from error
        if isinstance(reduced, str):
            self._write("global", f"{type(value).__module__}.{reduced}")
            return
        self._all("object", [tuple(part) if isinstance(part, Iterator) else part for part in reduced])

    def _feed_if_possible(self, value: Any) -> None:
        """Feed what code refers to; locks, loggers and the like do not decide what it returns."""
        try:
            self.feed(value)
        except TypeError:
            self._write("unknown", type(value).__qualname__)

    def _is_library(self, name: str | None) -> bool:
        """Tell whether a module is installed rather than the user's own, and write its version if so."""
        root = (name or "").partition(".")[0]
        if root in sys.stdlib_module_names and root != "__main__":
            self._write("version", platform.python_version())
            return True
        module = sys.modules.get(root)
        parts = Path(getattr(module, "__file__", None) or "").parts
        is_library = root == __name__.partition(".")[0] or "site-packages" in parts or "dist-packages" in parts
        if is_library:
            self._write("version", str(getattr(module, "__version__", "")))
        return is_library


def _names_in(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*map(_names_in, inner))
