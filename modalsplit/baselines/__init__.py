"""Recommenders to compare with: simple, strong and deterministic."""

from modalsplit.baselines._content import ContentKNN
from modalsplit.baselines._ease import EASE
from modalsplit.baselines._popularity import Popularity, PopularityOfNeighbours

__all__ = ["EASE", "ContentKNN", "Popularity", "PopularityOfNeighbours"]
