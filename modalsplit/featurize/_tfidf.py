"""TfidfFeaturizer: texts without any pretrained weights."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from modalsplit.featurize._base import BadItemError, ItemFeaturizer, Quarantine, read_column
from modalsplit.featurize._texts import read_texts


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
    on_error : {"nan", "raise"}, default="nan"
        What to do with an item that is missing, no text or without any known term: leave its row NaN, list it
        in `failed_` and warn once of those that are not just missing; or raise.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id``, ``reason`` and ``mend``.
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

    _noun = "text"
    _loaded_from = ()

    def __init__(
        self, n_components: int = 100, *, vectorizer: Any = None, random_state: Any = 0, on_error: str = "nan"
    ) -> None:
        self.n_components = n_components
        self.vectorizer = vectorizer
        self.random_state = random_state
        self.on_error = on_error

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
        ValueError
            If `n_components` is less than one, or there are no texts or no terms in them; with
            ``on_error="raise"``, if an item is missing or no text.
        """
        self._check_parameters()
        check_scalar(self.n_components, "n_components", (int, np.integer), min_val=1)
        column = read_column(X)
        texts = read_texts(column, Quarantine(column.labels, self._noun, self.on_error))
        if not texts:
            raise ValueError(f"None of the {len(column.items)} items has a text: there is nothing to learn terms from.")
        vectorizer = TfidfVectorizer(sublinear_tf=True) if self.vectorizer is None else clone(self.vectorizer)
        self.vectorizer_ = vectorizer
        counts = vectorizer.fit_transform(texts.values())
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
        ValueError
            If an item is missing, no text or without any known term and ``on_error="raise"``.
        """
        self._check_parameters()
        check_is_fitted(self)
        column = read_column(X)
        quarantine = Quarantine(column.labels, self._noun, self.on_error)
        block = np.full((len(column.items), self._n_features_out), np.nan, dtype=np.float32)
        if texts := read_texts(column, quarantine):
            rows, counts = np.array(list(texts)), self.vectorizer_.transform(texts.values())
            known = np.diff(counts.indptr) > 0
            block[rows[known]] = self.svd_.transform(counts[known]) if known.any() else np.nan
            for row in rows[~known]:
                quarantine.add(row, BadItemError("none of its terms is known", "Fit to texts that are like it."))
        return self._finish(X, block, quarantine)

    @property
    def _n_features_out(self) -> int:
        check_is_fitted(self)
        return int(self.svd_.components_.shape[0])
