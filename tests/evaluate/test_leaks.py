import numpy as np
import pytest

from modalsplit import Interactions
from modalsplit.baselines import Popularity
from modalsplit.evaluate import check_no_leak, evaluate, split_interactions


@pytest.fixture
def parts():
    Y = Interactions(np.random.default_rng(0).random((200, 80)) < 0.1, item_ids=np.arange(200), user_ids=np.arange(80))
    return split_interactions(Y, random_state=0)


def negatives(known, n, rng):
    """For each user, n items that are not known."""
    out = np.zeros(known.shape, dtype=bool)
    for u in range(known.shape[1]):
        out[rng.choice(np.flatnonzero(~known[:, u]), n, replace=False), u] = True
    return out


def test_parts_of_one_split_pass(parts):
    check_no_leak(*parts)


@pytest.mark.parametrize(("i", "j"), [(0, 1), (0, 2), (1, 2)])
def test_parts_that_share_an_interaction_are_refused(parts, i, j):
    leaky = [part.toarray() for part in parts]
    item, user = parts[j].nonzero()
    leaky[i][item[0], user[0]] = 1
    with pytest.raises(ValueError, match=r"1 interaction is both in .* and in"):
        check_no_leak(*leaky)


def test_the_same_part_twice_is_refused(parts):
    with pytest.raises(ValueError, match=r"interactions are both in held_out\[0\] and in held_out\[1\]"):
        check_no_leak(parts[0], parts[1], parts[1])


def test_honest_negatives_pass(parts):
    train = parts[0].toarray() > 0
    for seed in range(20):
        check_no_leak(*parts, negatives=negatives(train, 20, np.random.default_rng(seed)))


def test_negatives_that_avoid_held_out_items_are_refused(parts):
    known = sum(part.toarray() for part in parts) > 0
    with pytest.raises(ValueError, match=r"negatives avoid held_out\[0\]: 0 of them are in it"):
        check_no_leak(*parts, negatives=negatives(known, 60, np.random.default_rng(0)))


def test_held_out_items_put_among_the_negatives_are_refused(parts):
    train, _, test = (part.toarray() > 0 for part in parts)
    put = negatives(train, 5, np.random.default_rng(0)) | test
    with pytest.raises(ValueError, match=r"negatives single out held_out\[0\]"):
        check_no_leak(train, test, negatives=put)


def test_training_items_are_no_negatives(parts):
    with pytest.raises(ValueError, match="training negatives are in train"):
        check_no_leak(parts[0], negatives=parts[0])


def test_parts_of_different_items_are_refused(parts):
    other = parts[1].copy()
    other.item_ids = other.item_ids[::-1]
    with pytest.raises(ValueError, match=r"item_ids of train and held_out\[0\] differ"):
        check_no_leak(parts[0], other)
    with pytest.raises(ValueError, match=r"train has shape \(200, 80\), but held_out\[0\] has shape"):
        check_no_leak(parts[0], parts[1][:50])
    with pytest.raises(ValueError, match="negatives has shape"):
        check_no_leak(parts[0], negatives=np.zeros((2, 2)))


def test_a_model_that_was_fitted_on_the_test_part_is_not_judged(parts):
    train, valid, test = parts
    model = Popularity().fit(np.zeros((200, 1)), train + test)
    with pytest.raises(ValueError, match="interactions are both in train and in held_out"):
        evaluate(model, test.toarray(), seen=valid)
