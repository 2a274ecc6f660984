"""Features that need not fit memory: files and arrays that are read a few rows at a time."""

from modalsplit.stores._arrays import ArrayStore
from modalsplit.stores._base import FeatureStore
from modalsplit.stores._batches import BatchStore
from modalsplit.stores._datasets import DatasetStore
from modalsplit.stores._interactions import ParquetInteractions
from modalsplit.stores._open import open_store
from modalsplit.stores._parquet import ParquetStore
from modalsplit.stores._table import ParquetTable
from modalsplit.stores._write import write_store

__all__ = [
    "ArrayStore",
    "BatchStore",
    "DatasetStore",
    "FeatureStore",
    "ParquetInteractions",
    "ParquetStore",
    "ParquetTable",
    "open_store",
    "write_store",
]
