"""Everything that is measured, for the findings to judge and the report to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from modalsplit.diagnosis._parts import (
    Gaps,
    effective_rank,
    predicted_share,
    residual_share,
    translation_gaps,
    variance,
)
from modalsplit.diagnosis._rows import (
    Agreement,
    Block,
    Ids,
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


class Dependence(NamedTuple):
    """CKA of two matrices, 0 if one does not vary, and the p-value of HSIC."""

    cka: float
    p_value: float


@dataclass(frozen=True)
class Modality:
    """What is measured of one modality.

    Attributes
    ----------
    raw_rank, primitive_rank, common_rank, specific_rank : float
        Effective ranks.
    n_common_columns : int
        Columns of the common part that vary.
    common_share, specific_share : float
        Variance of the part, divided by that of the primitive.
    scale, input_scale : float
        Standard deviation along the largest direction, of the primitive and of the features.
    overlap : dict of str to Dependence
        Of common and specific part, for each kernel.
    is_sorted : bool
        Whether neighbouring rows are similar.
    """

    raw_rank: float
    primitive_rank: float
    common_rank: float
    specific_rank: float
    n_common_columns: int
    common_share: float
    specific_share: float
    scale: float
    input_scale: float
    overlap: dict[str, Dependence]
    is_sorted: bool


@dataclass(frozen=True)
class Pair:
    """What is measured between two modalities; of pairs of numbers, the first reads first → second.

    Attributes
    ----------
    sharing : Sharing
        Of the features themselves.
    agreement : Agreement
        Of the common parts.
    residual_share : float
        Covariance that the specific parts still carry.
    specific, common : dict of str to Dependence
        Between the two specific and the two common parts, for each kernel.
    raw_predicts, common_predicts, specific_predicts : pair of float
        R² of the other modality's principal components.
    specific_predicts_specific : pair of float
        R² of the other modality's specific part.
    retrieval : dict of (str, int) to pair of float
        Recall at k, for each part and k.
    gaps : Gaps
        Of one map for all parts.
    columns : ndarray of int of shape (n_shared_columns,)
        Columns that vary in both common parts; agreement, retrieval and block are measured in these.
    column_correlations : ndarray of shape (n_shared_columns,)
        Of these columns.
    order : Order or None
        Where the rows belong, if not where they are.
    block : Block or None
        Rows of the sample that do not match while the others do.
    block_order : Order or None
        Where the rows of the block belong.
    raw_dependence : Dependence or None
        RBF dependence of the features; measured if they are not correlated.
    """

    sharing: Sharing
    agreement: Agreement
    residual_share: float
    specific: dict[str, Dependence]
    common: dict[str, Dependence]
    raw_predicts: tuple[float, float]
    common_predicts: tuple[float, float]
    specific_predicts: tuple[float, float]
    specific_predicts_specific: tuple[float, float]
    retrieval: dict[tuple[str, int], tuple[float, float]]
    gaps: Gaps
    columns: Rows
    column_correlations: Floats
    order: Order | None
    block: Block | None
    block_order: Order | None
    raw_dependence: Dependence | None


@dataclass(frozen=True)
class Evidence:
    """All that is known when findings are made.

    Attributes
    ----------
    sample : Sample
        The rows.
    ids : Ids
        What the indexes say.
    modalities : list of Modality
        In the order of the sample's names.
    pairs : dict of (int, int) to Pair
        Every two modalities, once.
    fitted : dict of str to Any
        What the encoder says of its own fit, where it has the attribute.
    n_permutations : int
        Of every test.
    n_compared : int
        Rows of the measures that compare every row with every other.
    probes : dict of str to dict of str to float
        With labels: accuracy of each probe, for each part; and chance.
    factors : dict of str to float
        With factors: D, D_strict and the probes.
    """

    sample: Sample
    ids: Ids
    modalities: list[Modality]
    pairs: dict[tuple[int, int], Pair]
    fitted: dict[str, Any]
    n_permutations: int
    n_compared: int
    probes: dict[str, dict[str, float]] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)

    def is_significant(self, p_value: float) -> bool:
        """Tell whether a p-value is small enough for so many permutations."""
        return is_significant(p_value, self.n_permutations)

    def shares(self, pair: tuple[int, int]) -> bool:
        """Tell whether the features of a pair are correlated beyond chance."""
        return shares_something(self.pairs[pair].sharing, self.n_permutations)

    def fitted_correlations(self, pair: tuple[int, int]) -> Floats | None:
        """Correlations on held-out rows of fit of as many directions as both common parts have; None if unknown."""
        known = self.fitted.get("canonical_correlations")
        if known is None or (np.ndim(known) == 1 and len(self.pairs) > 1):
            return None
        # One row a pair, or that of the only pair.
        row: Floats = np.atleast_2d(np.asarray(known, dtype=float))[self.sample.pairs.index(pair)]
        n_columns = len(self.pairs[pair].columns)
        return row[:n_columns] if len(row) >= n_columns else None

    def expected_agreement(self, pair: tuple[int, int]) -> float | None:
        """Average what held-out rows of fit correlated; None if that is unknown or there is nothing common."""
        correlations = self.fitted_correlations(pair)
        return None if correlations is None or not len(correlations) else float(correlations.mean())

    def found_sharing_at_fit(self, pair: tuple[int, int]) -> bool:
        """Tell whether a pair has common parts that held-out rows of fit confirmed, as far as the encoder says."""
        if not len(self.pairs[pair].columns):
            return False
        correlations = self.fitted_correlations(pair)
        # How many rows fit had is unknown: few rows here must not make what it found doubtful.
        least = min(0.2, max(0.1, 3 / np.sqrt(len(self.sample.rows))))
        return correlations is None or bool(correlations.max() > least)

    def gap_history(self) -> list[Gaps]:
        """Gaps of every epoch that recorded them, in the units of its loss."""
        keys = ("common_gap", "primitive_gap", "specific_gap")
        return [
            Gaps(*(float(record[key]) for key in keys)) for record in self.fitted["history"] if set(keys) <= set(record)
        ]


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
