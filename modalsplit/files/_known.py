"""The classes that a file may name. What is not listed here is neither written nor made."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

# Where each class is found. Names from a file are only looked up here, never imported or asked for as attributes.
_HOMES: dict[str, tuple[str, ...]] = {
    "modalsplit.encoder": ("DisentangledModalityEncoder",),
    "modalsplit.recommend": ("AttentiveBPR",),
    "modalsplit.recommend._parts": ("PartColumns",),
    "modalsplit.featurize": (
        "GloveFeaturizer",
        "ImageFeaturizer",
        "SentenceTransformerFeaturizer",
        "TfidfFeaturizer",
        "TorchvisionFeaturizer",
        "VGG19Featurizer",
    ),
    "modalsplit.featurize._base": ("Failure",),
    "modalsplit.featurize._text": ("Coverage",),
    "modalsplit.baselines": (
        "ALS",
        "BPR",
        "EASE",
        "MMGCN",
        "NFM",
        "VBPR",
        "VECF",
        "ContentKNN",
        "CorrAE",
        "NeuMF",
        "Popularity",
        "PopularityOfNeighbours",
    ),
    "modalsplit.baselines._fields": ("Fields",),
    "modalsplit.nn": (
        "Affine",
        "Anchors",
        "Branch",
        "CorrespondenceAutoencoder",
        "Disentangler",
        "Factors",
        "FeatureNetwork",
        "LearnedPrimitive",
        "MultiModalGCN",
        "NeuMF",
        "NeuralFM",
        "ProductFeatures",
        "RegionAttention",
        "ReviewWriter",
        "Scaled",
        "SkipNetwork",
        "Uncensor",
    ),
    "modalsplit.nn._mmgcn": ("Graph", "GraphLayer", "ModalityGCN"),
    "modalsplit.nn._pairs": ("ContentFields",),
    "torch.nn": (
        "AdaptiveAvgPool2d",
        "AvgPool2d",
        "BatchNorm1d",
        "BatchNorm2d",
        "Conv2d",
        "Dropout",
        "Embedding",
        "Flatten",
        "GELU",
        "GRU",
        "GRUCell",
        "Identity",
        "LSTM",
        "LayerNorm",
        "Linear",
        "MaxPool2d",
        "ModuleDict",
        "ModuleList",
        "ParameterList",
        "ReLU",
        "Sequential",
        "Sigmoid",
        "Softmax",
        "Tanh",
    ),
    "sklearn.compose": ("ColumnTransformer", "make_column_selector"),
    "sklearn.decomposition": ("NMF", "PCA", "TruncatedSVD"),
    "sklearn.feature_extraction.text": (
        "CountVectorizer",
        "HashingVectorizer",
        "TfidfTransformer",
        "TfidfVectorizer",
    ),
    "sklearn.feature_selection": ("VarianceThreshold",),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.impute": ("SimpleImputer",),
    "sklearn.neighbors": ("NearestNeighbors",),
    "sklearn.pipeline": ("FeatureUnion", "Pipeline"),
    "sklearn.preprocessing": (
        "FunctionTransformer",
        "MaxAbsScaler",
        "MinMaxScaler",
        "Normalizer",
        "OneHotEncoder",
        "RobustScaler",
        "StandardScaler",
    ),
    "gensim.models": ("KeyedVectors",),
    "implicit.cpu.als": ("AlternatingLeastSquares",),
}
# Classes that stand as values in parameters and fitted state, and are never instantiated here.
_VALUES: dict[str, type] = {
    **{f"numpy.{np.dtype(code).name}": np.dtype(code).type for code in "?bBhHiIlLefd"},
    **{f"builtins.{cls.__name__}": cls for cls in (bool, int, float, str, object)},
    "pandas.Index": pd.Index,
    "pandas.RangeIndex": pd.RangeIndex,
}
_VALUE_NAMES = {cls: name for name, cls in _VALUES.items()}


class Known:
    """The classes that are read and written: those of the tables, and those that the user passes.

    Parameters
    ----------
    trusted : sequence of type
        The user's own.
    """

    def __init__(self, trusted: Sequence[type]) -> None:
        self._trusted = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in trusted}

    def name_of(self, cls: type) -> str | None:
        """Find the name that a file has for a class whose instances are written; None if they are not.

        Parameters
        ----------
        cls : type
            The class.

        Returns
        -------
        str or None
            Its home and its name.
        """
        own = f"{cls.__module__}.{cls.__qualname__}"
        if self._trusted.get(own) is cls:
            return own
        package = cls.__module__.partition(".")[0]
        for home, names in _HOMES.items():
            if cls.__name__ in names and home.partition(".")[0] == package and _class(home, cls.__name__) is cls:
                return f"{home}.{cls.__name__}"
        return None

    def class_of(self, name: str) -> Any:
        """Find the class that a file names.

        Parameters
        ----------
        name : str
            From the file.

        Returns
        -------
        type
            The class.

        Raises
        ------
        ValueError
            If it is not known.
        """
        if name in self._trusted:
            return self._trusted[name]
        home, _, own = name.rpartition(".")
        for known_home, names in _HOMES.items():
            for known in names:
                if (known_home, known) == (home, own):
                    return _class(known_home, known)
        raise ValueError(
            f"it holds an object of the class {name}, which is not known here. If you know where the file is from and "
            f"have that class, pass it: load(path, trusted=[{own}]). Otherwise the file is from another version of "
            "modalsplit, or not to be trusted."
        )


def value_name(cls: type) -> str | None:
    """Find the name of a class that stands as a value.

    Parameters
    ----------
    cls : type
        The class.

    Returns
    -------
    str or None
        None if it is none of them.
    """
    return _VALUE_NAMES.get(cls)


def value_class(name: str) -> type:
    """Find a class that stands as a value.

    Parameters
    ----------
    name : str
        From the file.

    Returns
    -------
    type
        The class; a ``KeyError`` means that the file is damaged.
    """
    return _VALUES[name]


def _class(home: str, name: str) -> Any:
    """Import a class by constants of this file."""
    try:
        return getattr(import_module(home), name)
    except ImportError as error:
        raise ValueError(
            f"it holds an object of the class {home}.{name}, but {home.partition('.')[0]} cannot be imported ({error})."
        ) from error
