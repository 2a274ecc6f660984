"""What a fit of AttentiveBPR begins with: items, interactions in memory or in files, and a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from modalsplit.objectives import Stages, opened_by_ranks
from modalsplit.recommend._by_user import as_frame, interaction_files, lists_by_user
from modalsplit.recommend._inputs import Taken, has_integer_ids, row_ids
from modalsplit.stores import FeatureStore
from modalsplit.training import ranks

if TYPE_CHECKING:
    from modalsplit.recommend._attentive_bpr import AttentiveBPR

ROWS_AT_ONCE = 1 << 16


class Inputs:
    """The inputs of one fit.

    Parameters
    ----------
    model : AttentiveBPR
        Remembers them.
    X, y, item_ids : object
        As `AttentiveBPR.fit` takes them.

    Attributes
    ----------
    features : ndarray of shape (n_items, n_features)
        `X`, checked.
    """

    def __init__(self, model: AttentiveBPR, X: Any, y: Any, item_ids: ArrayLike | None) -> None:
        self.model = model
        self.files = interaction_files(y)
        if isinstance(X, FeatureStore):
            X = as_frame(X)
        if self.files is None:
            self.features = model._remember(X, y, item_ids)
            return
        if model.early_stopping:
            raise ValueError(
                "early_stopping=True holds out interactions in memory. Pass Interactions, or early_stopping=False for files."
            )
        self.ids, model._has_integer_ids = _ids_of(X, item_ids)
        self.features = model._check_rows(X, reset=True)

    @contextmanager
    def stages(self, checkpoint: str | PathLike[str] | None) -> Iterator[tuple[Stages, int | None]]:
        """Open the checkpoint, if there is one, and say with which seed to go on.

        Parameters
        ----------
        checkpoint : str or Path or None
            The folder.

        Yields
        ------
        stages : Stages
            What keeps the stages of the fit.
        seed : int or None
            None for that of the model's parameters.
        """
        if checkpoint is None:
            yield Stages(), None
            return
        free = {"random_state", "verbose", "cold_degree", "cold_alpha"}
        parameters = {name: value for name, value in self.model.get_params().items() if name not in free}
        given = self.model.random_state
        seed = None if given is None else int(given) if isinstance(given, Integral) else _drawn(given)
        versions = {"parts": self.model.part_names_, "torch": torch.__version__}
        with opened_by_ranks(checkpoint, {**parameters, **versions}, self._about(), seed) as opened:
            yield opened

    @contextmanager
    def folder(self, stages: Stages) -> Iterator[Path | None]:
        """Give a folder for lists that need not fit memory; None if they are there.

        Parameters
        ----------
        stages : Stages
            From `stages`.

        Yields
        ------
        Path or None
            The folder.
        """
        if self.files is None:
            yield None
            return
        with stages.folder() as folder:
            yield folder

    def remember_interactions(self, stages: Stages, folder: Path | None) -> None:
        """Let the model know interactions in files.

        Parameters
        ----------
        stages : Stages
            From `stages`.
        folder : Path or None
            From `folder`.
        """
        if self.files is None or folder is None:
            return
        if ranks().world > 1:  # whose files are each process's own, and not there in the next attempt
            stages = Stages()
        by_user = lists_by_user(self.files, self.ids, len(self.features), folder, stages)
        self.model._remember_taken(Taken(by_user.T, self.ids, self.files.user_ids()))

    def _about(self) -> dict[str, Any]:
        """Tell the data from others."""
        digest = hashlib.sha256()
        for start in range(0, len(self.features), ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(self.features[start : start + ROWS_AT_ONCE]).data)
        if self.files is None:
            taken = self.model.interactions_
            of_taken = hashlib.sha256(np.ascontiguousarray(taken.indptr).data)
            of_taken.update(np.ascontiguousarray(taken.indices).data)
            interactions = {"users": taken.shape[1], "interactions": of_taken.hexdigest()}
        else:
            ids = range(len(self.features)) if self.ids is None else self.ids.tolist()
            digest.update(repr(ids).encode())
            interactions = {"rows": self.files.n_rows, "interactions": self.files.fingerprint()}
        return {"items": len(self.features), "sha256": digest.hexdigest(), **interactions}


def _ids_of(X: Any, item_ids: ArrayLike | None) -> tuple[NDArray[Any] | None, bool]:
    """Find the ids of items, and tell whether an index of integers holds them."""
    ids = row_ids(X, item_ids)
    if ids is not None or not has_integer_ids(X):
        return ids, False
    return X.index.to_numpy(), True


def _drawn(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))
