"""Files are there whole or not at all, and cards say what is in them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modalsplit import __version__
from modalsplit.interop import check_card, data_card, item_blocks, write_ducho, write_recbole, write_table
from modalsplit.interop._files import foreign, written


def test_card_says_what_was_exported(items, encoder):
    card = data_card(items, "anything")
    assert card["modalsplit"] == __version__
    assert (card["target"], card["n_items"], card["dtype"]) == ("anything", 40, "float32")
    assert card["blocks"] == dict.fromkeys(items.blocks, 4)
    assert card["ids"] == {"type": "str", "sha256": hashlib.sha256(json.dumps(items.ids.tolist()).encode()).hexdigest()}
    assert card["made_by"]["parameters"]["n_components"] == encoder.n_components
    assert json.loads(json.dumps(card)) == card


def test_card_tells_other_values_ids_and_orders_apart(items):
    same = item_blocks(items.to_frame(), made_by=items.made_by)
    moved = {name: X + (name == "text_common") * np.float32(1e-6) for name, X in items.blocks.items()}
    others = [item_blocks(moved, item_ids=items.ids), items.take(items.ids[::-1])]
    card = data_card(items)
    assert data_card(same) == card
    assert all(data_card(other)["values_sha256"] != card["values_sha256"] for other in others)
    assert data_card(others[1])["ids"] != card["ids"]


@pytest.mark.parametrize(
    ("name", "write"), [("items.npz", write_table), ("ducho", write_ducho), ("recbole", write_recbole)]
)
def test_changed_files_are_found(name, write, items, tmp_path):
    path = write(tmp_path / name, items)
    assert check_card(path)["values_sha256"] == data_card(items)["values_sha256"]
    one = (
        path
        if path.is_file()
        else next(file for file in path.rglob("*.*") if file.is_file() and file.suffix != ".json")
    )
    one.write_bytes(one.read_bytes()[:-1])
    with pytest.raises(ValueError, match="files were changed"):
        check_card(path)


def test_added_files_are_found(items, tmp_path):
    path = write_recbole(tmp_path / "set", items)
    (path / "more.txt").write_text("")
    with pytest.raises(ValueError, match="files were changed"):
        check_card(path)


def test_the_same_items_make_the_same_bytes(items, tmp_path):
    for name, write in {
        "a.parquet": write_table,
        "a.arrow": write_table,
        "a.npz": write_table,
        "b": write_recbole,
    }.items():
        hashes = [check_card(write(tmp_path / n / name, items))["files_sha256"] for n in ("one", "two")]
        assert hashes[0] == hashes[1]


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_left_when_writing_fails(folder, items, tmp_path):
    def fail():
        with written(tmp_path / "out", items, "test", overwrite=False, folder=folder) as path:
            (path / "half" if folder else path).write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_earlier_export_survives_a_failure(items, tmp_path):
    path = write_ducho(tmp_path / "out", items)
    card = check_card(path)
    with pytest.raises(OSError, match="disk full"), written(path, items, "test", overwrite=True, folder=True):
        raise OSError("disk full")
    assert check_card(path) == card


def test_killed_writer_leaves_the_earlier_export(items, tmp_path):
    path = write_ducho(tmp_path / "out", items)
    card = check_card(path)
    code = (
        "import os, signal\nfrom modalsplit.interop import item_blocks\n"
        "from modalsplit.interop._files import written\n"
        "items = item_blocks({'image': [[1.0]]}, item_ids=['a'])\n"
        f"with written({str(path)!r}, items, 'test', overwrite=True, folder=True) as folder:\n"
        "    (folder / 'half').write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert check_card(path) == card


@pytest.mark.parametrize(("name", "write"), [("items.npz", write_table), ("out", write_ducho)])
def test_overwriting_must_be_said_and_spares_what_is_not_ours(name, write, items, tmp_path):
    path = write(tmp_path / name, items)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(path, items)
    fewer = items.take(items.ids[:3])
    assert check_card(write(path, fewer, overwrite=True))["n_items"] == 3
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    foreign_path = tmp_path / f"theirs-{name}"
    foreign_path.mkdir() if write is write_ducho else foreign_path.write_text("theirs")
    with pytest.raises(FileExistsError, match="was not written by modalsplit"):
        write(foreign_path, items, overwrite=True)
    assert foreign_path.exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_files_have_the_permissions_of_any_new_file(items, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").write_text("")
    folder, file = write_ducho(tmp_path / "out", items), write_table(tmp_path / "items.npz", items)
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert file.stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_missing_library_is_named_with_the_command():
    with pytest.raises(ImportError, match="needs the package no-such-thing: pip install no-such-thing"):
        foreign("no_such_module", "no-such-thing")


def test_errors_of_an_installed_library_are_its_own(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"):
        foreign("half_installed", "half-installed")


def test_earlier_folder_comes_back_when_the_new_one_cannot_take_its_place(items, tmp_path, monkeypatch):
    path = write_ducho(tmp_path / "out", items)
    card = check_card(path)
    rename = Path.rename

    def fail(source, target):
        if source.name == "out" and target == path:
            raise OSError("no")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no"):
        write_ducho(path, items.take(items.ids[:2]), overwrite=True)
    monkeypatch.undo()
    assert check_card(path) == card
