"""GloveFeaturizer: the vectors of a text's words, one after another or averaged."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from os import PathLike
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from modalsplit.featurize._base import BadItemError, ItemFeaturizer, Quarantine, check_choice, read_column
from modalsplit.featurize._texts import read_texts
from modalsplit.featurize._vectors import WordVectors, load_vectors

_MOST_WORDS = 20
_POOLINGS = ("concat", "mean", "tfidf", "sif")
_UNKNOWN_LISTED = 20

_TOKEN = re.compile(
    r"""
    (?:[^\W\d_]\.){2,}                                        # u.s.
  | \d+(?:[.,:]\d+){0,9}(?![\w-])                             # 1,000.50 and 10:30; bounded, or "1,1,1,...,1a" is slow
  | n't\b | '(?:s|re|ve|ll|d|m)\b                             # what Treebank cuts off: is n't, it 's
  | [^\W\d_]+?(?=n't\b)
  | \w+(?:-\w+|'(?!(?:s|re|ve|ll|d|m)\b)\w+)*                 # spider-man, o'brien, 20th
    """,
    re.VERBOSE,
)
_PIECE = re.compile(r"[^\W\d_]+|\d+")


def tokenize(text: str) -> list[str]:
    """Cut a text into words as GloVe's corpora were cut: lower case, Penn Treebank style.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        Words and numbers in order; punctuation is left out.

    Examples
    --------
    >>> from modalsplit.featurize._text import tokenize
    >>> tokenize("This isn't O'Brien's 20th U.S. Spider-Man (2012)!")
    ['this', 'is', "n't", "o'brien", "'s", '20th', 'u.s.', 'spider-man', '2012']
    """
    lower = unicodedata.normalize("NFC", text).lower()
    return _TOKEN.findall(lower.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def known_words(token: str, vocabulary: Container[str]) -> list[str]:
    """Look a token up: itself, else the pieces of it that are known.

    Parameters
    ----------
    token : str
        A token of `tokenize`.
    vocabulary : container of str
        The known words.

    Returns
    -------
    list of str
        ``["500", "ml"]`` for ``"500ml"`` if only those are known; empty if nothing is.
    """
    if token in vocabulary:
        return [token]
    return [piece for piece in _PIECE.findall(token) if piece in vocabulary]


class Coverage(NamedTuple):
    """How much of the texts in `fit` the word vectors cover.

    Attributes
    ----------
    tokens : float
        Share of the tokens that have a vector, 0 to 1; higher is better. The other two are shares alike.
    words : float
        Share of the different tokens.
    texts : float
        Share of the texts with one known word at least.
    unknown : list of (str, int)
        The most frequent tokens without a vector and how often they come.
    """

    tokens: float
    words: float
    texts: float
    unknown: list[tuple[str, int]]


class GloveFeaturizer(ItemFeaturizer):
    """Texts -> their words' GloVe vectors: the textual features of PAMD.

    Parameters
    ----------
    vectors : str, Path or gensim KeyedVectors, default=None
        Where the word vectors are: a file of GloVe text (with or without a header line, also gzipped), a
        file that ``KeyedVectors.save`` wrote (a pickle: open only files you trust), or the vectors
        themselves. None downloads ``glove-wiki-gigaword-300`` by gensim (376 MB, once). Vectors
        from a file are not pickled but read again on first use; given vectors are pickled.
    pooling : {"concat", "mean", "tfidf", "sif"}, default="concat"
        ``"concat"`` puts the vectors of the first `n_words` known words one after another, then zeros, as
        the paper does. ``"mean"`` averages all known words. ``"tfidf"`` weighs each by its inverse document
        frequency in `fit`, ``ln((1 + n) / (1 + df)) + 1`` as scikit-learn does. ``"sif"`` averages them with
        weights that are smaller for frequent words, then removes the direction that all texts share.
    n_words : int, default=None
        How many words ``"concat"`` takes. None takes as many as 95 % of the texts in `fit` have, at most
        20.
    sif_smoothing : float, default=1e-3
        The ``a`` in SIF's word weight ``a / (a + p)``, where ``p`` is the word's share of all words in `fit`.
    sif_components : int, default=1
        How many principal directions of the texts in `fit` SIF removes; 0 removes none.
    cache_dir : str or Path, default=None
        Where to keep the vectors of a text file in a form that loads at once, by the content of the file. The
        rows are not kept: to look them up would take longer than to compute them.
    on_error : {"nan", "raise"}, default="nan"
        What to do with an item that is missing, no text or without any known word: leave its row NaN, list it
        in `failed_` and warn once of those that are not just missing; or raise.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id`` (index label, or row number without an index), ``reason``
        and ``mend``.
    coverage_ : Coverage
        How much of the texts in `fit` the vectors cover: shares of ``tokens``, ``words`` and ``texts``, and the
        most frequent ``unknown`` tokens.
    n_dimensions_ : int
        Length of a word vector.
    n_words_ : int
        How many words ``"concat"`` takes; only for that pooling.
    word_shares_ : dict of str to float
        ``p`` of each word in `fit`; only for SIF.
    word_weights_ : dict of str to float
        The inverse document frequency of each word in `fit`; only for TF-IDF.
    unseen_weight_ : float
        That of all other words; only for TF-IDF.
    components_ : ndarray of shape (sif_components, n_dimensions)
        The directions that SIF removes; only for SIF.

    See Also
    --------
    VGG19Featurizer : The same for pictures.

    Notes
    -----
    Stability: stable. Words without a vector are skipped. A text without any known word is
    absent, like None, NaN and the empty text: its row is NaN. Bytes are read as UTF-8.

    References
    ----------
    Pennington, Socher and Manning, EMNLP 2014. Arora, Liang and Ma, ICLR 2017 (SIF). Han et al., WWW 2022,
    Sec. 5.1.

    Examples
    --------
    >>> from gensim.models import KeyedVectors
    >>> from modalsplit.featurize import GloveFeaturizer
    >>> vectors = KeyedVectors(vector_size=2)
    >>> vectors.add_vectors(["red", "wine"], [[1, 0], [0, 1]])
    >>> GloveFeaturizer(vectors).fit_transform(["Red wine", "A wine!", None])
    array([[ 1.,  0.,  0.,  1.],
           [ 0.,  1.,  0.,  0.],
           [nan, nan, nan, nan]], dtype=float32)
    """

    _noun = "text"
    _loaded_from = ("vectors", "cache_dir")

    def __init__(
        self,
        vectors: Any = None,
        *,
        pooling: str = "concat",
        n_words: int | None = None,
        sif_smoothing: float = 1e-3,
        sif_components: int = 1,
        cache_dir: str | PathLike[str] | None = None,
        on_error: str = "nan",
    ) -> None:
        self.vectors = vectors
        self.pooling = pooling
        self.n_words = n_words
        self.sif_smoothing = sif_smoothing
        self.sif_components = sif_components
        self.cache_dir = cache_dir
        self.on_error = on_error

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the vectors; learn `n_words_` or SIF's weights, and how many tokens are known.

        Parameters
        ----------
        X : iterable of length n_items
            Texts, as in ``transform``.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted featurizer.

        Raises
        ------
        ValueError
            If none of the texts has a known word.
        """
        self._check_parameters()
        column = read_column(X)
        self._forget()
        vectors = self._resource()
        texts = read_texts(column, Quarantine(column.labels, self._noun, self.on_error))
        lookups = [_lookup(text, vectors.rows) for text in texts.values()]
        documents = [words for lookup in lookups if (words := _flat(lookup))]
        if not documents:
            raise ValueError(
                f"None of the {len(column.items)} texts has a word that is in the vectors. Check that X is "
                "the column of texts and that the vectors are of its language and lower case."
            )
        self.coverage_ = _coverage(lookups, len(documents))
        self.n_dimensions_ = vectors.matrix.shape[1]
        if self.pooling == "concat":
            usual = int(np.ceil(np.percentile([len(words) for words in documents], 95)))
            self.n_words_ = min(usual, _MOST_WORDS) if self.n_words is None else self.n_words
        elif self.pooling == "sif":
            self._fit_sif(documents, vectors)
        elif self.pooling == "tfidf":
            counts = Counter(word for words in documents for word in set(words))
            self.word_weights_ = {word: _idf(len(documents), count) for word, count in counts.items()}
            self.unseen_weight_ = _idf(len(documents), 0)
        return self

    def transform(self, X: Any) -> Any:
        """Look the words of each text up and pool their vectors.

        Parameters
        ----------
        X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
            Texts; None and NaN stand for no text.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            One row a text; NaN where there is no text or no known word in it. ``n_features`` is
            ``n_words_ * n_dimensions_`` for ``"concat"`` and ``n_dimensions_`` otherwise.

        Raises
        ------
        ValueError
            If the vectors are not those of `fit`, or hold NaN; with ``on_error="raise"``, if an item is missing,
            no text or without any known word.
        """
        self._check_parameters()
        check_is_fitted(self)
        column = read_column(X)
        vectors = self._resource()
        if vectors.matrix.shape[1] != self.n_dimensions_:
            raise ValueError(
                f"The vectors have {vectors.matrix.shape[1]} dimensions now, but had {self.n_dimensions_} in "
                "fit. Fit again, or bring back the vectors of fit."
            )
        quarantine = Quarantine(column.labels, self._noun, self.on_error)
        pooled = np.full((len(column.items), self._n_features_out), np.nan, dtype=np.float32)
        for row, text in read_texts(column, quarantine).items():
            lookup = _lookup(text, vectors.rows)
            if words := _flat(lookup):
                vector = self._pooled(words, vectors)
                pooled[row, : len(vector)] = vector
                pooled[row, len(vector) :] = 0.0  # fewer words than n_words_
            else:
                quarantine.add(row, _without_words([token for token, _ in lookup]))
        return self._finish(X, pooled, quarantine)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("pooling", self.pooling, _POOLINGS)
        if self.n_words is not None:
            check_scalar(self.n_words, "n_words", (int, np.integer), min_val=1)
        check_scalar(self.sif_smoothing, "sif_smoothing", (int, float), min_val=0, include_boundaries="neither")
        check_scalar(self.sif_components, "sif_components", (int, np.integer), min_val=0)

    def _load(self) -> WordVectors:
        return load_vectors(self.vectors, self.cache_dir)

    @property
    def _n_features_out(self) -> int:
        check_is_fitted(self)
        n_vectors = self.n_words_ if self.pooling == "concat" else 1
        return int(n_vectors * self.n_dimensions_)

    def _fit_sif(self, documents: Sequence[Sequence[str]], vectors: WordVectors) -> None:
        counts = Counter(word for words in documents for word in words)
        total = counts.total()
        self.word_shares_ = {word: count / total for word, count in counts.items()}
        means = np.stack([self._sif_mean(words, vectors) for words in documents])
        _, directions = np.linalg.eigh(means.T @ means)  # not centred, as in the paper; weakest first
        self.components_: NDArray[np.float64] = directions.T[::-1][: self.sif_components]

    def _pooled(self, words: Sequence[str], vectors: WordVectors) -> NDArray[np.float64]:
        if self.pooling == "concat":
            return _vectors_of(words[: self.n_words_], vectors).ravel()
        if self.pooling == "sif":
            mean = self._sif_mean(words, vectors)
            return mean - self.components_.T @ (self.components_ @ mean)
        taken = _vectors_of(words, vectors)
        if self.pooling == "mean":
            return np.asarray(taken.mean(axis=0))
        weights = [self.word_weights_.get(word, self.unseen_weight_) for word in words]
        return np.asarray(np.average(taken, axis=0, weights=weights))

    def _sif_mean(self, words: Sequence[str], vectors: WordVectors) -> NDArray[np.float64]:
        shares = np.array([self.word_shares_.get(word, 0.0) for word in words])
        weights = self.sif_smoothing / (self.sif_smoothing + shares)
        mean: NDArray[np.float64] = weights @ _vectors_of(words, vectors) / len(words)
        return mean


def _lookup(text: str, vocabulary: Container[str]) -> list[tuple[str, list[str]]]:
    """Return each token of a text with the known words in it."""
    return [(token, known_words(token, vocabulary)) for token in tokenize(text)]


def _flat(lookup: Iterable[tuple[str, list[str]]]) -> list[str]:
    return [word for _, words in lookup for word in words]


def _coverage(lookups: Sequence[Sequence[tuple[str, list[str]]]], n_known_texts: int) -> Coverage:
    known = Counter(token for lookup in lookups for token, words in lookup if words)
    unknown = Counter(token for lookup in lookups for token, words in lookup if not words)
    return Coverage(
        tokens=known.total() / (known.total() + unknown.total()),
        words=len(known) / (len(known) + len(unknown)),
        texts=n_known_texts / len(lookups),
        unknown=unknown.most_common(_UNKNOWN_LISTED),
    )


def _idf(n_texts: int, n_with_word: int) -> float:
    return float(np.log((1 + n_texts) / (1 + n_with_word)) + 1)


def _without_words(tokens: Sequence[str]) -> BadItemError:
    if not tokens:
        return BadItemError("it has no words", "Give a text, or let the encoder do without it.")
    shown = ", ".join(tokens[:3]) + (", ..." if tokens[3:] else "")
    return BadItemError(
        f"none of its {len(tokens)} words has a vector: {shown:.80}",
        "Use vectors of its language, or let the encoder do without it.",
    )


def _vectors_of(words: Iterable[str], vectors: WordVectors) -> NDArray[np.float64]:
    taken = vectors.matrix[[vectors.rows[word] for word in words]].astype(np.float64)
    if not np.isfinite(taken).all():
        raise ValueError(f"The word vectors hold NaN or infinity for one of these: {', '.join(words)}.")
    return taken
