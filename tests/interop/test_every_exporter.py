"""What all exporters have in common: what they refuse, that files are whole or not there, and their cards."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from modalsplit import Interactions, __version__, interop
from modalsplit.interop import check_card

IDS = [7, 3, 5, 1]


def frame(ids=IDS):
    X = np.random.default_rng(0).normal(size=(len(ids), 6)).astype(np.float32)
    columns = [f"{name}__{n}" for name in ("image", "text") for n in range(3)]
    return pd.DataFrame(X, index=pd.Index(ids), columns=columns)


def taken(*ids):
    return Interactions(np.eye(len(ids)), item_ids=list(ids), user_ids=[f"u{n}" for n in range(len(ids))])


def to_implicit(items, ids):
    if find_spec("implicit") is None:
        return interop.to_implicit(items, None, ids)
    from implicit.cpu.als import AlternatingLeastSquares

    return interop.to_implicit(items, AlternatingLeastSquares(factors=6), ids)


def write_mmrec(path, items, ids, **options):
    return interop.write_mmrec(path, items, taken(*ids), taken(*ids), taken(*ids), **options)


# Objects: a call with the ids of the other side; None where it has none.
OBJECTS = {
    "to_arrow": lambda items, ids: interop.to_arrow(items),
    "to_cornac": interop.to_cornac,
    "to_faiss": lambda items, ids: interop.to_faiss(items),
    "to_implicit": to_implicit,
    "to_keyed_vectors": lambda items, ids: interop.to_keyed_vectors(items),
    "to_lenskit": lambda items, ids: interop.to_lenskit(items),
    "to_lightfm": interop.to_lightfm,
    "to_rectools": interop.to_rectools,
    "to_unisrec": interop.to_unisrec,
    "to_usearch": lambda items, ids: interop.to_usearch(items),
}
# Files and folders, likewise.
FILES = {
    "write_ducho": ("out", lambda path, items, ids, **o: interop.write_ducho(path, items, **o)),
    "write_elliot": ("out", lambda path, items, ids, **o: interop.write_elliot(path, items, **o)),
    "write_faiss": ("out", lambda path, items, ids, **o: interop.write_faiss(path, items, **o)),
    "write_mmrec": ("out", write_mmrec),
    "write_projector": (
        "out",
        lambda path, items, ids, **o: interop.write_projector(path, items, pd.Series("a", index=ids), **o),
    ),
    "write_recbole": ("out", lambda path, items, ids, **o: interop.write_recbole(path, items, taken(*ids), **o)),
    "write_table": ("out.parquet", lambda path, items, ids, **o: interop.write_table(path, items, **o)),
    "write_usearch": ("out", lambda path, items, ids, **o: interop.write_usearch(path, items, **o)),
    "write_word2vec": ("out.txt", lambda path, items, ids, **o: interop.write_word2vec(path, items, **o)),
}
KNOW_THE_OTHER_SIDE = [
    *["to_cornac", "to_implicit", "to_lightfm", "to_rectools", "to_unisrec"],
    *["write_mmrec", "write_projector", "write_recbole"],
]
NEEDS = {"to_cornac": "cornac", "to_faiss": "faiss", "to_lenskit": "lenskit", "to_usearch": "usearch"}
NEEDS |= {"to_implicit": "implicit", "write_faiss": "faiss", "write_usearch": "usearch"}


def export(name, path, items, ids=IDS, **options):
    if name in OBJECTS:
        return OBJECTS[name](items, ids)
    place, write = FILES[name]
    return write(path / place, items, ids, **options)


def needs(name):
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed: see docs/guide/interop.md")


def test_no_exporter_is_left_out():
    assert set(OBJECTS) | set(FILES) == {name for name in interop.__all__ if name.startswith(("to_", "write_"))}


def with_a(value):
    items = frame()
    items.iloc[2, 4] = value
    return items


UNSOUND = {
    "NaN": (with_a(np.nan), "Block 'text' has NaN in 1 of 4 items, such as 5. .*leave these items out"),
    "infinite": (with_a(np.inf), "Block 'text' has values that no float32 can hold in 1 of 4 items, such as 5"),
    "repeated ids": (frame([7, 3, 3, 1]), "must be unique, but 1 are repeated, such as 3. Keep one row an id"),
    "ids of two types": (frame([7, "3", 5, 1]), "must be all str or all int, but there are int and str"),
    "ids that are None": (frame([7, None, 5, 1]), "must be all str or all int"),
    "no ids": (frame(range(4)).reset_index(drop=True), "The rows have no ids: give item_ids="),
    "no blocks": (frame().set_axis(list("abcdef"), axis=1), "Z has no named blocks"),
    "blocks in other orders": (
        {"image": frame().iloc[:, :3], "text": frame().iloc[::-1, 3:]},
        "blocks have different indexes. Give all the same items in the same order",
    ),
}


@pytest.mark.parametrize("fault", UNSOUND)
@pytest.mark.parametrize("name", [*OBJECTS, *FILES])
def test_unsound_items_are_refused_by_all(name, fault, tmp_path):
    """Before the other library is looked for: also where it is not installed."""
    items, message = UNSOUND[fault]
    with pytest.raises(ValueError, match=message):
        export(name, tmp_path, items)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ids", [[7, 3, 5, 2], ["7", "3", "5", "1"]], ids=["an unknown id", "another type"])
@pytest.mark.parametrize("name", KNOW_THE_OTHER_SIDE)
def test_ids_of_the_other_side_must_be_ours(name, ids, tmp_path):
    with pytest.raises(ValueError, match=r"of 4 (item_ids have no row|items have no label), such as"):
        export(name, tmp_path, frame(), ids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*OBJECTS, *FILES])
def test_sound_items_pass(name, tmp_path):
    needs(name)
    assert export(name, tmp_path, frame()) is not None


@pytest.mark.parametrize("name", FILES)
def test_a_card_says_what_is_in_the_files(name, tmp_path):
    needs(name)
    made = interop.item_blocks(frame(), made_by="by hand")
    card = check_card(export(name, tmp_path, made))
    assert card["modalsplit"] == __version__
    assert (card["n_items"], card["blocks"], card["made_by"]) == (4, {"image": 3, "text": 3}, {"text": "by hand"})
    assert {len(card[name]) for name in ("values_sha256", "files_sha256")} == {len(card["ids"]["sha256"])} == {64}
    assert card["target"]


@pytest.mark.parametrize("name", FILES)
def test_an_earlier_export_stays_whole_when_the_next_one_fails(name, tmp_path, monkeypatch):
    needs(name)
    path = export(name, tmp_path, frame())
    card, files = check_card(path), sorted(tmp_path.rglob("*"))

    def full(path):
        raise OSError("disk full")

    monkeypatch.setattr("modalsplit.interop._files._hash_of_files", full)  # all is written by then, but the card
    for options, place in (({"overwrite": True}, tmp_path), ({}, tmp_path / "elsewhere")):
        with pytest.raises(OSError, match="disk full"):
            export(name, place, 2 * frame(), **options)
    monkeypatch.undo()
    assert check_card(path) == card
    assert sorted(file for file in tmp_path.rglob("*") if file != tmp_path / "elsewhere") == files
