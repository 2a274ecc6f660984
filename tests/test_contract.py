"""scikit-learn's contract: every check passes, none is skipped or expected to fail."""

import numpy as np
import pytest
from featurize.checks import featurizer_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from modalsplit import AttentiveBPR, DisentangledModalityEncoder
from modalsplit.baselines import (
    ALS,
    BPR,
    EASE,
    MMGCN,
    NFM,
    VBPR,
    VECF,
    ContentKNN,
    CorrAE,
    NeuMF,
    Popularity,
    PopularityOfNeighbours,
)
from modalsplit.testing import check_encoder, check_recommender, stricter_checks

# The checks fit plain matrices of a few random rows, and these warnings are what the encoder should say then.
pytestmark = [
    pytest.mark.filterwarnings("ignore:X has no named blocks:UserWarning"),
    pytest.mark.filterwarnings("ignore:The modalities share nothing:UserWarning"),
    # The checks of set_output fit frames and transform arrays.
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning"),
]

ENCODERS = [
    DisentangledModalityEncoder(),
    DisentangledModalityEncoder(split=1),
    DisentangledModalityEncoder(objective="cca"),
    DisentangledModalityEncoder(missing="translate"),
    DisentangledModalityEncoder(missing="nan", split=1),
    DisentangledModalityEncoder("auto", objective="cca"),
    DisentangledModalityEncoder(objective="paper", max_epochs=2),
    DisentangledModalityEncoder(objective="official", max_epochs=2, missing="nan"),
    DisentangledModalityEncoder(objective="stable", extractor="mlp", max_epochs=2),
    CorrAE(max_epochs=2),
    CorrAE(split=1, variant="full", max_epochs=2),
]
RECOMMENDERS = [
    AttentiveBPR(),
    AttentiveBPR(loss="bpr", users="embedding", sampling="interactions", n_negatives=1, max_epochs=3),
    AttentiveBPR(attention="user", max_epochs=3),
    Popularity(),
    PopularityOfNeighbours(),
    EASE(),
    ContentKNN(),
    ALS(),
    BPR(max_epochs=2),
    VBPR(max_epochs=2),
    VBPR(use_id=False, max_epochs=2),
    NFM(max_epochs=2),
    NeuMF(max_epochs=2),
    MMGCN(max_epochs=2),
    MMGCN(combine="sum", train_ids=False, max_epochs=2),
    VECF(max_epochs=2),
]
ESTIMATORS = [*ENCODERS, *RECOMMENDERS]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("estimator", "check"), featurizer_checks())
def test_featurizer_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{estimator}-{check.func.__name__}")
        for estimator in ESTIMATORS
        for estimator, check in stricter_checks(estimator)
    ],
)
def test_stricter_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_no_check_is_skipped_or_expected_to_fail(estimator):
    statuses = {result["status"] for result in check_estimator(estimator, on_fail=None, on_skip=None)}
    assert statuses == {"passed"}


class Forgetful(Popularity):
    def recommend(self, users, k=10, **options):
        return np.zeros((len(users), k), dtype=int), np.zeros((len(users), k))


def test_public_checks_pass_our_estimators_and_fail_broken_ones():
    check_encoder(DisentangledModalityEncoder(split=1, objective="cca", random_state=0))
    check_recommender(Popularity())

    with pytest.raises(AssertionError, match="seen items"):
        check_recommender(Forgetful())
