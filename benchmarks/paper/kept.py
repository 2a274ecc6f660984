"""What was found out about a data set: searches and judged fits, in committed files, so that no run repeats them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

TARGET = "ndcg@10"
ERROR = "ndcg@10 error"  # of the mean over users
WHAT = ["case", "fold", "method", "content", "seed", "model"]
DECIMALS = 5


class NotKeptError(LookupError):
    """A fit that is neither kept nor to be computed now."""


class Judged(NamedTuple):
    """How one fit did: means over users, and each user's NDCG@10 if these were kept."""

    means: pd.Series
    users: pd.Series | None

    @property
    def ndcg(self) -> float:
        return float(self.means[TARGET])


class Kept:
    """The files of one data set.

    ``<name>-searches.json``: each search's trials, settings and value on the validation part. ``<name>-fits.csv``: each
    judged fit, what it was and its mean metrics. ``<name>-users.parquet``: NDCG@10 of each user in each of these fits, in
    half precision, for paired tests. Written whole after each fit. One process at a time may write a data set's files.

    A fit is known by its case, fold, method, content, seed and the parameters of the model that are not defaults. When
    code changes what these mean, delete the rows.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.searches_file = folder / f"{name}-searches.json"
        self.fits_file = folder / f"{name}-fits.csv"
        self.users_file = folder / f"{name}-users.parquet"
        folder.mkdir(parents=True, exist_ok=True)
        self.searches: dict[str, dict[str, Any]] = {}
        self.fits, self.users = pd.DataFrame(columns=WHAT), pd.DataFrame()
        if self.searches_file.exists():
            self.searches = json.loads(self.searches_file.read_text())
        if self.fits_file.exists():
            self.fits = pd.read_csv(self.fits_file, index_col="fit")
        if self.users_file.exists():
            self.users = pd.read_parquet(self.users_file)

    def judged(
        self, what: dict[str, Any], judge: Callable[[], pd.DataFrame], *, paired: bool = False
    ) -> tuple[Judged, bool]:
        """Return a fit, from the files or by `judge`, which makes a table of users; and whether it is new.

        The values of users are kept if they are wanted `paired`.
        """
        key = hashlib.sha256(json.dumps([str(what[name]) for name in WHAT]).encode()).hexdigest()[:12]
        if is_new := key not in self.fits.index or (paired and key not in self.users):
            table = judge()
            if paired:
                users = table[TARGET].astype(np.float16).rename(key)
                self.users = pd.concat([self.users.drop(columns=key, errors="ignore"), users], axis=1).sort_index()
                compressed = {"compression": "zstd", "compression_level": 19}
                _replace(self.users_file, lambda path: self.users.to_parquet(path, **compressed))
            row = {**what, **table.mean().round(DECIMALS)}
            if TARGET in table:
                row[ERROR] = round(table[TARGET].std() / np.sqrt(len(table)), DECIMALS)
            others = self.fits.drop(index=key, errors="ignore")
            new = pd.DataFrame([row], index=[key])
            self.fits = pd.concat([others, new]) if len(others) else new
            _replace(self.fits_file, lambda path: self.fits.rename_axis("fit").to_csv(path))
        means = self.fits.loc[key].drop(WHAT).dropna().astype(float)
        return Judged(means, self.users[key].dropna().astype(float) if key in self.users else None), is_new

    def write_searches(self) -> None:
        text = json.dumps(self.searches, indent=1, sort_keys=True) + "\n"
        _replace(self.searches_file, lambda path: path.write_text(text))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside, then replace: what is killed in between leaves the old file."""
    beside = path.with_suffix(".tmp")
    write(beside)
    beside.replace(path)
