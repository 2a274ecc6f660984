"""Recommenders: rank items for users from who took what and from what the items are."""

from modalsplit.recommend._attentive_bpr import AttentiveBPR
from modalsplit.recommend._base import Ranking, Recommender

__all__ = ["AttentiveBPR", "Ranking", "Recommender"]
