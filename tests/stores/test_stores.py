"""Stores: every back end reads the same rows, and what is wrong with files is said."""

import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from modalsplit.files import sole_user
from modalsplit.stores import ArrayStore, BatchStore, FeatureStore, ParquetStore, ParquetTable, open_store, write_store

N = 1000
IDS = [f"item {i}" for i in range(N)]


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    return {"image": rng.normal(size=(N, 7)).astype("f4"), "text": rng.normal(size=(N, 3)).astype("f4")}


@pytest.fixture
def shards(views, tmp_path):
    write_store(ArrayStore(views, IDS), tmp_path / "features", rows_a_shard=300)
    return sorted((tmp_path / "features").glob("*.parquet"))


class Dataset:
    """What `DatasetStore` needs of a data set of Hugging Face."""

    def __init__(self, columns):
        self.columns = columns
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows):
        return {name: np.asarray(column)[rows] for name, column in self.columns.items()}

    def select_columns(self, names):
        return Dataset({name: self.columns[name] for name in names})

    def with_format(self, kind):
        assert kind == "numpy"
        return self


def from_npy(views, folder):
    for name, matrix in views.items():
        np.save(folder / f"{name}.npy", matrix)
    return open_store({**{name: folder / f"{name}.npy" for name in views}, "item_id": np.array(IDS)})


def from_memory_maps(views, folder):
    from_npy(views, folder)
    return open_store({name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in views})


def from_parquet(views, folder):
    write_store(ArrayStore(views, IDS), folder / "parquet", rows_a_shard=300)
    return open_store(folder / "parquet")


def from_fixed_size_lists(views, folder):
    arrays = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        for name, matrix in views.items()
    }
    pq.write_table(pa.table({"item_id": IDS, **arrays}), folder / "one.parquet", row_group_size=130)
    return open_store(str(folder / "*.parquet"))


def from_zarr(views, folder):
    zarr = pytest.importorskip("zarr", reason="the extra modalsplit[zarr] is not installed")
    group = zarr.open_group(folder / "features.zarr", mode="w", zarr_format=3)
    for name, matrix in views.items():
        group.create_array(name, data=matrix, chunks=(100, matrix.shape[1]))
    return open_store(zarr.open_group(folder / "features.zarr", mode="r"))


def from_data_set(views, folder):
    return open_store(Dataset({"item_id": IDS, "title": IDS, **views}))


def from_batches(views, folder):
    starts = range(0, N, 170)
    return open_store(
        {"item_id": np.array(IDS[s : s + 170]), **{n: m[s : s + 170] for n, m in views.items()}} for s in starts
    )


SOURCES = [
    from_npy,
    from_memory_maps,
    from_parquet,
    from_fixed_size_lists,
    from_zarr,
    from_data_set,
    from_batches,
]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_reads_the_same_rows(source, views, tmp_path):
    store = source(views, tmp_path)
    assert (store.names, store.widths, len(store)) == (("image", "text"), (7, 3), N)
    scattered = np.array([999, 0, 305, 306, 299, 300, 305])
    for modality, matrix in enumerate(views.values()):
        for rows in (slice(0, N), slice(290, 310), slice(999, 1000), scattered):
            read = store.read(rows, modality)
            assert read.dtype == np.float32
            assert_array_equal(read, matrix[rows])
    assert store.fingerprint() == ArrayStore(views).fingerprint()
    known = source not in {from_memory_maps, from_zarr}
    assert store.read_ids(slice(298, 302)).tolist() == (IDS[298:302] if known else [298, 299, 300, 301])
    assert [rows.stop - rows.start for rows in store.blocks(300)] == [300, 300, 300, 100]


def test_modalities_can_be_chosen(views, tmp_path):
    extra = {**views, "sound": views["text"] * 2}
    for store in (open_store(extra, names=["text", "image"]), open_store(Dataset(extra), names=["text", "image"])):
        assert store.names == ("text", "image")
    write_store(ArrayStore(extra), tmp_path / "three")
    assert open_store(tmp_path / "three", names=["sound", "image"]).widths == (3, 7)
    assert open_store([{**extra}], names=["sound", "text"]).names == ("sound", "text")
    with pytest.raises(ValueError, match="no modality 'smell'"):
        open_store(extra, names=["smell", "image"])


def test_fingerprint_tells_other_values_order_and_names(views):
    changed = {**views, "text": views["text"] + 1}
    swapped = {name: matrix[::-1] for name, matrix in views.items()}
    renamed = {"picture": views["image"], "text": views["text"]}
    prints = {ArrayStore(v).fingerprint() for v in (views, changed, swapped, renamed)}
    assert len(prints) == 4


# What is wrong is said -------------------------------------------------------------------------------


def test_truncated_matrix(views, tmp_path):
    store = from_npy(views, tmp_path)
    with (tmp_path / "image.npy").open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(OSError, match="ended early"):
        store.read(slice(0, N), 0)
    paths = {name: tmp_path / f"{name}.npy" for name in views}
    with pytest.raises(ValueError, match=r"image.npy is cut off: it has 20000 of 28128 bytes"):
        open_store(paths)


def test_truncated_shard(shards):
    shards[1].write_bytes(shards[1].read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"part-000001.parquet is no Parquet file, or it is cut off"):
        open_store(shards)


def test_shard_that_is_damaged_inside(shards):
    content = bytearray(shards[1].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(8)
    shards[1].write_bytes(content)
    store = open_store(shards)
    with pytest.raises(ValueError, match=r"part-000001.parquet is damaged in row group 0"):
        [store.read(slice(0, N), modality) for modality in (0, 1)]


def test_missing_shard_is_no_silent_gap(shards):
    shards[2].unlink()
    with pytest.raises(ValueError, match="holds 700 of 1000 items: a shard is missing"):
        open_store(shards[0].parent)


def test_shards_with_other_columns(views, shards, tmp_path):
    write_store(ArrayStore({**views, "text": views["text"][:, :2]}), tmp_path / "narrow")
    narrow = tmp_path / "narrow" / "part-000000.parquet"
    with pytest.raises(ValueError, match=r"narrow.*has no column|has other columns than .*part-000000"):
        open_store([shards[0], narrow])
    write_store(ArrayStore({"image": views["image"], "sound": views["text"]}, IDS), tmp_path / "other")
    with pytest.raises(ValueError, match=r"other/part-000000.parquet has no column 'text'"):
        open_store([shards[0], tmp_path / "other" / "part-000000.parquet"])


def test_duplicate_ids_across_shards(views, shards, tmp_path, monkeypatch):
    half = {name: matrix[:10] for name, matrix in views.items()}
    write_store(ArrayStore(half, [*IDS[700:701], *range(9)]), tmp_path / "more")
    more = tmp_path / "more" / "part-000000.parquet"
    for at_a_time in (1 << 22, 100):
        monkeypatch.setattr("modalsplit.stores._base.IDS_AT_A_TIME", at_a_time)
        with pytest.raises(
            ValueError, match=r"'item 700' belongs to two items: row 100 of .*part-000002.parquet and row 0 of .*more"
        ):
            open_store([*shards, more])
    with pytest.raises(ValueError, match="belongs to two items: row 3 and row 4"):
        ArrayStore(half, [0, 1, 2, 3, 3, 5, 6, 7, 8, 9])


def test_missing_vectors_are_missing_modalities(views, tmp_path):
    lists = {name: [row.tolist() for row in matrix[:5]] for name, matrix in views.items()}
    lists["text"][2] = None
    types = {name: pa.list_(pa.float32(), views[name].shape[1]) for name in views}
    table = pa.table({name: pa.array(rows, types[name]) for name, rows in lists.items()})
    pq.write_table(table, tmp_path / "holes.parquet")
    read = open_store(tmp_path / "holes.parquet").read(slice(0, 5), 1)
    assert np.isnan(read[2]).all()
    assert_array_equal(read[[0, 1, 3, 4]], views["text"][[0, 1, 3, 4]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda v: ArrayStore({"image": v["image"]}), ValueError, "two modalities or more"),
        (lambda v: ArrayStore({**v, "text": v["text"][:5]}), ValueError, "different numbers of rows"),
        (lambda v: ArrayStore({**v, "text": v["text"].ravel()}), ValueError, "matrix of numbers"),
        (lambda v: ArrayStore({**v, "text": v["text"].astype(str)}), ValueError, "matrix of numbers"),
        (lambda v: ArrayStore(v, ids=[1, 2]), ValueError, "ids has the shape"),
        (lambda v: open_store("nowhere/*.parquet"), FileNotFoundError, "no file, folder or pattern"),
        (lambda v: open_store({**v, "text": "nowhere.npy"}), FileNotFoundError, "no file nowhere.npy"),
        (lambda v: open_store(3), TypeError, "A int is no store"),
        (lambda v: open_store(iter([])), ValueError, "no batch"),
        (lambda v: open_store([v, {**v, "text": v["text"][:, :2]}]), ValueError, "Batch 1 has"),
        (lambda v: open_store([v, {"image": v["image"]}]), ValueError, "Batch 1 has"),
        (lambda v: open_store(Dataset(v), names=["image", "smell"]), ValueError, "no column 'smell'"),
        (lambda v: ParquetStore([]), FileNotFoundError, "the list of paths is empty"),
    ],
)
def test_unsound_sources_are_refused(make, error, message, views):
    with pytest.raises(error, match=message):
        make(views)


def test_file_that_is_no_matrix(tmp_path, views):
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    (tmp_path / "text.npy").write_text("no numbers")
    with pytest.raises(ValueError, match="an array of shape"):
        open_store({"image": tmp_path / "cube.npy", "text": views["text"]})
    with pytest.raises(ValueError, match=r"is no .npy file"):
        open_store({"image": views["image"], "text": tmp_path / "text.npy"})
    with pytest.raises(ValueError, match=r"no Parquet file. For .npy files, name the modalities"):
        open_store(tmp_path / "text.npy")


# Writing ---------------------------------------------------------------------------------------------


def test_written_shards_are_read_by_others(shards, views):
    frame = pd.read_parquet(shards[3])
    assert frame["item_id"].tolist() == IDS[900:]
    assert_array_equal(np.stack(frame["image"]), views["image"][900:])


def test_second_run_writes_only_what_is_missing(shards, views):
    kept, lost = shards[0].stat(), shards[1].read_bytes()
    shards[1].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:1000])
    write_store(ArrayStore(views, IDS), shards[0].parent, rows_a_shard=300)
    assert shards[0].stat().st_mtime_ns == kept.st_mtime_ns
    assert shards[1].read_bytes() == lost
    assert open_store(shards[0].parent).n_rows == N


def test_folder_of_something_else_is_refused(shards, views, tmp_path):
    folder = shards[0].parent
    with pytest.raises(ValueError, match=r"results of another encoder, other data or other options \({'origin'"):
        write_store(ArrayStore({**views, "text": views["text"] + 1}, IDS), folder, rows_a_shard=300)
    with pytest.raises(ValueError, match="rows_a_shard"):
        write_store(ArrayStore(views, IDS), folder, rows_a_shard=100)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"holds files that are not from here, such as 'thesis.txt'"):
        write_store(ArrayStore(views), tmp_path / "mine")


def test_shards_of_items_that_had_other_ids_are_refused(shards, views):
    renamed = [*IDS[:400], "new", *IDS[401:]]
    with pytest.raises(
        ValueError, match=r"row 100 of .*part-000001.parquet is of 'item 400', but row 400 is 'new' now"
    ):
        write_store(ArrayStore(views, renamed), shards[0].parent, rows_a_shard=300)


@pytest.mark.parametrize("source", SOURCES)
def test_stores_can_be_sent_to_another_process_in_another_folder(source, views, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = source(views, Path())
    store.read(slice(0, 1), 0)
    sent = pickle.dumps(store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    received = pickle.loads(sent)
    assert received.fingerprint() == store.fingerprint()
    assert received.read_ids(slice(0, N)).tolist() == store.read_ids(slice(0, N)).tolist()
    if source in {from_npy, from_parquet, from_batches}:
        assert len(sent) < 30_000  # ids and paths, no features


def test_more_files_than_may_be_open(views, tmp_path, monkeypatch):
    monkeypatch.setattr("modalsplit.stores._parquet_rows.FILES_KEPT", 3)
    write_store(ArrayStore(views, IDS), tmp_path / "many", rows_a_shard=50)
    store = open_store(tmp_path / "many")
    assert_array_equal(store.read(np.arange(N)[::-1], 1), views["text"][::-1])
    assert len(store._open) == 3


def test_table_of_raw_items(tmp_path):
    frame = pd.DataFrame({"item_id": ["a", "b", "c"], "text": ["red", None, "dry"], "stars": [1.5, 2, 3]})
    frame["tags"] = [[1, 2], [3, 4], [5, 6]]
    for number in (0, 1):
        frame[2 * number : 2 * number + 2].to_parquet(tmp_path / f"{number}.parquet")
    table = ParquetTable([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    read = table.read(slice(1, 3))
    assert (table.columns, len(table)) == (("text", "stars", "tags"), 3)
    assert read.index.tolist() == ["b", "c"]
    assert read["text"].isna().tolist() == [True, False]
    assert [list(tags) for tags in read["tags"]] == [[3, 4], [5, 6]]
    prints = [table.fingerprint(), pickle.loads(pickle.dumps(table)).fingerprint()]
    frame[2:].assign(text="sweet").to_parquet(tmp_path / "1.parquet")
    prints.append(ParquetTable(table.paths).fingerprint())
    assert prints[0] == prints[1] != prints[2]
    frame[1:].to_parquet(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="'b' belongs to two items"):
        ParquetTable(table.paths)
    frame[2:].drop(columns="stars").to_parquet(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="has no column 'stars'"):
        ParquetTable(table.paths)


def test_two_runs_on_one_folder(views, tmp_path):
    (tmp_path / "out").mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from modalsplit.files import sole_user\n"
            f"with sole_user(Path({str(tmp_path / 'out')!r})): print('held', flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=rf"Another run \(process {holder.pid}\) is writing to"):
            write_store(ArrayStore(views), tmp_path / "out")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    # The lock ended with the process.
    assert len(write_store(ArrayStore(views), tmp_path / "out")) == N


def test_lock_holds_against_threads_too(tmp_path):
    errors = []

    def second():
        try:
            with sole_user(tmp_path):
                pass
        except RuntimeError as error:
            errors.append(error)

    with sole_user(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(errors) == 1


class FullDisk(FeatureStore):
    """A store whose reader fails as a writer on a full disk does, after some rows."""

    def __init__(self, views, works_until):
        self.inner, self.works_until = ArrayStore(views, IDS), works_until
        self.names, self.widths, self.n_rows, self.dtype = (
            self.inner.names,
            self.inner.widths,
            self.inner.n_rows,
            self.inner.dtype,
        )

    def read(self, rows, modality):
        if isinstance(rows, slice) and rows.stop > self.works_until:
            raise OSError(28, "No space left on device")
        return self.inner.read(rows, modality)

    def read_ids(self, rows):
        return self.inner.read_ids(rows)


def test_full_disk_is_said_and_a_second_run_goes_on(views, tmp_path):
    with pytest.raises(OSError, match=r"The disk of .*out is full. What was written is whole: make room"):
        write_store(FullDisk(views, 600), tmp_path / "out", rows_a_shard=300)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.parquet")) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    with pytest.raises(ValueError, match="holds 600 of 1000 items"):
        open_store(tmp_path / "out")
    store = write_store(ArrayStore(views, IDS), tmp_path / "out", rows_a_shard=300)
    assert store.read_ids(slice(0, N)).tolist() == IDS


def test_real_full_disk(views, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        big = {name: np.tile(matrix, (20, 1)) for name, matrix in views.items()}
        with pytest.raises(OSError, match=r"is full. What was written is whole"):
            write_store(ArrayStore(big), disk / "out", rows_a_shard=1000)
        for shard in (disk / "out").glob("part-*.parquet"):
            assert pq.read_metadata(shard).num_rows == 1000
    finally:
        subprocess.run(["umount", disk], check=True)


def test_killed_writer_leaves_whole_shards(views, tmp_path):
    for name, matrix in views.items():
        np.save(tmp_path / f"{name}.npy", matrix)
    code = (
        "import os, numpy as np\n"
        "from modalsplit.stores import ArrayStore, write_store\n"
        "class Dying(ArrayStore):\n"
        "    def read(self, rows, modality):\n"
        "        if isinstance(rows, slice) and rows.start == 600 and modality == 1:\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return super().read(rows, modality)\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "write_store(Dying({'image': 'image.npy', 'text': 'text.npy'}), 'out', rows_a_shard=300)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 2
    store = write_store(ArrayStore(views), tmp_path / "out", rows_a_shard=300)
    assert_array_equal(store.read(slice(0, N), 0), views["image"])
    assert [path for path in (tmp_path / "out").iterdir() if path.suffix == ".parquet" and path.name[0] == "."] == []
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["n_rows"] == N


def test_batches_are_kept_where_asked(views, tmp_path):
    store = BatchStore([views], tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["image.npy", "text.npy"]
    assert_array_equal(np.load(tmp_path / "kept" / "image.npy"), views["image"])
    assert len(store) == N
    with pytest.raises(ValueError, match="is not empty"):
        BatchStore([views], tmp_path / "kept")
