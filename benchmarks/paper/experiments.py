"""The paper's tables and figures: each function runs what is missing and returns rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.paper.data import Case, content, masked, representation
from benchmarks.paper.kept import Judged, NotKeptError
from benchmarks.paper.methods import ALL, OURS, PAMD_OFFICIAL, PAMD_PAPER, PARTS, PLUGGED, RAW, Method
from benchmarks.paper.run import Runner, with_content
from modalsplit import AttentiveBPR

Results = dict[str, list[Judged]]
Row = dict[str, object]
# The recommender whose parts an experiment changes, a family each.
FAMILIES = {"stable": PARTS, "official": PAMD_OFFICIAL, "paper": PAMD_PAPER}
EPOCHS = (1, 3, 10, 30, 100, 200)
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
MASKS = ("both", "image", "text")
SETTLED = 0.95  # of the fall of the loss


def table_1(case: Case) -> pd.DataFrame:
    """Statistics of the data."""
    n_items, n_users = case.interactions.shape
    n = case.interactions.nnz
    columns = {f"columns of {name}": block.shape[1] for name, block in case.blocks.items()}
    out = {"users": n_users, "items": n_items, "interactions": n, "density": n / n_users / n_items, **columns}
    return pd.DataFrame([out], index=[case.name])


def table_2(runner: Runner, methods: Sequence[Method] = ALL) -> Results:
    """The comparison."""
    return {method.name: runner.test(method) for method in methods}


def table_3(runner: Runner, family: str) -> Results:
    """All parts, without the specific ones (-s), without the common ones (-c); settings of the whole.

    Without fine-tuning, which needs both parts of a modality.
    """
    method = FAMILIES[family]
    settings = runner.settings(method)
    kept = {"full": "both", "-s": "common", "-c": "specific"}
    forms = {name: with_content(method, method.content, parts=which, fine_tune=False) for name, which in kept.items()}
    return {name: runner.judge_all(form, settings) for name, form in forms.items()}


def tables_4_and_5(runner: Runner, family: str) -> Results:
    """Pre-training without the ranking part (con), by Eq. 3 alone (en), by the ranking part alone (de)."""
    method = FAMILIES[family]
    settings = runner.settings(method)
    of = "paper" if family == "stable" else family  # the stable objective has no such terms to leave out
    contents = {"full": method.content, **{name: f"{name}/{of}" for name in ("con", "en", "de")}}
    return {name: runner.judge_all(replace(method, content=what), settings) for name, what in contents.items()}


def table_4_epochs(runner: Runner, family: str) -> pd.DataFrame:
    """How many epochs of pre-training it takes until a loss has fallen by 95 % of what it falls by."""
    rows = []
    for name, what in {"full": family, "con": f"con/{family}"}.items():
        method = Method("pre-training", what, representation(what, 0), {})
        for seed in runner.seeds:
            made = runner.kept_or(
                method, {}, seed, runner.case, lambda what=what, seed=seed: _settled(runner, what, seed)
            )
            rows.append({"pre-training": name, "seed": seed, **made.means.astype(int)})
    return pd.DataFrame(rows)


def _settled(runner: Runner, what: str, seed: int) -> pd.DataFrame:
    history = representation(what, seed, **runner.case.encoder).fit(runner.case.features).history_
    loss = np.array([record["loss"] for record in history])
    settled = int(np.argmax(loss <= loss[0] - SETTLED * (loss[0] - loss.min()))) + 1
    return pd.DataFrame([{"epochs": settled, "of": len(loss)}])


def table_6(runner: Runner, family: str) -> pd.DataFrame:
    """Of the test interactions in the top 10: is the part with most attention a common or a specific one."""
    method = FAMILIES[family]
    settings = runner.settings(method)
    named = replace(method, name=f"{method.name}, attention")
    rows = []
    for seed in runner.seeds:
        found = runner.kept_or(
            named, settings, seed, runner.case, lambda seed=seed: _attention(runner, method, settings, seed)
        )
        rows.append({"seed": seed, **found.means})
    return pd.DataFrame(rows)


def _attention(runner: Runner, method: Method, settings: dict[str, object], seed: int) -> pd.DataFrame:
    model: AttentiveBPR = runner.fit(method, settings, seed)
    Z = content(runner.case, method.content, seed)
    split = runner.split
    scores = np.array(model.decision_function(Z), dtype=float)
    scores[split.seen.nonzero()] = -np.inf
    tenth = np.partition(scores, -10, axis=0)[-10]
    items, users = split.test.nonzero()
    listed = scores[items, users] >= tenth[users]
    items, users = items[listed], users[listed]
    asked = {"users": model.user_ids_[users]} if model.attention == "user" else {}
    weights = model.attention_weights(Z.iloc[items], **asked)
    is_common = np.array(["common" in name for name in model.part_names_])
    single = is_common[weights.argmax(axis=1)]
    summed = weights[:, is_common].sum(axis=1) > weights[:, ~is_common].sum(axis=1)
    found = {"correct": len(items), "single highest is common": single, "sum of common is higher": summed}
    return pd.DataFrame(found)


def figure_3a(runner: Runner, family: str, epochs: Sequence[int] = EPOCHS) -> Iterator[Row]:
    """NDCG@10 against epochs of pre-training."""
    method = FAMILIES[family]
    settings = runner.settings(method)
    # The default's learned features stop by themselves, so that its linear form is what epochs are counted of.
    extractor = {"extractor": "linear"} if family == "stable" else {}
    for n in epochs:
        of = f", {family} {n} epochs"
        source = runner.case.source and runner.case.source + of
        encoder = {"max_epochs": n, **extractor}
        case = replace(runner.case, name=runner.case.name + of, source=source, encoder=encoder)
        for seed, found in enumerate(runner.judge_all(method, settings, case, paired=False), start=1):
            yield {"family": family, "epochs": n, "seed": seed, "ndcg@10": found.ndcg}


def figure_3b(runner: Runner, methods: Sequence[Method] = ALL, shares: Sequence[float] = SHARES) -> Iterator[Row]:
    """NDCG@10 where a share of the items lacks both modalities, or one; settings of the whole."""
    for method in (each for each in (PARTS, RAW, *PLUGGED) if each in methods):
        try:
            settings = runner.settings(method)
        except NotKeptError as error:
            runner.left_out.append(str(error))
            continue
        # Fits are kept under the names that most data sets have; wines have a profile in place of an image.
        for mode, shown in zip(MASKS, ("both", *runner.case.blocks), strict=True):
            for share in (0.0, *shares):
                for seed in runner.seeds:
                    found = _masked(runner, method, settings, mode, share, seed)
                    if found is not None:
                        yield {"method": method.name, "masked": shown, "share": share, "seed": seed, "ndcg@10": found}


def _masked(
    runner: Runner, method: Method, settings: dict[str, object], mode: str, share: float, seed: int
) -> float | None:
    case = masked(runner.case, share, mode, seed) if share else runner.case
    left = [name for name, block in case.blocks.items() if block.notna().any(axis=None)]
    if not left:
        bare = with_content(method, "none", parts=None) if method.name in (OURS, RAW.name) else method
        method, case = replace(bare, content="none"), runner.case
    elif len(left) == 1:  # nothing to disentangle
        method = replace(method, content=left[0])
    try:
        return runner.judge(method, settings, seed, case, paired=False).ndcg
    except NotKeptError as error:
        runner.left_out.append(str(error))
        return None


def figure_3c(runner: Runner, methods: Sequence[Method] = ALL) -> dict[tuple[str, str], list[Judged]]:
    """Four recommenders with raw features and with our four parts, each tuned on its own."""
    return {
        (method.name, what): runner.test(replace(method, content=what))
        for what in ("raw", "stable", "official")
        for method in PLUGGED
        if method in methods
    }
