"""The paper's comparison (Table 2), and cold items, on one data set.

Protocol: 5-core; five folds of each user's interactions, one for the test, one to choose settings, three to train on (3:1:1).
All methods get the same number of trials, by Optuna, on the validation part alone, the defaults first; the chosen setting is
fitted with other seeds and judged by the test part, once: full ranking, and among 1,000 sampled items as in the paper.
"Raw" is each modality standardised and reduced to 128 principal components, the width of a part. Results are kept in
``.cache/paper``, so that an interrupted run goes on where it was. Writes ``docs/results/paper-<data>.md`` and ``.csv``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.paper.cold import METHODS as COLD
from benchmarks.paper.cold import ColdRunner
from benchmarks.paper.data import load
from benchmarks.paper.experiments import table_1, table_2
from benchmarks.paper.methods import ALL, OURS
from benchmarks.paper.readers import READERS
from benchmarks.paper.report import write
from benchmarks.paper.run import Budget, Runner, say

QUICK = Budget(trials=2, seeds=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help=f"{', '.join(READERS)}; with '-sparse' at its end, ten interactions a user")
    parser.add_argument("--folder", type=Path, help="where the original files are")
    parser.add_argument("--vgg19", type=Path, help="weights of VGG19 (.pth); default: EfficientNet-Lite0")
    parser.add_argument("--glove", type=Path, help="GloVe vectors; default: MiniLM")
    parser.add_argument("--fold", type=int, default=0, choices=range(5), help="which fold is the test")
    parser.add_argument("--trials", type=int, default=Budget.trials, help="of each method's search")
    parser.add_argument("--seeds", type=int, default=Budget.seeds)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"of: {'; '.join(m.name for m in ALL)}")
    parser.add_argument("--cold", action="store_true", help="cold items instead of known ones")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.trials} trials, {QUICK.seeds} seed; prints only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    methods = every = COLD if asked.cold else ALL
    if asked.methods:
        unknown = set(asked.methods) - {method.name for method in methods}
        if unknown:
            parser.error(f"no such method: {', '.join(sorted(unknown))}; there are {[m.name for m in methods]}")
        methods = tuple(method for method in methods if method.name in asked.methods)
    case = replace(load(asked.data, asked.folder, asked.vgg19, asked.glove), fold=asked.fold)
    budget = QUICK if asked.quick else Budget(asked.trials, asked.seeds)
    runner = (ColdRunner if asked.cold else Runner)(case, budget)
    print(table_1(case).to_string(), flush=True)
    results, missing = {}, {method.name: "not asked for" for method in every if method not in methods}
    for method in methods:
        try:
            results |= table_2(runner, [method])
        except ImportError as error:
            missing[method.name] = str(error)
            say(f"{method.name} is left out: {error}")
    settings = {method.name: runner.settings(method) for method in methods if method.name in results}
    write(runner, results, settings, missing, OURS, None if asked.quick else asked.data + "-cold" * asked.cold)
    return 0


if __name__ == "__main__":
    pd.set_option("display.width", 200)
    sys.exit(main())
