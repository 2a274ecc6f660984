"""AttentiveBPR with a million users and twenty million interactions, from Parquet.

    python -m benchmarks.scale.ranking

draws interactions, fits an epoch to all of them and three epochs to those of some users, each in a process of its own, and
writes a section of docs/results/scale.md. Users have two of 500 tastes each, items one, of which their parts tell.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.scale.page import write_section
from benchmarks.scale.steps import child, run

D, N_PARTS, TASTES = 64, 4, 500
ROWS_A_GROUP, ROWS_A_FILE = 1_000_000, 5_000_000
SUBSAMPLE = 0.02  # of the users
SUBSAMPLE_EPOCHS = 3
PAPER = {
    "loss": "bpr", "users": "embedding", "projection": False, "sampling": "interactions", "n_negatives": 1,
    "batch_size": 32_768, "learning_rate": 5e-3, "l2": 0.0, "random_state": 0, "device": "cpu", "blocks": N_PARTS,
}  # fmt: skip
DEFAULTS = {"random_state": 0, "device": "cpu", "blocks": N_PARTS}


def make(folder: Path, n_users: int, n_items: int, n_rows: int) -> None:
    """Draw who took what: four of five interactions are of a taste of the user's, all of popular items first."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    tastes_of_users = rng.integers(TASTES, size=(n_users, 2))
    per_taste = n_items // TASTES  # item i is of taste i % TASTES
    users_drawn = np.concatenate([np.arange(n_users), rng.integers(n_users, size=n_rows - n_users)])
    rng.shuffle(users_drawn)
    for number, start in enumerate(range(0, n_rows, ROWS_A_FILE)):
        users = users_drawn[start : start + ROWS_A_FILE]
        n = len(users)
        taste = tastes_of_users[users, rng.integers(2, size=n)]
        taste = np.where(rng.random(n) < 0.8, taste, rng.integers(TASTES, size=n))
        items = (per_taste * rng.random(n) ** 2).astype(np.int64) * TASTES + taste
        table = pa.table({"user_id": users, "item_id": items})
        pq.write_table(table, folder / f"taken{number}.parquet", row_group_size=ROWS_A_GROUP)
    parts = rng.standard_normal((n_items, N_PARTS * D), dtype=np.float32)
    centres = rng.standard_normal((TASTES, N_PARTS * D), dtype=np.float32)
    parts += centres[np.arange(n_items) % TASTES]
    np.save(folder / "parts.npy", parts)
    few = {"user_id": [], "item_id": []}
    n_few = int(SUBSAMPLE * n_users)
    for path in sorted(folder.glob("taken*.parquet")):
        table = pq.read_table(path)
        chosen = table.filter(pc.less(table["user_id"], n_few))
        for name in few:
            few[name].append(chosen[name].to_numpy())
    sub = {name: np.concatenate(values) for name, values in few.items()}
    pq.write_table(pa.table(sub), folder / "few.parquet", row_group_size=ROWS_A_GROUP // 10)


def model_of(form: str, **more: object):
    from modalsplit import AttentiveBPR

    return AttentiveBPR(D, **{**(PAPER if form == "paper" else DEFAULTS), **more})


def nothing(folder: Path) -> dict[str, object]:
    """Load what every step loads."""
    model_of("paper")
    return {"shape": np.load(folder / "parts.npy", mmap_mode="r").shape}


def fit(folder: Path, form: str) -> dict[str, object]:
    """Fit to all interactions, and rank for some users."""
    import modalsplit.recommend._fitting as fitting  # noqa: PLC2701 what is timed, or replaced by its reference

    begun = {"at": 0.0, "cpu": 0.0}
    run = fitting.Fitting.run

    def timed_run(self, *arguments):
        begun.update(at=time.perf_counter(), cpu=time.process_time())
        run(self, *arguments)
        begun.update(at=time.perf_counter() - begun["at"], cpu=time.process_time() - begun["cpu"])

    fitting.Fitting.run = timed_run
    model = model_of(form, max_epochs=1)
    model.fit(np.load(folder / "parts.npy"), sorted(folder.glob("taken*.parquet")))
    start = time.process_time()
    ids = model.recommend(np.arange(0, model.n_users_, max(1, model.n_users_ // 200)), 10).ids
    ranked = (time.process_time() - start) / len(ids)
    return {
        "epoch_seconds": begun["at"], "epoch_cpu": begun["cpu"], "loss": model.history_[-1]["loss"],
        "interactions": int(model.interactions_.nnz), "rank_ms": 1000 * ranked,
    }  # fmt: skip


def few(folder: Path, form: str, how: str) -> dict[str, object]:
    """Fit to the interactions of some users: from files, in memory, or by plain autograd in memory."""
    import pandas as pd

    import modalsplit.recommend._fitting as fitting  # noqa: PLC2701 what is timed, or replaced by its reference
    from modalsplit import Interactions

    taken: object = folder / "few.parquet"
    parts = np.load(folder / "parts.npy")
    if how != "files":
        taken = Interactions.from_frame(pd.read_parquet(folder / "few.parquet"), item_ids=np.arange(len(parts)))
    if how == "plain":
        sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "recommend"))
        from plain_loss import PlainLoss

        fitting.BatchLoss = PlainLoss
    model = model_of(form, max_epochs=SUBSAMPLE_EPOCHS).fit(parts, taken, item_ids=np.arange(len(parts)))
    return {"losses": [record["loss"] for record in model.history_], "interactions": int(model.interactions_.nnz)}


STEPS = {"nothing": nothing, "fit": fit, "few": few}
MODULE = "benchmarks.scale.ranking"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=3, default=[1_000_000, 200_000, 22_000_000])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "modalsplit-ranking")
    parser.add_argument("--forms", nargs="+", default=["paper", "defaults"])
    parser.add_argument("--dry", action="store_true", help="write nothing")
    parser.add_argument("--step", nargs="+")
    options = parser.parse_args()
    if options.step:
        child(STEPS, *options.step)
        return
    options.folder.mkdir(parents=True)
    try:
        make(options.folder, *options.sizes)
        baseline = run(MODULE, "nothing", options.folder)
        fits = {form: run(MODULE, "fit", options.folder, form) for form in options.forms}
        curves = {how: run(MODULE, "few", options.folder, "paper", how) for how in ("files", "memory", "plain")}
    finally:
        shutil.rmtree(options.folder)
    text = told(options.sizes, baseline, fits, curves)
    print(text)
    if not options.dry:
        write_section("Interactions", text)


def told(sizes: list[int], baseline: dict, fits: dict[str, dict], curves: dict[str, dict]) -> str:
    n_users, n_items, n_rows = sizes
    rows = [
        f"| {form} | {f['cpu_seconds']:.0f} s | {f['epoch_cpu']:.0f} s | {1e6 * f['epoch_cpu'] / f['interactions']:.1f} μs | "
        f"{f['peak_mb']:,.0f} MB | {f['anonymous_mb']:,.0f} MB | {f['anonymous_mb'] * 2**20 / f['interactions']:.0f} B | "
        f"{f['rank_ms']:.1f} ms | {f['loss']:.4f} |"
        for form, f in fits.items()
    ]
    exact = curves["files"]["losses"] == curves["memory"]["losses"]
    plain = max(abs(a / b - 1) for a, b in zip(curves["files"]["losses"], curves["plain"]["losses"], strict=True))
    losses = "\n".join(
        f"| {how} | {' | '.join(f'{loss:.8f}' for loss in curve['losses'])} | {curve['cpu_seconds']:.0f} s |"
        for how, curve in curves.items()
    )
    return f"""
`AttentiveBPR` on {n_users:,} users, {n_items:,} items and {next(iter(fits.values()))["interactions"]:,} interactions (of {n_rows:,} rows in Parquet, some twice), {D} components, {N_PARTS}
parts an item; one epoch, one thread, each fit in a process of its own. `paper` has free user embeddings, BPR, one negative and
batches of 32,768; `defaults` sums histories and compares with 5,000 shared negatives. The whole fit sorts the interactions by
user first and computes what is kept of all users and items last. Memory that no file backs is what must fit; pages of mapped
files are the rest. The interpreter with torch and modalsplit alone takes {baseline["peak_mb"]:,.0f} MB.

| form | CPU, whole fit | CPU, epoch | an interaction | peak memory | of it, no file's | an interaction | top 10, a user | loss |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
{chr(10).join(rows)}

The same fit, `paper`, to {curves["files"]["interactions"]:,} interactions of {SUBSAMPLE:.0%} of the users, in {SUBSAMPLE_EPOCHS} epochs: from
files, in memory, and in memory by plain autograd, the reference of the tests. Loss by epoch:

| fit | {" | ".join(f"epoch {e + 1}" for e in range(SUBSAMPLE_EPOCHS))} | CPU |
|---|{"--:|" * (SUBSAMPLE_EPOCHS + 1)}
{losses}

Files and memory {"give the same numbers, bit by bit" if exact else "**differ**"}; the largest relative difference to plain autograd is {plain:.1e};
losses are in single precision.

Made by `python -m benchmarks.scale.ranking`.
"""


if __name__ == "__main__":
    main()
