"""Fit, transform and export a store that is larger than the memory allowed.

    python -m benchmarks.scale --gigabytes 20 --folder store

makes a synthetic store of .npy files, runs each step in a process of its own, deletes the store, and writes
docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.scale.page import write_top

WIDTHS = {"image": 1024, "text": 300}
ROWS_A_BLOCK, COMPONENTS = 4096, 64


def make(folder: Path, n_rows: int) -> None:
    """Write 16 shared and 16 private factors a modality, mixed by a rectifying network, and noise."""
    rng = np.random.default_rng(0)
    mixes = {name: rng.normal(size=(32, width)).astype("f4") / 6 for name, width in WIDTHS.items()}
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (n_rows, width))
        for name, width in WIDTHS.items()
    }
    for start in range(0, n_rows, ROWS_A_BLOCK):
        n = min(ROWS_A_BLOCK, n_rows - start)
        shared = rng.standard_normal((n, 16), dtype=np.float32)
        for name, width in WIDTHS.items():
            factors = np.hstack([shared, rng.standard_normal((n, 16), dtype=np.float32)])
            noise = rng.standard_normal((n, width), dtype=np.float32)
            files[name][start : start + n] = np.tanh(factors @ mixes[name]) + 0.3 * noise


def store_in(folder: Path):
    from modalsplit.stores import open_store

    return open_store({name: folder / f"{name}.npy" for name in WIDTHS})


def fit(folder: Path, objective: str) -> dict[str, object]:
    import modalsplit

    encoder = modalsplit.DisentangledModalityEncoder(
        COMPONENTS, objective=objective, random_state=0, device="cpu", max_epochs=1, verbose=1
    ).fit(store_in(folder), checkpoint=folder / f"checkpoint-{objective}")
    modalsplit.save(encoder, folder / f"{objective}.safetensors")
    return {"what": f"rank {encoder.common_rank_}, {encoder.primitive_}"}


def transform(folder: Path, objective: str, out: str) -> dict[str, object]:
    import modalsplit

    encoder = modalsplit.load(folder / f"{objective}.safetensors")
    start = time.perf_counter()
    encoder.transform(store_in(folder), out=folder / out)
    return {"loop_seconds": time.perf_counter() - start}


def numpy_loop(folder: Path, d: str) -> dict[str, object]:
    """An affine map split in two, as one would write it by hand."""
    d, rng = int(d), np.random.default_rng(0)
    views = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in WIDTHS]
    maps = [
        (rng.normal(size=n).astype("f4"), rng.normal(size=(n, d)).astype("f4"), np.arange(d) < d // 4)
        for n in WIDTHS.values()
    ]
    out = np.lib.format.open_memmap(folder / "loop.npy", "w+", np.float32, (len(views[0]), 4 * d))
    begun = time.perf_counter()
    for start in range(0, len(views[0]), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        for m, (view, (mean, weight, is_common)) in enumerate(zip(views, maps, strict=True)):
            primitive = (view[rows] - mean) @ weight
            common = primitive * is_common
            out[rows, m * d : (m + 1) * d] = common
            out[rows, (2 + m) * d : (3 + m) * d] = primitive - common
    out.flush()
    return {"loop_seconds": time.perf_counter() - begun}


def nothing(folder: Path) -> dict[str, object]:
    import modalsplit

    return {"what": modalsplit.DisentangledModalityEncoder.__name__ + store_in(folder).fingerprint()}


STEPS = {"nothing": nothing, "fit": fit, "transform": transform, "loop": numpy_loop}


def child(step: str, *arguments: str) -> None:
    """Run a step, and print what it cost."""
    import torch

    torch.set_num_threads(1)
    begun, cpu = time.perf_counter(), time.process_time()
    found = STEPS[step](Path(arguments[0]), *arguments[1:])
    used = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # Not getrusage: its peak begins with that of the process that started this one.
    print(json.dumps({**used, "peak_mb": int(status["VmHWM"].split()[0]) / 1024, **found}))


def run(step: str, *arguments: object) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "--step", step, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    print(step, arguments[1:], result, flush=True)
    return {"step": " ".join([step, *map(str, arguments[1:])]), **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "modalsplit-scale")
    parser.add_argument("--objectives", nargs="+", default=["cca", "stable"])
    parser.add_argument("--step", nargs="+")
    options = parser.parse_args()
    if options.step:
        child(*options.step)
        return
    n_rows = int(options.gigabytes * 1e9 / 4 / sum(WIDTHS.values()))
    options.folder.mkdir(parents=True)
    try:
        begun = time.perf_counter()
        make(options.folder, n_rows)
        print(f"{n_rows} items made in {time.perf_counter() - begun:.0f} s", flush=True)
        baseline = run("nothing", options.folder)
        rows = [run("fit", options.folder, objective) for objective in options.objectives]
        rows += [
            run("loop", options.folder, COMPONENTS),
            run("transform", options.folder, options.objectives[0], "parts.npy"),
            run("transform", options.folder, options.objectives[0], "parts"),
        ]
    finally:
        shutil.rmtree(options.folder)
    write(n_rows, options.gigabytes, float(baseline["peak_mb"]), rows)


def write(n_rows: int, gigabytes: float, baseline: float, rows: list[dict[str, object]]) -> None:
    lines = [
        "| step | seconds | CPU seconds | peak memory, MB | items a second | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        seconds = float(row.get("loop_seconds", row["seconds"]))
        lines.append(
            f"| {row['step']} | {seconds:.0f} | {row['cpu_seconds']:.0f} | {row['peak_mb']:.0f} | {n_rows / seconds:,.0f} "
            f"| {row.get('what', '')} |"
        )
    text = (
        "# Bigger than memory\n\n"
        f"A synthetic store of {gigabytes:g} GB: {n_rows:,} items, {WIDTHS['image']} and {WIDTHS['text']} columns, float32, in "
        "`.npy` files. Every step runs in a process of its own, on one thread of one machine; fits have a checkpoint, 64 "
        "components and one epoch a round. `loop` is an affine map split in two, NumPy over the same files mapped into "
        "memory: its peak counts their pages. Peak memory is that of the process; the "
        f"interpreter with torch and modalsplit alone takes {baseline:.0f} MB. Load average at the "
        f"end: {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores; where it is above 1, CPU seconds tell more than seconds.\n\n"
        + "\n".join(lines)
        + "\n\nMade by `python -m benchmarks.scale`.\n"
    )
    write_top(text)
    print(text)


if __name__ == "__main__":
    main()
