"""The page and the table of a run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarks.paper.experiments import table_1
from benchmarks.paper.run import Runner
from benchmarks.recommend import RESULTS
from modalsplit.evaluate import Evaluation, compare

LEVEL = 0.05
TARGET = "ndcg@10"


def write(
    runner: Runner,
    results: dict[str, list[Evaluation]],
    settings: dict[str, dict[str, Any]],
    missing: dict[str, str],
    reference: str,
    name: str | None,
) -> None:
    """Print the page; write it, with the table as CSV, if it has a name."""
    table = _table(results)
    lines = [
        f"# {runner.case.name}",
        "",
        f"Fold {runner.case.fold} for the test; {runner.budget.trials} trials of each search on the validation part; mean and "
        f"standard deviation over {runner.budget.seeds} seeds. See `python -m benchmarks.paper --help` for the protocol.",
        "",
        table_1(runner.case).to_markdown(floatfmt=".6g"),
        "",
        _shown(table).to_markdown(),
        "",
        *[f"* {method} is missing: {why}" for method, why in missing.items()],
    ]
    if reference in results and len(results) > 1:
        lines += ["", *_compared(results, reference)]
    lines += ["", "Settings chosen:", "", *[f"* {method}: {_said(of)}" for method, of in settings.items()]]
    page = "\n".join(lines) + "\n"
    print(page)
    if name is not None:
        (RESULTS / f"paper-{name}.md").write_text(page)
        table.to_csv(RESULTS / f"paper-{name}.csv", float_format="%.5f")


def _table(results: dict[str, list[Evaluation]]) -> pd.DataFrame:
    rows = {(method, seed): found.per_user.mean() for method, of in results.items() for seed, found in enumerate(of, 1)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "seed"])


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.drop(columns="seconds", errors="ignore").groupby(level="method", sort=False)
    spread = groups.std().fillna(0)
    shown = groups.mean().map("{:.4f}".format) + " ± " + spread.map("{:.4f}".format)
    if "seconds" in table:
        shown["seconds of a fit"] = table.groupby(level="method", sort=False)["seconds"].mean().round(1)
    return shown


def _compared(results: dict[str, list[Evaluation]], reference: str) -> list[str]:
    """Test the reference against each other method, user by user; Holm's correction over all of them."""
    only = {name: [Evaluation(found.per_user[[TARGET]]) for found in of] for name, of in results.items()}
    try:
        found = compare(only, reference=reference, random_state=0).loc[TARGET]
    except ValueError as error:  # the seeds are of other users: folds of cold items
        return [f"No paired test: {error}"]
    means = {name: sum(e.per_user[TARGET].mean() for e in of) / len(of) for name, of in only.items()}
    found.insert(1, "relative", [means[reference] / means[rival] - 1 for rival in found.index])
    found["verdict"] = [
        "not distinguishable" if row.p_t_holm > LEVEL else "above" if row.difference > 0 else "BELOW"
        for row in found.itertuples()
    ]
    columns = ["difference", "relative", "low", "high", "effect_size", "p_t_holm", "p_wilcoxon_holm", "verdict"]
    return [f"{reference} beside each, {TARGET}, paired by user:", "", found[columns].to_markdown(floatfmt=".4f")]


def _said(settings: dict[str, Any]) -> str:
    shown = (
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
    return ", ".join(shown) or "none"
