"""Folders with a file an item: Ducho's tree and Elliot's."""

import numpy as np
import pandas as pd
import pytest
import yaml

from modalsplit.interop import check_card, item_blocks, read_ducho, write_ducho, write_elliot


def test_tree_of_ducho(items, tmp_path):
    path = write_ducho(tmp_path / "out", items, model="PAMD")
    assert sorted(p.name for p in (path / "modalsplit" / "PAMD").iterdir()) == sorted(items.blocks)
    for name, X in items.blocks.items():
        folder = path / "modalsplit" / "PAMD" / name
        assert len(list(folder.iterdir())) == len(items.ids)
        for item, row in zip(items.ids, X, strict=True):
            stored = np.load(folder / f"{item}.npy")
            assert (stored.shape, stored.dtype) == ((1, 4), np.float32)
            np.testing.assert_array_equal(stored[0], row)
    assert check_card(path)["target"] == "Ducho"


def test_tree_of_ducho_comes_back(items, tmp_path):
    path = write_ducho(tmp_path / "out", items)
    frame = read_ducho({name: path / "modalsplit" / "parts" / name for name in items.blocks})
    pd.testing.assert_frame_equal(frame, items.to_frame().sort_index())


def test_absent_files_are_missing_blocks(tmp_path):
    """As Ducho leaves them: float rows, one layer a folder, an id up to the first dot."""
    for layer, ids in {"avgpool": ["1", "2"], "text": ["2", "10"]}.items():
        (tmp_path / layer).mkdir()
        for item in ids:
            np.save(tmp_path / layer / f"{item}.jpg.npy", np.full((1, 2), float(item)))
    frame = read_ducho({"image": tmp_path / "avgpool", "text": tmp_path / "text"}, integer_ids=True)
    assert frame.index.tolist() == [1, 2, 10]
    assert frame.dtypes.unique().tolist() == [np.float32]
    expected = [[1, 1, np.nan, np.nan], [2, 2, 2, 2], [np.nan, np.nan, 10, 10]]
    np.testing.assert_array_equal(frame.to_numpy(), expected)
    assert list(frame) == ["image__0", "image__1", "text__0", "text__1"]


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, FileNotFoundError, "no .npy files"),
        ({"1.npy": np.ones(2), "1.jpg.npy": np.ones(2)}, ValueError, "Two files .* have the id 1"),
        ({"1.npy": np.ones(2), "2.npy": np.ones(3)}, ValueError, "has 3 numbers, but the first file .* has 2"),
        ({"1.npy": np.ones((2, 2))}, ValueError, r"of shape \(2, 2\), but a vector"),
        ({"1.npy": np.array(1.0)}, ValueError, r"of shape \(\), but a vector"),
        ({"u__1.npy": np.ones(2)}, ValueError, "no integer id"),
    ],
)
def test_unsound_folders_are_refused(files, error, message, tmp_path):
    for name, array in files.items():
        np.save(tmp_path / name, array)
    with pytest.raises(error, match=message):
        read_ducho({"image": tmp_path}, integer_ids=True)


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "1.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_ducho({"image": tmp_path})


def test_folders_of_elliot(numbered, tmp_path):
    path = write_elliot(tmp_path / "out", numbered, textual=["text_common", "text_specific"])
    for name, blocks in (("visual", None), ("textual", ["text_common", "text_specific"])):
        files = list((path / name).iterdir())
        assert {int(file.stem) for file in files} == set(numbered.ids.tolist())
        for item, row in zip(numbered.ids, numbered.matrix(blocks), strict=True):
            np.testing.assert_array_equal(np.load(path / name / f"{item}.npy"), row)
    loaders = yaml.safe_load((path / "side_information.yaml").read_text())["side_information"]
    assert [loader["dataloader"] for loader in loaders] == ["VisualAttribute", "TextualAttribute"]
    assert loaders[0]["visual_features"] == str(path / "visual")
    frame = read_ducho({"visual": path / "visual"}, integer_ids=True)
    np.testing.assert_array_equal(frame.loc[numbered.ids].to_numpy(), numbered.matrix())


@pytest.mark.parametrize("item", ["a.b", "a/b", "..", "a\\b", ""])
def test_ids_that_are_no_file_names_are_refused(item, tmp_path):
    with pytest.raises(ValueError, match="cannot be written for Ducho"):
        write_ducho(tmp_path / "out", item_blocks({"image": [[1.0]]}, item_ids=[item]))


def test_elliot_takes_integers_only(items, tmp_path):
    with pytest.raises(ValueError, match="reads file names as integers, but ids are such as 'item"):
        write_elliot(tmp_path / "out", items)
