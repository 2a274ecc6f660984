"""Compute the cells of the table that are missing, then write the page. Delete a method's files in .cache when it changes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.representation import data, report
from benchmarks.representation.measure import RAW, cell
from benchmarks.representation.methods import FULL, METHODS
from benchmarks.representation.store import Key, Store

QUICK_DATA = ("linear", "quadratic", "wikipedia")
QUICK_METHODS = (RAW, "stable", "cca", "sklearn CCA", "RidgeCCA", "KCCA")
QUICK_SCALE = 0.2


def main() -> int:
    options = parsed()
    torch.set_num_threads(1)
    names = options.data or (QUICK_DATA if options.quick else data.NAMES)
    methods = options.methods or (QUICK_METHODS if options.quick else (RAW, *METHODS))
    n_seeds = options.seeds or (1 if options.quick else 3)
    scale = QUICK_SCALE if options.quick else 1.0
    store = Store(data.ROOT / ".cache" / ("representation-quick" if options.quick else "representation"))
    keys = [
        Key(name, method, seed)
        for name in names
        for seed in range(n_seeds)
        for method in methods
        if not (method in {RAW, FULL} and name in data.PLANTED)
    ]
    left_out: dict[Key, str] = {}
    if not options.report_only:
        with threadpool_limits(1):
            left_out = computed(keys, store, scale)
    rows = [row for key in keys for row in store.read(key) or []]
    absent = [key for key in keys if store.read(key) is None and key not in left_out]
    # What was cut short, by size or by choice, is printed and leaves the page of the full run alone.
    cut = bool(options.quick or options.data or options.methods)
    folder: Path | None = None if cut else data.ROOT / "docs" / "results"
    return report.finish(rows, absent, list(dict.fromkeys(left_out.values())), n_seeds, folder)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.representation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, data sets and methods, one seed; prints only")
    names = "; ".join(data.NAMES).replace("%", "%%")
    parser.add_argument("--data", nargs="+", choices=data.NAMES, metavar="NAME", help=f"of: {names}")
    parser.add_argument(
        "--methods", nargs="+", choices=(RAW, *METHODS), metavar="NAME", help=f"of: {'; '.join(METHODS)}"
    )
    parser.add_argument("--seeds", type=int, help="how many, from 0 on")
    parser.add_argument("--report-only", action="store_true", help="compute nothing")
    return parser.parse_args()


def computed(keys: list[Key], store: Store, scale: float) -> dict[Key, str]:
    """Compute what no process has computed or is computing; wait for the others; say what cannot be."""
    load = dict(data.loaders())
    left_out: dict[Key, str] = {}
    task, made_from = None, None
    for key in keys:
        with store.claimed(key) as mine:
            if not mine or store.read(key) is not None:
                continue
            try:
                if made_from != (key.data, key.seed):
                    task, made_from = load[key.data](key.seed, scale), (key.data, key.seed)
                start = time.perf_counter()
                rows = cell(task, key.method, key.seed)
            except data.MissingError as error:
                subject = key.method if made_from == (key.data, key.seed) else key.data
                left_out[key] = f"{subject}: {error}"
                continue
            store.write(key, rows)
            said = "; ".join(report.brief(row) for row in rows)
            print(f"{key.data}, {key.method}, seed {key.seed}, {time.perf_counter() - start:.0f} s: {said}", flush=True)
    while any(store.is_claimed(key) for key in keys):
        time.sleep(2)
    for line in dict.fromkeys(left_out.values()):
        print(f"left out: {line}", flush=True)
    return left_out


if __name__ == "__main__":
    sys.exit(main())
