"""A finding: its code, how bad it is, and a sentence."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing that a diagnosis found.

    Attributes
    ----------
    code : str
        Its name, such as ``"shuffled-rows"``.
    severity : {"problem", "warning", "good"}
        ``"problem"``: results are not what they seem. ``"warning"``: they could be better, or need a look.
    sentence : str
        What is wrong and what to change.
    """

    code: str
    severity: Literal["problem", "warning", "good"]
    sentence: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.code}\n{self.sentence}"


def counted(n: int, noun: str) -> str:
    """Write a number with its noun.

    Parameters
    ----------
    n : int
        How many.
    noun : str
        Of what, in the singular.

    Returns
    -------
    str
        Such as "1 row" or "2 rows".
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"


def problem(code: str, sentence: str) -> Finding:
    """Make a finding that makes results worthless.

    Parameters
    ----------
    code, sentence : str
        As in `Finding`.

    Returns
    -------
    Finding
        Of that severity.
    """
    return Finding(code, "problem", sentence)


def warning(code: str, sentence: str) -> Finding:
    """Make a finding that needs a look.

    Parameters
    ----------
    code, sentence : str
        As in `Finding`.

    Returns
    -------
    Finding
        Of that severity.
    """
    return Finding(code, "warning", sentence)
