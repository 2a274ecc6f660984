"""Word vectors from wherever the user has them."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modalsplit.featurize._cache import as_arrow, cache_folder, from_arrow, read_table, write_table

DOWNLOAD = "glove-wiki-gigaword-300"


class WordVectors(NamedTuple):
    """Words and their vectors.

    Attributes
    ----------
    rows : mapping of str to int
        Row of each word.
    matrix : ndarray of shape (n_words, n_dimensions)
        The vectors.
    """

    rows: Mapping[str, int]
    matrix: NDArray[Any]


def load_vectors(source: Any, cache_dir: str | PathLike[str] | None = None) -> WordVectors:
    """Find word vectors.

    Parameters
    ----------
    source : None, str, Path or gensim KeyedVectors
        None downloads `DOWNLOAD` by gensim; a path names GloVe text (with or without a header, also
        gzipped) or what ``KeyedVectors.save`` wrote.
    cache_dir : str or Path, default=None
        Where to keep what was read from text, by the content of the file.

    Returns
    -------
    WordVectors
        The vectors; those of a saved KeyedVectors stay on disk until they are used.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the download fails.
    TypeError
        If `source` is something else.
    ValueError
        If the file is corrupt.
    """
    path = _downloaded() if source is None else source
    if isinstance(path, (str, PathLike)):
        path = Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"vectors must name a file, but there is no file {str(path)!r}.")
        if _first_bytes(path)[:1] == b"\x80":
            return _read_native(path)
        return _read_text(path) if cache_dir is None else _read_cached(path, cache_folder(cache_dir))
    return _from_keyed_vectors(source, "vectors")


def _read_cached(path: Path, folder: Path) -> WordVectors:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    kept = folder / f"word-vectors-{digest}.arrow"
    table = read_table(kept)
    if table is not None:
        words = table.column("word").to_pylist()
        return WordVectors(dict(zip(words, range(len(words)), strict=True)), from_arrow(table.column("vector")))
    vectors = _read_text(path)
    import pyarrow as pa

    write_table({"word": pa.array(list(vectors.rows), pa.string()), "vector": as_arrow(vectors.matrix)}, kept)
    return vectors


def _downloaded() -> str:
    import gensim.downloader

    try:
        path: str = gensim.downloader.load(DOWNLOAD, return_path=True)
    except (OSError, ValueError) as error:  # gensim raises ValueError when it is offline
        raise OSError(
            f"The word vectors {DOWNLOAD} could not be downloaded ({error}). Download GloVe on another "
            'machine, from https://nlp.stanford.edu/projects/glove, and pass vectors="path/to/glove.txt".'
        ) from error
    return path


def _from_keyed_vectors(vectors: Any, name: str) -> WordVectors:
    if not hasattr(vectors, "key_to_index") or not hasattr(vectors, "vectors"):
        hint = " Pass its .wv." if hasattr(vectors, "wv") else ""
        raise TypeError(
            f"{name} must be gensim KeyedVectors or a file of word vectors, but it is a {type(vectors).__name__}.{hint}"
        )
    return WordVectors(vectors.key_to_index, vectors.vectors)


def _read_native(path: Path) -> WordVectors:
    """Read what ``KeyedVectors.save`` wrote; it is a pickle."""
    from gensim.models import KeyedVectors

    try:
        vectors = KeyedVectors.load(str(path), mmap="r")
    except FileNotFoundError:
        raise  # names the array that belongs beside it
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"{path} is no saved KeyedVectors, or it is cut off ({error}).") from error
    return _from_keyed_vectors(vectors, str(path))


def _read_text(path: Path) -> WordVectors:
    """Read one word and its numbers a line; gensim is slower and lets duplicates and NaN in."""
    rows: dict[str, int] = {}
    numbers = bytearray()  # float32; it grows without a second copy of everything
    promised, n_dimensions = None, 0
    with _open(path) as lines:
        for n, line in enumerate(lines, start=1):
            fields = line.rstrip()
            if n == 1 and len(header := fields.split()) == 2 and all(map(bytes.isdigit, header)):
                promised, n_dimensions = map(int, header)
                continue
            n_dimensions = n_dimensions or fields.count(b" ")
            word, vector = _parse(fields, n_dimensions, f"{path}, line {n}")
            if word in rows:
                raise ValueError(f"{path}, line {n}: the word {word!r} is there twice. Remove one of the two lines.")
            rows[word] = len(rows)
            numbers += vector
    if not rows:
        raise ValueError(f"{path} is empty: it holds no word vectors.")
    if promised not in (None, len(rows)):
        raise ValueError(f"{path} holds {len(rows)} words, but its first line promises {promised}: it is cut off.")
    matrix = np.frombuffer(numbers, dtype=np.float32).reshape(len(rows), n_dimensions)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        word = list(rows)[int(finite.argmin())]
        raise ValueError(f"{path}: the vector of {word!r} holds NaN or infinity. Remove that line.")
    return WordVectors(rows, matrix)


def _parse(fields: bytes, n_dimensions: int, place: str) -> tuple[str, bytes]:
    # Split from the right: GloVe 840B has words with spaces, such as ". . .".
    word, *numbers = fields.rsplit(b" ", n_dimensions)
    try:
        vector = np.array([float(number) for number in numbers], dtype=np.float32)
        text = word.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: the word is not UTF-8 ({error}). Convert the file to UTF-8.") from error
    except ValueError as error:
        raise ValueError(f"{place}: {error}. {_EXPECTED.format(n_dimensions)}") from error
    if not text or not len(vector) == n_dimensions > 0:
        raise ValueError(f"{place}: it begins with {fields[:40]!r}. {_EXPECTED.format(n_dimensions)}")
    return text, vector.tobytes()


_EXPECTED = (
    "A line must hold a word and its {} numbers: the file is cut off, corrupt, or not GloVe's text format. "
    "Read other formats with gensim and pass the KeyedVectors."
)


@contextmanager
def _open(path: Path) -> Iterator[Iterable[bytes]]:
    start = _first_bytes(path)
    if start == b"PK":
        raise ValueError(f"{path} is a zip archive: unpack it and pass one of the text files in it.")
    try:
        with gzip.open(path) if start == b"\x1f\x8b" else path.open("rb") as lines:
            yield lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip file ({error}): download it again.") from error


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)
