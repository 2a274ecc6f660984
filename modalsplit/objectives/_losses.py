"""What the trained objectives minimise, for one pair of modalities: which terms, and their weights."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from modalsplit.nn import (
    alignment_loss,
    bounded_ranking_loss,
    common_gap,
    cosine_gap,
    cosine_ranking_loss,
    orthogonality_loss,
    primitive_gap,
    printed_ranking_loss,
    specific_gap,
    translated_cosines,
)
from modalsplit.objectives._fitted import Resolved, is_official
from modalsplit.objectives._stable_loss import stable_losses

Both = tuple[Tensor, Tensor]

_EQUATION_11 = {"alignment": 1.0, "orthogonality": 1.0, "ranking": 1.0}
WEIGHTS = {
    "paper_literal": _EQUATION_11,
    "paper": _EQUATION_11,
    "official": _EQUATION_11,
    "con": {"alignment": 1.0, "orthogonality": 1.0, "common_gap": 1.0},  # Eq. 14
    "en": {"alignment": 1.0, "orthogonality": 1.0},
    "de": {"ranking": 1.0},
    "stable": {"alignment": 1.0, "residual": 1.0, "ranking": 0.1, "map": 0.1},
}


class Pair(NamedTuple):
    """Items of two modalities, as the losses see them.

    Attributes
    ----------
    primitive, common, specific : pair of Tensor of shape (n_batch, n_components)
        Of each modality.
    target : pair of Tensor of shape (n_batch, n_columns)
        What the maps lead to: primitives, or raw features.
    maps : tuple of Linear
        Φ from the first modality to the second, and back; empty for an objective without.
    whole : Tensor of shape ()
        H₀ of `modalsplit.nn.residual_loss`.
    """

    primitive: Both
    common: Both
    specific: Both
    target: Both
    maps: tuple[nn.Linear, ...]
    whole: Tensor

    def translated(self, parts: Both) -> Both:
        """Predict each modality from a part of the other one (Eq. 4, 6 and 7).

        Parameters
        ----------
        parts : pair of Tensor of shape (n_batch, n_components)
            Common parts, primitives or specific parts.

        Returns
        -------
        pair of Tensor of shape (n_batch, n_columns)
            In the order of `target`.
        """
        to_second, to_first = self.maps
        return to_first(parts[1]), to_second(parts[0])


def pair_losses(pair: Pair, settings: Resolved) -> dict[str, Tensor]:
    """Compute the loss of one pair of modalities, its terms and diagnostics.

    Parameters
    ----------
    pair : Pair
        Items that have both modalities.
    settings : Resolved
        The objective and its options.

    Returns
    -------
    dict of str to Tensor of shape ()
        ``"loss"``, its terms, and the gaps L_c, L_p and L_s, unless the objective has no maps.
    """
    weights = WEIGHTS[settings.objective]
    if settings.objective == "stable":
        return stable_losses(pair.primitive, pair.common, pair.maps, pair.whole, settings.temperature, weights)
    terms = (_official_terms if is_official(settings) else _paper_terms)(pair, settings)
    loss = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
    gaps = {name: value for name, value in terms.items() if name.endswith("_gap")}
    return {"loss": loss, **{name: terms[name] for name in weights}, **gaps}


def _paper_terms(pair: Pair, settings: Resolved) -> dict[str, Tensor]:
    """Eq. 3, 5 and 8 to 10."""
    terms = {
        "alignment": alignment_loss(pair.common),
        "orthogonality": orthogonality_loss(pair.specific, settings.orthogonality),
    }
    if not pair.maps:
        return terms
    from_common, from_primitive, from_specific = translations = [
        pair.translated(parts) for parts in (pair.common, pair.primitive, pair.specific)
    ]
    target = pair.primitive if settings.anchor == "primitive" else pair.specific
    gaps = (
        common_gap(pair.primitive, from_common, settings.gap),
        primitive_gap(pair.primitive, from_primitive, settings.gap),
        specific_gap(target, from_specific, settings.gap),
    )
    literal = settings.objective == "paper_literal"
    terms["ranking"] = printed_ranking_loss(*gaps) if literal else bounded_ranking_loss(*gaps, settings.temperature)
    return terms | _squared_gaps(pair, *translations)


def _official_terms(pair: Pair, settings: Resolved) -> dict[str, Tensor]:
    """Eq. 3, and cosines with raw features in the place of Eq. 5 and 8 to 10: PAMD's released code."""
    terms = {
        # The released code averages over dimensions here, and not in the other term.
        "alignment": alignment_loss(pair.common) / pair.common[0].shape[1],
        "orthogonality": orthogonality_loss(pair.specific, settings.orthogonality),
    }
    if not pair.maps:
        return terms
    to_second, to_first = pair.maps
    first, second = zip(pair.common, pair.primitive, pair.specific, strict=True)
    # c, p and s of the released code, for either direction.
    cosines = translated_cosines(pair.target[0], second, to_first), translated_cosines(pair.target[1], first, to_second)
    ranking = [cosine_ranking_loss(c, p, s, settings.temperature, settings.batch_sum_negative) for c, p, s in cosines]
    gaps = (cosine_gap(*each) for each in zip(*cosines, strict=True))
    return terms | {"ranking": ranking[0] + ranking[1]} | _named_gaps(*gaps)


def _squared_gaps(pair: Pair, from_common: Both, from_primitive: Both, from_specific: Both) -> dict[str, Tensor]:
    """L_c, L_p and L_s in one unit, whatever the target of Eq. 9 and the reading of a gap."""
    return _named_gaps(
        common_gap(pair.primitive, from_common),
        primitive_gap(pair.primitive, from_primitive),
        specific_gap(pair.primitive, from_specific),
    )


def _named_gaps(common: Tensor, primitive: Tensor, specific: Tensor) -> dict[str, Tensor]:
    return {"common_gap": common, "primitive_gap": primitive, "specific_gap": specific}
