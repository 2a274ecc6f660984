"""Files of an export: whole or not there, each with a data card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.files import put_in_place, scratch_beside
from modalsplit.interop._items import ItemBlocks, item_blocks

CARD = "modalsplit-card.json"
Place = str | PathLike[str]


def data_card(items: Any, target: str | None = None, **details: Any) -> dict[str, Any]:
    """Say what is exported: the card that every exporter writes beside its files.

    Parameters
    ----------
    items : ItemBlocks or DataFrame
        As for `item_blocks`.
    target : str, optional
        The library or format.
    **details : dict
        What else to say, as JSON can.

    Returns
    -------
    dict
        ``modalsplit`` (version), ``target``, ``n_items``, ``blocks`` (columns of each), ``dtype``, ``ids`` (type and
        SHA-256), ``values_sha256``, ``made_by`` and the details. The same items make the same card: there is no date.

    Examples
    --------
    >>> from modalsplit.interop import data_card, item_blocks
    >>> card = data_card(item_blocks({"image": [[1, 2], [3, 4]]}, item_ids=["a", "b"], made_by="by hand"))
    >>> card["n_items"], card["blocks"], card["ids"]["type"], card["made_by"]
    (2, {'image': 2}, 'str', {'text': 'by hand'})
    """
    items = item_blocks(items)
    values = hashlib.sha256()
    for name, X in items.blocks.items():
        values.update(json.dumps([name, X.shape]).encode())
        values.update(X.astype("<f4").tobytes())
    ids = json.dumps(items.ids.tolist()).encode()
    return {
        "modalsplit": version("modalsplit"),
        "target": target,
        "n_items": len(items.ids),
        "blocks": {name: X.shape[1] for name, X in items.blocks.items()},
        "dtype": "float32",
        "ids": {"type": "str" if items.ids.dtype == object else "int", "sha256": hashlib.sha256(ids).hexdigest()},
        "values_sha256": values.hexdigest(),
        "made_by": items.made_by,
        **details,
    }


def check_card(path: Place) -> dict[str, Any]:
    """Read the card of an export, and check that its files are those that were written.

    Parameters
    ----------
    path : str or Path
        What was given to the exporter: a file or a folder.

    Returns
    -------
    dict
        As `data_card`, with ``files_sha256``.

    Raises
    ------
    FileNotFoundError
        If there is no card.
    ValueError
        If a file was changed, added or removed since.
    """
    path = Path(path)
    card: dict[str, Any] = json.loads(_card_of(path).read_text(encoding="utf-8"))
    if _hash_of_files(path) != card["files_sha256"]:
        raise ValueError(f"{path} is not what {_card_of(path).name} describes: files were changed. Export it again.")
    return card


@contextmanager
def written(
    path: Place, items: ItemBlocks, target: str, *, overwrite: bool, folder: bool = False, **details: Any
) -> Iterator[Path]:
    """Write a file or a folder that is there whole or not at all, with its card.

    Parameters
    ----------
    path : str or Path
        Where the result belongs.
    items : ItemBlocks
        What is exported.
    target : str
        The library or format, for the card.
    overwrite : bool
        Whether to replace an earlier export.
    folder : bool, default=False
        Whether it is a folder.
    **details : dict
        What else the card says.

    Yields
    ------
    Path
        Where to write. It is moved to `path` when all went well; a process that is killed leaves a hidden folder beside
        it, which holds the earlier export if that was just being replaced.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced.
    """
    path = Path(path)
    _check_place(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch_beside(path) as unfinished:
        if folder:
            unfinished.mkdir()
        yield unfinished
        card = {**data_card(items, target, **details), "files_sha256": _hash_of_files(unfinished)}
        _card_of(unfinished).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        put_in_place(unfinished, path)
        if not folder:
            _card_of(unfinished).replace(_card_of(path))


def foreign(module: str, package: str) -> Any:
    """Import a library that is not among the package's own requirements.

    Parameters
    ----------
    module : str
        What to import.
    package : str
        What to install.

    Returns
    -------
    module
        The library.

    Raises
    ------
    ImportError
        If it is not installed; its own errors pass through.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(f"This needs the package {package}: pip install {package}") from error


def as_text(rows: NDArray[np.float32], separator: str = " ") -> Iterator[str]:
    """Write rows of numbers with the nine digits that give every float32 back.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns), float32
        Numbers.
    separator : str, default=" "
        What stands between them.

    Yields
    ------
    str
        A row.
    """
    pattern = separator.join(["%.9g"] * rows.shape[1])
    for row in rows.tolist():
        yield pattern % tuple(row)


def as_yaml(settings: dict[str, Any]) -> str:
    """Write settings; JSON is YAML too.

    Parameters
    ----------
    settings : dict
        Names and values.

    Returns
    -------
    str
        One line a setting.
    """
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())


def write_vectors(folder: Path, ids: Iterable[Any], rows: NDArray[np.float32]) -> None:
    """Write a file ``<id>.npy`` an item.

    Parameters
    ----------
    folder : Path
        Where to; made if it is not there.
    ids : iterable of shape (n_items,)
        File names without the suffix.
    rows : ndarray of shape (n_items, ...)
        What to write.
    """
    folder.mkdir(parents=True)
    for item, row in zip(ids, rows, strict=True):
        np.save(folder / f"{item}.npy", row)


def _card_of(path: Path) -> Path:
    return path / CARD if path.is_dir() else path.with_name(f"{path.name}.card.json")


def _check_place(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists. Give overwrite=True to replace it, or choose another path.")
    if not _card_of(path).exists():
        raise FileExistsError(f"{path} was not written by modalsplit.interop, so overwrite=True does not replace it.")


def _hash_of_files(path: Path) -> str:
    """Hash the names and contents of all files but the card."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        if file.name == CARD:
            continue
        name = file.relative_to(path).as_posix()  # "." for a single file
        with file.open("rb") as content:
            digest.update(f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
