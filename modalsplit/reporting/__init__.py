"""A page to browse the catalogue: what is alike in which part, and what drove each recommendation."""

from modalsplit.reporting._report import report

__all__ = ["report"]
