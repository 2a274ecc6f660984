"""What the measures mean: each finding names a failure and says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from modalsplit.diagnosis._evidence import Evidence
from modalsplit.diagnosis._row_findings import Status, row_findings, status_of
from modalsplit.diagnosis._sharing import LEAST_SHARE
from modalsplit.diagnosis._words import Finding, counted, problem, warning

# All thresholds leave room for what healthy fits show on a hundred new items.
COPIED, NEARLY_COPIED = 0.99, 0.9
# A leak is large by one of these and at least the lesser of the other.
LEAKED_COVARIANCE, LEAST_COVARIANCE = 0.15, 0.02
LEAKED_R2, LEAST_R2 = 0.05, 0.02
# On n rows RBF CKA scatters by some 0.2 / sqrt(n), and every pair of parts is tested.
LEAKED_CKA, CKA_SLACK = 0.05, 0.6
OVERLAP_CKA = 0.2
COLLAPSED_RANK = 2.5
COLLAPSED_SCALE = 0.05
COLLAPSED_SHARE = 1e-3
# A column is not common if even this many standard deviations above its correlation it is weak.
DEVIATIONS = 3.0
WEAK = 0.8 * LEAST_SHARE
NARROW = 1.5
MIXED_R2 = 0.25


def find(evidence: Evidence) -> tuple[Finding, ...]:
    """Judge all measures.

    Parameters
    ----------
    evidence : Evidence
        The measures.

    Returns
    -------
    tuple of Finding
        Problems first, then warnings, then what is good.
    """
    statuses = {pair: status_of(evidence, pair) for pair in evidence.pairs}
    aligned = [pair for pair, status in statuses.items() if status in {Status.ALIGNED, Status.UNALIGNED}]
    copies = {pair: list(_copied(evidence, pair)) for pair in aligned}
    # What is left of a copy is too small for a leak.
    apart = [pair for pair in aligned if not copies[pair]]
    judged = {
        "rows": list(row_findings(evidence, statuses)),
        "copies": [finding for found in copies.values() for finding in found],
        "collapse": list(_collapsed(evidence, aligned)),
        "leak": [finding for pair in apart for finding in _leaked(evidence, pair)],
        "overlap": list(_overlapping(evidence, aligned)),
        "gaps": list(_disordered(evidence, aligned)),
        "factors": list(_mixed(evidence)),
    }
    # Of a copy, or of parts without rank, the right width is no question.
    judged["width"] = []
    if not judged["copies"] and not judged["collapse"]:
        judged["width"] = [finding for pair in aligned for finding in _misfit(evidence, pair)]
    wrong = [finding for findings in judged.values() for finding in findings]
    wrong.sort(key=lambda finding: finding.severity != "problem")
    return (*wrong, *_good(evidence, aligned, {topic for topic, findings in judged.items() if findings}))


def _copied(evidence: Evidence, pair: tuple[int, int]) -> Iterator[Finding]:
    a, b = (evidence.sample.names[m] for m in pair)
    forth, back = evidence.pairs[pair].raw_predicts
    # Of many columns the last components are not predicted well; then empty specific parts tell a copy.
    nothing_specific = all(evidence.modalities[m].specific_share < COLLAPSED_SHARE for m in pair)
    if min(forth, back) > COPIED or (nothing_specific and min(forth, back) > NEARLY_COPIED):
        yield problem(
            "copied-modality",
            f"The {b} modality is a copy of {a}, or nearly: each predicts {min(forth, back):.1%} of the other's "
            f"variance (held-out rows), so everything is common and the specific parts are empty. Check that "
            f"{b} is not {a} by mistake, or an affine map of it; if it is meant so, use one of them alone.",
        )
    elif max(forth, back) > COPIED:
        a, b = (a, b) if forth > back else (b, a)
        yield warning(
            "contained-modality",
            f"The {a} modality predicts {max(forth, back):.1%} of the variance of {b}: {b} adds nothing to it, and "
            f"its specific part is empty. Check that the features of {b} are not made from those of {a}.",
        )


def _collapsed(evidence: Evidence, aligned: list[tuple[int, int]]) -> Iterator[Finding]:
    for m, (name, modality) in enumerate(zip(evidence.sample.names, evidence.modalities, strict=True)):
        supported = max((evidence.pairs[pair].sharing.n_strong for pair in aligned if m in pair), default=0)
        if (
            modality.n_common_columns > COLLAPSED_RANK
            and modality.common_rank < COLLAPSED_RANK
            and supported > 2 * modality.common_rank
        ):
            yield problem(
                "rank-collapse",
                f"The common part of {name} has collapsed: it has {modality.n_common_columns} columns but an effective "
                f"rank of {modality.common_rank:.1f}, while the features share {supported} directions. "
                'Fit with objective="stable" or "cca", whose rank cannot collapse, or train for fewer epochs.',
            )
        elif modality.primitive_rank < COLLAPSED_RANK and modality.raw_rank > 2 * modality.primitive_rank + 1:
            yield problem(
                "rank-collapse",
                f"The primitive of {name} has collapsed: its effective rank is {modality.primitive_rank:.1f}, that of "
                f'the features {modality.raw_rank:.1f}. Raise n_components, or fit with objective="stable" or "cca".',
            )
        if modality.scale < COLLAPSED_SCALE * min(1.0, modality.input_scale):
            yield problem(
                "scale-collapse",
                f"The parts of {name} have shrunk: their largest direction has a standard deviation of "
                f"{modality.scale:.2g}, that of the features {modality.input_scale:.2g}. Losses look small for this reason "
                'alone. Fit with objective="stable" or "cca", whose primitives keep their size.',
            )
        if modality.n_common_columns and modality.common_share < COLLAPSED_SHARE and supported:
            yield problem(
                "scale-collapse",
                f"The common part of {name} is negligible: {modality.common_share:.1g} of the primitive's variance, while "
                f"the features share {supported} directions. An alignment loss alone is least when common parts "
                'are 0: fit with objective="stable" or "cca".',
            )


def _leaked(evidence: Evidence, pair: tuple[int, int]) -> Iterator[Finding]:
    a, b = (evidence.sample.names[m] for m in pair)
    measured = evidence.pairs[pair]
    linear, rbf = measured.specific["linear"], measured.specific["rbf"]
    residual = float(np.nan_to_num(measured.residual_share))
    predicted, shown = max(measured.specific_predicts_specific), max(measured.specific_predicts)
    correlated = (predicted > LEAKED_R2 and residual > LEAST_COVARIANCE) or (
        predicted > LEAST_R2 and residual > LEAKED_COVARIANCE
    )
    if shown > LEAKED_R2 or (correlated and evidence.is_significant(linear.p_value)):
        yield problem(
            "leak",
            f"The specific parts of {a} and {b} still share something: they carry {max(0.0, residual):.0%} of the covariance "
            f"between the modalities, one predicts {max(0.0, predicted):.0%} of the other's variance and "
            f"{max(0.0, shown):.0%} of the other modality's features. {_way_out(evidence, pair)}",
        )
    elif evidence.is_significant(rbf.p_value) and rbf.cka > LEAKED_CKA + CKA_SLACK / np.sqrt(evidence.n_compared):
        yield warning(
            "nonlinear-leak",
            f"The specific parts of {a} and {b} are not correlated but depend on each other: RBF CKA is "
            f'{rbf.cka:.2f} (p = {rbf.p_value:.3g}). Fit with objective="stable", which finds non-linear sharing.',
        )


def _way_out(evidence: Evidence, pair: tuple[int, int]) -> str:
    rank, supported = _width(evidence, pair), evidence.pairs[pair].sharing.n_strong
    if rank is not None and rank < supported:
        return f"The common part has {counted(rank, 'direction')}, but {supported} are shared: fit with common_rank=None, or {supported}."
    return (
        'Fit the encoder on more items of this kind, or with objective="stable" or "cca", whose split leaves no '
        "linear trace on the items of fit."
    )


def _overlapping(evidence: Evidence, aligned: list[tuple[int, int]]) -> Iterator[Finding]:
    for m in sorted({m for pair in aligned for m in pair}):
        name, overlap = evidence.sample.names[m], evidence.modalities[m].overlap["linear"]
        if overlap.cka > OVERLAP_CKA and evidence.is_significant(overlap.p_value):
            yield warning(
                "overlapping-parts",
                f"The common and the specific part of {name} say the same to a large degree: linear CKA is "
                f"{overlap.cka:.2f} (p = {overlap.p_value:.3g}). A part that is only scaled down has not been taken out: fit "
                'with objective="stable" or "cca".',
            )


def _misfit(evidence: Evidence, pair: tuple[int, int]) -> Iterator[Finding]:
    """Compare the width of the common parts with what the data support."""
    width = _width(evidence, pair)
    if width is None:
        return
    a, b = (evidence.sample.names[m] for m in pair)
    sharing, unsupported = evidence.pairs[pair].sharing, _n_unsupported(evidence, pair)
    # On few rows, directions of chance are half as correlated as the strongest, too.
    surely = sharing.correlations[: sharing.n_strong] - DEVIATIONS / np.sqrt(len(evidence.sample.rows))
    supported = int(np.sum(surely > WEAK * sharing.correlations[0]))
    if supported >= NARROW * width + 1:
        yield warning(
            "common-too-narrow",
            f"The common parts of {a} and {b} have {counted(width, 'direction')}, but {supported} are above chance and at "
            f"least half as correlated as the strongest: the others count as specific. Fit with common_rank=None or "
            f"{supported}, and n_components of {2 * supported} or more.",
        )
    elif unsupported > max(1, 0.1 * width):
        yield warning(
            "common-too-wide",
            f"{unsupported} of the {width} common directions of {a} and {b} are not shared: their correlation is near "
            "chance, on held-out rows of fit or here. What is specific counts as common. Fit with common_rank=None or "
            f"{width - unsupported}.",
        )


def _n_unsupported(evidence: Evidence, pair: tuple[int, int]) -> int:
    """Count the columns that are weak here or, where the encoder says it of this pair, were weak at fit."""
    columns = evidence.pairs[pair].column_correlations
    if not len(columns):
        return 0
    slack = DEVIATIONS / np.sqrt(len(evidence.sample.rows))
    fitted = evidence.fitted_correlations(pair)
    judged = [columns] if fitted is None else [columns, fitted]
    return max(int(np.sum(found + slack < WEAK * found.max())) for found in judged)


def _width(evidence: Evidence, pair: tuple[int, int]) -> int | None:
    """Directions that both common parts have; None if these fill the parts, so that columns count nothing."""
    width = len(evidence.pairs[pair].columns)
    n_columns = min(evidence.sample.common[m].shape[1] for m in pair)
    return width if 0 < width < n_columns else None


def _disordered(evidence: Evidence, aligned: list[tuple[int, int]]) -> Iterator[Finding]:
    for pair in aligned:
        gaps = evidence.pairs[pair].gaps
        if gaps.are_disordered():
            a, b = (evidence.sample.names[m] for m in pair)
            yield warning(
                "wrong-order",
                f"Common parts of {a} and {b} should translate best and specific parts worst, L_c <= L_p < L_s, but "
                f"the errors here are {gaps.common:.2f}, {gaps.primitive:.2f} and {gaps.specific:.2f}. Fit on more "
                'items, or with objective="stable" or "cca".',
            )
    history = evidence.gap_history()
    if history and history[-1].are_disordered():
        last, share = history[-1], np.mean([gaps.are_ordered() for gaps in history])
        yield warning(
            "wrong-order-in-training",
            f"L_c <= L_p < L_s does not hold at the end of training: {last.common:.3g}, {last.primitive:.3g} and "
            f"{last.specific:.3g}; it held in {share:.0%} of the epochs. Train longer, lower the learning rate, or "
            'fit with objective="stable" or "cca".',
        )


def _mixed(evidence: Evidence) -> Iterator[Finding]:
    score = evidence.factors
    if not score:
        return
    worst = max(("cP", "sS"), key=lambda probe: score[f"{probe}_strict"])
    if score[f"{worst}_strict"] > MIXED_R2:
        what = {"cP": "private factors from the common parts", "sS": "shared factors from the specific parts"}[worst]
        yield warning(
            "mixed-factors",
            f"The parts do not separate the factors: D is {score['D']:.2f} and D_strict {score['D_strict']:.2f} (1 is perfect). "
            f"A probe reads {what} with R² = {score[worst + '_strict']:.2f}. Fit on more items, or with "
            'objective="stable".',
        )


def _good(evidence: Evidence, aligned: list[tuple[int, int]], wrong: set[str]) -> Iterator[Finding]:
    if not aligned or len(aligned) < len(evidence.sample.names) - 1:
        return
    pairs = [evidence.pairs[pair] for pair in aligned]
    good: dict[str, tuple[str, str]] = {
        "rows": (
            "rows-match",
            f"The rows match: the common parts of an item agree with r = {min(p.agreement.value for p in pairs):.2f} or more.",
        ),
        "leak": (
            "no-leak",
            "The specific parts share nothing that counts: "
            f"{np.max([0.0, *(p.residual_share for p in pairs if np.isfinite(p.residual_share))]):.1%} of the covariance at most.",
        ),
        "collapse": (
            "no-collapse",
            "The common parts have an effective rank of "
            f"{min(m.common_rank for m in evidence.modalities):.1f} or more, and neither part is negligible.",
        ),
    }
    if all(pair.gaps.are_ordered() for pair in pairs):
        good["gaps"] = ("gaps-in-order", "Common parts translate best and specific parts worst: L_c <= L_p < L_s.")
    widths = [_width(evidence, pair) for pair in aligned]
    if None not in widths and "copies" not in wrong:
        good["width"] = ("rank-supported", f"The data support the {' + '.join(map(str, widths))} common directions.")
    severity: Literal["good"] = "good"
    for topic, (code, sentence) in good.items():
        if topic not in wrong and not (topic in {"collapse", "leak"} and "copies" in wrong):
            yield Finding(code, severity, sentence)
