import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from modalsplit import Interactions
from modalsplit.evaluate import (
    check_no_leak,
    hold_out_items,
    hold_out_users,
    interaction_folds,
    split_interactions,
    warm_start_folds,
)


def staircase(n_users):
    """User u took the first u + 1 items."""
    Y = np.triu(np.ones((n_users, n_users)))
    ids = [f"i{i}" for i in range(n_users)], [f"u{u}" for u in range(n_users)]
    return Interactions(Y, item_ids=ids[0], user_ids=ids[1])


def test_parts_are_disjoint_complete_and_keep_the_ids():
    Y = staircase(30)
    parts = split_interactions(Y, random_state=0)
    assert len(parts) == 3
    np.testing.assert_array_equal(sum(part.toarray() for part in parts), Y.toarray())
    for part in parts:
        assert isinstance(part, Interactions)
        assert part.item_ids.tolist() == Y.item_ids.tolist()
        assert part.user_ids.tolist() == Y.user_ids.tolist()


def test_each_user_is_split_by_the_documented_rule():
    train, valid, test = (part.sum(axis=0) for part in split_interactions(staircase(30), random_state=0))
    n = np.arange(1, 31)
    tenth = np.maximum(np.floor(0.1 * n + 0.5), 1)
    np.testing.assert_array_equal(test[1:], tenth[1:])
    np.testing.assert_array_equal(valid[2:], tenth[2:])
    np.testing.assert_array_equal((train[:3], valid[:3], test[:3]), [[1, 1, 1], [0, 0, 1], [0, 1, 1]])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 100),
    shares=st.sampled_from([(0.5, 0.5), (0.05, 0.95), (0.2, 0.3, 0.5), (0.25, 0.25, 0.25, 0.25)]),
)
def test_every_user_keeps_a_training_interaction(seed, shares):
    Y = np.random.default_rng(seed).random((9, 12)) < 0.4
    train = split_interactions(Y, shares=shares, random_state=seed)[0]
    np.testing.assert_array_equal(train.sum(axis=0) > 0, Y.any(axis=0))


def test_every_interaction_is_held_out_equally_often():
    Y = np.ones((10, 1))
    held_out = sum(split_interactions(Y, random_state=seed)[2].toarray() for seed in range(500))
    assert held_out.sum() == 500
    assert np.abs(held_out - 50).max() < 25


def test_a_seed_repeats_the_split_and_another_one_changes_it():
    one, same, other = (split_interactions(staircase(20), random_state=seed)[2] for seed in (3, 3, 4))
    assert (one != same).nnz == 0
    assert (one != other).nnz > 0


def test_values_are_kept_and_stored_zeros_are_no_interactions():
    Y = sparse.csr_array(([5.0, 0.0, 3.0], ([0, 1, 2], [0, 0, 0])), shape=(3, 1))
    parts = split_interactions(Y, shares=(0.5, 0.5), random_state=0)
    assert [part.nnz for part in parts] == [1, 1]
    assert sorted(part.data[0] for part in parts) == [3, 5]


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.4), (1.1, -0.1), (0.5, 0.5, 0.0)])
def test_shares_must_be_a_partition(shares):
    with pytest.raises(ValueError, match="positive numbers that sum to 1"):
        split_interactions(np.eye(3), shares=shares)


def test_held_out_items_are_a_random_share_of_the_rows():
    warm, cold = hold_out_items(staircase(30), 0.1, random_state=0)
    assert len(cold) == 3
    np.testing.assert_array_equal(np.sort(np.concatenate([warm, cold])), np.arange(30))
    assert cold.tolist() != hold_out_items(staircase(30), 0.1, random_state=1)[1].tolist()


@pytest.mark.parametrize(("n_items", "share", "n_cold"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2)])
def test_both_parts_of_the_items_keep_at_least_one(n_items, share, n_cold):
    warm, cold = hold_out_items(np.ones(n_items), share, random_state=0)
    assert (len(warm), len(cold)) == (n_items - n_cold, n_cold)


@pytest.mark.parametrize(("n_items", "share"), [(1, 0.5), (10, 0), (10, 1)])
def test_a_share_that_leaves_nothing_is_refused(n_items, share):
    with pytest.raises(ValueError, match=f"a share of {share} of {n_items} items"):
        hold_out_items(np.ones(n_items), share)


def test_folds_hold_out_each_interaction_once_and_train_on_the_others():
    Y = staircase(12)
    items = pd.DataFrame({"size": np.arange(12.0)}, index=Y.item_ids)
    stacked, stacked_Y, cv = warm_start_folds(items, Y, n_splits=4, random_state=0)
    assert len(cv) == 4
    held_out = np.zeros(Y.shape)
    for train, test in cv:
        assert stacked.index[train].tolist() == stacked.index[test].tolist() == Y.item_ids.tolist()
        np.testing.assert_array_equal((stacked_Y[train] + stacked_Y[test]).toarray(), Y.toarray())
        held_out += stacked_Y[test].toarray()
    np.testing.assert_array_equal(held_out, Y.toarray())
    assert stacked_Y.user_ids.tolist() == Y.user_ids.tolist()
    assert stacked_Y.item_ids is None


def test_a_user_is_judged_in_as_many_folds_as_there_are_interactions():
    _, Y, cv = warm_start_folds(np.ones((12, 1)), staircase(12), n_splits=4, random_state=0)
    counts = np.array([Y[test].sum(axis=0) for _, test in cv])
    np.testing.assert_array_equal((counts > 0).sum(axis=0), np.minimum(np.arange(1, 13), 4))
    assert np.ptp(counts, axis=0).max() <= 1


def test_single_interactions_are_spread_over_the_folds():
    _, Y, cv = warm_start_folds(np.ones((5, 1)), np.eye(5)[:, np.arange(200) % 5], n_splits=4, random_state=0)
    assert all(Y[test].nnz > 25 for _, test in cv)


def test_folds_need_items_and_interactions_of_one_length():
    with pytest.raises(ValueError, match="items has 3 rows, but Y has 4"):
        warm_start_folds(np.ones((3, 1)), np.eye(4))
    with pytest.raises(ValueError, match="n_splits=1"):
        warm_start_folds(np.ones((4, 1)), np.eye(4), n_splits=1)


@pytest.mark.parametrize("by", ["user", "global"])
def test_each_interaction_is_once_in_test_and_once_in_validation(by):
    Y = staircase(30)
    splits = interaction_folds(Y, by=by, random_state=0)
    assert len(splits) == 5
    for part in ("valid", "test"):
        np.testing.assert_array_equal(sum(getattr(split, part).toarray() for split in splits), Y.toarray())
    for split, following in zip(splits, [*splits[1:], splits[0]], strict=True):
        np.testing.assert_array_equal((split.seen + split.test).toarray(), Y.toarray())
        assert (split.valid != following.test).nnz == 0
        check_no_leak(*split)


def test_five_folds_are_three_to_one_to_one_for_each_user():
    for split in interaction_folds(np.ones((25, 8)), random_state=0):
        for part, n in zip(split, (15, 5, 5), strict=True):
            assert set(part.sum(axis=0)) == {n}


def test_a_user_with_as_many_interactions_as_folds_is_in_all_parts():
    Y = Interactions(np.tril(np.ones((40, 40)))[:, :36])
    for split in interaction_folds(Y, random_state=3):
        assert all(part.sum(axis=0).min() >= 1 for part in split)


def test_global_folds_differ_in_size_by_one_and_leave_users_without_training():
    Y = np.eye(57)
    sizes = [split.test.nnz for split in interaction_folds(Y, by="global", random_state=0)]
    assert sorted(sizes) == [11, 11, 11, 12, 12]


def test_a_split_knows_its_cold_items_and_what_the_test_may_not_list():
    split = interaction_folds(staircase(30), random_state=0)[0]
    cold = [i for i in range(30) if not split.train[[i]].nnz and (split.valid[[i]].nnz or split.test[[i]].nnz)]
    assert split.cold_items.tolist() == cold != []
    assert split.seen.user_ids.tolist() == split.train.user_ids.tolist()
    assert isinstance(split.seen, Interactions)


def test_a_global_split_has_the_shares_over_all_interactions():
    parts = split_interactions(np.ones((10, 10)), shares=(0.5, 0.3, 0.2), by="global", random_state=0)
    assert [part.nnz for part in parts] == [50, 30, 20]
    assert len(set(parts[2].sum(axis=0))) > 1


def test_held_out_users_are_a_random_share_of_the_columns():
    warm, cold = hold_out_users(np.ones((3, 30)), 0.2, random_state=0)
    assert len(cold) == 6
    np.testing.assert_array_equal(np.sort(np.concatenate([warm, cold])), np.arange(30))
    with pytest.raises(ValueError, match=r"a share of 0\.5 of 1 users"):
        hold_out_users(np.ones((30, 1)), 0.5)


def test_folds_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="n_splits=2, but training, validation and test need"):
        interaction_folds(np.eye(4), 2)
    with pytest.raises(ValueError, match=r"by must be one of \['user', 'global'\], but 'item'"):
        interaction_folds(np.eye(4), by="item")


@pytest.mark.parametrize(("share", "n"), [(0.29, 15), (0.57, 29)])
def test_halves_are_rounded_up(share, n):
    # 0.29 * 50 and 0.57 * 50 are below 14.5 and 28.5 in floating point.
    _, test = split_interactions(np.ones((50, 1)), shares=(1 - share, share), random_state=0)
    assert test.nnz == n
