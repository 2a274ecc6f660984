"""TfidfFeaturizer: texts without any pretrained weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from modalsplit.featurize._base import ItemFeaturizer, is_missing, read_column


class TfidfFeaturizer(ItemFeaturizer):
    """Texts -> their weighted words, projected to a few dense columns: latent semantic analysis.

    It needs no files, and unlike scikit-learn's vectorizers it gives a dense block, which ``set_output`` can
    turn into a DataFrame.

    Parameters
    ----------
    n_components : int, default=100
        Columns of the block; fewer if there are fewer texts or terms.
    vectorizer : estimator, optional
        Turns texts into a sparse matrix, as ``CountVectorizer`` does. By default
        ``TfidfVectorizer(sublinear_tf=True)``.
    random_state : int, RandomState or None, default=0
        Of the projection.

    Attributes
    ----------
    vectorizer_ : estimator
        The fitted vectorizer.
    svd_ : TruncatedSVD
        The fitted projection.

    See Also
    --------
    GloveFeaturizer : Word vectors learned from other texts.

    References
    ----------
    Deerwester et al., Indexing by latent semantic analysis, JASIS 1990.

    Examples
    --------
    >>> from modalsplit.featurize import TfidfFeaturizer
    >>> TfidfFeaturizer(2).fit_transform(["red wine", "white wine", "red fruit", None]).shape
    (4, 2)
    """

    _loaded_from = ()

    def __init__(self, n_components: int = 100, *, vectorizer: Any = None, random_state: Any = 0) -> None:
        self.n_components = n_components
        self.vectorizer = vectorizer
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the terms, their weights and the projection.

        Parameters
        ----------
        X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
            Texts; None and NaN stand for no text.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted featurizer.

        Raises
        ------
        TypeError
            If an item is no text.
        ValueError
            If `n_components` is less than one, or there are no texts or no terms in them.
        """
        check_scalar(self.n_components, "n_components", (int, np.integer), min_val=1)
        texts, present = _texts(X)
        if not present.any():
            raise ValueError(f"None of the {len(texts)} items has a text: there is nothing to learn terms from.")
        vectorizer = TfidfVectorizer(sublinear_tf=True) if self.vectorizer is None else clone(self.vectorizer)
        self.vectorizer_ = vectorizer
        counts = vectorizer.fit_transform([text for text, known in zip(texts, present, strict=True) if known])
        self.svd_ = TruncatedSVD(min(self.n_components, *counts.shape), random_state=self.random_state).fit(counts)
        return self

    def transform(self, X: Any) -> Any:
        """Weigh the terms of each text and project them.

        Parameters
        ----------
        X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
            Texts; None and NaN stand for no text.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            One row a text; NaN where there is no text or no known term in it.

        Raises
        ------
        TypeError
            If an item is no text.
        """
        check_is_fitted(self)
        texts, _ = _texts(X)
        counts = self.vectorizer_.transform(texts)
        block = self.svd_.transform(counts).astype(np.float32)
        block[np.diff(counts.indptr) == 0] = np.nan
        return self._rows_of(X, block)

    @property
    def _n_features_out(self) -> int:
        check_is_fitted(self)
        return int(self.svd_.components_.shape[0])


def _texts(X: Any) -> tuple[list[str], NDArray[np.bool_]]:
    """Texts, empty where missing, and which there are."""
    items, labels = read_column(X)
    present = np.array([not is_missing(item) for item in items], dtype=bool)
    for item, label, known in zip(items, labels, present, strict=True):
        if known and not isinstance(item, str):
            raise TypeError(
                f"Item {label!r} is no text but a {type(item).__name__}: {item!r:.40}. Convert the column with "
                "astype(str)."
            )
    return [item if known else "" for item, known in zip(items, present, strict=True)], present
