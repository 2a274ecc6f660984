"""Speed beside peers, and beside the limits of the machine: ratios, each measured in one run.

A module of this package has a function `measure() -> Iterable[Figure]`; `python -m benchmarks.speed` calls all of
them, or those that are named.
"""
