"""Everything that is measured, for the findings to judge and the report to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from modalsplit.diagnosis._parts import Gaps
from modalsplit.diagnosis._rows import Agreement, Block, Ids, Order, shares_something
from modalsplit.diagnosis._sample import Floats, Rows, Sample
from modalsplit.diagnosis._sharing import Sharing, is_significant


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
        """Tell whether a p-value is small enough for so many permutations.

        Parameters
        ----------
        p_value : float
            Of one of the tests.

        Returns
        -------
        bool
            True if it is.
        """
        return is_significant(p_value, self.n_permutations)

    def shares(self, pair: tuple[int, int]) -> bool:
        """Tell whether the features of a pair are correlated beyond chance.

        Parameters
        ----------
        pair : pair of int
            Two modalities.

        Returns
        -------
        bool
            True if they are.
        """
        return shares_something(self.pairs[pair].sharing, self.n_permutations)

    def fitted_correlations(self, pair: tuple[int, int]) -> Floats | None:
        """Correlations on held-out rows of fit of as many directions as both common parts have.

        Parameters
        ----------
        pair : pair of int
            Two modalities.

        Returns
        -------
        ndarray of shape (n_shared_columns,) or None
            None if the encoder does not say it of this pair.
        """
        known = self.fitted.get("canonical_correlations")
        if known is None or (np.ndim(known) == 1 and len(self.pairs) > 1):
            return None
        # One row a pair, or that of the only pair.
        row: Floats = np.atleast_2d(np.asarray(known, dtype=float))[self.sample.pairs.index(pair)]
        n_columns = len(self.pairs[pair].columns)
        return row[:n_columns] if len(row) >= n_columns else None

    def expected_agreement(self, pair: tuple[int, int]) -> float | None:
        """Average what the common directions correlated on held-out rows of fit.

        Parameters
        ----------
        pair : pair of int
            Two modalities.

        Returns
        -------
        float or None
            None if that is unknown or there is nothing common.
        """
        correlations = self.fitted_correlations(pair)
        return None if correlations is None or not len(correlations) else float(correlations.mean())

    def found_sharing_at_fit(self, pair: tuple[int, int]) -> bool:
        """Tell whether a pair has common parts that held-out rows of fit confirmed.

        Parameters
        ----------
        pair : pair of int
            Two modalities.

        Returns
        -------
        bool
            True if so, or if the encoder does not say.
        """
        if not len(self.pairs[pair].columns):
            return False
        correlations = self.fitted_correlations(pair)
        # How many rows fit had is unknown: few rows here must not make what it found doubtful.
        least = min(0.2, max(0.1, 3 / np.sqrt(len(self.sample.rows))))
        return correlations is None or bool(correlations.max() > least)

    def gap_history(self) -> list[Gaps]:
        """List the gaps of every epoch that recorded them.

        Returns
        -------
        list of Gaps
            In the units of the loss.
        """
        keys = ("common_gap", "primitive_gap", "specific_gap")
        return [
            Gaps(*(float(record[key]) for key in keys)) for record in self.fitted["history"] if set(keys) <= set(record)
        ]
