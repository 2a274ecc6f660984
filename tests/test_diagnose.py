"""`diagnose`: the measures against independent oracles, and every failure by its name."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.utils import Bunch

from modalsplit import DisentangledModalityEncoder, ModalityParts, diagnose
from modalsplit.datasets import make_modalities
from modalsplit.diagnosis._parts import Gaps, effective_rank, predicted_share, residual_share, translation_gaps
from modalsplit.diagnosis._rows import best_order, find_block, is_sorted, match_percentiles
from modalsplit.diagnosis._sharing import measure_sharing
from modalsplit.evaluate import disentanglement_score, retrieval_recall_at_k

N = 600


@pytest.fixture(scope="module")
def data():
    return make_modalities(N, n_features=(60, 40), random_state=0)


@pytest.fixture(scope="module")
def encoder(data):
    return fit(data.X_img, data.X_txt)


@pytest.fixture(scope="module")
def shuffle():
    return np.random.default_rng(0).permutation(N)


def fit(X, y, **parameters):
    parameters = {"n_components": 30, "objective": "cca", "random_state": 0, **parameters}
    return DisentangledModalityEncoder(**parameters).fit(X, y)


def diagnosed(encoder, X, y=None, **options):
    return diagnose(encoder, X, y, **{"n_permutations": 60, "max_rows": 400, "random_state": 0, **options})


def codes(report):
    return [finding.code for finding in report.findings if finding.severity != "good"]


def sentence(report, code):
    return next(finding.sentence for finding in report.findings if finding.code == code)


def value(report, metric, part="", modalities=""):
    frame = report.to_frame()
    chosen = (frame.metric == metric) & (frame.part == part) & (frame.modalities == modalities)
    (found,) = frame.loc[chosen, "value"]
    return found


class Parts:
    """An encoder that gives the parts it was told."""

    def __init__(self, common, specific, names=("image", "text", "audio"), **fitted):
        self.given = common, specific
        self.names = tuple(names[: len(common)])
        for name, known in fitted.items():
            setattr(self, name, known)

    def parts(self, X, y=None):
        views = tuple(X) if y is None else (X, y)
        imputed = np.column_stack([np.isnan(view).any(axis=1) for view in views])
        return ModalityParts(self.names, views, *(tuple(part) for part in self.given), imputed)


# Healthy fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("n", "kind", "noise"),
    [(400, "linear", 0.1), (400, "linear", 0.7), (600, "linear", 1.5), (600, "nonlinear", 0.1), (800, "raw", 0.1)],
)
def test_nothing_is_wrong_with_a_healthy_fit(n, kind, noise, seed):
    data = make_modalities(n, kind=kind, noise=noise, n_features=(60, 40), random_state=seed)
    X, y, fitted = data.X_img, data.X_txt, slice(0, 3 * n // 4)
    encoder = fit(X[fitted], y[fitted])
    on_fit = diagnosed(encoder, X[fitted], y[fitted], n_permutations=40)
    on_new = diagnosed(encoder, X[fitted.stop :], y[fitted.stop :], n_permutations=40)
    assert codes(on_fit) == []
    assert codes(on_new) == []
    assert on_fit.ok
    assert on_new.ok


def test_nothing_is_wrong_with_two_thousand_wide_rows():
    data = make_modalities(2000, random_state=3)
    encoder = fit(data.X_img, data.X_txt, n_components=64)
    report = diagnosed(encoder, data.X_img, data.X_txt, factors=data, n_permutations=40)
    assert codes(report) == []


@pytest.mark.slow
def test_nothing_is_wrong_with_learned_features():
    data = make_modalities(600, kind="quadratic", n_shared=2, n_private=2, n_features=(12, 10), random_state=0)
    encoder = fit(data.X_img, data.X_txt, objective="stable", n_components=6, hidden_units=32)
    assert encoder.common_rank_ == 2
    assert codes(diagnosed(encoder, data.X_img, data.X_txt)) == []


def test_a_healthy_fit_says_what_is_good(encoder, data):
    report = diagnosed(encoder, data.X_img, data.X_txt)
    good = [finding.code for finding in report.findings]
    assert good == ["rows-match", "no-leak", "no-collapse", "gaps-in-order", "rank-supported"]
    assert "the 8 common directions" in sentence(report, "rank-supported")


def test_sorted_rows_are_healthy(data):
    order = np.argsort(data.shared[:, 0])
    encoder = fit(data.X_img[order], data.X_txt[order])
    assert codes(diagnosed(encoder, data.X_img[order], data.X_txt[order])) == []


# Failures of the rows ---------------------------------------------------------------------------------


def test_rows_shuffled_after_fit_are_named(encoder, data, shuffle):
    report = diagnosed(encoder, data.X_img, data.X_txt[shuffle])
    assert codes(report) == ["shuffled-rows"]
    assert "Your y rows look shuffled against your x rows" in sentence(report, "shuffled-rows")
    assert not report.ok


def test_indexes_in_another_order_are_certain(data, shuffle):
    ids = [f"item{i}" for i in range(N)]
    X = pd.DataFrame(data.X_img, index=ids).add_prefix("image__")
    y = pd.DataFrame(data.X_txt, index=ids).add_prefix("text__")
    encoder = fit(X, y)
    report = diagnosed(encoder, X, y.iloc[shuffle])
    assert codes(report) == ["shuffled-rows"]
    assert "for certain" in sentence(report, "shuffled-rows")
    assert "text = text.loc[image.index]" in sentence(report, "shuffled-rows")
    assert codes(diagnosed(encoder, X, y)) == []


def test_indexes_with_other_ids_are_named(encoder, data):
    X = pd.DataFrame(data.X_img, index=np.arange(N) + 7)
    y = pd.DataFrame(data.X_txt, index=np.arange(N) + 8)
    assert codes(diagnosed(encoder, X.to_numpy(), data.X_txt)) == []
    assert "different-ids" in codes(diagnosed(encoder, X, y))


@pytest.mark.parametrize("offset", [3, -2, 250])
def test_shifted_rows_are_named_with_their_offset(encoder, data, offset):
    report = diagnosed(encoder, data.X_img, np.roll(data.X_txt, offset, axis=0))
    assert codes(report) == ["shifted-rows"]
    assert f"row i of x matches row i {'+' if offset > 0 else '-'} {abs(offset)} of y" in sentence(
        report, "shifted-rows"
    )


def test_reversed_rows_are_named(encoder, data):
    report = diagnosed(encoder, data.X_img, data.X_txt[::-1])
    assert codes(report) == ["reversed-rows"]
    assert "row n - 1 - i of y" in sentence(report, "reversed-rows")


def test_the_offset_is_found_where_items_are_missing(data):
    X = data.X_img.copy()
    X[::7] = np.nan
    encoder = fit(X, data.X_txt, missing="translate")
    report = diagnosed(encoder, X, np.roll(data.X_txt, 3, axis=0))
    assert "row i + 3 of y" in sentence(report, "shifted-rows")


def test_a_shuffled_block_is_named_with_its_rows(encoder, data):
    y = data.X_txt.copy()
    y[200:300] = np.random.default_rng(1).permutation(y[200:300])
    report = diagnosed(encoder, data.X_img, y)
    assert codes(report) == ["shuffled-block"]
    first, last = (int(word) for word in sentence(report, "shuffled-block").split() if word.isdigit())
    assert abs(first - 200) <= 6
    assert abs(last - 299) <= 6


def test_a_lost_row_shifts_the_rest(encoder, data):
    y = np.delete(data.X_txt, 350, axis=0)
    report = diagnosed(encoder, data.X_img, np.vstack([y, y[:1]]))
    assert codes(report) == ["shuffled-block"]
    assert "Rows 350 to 59" in sentence(report, "shuffled-block")
    assert "row i of x matches row i - 1 of y" in sentence(report, "shuffled-block")


def test_mismatched_rows_here_and_there_weaken_the_agreement(encoder, data):
    rng = np.random.default_rng(2)
    y, some = data.X_txt.copy(), rng.choice(N, 240, replace=False)
    y[some] = y[rng.permutation(some)]
    report = diagnosed(encoder, data.X_img, y)
    assert codes(report) == ["weak-agreement"]
    assert "as if 38% of the rows were mismatched" in sentence(report, "weak-agreement")


@pytest.fixture(scope="module")
def fitted_on_shuffled(data, shuffle):
    with pytest.warns(UserWarning, match="share nothing"):
        return fit(data.X_img, data.X_txt[shuffle])


def test_nothing_shared_is_either_independence_or_disorder(fitted_on_shuffled, data, shuffle):
    report = diagnosed(fitted_on_shuffled, data.X_img, data.X_txt[shuffle])
    assert codes(report) == ["nothing-shared"]
    assert "independent, or the rows of one are in another order" in sentence(report, "nothing-shared")
    assert "whose index holds the ids" in sentence(report, "nothing-shared")
    assert "no-leak" not in [finding.code for finding in report.findings]


def test_equal_ids_speak_for_independence(data, shuffle):
    ids = [f"item{i}" for i in range(N)]
    X, y = pd.DataFrame(data.X_img, index=ids), pd.DataFrame(data.X_txt[shuffle], index=ids)
    with pytest.warns(UserWarning, match="share nothing"):
        encoder = fit(X.add_prefix("image__"), y.add_prefix("text__"))
    report = diagnosed(encoder, X.add_prefix("image__"), y.add_prefix("text__"))
    assert "The ids agree row by row" in sentence(report, "nothing-shared")


def test_a_rank_forced_on_shuffled_rows_deceives_nobody(data, shuffle):
    encoder = fit(data.X_img, data.X_txt[shuffle], common_rank=6)
    assert codes(diagnosed(encoder, data.X_img, data.X_txt[shuffle])) == ["nothing-shared"]


def test_an_encoder_fitted_on_shuffled_rows_is_named_on_aligned_ones(fitted_on_shuffled, data):
    assert codes(diagnosed(fitted_on_shuffled, data.X_img, data.X_txt)) == ["fitted-on-other-rows"]


@pytest.mark.filterwarnings("ignore:The modalities share nothing")
@pytest.mark.parametrize(("move", "code"), [(3, "shifted-rows"), (None, "reversed-rows")])
def test_rows_out_of_step_at_fit_are_named(data, move, code):
    y = data.X_txt[::-1] if move is None else np.roll(data.X_txt, move, axis=0)
    assert codes(diagnosed(fit(data.X_img, y), data.X_img, y)) == [code]


@pytest.mark.filterwarnings("ignore:The modalities share nothing")
def test_neighbours_and_labels_tell_which_modality_is_shuffled(data, shuffle):
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], N // 3)
    X, y = (
        view + 2 * rng.normal(size=(3, view.shape[1]))[np.repeat(range(3), N // 3)] for view in (data.X_img, data.X_txt)
    )
    y = y[shuffle]
    report = diagnosed(fit(X, y), X, y, labels=labels)
    assert "this points to shuffled rows of y" in sentence(report, "nothing-shared")
    assert "so the rows of y are out of order" in sentence(report, "nothing-shared")


def test_columns_in_another_order_are_no_shuffled_rows(encoder, data):
    report = diagnosed(encoder, data.X_img, np.random.default_rng(0).permutation(data.X_txt, axis=1))
    assert codes(report) == ["other-features"]


# Failures of the data and of the split -----------------------------------------------------------------


@pytest.mark.parametrize("copy", ["exact", "affine", "noisy"])
def test_a_copied_modality_is_named(data, copy):
    rng = np.random.default_rng(0)
    X = data.X_img
    y = {"exact": X, "affine": X @ rng.normal(size=(60, 60)) + 3, "noisy": X + 0.01 * rng.normal(size=X.shape)}[copy]
    assert codes(diagnosed(fit(X, y), X, y)) == ["copied-modality"]


def test_a_contained_modality_is_named(data):
    report = diagnosed(fit(data.X_img, data.X_img[:, :20]), data.X_img, data.X_img[:, :20])
    assert codes(report) == ["contained-modality"]
    assert "y adds nothing" in sentence(report, "contained-modality")


@pytest.mark.filterwarnings("ignore:The modalities share nothing")
def test_independent_modalities_are_named(data):
    y = np.random.default_rng(0).normal(size=data.X_txt.shape)
    assert codes(diagnosed(fit(data.X_img, y), data.X_img, y)) == ["nothing-shared"]


@pytest.mark.filterwarnings("ignore:The modalities share nothing")
def test_non_linear_sharing_that_the_closed_form_misses_is_named():
    data = make_modalities(800, kind="quadratic", n_features=(60, 40), random_state=1)
    report = diagnosed(fit(data.X_img, data.X_txt), data.X_img, data.X_txt, factors=data, max_rows=800)
    assert codes(report) == ["nonlinear-sharing", "mixed-factors"]
    assert 'objective="stable"' in sentence(report, "nonlinear-sharing")


def test_a_narrow_common_part_is_named_and_leaks(data):
    report = diagnosed(fit(data.X_img, data.X_txt, common_rank=3), data.X_img, data.X_txt)
    assert codes(report) == ["leak", "common-too-narrow"]
    assert "3 directions, but 8 are shared" in sentence(report, "leak")


@pytest.mark.parametrize("new", [False, True])
def test_a_wide_common_part_is_named(data, new):
    fitted = slice(0, 450)
    encoder = fit(data.X_img[fitted], data.X_txt[fitted], common_rank=20)
    rows = slice(450, None) if new else fitted
    report = diagnosed(encoder, data.X_img[rows], data.X_txt[rows])
    assert codes(report) == ["common-too-wide"]
    assert "12 of the 20" in sentence(report, "common-too-wide")


def made_parts(data):
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, N, 8))
    pad = np.zeros((N, 8))
    common = [np.hstack([data.shared + e, pad]) for e in noise]
    specific = [np.hstack([pad, private]) for private in (data.private_img, data.private_txt)]
    return common, specific


def test_parts_from_anywhere_can_be_diagnosed(data):
    assert codes(diagnosed(Parts(*made_parts(data)), data.X_img, data.X_txt, factors=data)) == []


def test_a_leak_is_named(data):
    common, specific = made_parts(data)
    leaky = [s + np.hstack([np.zeros((N, 8)), 0.7 * data.shared]) for s in specific]
    report = diagnosed(Parts(common, leaky), data.X_img, data.X_txt, factors=data)
    assert {"leak", "mixed-factors"} <= set(codes(report))
    assert "shared factors from the specific parts" in sentence(report, "mixed-factors")


def test_a_leak_is_named_however_small_it_is(data):
    common, specific = made_parts(data)
    leaky = [s + np.hstack([1e-4 * data.shared, np.zeros((N, 8))]) for s in specific]
    report = diagnosed(Parts(common, leaky), data.X_img, data.X_txt)
    assert "leak" in codes(report)
    assert "of the other modality's features" in sentence(report, "leak")


def test_a_non_linear_leak_is_named():
    rng = np.random.default_rng(0)
    shared, secret, private = rng.normal(size=(N, 4)), rng.normal(size=(N, 2)), rng.normal(size=(2, N, 2))
    hidden = [secret, (secret**2 - 1) / np.sqrt(2)]
    common = [np.hstack([shared + 0.1 * rng.normal(size=shared.shape), np.zeros((N, 4))]) for _ in hidden]
    specific = [np.hstack([0 * shared, h, 0.3 * p]) for h, p in zip(hidden, private, strict=True)]
    views = [(c + s) @ rng.normal(size=(8, 20)) for c, s in zip(common, specific, strict=True)]
    assert codes(diagnosed(Parts(common, specific), *views)) == ["nonlinear-leak"]


def test_a_shrunken_common_part_is_named_as_overlapping(data):
    common, specific = made_parts(data)
    primitive = [c + s for c, s in zip(common, specific, strict=True)]
    halves = [0.5 * c for c in common]
    rest = [e - c for e, c in zip(primitive, halves, strict=True)]
    assert {"leak", "overlapping-parts"} <= set(codes(diagnosed(Parts(halves, rest), data.X_img, data.X_txt)))


def test_a_collapsed_rank_is_named(data):
    common, specific = made_parts(data)
    one = [c[:, :1] @ np.ones((1, 16)) + 1e-3 * c for c in common]
    report = diagnosed(Parts(one, specific), data.X_img, data.X_txt)
    assert "rank-collapse" in codes(report)
    assert "an effective rank of 1.0, while the features share 8 directions" in sentence(report, "rank-collapse")


def test_a_collapsed_primitive_is_named(data):
    common, specific = made_parts(data)
    report = diagnosed(
        Parts([c[:, :1] * [[1, 0]] for c in common], [s[:, 8:9] * [[0, 1]] for s in specific]), data.X_img, data.X_txt
    )
    assert "The primitive of image has collapsed" in sentence(report, "rank-collapse")


@pytest.mark.parametrize(("scale_common", "scale_specific"), [(1e-3, 1e-3), (1e-3, 1.0)])
def test_a_collapsed_scale_is_named(data, scale_common, scale_specific):
    common, specific = made_parts(data)
    shrunk = [scale_common * c for c in common], [scale_specific * s for s in specific]
    report = diagnosed(Parts(*shrunk), data.X_img, data.X_txt)
    assert codes(report) == ["scale-collapse"] * 2


def test_units_of_the_features_are_no_collapse(data):
    encoder = fit(1e5 * data.X_img, 1e-5 * data.X_txt)
    assert codes(diagnosed(encoder, 1e5 * data.X_img, 1e-5 * data.X_txt)) == []


def test_parts_that_no_map_translates_are_in_the_wrong_order(data):
    common, specific = made_parts(data)
    # The specific parts hold c once more: the map makes 2 c of it, which is the primitive, and 4 c of the primitive.
    worse = [s + c for c, s in zip(common, specific, strict=True)]
    assert "wrong-order" in codes(diagnosed(Parts(common, worse), data.X_img, data.X_txt))


def history(*gaps):
    return [dict(zip(("common_gap", "primitive_gap", "specific_gap"), gap, strict=True)) for gap in gaps]


def test_the_order_in_training_is_judged_by_its_end(data):
    good = Parts(*made_parts(data), history_=history((3, 2, 4), (1, 2, 3)))
    report = diagnosed(good, data.X_img, data.X_txt)
    assert codes(report) == []
    assert report.history[1] == Gaps(1, 2, 3)
    assert value(report, "epochs with L_c <= L_p < L_s") == 0.5
    bad = Parts(*made_parts(data), history_=history((1, 2, 3), (3, 2, 4)))
    report = diagnosed(bad, data.X_img, data.X_txt)
    assert codes(report) == ["wrong-order-in-training"]
    assert "it held in 50% of the epochs" in sentence(report, "wrong-order-in-training")


def test_common_parts_that_training_did_not_align_are_named(data):
    encoder = fit(data.X_img, data.X_txt, objective="de", max_epochs=3)
    assert "unaligned-common" in codes(diagnosed(encoder, data.X_img, data.X_txt))


# Three modalities -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(0)
    shared, private = rng.normal(size=(N, 5)), rng.normal(size=(3, N, 4))
    views = [
        np.hstack([shared, p]) @ rng.normal(size=(9, width)) + 0.1 * rng.normal(size=(N, width))
        for p, width in zip(private, (40, 30, 20), strict=True)
    ]
    pad = np.zeros((N, 5))
    common = [np.hstack([shared + 0.1 * rng.normal(size=shared.shape), pad[:, :4]]) for _ in range(3)]
    return views, common, [np.hstack([pad, p]) for p in private], Bunch(shared=shared, private=private)


def test_three_modalities_give_three_pairs(three):
    views, common, specific, factors = three
    report = diagnosed(Parts(common, specific), views, factors=factors)
    assert codes(report) == []
    assert list(report.correlations) == ["image ~ text", "image ~ audio", "text ~ audio"]
    assert value(report, "retrieval recall@1", "common", "audio → text") > 0.9


def test_the_one_shuffled_modality_of_three_is_named(three, shuffle):
    views, common, specific, _ = three
    mixed = [[*block[:2], block[2][shuffle]] for block in (views, common, specific)]
    report = diagnosed(Parts(*mixed[1:]), mixed[0])
    assert codes(report) == ["shuffled-rows"]
    assert "Your audio rows look shuffled against your image rows" in sentence(report, "shuffled-rows")


def test_an_encoder_of_three_modalities_is_healthy(three):
    columns = [f"{name}__{i}" for name, width in (("a", 40), ("b", 30), ("c", 20)) for i in range(width)]
    X = pd.DataFrame(np.hstack(three[0]), columns=columns)
    encoder = DisentangledModalityEncoder(20, objective="cca", random_state=0).fit(X)
    report = diagnosed(encoder, X)
    assert report.names == ("a", "b", "c")
    assert codes(report) == []


# Measures against oracles -----------------------------------------------------------------------------


def test_effective_rank_counts_equal_directions():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 5)))[0]
    assert effective_rank(q) == pytest.approx(5)
    assert effective_rank(q * [1, 1, 0, 0, 0]) == pytest.approx(2)
    assert effective_rank(np.zeros((50, 5))) == 0
    assert 1 < effective_rank(q * [1, 0.1, 0, 0, 0]) < 1.1


def test_residual_share_on_rows_of_fit_is_that_of_the_encoder(encoder, data):
    report = diagnosed(encoder, data.X_img, data.X_txt)
    assert value(report, "residual share", "specific", "x ~ y") == pytest.approx(encoder.residual_share_, abs=1e-6)


def test_residual_share_without_covariance_is_nan():
    rng = np.random.default_rng(0)
    values = [residual_share(tuple(rng.normal(size=(2, 30, 3))), tuple(rng.normal(size=(2, 30, 3)))) for _ in range(20)]
    assert 0 < np.isnan(values).sum() < 20


def test_predicted_share_is_held_out_r2(data):
    train, test = np.arange(400), np.arange(400, N)
    found = predicted_share(data.shared, data.X_img, train, test)
    ridge = Ridge(alpha=0.01).fit(data.shared[train], data.X_img[train])
    expected = r2_score(data.X_img[test], ridge.predict(data.shared[test]), multioutput="variance_weighted")
    assert found == pytest.approx(expected, abs=0.01)
    assert predicted_share(1e-7 * data.shared, data.X_img, train, test) == pytest.approx(found)
    assert predicted_share(np.zeros((N, 2)), data.X_img, train, test) == 0


def test_an_exact_split_translates_common_parts_and_primitives_alike(encoder, data):
    parts = encoder.parts(data.X_img, data.X_txt)
    primitive = tuple(c + s for c, s in zip(parts.common, parts.specific, strict=True))
    gaps = translation_gaps(parts.common, parts.specific, primitive, np.arange(400), np.arange(400, N))
    assert gaps.common == pytest.approx(gaps.primitive)
    assert gaps.specific == pytest.approx(1, abs=0.02)
    assert gaps.are_ordered()


def test_sharing_counts_the_planted_directions():
    rng = np.random.RandomState(0)
    shared = rng.normal(size=(500, 3))
    a, b = (np.hstack([shared + 0.3 * rng.normal(size=(500, 3)), rng.normal(size=(500, 9))]) for _ in range(2))
    found = measure_sharing(a, b, 50, rng)
    assert found.n_strong == 3
    assert found.p_value == pytest.approx(1 / 51)
    np.testing.assert_allclose(found.correlations[:3], 1 / 1.09, atol=0.04)
    assert found.level == pytest.approx(1.645 / np.sqrt(500), abs=0.02)


def test_retrieval_and_shares_are_those_of_the_parts(encoder, data):
    report = diagnosed(encoder, data.X_img, data.X_txt, max_rows=N)
    parts = encoder.parts(data.X_img, data.X_txt)
    expected = retrieval_recall_at_k(*parts.specific, 10)
    assert value(report, "retrieval recall@10", "specific", "x → y") == pytest.approx(expected)
    whole = (parts.common[1] + parts.specific[1]).var(axis=0).sum()
    assert value(report, "share of variance", "common", "y") == pytest.approx(parts.common[1].var(axis=0).sum() / whole)


def test_factors_give_the_disentanglement_score(encoder, data):
    private = (data.private_img, data.private_txt)
    parts = encoder.parts(data.X_img, data.X_txt)
    expected = disentanglement_score(parts.common, parts.specific, data.shared, private, random_state=0)
    for factors in ((data.shared, private), {"shared": data.shared, "private": private}, data):
        report = diagnosed(encoder, data.X_img, data.X_txt, factors=factors, n_permutations=1)
        assert value(report, "D_strict") == pytest.approx(expected.D_strict, abs=0.02)
        assert value(report, "sS_strict") == pytest.approx(expected.sS_strict, abs=0.02)


def test_labels_are_read_from_the_part_that_shows_them(encoder, data):
    labels = np.where(data.private_img[:, 0] > 0, "yes", "no")
    report = diagnosed(encoder, data.X_img, data.X_txt, labels=labels, n_permutations=1)
    assert value(report, "linear probe of labels: accuracy", "specific") > 0.85
    assert value(report, "linear probe of labels: accuracy", "common") < 0.62
    assert value(report, "neighbours probe of labels: accuracy", "specific") > 0.6
    oracle = LogisticRegression().fit(data.X_img[:400], labels[:400]).score(data.X_img[400:], labels[400:])
    assert value(report, "linear probe of labels: accuracy", "raw x") == pytest.approx(oracle, abs=0.08)


def test_best_order_needs_a_match_that_stands_out():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300, 4))
    assert best_order(a, b) is None
    assert best_order(a, np.roll(a, 5, axis=0)) == (5, False)
    assert (
        best_order(a, np.roll(a[::-1], 2, axis=0)) == (-2, True)
        or best_order(a, np.roll(a[::-1], 2, axis=0)).is_reversed
    )


def test_match_percentiles_count_better_matches():
    rng = np.random.RandomState(0)
    a = rng.normal(size=(80, 3))
    b = a + rng.normal(size=a.shape)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    cosines = unit[0] @ unit[1].T
    own = np.diag(cosines)[:, None]
    expected = np.mean((cosines < own) + 0.5 * (cosines == own), axis=1)
    np.testing.assert_allclose(match_percentiles(a, b, rng), expected, atol=0.5 / 80)


def test_no_block_is_found_in_rows_that_match_alike():
    rng = np.random.RandomState(0)
    assert find_block(np.ones(300), 50, rng) is None
    assert all(find_block(rng.uniform(0.4, 1, size=300), 50, rng) is None for _ in range(10))


def test_only_rows_in_a_meaningful_order_are_sorted():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(400, 5))
    assert not is_sorted(scores)
    assert is_sorted(scores[np.argsort(scores[:, 0])])


# The report -------------------------------------------------------------------------------------------


def test_the_report_is_readable(encoder, data, shuffle):
    report = diagnosed(encoder, data.X_img, data.X_txt[shuffle])
    text = str(report)
    assert text.startswith("Diagnosis of x, y on 600 of 600 items: 1 problem")
    assert "problem: shuffled-rows" in text
    assert max(map(len, text.splitlines())) <= 110
    assert text == report.to_text()
    assert "<b>problem: shuffled-rows</b>" in report._repr_html_()
    assert "→" in report._repr_html_()
    assert str(report.findings[0]).startswith("problem: shuffled-rows\n")


def test_the_frame_is_tidy(encoder, data):
    frame = diagnosed(encoder, data.X_img, data.X_txt, n_permutations=5).to_frame()
    assert list(frame) == ["metric", "part", "modalities", "value", "reference", "p_value", "better"]
    assert not frame.duplicated(["metric", "part", "modalities"]).any()
    assert set(frame.better) == {"higher", "lower", ""}
    chance = frame[frame.metric == "retrieval recall@10"].reference
    np.testing.assert_allclose(chance, 10 / 400)
    assert frame.p_value.dropna().between(1 / 6, 1).all()


def test_the_same_seed_gives_the_same_report(encoder, data):
    first, second = (diagnosed(encoder, data.X_img, data.X_txt, n_permutations=10) for _ in range(2))
    assert first.to_text() == second.to_text()
    assert first.findings == second.findings


def test_incomplete_items_are_left_out(data):
    X = data.X_img.copy()
    X[:100] = np.nan
    encoder = fit(X, data.X_txt, missing="nan")
    report = diagnosed(encoder, X, data.X_txt, factors=data)
    assert (report.n_items, report.n_complete) == (N, 500)
    assert codes(report) == []


def test_single_precision_gives_the_same_verdict(data):
    X, y = data.X_img.astype(np.float32), data.X_txt.astype(np.float32)
    assert codes(diagnosed(fit(X, y), X, y)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a"] * 10}, "labels have the shape"),
        ({"labels": ["a"] * N}, "one class only"),
        ({"factors": {"shared": np.ones((N, 1))}}, "needs 'shared' and 'private'"),
        ({"factors": 3}, "factors is a int"),
        ({"factors": (np.ones((3, 1)), [])}, "factors: shared have the shape"),
        ({"n_permutations": 0}, "n_permutations=0"),
        ({"max_rows": 5}, "max_rows=5"),
    ],
)
def test_bad_options_are_refused(encoder, data, options, message):
    with pytest.raises(ValueError, match=message):
        diagnosed(encoder, data.X_img, data.X_txt, **{"n_permutations": 1, **options})


def test_data_that_cannot_be_judged_are_refused(encoder, data):
    with pytest.raises(ValueError, match="The y modality is not given"):
        diagnosed(encoder, data.X_img)
    with pytest.raises(ValueError, match="10 of 10 items have all modalities"):
        diagnosed(encoder, data.X_img[:10], data.X_txt[:10])
    with pytest.raises(ValueError, match="The x modality is constant"):
        diagnosed(encoder, np.ones_like(data.X_img), data.X_txt)


def test_an_encoder_without_fitted_attributes_is_enough(data):
    bare = SimpleNamespace(parts=Parts(*made_parts(data)).parts)
    assert diagnosed(bare, data.X_img, data.X_txt).ok


def test_a_copy_with_more_columns_than_components_is_named():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, 128)) * np.arange(1, 129) ** -0.5
    encoder = DisentangledModalityEncoder(40, objective="cca", random_state=0).fit(X, 2 * X + 1)
    report = diagnose(encoder, X, 2 * X + 1, n_permutations=50, random_state=0)
    assert report.findings[0].code == "copied-modality"
