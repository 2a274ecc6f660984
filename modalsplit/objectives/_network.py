"""What the trained objectives train, and the frozen maps in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modalsplit.nn import (
    Affine,
    Branch,
    Disentangler,
    Scaled,
    SkipNetwork,
    column_means,
    drawn_linear,
    drawn_network,
    principal_anchors,
    with_fixed_signs,
)
from modalsplit.objectives._fitted import Resolved, is_official

# Without at least as many rows there is no covariance without bias, and nothing to train.
FEWEST_ROWS = 4
ROWS_A_BLOCK = 4096


class Rows(NamedTuple):
    """Rows that have two modalities or more, and what they are for.

    Attributes
    ----------
    views : list of Tensor of shape (n_rows, n_columns)
        A matrix a modality.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which modalities a row has; an absent one has NaN in its columns.
    train, held_out : Tensor of int
        Which rows compute and which judge.
    """

    views: list[Tensor]
    present: Tensor
    train: Tensor
    held_out: Tensor

    def seen(self, modality: int) -> Tensor:
        """Select the rows of one modality that may be learned from; one row of zeros if there is none."""
        view = self.views[modality]
        rows = self.train[self.present[self.train, modality]]
        return view[rows] if len(rows) else view.new_zeros(1, view.shape[1])

    def both(self, first: int, second: int, rows: Tensor) -> Tensor:
        """Select those of some rows that have two modalities."""
        return rows[self.present[rows, first] & self.present[rows, second]]


class PartsOf(NamedTuple):
    """Primitive, common and specific part of some rows of one modality."""

    primitive: Tensor
    common: Tensor
    specific: Tensor


class Network(nn.Module):
    """Primitives, extractors, and maps from each modality to each other one.

    Parameters
    ----------
    n_inputs : sequence of int
        Columns of each modality, after the frozen maps.
    settings : Resolved
        Objective, extractor and number of components; the generator draws the initial weights.
    """

    def __init__(self, n_inputs: Sequence[int], settings: Resolved) -> None:
        super().__init__()
        d, generator = settings.n_components, settings.generator
        self.primitives = nn.ModuleList(_primitive(n, settings) for n in n_inputs)
        self.extractors = nn.ModuleList(_extractor(settings) for _ in n_inputs)
        self.maps: dict[tuple[int, int], nn.Linear] = {}
        if settings.objective != "en":
            widths = n_inputs if is_official(settings) else [d] * len(n_inputs)
            self.maps = {(i, j): drawn_linear(d, widths[j], generator) for i, j in permutations(range(len(widths)), 2)}
        self._registered_maps = nn.ModuleList(self.maps.values())

    def parts(self, x: Tensor, modality: int) -> PartsOf:
        """Split rows of one modality.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_inputs)
            What the frozen map made of them.
        modality : int
            Which one.

        Returns
        -------
        PartsOf
            Three matrices of shape (n_rows, n_components).
        """
        primitive = self.primitives[modality](x)
        common = self.extractors[modality](primitive)
        return PartsOf(primitive, common, primitive - common)

    def behind(self, fronts: Sequence[nn.Module]) -> Disentangler:
        """Put the encoder together; maps between modalities are no part of it.

        Parameters
        ----------
        fronts : sequence of Module
            The frozen map of each modality.

        Returns
        -------
        Disentangler
            Float64, without gradients.
        """
        branches = (
            Branch(nn.Sequential(front, primitive), extractor)
            for front, primitive, extractor in zip(fronts, self.primitives, self.extractors, strict=True)
        )
        return Disentangler(*branches).double().requires_grad_(False).eval()


def divided(views: Sequence[Tensor], settings: Resolved) -> Rows:
    """Select the rows to learn from, and hold a share of them out.

    Parameters
    ----------
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality; NaN in a row of one that is absent.
    settings : Resolved
        Share that is held out, and generator.

    Returns
    -------
    Rows
        Those that have two modalities or more.
    """
    present = torch.stack([~view.isnan().any(1) for view in views], dim=1)
    usable = present.sum(1) >= 2
    n = int(usable.sum())
    n_held_out = max(0, min(round(n * settings.validation_fraction), n - FEWEST_ROWS))
    order = torch.randperm(n, generator=settings.generator, device=settings.generator.device).to(present.device)
    if n < len(usable):  # no copy where nothing is missing
        views, present = [view[usable] for view in views], present[usable]
    return Rows(list(views), present, order[n_held_out:], order[:n_held_out])


def scaling(rows: Rows, modality: int) -> Scaled:
    """Centre a modality and divide it by one number, so that its unit does not matter.

    Parameters
    ----------
    rows : Rows
        Of which the training rows are used.
    modality : int
        Which one.

    Returns
    -------
    Scaled
        Whose output has a mean square of 1 over all cells, float64.
    """
    x = rows.seen(modality)
    mean = column_means(x)
    energy = torch.stack([(block - mean).square().sum() for block in torch.split(x, ROWS_A_BLOCK)]).sum()
    scale = (energy / x.numel()).sqrt()
    return Scaled(mean, torch.where(scale > 0, scale, 1.0))


def canonical_anchors(rows: Rows, n_components: int, ridge: float, generator: torch.Generator) -> list[Affine]:
    """Map every modality to anchors that show what is shared in the same coordinates.

    The principal anchors of each modality are rotated so that column k of one covaries with column k of the
    others. For two modalities these rotations are U and Q of the singular value decomposition U R Qᵀ of their
    cross-covariance; for more, the nearest rotations to the leading eigenvectors of all cross-covariances at
    once, which are the same for two.

    Parameters
    ----------
    rows : Rows
        Of which the training rows are used.
    n_components : int
        How many columns; those beyond a modality's own are zero before they are rotated.
    ridge : float
        See `principal_anchors`.
    generator : torch.Generator
        See `principal_anchors`.

    Returns
    -------
    list of Affine
        One a modality, float64.
    """
    n_modalities, d = len(rows.views), n_components
    anchors = []
    for modality in range(n_modalities):
        affine = principal_anchors(rows.seen(modality), d, ridge, generator)
        anchors.append(Affine(affine.mean, pad(affine.weight, (0, d - affine.weight.shape[1]))))
    covariances = rows.views[0].new_zeros(n_modalities, d, n_modalities, d, dtype=torch.float64)
    for i, j in combinations(range(n_modalities), 2):
        both = rows.both(i, j, rows.train)
        a, b = (through(anchors[m], rows.views[m][both]) for m in (i, j))
        covariances[i, :, j] = (a - a.mean(0)).T @ (b - b.mean(0)) / max(1, len(both))
        covariances[j, :, i] = covariances[i, :, j].T
    _, vectors = torch.linalg.eigh(covariances.reshape(n_modalities * d, -1))
    leading = with_fixed_signs(vectors.flip(1)[:, :d])
    return [
        affine.then(_nearest_rotation(block)) for affine, block in zip(anchors, torch.split(leading, d), strict=True)
    ]


def through(front: nn.Module, view: Tensor) -> Tensor:
    """Apply a frozen map to all rows, a block at a time.

    Parameters
    ----------
    front : Module
        Of float64.
    view : Tensor of shape (n_rows, n_columns)
        Rows; NaN in those that are absent.

    Returns
    -------
    Tensor of float64 of shape (n_rows, n_inputs)
        0 in rows that are absent.
    """
    return torch.cat([front(block.double()).nan_to_num(0.0) for block in torch.split(view, ROWS_A_BLOCK)])


def _nearest_rotation(matrix: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(matrix)
    rotation: Tensor = u @ vt
    return rotation


def _primitive(n_inputs: int, settings: Resolved) -> nn.Module:
    if settings.objective == "stable":
        return nn.Identity()  # its anchors are frozen
    if settings.extractor == "learned":
        return SkipNetwork(n_inputs, settings.hidden_units, settings.n_components, settings.generator)
    return drawn_linear(n_inputs, settings.n_components, settings.generator)


def _extractor(settings: Resolved) -> nn.Module:
    d, generator = settings.n_components, settings.generator
    if settings.extractor == "mlp":
        return drawn_network(d, settings.hidden_units, d, generator)
    return drawn_linear(d, d, generator, bias=settings.objective == "stable")
