"""Stream the files of a data set: an error says which file and which line, and what to do."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# One recipe of Allrecipes holds all its reviews in a cell.
csv.field_size_limit(2**31 - 1)


def found(folder: Path, *names: str, source: str) -> Path:
    """Find a file or folder under the first name that exists, as it is or with .gz behind."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    raise FileNotFoundError(f"{folder / names[0]} is missing. Download {source}, and put it there under this name.")


def objects(
    path: Path,
    keys: Sequence[str],
    *,
    parse: Callable[[str], Any] = json.loads,
    skip: Callable[[str], bool] = lambda line: False,
) -> Iterator[dict[str, Any]]:
    """Read one object a line; each must have `keys`. Blank lines, and those to skip, are not parsed."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or skip(line):
            continue
        try:
            value = parse(line)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{path}, line {number}: no object can be read from it ({error}).") from error
        missing = [key for key in keys if not isinstance(value, dict) or key not in value]
        if missing:
            raise ValueError(f"{path}, line {number}: there is no {missing[0]!r} in it.")
        yield value


def rows(path: Path, columns: Mapping[str, Callable[[str], Any]]) -> Iterator[list[Any]]:
    """Read some columns of a CSV with a header, each through a function."""
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}; it has {header}.")
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells; the header has {len(header)}.")
            if row:
                yield [read(row[header.index(column)]) for column, read in columns.items()]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error


def _lines(path: Path) -> Iterator[str]:
    """Read a text, packed or not, with the ends of its lines."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read beyond line {number} ({error}). Download it again.") from error
