"""Do other recommenders gain from our parts? Wines, 3 seeds: without content, with raw features, with the parts.

Protocol, as in ``benchmarks.recommend``: 5-core; a tenth of the wines is held out whole; interactions with the others are
split 80/10/10 per user. Every model is fitted on the training part. Known wines: full ranking, what was seen masked. Cold
wines: ranked among themselves, by the libraries that can. Raw features are standardised and reduced by PCA to as many
columns as the parts have; each matrix is divided by one number, so that its rows have mean length 1. What is in a grid
below is chosen on the validation part, for each input alike; all else is the library's default.

Runs the libraries that are installed, keeps each run in ``.cache/interop``, and writes ``docs/results/interop.md`` from all
that is there: RecTools wants an older NumPy, so that it runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.recommend import N_COMPONENTS, ROOT, wines
from modalsplit import DisentangledModalityEncoder, Interactions
from modalsplit.baselines import EASE, Popularity
from modalsplit.evaluate import Evaluation, compare, dot_product, evaluate, hold_out_items, split_interactions
from modalsplit.interop import (
    ItemBlocks,
    item_blocks,
    read_table,
    to_cornac,
    to_implicit,
    to_lightfm,
    to_rectools,
    write_table,
)

CACHE = ROOT / ".cache" / "interop"
RESULTS = ROOT / "docs" / "results" / "interop.md"
INPUTS = ("no content", "raw", "parts")
METRIC = "ndcg@10"
ALS_GRID = (0.01, 10.0, 30.0, 100.0, 1000.0)  # regularization; the first is the default
EPOCHS = {"Cornac": (3, 5, 10), "LightFM": (2, 5, 10), "implicit": (10, 25, 50, 100)}


class Vectors(NamedTuple):
    """A model under one setting: scores are inner products."""

    setting: str
    users: np.ndarray
    items: np.ndarray
    cold: np.ndarray | None = None


class Split(NamedTuple):
    train: Interactions
    valid: Interactions
    test: Interactions
    cold: Interactions


Model = Callable[[Split, ItemBlocks | None, int], Iterator[Vectors]]


def vbpr(split: Split, items: ItemBlocks | None, seed: int) -> Iterator[Vectors]:
    """VBPR; without content its features are zeros, which leaves BPR."""
    from cornac.data import Dataset
    from cornac.models import VBPR

    train = split.train
    items = item_blocks({"none": np.zeros((train.shape[0], 1))}, item_ids=train.item_ids) if items is None else items
    taken = train.tocoo()
    feedback = [(train.user_ids[u], train.item_ids[i], 1.0) for i, u in zip(*taken.coords, strict=True)]
    numbers = [{name: n for n, name in enumerate(ids)} for ids in (train.user_ids, train.item_ids)]
    data = Dataset.build(feedback, global_uid_map=numbers[0], global_iid_map=numbers[1], seed=seed)
    image = to_cornac(items, train.item_ids)["item_image"].build(id_map=numbers[1])
    data.add_modalities(item_image=image)
    model, done = VBPR(seed=seed, verbose=False), 0
    for epochs in EPOCHS["Cornac"]:
        data.seed = seed + done  # or the same negatives are drawn again
        model.n_epochs, done = epochs - done, epochs
        model.fit(data)  # goes on from where it was, whatever its warning says
        ones = np.ones((len(model.gamma_user), 1))
        bias = (model.beta_item + model.visual_bias)[:, None]
        yield Vectors(
            f"{epochs} epochs",
            np.hstack([model.gamma_user, model.theta_user, ones]),
            np.hstack([model.gamma_item, model.theta_item, bias]),
        )


def implicit_bpr(split: Split, items: ItemBlocks | None, seed: int) -> Iterator[Vectors]:
    """BPR that starts from the content, or at random."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    for epochs in EPOCHS["implicit"]:
        model = BayesianPersonalizedRanking(
            factors=4 * N_COMPONENTS, iterations=epochs, num_threads=1, random_state=seed
        )
        if items is not None:
            to_implicit(items, model, split.train.item_ids)
        model.fit(sparse.csr_matrix(split.train.T), show_progress=False)
        yield Vectors(f"{epochs} epochs", model.user_factors, model.item_factors)


def implicit_als(split: Split, items: ItemBlocks | None, seed: int) -> Iterator[Vectors]:
    """Users by least squares on frozen content; without content, ALS as it is."""
    from implicit.cpu.als import AlternatingLeastSquares

    users_by_items = sparse.csr_matrix(split.train.T)
    for ridge in ALS_GRID:
        model = AlternatingLeastSquares(
            factors=4 * N_COMPONENTS,
            regularization=ridge,
            iterations=15 if items is None else 0,
            num_threads=1,
            random_state=seed,
        )
        if items is None:
            model.fit(users_by_items, show_progress=False)
            yield Vectors(f"ridge {ridge:g}", model.user_factors, model.item_factors)
        else:
            to_implicit(items, model, split.train.item_ids).fit(users_by_items, show_progress=False)
            users = model.recalculate_user(np.arange(users_by_items.shape[0]), users_by_items)
            yield Vectors(f"ridge {ridge:g}", users, model.item_factors, items.take(split.cold.item_ids).matrix())


def lightfm(split: Split, items: ItemBlocks | None, seed: int) -> Iterator[Vectors]:
    """LightFM with WARP; without content, the identity alone."""
    from lightfm import LightFM

    known = split.train.item_ids
    features = sparse.identity(len(known), format="csr", dtype=np.float32)
    if items is not None:
        features = to_lightfm(items, known, split.cold.item_ids)
    model, done = LightFM(loss="warp", random_state=seed), 0
    for epochs in EPOCHS["LightFM"]:
        train = sparse.coo_matrix(split.train.T)
        model.fit_partial(train, item_features=features[: len(known)], epochs=epochs - done)
        done = epochs
        biases, vectors = model.get_item_representations(features)
        vectors = np.hstack([vectors, biases[:, None]])
        users = np.hstack([model.user_embeddings, np.ones((len(model.user_embeddings), 1), dtype=np.float32)])
        cold = None if items is None else vectors[len(known) :]
        yield Vectors(f"{epochs} epochs", users, vectors[: len(known)], cold)


def rectools_als(split: Split, items: ItemBlocks | None, seed: int) -> Iterator[Vectors]:
    """ALS whose factors are the content and 64 free ones beside it; without content, these alone."""
    from implicit.als import AlternatingLeastSquares
    from rectools.dataset import Dataset
    from rectools.models import ImplicitALSWrapperModel

    train = split.train.tocoo()
    table = pd.DataFrame({"user_id": split.train.user_ids[train.col], "item_id": split.train.item_ids[train.row]})
    table = table.assign(weight=1.0, datetime=pd.Timestamp("2020-01-01"))
    features = {}
    if items is not None:
        features["item_features_df"] = to_rectools(items, table.item_id.unique())
        features["make_dense_item_features"] = True
    data = Dataset.construct(table, **features)
    for ridge in ALS_GRID:
        als = AlternatingLeastSquares(
            factors=64, regularization=ridge, iterations=15, num_threads=1, use_gpu=False, random_state=seed
        )
        model = ImplicitALSWrapperModel(als, fit_features_together=True).fit(data)
        users, vectors = model.get_vectors()
        yield Vectors(
            f"ridge {ridge:g}",
            _placed(users, data.user_id_map.external_ids, split.train.user_ids, 1.0),
            _placed(vectors, data.item_id_map.external_ids, split.train.item_ids, 0.0),
        )


def _placed(vectors: np.ndarray, ids: np.ndarray, wanted: np.ndarray, bias: float) -> np.ndarray:
    """Order vectors as `wanted`; ids that the library never saw get a bias that ranks them last."""
    placed = np.zeros((len(wanted), vectors.shape[1] + 1))
    placed[:, -1] = 1.0 if bias else -1e9
    at = pd.Index(wanted).get_indexer(pd.Index(ids))
    placed[at, :-1], placed[at, -1] = vectors[: len(ids)], bias
    return placed


MODELS: dict[str, tuple[str, Model]] = {
    "Cornac, VBPR": ("cornac", vbpr),
    "implicit, BPR started from the content": ("implicit", implicit_bpr),
    "implicit, ALS on frozen content": ("implicit", implicit_als),
    "LightFM, WARP": ("lightfm", lightfm),
    "RecTools, ALS with features": ("rectools", rectools_als),
}


def splits_and_inputs(seed: int) -> tuple[Split, dict[str, ItemBlocks | None]]:
    X, Y = wines()
    warm, cold = hold_out_items(Y, 0.1, random_state=seed)
    split = Split(*split_interactions(Y[warm], shares=(0.8, 0.1, 0.1), random_state=seed), Y[cold])
    path = CACHE / f"parts-{seed}.arrow"
    if not path.exists():
        encoder = DisentangledModalityEncoder(N_COMPONENTS, random_state=seed).set_output(transform="pandas")
        parts = encoder.fit(X.iloc[warm]).transform(X)
        raw = make_pipeline(StandardScaler(), PCA(parts.shape[1], random_state=seed)).fit(X.iloc[warm]).transform(X)
        for name, Z in {"parts": parts.to_numpy(), "raw": raw}.items():
            length = np.linalg.norm(Z[warm], axis=1).mean()
            made_by = encoder if name == "parts" else "StandardScaler and PCA"
            written = item_blocks({name: Z / length}, item_ids=X.index, made_by=made_by)
            write_table(path.with_name(f"{name}-{seed}.arrow"), written, overwrite=True)
    stored = {name: item_blocks(read_table(CACHE / f"{name}-{seed}.arrow")) for name in ("raw", "parts")}
    return split, {"no content": None, **stored}


def run(model: Model, split: Split, items: ItemBlocks | None, seed: int) -> pd.DataFrame:
    """Choose the setting on the validation part and judge it once: a row a user."""
    start, best, most = time.process_time(), None, -1.0
    for found in model(split, items, seed):
        score = dot_product(found.users, found.items)
        ndcg = evaluate(score, split.valid, seen=split.train).per_user[METRIC].mean()
        print(f"    {found.setting}: {ndcg:.4f} on validation", flush=True)
        if ndcg > most:
            best, most = found, ndcg
    seconds = time.process_time() - start
    seen = split.train + split.valid
    judged = {"known": evaluate(dot_product(best.users, best.items), split.test, seen=seen)}
    if best.cold is not None:
        judged["cold"] = evaluate(dot_product(best.users, best.cold), split.cold)
    frames = [result.per_user[[METRIC]].reset_index().assign(items=name) for name, result in judged.items()]
    return pd.concat(frames).assign(setting=best.setting, seconds=seconds)


def run_all(seeds: int, library: str | None) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        split, inputs = splits_and_inputs(seed)
        for name, (package, model) in MODELS.items():
            if library not in (None, package):
                continue
            if find_spec(package) is None:
                print(f"{name} is left out: {package} is not installed")
                continue
            for content, items in inputs.items():
                path = _stored(name, content, seed)
                if not path.exists():
                    print(f"seed {seed}, {name}, {content}", flush=True)
                    run(model, split, items, seed).to_parquet(path)
        for name, baseline in {"EASE": EASE(), "popularity": Popularity()}.items():
            path = _stored(name, "no content", seed)
            if not path.exists():
                baseline.fit(np.zeros((split.train.shape[0], 1)), split.train)
                found = evaluate(baseline, split.test, seen=split.train + split.valid).per_user[[METRIC]]
                found.reset_index().assign(items="known", setting="", seconds=0.0).to_parquet(path)


def _stored(name: str, content: str, seed: int) -> Path:
    return CACHE / f"{name}-{content}-{seed}.parquet".replace(" ", "_").replace(",", "")


def report(seeds: int) -> str:
    lines = [
        "| library, model | wines | no content | raw features | our parts | parts - raw | parts are |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in MODELS:
        frames = {content: [_stored(name, content, seed) for seed in range(seeds)] for content in INPUTS}
        if not all(path.exists() for paths in frames.values() for path in paths):
            lines.append(f"| {name} | not run | | | | | |")
            continue
        runs = {content: [pd.read_parquet(path) for path in paths] for content, paths in frames.items()}
        for items in ("known", "cold"):
            found = {content: [_evaluation(frame, items) for frame in several] for content, several in runs.items()}
            if not len(found["parts"][0].per_user):
                continue
            cells = [_cell([result.per_user[METRIC].mean() for result in found[content]]) for content in INPUTS]
            pair = {content: found[content] for content in ("parts", "raw")}
            gain = compare(pair, random_state=0).iloc[0]
            verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "no different"
            interval = f"{gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
            lines.append(f"| {name} | {items} | {' | '.join(cells)} | {interval} | {verdict} |")
    scale = []
    for name in ("EASE", "popularity"):
        several = [pd.read_parquet(_stored(name, "no content", seed)) for seed in range(seeds)]
        scale.append(f"{name} {_cell([frame[METRIC].mean() for frame in several])}")
    return "\n".join([*lines, "", f"For scale, known wines: {', '.join(scale)}.", ""])


def _evaluation(frame: pd.DataFrame, items: str) -> Evaluation:
    return Evaluation(frame[frame["items"] == items].set_index("user_id")[[METRIC]])


def _cell(means: list[float]) -> str:
    return f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}" if len(means) and np.isfinite(means).all() else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--library", choices=sorted({package for package, _ in MODELS.values()}))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        run_all(options.seeds, options.library)
    table = report(options.seeds)
    print(table)
    RESULTS.write_text(f"# Feeding other recommenders\n\n{_ABOUT.format(seeds=options.seeds)}\n\n{table}")
    return 0


_ABOUT = """\
`python -m benchmarks.interop --seeds {seeds}`: NDCG@10 on the test part, mean and standard deviation over {seeds} seeds of
the split, the encoder and the model. The difference is that of the means of our parts and of raw features, with a 95 %
bootstrap interval over users, each user's values averaged over seeds; it does not hold the chance of seeds.

Wines, 5-core. A tenth of the wines is held out whole: cold, ranked among themselves. Interactions with the others are split
80/10/10 per user; full ranking, training and validation masked. Raw features: profile and name of a wine, 537 columns,
standardised and reduced by PCA to the 256 columns that the parts have. Both matrices are divided by one number, so that rows
have mean length 1. Epochs (Cornac 3, 5, 10; implicit 10, 25, 50, 100; LightFM 2, 5, 10) and the ridge of ALS (0.01, 10, 30,
100, 1000) are chosen on the validation part, for each input from the same list. implicit has 256 factors, with content or
without; RecTools has 64 besides the content; LightFM has the WARP loss; all else is the library's default. ALS on frozen content
only finds vectors of users; without content it finds both. Without content, VBPR is BPR. VBPR is Cornac's 3.0.1 as it is, which
adds the bias of each item in a batch to every pair of it."""


if __name__ == "__main__":
    sys.exit(main())
