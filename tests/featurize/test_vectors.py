"""Files of word vectors, and files that are not."""

import gzip
import sys
import types

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from modalsplit.featurize import _vectors
from modalsplit.featurize._vectors import load_vectors


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "glove.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def keyed_vectors(words, matrix):
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(len(matrix[0]))
    vectors.add_vectors(words, np.asarray(matrix, dtype=np.float32))
    return vectors


def test_text_with_and_without_header_gzipped_and_windows_lines_are_the_same(write, tmp_path):
    text = "red 1 0.5\nwine -2e-1 0\n"
    gzipped = tmp_path / "glove.txt.gz"
    gzipped.write_bytes(gzip.compress(text.encode()))
    for source in (text, "2 2\n" + text, text.replace("\n", " \r\n"), text.rstrip()):
        vectors = load_vectors(write(source))
        assert vectors.rows == {"red": 0, "wine": 1}
        assert_array_equal(vectors.matrix, np.float32([[1, 0.5], [-0.2, 0]]))
    assert_array_equal(load_vectors(str(gzipped)).matrix, vectors.matrix)


def test_text_is_read_as_gensim_reads_it(write):
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    lines = [f"w{n} {' '.join(f'{x:.5g}' for x in rng.normal(size=8))}\n" for n in range(50)]
    path = write("50 8\n" + "".join(lines))  # without a header gensim leaves the file open
    expected = KeyedVectors.load_word2vec_format(str(path))
    vectors = load_vectors(path)
    assert vectors.rows == expected.key_to_index
    assert_array_equal(vectors.matrix, expected.vectors)


def test_a_word_may_contain_spaces(write):
    assert list(load_vectors(write("red 1 2\n. . . 3 4\n")).rows) == ["red", ". . ."]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("3 2\n", "is empty"),
        ("red 1 2\nred 3 4\n", "line 2: the word 'red' is there twice"),
        ("red 1 2\nwine 3\n", r"line 2: it begins with b'wine 3'.*cut off"),
        ("red 1 2\n\nwine 3 4\n", "line 2: .*cut off"),
        ("red 1 2\nwine x 4\n", "line 2: could not convert.*a word and its 2 numbers"),
        ("red\n", "line 1: .*not GloVe's text format"),
        ("<!DOCTYPE html>\n<html>\n", "line 1: "),
        ("3 2\nred 1 2\nwine 3 4\n", "holds 2 words, but its first line promises 3"),
        ("2 3\nred 1 2\nwine 3 4\n", "line 2: "),
        (b"red 1 2\nw\xffne 3 4\n", "line 2: the word is not UTF-8"),
        ("red 1 2\nwine nan 4\n", "vector of 'wine' holds NaN"),
        (b"PK\x03\x04...", "is a zip archive: unpack it"),
        (gzip.compress(b"red 1 2\nwine 3 4\n", mtime=0)[:-8], "is a broken gzip file"),
        (b"\x80\x04junk", "is no saved KeyedVectors"),
        (
            b"2 2\nred \x00\x00\x80?\x00\x00\x00@\nwine \x01\x02\x03\x04\x05\x06\x07\x08\n",
            "pass the KeyedVectors",
        ),
    ],
)
def test_a_broken_file_is_named_and_described(content, complaint, write):
    with pytest.raises(ValueError, match=rf"(?s)glove\.txt.*{complaint}"):
        load_vectors(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.txt"):
        load_vectors(tmp_path / "gone.txt")


def test_saved_keyed_vectors_are_read(tmp_path):
    vectors = keyed_vectors(["red", "wine"], [[1, 2], [3, 4]])
    vectors.save(str(tmp_path / "vectors.kv"))
    loaded = load_vectors(tmp_path / "vectors.kv")
    assert loaded.rows == {"red": 0, "wine": 1}
    assert_array_equal(loaded.matrix, vectors.vectors)


def test_saved_keyed_vectors_without_the_array_beside_them_name_it(tmp_path):
    keyed_vectors(["red", "wine"], [[1, 2], [3, 4]]).save(str(tmp_path / "vectors.kv"), sep_limit=0)
    (tmp_path / "vectors.kv.vectors.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"vectors\.kv\.vectors\.npy"):
        load_vectors(tmp_path / "vectors.kv")


def test_a_model_is_refused_with_the_way_to_its_vectors():
    model = types.SimpleNamespace(wv=None)
    with pytest.raises(TypeError, match=r"Pass its \.wv"):
        load_vectors(model)
    with pytest.raises(TypeError, match="it is a int"):
        load_vectors(3)


@pytest.fixture
def downloader(monkeypatch):
    """gensim's downloader, replaced: set its `load`."""
    import gensim

    fake = types.ModuleType("gensim.downloader")
    monkeypatch.setitem(sys.modules, "gensim.downloader", fake)
    monkeypatch.setattr(gensim, "downloader", fake, raising=False)
    return fake


def test_none_reads_what_gensim_downloads(downloader, write):
    path = write("red 1 2\n")
    downloader.load = lambda name, return_path: str(path) if name == _vectors.DOWNLOAD and return_path else None
    assert list(load_vectors(None).rows) == ["red"]


def test_a_failed_download_says_what_to_do(downloader):
    def offline(name, return_path):
        raise ValueError("unable to read local cache")

    downloader.load = offline
    with pytest.raises(OSError, match=r'could not be downloaded \(unable.*pass vectors="path/to/glove.txt"'):
        load_vectors(None)
