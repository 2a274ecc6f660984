"""What every recommender does with ids, shapes and bad input, shown on the simplest one."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.exceptions import NotFittedError

from modalsplit import Interactions
from modalsplit.baselines import EASE
from modalsplit.recommend import Recommender


class Popular(Recommender):
    """Rank by how many took an item; with content, by the first feature."""

    def fit(self, X, y, *, item_ids=None):
        self._remember(X, y, item_ids)
        self.counts_ = np.asarray(self.interactions_.sum(axis=1), dtype=float)
        return self

    def _score_users(self, users):
        return np.tile(self.counts_, (len(users), 1))


@pytest.fixture(name="X")
def content():
    return pd.DataFrame({"f": [1.0, 2.0, 3.0, 4.0]}, index=list("abcd"))


@pytest.fixture(name="Y")
def interactions(X):
    taken = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    return Interactions(taken, item_ids=X.index, user_ids=["ann", "bob", "cid"])


FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr"]


@pytest.mark.parametrize("form", [*FORMATS, "dense", "bool", "matrix", "frame", "list"])
def test_interactions_come_in_any_format(X, Y, form):
    dense = Y.toarray()
    forms = {
        "dense": dense,
        "bool": dense > 0,
        "matrix": sparse.csr_matrix(dense),
        "frame": pd.DataFrame(dense, index=X.index, columns=["ann", "bob", "cid"]),
        "list": dense.tolist(),
    }
    y = forms[form] if form in forms else sparse.csr_array(dense).asformat(form)
    np.testing.assert_array_equal(Popular().fit(X, y).interactions_.toarray(), dense)


def test_zeros_and_negative_values_are_no_interactions(X):
    model = Popular().fit(X, np.array([[1.5, -1], [0, 2], [0, 0], [-3, 0]]))
    np.testing.assert_array_equal(model.interactions_.toarray(), [[1, 0], [0, 1], [0, 0], [0, 0]])


def test_ids_come_from_the_interactions_or_the_frame(X, Y):
    for y in (Y, pd.DataFrame(Y.toarray(), index=X.index, columns=Y.user_ids)):
        model = Popular().fit(X, y)
        assert model.user_ids_.tolist() == ["ann", "bob", "cid"]
        assert model.item_ids_.tolist() == list("abcd")


def test_without_ids_positions_stand_in(Y):
    model = Popular().fit(np.ones((4, 2)), Y.toarray())
    assert model.item_ids_.tolist() == [0, 1, 2, 3]
    assert model.user_ids_.tolist() == [0, 1, 2]
    assert model.seen(np.ones((4, 2))) is None


def test_rows_are_recognised_by_index_in_any_order(X, Y):
    model = Popular().fit(X, Y)
    np.testing.assert_array_equal(model.predict(X.loc[["d", "b"]])[:, 0], [2, 1])
    np.testing.assert_array_equal(model.seen(X.loc[["d", "b"]]).toarray(), [[1, 1, 0], [1, 0, 0]])


def test_rows_are_recognised_by_item_ids(X, Y):
    model = Popular().fit(X.to_numpy(), Y.toarray(), item_ids=[10, 11, 12, 13])
    scores = model.decision_function(X.to_numpy()[:2], item_ids=[13, 11])
    np.testing.assert_array_equal(scores[:, 0], [2, 1])


def test_an_integer_index_holds_ids_where_the_interactions_confirm_them():
    frame = pd.DataFrame({"f": [0.0, 0.0, 0.0]}, index=[7, 5, 9])
    y = Interactions([[1.0], [0.0], [1.0]], item_ids=[7, 5, 9])
    model = Popular().fit(frame, y)
    np.testing.assert_array_equal(model.predict(frame.loc[[5, 9]])[:, 0], [0, 1])
    assert model.seen(frame.reset_index(drop=True)) is None


def test_an_integer_index_is_positions_otherwise(Y):
    frame = pd.DataFrame({"f": np.zeros(4)})
    assert Popular().fit(frame, Y.toarray()).seen(frame) is None


def test_an_unknown_item_ranks_last_unless_the_model_knows_content(X, Y):
    model = Popular().fit(X, Y)
    new = pd.DataFrame({"f": [1.0, 1.0]}, index=["new", "a"])
    np.testing.assert_array_equal(model.predict(new)[:, 0], [0, 2])
    assert not model.seen(new).toarray()[0].any()


def test_one_user_gives_one_dimension(X):
    model = Popular().fit(X, np.array([1, 0, 0, 1]))
    assert model.predict(X).shape == (4,)
    assert 0 < model.score(X, np.array([0, 1, 0, 0])) < 1


def test_recommend_ranks_what_is_left(X, Y):
    ids, scores = Popular().fit(X, Y).recommend(["bob", "cid"], k=2)
    assert ids.tolist() == [["b", "c"], ["a", "d"]]
    assert scores.tolist() == [[1, 0], [2, 2]]


def test_recommend_one_user_gives_one_dimension(X, Y):
    assert Popular().fit(X, Y).recommend("cid", k=3).ids.tolist() == ["a", "d", "b"]


def test_recommend_all_users_by_default(X, Y):
    assert Popular().fit(X, Y).recommend(k=1).ids.shape == (3, 1)


def test_a_user_with_too_few_items_left_gets_the_seen_ones_last(X, Y):
    ids, scores = Popular().fit(X, Y).recommend("ann", k=3)
    assert ids[0] == "c"
    assert scores.tolist() == [0, -np.inf, -np.inf]


def test_seen_items_can_be_kept(X, Y):
    assert Popular().fit(X, Y).recommend("ann", k=2, exclude_seen=False).ids.tolist() == ["a", "d"]


def test_similar_items_are_those_with_the_same_users(X, Y):
    ids, scores = Popular().fit(X, Y).similar_items(["a"], k=3)
    assert ids[0, 0] == "d"
    assert scores[0, 0] == pytest.approx(1)
    assert "a" not in ids
    assert Popular().fit(X, Y).similar_items("a", k=1).ids.tolist() == ["d"]


def test_score_is_ndcg_over_users_with_a_positive(X, Y):
    model = Popular().fit(X, Y)
    held_out = np.zeros((4, 3))
    held_out[0, 2] = 1  # cid: a ties with d for the first place
    assert model.score(X, held_out) == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_blocks_of_users_do_not_change_the_ranking(X, Y, monkeypatch):
    whole = Popular().fit(X, Y).recommend(k=2)
    monkeypatch.setattr("modalsplit.recommend._base.BLOCK_BYTES", 1)
    blocked = Popular().fit(X, Y).recommend(k=2)
    np.testing.assert_array_equal(whole.ids, blocked.ids)


BAD_FITS = {
    "rows differ": (lambda X, Y: (X.iloc[:2], Y.toarray()), r"X has 2 rows, but y has shape \(4, 3\)"),
    "transposed": (lambda X, Y: (X, Y.toarray().T), r"looks transposed: pass y\.T"),
    "empty": (lambda X, Y: (X, np.zeros((4, 3))), "no interactions"),
    "none": (lambda X, Y: (X, None), "requires y to be passed, but the target y is None"),
    "strings": (lambda X, Y: (X, np.full((4, 3), "yes")), "must be numeric"),
    "nan in y": (lambda X, Y: (X, np.full((4, 3), np.nan)), "NaN"),
    "inf in y": (lambda X, Y: (X, np.full((4, 3), np.inf)), "infinity"),
    "nan in sparse y": (lambda X, Y: (X, sparse.csr_array(np.full((4, 3), np.nan))), "NaN"),
    "nan in X": (lambda X, Y: (X * np.nan, Y), "NaN"),
    "strings in X": (lambda X, Y: (X.astype(str) + "x", Y), "could not convert string"),
    "order of ids": (lambda X, Y: (X.iloc[::-1], Y), "row 0 is 'd' in X and 'a' in y"),
    "other ids": (lambda X, Y: (X.rename({"c": "z"}), Y), r"row 2 is 'z' in X and 'c' in y \(1 of 4"),
    "duplicate ids": (lambda X, Y: (X.rename({"b": "a"}), Y.toarray()), "item ids must be unique, but 'a'"),
    "missing ids": (lambda X, Y: (X.rename({"b": None}), Y.toarray()), "1 of 4 item ids are missing"),
    "integer ids in another order": (
        lambda X, Y: (X.set_axis([3, 2, 1, 0]), Interactions(Y.toarray(), item_ids=[0, 1, 2, 3])),
        "different order",
    ),
    "duplicate users": (
        lambda X, Y: (X, pd.DataFrame(Y.toarray(), columns=["u", "u", "v"], index=X.index)),
        "user ids must be unique, but 'u'",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_training_data_is_refused_with_the_reason(X, Y, case):
    change, message = BAD_FITS[case]
    with pytest.raises(ValueError, match=message):
        Popular().fit(*change(X, Y))


def test_item_ids_need_one_a_row(X, Y):
    with pytest.raises(ValueError, match=r"item_ids has shape \(2,\), but X has 4 rows"):
        Popular().fit(X, Y, item_ids=["a", "b"])


BAD_CALLS = {
    "unknown user": (lambda model, X: model.recommend(["ann", "eve"], k=1), r"1 of 2 users .* \['eve'\]"),
    "unknown item": (lambda model, X: model.similar_items("z", k=1), r"1 of 1 items .* \['z'\]"),
    "k beyond the catalogue": (lambda model, X: model.recommend("ann", k=5), "k=5 must be between 1 and 4"),
    "k of zero": (lambda model, X: model.recommend("ann", k=0), "k=0 must be between 1 and 4"),
    "k beyond the others": (lambda model, X: model.similar_items("a", k=4), "k=4 must be between 1 and 3"),
    "both kinds of users": (lambda model, X: model.recommend("ann", k=1, interactions=np.ones((4, 1))), "not both"),
    "new users of other items": (
        lambda model, X: model.recommend(k=1, interactions=np.ones((3, 1))),
        "3 rows, but the fitted catalogue",
    ),
    "weights": (lambda model, X: model.score(X, np.ones((4, 3)), [1, 1, 1, 1]), "sample_weight"),
    "other columns": (lambda model, X: model.predict(X.assign(g=0.0)), "feature"),
    "held-out rows differ": (lambda model, X: model.score(X, np.ones((3, 3))), "X has 4 rows"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls_are_refused_with_the_reason(X, Y, case):
    call, message = BAD_CALLS[case]
    with pytest.raises(ValueError, match=message):
        call(Popular().fit(X, Y), X)


@pytest.mark.parametrize("method", ["predict", "decision_function", "seen", "recommend", "similar_items"])
def test_methods_need_a_fit(X, method):
    with pytest.raises(NotFittedError):
        getattr(Popular(), method)(X)


def test_new_users_are_refused_where_the_model_cannot_score_them(X, Y):
    with pytest.raises(NotImplementedError, match="Popular cannot score users that were not in fit"):
        Popular().fit(X, Y).recommend(k=1, interactions=np.ones((4, 1)))


def test_a_recommender_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Recommender()


def test_an_index_that_counts_rows_holds_no_ids():
    frame = pd.DataFrame({"f": np.zeros(6)})
    y = Interactions(np.eye(6), item_ids=np.arange(6))
    model = Popular().fit(frame, y)
    for rows in ([0, 2, 4], [0, 2, 5], [0, 1]):
        assert model.seen(frame.iloc[rows].reset_index(drop=True)) is None
    assert model.seen(frame) is None
    assert model.seen(frame.iloc[:1], item_ids=[5]).toarray().tolist() == [[False] * 5 + [True]]


def test_integer_ids_that_contradict_each_other_are_refused():
    frame = pd.DataFrame({"f": np.zeros(4)}, index=[7, 17, 27, 37])
    for y in (
        Interactions(np.eye(4), item_ids=[17, 27, 37, 99]),
        pd.DataFrame(np.eye(4), index=[37, 27, 17, 7]),
    ):
        with pytest.raises(ValueError, match="different order or are not the same"):
            Popular().fit(frame, y)
    assert Popular().fit(frame, Interactions(np.eye(4), item_ids=[1, 2, 3, 4])).item_ids_.tolist() == [1, 2, 3, 4]
    assert Popular().fit(frame, pd.DataFrame(np.eye(4), index=frame.index)).item_ids_.tolist() == [7, 17, 27, 37]


def test_interactions_of_new_users_must_have_the_items_of_fit(X, Y):
    model = EASE().fit(X, Y)
    assert model.recommend(interactions=Y, k=2).ids.shape == (Y.shape[1], 2)
    with pytest.raises(ValueError, match="items of interactions are not those of fit"):
        model.recommend(interactions=Y[::-1], k=2)


def test_nobody_gets_nothing(X, Y):
    found = Popular().fit(X, Y).recommend([], k=2)
    assert found.ids.shape == found.scores.shape == (0, 2)


def test_scores_of_users_without_ids_are_judged_by_position(X, Y):
    assert Popular().fit(X, Y.toarray()).score(X, Y) == Popular().fit(X, Y).score(X, Y)


def test_half_precision_interactions_are_read(X, Y):
    found = Popular().fit(X, Y.toarray().astype(np.float16)).interactions_
    np.testing.assert_array_equal(found.toarray(), Y.toarray() > 0)


def test_columns_of_polars_are_users(X, Y):
    table = pl.DataFrame(Y.toarray(), schema=["ann", "bob", "cid"])
    assert Popular().fit(X, table).user_ids_.tolist() == ["ann", "bob", "cid"]
