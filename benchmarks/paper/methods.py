"""The methods that are compared: what they see, their settings, and the space that is searched for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import clone

from benchmarks.paper.data import N_REGIONS
from modalsplit import AttentiveBPR
from modalsplit.baselines import ALS, BPR, EASE, MMGCN, NFM, VBPR, VECF, ContentKNN, NeuMF, Popularity

WIDTHS = CategoricalDistribution((32, 64, 128))


def log(low: float, high: float) -> FloatDistribution:
    return FloatDistribution(low, high, log=True)


def epochs(low: int, high: int) -> IntDistribution:
    return IntDistribution(low, high, log=True)


# Around the defaults, a factor of 5 to 10 either way; the first trial is the defaults.
PAIRS = {
    "n_components": WIDTHS,
    "learning_rate": log(1e-3, 3e-2),
    "l2": log(3e-3, 0.3),
    "max_epochs": epochs(10, 60),
}
NETWORKS = {
    "n_components": WIDTHS,
    "learning_rate": log(3e-4, 1e-2),
    "l2": log(1e-6, 1e-1),
    "max_epochs": epochs(8, 40),
}
REGIONS = {
    "n_components": WIDTHS,
    "learning_rate": log(5e-4, 2e-2),
    "l2": log(1e-4, 1e-1),
    "max_epochs": epochs(8, 40),
}
GRAPH = {
    "n_layers": IntDistribution(1, 3),
    "learning_rate": log(5e-4, 1e-2),
    "l2": log(1e-5, 1e-1),
    "max_epochs": epochs(10, 40),
}
ATTENTIVE = {
    "n_components": WIDTHS,
    "learning_rate": log(2e-3, 2e-2),
    "l2": log(3e-3, 0.5),
    "max_epochs": epochs(3, 30),
}
PAPER = {"learning_rate": log(1e-3, 3e-2), "l2": log(1e-4, 0.1), "max_epochs": epochs(20, 100)}


@dataclass(frozen=True)
class Method:
    """A recommender, the content it sees, and what of it is tuned."""

    name: str
    content: str
    recommender: Any
    space: dict[str, BaseDistribution]

    def make(self, settings: dict[str, Any], seed: int) -> Any:
        model = clone(self.recommender).set_params(**settings)
        return model.set_params(random_state=seed) if "random_state" in model.get_params() else model

    @property
    def defaults(self) -> dict[str, Any]:
        """The setting of the first trial: what the recommender has by default, 64 columns, or the least of the space."""
        given = self.recommender.get_params()
        low = {name: getattr(within, "low", 0) for name, within in self.space.items()}
        return {name: 64 if given[name] is None else max(given[name], low[name]) for name in self.space}


def _pamd(attention: str, loss: str) -> AttentiveBPR:
    """The recommender of the paper ("item", "bpr") or of the released code ("user", "logistic").

    Embeddings start small and steps are larger than published: from 0 to 1 and at 1e-4 it takes hundreds of epochs.
    """
    return AttentiveBPR(
        attention=attention,
        loss=loss,
        users="embedding",
        projection=False,
        item_bias=False,
        fine_tune=True,
        sampling="interactions",
        n_negatives=1,
        decay=False,
        l2=1e-3,
        max_epochs=40,
    )


OURS = "AttentiveBPR, parts"
NO_CONTENT = (
    Method("popularity", "none", Popularity(), {}),
    Method("BPR", "none", BPR(), PAIRS),
    Method("ALS", "none", ALS(), {"n_components": WIDTHS, "alpha": log(1, 40), "l2": log(0.3, 100)}),
    Method("EASE", "none", EASE(), {"l2": log(10, 5000)}),
    Method("AttentiveBPR, no content", "none", AttentiveBPR(parts=None), ATTENTIVE),
)
# Fig. 3c: fitted on raw features and, there, on parts.
PLUGGED = (
    Method("BPR++", "raw", VBPR(), PAIRS),
    Method("NFM++", "raw", NFM(), NETWORKS),
    Method("NeuMF++", "raw", NeuMF(), NETWORKS),
    Method("MMGCN", "raw", MMGCN(), GRAPH),
)
BASELINES = (
    *PLUGGED,
    Method("BPR++, content only", "raw", VBPR(use_id=False), PAIRS),
    Method("VECF", "regions", VECF(n_regions=N_REGIONS), REGIONS),
    Method("Corr-AE", "codes", VBPR(), PAIRS),
    Method("content kNN", "raw", ContentKNN(), {}),
)
PAMD_OFFICIAL = Method("PAMD, official", "official", _pamd("user", "logistic"), PAPER)
PAMD_PAPER = Method("PAMD, paper", "paper", _pamd("item", "bpr"), PAPER)
RAW = Method("AttentiveBPR, raw", "raw", AttentiveBPR(), ATTENTIVE)
PARTS = Method(OURS, "stable", AttentiveBPR(), ATTENTIVE)
ALL = (*NO_CONTENT, *BASELINES, PAMD_OFFICIAL, PAMD_PAPER, RAW, PARTS)
