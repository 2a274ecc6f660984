"""Items that nobody took yet: known by content alone, ranked among themselves.

The items are dealt to ten folds. Settings are searched on the last fold, by models of folds 4 to 9, which see nothing of
the first three; these are the tests in turn, ranked by models fitted on all other items. Encoders too are fitted on the
items that a model knows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from optuna.distributions import IntDistribution
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler, normalize

from benchmarks.paper.data import CACHE, Case, kept_frame, representation
from benchmarks.paper.methods import ATTENTIVE, OURS, PAIRS, WIDTHS, Method, epochs, log
from benchmarks.paper.run import Budget, Runner, say
from modalsplit import AttentiveBPR, Interactions
from modalsplit.baselines import ALS, EASE, VBPR, ContentKNN
from modalsplit.evaluate import Evaluation, evaluate

N_FOLDS = 10


class Mapped(BaseEstimator):
    """A recommender without content, whose item vectors are mapped from content by ridge regression."""

    def __init__(self, base: Any, weight: float = 100.0, random_state: int | None = None) -> None:
        self.base = base
        self.weight = weight
        self.random_state = random_state

    def fit(self, Z: pd.DataFrame, Y: Interactions) -> Self:
        base = clone(self.base)
        if "random_state" in base.get_params():
            base.set_params(random_state=self.random_state)
        base.fit(Z, Y)
        if isinstance(base, EASE):  # a user's vector is what the user took, an item's what each item adds to its score
            vectors, self.users_ = base.weights_.T, sparse.csr_array(Y.T)
        else:
            vectors, self.users_ = base.item_vectors_, base.user_vectors_
        self.scaler_ = StandardScaler().fit(Z)
        self.map_ = Ridge(self.weight).fit(self.scaler_.transform(Z), vectors)
        return self

    def decision_function(self, Z: pd.DataFrame) -> np.ndarray:
        return np.asarray(self.map_.predict(self.scaler_.transform(Z)) @ self.users_.T)


class LightFM(BaseEstimator):
    """LightFM with an identity and the content of each item; cold items have content alone."""

    def __init__(
        self, n_components: int = 64, learning_rate: float = 0.05, max_epochs: int = 30, random_state: int = 0
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.random_state = random_state

    def fit(self, Z: pd.DataFrame, Y: Interactions) -> Self:
        import lightfm

        self.n_items_ = len(Z)
        self.model_ = lightfm.LightFM(
            self.n_components, loss="warp", learning_rate=self.learning_rate, random_state=self.random_state
        )
        features = sparse.hstack([sparse.identity(self.n_items_), normalize(Z)], format="csr", dtype=np.float32)
        taken = sparse.coo_matrix(Y.T, dtype=np.float32)
        self.model_.fit(taken, item_features=sparse.csr_matrix(features), epochs=self.max_epochs)
        return self

    def decision_function(self, Z: pd.DataFrame) -> np.ndarray:
        _, users = self.model_.get_user_representations()
        content = slice(self.n_items_, None)
        items = normalize(Z) @ self.model_.item_embeddings[content]
        biases = normalize(Z) @ self.model_.item_biases[content]
        return np.asarray(items @ users.T + biases[:, None])


WEIGHT = {"weight": log(1, 1e4)}
OF_ALS = {**WEIGHT, "base__n_components": WIDTHS, "base__alpha": log(1, 40)}
OF_EASE = {**WEIGHT, "base__l2": log(10, 5000)}
FACTORS = {"n_components": WIDTHS, "learning_rate": log(5e-3, 0.2), "max_epochs": epochs(5, 60)}
COLD = {**ATTENTIVE, "cold_degree": IntDistribution(2, 10), "cold_alpha": log(0.03, 3)}
METHODS = (
    Method("content kNN, text", "text", ContentKNN(), {}),
    Method("content kNN", "raw", ContentKNN(), {}),
    Method("BPR++, content only", "raw", VBPR(use_id=False), PAIRS),
    Method("BPR++", "raw", VBPR(), PAIRS),
    Method("LightFM", "raw", LightFM(), FACTORS),
    Method("LightFM, parts", "stable", LightFM(), FACTORS),
    Method("ALS by ridge", "raw", Mapped(ALS()), OF_ALS),
    Method("ALS by ridge, parts", "stable", Mapped(ALS()), OF_ALS),
    Method("EASE by ridge", "raw", Mapped(EASE()), OF_EASE),
    Method("EASE by ridge, parts", "stable", Mapped(EASE()), OF_EASE),
    Method("AttentiveBPR, raw", "raw", AttentiveBPR(), COLD),
    Method(OURS, "stable", AttentiveBPR(), COLD),
)


class ColdRunner(Runner):
    """Runs methods on cold items: the seed of a test is that of the encoder and the model, and says which fold it is."""

    def __init__(self, case: Case, budget: Budget) -> None:
        super().__init__(replace(case, name=f"{case.name}, cold items"), budget)
        order = np.random.default_rng(0).permutation(len(case.features))
        self.folds = np.array_split(order, N_FOLDS)

    def _judged(
        self, method: Method, settings: dict[str, Any], seed: int, part: str, case: Case | None = None
    ) -> pd.DataFrame:
        tests = self.budget.seeds
        known = self.folds[tests:-1] if part == "valid" else [f for i, f in enumerate(self.folds) if i != seed - 1]
        cold = self.folds[-1 if part == "valid" else seed - 1]
        warm = np.sort(np.concatenate(known))
        path = CACHE / self.case.name / f"{method.content}-{part}-{seed}.parquet"
        Z = kept_frame(path, lambda: self._represented(method.content, seed, warm))
        model = method.make(settings, seed).fit(Z.iloc[warm], self.case.interactions[warm])
        scores = model.decision_function(Z.iloc[cold])
        return evaluate(scores, self.case.interactions[cold], k=10).per_user

    def _represented(self, what: str, seed: int, warm: np.ndarray) -> pd.DataFrame:
        features = self.case.features
        return representation(what, seed).fit(features.iloc[warm]).transform(features)


def cold_items(runner: ColdRunner) -> dict[str, list[Evaluation]]:
    """Test each method on the first folds."""
    found = {}
    for method in METHODS:
        try:
            found[method.name] = runner.test(method)
        except ImportError as error:
            say(f"{method.name} is left out: {error}")
    return found
