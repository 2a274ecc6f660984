"""SentenceTransformerFeaturizer: a pretrained network reads whole texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_scalar

from modalsplit.featurize._base import ItemFeaturizer, Quarantine, read_column
from modalsplit.featurize._cache import FeatureCache, content_key
from modalsplit.featurize._fingerprint import fingerprint
from modalsplit.featurize._texts import read_texts


@dataclass(frozen=True)
class _Model:
    """A loaded model and what the cache knows it by."""

    model: Any

    @cached_property
    def width(self) -> int:
        # sentence-transformers 5 and older have the long name only.
        ask = getattr(self.model, "get_embedding_dimension", None) or self.model.get_sentence_embedding_dimension
        return int(ask())

    @cached_property
    def fingerprint(self) -> str:
        tokenizer = self.model.tokenizer
        cut = tokenizer.backend_tokenizer.to_str() if hasattr(tokenizer, "backend_tokenizer") else repr(tokenizer)
        prompts = (self.model.prompts, self.model.default_prompt_name)
        return fingerprint(self.model.state_dict(), str(self.model), self.model.max_seq_length, cut, prompts)


class SentenceTransformerFeaturizer(ItemFeaturizer):
    """Texts -> embeddings of a model of sentence-transformers.

    The model is loaded in `fit` or at the first `transform` and never pickled.

    Parameters
    ----------
    model : str or Path, default="sentence-transformers/all-MiniLM-L6-v2"
        A folder of a saved model, or its name on the Hugging Face hub. What is on this machine already is used
        without asking the hub.
    normalize : bool, default=True
        Scale each embedding to length 1.
    local_files_only : bool, default=False
        Never ask the hub, whether a model is there or not.
    batch_size : int, default=32
        Texts at a time. It changes memory and speed, not the features.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    cache_dir : str or Path, default=None
        Where to keep features, by the text and the fingerprint of the model. What was computed before is not
        computed again, by any process.
    on_error : {"nan", "raise"}, default="nan"
        What to do with an item that is missing or no text: leave its row NaN, list it in `failed_` and warn once
        of those that are not just missing; or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id`` (index label, or row number without an index), ``reason``
        and ``mend``.

    See Also
    --------
    GloveFeaturizer : The word vectors of the paper.

    Notes
    -----
    Stability: stable. The model reads the beginning of a long text: all-MiniLM-L6-v2 the first 256 tokens. A
    blank text is a missing one, although the model would make numbers of it.

    References
    ----------
    Reimers and Gurevych, Sentence-BERT, EMNLP 2019.

    Examples
    --------
    >>> from modalsplit.featurize import SentenceTransformerFeaturizer
    >>> SentenceTransformerFeaturizer().fit_transform(["a dry red wine", None]).shape  # doctest: +SKIP
    (2, 384)
    """

    _noun = "text"
    _loaded_from = ("model", "local_files_only", "device")

    def __init__(
        self,
        model: str | PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        normalize: bool = True,
        local_files_only: bool = False,
        batch_size: int = 32,
        device: Any = "auto",
        cache_dir: str | PathLike[str] | None = None,
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.normalize = normalize
        self.local_files_only = local_files_only
        self.batch_size = batch_size
        self.device = device
        self.cache_dir = cache_dir
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model; nothing is learned from the texts.

        Parameters
        ----------
        X : iterable of length n_items
            Texts, as in ``transform``.
        y : None
            Ignored.

        Returns
        -------
        self
            The featurizer, ready to transform.
        """
        self._check_parameters()
        read_column(X)
        self._forget()
        self._resource()
        return self

    def transform(self, X: Any) -> Any:
        """Compute the embedding of each text.

        Parameters
        ----------
        X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
            Texts, or bytes of UTF-8; None, NaN and blank ones stand for no text.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            One row a text; NaN where there is none.

        Raises
        ------
        ValueError
            If an item is missing or no text and ``on_error="raise"``.
        """
        from tqdm import tqdm

        self._check_parameters()
        column = read_column(X)
        loaded = self._resource()
        quarantine = Quarantine(column.labels, self._noun, self.on_error)
        rows_of: dict[str, list[int]] = {}
        for row, text in read_texts(column, quarantine).items():
            rows_of.setdefault(text, []).append(row)
        features = np.full((len(column.items), loaded.width), np.nan, dtype=np.float32)
        cache = self._cache(loaded)
        left = [text for text, rows in rows_of.items() if not _filled(features, rows, text, cache)]
        left.sort(key=len, reverse=True)  # equal lengths together need no padding; too long ones fail first
        with tqdm(total=len(left), desc=type(self).__name__, unit="text", disable=self.verbose <= 0) as bar:
            for start in range(0, len(left), self.batch_size):
                texts = left[start : start + self.batch_size]
                embeddings = self._encode(loaded.model, texts)
                if cache is not None:
                    cache.append([content_key("text", text) for text in texts], embeddings)
                for text, embedding in zip(texts, embeddings, strict=True):
                    features[rows_of[text]] = embedding
                bar.update(len(texts))
        return self._finish(X, features, quarantine)

    def _encode(self, model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        embeddings = model.encode(
            texts, batch_size=self.batch_size, normalize_embeddings=self.normalize, show_progress_bar=False
        )
        return np.asarray(embeddings, dtype=np.float32)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.batch_size, "batch_size", (int, np.integer), min_val=1)
        if not isinstance(self.model, (str, PathLike)):
            raise TypeError(f"model must be a name or the path of a folder, but it is {self.model!r}.")

    def _cache(self, loaded: _Model) -> FeatureCache | None:
        if self.cache_dir is None:
            return None
        return FeatureCache(self.cache_dir, type(self).__name__, fingerprint(loaded.fingerprint, self.normalize))

    def _load(self) -> _Model:
        return _Model(_load_model(self.model, self.local_files_only, None if self.device == "auto" else self.device))

    @property
    def _n_features_out(self) -> int:
        width: int = self._resource().width
        return width

    def __sklearn_is_fitted__(self) -> bool:
        return True  # the model is given, not learned

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _filled(features: NDArray[np.float32], rows: list[int], text: str, cache: FeatureCache | None) -> bool:
    """Fill rows from the cache, if it has their text."""
    cached = None if cache is None else cache.get(content_key("text", text))
    if cached is None:
        return False
    features[rows] = cached
    return True


def _load_model(model: str | PathLike[str], local_files_only: bool, device: Any) -> Any:
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "modules.json").is_file() and not (path / "config.json").is_file():
            raise ValueError(
                f"{path} is no saved model: it has neither modules.json nor config.json. Pass the folder that "
                "SentenceTransformer.save wrote."
            )
        return _open(str(path), True, device)
    if isinstance(model, PathLike) or str(model).startswith((os.sep, "~", ".")) or str(model).count("/") > 1:
        raise FileNotFoundError(f"model must be a folder or a name on the Hugging Face hub; there is no folder {path}.")
    try:
        return _open(str(model), True, device)  # at once, where asking the hub can take a minute without a network
    except (OSError, ValueError) as error:
        if local_files_only:
            raise _not_found(model, error) from error
    try:
        return _open(str(model), False, device)
    except (OSError, ValueError) as error:
        raise _not_found(model, error) from error


def _open(model: str, local_files_only: bool, device: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model, device=device, local_files_only=local_files_only)


def _not_found(model: object, error: Exception) -> OSError:
    first = str(error).partition("\n")[0]
    return OSError(
        f"The model {model!r} is not on this machine and could not be downloaded ({first}). Check its name and the "
        "network, or save it on another machine with SentenceTransformer.save and pass the folder as model=."
    )
