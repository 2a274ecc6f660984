"""What Ray costs on one machine: CPU seconds of all its processes, beside one process that does the same.

    python -m benchmarks.scale.cluster

writes docs/results/cluster.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np

WIDTHS = {"image": 512, "text": 300}
COMPONENTS, ROWS_A_SHARD, N_FIT = 150, 10_000, 20_000
RESULTS = Path(__file__).parents[2] / "docs" / "results"
TICKS = os.sysconf("SC_CLK_TCK")
MARK = "MODALSPLIT_BENCHMARK"


def make(folder: Path, n_rows: int) -> None:
    """Write the store as Parquet shards, and an encoder that was fitted on its first items."""
    import modalsplit
    from modalsplit.stores import ArrayStore, write_store

    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n_rows, 16), dtype=np.float32)
    views = {}
    for name, width in WIDTHS.items():
        factors = np.hstack([shared, rng.standard_normal((n_rows, 16), dtype=np.float32)])
        views[name] = np.tanh(factors @ rng.normal(size=(32, width)).astype("f4") / 6)
        views[name] += 0.3 * rng.standard_normal((n_rows, width), dtype=np.float32)
    write_store(ArrayStore(views), folder / "features", rows_a_shard=ROWS_A_SHARD)
    few = {name: matrix[:N_FIT] for name, matrix in views.items()}
    for objective in ("cca", "stable"):
        encoder = modalsplit.DisentangledModalityEncoder(
            COMPONENTS, objective=objective, max_epochs=2, random_state=0, device="cpu"
        ).fit(ArrayStore(few))
        modalsplit.save(encoder, folder / f"{objective}.safetensors")


def run(task: str, folder: Path, objective: str, n_workers: int) -> None:
    """Do one thing: what a process of its own is measured at."""
    import torch

    import modalsplit
    from modalsplit import distributed
    from modalsplit.stores import open_store

    torch.set_num_threads(1)
    if n_workers > 1:
        import ray

        ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    store, out = open_store(folder / "features"), folder / f"out-{uuid.uuid4().hex}"
    begun = time.perf_counter()
    if task == "transform":
        encoder = modalsplit.load(folder / f"{objective}.safetensors")
        parts = distributed.transform(encoder, store, out, rows_a_shard=ROWS_A_SHARD, num_workers=n_workers)
        assert len(parts) == len(store)
        shutil.rmtree(out)
    else:
        encoder = modalsplit.DisentangledModalityEncoder(COMPONENTS, objective=objective, random_state=0, device="cpu")
        distributed.fit(encoder, store, num_workers=n_workers)
    print(time.perf_counter() - begun)
    if n_workers > 1:
        ray.shutdown()


def cost(*arguments: object) -> dict[str, float]:
    """Run a process, and count the CPU seconds and the memory of it and of all that it starts."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale.cluster", "--run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: mark, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    seconds: dict[str, float] = {}
    peak = 0.0

    def sample() -> float:
        memory = 0.0
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or f"{MARK}={mark}".encode() not in (entry / "environ").read_bytes():
                    continue
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                seconds[f"{entry.name}-{fields[19]}"] = (int(fields[11]) + int(fields[12])) / TICKS
                rollup = (entry / "smaps_rollup").read_text()
                memory += sum(
                    int(line.split()[1]) for line in rollup.splitlines() if line.startswith(("Pss_Anon", "Pss_Sh"))
                )
            except OSError:
                continue
        return memory / 1024

    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.25):
            peak = max(peak, sample())

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = process.communicate()[0]
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{arguments} failed")
    return {"cpu": sum(seconds.values()), "seconds": float(said), "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", nargs=4)
    options = parser.parse_args()
    if options.run:
        task, folder, objective, n_workers = options.run
        run(task, Path(folder), objective, int(n_workers))
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="modalsplit-cluster-"))
    try:
        make(folder, options.items)
        rows = []
        for task, objective in (("transform", "cca"), ("transform", "stable"), ("fit", "cca")):
            costs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
            for _ in range(options.repeats):
                for n_workers, found in costs.items():
                    found.append(cost(task, folder, objective, n_workers))
                    print(task, objective, n_workers, found[-1], flush=True)
            rows.append((task, objective, *(min(found, key=lambda c: c["cpu"]) for found in costs.values())))
    finally:
        shutil.rmtree(folder)
    write(options, rows)


def write(options: argparse.Namespace, rows: list) -> None:
    lines = [
        "| what | CPU seconds, one process | CPU seconds, Ray with 2 workers | ratio | peak MB, one process | peak MB, Ray |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f'| {task}, `objective="{objective}"` | {one["cpu"]:.1f} | {two["cpu"]:.1f} | {two["cpu"] / one["cpu"]:.2f} '
            f"| {one['peak_mb']:,.0f} | {two['peak_mb']:,.0f} |"
            for task, objective, one, two in rows
        ),
    ]
    text = (
        "# What a cluster costs\n\n"
        f"{options.items:,} items, {WIDTHS['image']} and {WIDTHS['text']} columns, float32, in Parquet shards of {ROWS_A_SHARD:,}; "
        f"{COMPONENTS} components. CPU seconds are those of all processes from the start of the interpreter to the end, Ray's own and its "
        "start among them, sampled four times a second; memory is the sum of what each has alone and its share of what is "
        f"shared. The least of {options.repeats} runs, in turn, on one machine of {os.cpu_count()} cores with a load average of "
        f"{os.getloadavg()[2]:.1f} at the end: no speed-up can be measured there, only the price.\n\n"
        + "\n".join(lines)
        + "\n\n"
        "At most 3 was asked for. Made by `python -m benchmarks.scale.cluster`.\n"
    )
    (RESULTS / "cluster.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
