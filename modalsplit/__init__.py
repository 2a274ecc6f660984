"""Reusable multimodal representations: common and specific parts, with a scikit-learn API.

Names are loaded on first use, so that ``import modalsplit`` costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from modalsplit import baselines, datasets, distributed, evaluate, interop, onnx, plotting, stores, testing
    from modalsplit.diagnosis import Diagnosis, Finding, diagnose
    from modalsplit.encoder import DisentangledModalityEncoder, ModalityEmbeddings, ModalityParts
    from modalsplit.featurize import (
        GloveFeaturizer,
        ImageFeaturizer,
        SentenceTransformerFeaturizer,
        TfidfFeaturizer,
        TorchvisionFeaturizer,
        VGG19Featurizer,
    )
    from modalsplit.interactions import Interactions
    from modalsplit.persistence import load, save
    from modalsplit.pipeline import make_pamd_pipeline
    from modalsplit.recommend import AttentiveBPR, Recommender
    from modalsplit.reporting import report

_HOME = {
    "AttentiveBPR": "modalsplit.recommend",
    "Diagnosis": "modalsplit.diagnosis",
    "DisentangledModalityEncoder": "modalsplit.encoder",
    "Finding": "modalsplit.diagnosis",
    "GloveFeaturizer": "modalsplit.featurize",
    "ImageFeaturizer": "modalsplit.featurize",
    "Interactions": "modalsplit.interactions",
    "ModalityEmbeddings": "modalsplit.encoder",
    "ModalityParts": "modalsplit.encoder",
    "Recommender": "modalsplit.recommend",
    "SentenceTransformerFeaturizer": "modalsplit.featurize",
    "TfidfFeaturizer": "modalsplit.featurize",
    "TorchvisionFeaturizer": "modalsplit.featurize",
    "VGG19Featurizer": "modalsplit.featurize",
    "diagnose": "modalsplit.diagnosis",
    "load": "modalsplit.persistence",
    "make_pamd_pipeline": "modalsplit.pipeline",
    "report": "modalsplit.reporting",
    "save": "modalsplit.persistence",
}
_SUBPACKAGES = ("baselines", "datasets", "distributed", "evaluate", "interop", "onnx", "plotting", "stores", "testing")

__all__ = [
    "AttentiveBPR",
    "Diagnosis",
    "DisentangledModalityEncoder",
    "Finding",
    "GloveFeaturizer",
    "ImageFeaturizer",
    "Interactions",
    "ModalityEmbeddings",
    "ModalityParts",
    "Recommender",
    "SentenceTransformerFeaturizer",
    "TfidfFeaturizer",
    "TorchvisionFeaturizer",
    "VGG19Featurizer",
    "baselines",
    "datasets",
    "diagnose",
    "distributed",
    "evaluate",
    "interop",
    "load",
    "make_pamd_pipeline",
    "onnx",
    "plotting",
    "report",
    "save",
    "stores",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _SUBPACKAGES:
        value = import_module(f"modalsplit.{name}")
    else:
        raise AttributeError(f"module 'modalsplit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
