"""Torch modules and formulas: tensors in, tensors out, shapes in the signatures."""

from modalsplit.nn._attention import (
    Attention,
    Items,
    attend,
    fuse,
    item_attention,
    move_common,
    pair_attention,
    score,
    score_pairs,
)
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
from modalsplit.nn._ranker import AttentiveRanker
from modalsplit.nn._ranking import LOSSES, bpr_loss, logistic_loss, softmax_loss

__all__ = [
    "LOSSES",
    "Affine",
    "Attention",
    "AttentiveRanker",
    "Branch",
    "Canonical",
    "Disentangler",
    "FeatureNetwork",
    "Items",
    "LearnedPrimitive",
    "agreement_loss",
    "attend",
    "bounded_ranking_loss",
    "bpr_loss",
    "canonical_directions",
    "common_gap",
    "cross_covariance_energy",
    "encoder_loss",
    "fuse",
    "item_attention",
    "logistic_loss",
    "move_common",
    "pair_attention",
    "pairwise_correlations",
    "primitive_gap",
    "principal_anchors",
    "printed_ranking_loss",
    "residual_share",
    "score",
    "score_pairs",
    "softmax_loss",
    "specific_gap",
    "with_fixed_signs",
]
