"""The work of many machines: features, parts, fits and recommendations by a Ray cluster that the user started."""

from modalsplit.distributed._fit import fit
from modalsplit.distributed._maps import featurize, recommend, transform

__all__ = ["featurize", "fit", "recommend", "transform"]
