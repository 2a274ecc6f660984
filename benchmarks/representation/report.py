"""The page: tables, how they were made, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.representation.data import LEAST_FILMS_OF_A_GENRE, N_FIT, N_TEST, PLANTED, REAL
from benchmarks.representation.heads import N_STEPS
from benchmarks.representation.measure import N_NEIGHBOURS, C
from benchmarks.representation.methods import N_COMPONENTS
from benchmarks.representation.rivals import N_DRAWS, N_LANDMARKS, WIDEST
from benchmarks.representation.store import Key
from benchmarks.representation.verdicts import Verdict, label, order, verdicts

BRIEF = (
    "D",
    "D_strict",
    "logistic of raw",
    "logistic of common",
    "logistic of both",
    "mAP by common",
    "Recall@10 by common",
)
# Columns of the table of real data, and what each is in the rows.
REAL_COLUMNS = {
    "probe of common": "logistic of common",
    "probe of specific": "logistic of specific",
    "probe of both": "logistic of both",
    "kNN of common": "kNN of common",
    "kNN of specific": "kNN of specific",
    "kNN of both": "kNN of both",
    "mAP image→text": "mAP image→text by common",
    "mAP text→image": "mAP text→image by common",
    "mAP, specific": "mAP by specific",
    "Recall@10": "Recall@10 by common",
    "Recall@10, specific": "Recall@10 by specific",
}
HOW = f"""\
Every method gets the same matrices, {N_COMPONENTS} components a part, and is judged by rows that it was not fitted on. Rivals get
columns standardised by the rows to fit on; ours takes them as they are. Every figure is the mean and the standard deviation
over the seeds.

**Planted data.** {N_FIT:,} rows of `make_modalities` to fit on and {N_TEST:,} to judge by `disentanglement_score`, for which 1 is
best and 0 is no separation. "linear" to "sine" are kinds with noise 0.1 unless said; "unequal dimensions" has 1,024 and 32
columns, "5 % shared" 2 shared and 38 private factors a view, and "many shared" 24 and 8.

**Real data.** mfeat: 75 % of 2,000 digits to fit on, stratified, drawn by the seed. wikipedia: the split that comes with the data
(2,173 and 693 items); the seed is that of the methods. posters-plots: 75 % of the films of MovieLens latest-small that have
five ratings or more; EfficientNet-Lite0 of the poster and MiniLM of title and plot. The probe is a logistic regression (C = {C})
on standardised columns of both views' parts, fitted on the rows to fit on: accuracy, and for films the mean area under the
curve over the genres of at least {LEAST_FILMS_OF_A_GENRE} films, one against the rest. kNN: {N_NEIGHBOURS} neighbours, same columns. mAP: `retrieval_map`
over the test items, every item of the query's class counts. Recall@10: an item finds its own counterpart, mean of both directions.

**Ours.** `DisentangledModalityEncoder({N_COMPONENTS}, objective=...)` with its defaults. "stable" is the default objective and "cca" its
closed form, so that no target compares the two. The others are trained for {N_STEPS:,} steps, as the deep rivals are;
"paper_literal" diverges by design and is judged by its last finite state. On real data "stable, all components" is the default with
`common_rank={N_COMPONENTS}`, to stand beside the rivals' variants with all components.

**Rivals' specific parts.** AJIVE has its own. The others have none and get what a least-squares regression on a view's own shared
part leaves of its {N_COMPONENTS} leading principal components.

**Rivals' settings.** Three variants each: as many shared components as the parts have columns, and a number out of 2, 4, 8, 16, 32 and
{N_COMPONENTS}, chosen on a fifth of the rows to fit on by either of two criteria. Translation: the variance of the other view's principal
components that a regression on the shared part explains there. Agreement: the squared differences between both views' shared
parts that are saved there. Regularisation, kernel and learning rate are searched in the same way, by agreement where the number of
components is given. No method saw the test rows.

**Each rival.** scikit-learn's CCA and PLSCanonical are fitted to few rows with the same covariance, which is the same problem;
views wider than {WIDEST} columns enter as {WIDEST} principal components. RidgeCCA is cca-zoo's regularised CCA. KCCA is the same in the
feature space of a kernel (Gaussian of two widths, or polynomial of degree 2) that {N_LANDMARKS} landmark rows span: the whole
kernel of {N_FIT:,} rows takes minutes a fit. AJIVE is mvlearn's, with {N_DRAWS} draws in place of 1,000 for each of its null
distributions; its first signal ranks are {N_COMPONENTS} or searched, and its joint rank is its own estimate. mvlearn gives scores of the
fitted rows only, so that a least-squares map from the signal scores extends them. DCCA and DCCAE are cca-zoo's models and
losses; Barlow Twins and InfoNCE (the loss of CLIP) are heads of this benchmark. All four have one hidden layer of 256 units, batches
of 500 and AdamW; DCCA and DCCAE are read after a linear CCA of their outputs, and so is every searched number of components.
PLSCanonical maximises covariance, not correlation, so that its shared part mixes in private factors even on linear data.
"""


def finish(
    rows: Iterable[dict[str, object]], absent: list[Key], left_out: list[str], n_seeds: int, folder: Path | None
) -> int:
    """Print the page, store it if there is a folder, and return the exit code."""
    table = pd.DataFrame([with_means(row) for row in rows])
    if table.empty:
        print("no cell is computed yet")
        return 1
    outcome = list(verdicts(table))
    lines = [*tables(table), "", *remarks(absent, left_out), *said(outcome)]
    print("\n".join(lines))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        head = f"# Representation\n\n`python -m benchmarks.representation`: {n_seeds} seeds.\n\n{HOW}\n"
        (folder / "representation.md").write_text(head + "\n".join(lines) + "\n")
        table.to_csv(folder / "representation.csv", index=False, float_format="%.5f")
    return 0 if not absent and all(verdict.word in {"yes", "tie"} for verdict in outcome) else 1


def with_means(row: dict[str, object]) -> dict[str, object]:
    """Add the mean of both directions of retrieval."""
    out = dict(row)
    for part in ("common", "specific"):
        directions = [row.get(f"mAP {way} by {part}") for way in ("image→text", "text→image")]
        if None not in directions:
            out[f"mAP by {part}"] = float(np.mean(directions))
    return out


def brief(row: dict[str, object]) -> str:
    """One variant of a cell in a line."""
    row = with_means(row)
    scores = [f"{name} {row[name]:.3f}" for name in BRIEF if name in row]
    return " ".join([*filter(None, [row["variant"], row["note"]]), *scores])


def tables(table: pd.DataFrame) -> Iterator[str]:
    planted = table[table.data.isin(list(PLANTED))]
    if len(planted):
        for score in ("D", "D_strict"):
            names = [name for name in PLANTED if (planted.data == name).any()]
            yield from [
                "",
                f"## Planted factors: {score}",
                "",
                *markdown(["method", *names], by_method(planted, names, score)),
            ]
        yield from ["", *seconds(planted)]
    real = table[table.data.isin(list(REAL))]
    if len(real):
        yield from ["", "## Real data", ""]
        columns = {shown: name for shown, name in REAL_COLUMNS.items() if name in real}
        body = []
        for data in REAL:
            for name, group in groups(real[real.data == data]):
                body.append([data, name, *(cell_text(group, column) for column in columns.values())])
            body.extend(extra_rows(real[real.data == data], data, columns))
        yield from markdown(["data", "method", *columns], body)


def extra_rows(real: pd.DataFrame, data: str, columns: dict[str, str]) -> Iterator[list[str]]:
    """What raw features and chance give, in the columns that it belongs to."""
    raw = {"logistic of both": "logistic of raw", "kNN of both": "kNN of raw"}
    by_chance = {name: "mAP by chance" for name in columns.values() if name.startswith("mAP")}
    by_chance |= {name: "Recall@10 by chance" for name in columns.values() if name.startswith("Recall")}
    for name, source in (("raw features", raw), ("chance", by_chance)):
        unmarked = real.assign(note="")
        cells = [cell_text(unmarked, source.get(column, "")) for column in columns.values()]
        if any(cells):
            yield [data, name, *cells]


def by_method(planted: pd.DataFrame, names: list[str], score: str) -> list[list[str]]:
    return [[name, *(cell_text(group[group.data == data], score) for data in names)] for name, group in groups(planted)]


def groups(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of a method and variant, with their label, in the order of the page; raw features have their own row."""
    found = [(method, variant, group) for (method, variant), group in table.groupby(["method", "variant"], sort=False)]
    found = [entry for entry in found if entry[0] != "raw features"]
    return [(label(m, v), group) for m, v, group in sorted(found, key=lambda entry: order(entry[0]))]


def cell_text(group: pd.DataFrame, column: str) -> str:
    values = group[column].dropna() if column in group else pd.Series(dtype=float)
    if values.empty:
        return ""
    spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
    mark = " (diverged)" if (group.note == "diverged").any() else ""
    return f"{values.mean():.3f}{spread}{mark}"


def markdown(head: list[str], body: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]


def seconds(planted: pd.DataFrame) -> list[str]:
    """What a method takes for a planted set, with its search, all variants together."""
    means = planted.drop_duplicates(["data", "method", "seed"]).groupby("method", sort=False)["seconds"].mean()
    shown = [f"{method} {means[method]:.0f}" for method in sorted(means.index, key=order)]
    return ["Seconds of fitting, search included, mean over the planted sets: " + ", ".join(shown) + "."]


def remarks(absent: list[Key], left_out: list[str]) -> list[str]:
    lines = [f"Left out: {line}." for line in left_out]
    if absent:
        shown = "; ".join(f"{key.data}, {key.method}, seed {key.seed}" for key in absent[:10])
        lines.append(f"{len(absent)} cells are not computed: {shown}{'; ...' if len(absent) > 10 else ''}.")
    return [*lines, ""] if lines else []


def said(outcome: list[Verdict]) -> list[str]:
    explained = (
        "Differences are paired by seed: their mean and its standard error. A tie: below a rival, but by less than the standard "
        'error of the difference of both means ("unpaired").'
    )
    return ["## Verdicts", "", explained, "", *(f"* {v.word}: {v.text}" for v in outcome)]
