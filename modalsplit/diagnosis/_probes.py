"""What labels and known factors say of the parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modalsplit.diagnosis._sample import Floats, Sample
from modalsplit.evaluate import disentanglement_score

MOST_ROWS = 5000
N_NEIGHBOURS = 10


def probe_labels(sample: Sample, labels: ArrayLike, random_state: Any) -> dict[str, dict[str, float]]:
    """Read class labels from each part, by logistic regression and by neighbours.

    Parameters
    ----------
    sample : Sample
        The parts.
    labels : array-like of shape (n_items,)
        Class of every item that was given.
    random_state : RandomState
        Of the split: 70 % fit, 30 % judge; of 5,000 rows at most.

    Returns
    -------
    dict of str to dict of str to float
        ``{"linear": {"common": accuracy, ...}, "neighbours": {...}, "chance": {"all": share}}``, where chance
        is the share of the most frequent class.

    Raises
    ------
    ValueError
        If there is not one label an item, or only one class.
    """
    classes = _one_a_row(sample, labels, "labels")
    names, counts = np.unique(classes, return_counts=True)
    if len(names) < 2:
        raise ValueError(f"labels hold one class only, {names[0]!r}: there is nothing to tell apart. Leave them out.")
    rows = random_state.permutation(len(classes))[:MOST_ROWS]
    train, test = train_test_split(
        rows, test_size=0.3, random_state=random_state, stratify=classes[rows] if counts.min() > 1 else None
    )
    found: dict[str, dict[str, float]] = {"linear": {}, "neighbours": {}}
    for name, part in _columns(sample).items():
        for kind in found:
            found[kind][name] = _accuracy(kind, part, classes, train, test)
    found["chance"] = {"all": float(np.mean(classes[test] == names[np.argmax(counts)]))}
    return found


def probe_factors(sample: Sample, factors: Any, random_state: Any) -> dict[str, float]:
    """Score the parts by known factors.

    Parameters
    ----------
    sample : Sample
        The parts.
    factors : pair (shared, private) or mapping
        See `modalsplit.diagnose`.
    random_state : RandomState
        Of the probes.

    Returns
    -------
    dict of str to float
        The fields of `modalsplit.evaluate.DisentanglementScore`.
    """
    shared, private = _factors(factors)
    score = disentanglement_score(
        sample.common,
        sample.specific,
        _one_a_row(sample, shared, "factors: shared"),
        [_one_a_row(sample, block, "factors: private") for block in private],
        random_state=random_state,
    )
    return score._asdict()


def _factors(factors: Any) -> tuple[Any, Sequence[Any]]:
    if isinstance(factors, Mapping):
        private = factors.get("private")
        if private is None:
            private = [block for name, block in factors.items() if str(name).startswith("private_")]
        if "shared" not in factors or not len(private):
            raise ValueError(
                f"factors has the keys {sorted(map(str, factors))}. It needs 'shared' and 'private', a sequence with "
                "one matrix a modality."
            )
        return factors["shared"], private
    if not isinstance(factors, Sequence) or len(factors) != 2:
        raise ValueError(
            f"factors is a {type(factors).__name__}. Pass the pair (shared, private), where private holds one "
            "matrix a modality, or a mapping with these keys."
        )
    return factors[0], factors[1]


def _one_a_row(sample: Sample, values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 0 or len(array) != sample.n_items:
        raise ValueError(f"{name} have the shape {array.shape}, for {sample.n_items} items. Give one row an item.")
    return array[sample.rows]


def _columns(sample: Sample) -> dict[str, Floats]:
    both = [np.hstack(pair) for pair in zip(sample.common, sample.specific, strict=True)]
    columns = {"common": np.hstack(sample.common), "specific": np.hstack(sample.specific), "both": np.hstack(both)}
    columns["raw"] = np.hstack(sample.raw)
    return {**columns, **{f"raw {name}": raw for name, raw in zip(sample.names, sample.raw, strict=True)}}


def _accuracy(kind: str, part: Floats, classes: NDArray[Any], train: Any, test: Any) -> float:
    if kind == "linear":
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    else:
        probe = KNeighborsClassifier(min(N_NEIGHBOURS, len(train)))
    return float(probe.fit(part[train], classes[train]).score(part[test], classes[test]))
