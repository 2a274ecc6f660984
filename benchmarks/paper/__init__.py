"""The paper's tables and figures on any data set: see ``python -m benchmarks.paper --help``."""
