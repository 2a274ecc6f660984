"""What the measures mean for the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

import numpy as np

from modalsplit.diagnosis._evidence import Evidence, Pair
from modalsplit.diagnosis._rows import Order
from modalsplit.diagnosis._sample import Floats
from modalsplit.diagnosis._words import Finding, counted, problem, warning

# Agreement of common parts on new rows, as a share of what held-out rows of fit had.
KEPT_AGREEMENT = 0.8
# Common parts correlate column by column at least so much, as a share of what the features' own directions do.
COLUMNS_AGREE = 0.5
DEVIATIONS = 3.0
READABLE = 0.15
JOIN = "Join the modalities by id, and pass both as DataFrames whose index holds the ids: then their order is checked."


class Status(Enum):
    """What a pair of modalities shares, in the features and in the common parts."""

    ALIGNED = "the common parts, or the features, of an item agree"
    LOST = "the encoder found something shared at fit, and here there is nothing"
    UNALIGNED = "the features share something, and the common parts did not agree at fit either"
    UNFIT = "the features share something, and the common parts do not show it"
    NOTHING = "neither at fit nor here is anything shared"


def status_of(evidence: Evidence, pair: tuple[int, int]) -> Status:
    """Tell what a pair shares.

    Parameters
    ----------
    evidence : Evidence
        The measures.
    pair : pair of int
        Two modalities.

    Returns
    -------
    Status
        Common parts of a rank that was forced agree on the rows of fit by chance: at fit, held-out rows
        must have confirmed them.
    """
    fitted, measured = evidence.found_sharing_at_fit(pair), evidence.pairs[pair]
    if evidence.shares(pair):
        n_strong = measured.sharing.n_strong
        least = COLUMNS_AGREE * measured.sharing.correlations[:n_strong].mean()
        if fitted and _best(measured.column_correlations, n_strong) >= least:
            return Status.ALIGNED
        at_fit = evidence.fitted_correlations(pair)
        unaligned = at_fit is not None and len(at_fit) > 0 and _best(at_fit, n_strong) < least
        return Status.UNALIGNED if unaligned and fitted else Status.UNFIT
    if fitted and evidence.is_significant(measured.agreement.p_value):
        return Status.ALIGNED
    return Status.LOST if fitted else Status.NOTHING


def _best(correlations: Floats, n: int) -> float:
    """Average the n largest."""
    return float(np.sort(correlations)[::-1][:n].mean()) if len(correlations) else 0.0


def row_findings(evidence: Evidence, statuses: Mapping[tuple[int, int], Status]) -> Iterator[Finding]:
    """Judge whether row i of all modalities is the same item.

    Parameters
    ----------
    evidence : Evidence
        The measures.
    statuses : mapping of pair of int to Status
        Of every pair.

    Yields
    ------
    Finding
        Shuffled, shifted, reversed or partly shuffled rows, modalities that share nothing, an encoder that
        does not fit the data.
    """
    by_id = _by_id(evidence)
    if by_id is not None:
        yield by_id
    for pair in _unaligned(statuses):
        status = statuses[pair]
        if status in {Status.UNFIT, Status.UNALIGNED}:
            yield _unfit(evidence, pair, status)
        elif by_id is None:
            yield _out_of_order(evidence, pair) if evidence.pairs[pair].order else _unrelated(evidence, pair, status)
    for pair, status in statuses.items():
        if status is Status.ALIGNED and by_id is None:
            yield from _partly(evidence, pair)


def _unaligned(statuses: Mapping[tuple[int, int], Status]) -> list[tuple[int, int]]:
    """One pair for each modality that agrees with none, if possible with one that agrees with others."""
    at_home = {m for pair, status in statuses.items() if status is Status.ALIGNED for m in pair}
    chosen: list[tuple[int, int]] = []
    for m in sorted({m for pair in statuses for m in pair} - at_home):
        candidates = sorted((p for p in statuses if m in p), key=lambda p: not at_home & set(p))
        if not at_home and any(m in pair for pair in chosen):
            continue
        chosen.append(candidates[0])
    return chosen


def _by_id(evidence: Evidence) -> Finding | None:
    ids, (a, b) = evidence.ids, _names(evidence, (0, 1))
    if ids.verdict == "reordered":
        return problem(
            "shuffled-rows",
            f"The rows are in different orders, for certain: the indexes hold the same ids, but {ids.n_moved} rows "
            f"have another id in one modality than in another, the first is row {ids.first}. Align them before fit "
            f"and diagnose: {b} = {b}.loc[{a}.index].",
        )
    if ids.verdict == "different":
        return problem(
            "different-ids",
            f"The indexes hold different ids in {ids.n_moved} rows, the first is row {ids.first}. Keep the items that all "
            f"modalities have, in one order: ids = {a}.index.intersection({b}.index), then .loc[ids] of each.",
        )
    return None


def _out_of_order(evidence: Evidence, pair: tuple[int, int]) -> Finding:
    a, b = _names(evidence, pair)
    order = evidence.pairs[pair].order
    assert order is not None
    code = "reversed-rows" if order.is_reversed else "shifted-rows"
    return problem(code, f"Your {b} rows are out of step with your {a} rows: {_belongs(order, a, b, 'n - 1')}")


def _belongs(order: Order, a: str, b: str, last: str) -> str:
    offset = f" + {order.offset}" if order.offset > 0 else f" - {-order.offset}" if order.offset < 0 else ""
    if order.is_reversed:
        minus = f" - {order.offset}" if order.offset > 0 else f" + {-order.offset}" if order.offset < 0 else ""
        return f"row i of {a} matches row {last} - i{minus} of {b}. Reverse one of them."
    longer = (b, a) if order.offset > 0 else (a, b)
    return (
        f"row i of {a} matches row i{offset} of {b}. Look for {counted(abs(order.offset), 'row')} too many in {longer[0]} "
        f"or missing in {longer[1]} before that (a header, a failed download), and match the rows by id."
    )


def _unrelated(evidence: Evidence, pair: tuple[int, int], status: Status) -> Finding:
    a, b = _names(evidence, pair)
    measured = evidence.pairs[pair]
    if status is Status.LOST:
        return problem(
            "shuffled-rows",
            f"Your {b} rows look shuffled against your {a} rows: the common parts of an item agree with "
            f"r = {measured.agreement.value:.2f} (p = {measured.agreement.p_value:.2g}){_at_fit(evidence, pair)}. "
            f"{_hints(evidence, pair)}{JOIN}",
        )
    dependence = measured.raw_dependence
    if dependence is not None and evidence.is_significant(dependence.p_value):
        return problem(
            "nonlinear-sharing",
            f"The encoder found nothing in common, and {a} and {b} are not correlated, but they depend on each other: RBF "
            f'HSIC has p = {dependence.p_value:.3g}. Fit with objective="stable", which finds non-linear sharing; if it did, '
            "on more items.",
        )
    checked = (
        "The ids agree row by row, so independent modalities are the likelier case."
        if evidence.ids.verdict == "same"
        else f"To tell which: {JOIN[0].lower()}{JOIN[1:]} Check the join that made the matrices."
    )
    return problem(
        "nothing-shared",
        f"The {a} and {b} modalities share nothing: the leading canonical correlation on held-out rows is "
        f"{measured.sharing.correlations[0]:.2f} (chance: up to {measured.sharing.level:.2f}), and RBF HSIC finds no dependence "
        f"(p = {1.0 if dependence is None else dependence.p_value:.2g}). Either they are independent, or the rows of one are "
        f"in another order. {_hints(evidence, pair)}{checked}",
    )


def _unfit(evidence: Evidence, pair: tuple[int, int], status: Status) -> Finding:
    a, b = _names(evidence, pair)
    sharing = evidence.pairs[pair].sharing
    shared = f"{a} and {b} share {counted(sharing.n_strong, 'direction')} here (correlation {sharing.correlations[0]:.2f} on held-out rows)"
    if status is Status.UNALIGNED:
        return problem(
            "unaligned-common",
            f"{shared}, but the common parts do not agree (r = {evidence.pairs[pair].agreement.value:.2f}), nor did they on "
            f"held-out rows of fit: the objective has not aligned them. "
            'Fit with objective="stable" or "cca", or train for more epochs.',
        )
    if not evidence.found_sharing_at_fit(pair):
        return problem(
            "fitted-on-other-rows",
            f"{shared}, but the encoder found nothing in common when it was fitted. Its rows were in another order then, "
            "or too few. Fit it on these items.",
        )
    return problem(
        "other-features",
        f"{shared}, but the common parts do not agree (r = {evidence.pairs[pair].agreement.value:.2f}). The encoder was fitted "
        "on other features: another featurizer, or columns in another order. Pass the features of fit, or fit again.",
    )


def _partly(evidence: Evidence, pair: tuple[int, int]) -> Iterator[Finding]:
    a, b = _names(evidence, pair)
    measured = evidence.pairs[pair]
    if measured.block is not None:
        yield _block(evidence, measured, a, b)
        return
    expected = evidence.expected_agreement(pair)
    slack = DEVIATIONS / len(evidence.sample.rows) ** 0.5
    if expected is not None and measured.agreement.value < KEPT_AGREEMENT * expected - slack:
        yield warning(
            "weak-agreement",
            f"The common parts of {a} and {b} agree with r = {measured.agreement.value:.2f}{_at_fit(evidence, pair)}, as if "
            f"{1 - measured.agreement.value / expected:.0%} of the rows were mismatched. Either they are, or the items are of "
            f"another kind than those of fit. {JOIN}",
        )


def _block(evidence: Evidence, measured: Pair, a: str, b: str) -> Finding:
    block, order = measured.block, measured.block_order
    assert block is not None
    first, last = int(evidence.sample.rows[block.start]), int(evidence.sample.rows[block.stop - 1])
    there = (
        f"There {_belongs(order, a, b, str(first + last))}"
        if order is not None
        else f"Their order was lost, by a sort or a join of one batch perhaps. {JOIN}"
    )
    return problem(
        "shuffled-block",
        f"Rows {first} to {last} (about) of your {b} do not match those of your {a}, while the other rows do. {there}",
    )


def _at_fit(evidence: Evidence, pair: tuple[int, int]) -> str:
    expected = evidence.expected_agreement(pair)
    return "" if expected is None else f", where held-out rows of fit had {expected:.2f}"


def _hints(evidence: Evidence, pair: tuple[int, int]) -> str:
    """Which of the two is in disorder, if neighbouring rows or labels tell."""
    a, b = _names(evidence, pair)
    sorted_ = [evidence.modalities[m].is_sorted for m in pair]
    hint = ""
    if sorted_[0] != sorted_[1]:
        kept, lost = (a, b) if sorted_[0] else (b, a)
        hint += f"Neighbouring rows of {kept} are similar and those of {lost} are not: this points to shuffled rows of {lost}. "
    if evidence.probes:
        accuracy, chance = evidence.probes["linear"], evidence.probes["chance"]["all"]
        reads = {name: accuracy[f"raw {name}"] - chance for name in (a, b)}
        kept, lost = max(reads, key=lambda name: reads[name]), min(reads, key=lambda name: reads[name])
        if reads[kept] > READABLE and reads[lost] < READABLE / 3:
            hint += (
                f"Labels can be read from {kept} ({accuracy[f'raw {kept}']:.0%} right) but not from {lost} "
                f"({accuracy[f'raw {lost}']:.0%}; chance is {chance:.0%}), so the rows of {lost} are out of order. "
            )
    return hint


def _names(evidence: Evidence, pair: tuple[int, int]) -> tuple[str, str]:
    return evidence.sample.names[pair[0]], evidence.sample.names[pair[1]]
