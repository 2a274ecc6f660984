"""The paper's tables and figures: each function runs what is missing and returns rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.paper.data import Case, content, masked, representation
from benchmarks.paper.methods import ALL, OURS, PAMD_OFFICIAL, PAMD_PAPER, PARTS, PLUGGED, RAW, Method
from benchmarks.paper.run import Runner, with_content
from modalsplit import AttentiveBPR
from modalsplit.evaluate import Evaluation

Results = dict[str, list[Evaluation]]
# The recommender whose parts an experiment changes, a family each.
FAMILIES = {"stable": PARTS, "official": PAMD_OFFICIAL, "paper": PAMD_PAPER}
EPOCHS = (1, 3, 10, 30, 100, 200)
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
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


def _tuned(runner: Runner, family: str) -> tuple[Method, dict[str, object]]:
    method = FAMILIES[family]
    return method, runner.settings(method)


def _seeds(runner: Runner) -> range:
    return range(1, runner.budget.seeds + 1)


def table_3(runner: Runner, family: str) -> Results:
    """All parts, without the specific ones (-s), without the common ones (-c); settings of the whole.

    Without fine-tuning, which needs both parts of a modality.
    """
    method, settings = _tuned(runner, family)
    kept = {"full": "both", "-s": "common", "-c": "specific"}
    forms = {name: with_content(method, method.content, parts=which, fine_tune=False) for name, which in kept.items()}
    return {name: [runner.judge(form, settings, seed) for seed in _seeds(runner)] for name, form in forms.items()}


def tables_4_and_5(runner: Runner, family: str) -> Results:
    """Pre-training without the ranking part (con), by Eq. 3 alone (en), by the ranking part alone (de)."""
    method, settings = _tuned(runner, family)
    contents = {"full": method.content, **{name: f"{name}/{family}" for name in ("con", "en", "de")}}
    return {
        name: [runner.judge(replace(method, content=what), settings, seed) for seed in _seeds(runner)]
        for name, what in contents.items()
    }


def table_4_epochs(case: Case, family: str, seed: int) -> pd.DataFrame:
    """How many epochs of pre-training it takes until a loss has fallen by 95 % of what it falls by."""
    rows = []
    for name, what in {"full": family, "con": f"con/{family}"}.items():
        history = representation(what, seed).fit(case.features).history_
        loss = np.array([record["loss"] for record in history])
        settled = int(np.argmax(loss <= loss[0] - SETTLED * (loss[0] - loss.min()))) + 1
        rows.append({"pre-training": name, "epochs": settled, "of": len(loss)})
    return pd.DataFrame(rows)


def table_6(runner: Runner, family: str) -> pd.DataFrame:
    """Of the test interactions in the top 10: is the part with most attention a common or a specific one."""
    method, settings = _tuned(runner, family)
    rows = [_attention(runner, method, settings, seed) for seed in _seeds(runner)]
    return pd.DataFrame(rows)


def _attention(runner: Runner, method: Method, settings: dict[str, object], seed: int) -> dict[str, float]:
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
    single = is_common[weights.argmax(axis=1)].mean()
    summed = (weights[:, is_common].sum(axis=1) > weights[:, ~is_common].sum(axis=1)).mean()
    return {"seed": seed, "correct": len(items), "single highest is common": single, "sum of common is higher": summed}


def figure_3a(runner: Runner, family: str, epochs: Sequence[int] = EPOCHS) -> Iterator[dict[str, object]]:
    """NDCG@10 against epochs of pre-training."""
    method, settings = _tuned(runner, family)
    extractor = {"extractor": "linear"} if family == "stable" else {}
    for n in epochs:
        case = replace(runner.case, name=f"{runner.case.name}, {family} {n} epochs")
        for seed in _seeds(runner):
            content(case, method.content, seed, max_epochs=n, **extractor)  # kept, and read again by the runner
            value = _ndcg(runner.judge(method, settings, seed, case))
            yield {"family": family, "epochs": n, "seed": seed, "ndcg@10": value}


def figure_3b(
    runner: Runner, which: Sequence[str] = ("both", "image", "text"), shares: Sequence[float] = SHARES
) -> Iterator[dict[str, object]]:
    """NDCG@10 where a share of the items lacks both modalities, or one; settings of the whole."""
    for method in (PARTS, RAW, *PLUGGED):
        settings = runner.settings(method)
        for mode in which:
            for share in (0.0, *shares):
                for seed in _seeds(runner):
                    case = masked(runner.case, share, mode, seed) if share else runner.case
                    yield {
                        "method": method.name,
                        "masked": mode,
                        "share": share,
                        "seed": seed,
                        "ndcg@10": _masked_value(runner, method, settings, seed, case),
                    }


def _masked_value(runner: Runner, method: Method, settings: dict[str, object], seed: int, case: Case) -> float:
    left = [name for name, block in case.blocks.items() if block.notna().any(axis=None)]
    if not left:
        bare = with_content(method, "none", parts=None) if method.name in (OURS, RAW.name) else method
        method = replace(bare, content="none")
    elif len(left) == 1:  # nothing to disentangle
        method = replace(method, content=left[0])
    return _ndcg(runner.judge(method, settings, seed, case))


def _ndcg(result: Evaluation) -> float:
    return float(result.per_user["ndcg@10"].mean())


def figure_3c(runner: Runner, methods: Sequence[Method] = PLUGGED) -> dict[tuple[str, str], list[Evaluation]]:
    """Four recommenders with raw features and with our four parts, each tuned on its own."""
    return {
        (method.name, what): runner.test(replace(method, content=what))
        for method in methods
        for what in ("raw", "stable", "official")
    }
