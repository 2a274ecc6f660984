"""Measure speed: `python -m benchmarks.speed`, or only `python -m benchmarks.speed recommend scoring`.

Prints a table of ratios, stores them for the commit under benchmarks/speed/history, and exits with 1 if a ratio is
more than a fifth worse than the one stored last.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

MODULES = ("pretraining", "startup", "ranking", "scoring", "growth", "memory")
LONG = ("axes",)  # only if it is named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "modules", nargs="*", default=[], help=f"of {', '.join(MODULES)}, by default; or {', '.join(LONG)}"
    )
    parser.add_argument("--dry", action="store_true", help="store nothing")
    given = parser.parse_args()
    if unknown := set(given.modules) - {*MODULES, *LONG}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(MODULES + LONG)}")
    # One thread, for all libraries, before any of them is imported: seconds are then seconds of a core.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    from benchmarks.speed.frame import HEAD, commit, last_ratios, regressions, row, store, stored

    at = commit()
    before = last_ratios(stored(), but=at)
    print(HEAD)
    figures = []
    try:
        for name in given.modules or MODULES:
            for figure in importlib.import_module(f"benchmarks.speed.{name}").measure():
                figures.append(figure)
                print(row(figure, before.get(figure.what)), flush=True)
    finally:  # figures that are there are kept, whatever ended the run
        if figures and not given.dry:
            print(f"\nStored in {store(figures, at)}")
    worse = regressions(figures, before)
    for what in worse:
        print(f"More than a fifth slower than before: {what}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
