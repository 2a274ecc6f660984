"""Data to try things on: real wines, and made modalities whose factors are known."""

from modalsplit.datasets._modalities import make_modalities
from modalsplit.datasets._wines import load_wines

__all__ = ["load_wines", "make_modalities"]
