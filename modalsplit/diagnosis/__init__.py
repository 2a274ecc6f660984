"""Judge a fitted encoder on data: what the parts hold, what is wrong and what to change."""

from modalsplit.diagnosis._diagnose import diagnose
from modalsplit.diagnosis._report import Diagnosis
from modalsplit.diagnosis._words import Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
