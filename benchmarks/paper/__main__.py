"""The paper's tables and figures, and cold items, on one data set.

Protocol: 5-core; five folds of each user's interactions, one for the test, one to choose settings, three to train on (3:1:1).
All methods get the same number of trials, by Optuna, on the validation part alone, the defaults first; the chosen setting is
fitted with other seeds and judged by the test part, once: full ranking, and among 1,000 sampled items as in the paper.
"Raw" is each modality standardised and reduced to 128 principal components, the width of a part.

Searches and fits are kept in ``docs/results/paper``: an interrupted run goes on where it was, and what is there already is
not run again. Representations are kept in ``.cache/paper``. Writes ``docs/results/paper-<data>.md``, and CSV and plots of
each section beside the kept files. A section that is not asked for is shown as far as it is kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.paper import quick
from benchmarks.paper.cold import METHODS as COLD
from benchmarks.paper.cold import ColdRunner
from benchmarks.paper.data import CACHE, load
from benchmarks.paper.kept import Kept
from benchmarks.paper.methods import ALL
from benchmarks.paper.readers import READERS
from benchmarks.paper.run import Budget, Runner, say
from benchmarks.paper.sections import SECTIONS, Run, page
from benchmarks.recommend import RESULTS


def main(arguments: list[str] | None = None) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    results = CACHE / "quick" if asked.quick else RESULTS
    run = made(asked, results / "paper")
    command = f"python -m benchmarks.paper {asked.data}" + " --quick" * asked.quick
    text = page(run, () if asked.report_only else asked.only, command)
    print(text)
    path = results / f"paper-{asked.data}.md"
    path.write_text(text)
    say(f"{path} is written, {time.perf_counter() - start:.0f} s.")
    return 0


def made(asked: argparse.Namespace, folder: Path) -> Run:
    """Read the data and make the runners."""
    case = load(asked.data, asked.folder, asked.vgg19, asked.glove)
    budget = Budget(asked.trials, asked.seeds)
    if asked.quick:
        case, budget = quick.smaller(case), quick.BUDGET
    warm, cold = Kept(folder, asked.data), Kept(folder, f"{asked.data}-cold")
    points = {"epochs": quick.EPOCHS, "shares": quick.SHARES} if asked.quick else {}
    return Run(
        [Runner(replace(case, fold=fold), budget, warm) for fold in asked.folds],
        ColdRunner(case, budget, cold),
        [method for method in ALL if not asked.methods or method.name in asked.methods],
        [method for method in COLD if not asked.methods or method.name in asked.methods],
        folder,
        asked.data,
        **points,
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help=f"{', '.join(READERS)}; with '-sparse' at its end, ten interactions a user")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the original files are; default: DATA-mm in ../shared/data, beside the checkout",
    )
    parser.add_argument("--vgg19", type=Path, help="weights of VGG19 (.pth); default: EfficientNet-Lite0")
    parser.add_argument("--glove", type=Path, help="GloVe vectors; default: MiniLM")
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        default=[0],
        choices=range(5),
        metavar="FOLD",
        help="which are the test in turn (Table 2; the other sections take the first)",
    )
    parser.add_argument("--trials", type=int, default=Budget.trials, help="of each method's search")
    parser.add_argument("--seeds", type=int, default=Budget.seeds)
    names = {method.name for method in (*ALL, *COLD)}
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", help=f"in Table 2, Fig. 3b and 3c, and cold, of: {'; '.join(names)}"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{quick.SAID}; under ten minutes, into {CACHE / 'quick'}: shows that everything runs, and no more",
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.methods or ()) - names:
        parser.error(f"no such method: {', '.join(sorted(unknown))}; there are {sorted(names)}")
    return asked


if __name__ == "__main__":
    pd.set_option("display.width", 200)
    sys.exit(main())
