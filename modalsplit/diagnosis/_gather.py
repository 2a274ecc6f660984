"""Take all measures of a sample that need no labels or factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from modalsplit.diagnosis._evidence import Dependence, Evidence, Modality, Pair
from modalsplit.diagnosis._parts import effective_rank, predicted_share, residual_share, translation_gaps, variance
from modalsplit.diagnosis._rows import (
    Agreement,
    Order,
    best_blind_order,
    best_order,
    compare_ids,
    find_block,
    is_sorted,
    match_percentiles,
    measure_agreement,
    shares_something,
)
from modalsplit.diagnosis._sample import Floats, Rows, Sample
from modalsplit.diagnosis._sharing import Sharing, is_significant, measure_sharing
from modalsplit.evaluate import cka, permutation_test, retrieval_recall_at_k

KERNELS = ("linear", "rbf")
LIST_LENGTHS = (1, 10)


class Measuring(NamedTuple):
    """What all measures need."""

    sample: Sample
    n_permutations: int
    compared: Rows
    train: Rows
    test: Rows
    rng: Any


def gather(encoder: Any, sample: Sample, X: Any, y: Any, n_permutations: int, max_rows: int, rng: Any) -> Evidence:
    """Measure everything that needs no labels or factors.

    Parameters
    ----------
    encoder : fitted encoder
        Asked what it knows of its fit.
    sample : Sample
        Its parts of the data.
    X, y : array-like
        Asked for ids.
    n_permutations : int
        Of every test.
    max_rows : int
        Rows of the measures that compare every row with every other.
    rng : RandomState
        Of everything random.

    Returns
    -------
    Evidence
        Without probes.
    """
    n = len(sample.rows)
    compared = np.sort(rng.permutation(n)[:max_rows])
    train, test = train_test_split(np.arange(n), test_size=0.25, random_state=rng)
    measuring = Measuring(sample, n_permutations, compared, train, test, rng)
    fitted = {
        name: getattr(encoder, f"{name}_")
        for name in ("canonical_correlations", "common_rank", "residual_share", "translation_error", "primitive")
        if hasattr(encoder, f"{name}_")
    }
    fitted["history"] = list(getattr(encoder, "history_", None) or [])
    fitted["objective"] = getattr(encoder, "objective", None)
    return Evidence(
        sample=sample,
        ids=compare_ids(X, y),
        modalities=[_modality(measuring, m) for m in range(len(sample.names))],
        pairs={pair: _pair(measuring, *pair) for pair in sample.pairs},
        fitted=fitted,
        n_permutations=n_permutations,
        n_compared=len(compared),
    )


def _modality(measuring: Measuring, m: int) -> Modality:
    sample = measuring.sample
    common, specific, primitive = sample.common[m], sample.specific[m], sample.primitive[m]
    whole = variance(primitive) or 1.0
    return Modality(
        raw_rank=effective_rank(sample.raw[m]),
        primitive_rank=effective_rank(primitive),
        common_rank=effective_rank(common),
        specific_rank=effective_rank(specific),
        n_common_columns=int(np.any(common != 0, axis=0).sum()),
        common_share=variance(common) / whole,
        specific_share=variance(specific) / whole,
        scale=float(np.linalg.norm(primitive, 2) / np.sqrt(len(primitive))),
        input_scale=sample.input_scale[m],
        overlap=_dependences(measuring, common, specific),
        is_sorted=is_sorted(sample.whitened(m)),
    )


def _pair(measuring: Measuring, a: int, b: int) -> Pair:
    sample, n_permutations, rng = measuring.sample, measuring.n_permutations, measuring.rng
    common, specific, primitive = ((part[a], part[b]) for part in (sample.common, sample.specific, sample.primitive))
    raw = (sample.raw[a], sample.raw[b])
    sharing = measure_sharing(sample.whitened(a), sample.whitened(b), n_permutations, rng)
    columns = np.flatnonzero(np.any(common[0] != 0, axis=0) & np.any(common[1] != 0, axis=0))
    shared = common[0][:, columns], common[1][:, columns]
    agreement = measure_agreement(*shared, n_permutations, rng)
    dependent = None if shares_something(sharing, n_permutations) else _dependence(measuring, *raw, "rbf")
    block = find_block(match_percentiles(*shared, rng), n_permutations, rng)
    return Pair(
        sharing=sharing,
        agreement=agreement,
        residual_share=residual_share(primitive, specific),
        specific=_dependences(measuring, *specific),
        common=_dependences(measuring, *common),
        raw_predicts=_both_ways(measuring, raw, raw),
        common_predicts=_both_ways(measuring, common, raw),
        specific_predicts=_both_ways(measuring, specific, raw),
        specific_predicts_specific=_both_ways(measuring, specific, specific),
        retrieval=_retrieval(measuring, {"common": shared, "specific": specific}),
        gaps=translation_gaps(common, specific, primitive, measuring.train, measuring.test),
        columns=columns,
        column_correlations=_column_correlations(*shared),
        order=_order(measuring, (a, b), shared, agreement, sharing),
        block=block,
        block_order=None if block is None else best_order(*(c[block.start : block.stop] for c in shared)),
        raw_dependence=dependent,
    )


def _dependences(measuring: Measuring, a: Floats, b: Floats) -> dict[str, Dependence]:
    return {kernel: _dependence(measuring, a, b, kernel) for kernel in KERNELS}


def _dependence(measuring: Measuring, a: Floats, b: Floats, kernel: Any) -> Dependence:
    a, b = (x[measuring.compared][:, np.any(x != 0, axis=0)] for x in (a, b))
    if not a.shape[1] or not b.shape[1]:
        return Dependence(0.0, 1.0)
    test = permutation_test(a, b, kernel=kernel, n_permutations=measuring.n_permutations, random_state=measuring.rng)
    return Dependence(cka(a, b, kernel=kernel), test.p_value)


def _both_ways(
    measuring: Measuring, source: tuple[Floats, Floats], target: tuple[Floats, Floats]
) -> tuple[float, float]:
    forth, back = (
        predicted_share(source[i], target[j], measuring.train, measuring.test) if np.any(target[j]) else 0.0
        for i, j in ((0, 1), (1, 0))
    )
    return forth, back


def _retrieval(
    measuring: Measuring, parts: Mapping[str, tuple[Floats, Floats]]
) -> dict[tuple[str, int], tuple[float, float]]:
    rows = measuring.compared
    return {
        (name, k): (retrieval_recall_at_k(a[rows], b[rows], k), retrieval_recall_at_k(b[rows], a[rows], k))
        for name, (a, b) in parts.items()
        if a.shape[1] == b.shape[1]
        for k in LIST_LENGTHS
    }


def _column_correlations(a: Floats, b: Floats) -> Floats:
    correlations: Floats = np.sum(a * b, axis=0) / np.sqrt(np.sum(a**2, axis=0) * np.sum(b**2, axis=0))
    return correlations


def _order(
    measuring: Measuring,
    pair: tuple[int, int],
    common: tuple[Floats, Floats],
    agreement: Agreement,
    sharing: Sharing,
) -> Order | None:
    """Look for another order of the rows only if the one they have shows nothing."""
    sample, n_permutations = measuring.sample, measuring.n_permutations
    if is_significant(agreement.p_value, n_permutations) or shares_something(sharing, n_permutations):
        return None
    padded = []
    for part in common:
        full = np.zeros((sample.n_items, part.shape[1]))
        full[sample.rows] = part
        padded.append(full)
    return best_order(padded[0], padded[1]) or best_blind_order(
        sample.whitened(pair[0]), sample.whitened(pair[1]), sample.rows, n_permutations, measuring.rng
    )
