"""gensim holds and reads our vectors."""

import numpy as np
import pytest
from gensim.models import KeyedVectors
from sklearn.preprocessing import normalize

from modalsplit.interop import item_blocks, to_keyed_vectors, write_word2vec


def test_keyed_vectors_hold_every_row(items, numbered):
    for found in (items, numbered):
        keyed = to_keyed_vectors(found, blocks=["text_common", "image_common"])
        assert keyed.vectors.dtype == np.float32
        ours = found.matrix(["text_common", "image_common"])
        assert keyed.index_to_key == [str(item) for item in found.ids]
        np.testing.assert_array_equal(keyed.vectors, ours)
        cosines = normalize(ours) @ normalize(ours[:1]).T
        nearest = [str(item) for item in found.ids[np.argsort(-cosines[:, 0])[1:4]]]
        assert [key for key, _ in keyed.most_similar(str(found.ids[0]), topn=3)] == nearest


def test_word2vec_text_comes_back(numbered, tmp_path):
    path = write_word2vec(tmp_path / "items.txt", numbered)
    keyed = KeyedVectors.load_word2vec_format(path)
    assert keyed.index_to_key == [str(item) for item in numbered.ids]
    np.testing.assert_array_equal(keyed.vectors, numbered.matrix())


def test_word2vec_text_by_the_byte(tmp_path):
    path = write_word2vec(tmp_path / "items.txt", item_blocks({"x": [[1, 0.1], [-2, 3]]}, item_ids=["é", "b"]))
    assert path.read_bytes() == "2 2\né 1 0.100000001\nb -2 3\n".encode()


def test_ids_with_white_space_are_refused(items, tmp_path):
    with pytest.raises(ValueError, match=r"40 ids cannot be written for word2vec, such as 'item"):
        write_word2vec(tmp_path / "items.txt", items)
