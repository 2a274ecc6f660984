"""Files in, files out; one clear message for what the user can mend; nothing half-written."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from typer.testing import CliRunner

import modalsplit
from modalsplit.cli._app import app
from modalsplit.datasets import load_wines, make_modalities

N_ITEMS = 80


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder of its own; check its exit code."""
    monkeypatch.chdir(tmp_path)

    def command(line, expected=0):
        result = CliRunner().invoke(app, line.split())
        assert result.exit_code == expected, result.output
        if expected != 0:
            assert "Traceback" not in result.output
        return result

    return command


@pytest.fixture(scope="module")
def features():
    data = make_modalities(N_ITEMS, n_shared=3, n_private=2, n_features=(12, 9), random_state=0, dtype=np.float32)
    frame = pd.DataFrame(
        np.hstack([data.X_img, data.X_txt]),
        columns=[f"image__{i}" for i in range(12)] + [f"text__{i}" for i in range(9)],
    )
    frame.insert(0, "item_id", [f"i{k:02d}" for k in range(N_ITEMS)])
    return frame


@pytest.fixture(scope="module")
def taken(features):
    rows, columns = np.nonzero(np.random.RandomState(0).rand(N_ITEMS, 20) < 0.2)
    return pd.DataFrame({"user_id": [f"u{u}" for u in columns], "item_id": features["item_id"].to_numpy()[rows]})


@pytest.fixture
def files(run, features, taken):
    features.to_parquet("features.parquet", index=False)
    taken.to_csv("taken.csv", index=False)
    return run


@pytest.fixture
def fitted(files):
    files("fit features.parquet --interactions taken.csv --components 5 --objective cca -q -o model.safetensors")
    return files


# The whole way, as a user goes it ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Forty wines with a name, a picture each but one, and who took them; and a network of random weights."""
    folder = tmp_path_factory.mktemp("shop")
    items = load_wines().items.iloc[:40][["title", "text"]].reset_index()
    items["photo"] = [f"{item}.png" for item in items["item_id"]]
    items.loc[3, "photo"] = None
    items.to_csv(folder / "items.csv", index=False)
    taken = pd.DataFrame({"user_id": np.arange(200) % 25, "item_id": np.tile(items["item_id"], 5)})
    taken.to_csv(folder / "taken.csv", index=False)
    (folder / "photos").mkdir()
    rng = np.random.RandomState(0)
    for name in items["photo"].dropna():
        Image.fromarray(rng.randint(255, size=(32, 32, 3), dtype=np.uint8)).save(folder / "photos" / name)
    torch.manual_seed(0)
    torch.save(torchvision.models.shufflenet_v2_x0_5().state_dict(), folder / "weights.pth")
    return folder


def shell(folder, line):
    command = Path(sys.executable).with_name("modalsplit")
    done = subprocess.run([command, *line.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_from_raw_items_to_recommendations_in_a_shell(shop):
    featurized = shell(
        shop,
        "featurize items.csv --text text --text-columns 20 --image photo --image-folder photos "
        "--image-model shufflenet_v2_x0_5 --image-weights weights.pth -o features.parquet -q",
    )
    assert "photo: 1024 columns, 1 items without" in featurized.stderr
    fitted = shell(
        shop, "fit features.parquet --interactions taken.csv --components 8 --objective cca -o model.safetensors -q"
    )
    assert "200 interactions of 25 users" in fitted.stderr
    shell(shop, "transform model.safetensors features.parquet -o embeddings.npz")
    shown = shell(shop, "recommend model.safetensors -k 4").stdout

    ids = pd.read_csv(shop / "items.csv", dtype=str)["item_id"].tolist()
    with np.load(shop / "embeddings.npz") as arrays:
        assert arrays["ids"].tolist() == ids
        shapes = {name: arrays[name].shape for name in arrays.files if name != "ids"}
    assert shapes == dict.fromkeys(["text_common", "photo_common", "text_specific", "photo_specific"], (40, 8))
    lists = pd.read_csv(io.StringIO(shown), dtype=str)
    assert lists.groupby("user_id").size().tolist() == [4] * 25
    taken = pd.read_csv(shop / "taken.csv", dtype=str)
    assert lists.merge(taken, on=["user_id", "item_id"]).empty


def test_featurizers_are_kept_for_new_items(run, shop):
    network = f"--image-model shufflenet_v2_x0_5 --image-weights {shop}/weights.pth --image-folder {shop}/photos"
    first = f"featurize {shop}/items.csv --text text --text-columns 9 --image photo {network} -q -o first.parquet"
    run(f"{first} --save-featurizers raw.safetensors")
    items = pd.read_csv(shop / "items.csv", dtype=str).iloc[10:20]
    items.to_csv("new.csv", index=False)
    run(f"featurize new.csv --featurizers raw.safetensors --image-folder {shop}/photos -o new.parquet -q")
    old, new = (pd.read_parquet(name).set_index("item_id") for name in ("first.parquet", "new.parquet"))
    pd.testing.assert_frame_equal(new, old.loc[items["item_id"]], rtol=1e-4, atol=1e-5)


# Each command -----------------------------------------------------------------------------------------


def test_commands_do_what_the_library_does(fitted, features, taken):
    model = modalsplit.load("model.safetensors")
    X = features.set_index("item_id")
    fitted("transform model.safetensors features.parquet -o z.parquet")
    expected = model[:-1].transform(X)
    pd.testing.assert_frame_equal(pd.read_parquet("z.parquet").set_index("item_id"), expected, check_exact=True)
    fitted("recommend model.safetensors --user u3 --user u5 -k 3 -o r.csv")
    table = pd.read_csv("r.csv")
    assert table["user_id"].tolist() == ["u3"] * 3 + ["u5"] * 3
    assert table["rank"].tolist() == [1, 2, 3] * 2
    assert table["item_id"].tolist() == model[-1].recommend(["u3", "u5"], 3).ids.ravel().tolist()


def test_users_come_from_a_file_and_seen_items_on_demand(fitted, taken):
    Path("users.txt").write_text("u3\n\nu4\n")
    fitted(f"recommend model.safetensors --users users.txt -k {N_ITEMS} --include-seen -o all.csv")
    assert pd.read_csv("all.csv").groupby("user_id").size().to_dict() == {"u3": N_ITEMS, "u4": N_ITEMS}
    fitted(f"recommend model.safetensors --users users.txt -k {N_ITEMS} -o unseen.csv")
    seen = taken.drop_duplicates().groupby("user_id").size()
    counts = pd.read_csv("unseen.csv").groupby("user_id").size()
    assert counts.to_dict() == {user: N_ITEMS - seen[user] for user in ("u3", "u4")}


def test_a_modality_without_a_file_is_missing(files, features):
    features.filter(regex="item_id|image").to_parquet("image.parquet", index=False)
    files("fit features.parquet --components 5 --objective cca -q -o encoder.safetensors")
    files("transform encoder.safetensors image.parquet -o z.csv")
    found = pd.read_csv("z.csv", index_col="item_id")
    X = features.set_index("item_id")
    X.loc[:, X.columns.str.startswith("text")] = np.nan
    expected = modalsplit.load("encoder.safetensors").set_output(transform="pandas").transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    files("fit features.parquet --components 5 --objective cca --missing error -q -o strict.safetensors")
    said = files("transform strict.safetensors image.parquet -o no.csv", 1).output
    assert "lack 9 of the 9 columns of the text modality that the model was fitted on, such as text__0" in said
    features.drop(columns="image__3").to_parquet("partly.parquet", index=False)
    assert (
        "lack 1 of the 12 columns of the image"
        in files("transform encoder.safetensors partly.parquet -o no.csv", 1).output
    )


def test_files_without_a_common_item_are_named(files, features):
    features.filter(regex="item_id|image").to_parquet("image.parquet", index=False)
    text = features.filter(regex="item_id|text")
    text.assign(item_id=text["item_id"].str.upper()).to_parquet("text.parquet", index=False)
    said = files("fit image.parquet text.parquet -o m.safetensors", 1).output
    assert (
        "image.parquet and text.parquet have no item in common: ids of the one look like 'i00', of the other like 'I00'"
        in said
    )


def test_two_matrices_need_no_ids(run, features):
    np.save("image.npy", features.filter(like="image__"))
    np.save("text.npy", features.filter(like="text__"))
    run("fit image.npy text.npy --components 5 --objective cca -q -o encoder.safetensors")
    run("transform encoder.safetensors image.npy text.npy --parts common -o common.csv")
    common = pd.read_csv("common.csv")
    assert common.shape == (N_ITEMS, 11)
    assert common.columns[[0, 1, 6]].tolist() == ["item_id", "image_common__0", "text_common__0"]
    np.save("text.npy", features.filter(like="text__")[:-1])
    assert "have [79, 80] rows" in run("fit image.npy text.npy -o x.safetensors", 1).output


def test_one_file_a_modality_is_joined_by_id(run, features):
    features[["item_id", *features.filter(like="image__")]].to_csv("picture.csv", index=False)
    words = features[["item_id", *features.filter(like="text__")]].rename(columns=lambda c: c.replace("text__", "w"))
    words.sample(frac=1, random_state=0).to_parquet("words.parquet")
    run("fit picture.csv words.parquet --components 5 --objective cca -q -o encoder.safetensors")
    encoder = modalsplit.load("encoder.safetensors")[0]
    assert encoder.modality_names_ == ("image", "words")
    assert encoder.common_rank_ == 3  # rows in another order would share nothing


def test_archive_of_blocks_is_read_as_it_is_written(run, features):
    features.to_parquet("features.parquet", index=False)
    run("fit features.parquet --components 5 --objective cca -q -o encoder.safetensors")
    run("transform encoder.safetensors features.parquet -o z.npz")
    run("doctor z.npz")
    np.savez("features.npz", image=features.filter(like="image__"), text=features.filter(like="text__"))
    run("transform encoder.safetensors features.npz -o z2.npz")
    with np.load("z.npz") as first, np.load("z2.npz") as second:
        np.testing.assert_array_equal(first["image_common"], second["image_common"])
        assert second["ids"][:2].tolist() == ["0", "1"]


def test_pictures_are_found_by_id(run, monkeypatch):
    Path("photos").mkdir()
    Image.new("RGB", (30, 30), "red").save("photos/a.jpg")
    Path("photos/b.png").write_bytes(b"no picture")
    pd.DataFrame({"item_id": ["a", "b", "c"]}).to_csv("items.csv", index=False)
    torch.save(torchvision.models.shufflenet_v2_x0_5().state_dict(), "weights.pth")
    result = run(
        "featurize items.csv --image-folder photos --image-model shufflenet_v2_x0_5 --image-weights weights.pth -q "
        "-o features.npz"
    )
    assert "2 of 3 items have a picture" in result.output
    assert "b: " in result.output
    with np.load("features.npz") as arrays:
        assert np.isnan(arrays["image"]).any(axis=1).tolist() == [False, True, True]


def test_doctor_shows_the_machine(run):
    output = run("doctor").output
    assert f"torch {torch.__version__.partition('+')[0]}" in output
    assert "torch computes on: " in output
    assert "VGG19" in output


def test_doctor_finds_good_data_good(files):
    output = files("doctor features.parquet --interactions taken.csv --time").output
    assert "80 rows, 21 columns" in output
    assert "ok   the rows of all blocks belong together, by 80 items" in output
    assert "--objective stable will take about" in output
    assert f"{pd.read_csv('taken.csv').shape[0]} interactions of 20 users" in output


def test_doctor_finds_rows_in_another_order(run):
    data = make_modalities(400, n_shared=4, n_features=(20, 15), random_state=0)
    np.save("image.npy", data.X_img)
    np.save("text.npy", data.X_txt[::-1])
    assert "bad  Your text rows are out of step with your image rows" in run("doctor image.npy text.npy", 1).output


@pytest.mark.parametrize(
    ("spoil", "state", "message"),
    [
        (
            lambda X: X.assign(image__3=X["image__3"].where(X.index > 2)),
            "look",
            "image: 12 columns of float32; 3 rows with NaN",
        ),
        (lambda X: X.assign(image__3=np.inf), "bad", "80 rows hold infinity"),
        (lambda X: X.assign(image__3=np.float32(1)), "look", "1 constant columns"),
        (lambda X: X.assign(**{f"text__{i}": np.float32(0) for i in range(9)}), "bad", "all rows are equal"),
    ],
)
def test_doctor_finds_what_is_wrong_with_columns(run, features, spoil, state, message):
    spoil(features.copy()).to_parquet("features.parquet", index=False)
    output = run("doctor features.parquet", 1 if state == "bad" else 0).output
    assert any(line.startswith(f"  {state:<4}") and message in line for line in output.splitlines()), output


# What is wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit no.parquet -o m.safetensors", "There is no file no.parquet"),
        ("fit features.parquet -o no/m.safetensors", "There is no folder no"),
        ("fit features.parquet --id sku -o m.safetensors", "no column 'sku'; it has item_id, image__0"),
        ("fit taken.csv -o m.safetensors", "item_id must be unique"),
        ("fit features.parquet --interactions taken.csv --user who -o m.safetensors", "no column 'who'"),
        ("fit features.parquet --interactions other.csv -o m.safetensors", "1 of 2 interactions are with items that"),
        ("fit features.parquet --components 999 -o m.safetensors", "n_components=999 is larger than can be had"),
        ("fit broken.parquet -o m.safetensors", "broken.parquet cannot be read"),
        ("fit picture.xlsx -o m.safetensors", "modalsplit reads no other formats"),
        ("fit texts.csv -o m.safetensors", "column 'title' holds no numbers"),
        ("doctor empty.csv", "empty.csv has no rows"),
        ("fit gaps.csv -o m.safetensors", "1 of 2 rows have no item_id"),
        ("fit latin.csv -o m.safetensors", "latin.csv cannot be read"),
        ("fit plain.csv -o m.safetensors", "no block names such as image__0"),
        ("transform features.parquet features.parquet -o z.csv", "is no file that modalsplit.save wrote"),
        ("transform scaler.safetensors features.parquet -o z.json", "must end in .parquet or .csv or .npz"),
        ("recommend scaler.safetensors", "holds a StandardScaler and no recommender"),
        ("featurize texts.csv -o f.csv", "name a column with --text or --image"),
        ("featurize texts.csv --text body -o f.csv", "no column 'body'; they have title"),
        ("featurize texts.csv --text title --text-model no.txt -o f.csv", "there is no no.txt"),
        ("featurize texts.csv --image-folder no -o f.csv", "There is no folder no"),
        ("featurize texts.csv --featurizers scaler.safetensors -o f.csv", "holds a StandardScaler, not what"),
    ],
)
def test_error_is_one_message_and_leaves_nothing(files, line, message):
    pd.DataFrame({"user_id": ["a", "b"], "item_id": ["i00", "unknown"]}).to_csv("other.csv", index=False)
    pd.DataFrame({"item_id": ["a", "b"], "title": ["red wine", "white wine"]}).to_csv("texts.csv", index=False)
    pd.DataFrame({"item_id": ["a", "b"], "x": [1, 2], "y": [2, 1]}).to_csv("plain.csv", index=False)
    Path("broken.parquet").write_bytes(b"PAR1")
    Path("empty.csv").write_text("item_id,title\n")
    Path("gaps.csv").write_text("item_id,x\na,1\n,2\n")
    Path("latin.csv").write_bytes(b"item_id,x\n\xe9,1\n")
    Path("picture.xlsx").touch()
    from sklearn.preprocessing import StandardScaler

    modalsplit.save(StandardScaler(), "scaler.safetensors")
    before = sorted(Path.cwd().iterdir())
    result = files(line, 1)
    assert message in result.output
    assert len([one for one in result.output.splitlines() if one.startswith("Error: ")]) == 1
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(
    "line",
    [
        "fit features.parquet",
        "fit features.parquet --objective magic -o m.safetensors",
        "fit features.parquet --components none -o m.safetensors",
        "recommend model.safetensors -k 0",
        "doctor --interactions taken.csv",
        "bake",
    ],
)
def test_wrong_usage_ends_with_code_2(files, line):
    assert "Error" in files(line, 2).output


def test_unknown_items_are_left_out_on_demand(files, taken):
    more = pd.DataFrame({"user_id": ["u1", "u2"], "item_id": ["unknown", "unknown"]})
    pd.concat([taken, more]).to_csv("more.csv", index=False)
    output = files(
        "fit features.parquet --interactions more.csv --drop-unknown --components 5 --objective cca -q -o m.safetensors"
    ).output
    assert f"{len(taken)} interactions of 20 users; 2 left out" in output


def test_unknown_user_is_named(fitted):
    assert "users were not seen in fit: ['nobody']" in fitted("recommend model.safetensors --user nobody", 1).output


def test_warning_is_one_line(run):
    rng = np.random.RandomState(0)
    np.save("image.npy", rng.randn(60, 5))
    np.save("text.npy", rng.randn(60, 4))
    output = run("fit image.npy text.npy --objective cca -q -o m.safetensors").output
    assert "Warning: The modalities share nothing" in output
    assert "encoder.py" not in output


def test_traceback_is_shown_on_demand(run):
    result = CliRunner().invoke(app, ["--traceback", "fit", "no.parquet", "-o", "m.safetensors"])
    assert isinstance(result.exception, FileNotFoundError)
    run("fit no.parquet -o m.safetensors", 1)


def test_failed_write_leaves_the_old_file(fitted, monkeypatch):
    fitted("transform model.safetensors features.parquet -o z.csv")
    before = Path("z.csv").read_bytes()

    def full(self, path, **options):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert "No space left" in fitted("transform model.safetensors features.parquet -o z.csv", 1).output
    assert Path("z.csv").read_bytes() == before
    assert not list(Path.cwd().glob(".*"))


@pytest.mark.parametrize("command", ["doctor", "featurize", "fit", "transform", "recommend"])
def test_help_has_examples(run, command):
    assert f"\n  modalsplit {command} " in run(f"{command} --help").output


def test_help_loads_nothing_heavy():
    code = "import sys; from modalsplit.cli import _app; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "sklearn", "numpy"} & set(loaded)


def test_version_is_shown(run):
    assert run("--version").output.strip() == f"modalsplit {modalsplit.__version__}"


# The page to browse the catalogue -----------------------------------------------------------------------


@pytest.fixture
def catalogue(fitted, features):
    ids = features["item_id"]
    items = pd.DataFrame(
        {"item_id": ids, "title": [f"Item {item}" for item in ids], "photo": [f"{i}.png" for i in ids]}
    )
    items.sample(frac=1, random_state=0).to_csv("items.csv", index=False)  # another order than the features
    Path("photos").mkdir()
    for item in ids[:5]:
        Image.new("RGB", (30, 30), "red").save(f"photos/{item}.png")
    return fitted


def shown(path):
    text = Path(path).read_text(encoding="utf-8")
    return json.loads(text.partition('id="content">')[2].partition("</script>")[0])


def test_report_shows_items_lists_and_pictures(catalogue):
    line = "report model.safetensors items.csv features.parquet --users 3 -k 4 -o page.html"
    result = catalogue(f"{line} --image photo --image-folder photos")
    assert f"{N_ITEMS} of {N_ITEMS} items" in result.stderr
    content = shown("page.html")
    assert [item["id"] for item in content["items"]] == [f"i{k:02d}" for k in range(N_ITEMS)]
    assert [item["picture"] is not None for item in content["items"]] == [True] * 5 + [False] * (N_ITEMS - 5)
    recommender = modalsplit.load("model.safetensors")[-1]
    for user in content["users"]:
        listed = [content["items"][entry["item"]]["id"] for entry in user["list"]]
        assert listed == recommender.recommend(user["id"], 4).ids.tolist()
    assert "add --overwrite" in catalogue(line, 1).output
    catalogue(f"{line} --image-folder photos --overwrite")
    assert shown("page.html")["items"] == content["items"]


def test_report_says_what_is_wrong(catalogue, features):
    line = "report model.safetensors items.csv features.parquet"
    assert "must end in .html" in catalogue(f"{line} -o page.pdf", 1).output
    assert "no column 'name'" in catalogue(f"{line} --title name -o page.html", 1).output
    assert "There is no folder nowhere" in catalogue(f"{line} --image-folder nowhere -o page.html", 1).output
    pd.read_csv("items.csv").iloc[:70].to_csv("fewer.csv", index=False)
    line = "report model.safetensors fewer.csv features.parquet -o page.html"
    assert "lacks 10 of the 80 items" in catalogue(line, 1).output
    assert not Path("page.html").exists()
