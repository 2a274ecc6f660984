"""The examples of the gallery run, and draw."""

import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("plot_*.py"))


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
