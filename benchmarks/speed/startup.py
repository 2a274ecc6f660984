"""What a user waits for before anything happens: the import, and the first batch after unpickling."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.frame import Figure

REPEATS = 3
IMPORT_SECONDS = 0.3  # beyond scikit-learn's own
FIRST_SECONDS = 0.2  # beyond a later call
IMPORT = """
import json, time
start = time.process_time()
{imports}
print(json.dumps(time.process_time() - start))
"""
FIT = """
import pickle, sys
from modalsplit import DisentangledModalityEncoder
from modalsplit.datasets import make_modalities
data = make_modalities(2000, random_state=0)
pickle.dump((DisentangledModalityEncoder(64, random_state=0).fit(data.X_img, data.X_txt), data), open(sys.argv[1], "wb"))
"""
FIRST = """
import json, pickle, sys, time
encoder, data = pickle.load(open(sys.argv[1], "rb"))
seconds = []
for _ in range(6):
    start = time.process_time()
    encoder.transform(data.X_img[:100], data.X_txt[:100])
    seconds.append(time.process_time() - start)
print(json.dumps([seconds[0], min(seconds[1:])]))
"""


def measure() -> Iterator[Figure]:
    """Time fresh processes."""
    ours, encoder, sklearn, both = (
        [run(IMPORT.format(imports=imports)) for _ in range(REPEATS)]
        for imports in (
            "import modalsplit",
            "from modalsplit import DisentangledModalityEncoder",
            "import sklearn",
            "import sklearn.linear_model, torch",
        )
    )
    beside = [seconds + IMPORT_SECONDS for seconds in sklearn]
    yield Figure(f"import modalsplit, beside importing scikit-learn and {IMPORT_SECONDS} s", ours, beside, at_most=1)
    yield Figure("importing the encoder, beside importing scikit-learn's linear models and torch", encoder, both)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "encoder.pkl")
        run(FIT, path)
        first, later = zip(*(run(FIRST, path) for _ in range(REPEATS)), strict=True)
    beside = [seconds + FIRST_SECONDS for seconds in later]
    yield Figure(
        f"first transform after unpickling, beside a later one and {FIRST_SECONDS} s", [*first], beside, at_most=1
    )


def run(code: str, *arguments: str):
    """Run code in a process of its own; return what it prints as JSON, if anything."""
    command = [sys.executable, "-c", code, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(printed) if printed else None
