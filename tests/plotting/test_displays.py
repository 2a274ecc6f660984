"""Figures: what they show, where they draw, and what they say when they cannot."""

import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.pipeline import Pipeline

from modalsplit import AttentiveBPR, DisentangledModalityEncoder, Interactions, diagnose
from modalsplit.baselines import Popularity
from modalsplit.datasets import make_modalities
from modalsplit.plotting import (
    AttentionDisplay,
    ContributionDisplay,
    DiagnosisDisplay,
    PartsMapDisplay,
    SparsityDisplay,
    TrainingDisplay,
)

N = 120
IDS = [f"i{row}" for row in range(N)]


@pytest.fixture(autouse=True)
def plt():
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    data = make_modalities(N, n_shared=3, n_private=3, n_features=(12, 10), random_state=0)
    names = [*(f"image__{i}" for i in range(12)), *(f"text__{i}" for i in range(10))]
    return pd.DataFrame(np.hstack([data.X_img, data.X_txt]), index=IDS, columns=names)


@pytest.fixture(scope="module")
def taken():
    rng = np.random.default_rng(0)
    return Interactions((rng.random((N, 30)) < 0.15).astype(np.float32), item_ids=IDS)


@pytest.fixture(scope="module")
def encoder(frame):
    return DisentangledModalityEncoder(6, objective="con", max_epochs=4, random_state=0).fit(frame)


@pytest.fixture(scope="module")
def pipeline(frame, taken):
    steps = [
        ("disentangle", DisentangledModalityEncoder(6, objective="cca", random_state=0)),
        ("recommend", AttentiveBPR(6, max_epochs=3, random_state=0)),
    ]
    return Pipeline(steps).set_output(transform="pandas").fit(frame, taken)


@pytest.fixture(scope="module")
def report(frame):
    closed = DisentangledModalityEncoder(8, objective="cca", random_state=0).fit(frame)
    return diagnose(closed, frame, n_permutations=20, random_state=0)


def heights(axis):
    return [bar.get_height() for bar in axis.patches]


def widths(axis):
    return [bar.get_width() for bar in axis.patches]


# Training -----------------------------------------------------------------------------------------------


def test_training_shows_the_three_gaps(encoder):
    display = TrainingDisplay.from_estimator(encoder)
    assert [line.get_label().partition(",")[0] for line in display.ax_.lines] == ["L_c", "L_p", "L_s"]
    recorded = [record["specific_gap"] for record in encoder.history_]
    np.testing.assert_allclose(display.ax_.lines[2].get_ydata(), recorded)


def test_epochs_out_of_order_are_grey():
    history = [
        {"common_gap": 2.0, "primitive_gap": 1.0, "specific_gap": 3.0},
        {"common_gap": 1.0, "primitive_gap": 1.0, "specific_gap": 1.0},
        {"common_gap": 1.0, "primitive_gap": 1.0, "specific_gap": 3.0},
    ]
    display = TrainingDisplay(history).plot()
    assert display.in_order_.tolist() == [False, False, True]
    assert [patch.get_x() for patch in display.ax_.patches] == [0.5, 1.5]
    assert "in 1 of 3 epochs" in display.ax_.get_title()


def test_without_gaps_all_records_are_drawn(pipeline):
    display = TrainingDisplay.from_estimator(pipeline[-1])
    assert display.in_order_ is None
    assert [line.get_label() for line in display.ax_.lines] == [
        name.replace("_", " ") for name in pipeline[-1].history_[0]
    ]


def test_records_can_be_chosen(encoder):
    display = TrainingDisplay.from_estimator(encoder, records=["loss"])
    assert [line.get_label() for line in display.ax_.lines] == ["loss"]
    with pytest.raises(ValueError, match="no record 'lss'; there are"):
        display.plot(records=["lss"])


def test_an_encoder_without_history_is_refused():
    with pytest.raises(ValueError, match="has no history"):
        TrainingDisplay.from_estimator(SimpleNamespace(history_=[]))
    with pytest.raises(ValueError, match="is empty"):
        TrainingDisplay([])


# Attention ----------------------------------------------------------------------------------------------


def test_attention_is_the_mean_over_items(pipeline, frame):
    display = AttentionDisplay.from_estimator(pipeline, frame)
    weights = pipeline[-1].attention_weights(pipeline[:-1].transform(frame))
    np.testing.assert_allclose(widths(display.ax_), weights.mean(axis=0))
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [name.replace("_", " ") for name in pipeline[-1].part_names_]


def test_items_without_parts_do_not_count():
    display = AttentionDisplay([[0.5, 0.5], [0.0, 0.0], [1.0, 0.0]], ["a", "b"])
    assert display.n_items_ == 2
    assert display.shares_.tolist() == [0.75, 0.25]


def test_attention_that_is_not_there_is_refused(frame, taken):
    with pytest.raises(ValueError, match="Popularity gives no attention"):
        AttentionDisplay.from_estimator(Popularity().fit(frame, taken), frame)
    with pytest.raises(ValueError, match="2 part names"):
        AttentionDisplay(np.ones((3, 4)), ["a", "b"])
    with pytest.raises(ValueError, match="No item has a part"):
        AttentionDisplay(np.zeros((3, 2)), ["a", "b"])


# One recommendation -------------------------------------------------------------------------------------


def test_contributions_end_in_the_score(pipeline):
    user = pipeline[-1].user_ids_[0]
    ranking = pipeline[-1].recommend(user, 1)
    display = ContributionDisplay.from_estimator(pipeline, user, ranking.ids[0], title="costs $5 or $6")
    bars = widths(display.ax_)
    assert bars[-1] == pytest.approx(sum(bars[:-1]))
    assert bars[-1] == pytest.approx(float(ranking.scores[0]), abs=1e-5)
    display.figure_.draw_without_rendering()  # dollars start no formula


def test_a_recommender_that_does_not_explain_is_refused(frame, taken):
    with pytest.raises(ValueError, match="Popularity does not explain"):
        ContributionDisplay.from_estimator(Popularity().fit(frame, taken), 0, IDS[0])
    with pytest.raises(ValueError, match="finite"):
        ContributionDisplay(pd.Series({"item": np.nan}))


# Map of parts -------------------------------------------------------------------------------------------


def test_the_map_is_of_the_part_asked_for(encoder, frame):
    display = PartsMapDisplay.from_estimator(encoder, frame, part="text_specific")
    centred = encoder.parts(frame).specific[1]
    centred = centred - centred.mean(axis=0)
    kept = np.square(display.coordinates).sum() / np.square(centred).sum()
    singular = np.square(np.linalg.svd(centred, compute_uv=False))
    assert kept == pytest.approx(singular[:2].sum() / singular.sum(), rel=1e-4)
    with pytest.raises(ValueError, match="no part 'sound_common'; there are"):
        PartsMapDisplay.from_estimator(encoder, frame, part="sound_common")


def test_items_that_lack_the_part_are_left_out(frame):
    lacking = DisentangledModalityEncoder(6, objective="cca", missing="translate").fit(frame)
    some = frame.copy()
    some.iloc[:7, :12] = np.nan
    display = PartsMapDisplay.from_estimator(lacking, some, part="image_specific")
    assert np.isnan(display.coordinates).any(axis=1).nonzero()[0].tolist() == list(range(7))
    assert len(display.ax_.collections[0].get_offsets()) == N - 7
    assert len(PartsMapDisplay.from_estimator(lacking, some).ax_.collections[0].get_offsets()) == N


def test_pictures_do_not_cover_each_other(plt):
    from matplotlib.offsetbox import AnnotationBbox

    places = np.random.default_rng(0).normal(size=(200, 2))
    pictures = [Image.new("RGB", (40, 30), "red")] * 200
    pictures[0] = "nowhere.png"
    display = PartsMapDisplay(places).plot(images=pictures)
    assert 10 < display.n_pictures_ < 200
    display.figure_.canvas.draw()
    boxes = [one.get_window_extent() for one in display.ax_.artists if isinstance(one, AnnotationBbox)]
    assert len(boxes) == display.n_pictures_
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[i + 1 :])


def test_the_most_frequent_kinds_have_colours():
    labels = ["a"] * 5 + ["b"] * 4 + list("cdefghij") + [None]
    display = PartsMapDisplay(np.random.default_rng(0).normal(size=(len(labels), 2))).plot(labels=labels)
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend[:2] == ["a (5)", "b (4)"]
    assert legend[-1] == "others (5)"
    assert sum(len(points.get_offsets()) for points in display.ax_.collections) == len(labels)


@pytest.mark.parametrize("n", [3, 20_000])
def test_maps_of_few_and_of_many(n):
    display = PartsMapDisplay.from_vectors(np.random.default_rng(0).normal(size=(n, 5)))
    display.figure_.draw_without_rendering()


def test_what_cannot_be_mapped_is_refused():
    with pytest.raises(ValueError, match="three items or more, but 2"):
        PartsMapDisplay.from_vectors(np.ones((2, 5)))
    with pytest.raises(ValueError, match='"pca" or "umap"'):
        PartsMapDisplay.from_vectors(np.eye(5), method="tsne")
    with pytest.raises(ValueError, match="images holds 1 values for 4 items"):
        PartsMapDisplay(np.ones((4, 2))).plot(images=["a"])
    with pytest.raises(ValueError, match=r"must have \(n_items, 2\)"):
        PartsMapDisplay(np.ones((4, 3)))


def test_a_part_without_variation_is_a_point_and_says_so():
    display = PartsMapDisplay.from_vectors(np.ones((5, 5)))
    assert display.ax_.get_xlabel() == "all items are alike here"
    assert not display.coordinates.any()
    assert PartsMapDisplay.from_vectors(np.arange(5.0)[:, None]).ax_.get_xlabel() == "the only column"


def test_umap_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[umap\]'"):
        PartsMapDisplay.from_vectors(np.eye(5), method="umap")


@pytest.mark.filterwarnings("ignore")
def test_umap_keeps_neighbours():
    pytest.importorskip("umap", reason="umap-learn is not installed")
    rng = np.random.default_rng(0)
    vectors = np.vstack([rng.normal(size=(30, 5)), rng.normal(size=(30, 5)) + 20])
    display = PartsMapDisplay.from_vectors(vectors, method="umap", random_state=0)
    first, second = display.coordinates[:30], display.coordinates[30:]
    apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert apart > 3 * first.std()


# Sparsity -----------------------------------------------------------------------------------------------


def test_sparsity_fits_every_method_on_every_share(pipeline, frame, taken):
    methods = {"popularity": Popularity(), "pipeline": pipeline}
    display = SparsityDisplay.from_estimators(methods, frame, taken, shares=(0.3, 1.0), seeds=(0, 1))
    assert display.summary_["n_seeds"].tolist() == [2] * 4
    assert display.results["value"].between(0, 1).all()
    for line, method in zip(display.ax_.lines, methods, strict=True):
        assert line.get_label() == method
        np.testing.assert_allclose(line.get_ydata(), display.summary_.xs(method, level="method")["mean"])
    assert display.ax_.get_ylabel() == "NDCG@10"
    again = SparsityDisplay.from_estimators(methods, frame, taken, shares=(0.3,), seeds=(1,))
    old = display.results.query("share == 0.3 and seed == 1")["value"]
    np.testing.assert_allclose(again.results["value"], old)


def test_one_seed_has_no_band():
    results = pd.DataFrame({"method": "a", "share": [1.0, 0.5], "seed": 0, "value": [0.4, 0.2]})
    display = SparsityDisplay(results, "recall@20").plot()
    assert not display.ax_.collections
    assert display.ax_.lines[0].get_xdata().tolist() == [0.5, 1.0]


def test_results_that_cannot_be_drawn_are_refused(frame, taken):
    good = pd.DataFrame({"method": ["a"], "share": [1.0], "seed": [0], "value": [0.4]})
    with pytest.raises(ValueError, match="no column 'seed'"):
        SparsityDisplay(good.drop(columns="seed"))
    with pytest.raises(ValueError, match="no rows"):
        SparsityDisplay(good[:0])
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        SparsityDisplay(good.assign(share=50))
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        SparsityDisplay.from_estimators({"popularity": Popularity()}, frame, taken, shares=(0, 1))
    with pytest.raises(ValueError, match="one estimator"):
        SparsityDisplay.from_estimators({}, frame, taken)


# Diagnosis ----------------------------------------------------------------------------------------------


def test_a_diagnosis_has_four_panels_with_its_numbers(report, tmp_path):
    figure = report.plot()
    shared, parts, ranks, gaps = figure.axes
    np.testing.assert_allclose(shared.lines[0].get_ydata(), report.correlations["image ~ text"])
    np.testing.assert_allclose(shared.lines[1].get_ydata(), report.levels["image ~ text"])
    table = report.to_frame()
    expected = table[table.metric == "retrieval recall@1"].groupby("part").value.max()
    assert heights(parts)[1] == pytest.approx(expected["common"])
    assert heights(parts)[4] == pytest.approx(expected["specific"])
    np.testing.assert_allclose(sorted(heights(ranks)), sorted(table[table.metric == "effective rank"].value))
    np.testing.assert_allclose(heights(gaps), table[table.metric == "translation error"].value)
    figure.savefig(tmp_path / "diagnosis.png")


def test_text_in_the_panels_does_not_overlap(report):
    figure = DiagnosisDisplay.from_report(report).figure_
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent() for axis in figure.axes for text in (axis.title, axis.xaxis.label, axis.yaxis.label)
    ]
    boxes = [box for box in boxes if box.width > 0]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_a_recorded_history_takes_the_place_of_the_gaps(encoder, frame):
    report = diagnose(encoder, frame, n_permutations=5, random_state=0)
    axis = DiagnosisDisplay(report).plot().axes_[3]
    assert axis.get_title() == "Gaps during training"
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [gaps.common for gaps in report.history])


# All ----------------------------------------------------------------------------------------------------


def test_figures_are_drawn_where_asked(report, encoder, frame, pipeline, plt):
    figure, axes = plt.subplots(1, 4)
    assert DiagnosisDisplay(report).plot(axes).figure_ is figure
    with pytest.raises(ValueError, match="axes holds 3 Axes"):
        DiagnosisDisplay(report).plot(axes[:3])
    ax = axes[0]
    assert TrainingDisplay.from_estimator(encoder, ax=ax).ax_ is ax
    assert AttentionDisplay.from_estimator(pipeline, frame, ax=ax).ax_ is ax
    assert PartsMapDisplay.from_estimator(encoder, frame, ax=ax).ax_ is ax
    assert ContributionDisplay(pd.Series({"item": 1.0})).plot(ax).figure_ is figure


def test_without_matplotlib_the_way_out_is_named(report, encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (report.plot, lambda: TrainingDisplay.from_estimator(encoder)):
        with pytest.raises(ImportError, match=r"pip install 'modalsplit\[plot\]'"):
            draw()
