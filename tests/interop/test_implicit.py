"""implicit starts from our factors, or keeps them."""

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from modalsplit.interop import to_implicit

pytest.importorskip("implicit", reason="implicit is not installed: pip install modalsplit[implicit]")
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.cpu.lmf import LogisticMatrixFactorization


@pytest.fixture(autouse=True)
def _one_blas_thread():
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture
def users_by_items(interactions):
    return sparse.csr_matrix(interactions.T)


@pytest.mark.parametrize("kind", [AlternatingLeastSquares, BayesianPersonalizedRanking, LogisticMatrixFactorization])
def test_factors_survive_a_fit_without_iterations(kind, items, interactions, users_by_items):
    model = to_implicit(items, kind(factors=16, iterations=0, num_threads=1, random_state=0), interactions.item_ids)
    model.fit(users_by_items, show_progress=False)
    np.testing.assert_array_equal(model.item_factors[:, :16], items.take(interactions.item_ids).matrix())
    assert model.recommend(0, users_by_items[0], N=3)[0].shape == (3,)


def test_columns_of_biases_are_those_that_implicit_makes(items, interactions, users_by_items):
    """An item's bias starts at 0; the 1 is what a user's bias is multiplied by."""
    for kind, biases in ((BayesianPersonalizedRanking, [0]), (LogisticMatrixFactorization, [0, 1])):
        settings = {"factors": 16, "iterations": 0, "num_threads": 1, "random_state": 0}
        ours, theirs = to_implicit(items, kind(**settings), interactions.item_ids), kind(**settings)
        np.testing.assert_array_equal(ours.item_factors[:, 16:], np.tile(biases, (len(interactions.item_ids), 1)))
        theirs.fit(users_by_items, show_progress=False)
        assert theirs.item_factors.shape == ours.item_factors.shape
        if len(biases) == 2:
            np.testing.assert_array_equal(theirs.item_factors[:, -1], 1)


def test_users_are_solved_for_on_frozen_factors(items, interactions, users_by_items):
    model = AlternatingLeastSquares(factors=16, iterations=0, regularization=1.0, num_threads=1, random_state=0)
    model = to_implicit(items, model, interactions.item_ids)
    model.fit(users_by_items, show_progress=False)
    user = model.recalculate_user([0], users_by_items[0])[0]
    X = items.take(interactions.item_ids).matrix().astype(float)
    taken = users_by_items[0].toarray()[0]
    # Hu et al., Eq. 4, with confidence 1 for all: (X'X + I)^-1 X'p, which implicit approaches by conjugate gradients.
    np.testing.assert_allclose(user, np.linalg.solve(X.T @ X + np.eye(16), X.T @ taken), atol=1e-2)


def test_training_moves_them(items, interactions, users_by_items):
    model = BayesianPersonalizedRanking(factors=16, iterations=3, num_threads=1, random_state=0)
    to_implicit(items, model, interactions.item_ids).fit(users_by_items, show_progress=False)
    assert not np.array_equal(model.item_factors[:, :16], items.take(interactions.item_ids).matrix())


def test_wrong_width_and_kind_are_refused(items, interactions):
    with pytest.raises(ValueError, match="factors=8, but the blocks have 16 columns"):
        to_implicit(items, AlternatingLeastSquares(factors=8), interactions.item_ids)
    with pytest.raises(ValueError, match=r"but is builtins\.object"):
        to_implicit(items, object(), interactions.item_ids)
