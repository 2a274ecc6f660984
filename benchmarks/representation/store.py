"""One JSON file a cell of the table, so that a run can be interrupted and two processes can share the work."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Key(NamedTuple):
    data: str
    method: str
    seed: int

    def file_name(self) -> str:
        return "--".join(re.sub(r"[^a-z0-9.]+", "-", str(part).lower()).strip("-") for part in self) + ".json"


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: Key) -> list[dict[str, object]] | None:
        path = self.folder / key.file_name()
        if not path.exists():
            return None
        return [{**key._asdict(), **row} for row in json.loads(path.read_text())]

    def write(self, key: Key, rows: list[dict[str, object]]) -> None:
        path = self.folder / key.file_name()
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        beside.write_text(json.dumps(rows, indent=1) + "\n")
        beside.replace(path)

    @contextmanager
    def claimed(self, key: Key) -> Iterator[bool]:
        """Tell whether the cell is this process's to compute; a claim of a process that is gone does not count."""
        path = self.folder / (key.file_name() + ".lock")
        mine = self._claim(path)
        try:
            yield mine
        finally:
            if mine:
                path.unlink(missing_ok=True)

    def is_claimed(self, key: Key) -> bool:
        path = self.folder / (key.file_name() + ".lock")
        return path.exists() and _is_alive(path)

    def _claim(self, path: Path) -> bool:
        if path.exists() and not _is_alive(path):
            path.unlink(missing_ok=True)
        try:
            with path.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return False
        return True


def _is_alive(lock: Path) -> bool:
    try:
        pid = lock.read_text()
        if pid:  # an empty one is being written just now
            os.kill(int(pid), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
