"""What every objective is told, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from modalsplit.nn import Disentangler, Gap, Orthogonality

Objective = Literal["stable", "cca", "paper", "paper_literal", "official", "con", "en", "de"]
Extractor = Literal["linear", "mlp", "learned"]
Optimizer = Literal["sgd", "adam", "adamw"]
Family = Literal["paper", "official"]
Anchor = Literal["primitive", "specific"]

_PAPER: dict[str, Any] = {
    "extractor": "linear",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch_size": 100,
    "max_epochs": 100,
    "temperature": 1.0,
    "anchor": "primitive",
}
_OFFICIAL = {**_PAPER, "weight_decay": 1e-5, "temperature": 0.5}
_LITERAL = {**_PAPER, "optimizer": "sgd", "anchor": "specific"}
_STABLE = {**_PAPER, "learning_rate": 5e-3, "batch_size": 500, "max_epochs": None, "temperature": 0.1}
_STABLE_BY_EXTRACTOR = {
    "linear": _STABLE,
    "mlp": {**_STABLE, "learning_rate": 2e-3},
    "learned": {**_STABLE, "optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 1e-2, "extractor": "learned"},
}


Progress = Callable[[str, int, str], AbstractContextManager[Callable[..., object]]]


@contextmanager
def _unseen(what: str, n_steps: int, unit: str) -> Iterator[Callable[..., object]]:
    """Show nothing."""
    yield lambda n=1, record=None: None


class Stages:
    """What a fit keeps between its stages; this one keeps nothing.

    Values are numbers, texts, tensors, and lists and dicts of them.
    """

    def load(self, name: str) -> Any:
        """Read what was kept under a name; None if nothing was."""
        return None

    def keep(self, name: str, value: Callable[[], Any], *, at_once: bool = True) -> None:
        """Keep the value of a function under a name; if not at once, then only now and then."""

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder for large files: here one that goes away."""
        with TemporaryDirectory(prefix="modalsplit-") as folder:
            yield Path(folder)


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
        Rank of the common parts of "stable" and "cca"; None to let unseen rows decide.
    validation_fraction : float
        Share of the rows that are held out at a time.
    generator : torch.Generator
        Every random choice.
    hidden_units : int
        Of every network.
    learning_rate, weight_decay, batch_size, max_epochs : optional
        Of what is trained; None for the objective's own, see `resolved`.
    objective : str
        What is minimised.
    extractor : {"linear", "mlp", "learned"} or None
        What is trained: linear extractors on linear primitives; extractors with a hidden layer; or linear
        extractors on primitives with a hidden layer. None for the objective's own.
    optimizer : {"sgd", "adam", "adamw"} or None
        None for the objective's own.
    family : {"paper", "official"}
        Whose ablation "con", "en" and "de" are; other objectives know theirs.
    orthogonality : {"inner", "hadamard", "covariance", "hsic"}
        How the product in Eq. 3 is read; see `modalsplit.nn.orthogonality_loss`.
    gap : {"batch", "item"}
        Whether the gaps of Eq. 10 are those of a batch or of an item; the official family's are an item's.
    anchor : {"primitive", "specific"} or None
        What Eq. 9 translates to in the paper family. None for the objective's own.
    temperature : float or None
        Of the ranking part. None for the objective's own.
    batch_sum_negative : bool
        See `modalsplit.nn.cosine_ranking_loss`.
    on_epoch : callable
        Takes the record of each epoch; returns True to stop.
    on_interrupt : callable or None
        Called when the user interrupts training, which then ends with what it has; None to let the interrupt through.
    stages : Stages
        Keeps what takes long, so that a fit that was killed goes on from there.
    progress : callable
        Takes what is done, of how many steps, and their name; gives a context with a function that counts steps.
    """

    n_components: int
    ridge: float
    common_rank: int | None
    validation_fraction: float
    generator: torch.Generator
    hidden_units: int = 256
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    max_epochs: int | None = None
    objective: Objective = "stable"
    extractor: Extractor | None = None
    optimizer: Optimizer | None = None
    family: Family = "paper"
    orthogonality: Orthogonality = "inner"
    gap: Gap = "batch"
    anchor: Anchor | None = None
    temperature: float | None = None
    batch_sum_negative: bool = False
    on_epoch: Callable[[dict[str, float]], bool] = field(default=lambda record: False)
    on_interrupt: Callable[[], object] | None = None
    stages: Stages = field(default_factory=lambda: Stages())
    progress: Progress = field(default=_unseen)


@dataclass(frozen=True, kw_only=True)
class Resolved(Settings):
    """Settings in which the objective's own defaults stand where there was None.

    Attributes
    ----------
    learning_rate, weight_decay, batch_size, extractor, optimizer, anchor, temperature
        As in `Settings`, never None.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    extractor: Extractor
    optimizer: Optimizer
    anchor: Anchor
    temperature: float


def resolved(settings: Settings) -> Resolved:
    """Fill in what the settings leave to the objective.

    Parameters
    ----------
    settings : Settings
        What the user chose, None for what the user did not.

    Returns
    -------
    Resolved
        The same without None, but for `common_rank`, and for `max_epochs` where a number of gradient steps is
        the default.

    References
    ----------
    Han et al., WWW 2022, for the paper family; PAMD's released code for the official one.
    """
    given = vars(settings)
    missing = {name: value for name, value in _defaults(settings).items() if given[name] is None}
    return Resolved(**{**given, **missing})


def _defaults(settings: Settings) -> dict[str, Any]:
    if settings.objective in {"stable", "cca"}:
        return _STABLE_BY_EXTRACTOR[settings.extractor or "learned"]
    if settings.objective == "paper_literal":
        return _LITERAL
    return _OFFICIAL if is_official(settings) else _PAPER


def is_official(settings: Settings) -> bool:
    """Tell whether an objective is of the official family: raw targets and cosines.

    Parameters
    ----------
    settings : Settings
        Their objective, and for an ablation the family.

    Returns
    -------
    bool
        False for the paper family, and for "stable".
    """
    ablation = settings.objective in {"con", "en", "de"}
    return settings.objective == "official" or (ablation and settings.family == "official")


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
    diverged : str or None
        What went wrong, if training diverged; the module is then from before that.
    support : Tensor of bool of shape (n_modalities, n_components) or None
        Which modality shows which column of the common parts; None if all show all.
    """

    module: Disentangler
    rank: int
    correlations: Tensor
    translation_error: float
    residual_share: float
    primitive: str
    history: list[dict[str, float]]
    diverged: str | None = None
    support: Tensor | None = None
