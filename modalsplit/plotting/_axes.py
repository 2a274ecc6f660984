"""Where figures are drawn, and in which colours."""

from __future__ import annotations

from typing import Any

import numpy as np

# Of Okabe and Ito's palette, which readers with any colour vision can tell apart.
COMMON, SPECIFIC, NEUTRAL, LIGHT = "#0072b2", "#d55e00", "#737373", "#bdbdbd"
PALETTE = (COMMON, SPECIFIC, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # colour never tells alone


def axes_for(ax: Any, figsize: tuple[float, float] = (6.4, 4.2)) -> Any:
    """Return the Axes to draw on.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Given by the caller; a new figure if None.
    figsize : tuple of two float, default=(6.4, 4.2)
        Width and height of a new figure, in inches.

    Returns
    -------
    matplotlib Axes
        Where to draw.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    return new_axes(1, 1, figsize)[0] if ax is None else ax


def new_axes(n_rows: int, n_columns: int, figsize: tuple[float, float]) -> list[Any]:
    """Make a figure.

    Parameters
    ----------
    n_rows, n_columns : int
        Panels below and beside each other.
    figsize : tuple of two float
        Width and height, in inches.

    Returns
    -------
    list of matplotlib Axes
        Row by row.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("Figures need matplotlib. Install it: pip install 'modalsplit[plot]'") from error
    _, grid = plt.subplots(n_rows, n_columns, figsize=figsize, layout="constrained")
    return list(np.ravel(grid))


def colour_of(part: str) -> str:
    """Return the colour of a part by its name.

    Parameters
    ----------
    part : str
        Such as ``"image_common"``.

    Returns
    -------
    str
        Blue for common, orange for specific, grey for anything else.
    """
    return COMMON if part.endswith("common") else SPECIFIC if part.endswith("specific") else NEUTRAL


def draw_line(axis: Any, values: Any, **style: Any) -> None:
    """Draw one value an epoch or a pair, from 1.

    Parameters
    ----------
    axis : matplotlib Axes
        Where.
    values : sequence of float
        A single one is a dot.
    **style
        Of ``Axes.plot``.
    """
    style["marker"] = "o" if len(values) < 2 else style.get("marker", ".")
    axis.plot(np.arange(1, len(values) + 1), values, **style)
    axis.xaxis.get_major_locator().set_params(integer=True)


def shortened(text: Any, length: int = 40) -> str:
    """Cut a text for a label, without mathematics.

    Parameters
    ----------
    text : object
        Anything; a dollar sign would start a formula.
    length : int, default=40
        Characters, at most.

    Returns
    -------
    str
        One line.
    """
    line = " ".join(str(text).split())
    return (line if len(line) <= length else line[: length - 1] + "…").replace("$", r"\$")
