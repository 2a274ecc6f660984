import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.model_selection import train_test_split

from modalsplit import Interactions

DENSE = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 0]], dtype=np.float32)


@pytest.fixture(name="Y")
def three_items_and_four_users():
    return Interactions(DENSE, item_ids=["a", "b", "c"], user_ids=["w", "x", "y", "z"])


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("duplicate", [Interactions.copy, copy.copy, copy.deepcopy, pickled])
def test_copies_keep_the_ids(Y, duplicate):
    other = duplicate(Y)
    assert type(other) is Interactions
    assert (other.item_ids.tolist(), other.user_ids.tolist()) == (["a", "b", "c"], ["w", "x", "y", "z"])
    np.testing.assert_array_equal(other.toarray(), DENSE)


def test_a_copy_shares_no_memory(Y):
    Y.copy().data[:] = 7
    np.testing.assert_array_equal(Y.toarray(), DENSE)


@pytest.mark.parametrize(
    "key",
    [
        [2, 0],
        np.array([2, 0]),
        np.array([True, False, True]),
        slice(1, None),
        slice(None, None, -1),
        [],
        (slice(None), [3, 1]),
        ([0, 2], slice(1, 3)),
        np.ix_([0, 2], [1]),
        ...,
        (..., slice(2)),
        ([1], ...),
        (slice(None), np.array([True, False, False, True])),
    ],
    ids=str,
)
def test_selecting_selects_the_ids_alike(Y, key):
    out = Y[key]
    assert type(out) is Interactions
    np.testing.assert_array_equal(out.toarray(), DENSE[key])
    frame = pd.DataFrame(np.arange(12).reshape(3, 4), Y.item_ids, Y.user_ids).to_numpy()[key]
    assert out.item_ids.tolist() == [Y.item_ids[row] for row in (frame // 4)[:, 0]] if frame.size else True
    assert out.user_ids.tolist() == [Y.user_ids[column] for column in (frame % 4)[0]] if frame.size else True
    assert (len(out.item_ids), len(out.user_ids)) == out.shape


@pytest.mark.parametrize("key", [0, -1, (0, slice(None)), (slice(None), 0), (0, 0), ([0, 1], [0, 1])], ids=str)
def test_selecting_a_vector_or_a_value_works_as_in_scipy(Y, key):
    def selected(matrix):
        try:
            out = matrix[key]
        except NotImplementedError:  # vectors, before scipy 1.15
            return None
        return out.toarray() if sparse.issparse(out) else out

    np.testing.assert_array_equal(selected(Y), selected(sparse.csr_array(DENSE)))


def test_a_sparse_mask_selects_values_as_in_scipy(Y):
    assert Y[Y > 0].tolist() == [1] * 6


@pytest.mark.parametrize(
    "operation",
    [
        lambda Y: Y + Y,
        lambda Y: 2 * Y,
        lambda Y: Y.T,
        lambda Y: Y @ Y.T,
        lambda Y: Y > 0,
        abs,
        lambda Y: Y.astype(int),
        lambda Y: Y.multiply(Y),
        lambda Y: Y.maximum(2 * Y),
        lambda Y: Y.tocsc(),
        lambda Y: sparse.vstack([Y, Y]),
        lambda Y: sparse.hstack([Y, Y]),
        lambda Y: Y.reshape(4, 3),
    ],
)
def test_other_operations_are_those_of_scipy_without_ids(Y, operation):
    out = operation(Y)
    np.testing.assert_array_equal(out.toarray(), operation(sparse.csr_array(DENSE)).toarray())
    assert getattr(out, "item_ids", None) is None
    assert getattr(out, "user_ids", None) is None


def test_it_can_be_made_as_a_csr_array_can():
    assert Interactions((2, 3)).shape == (2, 3)
    made = Interactions((np.ones(2), ([0, 1], [1, 0])), shape=(2, 2), dtype=np.float32)
    assert made.toarray().tolist() == [[0, 1], [1, 0]]
    assert made.item_ids is None


def test_scikit_learn_splits_keep_the_ids(Y):
    train, test = train_test_split(Y, test_size=1, random_state=0)
    assert sorted([*train.item_ids, *test.item_ids]) == ["a", "b", "c"]
    assert train.user_ids.tolist() == Y.user_ids.tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"item_ids": ["a", "b"]}, r"item_ids has shape \(2,\), but the interactions have 3 rows"),
        ({"user_ids": ["w"]}, r"user_ids has shape \(1,\), but the interactions have 4 columns"),
        ({"item_ids": ["a", "b", "a"]}, "item_ids must be unique, but 'a' occurs more than once"),
    ],
)
def test_ids_must_fit_and_be_unique(ids, message):
    with pytest.raises(ValueError, match=message):
        Interactions(DENSE, **ids)


def test_a_table_becomes_ones_at_sorted_ids_and_repeats_count_once():
    table = pd.DataFrame({"user_id": ["x", "w", "x", "x"], "item_id": [20, 10, 20, 10]})
    Y = Interactions.from_frame(table)
    assert (Y.item_ids.tolist(), Y.user_ids.tolist()) == ([10, 20], ["w", "x"])
    assert Y.toarray().tolist() == [[1, 1], [0, 1]]
    assert Y.dtype == np.float32


def test_a_table_is_aligned_with_a_catalogue_that_has_more_items():
    table = pd.DataFrame({"who": ["w"], "what": ["b"]})
    Y = Interactions.from_frame(table, item="what", user="who", item_ids=["c", "b", "a"], user_ids=["x", "w"])
    assert Y.toarray().tolist() == [[0, 0], [0, 1], [0, 0]]
    assert Y.item_ids.tolist() == ["c", "b", "a"]


@pytest.mark.parametrize("ids", [["x", "w", "x"], [3, 1, 3]], ids=["words", "numbers"])
def test_a_table_of_polars_is_read_as_that_of_pandas(ids):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    table = {"user_id": ids, "item_id": [20, 10, 10], "stars": [1.0, 2.0, 3.0]}
    Y, expected = Interactions.from_frame(polars.DataFrame(table)), Interactions.from_frame(pd.DataFrame(table))
    np.testing.assert_array_equal(Y.toarray(), expected.toarray())
    assert Y.item_ids.tolist() == expected.item_ids.tolist()
    assert Y.user_ids.tolist() == expected.user_ids.tolist()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({"user_id": [1], "item": [1]}, {}, r"no column 'item_id'; they have \['user_id', 'item'\].*item="),
        ({"user_id": [1, None], "item_id": [1, 2]}, {}, "1 interactions have no user id"),
        ({"user_id": [1], "item_id": [1]}, {"item_ids": ["1"]}, r"1 item ids .* not in .*, such as 1\."),
        ({"user_id": [1], "item_id": [1]}, {"item_ids": [1, 1]}, "unique, but 1 occurs more than once"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, options, message):
    with pytest.raises(ValueError, match=message):
        Interactions.from_frame(pd.DataFrame(table), **options)


def slow_core(dense, k):
    rows, columns = np.arange(dense.shape[0]), np.arange(dense.shape[1])
    while True:
        part = dense[np.ix_(rows, columns)]
        keep_rows, keep_columns = part.sum(axis=1) >= k, part.sum(axis=0) >= k
        if keep_rows.all() and keep_columns.all():
            return rows, columns
        rows, columns = rows[keep_rows], columns[keep_columns]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_the_core_is_what_repeated_removal_leaves(seed, k):
    dense = np.random.default_rng(seed).random((8, 9)) < 0.35
    core = Interactions(dense, item_ids=range(8), user_ids=range(9)).k_core(k)
    rows, columns = slow_core(dense, k)
    if core.nnz:
        assert (core.item_ids.tolist(), core.user_ids.tolist()) == (rows.tolist(), columns.tolist())
        np.testing.assert_array_equal(core.toarray(), dense[np.ix_(rows, columns)])
    else:
        assert core.shape == (0, 0) == (min(len(rows), len(columns)),) * 2


def test_stored_zeros_do_not_count_towards_the_core():
    Y = Interactions((np.array([1.0, 0.0]), ([0, 0], [0, 1])), shape=(1, 2))
    assert Y.k_core(2).shape == (0, 0)
    assert Y.nnz == 2  # the original is left alone


def test_only_positive_values_count_towards_the_core():
    assert Interactions(-np.ones((6, 6))).k_core(5).shape == (0, 0)
    values = np.ones((3, 3))
    values[0, 1] = -2
    core = Interactions(values, item_ids=["a", "b", "c"]).k_core(2)
    np.testing.assert_array_equal(core.toarray(), [[1, 0, 1], [1, 1, 1], [1, 1, 1]])
    assert core.nnz == 8


def test_what_is_stored_twice_counts_once_towards_the_core():
    twice = Interactions((np.array([1.0, 1.0]), np.array([0, 0]), np.array([0, 2])), shape=(1, 2))
    assert twice.k_core(2).shape == (0, 0)
    undone = Interactions((np.array([1.0, -1.0, 1.0]), np.array([0, 0, 1]), np.array([0, 3])), shape=(1, 2))
    assert undone.k_core(1).toarray().tolist() == [[1]]
    assert twice.nnz == 2  # the original is left alone
