"""Raw items -> blocks: pictures and texts become the columns that the encoder reads.

Names are loaded on first use: texts need no torch, pictures no gensim.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalsplit.featurize._image import ImageFeaturizer, TorchvisionFeaturizer, VGG19Featurizer
    from modalsplit.featurize._sentences import SentenceTransformerFeaturizer
    from modalsplit.featurize._text import GloveFeaturizer
    from modalsplit.featurize._tfidf import TfidfFeaturizer

_HOME = {
    "GloveFeaturizer": "modalsplit.featurize._text",
    "ImageFeaturizer": "modalsplit.featurize._image",
    "SentenceTransformerFeaturizer": "modalsplit.featurize._sentences",
    "TfidfFeaturizer": "modalsplit.featurize._tfidf",
    "TorchvisionFeaturizer": "modalsplit.featurize._image",
    "VGG19Featurizer": "modalsplit.featurize._image",
}

__all__ = [
    "GloveFeaturizer",
    "ImageFeaturizer",
    "SentenceTransformerFeaturizer",
    "TfidfFeaturizer",
    "TorchvisionFeaturizer",
    "VGG19Featurizer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modalsplit.featurize' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
