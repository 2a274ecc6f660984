"""The examples of the gallery run, and draw; the longer scripts run."""

import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("plot_*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_an_example_runs_and_draws(example, capsys):
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    try:
        runpy.run_path(str(example))
        figures = [plt.figure(number) for number in plt.get_fignums()]
        assert figures
        assert all(axis.has_data() for figure in figures for axis in figure.axes)
    finally:
        plt.close("all")
    assert capsys.readouterr().out


def run(name, *arguments, cwd):
    command = [sys.executable, str(FOLDER / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path):
    assert "Cold wines" in run("quickstart.py", cwd=tmp_path)


@pytest.mark.slow
def test_other_recommenders_are_trained_or_named(tmp_path):
    said = run("interop_recommenders.py", cwd=tmp_path)
    assert all(library in said for library in ("cornac", "implicit", "lightfm", "rectools"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("efficientnet_lite_pytorch") is None, reason="needs pip install 'modalsplit[weights]'")
def test_a_folder_of_images_becomes_a_table(tmp_path):
    rng = np.random.default_rng(0)
    names = rng.choice(["red", "green", "blue"], 90)
    for n, name in enumerate(names):
        Image.new("RGB", (32, 32), name).save(tmp_path / f"i{n}.jpg")
    table = pd.DataFrame({"item_id": [f"i{n}" for n in range(90)], "text": [f"a {name} lamp" for name in names]})
    table.to_csv(tmp_path / "items.csv", index=False)
    run("folder_to_embeddings.py", ".", "items.csv", cwd=tmp_path)
    made = pd.read_parquet(tmp_path / "embeddings.parquet")
    assert list(made.index) == list(table["item_id"])
    assert made.columns.str.startswith("image_common__").any()
