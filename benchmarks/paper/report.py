"""Tables of results as Markdown: means, deviations, intervals, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.paper.kept import ERROR, TARGET, Judged
from modalsplit.evaluate import Evaluation, average_users, compare

LEVEL = 0.05
WIDE = 1.96  # standard errors of a 95 % interval
FIGURES = ["recall@5", "ndcg@5", "recall@10", "ndcg@10"]


def table(results: Mapping[Any, Sequence[Judged]], runs: Sequence[str], level: str = "method") -> pd.DataFrame:
    """One row a method and run: the mean metrics."""
    rows = {(name, run): found.means for name, of in results.items() for run, found in zip(runs, of, strict=False)}
    out = pd.DataFrame.from_dict(rows, orient="index")
    out.index = pd.MultiIndex.from_tuples(rows, names=[level, "run"])
    return out


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over runs; of NDCG@10 also half of the 95 % interval over users, of one run."""
    groups = rows.groupby(level=0, sort=False)
    columns = [c for c in rows if c.removeprefix("sampled ") in FIGURES]
    spread = groups[columns].std().fillna(0)
    out = groups[columns].mean().map("{:.4f}".format) + " ± " + spread.map("{:.4f}".format)
    if ERROR in rows:
        out["ndcg@10, 95 % over users"] = "± " + (WIDE * groups[ERROR].mean()).map("{:.4f}".format)
    if "seconds" in rows:
        out["seconds of a fit"] = groups["seconds"].mean().round(1)
    return out


def compared(results: Mapping[str, Sequence[Judged]], reference: str) -> pd.DataFrame | None:
    """Test the reference against each other method, user by user; Holm's correction over all of them."""
    n_runs = len(results.get(reference, ()))
    tested = {
        name: [Evaluation(found.users.to_frame(TARGET)) for found in of if found.users is not None]
        for name, of in results.items()
    }
    tested = {name: of for name, of in tested.items() if len(of) == n_runs}
    if n_runs == 0 or reference not in tested or len(tested) < 2:
        return None
    found = compare(tested, reference=reference, random_state=0).loc[TARGET]
    means = {name: average_users(of).per_user[TARGET].mean() for name, of in tested.items()}
    found.insert(1, "relative", [means[reference] / means[rival] - 1 for rival in found.index])
    found["verdict"] = [
        "not distinguishable" if row.p_t_holm > LEVEL else "above" if row.difference > 0 else "BELOW"
        for row in found.itertuples()
    ]
    columns = ["difference", "relative", "low", "high", "effect_size", "p_t_holm", "p_wilcoxon_holm", "verdict"]
    return found[columns]


def markdown(frame: pd.DataFrame, digits: int = 4, *, index: bool = True) -> str:
    return frame.to_markdown(floatfmt=f".{digits}f", index=index)


def said(settings: dict[str, Any]) -> str:
    parts = (
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
    return ", ".join(parts) or "none"
