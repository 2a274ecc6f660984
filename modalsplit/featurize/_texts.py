"""Whatever a text comes as -> a str, or the reason why not."""

from __future__ import annotations

from typing import Any

from modalsplit.featurize._base import BadItemError, Column, Quarantine, absent, is_missing


def read_texts(column: Column, quarantine: Quarantine) -> dict[int, str]:
    """Read the texts of a column.

    Parameters
    ----------
    column : Column
        Texts: str, or bytes of UTF-8; None, NaN and blank ones stand for no text.
    quarantine : Quarantine
        Takes the rows that hold no text, and stops at the first with ``on_error="raise"``.

    Returns
    -------
    dict of int to str
        The texts by row, in order, without the rows that hold none.

    Raises
    ------
    ValueError
        If an item is no text and ``on_error="raise"``.
    """
    texts = {}
    for row, item in enumerate(column.items):
        try:
            texts[row] = _text(item)
        except BadItemError as error:
            quarantine.add(row, error)
    return texts


def _text(item: Any) -> str:
    if is_missing(item):
        raise absent()
    if isinstance(item, (bytes, bytearray)):
        item = _decoded(bytes(item))
    if not isinstance(item, str):
        raise BadItemError(
            f"it is no text but of type {type(item).__name__}: {item!r:.40}", "Convert the column with astype(str)."
        )
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise BadItemError(
            f"it is no valid Unicode: character {error.start} is {item[error.start]!r}, half of a pair",
            'Read its file again with the right encoding=, or with errors="replace".',
        ) from error
    if not item.strip():
        raise BadItemError("it is empty", "Give a text, or let the encoder do without it.", is_missing=True)
    return item


def _decoded(item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise BadItemError(
            f"it is not UTF-8: byte {error.start} is {item[error.start : error.start + 1]!r}",
            'Decode it with its own encoding, such as text.decode("latin-1").',
        ) from error
