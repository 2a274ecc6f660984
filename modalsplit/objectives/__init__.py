"""How an encoder is fitted: one objective, one file; rows of two or more modalities in, a module out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from modalsplit.objectives._checkpoint import Checkpoint, opened_by_ranks
from modalsplit.objectives._closed_form import fit_closed_form
from modalsplit.objectives._fitted import Fitted, Progress, Settings, Stages
from modalsplit.objectives._scan import scanning
from modalsplit.objectives._stable import fit_stable
from modalsplit.objectives._stored import Matrix, StoredView
from modalsplit.objectives._streamed import Seen, fit_seen, nothing_seen, see
from modalsplit.objectives._survey import check_finite, survey
from modalsplit.objectives._trained import fit_trained
from modalsplit.objectives._width import automatic_width

__all__ = [
    "Checkpoint",
    "Fitted",
    "Matrix",
    "Progress",
    "Seen",
    "Settings",
    "Stages",
    "StoredView",
    "automatic_width",
    "check_finite",
    "fit_closed_form",
    "fit_objective",
    "fit_seen",
    "fit_stable",
    "fit_trained",
    "nothing_seen",
    "opened_by_ranks",
    "scanning",
    "see",
    "survey",
]


def fit_objective(views: Sequence[Matrix], settings: Settings) -> Fitted:
    """Fit an encoder by the objective that the settings name.

    Parameters
    ----------
    views : sequence of (Tensor or StoredView) of shape (n_rows, n_columns)
        A matrix a modality, of any precision, on one device; NaN in rows that lack it.
    settings : Settings
        See there.

    Returns
    -------
    Fitted
        The encoder.

    Raises
    ------
    ValueError
        If the objective is trained on the columns themselves and these are in a store.
    """
    if settings.objective == "cca":
        return fit_closed_form(views, settings)
    if settings.objective == "stable" and settings.extractor in {None, "learned"}:
        return fit_stable(views, settings)
    in_memory = [view for view in views if isinstance(view, Tensor)]
    if len(in_memory) < len(views):
        raise ValueError(
            f"objective={settings.objective!r} with extractor={settings.extractor!r} is fitted in memory: pass arrays, or "
            'objective="stable" or "cca" for a store.'
        )
    return fit_trained([view.to(torch.promote_types(view.dtype, torch.float32)) for view in in_memory], settings)
