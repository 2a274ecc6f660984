"""Figures: what they show, where they draw, and what they say without matplotlib."""

import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest

from modalsplit import DisentangledModalityEncoder, diagnose
from modalsplit.datasets import make_modalities
from modalsplit.plotting import plot_diagnosis, plot_history


@pytest.fixture(autouse=True)
def plt():
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def encoder():
    data = make_modalities(200, n_shared=3, n_private=3, n_features=(12, 10), random_state=0)
    return DisentangledModalityEncoder(8, objective="con", max_epochs=4, random_state=0).fit(data.X_img, data.X_txt)


@pytest.fixture(scope="module")
def report(encoder):
    data = make_modalities(200, n_shared=3, n_private=3, n_features=(12, 10), random_state=0)
    closed = DisentangledModalityEncoder(8, objective="cca", random_state=0).fit(data.X_img, data.X_txt)
    return diagnose(closed, data.X_img, data.X_txt, n_permutations=20, random_state=0)


def heights(axis):
    return [bar.get_height() for bar in axis.patches]


def test_a_diagnosis_has_four_panels_with_its_numbers(report, tmp_path):
    figure = report.plot()
    shared, parts, ranks, gaps = figure.axes
    np.testing.assert_allclose(shared.lines[0].get_ydata(), report.correlations["x ~ y"])
    np.testing.assert_allclose(shared.lines[1].get_ydata(), report.levels["x ~ y"])
    frame = report.to_frame()
    expected = frame[frame.metric == "retrieval recall@1"].groupby("part").value.max()
    assert heights(parts)[1] == pytest.approx(expected["common"])
    assert heights(parts)[4] == pytest.approx(expected["specific"])
    np.testing.assert_allclose(sorted(heights(ranks)), sorted(frame[frame.metric == "effective rank"].value))
    np.testing.assert_allclose(heights(gaps), frame[frame.metric == "translation error"].value)
    figure.savefig(tmp_path / "diagnosis.png")


def test_text_in_the_panels_does_not_overlap(report):
    figure = report.plot()
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent() for axis in figure.axes for text in (axis.title, axis.xaxis.label, axis.yaxis.label)
    ]
    boxes = [box for box in boxes if box.width > 0]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_a_recorded_history_takes_the_place_of_the_gaps(encoder):
    data = make_modalities(200, n_shared=3, n_private=3, n_features=(12, 10), random_state=0)
    report = diagnose(encoder, data.X_img, data.X_txt, n_permutations=5, random_state=0)
    axis = plot_diagnosis(report).axes[3]
    assert axis.get_title() == "Gaps during training"
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [gaps.common for gaps in report.history])


def test_the_history_shows_every_record(encoder):
    gaps, others = plot_history(encoder).axes
    assert [line.get_label() for line in gaps.lines] == ["L_c", "L_p", "L_s"]
    np.testing.assert_allclose(gaps.lines[2].get_ydata(), [record["specific_gap"] for record in encoder.history_])
    assert "loss" in [line.get_label() for line in others.lines]


def test_a_history_without_gaps_says_so():
    figure = plot_history(SimpleNamespace(history_=[{"translation_error": 0.5}]))
    assert figure.axes[0].texts[0].get_text() == "this objective records no gaps"
    assert figure.axes[1].lines[0].get_ydata() == [0.5]


def test_an_encoder_without_history_is_refused():
    with pytest.raises(ValueError, match="has no history"):
        plot_history(SimpleNamespace(history_=[]))


def test_figures_are_drawn_where_asked(report, plt):
    figure, axes = plt.subplots(1, 4)
    assert plot_diagnosis(report, axes) is figure
    with pytest.raises(ValueError, match="axes holds 3 Axes"):
        plot_diagnosis(report, axes[:3])


def test_without_matplotlib_the_way_out_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[plot\]'"):
        report.plot()
