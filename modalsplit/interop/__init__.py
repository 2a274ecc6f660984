"""Other recommenders: what the encoder finds, in the forms that they read. One library, one file.

``to_*`` makes an object for the other library, ``write_*`` a file or a folder, ``read_*`` a DataFrame for the encoder.
All take a DataFrame with named column blocks whose index holds the items' ids, or what `item_blocks` makes of anything else.
All refuse ids that are missing, repeated or not those of the other side, and values that are no finite float32. Files are
there whole or not at all, each with a data card that `check_card` compares with them.
"""

from modalsplit.interop._cornac import to_cornac
from modalsplit.interop._ducho import read_ducho, write_ducho, write_elliot
from modalsplit.interop._files import check_card, data_card
from modalsplit.interop._implicit import to_implicit
from modalsplit.interop._index import to_faiss, to_usearch, write_faiss, write_usearch
from modalsplit.interop._items import ItemBlocks, item_blocks
from modalsplit.interop._keyed_vectors import to_keyed_vectors, write_word2vec
from modalsplit.interop._lenskit import to_lenskit
from modalsplit.interop._lightfm import to_lightfm
from modalsplit.interop._mmrec import write_mmrec
from modalsplit.interop._projector import write_projector
from modalsplit.interop._recbole import write_recbole
from modalsplit.interop._rectools import to_rectools, to_unisrec
from modalsplit.interop._tables import read_table, to_arrow, write_table

__all__ = [
    "ItemBlocks",
    "check_card",
    "data_card",
    "item_blocks",
    "read_ducho",
    "read_table",
    "to_arrow",
    "to_cornac",
    "to_faiss",
    "to_implicit",
    "to_keyed_vectors",
    "to_lenskit",
    "to_lightfm",
    "to_rectools",
    "to_unisrec",
    "to_usearch",
    "write_ducho",
    "write_elliot",
    "write_faiss",
    "write_mmrec",
    "write_projector",
    "write_recbole",
    "write_table",
    "write_usearch",
    "write_word2vec",
]
