"""One clear message for what the user can mend, and warnings in one line."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")
# What modalsplit and the libraries below raise when data, files or options are wrong.
_USERS = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)
wants_traceback = ContextVar("wants_traceback", default=False)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command end with a message and code 1, where its user can do something about it.

    Parameters
    ----------
    command : function
        The command.

    Returns
    -------
    function
        The same without tracebacks, unless the user wants them.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show  # type: ignore[assignment]
            try:
                return command(*args, **kwargs)
            except _USERS as error:
                if wants_traceback.get():
                    raise
                say(f"Error: {str(error) or type(error).__name__}")
                raise typer.Exit(1) from None

    return run


def say(message: str) -> None:
    """Tell what is going on, where it does not mix with the output.

    Parameters
    ----------
    message : str
        A line.
    """
    typer.echo(message, err=True)


def _show(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, UserWarning):
        say(f"Warning: {message}")
