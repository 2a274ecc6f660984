"""Fits a method to a task and judges its parts, by rows that it was not fitted on."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.representation.data import Task, Views
from benchmarks.representation.methods import METHODS, N_COMPONENTS
from benchmarks.representation.search import Parts
from modalsplit.evaluate import disentanglement_score, retrieval_map, retrieval_recall_at_k

C = 0.1
N_NEIGHBOURS = 10
N_SHUFFLES = 20
RAW = "raw features"

Row = dict[str, object]


def cell(task: Task, method: str, seed: int, d: int = N_COMPONENTS) -> list[Row]:
    """Rows of the table: one a variant of the method."""
    if method == RAW:
        return [{"variant": "", "note": "", "seconds": 0.0, **raw(task), **chance(task.truth["test"])}]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rivals about themselves; what fails, raises
        fitted = METHODS[method](task.fit, d, seed)
    seconds = time.perf_counter() - start
    return [
        {
            "variant": f.variant,
            "note": f.note,
            "seconds": seconds,
            **judged(task, f.parts(task.fit), f.parts(task.test), seed),
        }
        for f in fitted
    ]


def judged(task: Task, train: Parts, test: Parts, seed: int) -> Row:
    if task.family == "planted":
        truth = task.truth
        private = (truth["private_img"], truth["private_txt"])
        score = disentanglement_score(test.common, test.specific, truth["shared"], private, random_state=seed)
        return dict(score._asdict())
    probes = {
        f"{probe} of {name}": value
        for name, pick in PICKS.items()
        for probe, value in probed(pick(train), pick(test), task.truth).items()
    }
    return {**probes, **retrieval(task, test)}


PICKS = {
    "common": lambda parts: np.hstack(parts.common),
    "specific": lambda parts: np.hstack(parts.specific),
    "both": lambda parts: np.hstack([*parts.common, *parts.specific]),
}


def raw(task: Task) -> Row:
    return {f"{p} of raw": v for p, v in probed(np.hstack(task.fit), np.hstack(task.test), task.truth).items()}


def probed(train: np.ndarray, test: np.ndarray, truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Read the classes from a part: accuracies; or each of several labels: the mean area under the curve."""
    y, y_test = truth["fit"], truth["test"]
    logistic = LogisticRegression(C=C, max_iter=1000)
    if y.ndim == 2:
        model = make_pipeline(StandardScaler(), OneVsRestClassifier(logistic)).fit(train, y)
        return {"logistic": float(roc_auc_score(y_test, model.predict_proba(test), average="macro"))}
    probes = {"logistic": logistic, "kNN": KNeighborsClassifier(N_NEIGHBOURS)}
    return {
        name: float(accuracy_score(y_test, make_pipeline(StandardScaler(), probe).fit(train, y).predict(test)))
        for name, probe in probes.items()
    }


def retrieval(task: Task, parts: Parts) -> Row:
    """Search across views by common and by specific parts: the class if there is one, and the item itself."""
    row: Row = {}
    labels = task.truth["test"]
    for name, pair in (("common", parts.common), ("specific", parts.specific)):
        image, text = same_width(pair)
        row[f"Recall@10 by {name}"] = (
            retrieval_recall_at_k(image, text, 10) + retrieval_recall_at_k(text, image, 10)
        ) / 2
        if labels.ndim == 1:
            row[f"mAP image→text by {name}"] = retrieval_map(image, text, labels, labels)
            row[f"mAP text→image by {name}"] = retrieval_map(text, image, labels, labels)
    return row


def chance(labels: np.ndarray) -> Row:
    """What retrieval gives by chance: for mAP, mean and deviation over random parts, which amounts to shuffled labels."""
    row: Row = {"Recall@10 by chance": min(1.0, 10 / len(labels))}
    if labels.ndim == 1:
        rng = np.random.default_rng(0)
        draws = rng.standard_normal((N_SHUFFLES, 2, len(labels), N_COMPONENTS))
        values = [(retrieval_map(a, b, labels, labels) + retrieval_map(b, a, labels, labels)) / 2 for a, b in draws]
        row |= {"mAP by chance": float(np.mean(values)), "mAP by chance, deviation": float(np.std(values))}
    return row


def same_width(pair: Views) -> Views:
    width = max(part.shape[1] for part in pair)
    first, second = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in pair)
    return first, second
