"""The report: findings in words, measures in a table, a figure."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modalsplit.diagnosis._evidence import Evidence
from modalsplit.diagnosis._findings import find
from modalsplit.diagnosis._measures import Measure, measures_of
from modalsplit.diagnosis._parts import Gaps
from modalsplit.diagnosis._words import Finding, counted
from modalsplit.plotting._diagnosis import DiagnosisDisplay

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 100


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; print it.

    Attributes
    ----------
    names : tuple of str
        The modalities.
    n_items : int
        Items that were given.
    n_complete : int
        Those that have all modalities, on which everything is measured.
    findings : tuple of Finding
        Problems first, then warnings, then what is good.
    measures : tuple of Measure
        The rows of `to_frame`.
    correlations : dict of str to ndarray of shape (n_pairs,)
        For every two modalities, the canonical correlations of their features on held-out halves.
    levels : dict of str to float
        95 % of such correlations are below it when rows are in random order.
    history : list of Gaps
        L_c, L_p and L_s of every epoch of training that recorded them.
    """

    names: tuple[str, ...]
    n_items: int
    n_complete: int
    findings: tuple[Finding, ...]
    measures: tuple[Measure, ...] = field(repr=False)
    correlations: dict[str, NDArray[np.float64]] = field(repr=False)
    levels: dict[str, float] = field(repr=False)
    history: list[Gaps] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether no finding is a problem or a warning."""
        return all(finding.severity == "good" for finding in self.findings)

    def to_text(self) -> str:
        """Write the findings and the measures.

        Returns
        -------
        str
            Lines of up to 100 characters.
        """
        parts = [self._headline(), *(_finding_text(finding) for finding in self.findings), self._table()]
        return "\n\n".join(parts)

    def to_frame(self) -> pd.DataFrame:
        """List the measures.

        Returns
        -------
        DataFrame of shape (n_measures, 7)
            Columns ``metric``, ``part``, ``modalities``, ``value``, ``reference`` (what chance gives, or what
            held-out rows of fit had), ``p_value`` and ``better`` ("higher", "lower" or "").
        """
        import pandas as pd

        return pd.DataFrame(self.measures, columns=list(Measure._fields))

    def plot(self, axes: Any = None) -> Any:
        """Draw the report; see `modalsplit.plotting.DiagnosisDisplay`.

        Parameters
        ----------
        axes : sequence of 4 matplotlib Axes, optional
            Where to draw.

        Returns
        -------
        matplotlib Figure
            The figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return DiagnosisDisplay(self).plot(axes).figure_

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><b>{finding.severity}: {finding.code}</b><br>{html.escape(finding.sentence)}</li>"
            for finding in self.findings
        )
        table = self.to_frame().to_html(index=False, float_format="{:.3g}".format, na_rep="", border=0)
        return (
            f"<div><p>{html.escape(self._headline())}</p><ul>{items}</ul>"
            f"<details><summary>{len(self.measures)} measures</summary>{table}</details></div>"
        )

    def _headline(self) -> str:
        counts = [
            counted(n, word)
            for word in ("problem", "warning")
            if (n := sum(finding.severity == word for finding in self.findings))
        ]
        return (
            f"Diagnosis of {', '.join(self.names)} on {self.n_complete} of {self.n_items} items: "
            f"{', '.join(counts) or 'no problem found'}"
        )

    def _table(self) -> str:
        columns = ["metric", "part", "modalities", "value", "compare", "p", "better"]
        cells = [columns, *(_cells(measure) for measure in self.measures)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        aligned = ["<", "<", "<", ">", ">", ">", "<"]
        return "\n".join(
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)).rstrip()
            for row in cells
        )


def report(evidence: Evidence) -> Diagnosis:
    """Make the report from what was measured.

    Parameters
    ----------
    evidence : Evidence
        The measures.

    Returns
    -------
    Diagnosis
        With findings.
    """
    names = evidence.sample.names
    sharing = {f"{names[a]} ~ {names[b]}": pair.sharing for (a, b), pair in evidence.pairs.items()}
    return Diagnosis(
        names=names,
        n_items=evidence.sample.n_items,
        n_complete=len(evidence.sample.rows),
        findings=find(evidence),
        measures=measures_of(evidence),
        correlations={pair: found.correlations for pair, found in sharing.items()},
        levels={pair: found.level for pair, found in sharing.items()},
        history=evidence.gap_history(),
    )


def _finding_text(finding: Finding) -> str:
    sentence = textwrap.fill(finding.sentence, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"{finding.severity}: {finding.code}\n{sentence}"


def _cells(measure: Measure) -> list[str]:
    numbers = ["" if np.isnan(x) else f"{x:.3g}" for x in (measure.value, measure.reference, measure.p_value)]
    return [measure.metric, measure.part, measure.modalities, *numbers, measure.better]
