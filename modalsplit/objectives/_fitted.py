"""What every objective is told, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import Disentangler

Views = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """What all objectives need to know.

    Attributes
    ----------
    n_components : int
        Columns of each part.
    ridge : float
        Of the anchors; see `principal_anchors`.
    common_rank : int or None
        Rank of the common parts; None to let unseen rows decide.
    validation_fraction : float
        Share of the rows that are held out at a time.
    generator : torch.Generator
        Every random choice.
    hidden_units, learning_rate, weight_decay, batch_size, max_epochs
        Of the learned features.
    on_epoch : callable
        Takes the record of each epoch; returns True to stop.
    """

    n_components: int
    ridge: float
    common_rank: int | None
    validation_fraction: float
    generator: torch.Generator
    hidden_units: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 500
    max_epochs: int | None = None
    on_epoch: Callable[[dict[str, float]], bool] = field(default=lambda record: False)


class Fitted(NamedTuple):
    """A fitted encoder.

    Attributes
    ----------
    module : Disentangler
        Float64.
    rank : int
        Rank of the common parts.
    correlations : Tensor of shape (n_pairs,)
        Canonical correlations on held-out rows.
    translation_error : float
        Mean of `Verdict.errors`; NaN if no row was held out.
    residual_share : float
        See `modalsplit.nn.residual_share`, on all rows.
    primitive : str
        Which candidate won.
    history : list of dict of str to float
        A record an epoch.
    """

    module: Disentangler
    rank: int
    correlations: Tensor
    translation_error: float
    residual_share: float
    primitive: str
    history: list[dict[str, float]]
