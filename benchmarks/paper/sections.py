"""The page of a data set, section by section: each runs its experiment, and says what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benchmarks.paper import experiments, plots, report
from benchmarks.paper.cold import METHODS as COLD
from benchmarks.paper.cold import ColdRunner
from benchmarks.paper.data import NoPicturesError
from benchmarks.paper.kept import Judged, NotKeptError
from benchmarks.paper.methods import ALL, OURS, Method
from benchmarks.paper.run import Runner, say

FAMILIES = ("stable", "official")
PLUGGED_NAMES = {"raw": "raw features", "stable": "stable parts", "official": "official parts"}


@dataclass
class Run:
    """What is run, on what, and where the tables and plots go."""

    runners: list[Runner]  # one a fold
    cold: ColdRunner
    methods: Sequence[Method] = ALL
    cold_methods: Sequence[Method] = COLD
    folder: Path = Path()
    name: str = ""
    epochs: Sequence[int] = experiments.EPOCHS
    shares: Sequence[float] = experiments.SHARES
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> Runner:
        return self.runners[0]

    def csv(self, name: str, rows: pd.DataFrame, *, index: bool = False) -> None:
        rows.to_csv(self.folder / f"{self.name}-{name}.csv", float_format="%.5f", index=index)

    def plot(self, name: str, draw: Callable[[pd.DataFrame, Path], None], rows: pd.DataFrame) -> str:
        path = self.folder / f"{self.name}-{name}.png"
        draw(rows, path)
        return f"![{name}]({path.parent.name}/{path.name})"


def table_1(run: Run) -> list[str]:
    return [experiments.table_1(run.first.case).to_markdown(floatfmt=".6g")]


def table_2(run: Run) -> list[str]:
    results, settings = _tested(run, run.runners, run.methods)
    names = [f"fold {runner.case.fold}, seed {seed}" for runner in run.runners for seed in runner.seeds]
    folds = ", ".join(str(runner.case.fold) for runner in run.runners)
    return [
        f"Folds for the test: {folds}. Mean and standard deviation over runs; all but the last columns are of full ranking, "
        '"sampled" of the paper\'s 1,000 negatives.',
        "",
        *_comparison(run, "table-2", results, names),
        "",
        "Settings chosen:" if len(run.runners) == 1 else "Settings chosen in the first fold:",
        "",
        *settings,
    ]


def table_2_others(run: Run) -> list[str]:
    if run.first.case.others is None:
        return []
    results: dict[str, list[Judged]] = {}
    for method in run.methods:
        try:
            found = [judged for runner in run.runners for judged in runner.judge_others(method)]
        except (ImportError, NoPicturesError) as error:
            run.absent[method.name] = str(error)
            continue
        if found:
            results[method.name] = found
    names = [f"fold {runner.case.fold}, seed {seed}" for runner in run.runners for seed in runner.seeds]
    n_users = (run.first.case.others.sum(axis=0) > 0).sum()
    return [
        "Fits and settings of Table 2, judged by interactions that sparsifying took away and that are in the first test part of "
        f"the whole data set: {run.first.case.others.nnz:,} of {n_users} users, where a test part here has two a user. No setting, "
        "and no default, was chosen by them. What the sparse data hold of a user is out of the ranking.",
        "",
        *_comparison(run, "table-2-others", results, names),
    ]


def cold(run: Run) -> list[str]:
    runner = run.cold
    results, settings = _tested(run, [runner], run.cold_methods)
    names = [f"fold {seed - 1}" for seed in runner.seeds]
    return [
        "Items that nobody took, ranked among themselves by content: see `benchmarks/paper/cold.py`. The deviation is over "
        "folds of items, which differ more than methods do: the paired test is what tells methods apart.",
        "",
        *_comparison(run, "cold", results, names),
        "",
        "Settings chosen:",
        "",
        *settings,
    ]


def _tested(
    run: Run, runners: Sequence[Runner], methods: Sequence[Method]
) -> tuple[dict[str, list[Judged]], list[str]]:
    results: dict[str, list[Judged]] = {}
    settings = []
    for method in methods:
        try:
            found = [judged for runner in runners for judged in runner.test(method)]
        except (ImportError, NoPicturesError) as error:
            run.absent[method.name] = str(error)
            say(f"{method.name} is left out: {error}")
            continue
        if found:
            results[method.name] = found
            remark = runners[0].remark(method)
            said = report.said(runners[0].settings(method))
            settings.append(f"* {method.name}: {said}" + f" ({remark})" * bool(remark))
    return results, settings


def _comparison(run: Run, name: str, results: dict[str, list[Judged]], runs: list[str]) -> list[str]:
    if not results:
        return ["Nothing yet."]
    whole = {method: found for method, found in results.items() if len(found) == len(runs)}
    if not whole:
        return ["No method has all runs yet."]
    rows = report.table(whole, runs)
    run.csv(name, rows, index=True)
    lines = [report.markdown(report.shown(rows))]
    lines += ["", *[f"* {method} is missing: {why}" for method, why in run.absent.items()]]
    lines += [
        f"* {method}: {len(found)} of {len(runs)} runs, not shown"
        for method, found in results.items()
        if method not in whole
    ]
    found = report.compared(whole, OURS)
    if found is not None:
        run.csv(f"{name}-compared", found, index=True)
        lines += ["", f"{OURS} beside each, NDCG@10, paired by user, Holm's correction over the rows:", ""]
        lines += [report.markdown(found)]
    return lines


def table_3(run: Run) -> list[str]:
    said = "Without the specific (-s) or the common parts (-c), downstream; no fine-tuning, settings of the whole."
    return _ablation(run, "table-3", said, experiments.table_3)


def tables_4_and_5(run: Run) -> list[str]:
    said = (
        "Pre-training by Eq. 14, without ranking (con), by Eq. 3 alone (en) and by the ranking alone (de), in the objective of "
        'each family ("stable": the paper\'s, with the recommender of the stable family); settings of the whole.'
    )
    lines = _ablation(run, "tables-4-5", said, experiments.tables_4_and_5)
    rows = []
    for family in FAMILIES[1:]:
        try:
            rows.append(experiments.table_4_epochs(run.first, family).assign(family=family))
        except NotKeptError as error:
            run.first.left_out.append(str(error))
    if rows:
        lines += ["", "Epochs until the loss of pre-training has fallen by 95 % of what it falls by:", ""]
        lines += [report.markdown(pd.concat(rows), 0, index=False)]
    return lines


def _ablation(run: Run, name: str, said: str, experiment: Callable[..., experiments.Results]) -> list[str]:
    lines, every = [said], []
    for family in FAMILIES:
        try:
            results = experiment(run.first, family)
        except NotKeptError as error:
            run.first.left_out.append(str(error))
            continue
        whole = {form: found for form, found in results.items() if len(found) == len(run.first.seeds)}
        if not whole:
            continue
        rows = report.table(whole, [f"seed {seed}" for seed in run.first.seeds], "form")
        every.append(pd.concat({family: rows}, names=["family"]))
        lines += ["", f"{family}:", "", report.markdown(report.shown(rows))]
        found = report.compared(whole, "full")
        if found is not None:
            lines += ["", "The full form beside each, NDCG@10, paired by user:", "", report.markdown(found)]
    if not every:
        return [*lines, "", "Nothing yet."]
    run.csv(name, pd.concat(every), index=True)
    return lines


def table_6(run: Run) -> list[str]:
    rows = []
    for family in FAMILIES:
        try:
            rows.append(experiments.table_6(run.first, family).assign(family=family))
        except NotKeptError as error:
            run.first.left_out.append(str(error))
    if not rows:
        return ["Nothing yet."]
    every = pd.concat(rows).set_index(["family", "seed"])
    run.csv("table-6", every, index=True)
    shown = every.groupby(level="family", sort=False).agg(["mean", "std"])
    shown.columns = [f"{column}, {what}" for column, what in shown.columns]
    said = (
        "Test interactions in the top 10: share whose highest weight (paper), or sum of weights (released code), is that of the "
        "common parts. An even split of attention gives 0.5 to neither, because equal sums count as specific."
    )
    return [said, "", report.markdown(shown)]


def figure_3a(run: Run) -> list[str]:
    rows: list[experiments.Row] = []
    for family in FAMILIES:
        try:
            rows += experiments.figure_3a(run.first, family, run.epochs)
        except NotKeptError as error:
            run.first.left_out.append(str(error))
    said = "NDCG@10 by epochs of pre-training; the stable family in its linear form, whose epochs can be counted."
    return _figure(run, "figure-3a", said, rows, plots.epochs, ["family", "epochs"])


def figure_3b(run: Run) -> list[str]:
    said = (
        "A share of the items lacks both modalities, or one (NaN, not zeros); settings of the whole. Where nothing is left, "
        "models have identities alone."
    )
    found = list(experiments.figure_3b(run.first, run.methods, run.shares))
    begun = {(row["method"], row["masked"]) for row in found if row["share"]}  # beyond what Table 2 has
    rows = [row for row in found if (row["method"], row["masked"]) in begun]
    return _figure(run, "figure-3b", said, rows, plots.shares, ["masked", "method", "share"])


def figure_3c(run: Run) -> list[str]:
    results = experiments.figure_3c(run.first, run.methods)
    begun = {method for (method, what), found in results.items() if found and what != "raw"}
    rows = [
        {"method": method, "content": PLUGGED_NAMES[what], "seed": seed, "ndcg@10": judged.ndcg}
        for (method, what), found in results.items()
        for seed, judged in enumerate(found, 1)
        if method in begun
    ]
    said = "Four recommenders with raw features (the control) and with our four parts; each tuned on its own."
    lines = _figure(run, "figure-3c", said, rows, plots.plugged, ["method", "content"])
    values = {key: [judged.ndcg for judged in found] for key, found in results.items()}
    for (method, what), ours in values.items():
        raw = values[method, "raw"]
        if what != "raw" and ours and len(ours) == len(raw):
            lost = sum(a < b for a, b in zip(ours, raw, strict=True))
            lines.append(f"* {method}: {what} parts below raw features in {lost} of {len(ours)} seeds")
    return lines


def _figure(
    run: Run,
    name: str,
    said: str,
    rows: Sequence[experiments.Row],
    draw: Callable[[pd.DataFrame, Path], None],
    by: list[str],
) -> list[str]:
    if not rows:
        return [said, "", "Nothing yet."]
    table = pd.DataFrame(rows)
    run.csv(name, table)
    shown = table.groupby(by, sort=False)["ndcg@10"].agg(["mean", "std"]).fillna(0)
    cells = (shown["mean"].map("{:.4f}".format) + " ± " + shown["std"].map("{:.4f}".format)).unstack(by[-1], sort=False)
    return [said, "", run.plot(name, draw, table), "", cells.fillna("").to_markdown(), ""]


SECTIONS: dict[str, tuple[str, Callable[[Run], list[str]]]] = {
    "table-1": ("Table 1: the data", table_1),
    "table-2": ("Table 2: known items", table_2),
    "table-2-others": ("Table 2 by other interactions", table_2_others),
    "table-3": ("Table 3: without a kind of part", table_3),
    "tables-4-5": ("Tables 4 and 5: pre-training without a term", tables_4_and_5),
    "table-6": ("Table 6: where attention is", table_6),
    "figure-3a": ("Fig. 3a: epochs of pre-training", figure_3a),
    "figure-3b": ("Fig. 3b: masked modalities", figure_3b),
    "figure-3c": ("Fig. 3c: parts in other recommenders", figure_3c),
    "cold": ("Cold items", cold),
}


def page(run: Run, asked: Sequence[str], command: str) -> str:
    """Run the sections that are asked for, show the others as far as they are kept, and make the page."""
    budget = run.first.budget
    lines = [
        f"# {run.first.case.name}",
        "",
        f"`{command}`: {budget.trials} trials of each search on the validation part, {budget.seeds} seeds. "
        "`python -m benchmarks.paper --help` has the protocol; the fits and searches behind the figures are in "
        f"`{run.folder.name}/`.",
    ]
    for name, (title, section) in SECTIONS.items():
        for runner in (*run.runners, run.cold):
            runner.compute, runner.left_out = name in asked, []
        run.absent.clear()
        found = section(run)
        if not found:
            continue
        lines += ["", f"## {title}", "", *found]
        left_out = [what for runner in (*run.runners, run.cold) for what in runner.left_out]
        if left_out:
            lines += ["", f"Not run yet: {len(left_out)} searches or fits, such as {left_out[0]} (`--only {name}`)."]
    return "\n".join(lines) + "\n"
