"""Torch modules and formulas: tensors in, tensors out, shapes in the signatures."""

from modalsplit.nn._canonical import (
    Canonical,
    canonical_directions,
    pairwise_correlations,
    principal_anchors,
    with_fixed_signs,
)
from modalsplit.nn._encoder import Affine, Branch, Disentangler, FeatureNetwork, LearnedPrimitive
from modalsplit.nn._objectives import (
    agreement_loss,
    bounded_ranking_loss,
    common_gap,
    cross_covariance_energy,
    encoder_loss,
    primitive_gap,
    printed_ranking_loss,
    residual_share,
    specific_gap,
)

__all__ = [
    "Affine",
    "Branch",
    "Canonical",
    "Disentangler",
    "FeatureNetwork",
    "LearnedPrimitive",
    "agreement_loss",
    "bounded_ranking_loss",
    "canonical_directions",
    "common_gap",
    "cross_covariance_energy",
    "encoder_loss",
    "pairwise_correlations",
    "primitive_gap",
    "principal_anchors",
    "printed_ranking_loss",
    "residual_share",
    "specific_gap",
    "with_fixed_signs",
]
