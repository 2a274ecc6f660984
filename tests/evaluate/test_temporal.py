import datetime

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from modalsplit import Interactions
from modalsplit.evaluate import check_no_leak, interaction_times, leave_one_out, temporal_split


@pytest.fixture
def frame():
    """Two thousand interactions of thirty users, some repeated."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user_id": [f"u{u}" for u in rng.integers(30, size=2000)],
            "item_id": [f"i{i}" for i in rng.integers(200, size=2000)],
            "timestamp": rng.permutation(2000),
        }
    )


@pytest.fixture
def dated(frame):
    Y = Interactions.from_frame(frame)
    return Y, interaction_times(frame, Y)


def when(part, times):
    return times.toarray()[part.toarray() > 0]


@pytest.mark.parametrize(("keep", "pick"), [("first", "min"), ("last", "max")])
def test_a_repeated_pair_has_one_time(frame, keep, pick):
    Y = Interactions.from_frame(frame)
    times = interaction_times(frame, Y, keep=keep)
    assert times.nnz == Y.nnz < len(frame)
    expected = frame.groupby(["item_id", "user_id"])["timestamp"].agg(pick)
    found = pd.Series(times.data, index=zip(Y.item_ids[times.row], Y.user_ids[times.col], strict=True))
    assert all(found[pair] == moment for pair, moment in expected.items())


def test_dates_and_stored_zeros_are_times(frame):
    Y = Interactions.from_frame(frame)
    dates = frame.assign(timestamp=pd.Timestamp("1970-01-01") + pd.to_timedelta(frame["timestamp"], unit="s"))
    by_number, by_date = (interaction_times(table, Y) for table in (frame, dates))
    np.testing.assert_array_equal(np.argsort(by_number.data), np.argsort(by_date.data))
    assert by_number.data.min() == 0
    temporal_split(Y, by_number)  # would miss the time of the first one


def test_pairs_outside_the_core_are_left_out(frame):
    core = Interactions.from_frame(frame).k_core(10)
    assert 0 < interaction_times(frame, core).nnz == core.nnz < Interactions.from_frame(frame).nnz


def test_nothing_in_training_is_later_than_anything_held_out(dated):
    Y, times = dated
    split = temporal_split(Y, times, shares=(0.7, 0.2, 0.1))
    check_no_leak(*split)
    moments = [when(part, times) for part in split]
    assert moments[0].max() < moments[1].min() <= moments[1].max() < moments[2].min()
    np.testing.assert_allclose([part.nnz / Y.nnz for part in split], [0.7, 0.2, 0.1], atol=0.002)
    assert split.test.user_ids.tolist() == Y.user_ids.tolist()


def test_interactions_of_one_moment_stay_together():
    times = np.tile(np.arange(1, 6)[:, None], 20)
    split = temporal_split(np.ones((5, 20)), times, shares=(0.5, 0.25, 0.25))
    for part in split:
        assert set(part.sum(axis=1)) <= {0, 20}


def test_by_user_each_ones_last_interactions_are_held_out(dated):
    Y, times = dated
    split = temporal_split(Y, times, by="user")
    table = times.toarray()
    for u in range(30):
        moments = [table[part.toarray()[:, u] > 0, u] for part in split]
        assert moments[0].max() < moments[1].min() <= moments[1].max() < moments[2].min()
        n = sum(map(len, moments))
        assert [len(m) for m in moments[1:]] == [max(int(0.1 * n + 0.5), 1)] * 2


def test_one_is_left_out_for_test_and_one_for_validation(dated):
    Y, times = dated
    for split in (leave_one_out(Y, times=times), leave_one_out(Y, random_state=0)):
        check_no_leak(*split)
        assert set(split.test.sum(axis=0)) == set(split.valid.sum(axis=0)) == {1}
        assert (split.seen + split.test != Y).nnz == 0
    table = times.toarray()
    split = leave_one_out(Y, times=times)
    for u in range(30):
        ordered = np.sort(table[Y.toarray()[:, u] > 0, u])
        assert table[split.test.toarray()[:, u] > 0, u] == ordered[-1]
        assert table[split.valid.toarray()[:, u] > 0, u] == ordered[-2]


def test_users_of_few_interactions_keep_one_for_training():
    split = leave_one_out(np.tril(np.ones((4, 4)))[:, ::-1], random_state=0)  # 1, 2, 3 and 4 interactions
    np.testing.assert_array_equal([part.sum(axis=0) for part in split], [[1, 1, 1, 2], [0, 0, 1, 1], [0, 1, 1, 1]])


def test_the_one_left_out_at_random_is_any():
    Y = np.ones((10, 1))
    tests = sum(leave_one_out(Y, random_state=seed).test.toarray() for seed in range(500))
    assert np.abs(tests - 50).max() < 25


def test_what_has_no_time_is_refused(frame, dated):
    Y, times = dated
    short = sparse.coo_array((times.data[3:], (times.row[3:], times.col[3:])), shape=times.shape)
    with pytest.raises(ValueError, match="3 interactions have no time"):
        leave_one_out(Y, times=short)
    with pytest.raises(ValueError, match=r"times has shape \(2, 2\), but Y has shape"):
        temporal_split(Y, np.ones((2, 2)))
    with pytest.raises(ValueError, match="no column 'when'"):
        interaction_times(frame, Y, time="when")
    with pytest.raises(ValueError, match="1 interactions have no timestamp"):
        interaction_times(frame.assign(timestamp=frame["timestamp"].where(frame.index > 0)), Y)
    with pytest.raises(ValueError, match="Y has no ids"):
        interaction_times(frame, Interactions(np.eye(3)))
    with pytest.raises(ValueError, match="keep must be one of"):
        interaction_times(frame, Y, keep="all")


def test_a_part_that_would_be_empty_is_refused():
    with pytest.raises(ValueError, match="The train part is empty"):
        temporal_split(np.ones((3, 3)), np.ones((3, 3)))
    with pytest.raises(ValueError, match="shares must be those of training, validation and test"):
        temporal_split(np.ones((3, 3)), np.ones((3, 3)), shares=(0.5, 0.5))


@pytest.mark.parametrize(
    "cells",
    [
        pd.to_datetime(["2020-01-01", "2020-01-03"], utc=True),
        pd.to_datetime(["2020-01-01", "2020-01-03"]),
        [datetime.date(2020, 1, 1), datetime.date(2020, 1, 3)],
        ["2020-01-01", "2020-01-03"],
    ],
    ids=["aware", "naive", "date", "text"],
)
def test_dates_of_all_kinds_are_times(cells):
    frame = pd.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "x"], "timestamp": cells})
    first, second = interaction_times(frame, Interactions.from_frame(frame)).data
    assert first < second


def test_a_column_of_neither_numbers_nor_dates_is_named():
    frame = pd.DataFrame({"user_id": ["a"], "item_id": ["x"], "timestamp": ["soon"]})
    with pytest.raises(ValueError, match="'timestamp' holds neither numbers nor dates"):
        interaction_times(frame, Interactions.from_frame(frame))


@pytest.mark.parametrize("kind", [np.asarray, sparse.coo_array])
@pytest.mark.parametrize("split", [leave_one_out, temporal_split])
def test_a_missing_time_is_refused(kind, split):
    times = np.arange(12.0).reshape(6, 2)
    times[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 interactions have no time"):
        split(np.ones((6, 2)), times=kind(times))


def test_a_second_time_of_a_pair_is_refused():
    times = sparse.coo_array(([1.0, 2.0, 3.0], ([0, 0, 1], [0, 0, 0])), shape=(2, 1))
    with pytest.raises(ValueError, match="1 second times of a pair"):
        leave_one_out(np.ones((2, 1)), times=times)
