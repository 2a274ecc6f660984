"""Figures: what training did, what the parts hold, and what drives a recommendation. They need matplotlib.

Each is a display as scikit-learn has them: a class method computes and draws, `plot` draws again elsewhere.
"""

from modalsplit.plotting._attention import AttentionDisplay
from modalsplit.plotting._contribution import ContributionDisplay
from modalsplit.plotting._diagnosis import DiagnosisDisplay
from modalsplit.plotting._parts_map import PartsMapDisplay
from modalsplit.plotting._sparsity import SparsityDisplay
from modalsplit.plotting._training import TrainingDisplay

__all__ = [
    "AttentionDisplay",
    "ContributionDisplay",
    "DiagnosisDisplay",
    "PartsMapDisplay",
    "SparsityDisplay",
    "TrainingDisplay",
]
