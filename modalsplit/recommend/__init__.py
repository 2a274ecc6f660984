"""Recommenders: rank items for users from who took what and from what the items are."""

from modalsplit.recommend._attentive_bpr import AttentiveBPR
from modalsplit.recommend._base import Ranking, Recommender
from modalsplit.recommend._index import ItemIndex

__all__ = ["AttentiveBPR", "ItemIndex", "Ranking", "Recommender"]
