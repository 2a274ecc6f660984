"""report: write the page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from modalsplit.files import check_place, whole_file
from modalsplit.reporting._content import Columns, Source, content_of


def report(
    pipeline: Any,
    items: pd.DataFrame,
    interactions: Any,
    path: str | PathLike[str],
    *,
    features: Any = None,
    title_column: str | None = None,
    text_columns: str | Sequence[str] | None = None,
    image_column: str | None = None,
    heading: str = "Catalogue",
    max_items: int = 500,
    n_neighbours: int = 6,
    users: int | ArrayLike = 50,
    k: int = 10,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file to browse the catalogue: items, what is alike in which part, and users' lists.

    An item is shown with its picture, its texts, and its nearest items by the common part and by each modality's
    specific part, side by side. A user's list says which part drove each item: raised its score most above that of
    the user's average item, the mean over the catalogue. It also says what adds up to the score. The file needs nothing
    beside it and asks no server for anything. Texts are only ever shown as texts.

    Parameters
    ----------
    pipeline : Pipeline or DisentangledModalityEncoder
        Fitted. It must hold a `DisentangledModalityEncoder`; users' lists need a recommender as the last step.
    items : DataFrame of shape (n_items, n_columns)
        One row an item; the index holds the ids.
    interactions : Interactions, DataFrame, sparse matrix or array of shape (n_items, n_users), or None
        Who took what: for the popularity of items, and to show what a user took. None: what the recommender was
        fitted on.
    path : str or Path
        Where the file goes, such as ``"catalogue.html"``.
    features : array-like or DataFrame of shape (n_items, n_features), optional
        What the pipeline reads, row by row, if that is not `items`.
    title_column : str, optional
        Column of `items` with the names; by default ``"title"`` if there is one, otherwise the ids are shown.
    text_columns : str or sequence of str, optional
        Columns with texts to show; by default ``"text"`` if there is one. 500 characters an item are shown at most.
    image_column : str, optional
        Column with pictures, as featurizers take them: paths, bytes, PIL images or arrays; by default ``"image"``
        if there is one. A picture that cannot be read is shown as missing.
    heading : str, default="Catalogue"
        Title of the page.
    max_items : int, default=500
        If there are more, the most popular ones are shown, and the page says so. An item takes up to 10 kB:
        500 stay under 5 MB.
    n_neighbours : int, default=6
        Alike items to show for each part, among those on the page, by cosine.
    users : int or array-like of user ids, default=50
        Whose lists to show; a number takes users from the most to the least active in even steps.
    k : int, default=10
        Items a list, of the whole catalogue.
    overwrite : bool, default=False
        Whether to replace a file that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileExistsError
        If there is a file and `overwrite` is False.
    ImportError
        If Jinja2 is not installed.
    OSError
        If the file cannot be written; nothing half-written is left.
    ValueError
        If there is no encoder, a column is missing, ids or rows do not fit together, or a user is unknown.

    See Also
    --------
    modalsplit.plotting : Figures of the same things.

    Examples
    --------
    >>> import modalsplit
    >>> modalsplit.report(pipeline, items, interactions, "catalogue.html")  # doctest: +SKIP
    PosixPath('catalogue.html')
    """
    path = Path(path)
    check_place(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already. Name another file, or pass overwrite=True.")
    template = _template()
    columns = Columns.found(items, title_column, text_columns, image_column)
    source = Source.of(pipeline, items, interactions, features)
    for name, number in (("max_items", max_items), ("n_neighbours", n_neighbours), ("k", k)):
        if number < 1:
            raise ValueError(f"{name} must be 1 or more, and is {number}.")
    content = content_of(source, columns, max_items, n_neighbours, users, k)
    style, script = _asset("page.css"), _asset("page.js")
    page = template.render(
        heading=heading,
        content=content,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    with whole_file(path) as unfinished:
        # A lone surrogate, which JSON could hold, is no text.
        unfinished.write_text(page, encoding="utf-8", errors="replace")
    return path


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError("The report needs Jinja2. Install it: pip install 'modalsplit[report]'") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # tojson writes <, >, & and ' as \u003c and so on, so that no text can end the element it stands in.
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    return environment.from_string(_asset("page.html.jinja"))


def _asset(name: str) -> str:
    return (files("modalsplit.reporting") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name a style or script for the page's policy, which lets no other one run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
