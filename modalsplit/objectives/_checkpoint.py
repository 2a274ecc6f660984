"""A folder from which a fit that was killed goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from modalsplit.files import sole_user, whole_file
from modalsplit.files._archive import read_archive, write_archive
from modalsplit.files._codec import Reader, Writer
from modalsplit.files._known import Known
from modalsplit.objectives._fitted import Stages
from modalsplit.training import from_first, ranks

FORM, VERSION = "modalsplit checkpoint", "1"
ABOUT = "checkpoint.json"
# Between two snapshots of a stage that is not at its end.
SECONDS = 10.0


class Checkpoint(Stages):
    """Stages in a folder, one safetensors file each.

    Parameters
    ----------
    folder : Path
        That `opened` prepared.
    seed : int
        Of the fit.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self._folder = folder
        self._last = time.monotonic()

    @classmethod
    @contextmanager
    def opened(
        cls, folder: str | PathLike[str], configuration: Mapping[str, Any], data: Mapping[str, Any], seed: int | None
    ) -> Iterator[Checkpoint]:
        """Begin a checkpoint, or go on with one of the same configuration and data.

        Parameters
        ----------
        folder : str or Path
            Where; made if it is not there.
        configuration, data : mapping of str to JSON value
            What the fit depends on.
        seed : int or None
            Of the fit; None for any, and then the one that the checkpoint was begun with.

        Yields
        ------
        Checkpoint
            Nobody else uses it meanwhile.

        Raises
        ------
        ValueError
            If the folder holds anything else.
        RuntimeError
            If another process uses it.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with sole_user(folder):
            about: dict[str, Any] = {
                "version": VERSION,
                "configuration": dict(configuration),
                "data": dict(data),
                "seed": seed,
            }
            about = json.loads(json.dumps(about))  # tuples become lists, as in the file
            if (folder / ABOUT).exists():
                earlier = _read_about(folder / ABOUT)
                _check_same(folder, earlier, about)
                about = earlier
            else:
                _check_empty(folder)
                if seed is None:
                    about["seed"] = int(time.time_ns() % (1 << 31))
                with whole_file(folder / ABOUT) as unfinished:
                    unfinished.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            for left in folder.glob(".*.*"):  # of a process that was killed while it wrote
                left.unlink()
            yield cls(folder, about["seed"])

    def load(self, name: str) -> Any:
        """Read what was kept under a name; None if nothing was."""
        path = self._folder / f"{name}.safetensors"
        if not path.exists():
            return None
        structure, arrays = read_archive(path, FORM, VERSION, "a fit with checkpoint=")
        return Reader(Known(()), arrays).read(structure)

    def keep(self, name: str, value: Callable[[], Any], *, at_once: bool = True) -> None:
        """Keep a value; if not at once, then only if the last snapshot is some seconds ago."""
        if not self.is_due(at_once):
            return
        writer = Writer(Known(()))
        structure = writer.write(value())
        write_archive(self._folder / f"{name}.safetensors", structure, writer.arrays, FORM, VERSION)
        self._last = time.monotonic()

    def is_due(self, at_once: bool) -> bool:
        """Tell whether `keep` would keep now."""
        return at_once or time.monotonic() - self._last >= SECONDS

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give the folder itself: large files serve the next attempt, too."""
        yield self._folder


class _OfFirst(Stages):
    """Stages that the first of several processes keeps and reads, for all; large files are each process's own.

    What to keep is asked of all processes, which may have to put it together.
    """

    def __init__(self, kept: Checkpoint | None) -> None:
        self._kept = kept

    def load(self, name: str) -> Any:
        return from_first(lambda: None if self._kept is None else self._kept.load(name))

    def keep(self, name: str, value: Callable[[], Any], *, at_once: bool = True) -> None:
        if not from_first(lambda: self._kept is not None and self._kept.is_due(at_once)):
            return
        found = value()
        from_first(lambda: None if self._kept is None else self._kept.keep(name, lambda: found))


@contextmanager
def opened_by_ranks(
    folder: str | PathLike[str], configuration: Mapping[str, Any], data: Mapping[str, Any], seed: int | None
) -> Iterator[tuple[Stages, int]]:
    """Begin a checkpoint, or go on with one, as `Checkpoint.opened`; of several processes that fit together, the first does.

    Parameters
    ----------
    folder, configuration, data, seed
        As for `Checkpoint.opened`.

    Yields
    ------
    stages : Stages
        For this process.
    seed : int
        For all.

    Raises
    ------
    Exception
        As `Checkpoint.opened`, on every process.
    """
    with ExitStack() as stack:

        def opened() -> int:
            opened_here.append(stack.enter_context(Checkpoint.opened(folder, configuration, data, seed)))
            return opened_here[0].seed

        opened_here: list[Checkpoint] = []
        known = from_first(opened)
        if ranks().world == 1:
            yield opened_here[0], known
        else:
            yield _OfFirst(opened_here[0] if opened_here else None), known


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Delete the folder to begin anew.") from error
    if about.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {about.get('version')}; this modalsplit goes on from version {VERSION}."
        )
    return about


def _check_same(folder: Path, earlier: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    was, now = earlier["configuration"], about["configuration"]
    if about["seed"] is not None and about["seed"] != earlier["seed"]:
        was, now = {**was, "random_state": earlier["seed"]}, {**now, "random_state": about["seed"]}
    different = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    if different:
        told = ", ".join(f"{key}={was.get(key)!r} there and {now.get(key)!r} now" for key in different)
        raise ValueError(
            f"The checkpoint in {folder} was begun with another configuration: {told}. Pass the same, or name another folder."
        )
    if earlier["data"] != about["data"]:
        raise ValueError(
            f"The checkpoint in {folder} was begun with other data: {earlier['data']} there, {about['data']} now. Pass the "
            "same items in the same order, or name another folder."
        )


def _check_empty(folder: Path) -> None:
    strangers = [path.name for path in folder.iterdir() if path.name[0] != "."]
    if strangers:
        raise ValueError(f"{folder} is no checkpoint and not empty: it holds {strangers[0]!r}. Name a new folder.")
