"""Pre-training beside the matrix products that it cannot do without, beside PCA, and beside the released code."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.speed.frame import Figure, alternated, timed
from benchmarks.speed.released import epochs
from modalsplit import DisentangledModalityEncoder
from modalsplit.objectives import Settings, fit_trained
from modalsplit.objectives._fitted import Objective

N_ITEMS = 23_033
WIDTHS = (4096, 2700)
D = 150
EPOCH_ITEMS = 8192  # an epoch over fewer items costs the same a batch
RELEASED_EPOCHS = 100
OBJECTIVES: tuple[Objective, ...] = ("stable", "paper", "official")
BATCHES = {100: 2.0, 500: 1.3, 4096: 1.3}


def measure() -> Iterator[Figure]:
    """Time epochs, anchors and whole fits."""
    views = [torch.from_numpy(x) for x in features(EPOCH_ITEMS)]
    for objective in OBJECTIVES:
        for batch_size, bound in BATCHES.items():
            ours, limit = alternated(
                lambda o=objective, b=batch_size: epoch_seconds(views, o, b),
                lambda o=objective, b=batch_size: product_seconds(o, b),
            )
            what = f"epoch of {objective}, batch {batch_size}, beside its matrix products"
            yield Figure(what, ours, limit, at_most=bound)
    yield from whole_fits(*features(N_ITEMS))


def whole_fits(image: np.ndarray, text: np.ndarray) -> Iterator[Figure]:
    pca, anchors = alternated(
        lambda: timed(lambda: [PCA(D, svd_solver="randomized", random_state=0).fit(x) for x in (image, text)]),
        lambda: timed(lambda: DisentangledModalityEncoder(D, objective="cca", random_state=0).fit(image, text)),
    )
    yield Figure(
        "anchors and canonical directions, beside randomised PCA of both modalities", anchors, pca, at_most=1.5
    )
    one = timed(lambda: epochs(torch.from_numpy(image), torch.from_numpy(text), D, 1))
    stable = timed(lambda: DisentangledModalityEncoder(D, random_state=0).fit(image, text))
    what = f"fit of stable, beside {RELEASED_EPOCHS} epochs of the released code (one was timed)"
    yield Figure(what, [stable], [RELEASED_EPOCHS * one], at_most=1 / 20)


def features(n_items: int, widths: tuple[int, int] = WIDTHS) -> tuple[np.ndarray, np.ndarray]:
    """Draw two modalities that share twenty of forty factors."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((n_items, 40), dtype=np.float32)
    parts = factors[:, :30], factors[:, 10:]
    views = [
        part @ rng.standard_normal((30, width), dtype=np.float32)
        + 5 * rng.standard_normal((n_items, width), dtype=np.float32)
        for part, width in zip(parts, widths, strict=True)
    ]
    return views[0], views[1]


def epoch_seconds(views: list[Tensor], objective: Objective, batch_size: int) -> float:
    """Time the faster of two epochs; what is done once, before the first, is no part of it."""
    ends: list[float] = []

    def on_epoch(record: dict[str, float]) -> bool:
        ends.append(time.process_time())
        return False

    settings = Settings(
        n_components=D,
        ridge=0.0,
        common_rank=None,
        validation_fraction=0.0,
        generator=torch.Generator().manual_seed(0),
        objective=objective,
        extractor="linear",
        batch_size=batch_size,
        max_epochs=3,
        on_epoch=on_epoch,
    )
    fit_trained(views, settings)
    return float(min(np.diff(ends)))


def product_seconds(objective: Objective, batch_size: int) -> float:
    """Time the matrix products of an epoch, forth and back, as the formulas are written, and nothing else."""
    n_full, rest = divmod(EPOCH_ITEMS, batch_size)
    seconds = 0.0
    for n_rows, n_batches in ((batch_size, n_full), (rest, 1)):
        if n_rows:
            pairs = [(torch.randn(m, k), torch.randn(k, n)) for m, k, n in shapes_of(objective, n_rows)]
            outs = [torch.empty(len(a), b.shape[1]) for a, b in pairs]
            start = time.process_time()
            for _ in range(n_batches):
                for (a, b), out in zip(pairs, outs, strict=True):
                    torch.mm(a, b, out=out)
            seconds += time.process_time() - start
    return seconds


def shapes_of(objective: Objective, n_rows: int) -> list[tuple[int, int, int]]:
    """List the products of a batch, (m, k) by (k, n): through a layer, for its weights, and for its input."""
    shapes = []
    for width, other in (WIDTHS, WIDTHS[::-1]):
        extractor = layer(n_rows, D, D)
        if objective == "stable":
            # Anchors are frozen, and so are the maps that read primitives and specific parts; then the residual.
            shapes += extractor[:2] + 3 * extractor[:1] + extractor[1:2] + 2 * extractor[2:] + extractor[1:]
            continue
        translation = layer(n_rows, D, D if objective == "paper" else other)
        shapes += layer(n_rows, width, D)[:2] + extractor + 3 * translation
    return shapes


def layer(n_rows: int, n_in: int, n_out: int) -> list[tuple[int, int, int]]:
    return [(n_rows, n_in, n_out), (n_out, n_rows, n_in), (n_rows, n_out, n_in)]
