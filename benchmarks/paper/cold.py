"""Items that nobody took yet: known by content alone, ranked among themselves.

The items are dealt to ten folds. The first ones, a seed each, are the tests in turn, ranked by models fitted on all other
items. Settings are searched on the last three, each ranked by a model of what is neither that fold nor a test. Encoders too
are fitted on the items that a model knows.
"""

from __future__ import annotations

import time
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
from benchmarks.paper.kept import TARGET, Kept
from benchmarks.paper.methods import ATTENTIVE, OURS, PAIRS, WIDTHS, Method, epochs, log
from benchmarks.paper.run import Budget, Runner
from modalsplit import AttentiveBPR, Interactions
from modalsplit.baselines import ALS, EASE, VBPR, ContentKNN
from modalsplit.evaluate import evaluate

N_FOLDS, N_VALIDATED = 10, 3


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
        features = sparse.csr_matrix(features)
        taken = sparse.coo_matrix(Y.T, dtype=np.float32)
        for indices in ("indices", "indptr"):  # LightFM reads 32-bit ones alone
            setattr(features, indices, getattr(features, indices).astype(np.int32))
        taken.coords = tuple(each.astype(np.int32) for each in taken.coords)
        self.model_.fit(taken, item_features=features, epochs=self.max_epochs)
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

    def __init__(self, case: Case, budget: Budget, kept: Kept, *, compute: bool = True) -> None:
        if budget.seeds > N_FOLDS - N_VALIDATED - 1:
            raise ValueError(
                f"{budget.seeds} seeds: a seed is one of at most {N_FOLDS - N_VALIDATED - 1} folds for tests."
            )
        super().__init__(replace(case, name=f"{case.name}, cold items"), budget, kept, compute=compute)
        order = np.random.default_rng(0).permutation(len(case.features))
        self.folds = np.array_split(order, N_FOLDS)

    def _has_chance(self, method: Method) -> bool:
        return True  # a seed is a fold

    def _fold(self, seed: int) -> int:
        return seed - 1

    def _validated(self, method: Method, settings: dict[str, Any]) -> float:
        of_search = range(self.budget.seeds, N_FOLDS)
        values = []
        for fold in of_search[-N_VALIDATED:]:
            warm = [self.folds[other] for other in of_search if other != fold]
            values.append(self._ranked(method, settings, 0, warm, fold, "valid")[TARGET].mean())
        return float(np.mean(values))

    def _tested(self, method: Method, settings: dict[str, Any], seed: int, case: Case) -> pd.DataFrame:
        fold = self._fold(seed)
        warm = [other for i, other in enumerate(self.folds) if i != fold]
        return self._ranked(method, settings, seed, warm, fold, "test")

    def _ranked(
        self, method: Method, settings: dict[str, Any], seed: int, known: list[np.ndarray], fold: int, part: str
    ) -> pd.DataFrame:
        warm, cold = np.sort(np.concatenate(known)), self.folds[fold]
        path = CACHE / self.case.name / f"{method.content}-{part}-{fold}-{seed}.parquet"
        Z = kept_frame(path, lambda: self._represented(method.content, seed, warm))
        start = time.perf_counter()
        model = self.make(method, settings, seed).fit(Z.iloc[warm], self.case.interactions[warm])
        scores = model.decision_function(Z.iloc[cold])
        seconds = time.perf_counter() - start
        return evaluate(scores, self.case.interactions[cold], k=10).per_user.assign(seconds=seconds)

    def _represented(self, what: str, seed: int, warm: np.ndarray) -> pd.DataFrame:
        features = self.case.features
        return representation(what, seed, **self.case.encoder).fit(features.iloc[warm]).transform(features)
