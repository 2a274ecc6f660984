"""How an encoder is fitted: one objective, one file; rows of two modalities in, a module out."""

from modalsplit.objectives._closed_form import fit_closed_form
from modalsplit.objectives._fitted import Fitted, Settings
from modalsplit.objectives._stable import fit_stable

__all__ = ["Fitted", "Settings", "fit_closed_form", "fit_stable"]
