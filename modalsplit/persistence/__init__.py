"""Fitted estimators as files, without pickle."""

from modalsplit.persistence._files import load, save

__all__ = ["load", "save"]
