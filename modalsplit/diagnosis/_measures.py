"""The measures as rows of a table: name, part, modalities, value, what to compare it with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from modalsplit.diagnosis._evidence import Evidence, Pair

NAN = float("nan")
PARTS = ("common", "specific")


class Measure(NamedTuple):
    """One number.

    Attributes
    ----------
    metric : str
        What was measured.
    part : str
        Of which part.
    modalities : str
        Of which modality, or between which.
    value : float
        The number.
    reference : float
        What chance gives, or what held-out rows of fit had; NaN if there is nothing to compare with.
    p_value : float
        Of a permutation test; NaN if there was none.
    better : {"higher", "lower", ""}
        Which way is better, if either.
    """

    metric: str
    part: str
    modalities: str
    value: float
    reference: float = NAN
    p_value: float = NAN
    better: str = ""


def measures_of(evidence: Evidence) -> tuple[Measure, ...]:
    """List all measures.

    Parameters
    ----------
    evidence : Evidence
        What was measured.

    Returns
    -------
    tuple of Measure
        Pairs first, then modalities, then probes.
    """
    rows: list[Measure] = []
    for (a, b), pair in evidence.pairs.items():
        names = evidence.sample.names[a], evidence.sample.names[b]
        rows += _sharing(evidence, (a, b), *names)
        rows += _dependence(pair, *names)
        rows += _prediction(pair, *names)
        rows += _retrieval(evidence, pair, *names)
        rows += _gaps(pair, *names)
    rows += _modalities(evidence)
    rows += _history(evidence)
    rows += _probes(evidence)
    return tuple(rows)


def _sharing(evidence: Evidence, indices: tuple[int, int], a: str, b: str) -> Iterator[Measure]:
    both, pair = f"{a} ~ {b}", evidence.pairs[indices]
    sharing, expected = pair.sharing, evidence.expected_agreement(indices)
    agreed = NAN if expected is None else expected
    yield Measure("shared directions", "raw", both, sharing.n_strong, len(pair.columns), sharing.p_value)
    yield Measure("directions above chance", "raw", both, sharing.n_above)
    yield Measure("strongest canonical correlation", "raw", both, float(sharing.correlations[0]), sharing.level)
    yield Measure("agreement", "common", both, pair.agreement.value, agreed, pair.agreement.p_value, "higher")
    at_fit = evidence.fitted.get("residual_share", NAN) if len(evidence.sample.names) == 2 else NAN
    yield Measure("residual share", "specific", both, pair.residual_share, float(at_fit), NAN, "lower")


def _dependence(pair: Pair, a: str, b: str) -> Iterator[Measure]:
    for part, found, better in (("common", pair.common, "higher"), ("specific", pair.specific, "lower")):
        for kernel, dependence in found.items():
            yield Measure(_cka(kernel), part, f"{a} ~ {b}", dependence.cka, 0.0, dependence.p_value, better)
    if pair.raw_dependence is not None:
        yield Measure(_cka("rbf"), "raw", f"{a} ~ {b}", pair.raw_dependence.cka, 0.0, pair.raw_dependence.p_value)


def _prediction(pair: Pair, a: str, b: str) -> Iterator[Measure]:
    predicted = {
        "raw": (pair.raw_predicts, ""),
        "common": (pair.common_predicts, "higher"),
        "specific": (pair.specific_predicts, "lower"),
    }
    for part, (both_ways, better) in predicted.items():
        for way, value in zip(_ways(a, b), both_ways, strict=True):
            yield Measure("R² of the other's features", part, way, value, 0.0, NAN, better)
    for way, value in zip(_ways(a, b), pair.specific_predicts_specific, strict=True):
        yield Measure("R² of the other's specific part", "specific", way, value, 0.0, NAN, "lower")


def _retrieval(evidence: Evidence, pair: Pair, a: str, b: str) -> Iterator[Measure]:
    for (part, k), both_ways in pair.retrieval.items():
        chance = min(1.0, k / evidence.n_compared)
        for way, value in zip(_ways(a, b), both_ways, strict=True):
            better = "higher" if part == "common" else "lower"
            yield Measure(f"retrieval recall@{k}", part, way, value, chance, NAN, better)


def _gaps(pair: Pair, a: str, b: str) -> Iterator[Measure]:
    for part, gap in pair.gaps._asdict().items():
        better = {"common": "lower", "specific": "higher"}.get(part, "")
        yield Measure("translation error", part, f"{a} ~ {b}", gap, 1.0, NAN, better)


def _modalities(evidence: Evidence) -> Iterator[Measure]:
    for name, modality in zip(evidence.sample.names, evidence.modalities, strict=True):
        ranks = {
            "raw": modality.raw_rank,
            "primitive": modality.primitive_rank,
            "common": modality.common_rank,
            "specific": modality.specific_rank,
        }
        for part, rank in ranks.items():
            yield Measure("effective rank", part, name, rank)
        for part, share in zip(PARTS, (modality.common_share, modality.specific_share), strict=True):
            yield Measure("share of variance", part, name, share)
        for kernel, dependence in modality.overlap.items():
            yield Measure(_cka(kernel), "common ~ specific", name, dependence.cka, 0.0, dependence.p_value, "lower")


def _history(evidence: Evidence) -> Iterator[Measure]:
    history = evidence.gap_history()
    if history:
        held = float(np.mean([gaps.are_ordered() for gaps in history]))
        yield Measure("epochs with L_c <= L_p < L_s", "", "", held, NAN, NAN, "higher")


def _probes(evidence: Evidence) -> Iterator[Measure]:
    for kind, found in evidence.probes.items():
        if kind != "chance":
            for part, accuracy in found.items():
                chance = evidence.probes["chance"]["all"]
                yield Measure(f"{kind} probe of labels: accuracy", part, "", accuracy, chance, NAN, "higher")
    for name, value in evidence.factors.items():
        better = "lower" if name[:2] in {"cP", "sS"} else "higher"
        yield Measure(name, "", "", value, 0.0, NAN, better)


def _cka(kernel: str) -> str:
    return {"linear": "linear CKA", "rbf": "RBF CKA"}[kernel]


def _ways(a: str, b: str) -> tuple[str, str]:
    return f"{a} → {b}", f"{b} → {a}"
