"""Many rows, in memory or in a store: which are held as anchors, a matrix that reads what it is asked for, and passes over all.

What is exact on all rows: the anchors' covariance and the moments of anchors and features, from which the split is
computed. What rows at hand do: at most `ROWS_AT_HAND`, drawn evenly, judge candidates and give products of anchors.
Networks learn from all rows but those that judge.
"""

from __future__ import annotations

import errno
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalsplit.files import fill, whole_file
from modalsplit.nn import Affine, Anchors, Moments, Uncensor, anchors_of_covariance, imputed, sketched_anchors
from modalsplit.objectives._fitted import Settings
from modalsplit.objectives._scan import blocks_of, scanning, stretches
from modalsplit.stores import FeatureStore

# Anchors that are held in memory, and rows: 27,962 rows of two modalities and 150 components, 64 MB in single precision.
CELLS_AT_HAND, ROWS_AT_HAND = 1 << 24, 1 << 15
# Columns up to which a covariance is held: 512 MB. Wider modalities are read five times instead.
WIDEST_COVARIANCE = 8192
# Rows that are mapped at a time: they are held in double precision, too.
ROWS_SCORED = 128
# Rows whose anchors of all modalities are there at a time, in passes over all.
ROWS_PASSED = 1024


class StoredView:
    """One modality of a store as a matrix of which only what is asked for is in memory.

    Parameters
    ----------
    store : FeatureStore
        The store.
    modality : int
        Which one.
    present : Tensor of bool of shape (n_rows,)
        Which rows have it.
    """

    def __init__(self, store: FeatureStore, modality: int, present: Tensor) -> None:
        self.store = store
        self.modality = modality
        self.present = present
        self.shape = (store.n_rows, store.widths[modality])
        self.device = present.device
        self.moments: tuple[int, Tensor, Tensor | None] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        # Another process is told of the rows that it works on which are there.
        return {**vars(self), "present": None, "moments": None, "device": torch.device("cpu")}

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        chosen = rows if isinstance(rows, slice) else rows.cpu().numpy()
        read = self.store.read(chosen, self.modality)
        return torch.from_numpy(read if read.flags.writeable else read.copy()).to(self.device)


Matrix = Tensor | StoredView


def rows_at_hand(views: Sequence[Matrix], settings: Settings) -> Tensor | None:
    """Draw the rows that are held in memory as anchors, one from each of as many stretches of equal length.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        All modalities.
    settings : Settings
        Number of components, and generator.

    Returns
    -------
    Tensor of int of shape (n_chosen,) or None
        Rising row numbers; None for all rows.
    """
    n_rows = len(views[0])
    widths = [min(2 * settings.n_components, view.shape[1]) for view in views]
    n_chosen = min(ROWS_AT_HAND, CELLS_AT_HAND // sum(widths))
    if n_rows <= n_chosen:
        return None
    generator = settings.generator
    within = torch.rand(n_chosen, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    return ((torch.arange(n_chosen) + within) * n_rows / n_chosen).long().clamp(max=n_rows - 1)


def presence(views: Sequence[Matrix]) -> Tensor:
    """Tell which row has which modality.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        One a modality; NaN in rows that lack it.

    Returns
    -------
    Tensor of bool of shape (n_rows, n_modalities)
        True where it is there.
    """
    there = torch.empty(len(views[0]), len(views), dtype=torch.bool, device=views[0].device)
    for view, column in zip(views, there.T, strict=True):
        if isinstance(view, StoredView):
            column.copy_(view.present)
            continue
        for block, out in zip(torch.split(view, ROWS_SCORED), torch.split(column, ROWS_SCORED), strict=True):
            torch.logical_not(block.isnan().any(1), out=out)
    return there


def anchor_scores(anchors: Anchors, x: Tensor, have: Tensor) -> Tensor:
    """Map rows of a modality to their anchors; 0 in rows that lack it.

    Parameters
    ----------
    anchors : Anchors
        The map.
    x : Tensor of shape (n_rows, n_columns)
        The rows; NaN where it is absent.
    have : Tensor of bool of shape (n_rows,)
        Which rows have the modality.

    Returns
    -------
    Tensor of shape (n_rows, n_anchors)
        The anchors, in the precision of the rows; half precision is made single.
    """
    return affine_scores(anchors.affine, passed(anchors.front, x), have)


def affine_scores(affine: Affine, x: Tensor, have: Tensor) -> Tensor:
    """Map rows that have passed what comes first; 0 in rows that lack the modality.

    Parameters
    ----------
    affine : Affine
        The map.
    x : Tensor of shape (n_rows, n_columns)
        The rows; NaN where it is absent.
    have : Tensor of bool of shape (n_rows,)
        Which rows have the modality.

    Returns
    -------
    Tensor of shape (n_rows, n_anchors)
        The anchors, in the precision of the rows; half precision is made single.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    weight = affine.weight.to(dtype)
    scores = torch.empty(len(x), weight.shape[1], dtype=dtype, device=x.device)
    for block, out, there in zip(*(torch.split(y, ROWS_SCORED) for y in (x, scores, have)), strict=True):
        # The mean goes first, in double precision: it may be far larger than what varies.
        out.copy_(torch.where(there[:, None], (block.double() - affine.mean).to(dtype) @ weight, 0.0))
    return scores


def scores_at_hand(anchors: Anchors, view: Matrix, rows: Tensor | None, have: Tensor) -> Tensor:
    """Map some rows of a modality to their anchors, a block at a time.

    Parameters
    ----------
    anchors : Anchors
        The map.
    view : matrix of shape (n_rows, n_columns)
        The modality.
    rows : Tensor of int of shape (n_chosen,) or None
        Which rows; None for all.
    have : Tensor of bool of shape (n_chosen,)
        Which of them have the modality.

    Returns
    -------
    Tensor of shape (n_chosen, n_anchors)
        The anchors; 0 in rows that lack the modality.
    """
    scores: Tensor | None = None
    for start in range(0, len(have), ROWS_SCORED):
        block = slice(start, start + ROWS_SCORED)
        found = anchor_scores(anchors, view[block if rows is None else rows[block]], have[block])
        if scores is None:
            scores = found.new_empty(len(have), found.shape[1])
        scores[block] = found
    assert scores is not None
    return scores


def passed(front: Uncensor | None, x: Tensor) -> Tensor:
    """Apply what the columns pass first."""
    return x if front is None else imputed(front, x)


def stored_anchors(view: StoredView, front: Uncensor | None, settings: Settings) -> Affine:
    """Find the principal anchors of a modality by one pass over its rows, or by seven of a very wide one.

    Parameters
    ----------
    view : StoredView
        The modality.
    front : Module or None
        What its columns pass first.
    settings : Settings
        Components, ridge, generator and stages.

    Returns
    -------
    Affine
        As `modalsplit.nn.principal_anchors` finds them.
    """
    if front is not None:
        moments = _moments(view, front, settings)
    else:
        moments = view.moments = view.moments or _moments(view, front, settings)
    n_rows, mean, covariance = moments
    k, ridge, generator = 2 * settings.n_components, settings.ridge, settings.generator
    if covariance is not None:
        return anchors_of_covariance(mean, covariance, n_rows, k, ridge, generator)

    def times(basis: Tensor) -> Tensor:
        product = torch.zeros_like(basis)
        for part in _scanned(view, settings, _multiplied, (front, mean, basis)):
            product += part.to(product.device)
        return product / n_rows

    return sketched_anchors(mean, times, n_rows, k, ridge, generator)


def _moments(view: StoredView, front: Uncensor | None, settings: Settings) -> tuple[int, Tensor, Tensor | None]:
    """Count, average and correlate the rows that have the modality; no covariance if it is too wide."""
    name = f"moments-{view.modality}{'' if front is None else '-uncensored'}"
    n_columns, stages = view.shape[1], settings.stages
    sums: dict[str, Any] | None = stages.load(name)
    if sums is None:
        total = torch.zeros(n_columns, dtype=torch.float64)
        products = torch.zeros(n_columns, n_columns, dtype=torch.float64) if n_columns <= WIDEST_COVARIANCE else None
        sums = {"next": 0, "count": 0, "origin": _origin(view, front).cpu(), "total": total, "products": products}
    sums = {key: part.to(view.device) if isinstance(part, Tensor) else part for key, part in sums.items()}
    shared = (front, sums["origin"], sums["products"] is not None)
    for part in _scanned(view, settings, _summed, shared, sums["next"]):
        sums["next"] += 1
        sums["count"] += part.n_rows
        sums["total"] += part.total.to(view.device)
        if part.products is not None:
            sums["products"] += part.products.to(view.device)
        stages.keep(name, sums.copy, at_once=sums["next"] == len(stretches(len(view))))
    count, total, products = sums["count"], sums["total"], sums["products"]
    shift = total / count
    covariance = None if products is None else products.div_(count).addr_(shift, shift, alpha=-1)
    return count, sums["origin"] + shift, covariance


def _origin(view: StoredView, front: Uncensor | None) -> Tensor:
    """Average the first block that has rows: it is near the mean, so that nothing cancels when the mean is taken out."""
    for block in blocks_of(slice(0, len(view))):
        have = view.present[block]
        if have.any():
            return passed(front, view[block][have]).double().mean(0)
    raise AssertionError("a modality that no item has")


class _Sums(NamedTuple):
    """Number of rows, their sum and that of their outer products, less an origin; no products of wide rows."""

    n_rows: int
    total: Tensor
    products: Tensor | None


# What is done for a stretch; a worker may do it. Present says which of its rows have the modality.


def _summed(
    front: Uncensor | None, origin: Tensor, with_products: bool, view: StoredView, part: tuple[slice, Tensor]
) -> _Sums:
    count, total = 0, torch.zeros_like(origin)
    products = origin.new_zeros(len(origin), len(origin)) if with_products else None
    for rows in _that_have(front, view, part):
        apart = rows.double() - origin
        count += len(apart)
        total += apart.sum(0)
        if products is not None:
            products.addmm_(apart.T, apart)
    return _Sums(count, total, products)


def _multiplied(
    front: Uncensor | None, mean: Tensor, basis: Tensor, view: StoredView, part: tuple[slice, Tensor]
) -> Tensor:
    product = torch.zeros_like(basis)
    for rows in _that_have(front, view, part):
        apart = rows - mean.to(rows.dtype)
        product += (apart.T @ (apart @ basis.to(rows.dtype))).double()
    return product


def _that_have(front: Uncensor | None, view: StoredView, part: tuple[slice, Tensor]) -> Iterator[Tensor]:
    rows, present = part
    for block in blocks_of(rows):
        x, have = view[block], present[block.start - rows.start : block.stop - rows.start]
        if have.any():
            yield passed(front, x if have.all() else x[have])


def _scanned(
    view: StoredView, settings: Settings, function: Callable[..., Any], shared: Sequence[Any], start: int = 0
) -> Iterator[Any]:
    """Call a function for the stretches of a modality, from one on."""
    parts = stretches(len(view))
    with settings.progress(f"reading {view.store.names[view.modality]}", len(view), "items") as done:
        done(sum(rows.stop - rows.start for rows in parts[:start]))
        items = [(rows, view.present[rows]) for rows in parts[start:]]
        for (rows, _), result in zip(items, scanning.get()(function, (*shared, view), items), strict=True):
            yield result
            done(rows.stop - rows.start)


# Anchors of some rows, a matrix a modality, and which row has which modality.
_Block = tuple[list[Tensor], Tensor]
_FeaturesOf = Callable[[list[Tensor]], list[Tensor]]


class AllRows:
    """The anchors of all rows, of which few are at hand.

    Parameters
    ----------
    views : sequence of matrices of shape (n_rows, n_columns)
        All modalities.
    present : Tensor of bool of shape (n_rows, n_modalities)
        Which row has which.
    maps : sequence of Anchors
        From their columns to anchors.
    settings : Settings
        Stages and progress.
    """

    def __init__(self, views: Sequence[Matrix], present: Tensor, maps: Sequence[Anchors], settings: Settings) -> None:
        self.views = views
        self.present = present
        self.maps = maps
        self.settings = settings
        self.widths = [len(anchors.affine.weight.T) for anchors in maps]
        self._file: Any = None

    def moments(self, features_of: _FeaturesOf | None = None) -> Moments:
        """Sum up what is computed of the anchors.

        Parameters
        ----------
        features_of : callable, optional
            Takes the anchors of some rows, a matrix a modality; returns features in the same form. By default the
            anchors themselves.

        Returns
        -------
        Moments
            Of all rows.
        """
        rows = stretches(len(self.views[0]))
        if self._file is None:
            parts = self._scanned(_anchors_summed, (features_of,))
        else:
            parts = (_summed_up(features_of, self._from_file(stretch)) for stretch in rows)
        moments: Moments = functools.reduce(Moments.plus, parts)
        return moments

    def keep_on_disk(self, stack: ExitStack) -> None:
        """Write all anchors to a file, float32, from which batches are read; it goes away with the stack."""
        stages = self.settings.stages
        folder = stack.enter_context(stages.folder())
        path = folder / "anchors.f32"
        n_bytes = len(self.views[0]) * sum(self.widths) * 4
        if not (path.exists() and path.stat().st_size == n_bytes and stages.load("anchors") == self.widths):
            _check_room(folder, n_bytes)
            with whole_file(path) as unfinished, unfinished.open("wb") as file:
                file.writelines(self._scanned(_anchors_as_written, ()))
            stages.keep("anchors", lambda: self.widths)
        self._file = stack.enter_context(path.open("rb", buffering=0))

    def rows(self, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Read the anchors of some rows from the file.

        Parameters
        ----------
        rows : Tensor of int of shape (n_chosen,)
            Which, in any order.

        Returns
        -------
        scores : list of Tensor of float32 of shape (n_chosen, n_anchors)
            A matrix a modality; 0 where it is absent.
        present : Tensor of bool of shape (n_chosen, n_modalities)
            Where it is there.
        """
        out = np.empty((len(rows), sum(self.widths)), dtype=np.float32)
        # In rising order, as the disk likes it.
        rising, order = rows.cpu().sort()
        for place, row in zip(order.tolist(), rising.tolist(), strict=True):
            self._read(out[place], row)
        return self._divided(out)

    def _read(self, out: NDArray[np.float32], row: int) -> None:
        fill(out, self._file, row * sum(self.widths) * out.itemsize)

    def _scanned(self, function: Callable[..., Any], shared: Sequence[Any]) -> Iterator[Any]:
        """Call a function for all stretches, given the views, their maps to anchors and who is present."""
        n_rows = len(self.views[0])
        parts = [(rows, self.present[rows]) for rows in stretches(n_rows)]
        with self.settings.progress("mapping", n_rows, "items") as done:
            results = scanning.get()(function, (*shared, self.views, self.maps), parts)
            for rows, _ in parts:
                yield next(results)  # not named: it would be held while the next one is made
                done(rows.stop - rows.start)

    def _from_file(self, rows: slice) -> Iterator[_Block]:
        for start in range(rows.start, rows.stop, ROWS_PASSED):
            out = np.empty((min(ROWS_PASSED, rows.stop - start), sum(self.widths)), dtype=np.float32)
            self._read(out, start)
            scores, present = self._divided(out)
            yield [x.double() for x in scores], present

    def _divided(self, out: NDArray[np.float32]) -> tuple[list[Tensor], Tensor]:
        parts = torch.split(torch.from_numpy(out).to(self.views[0].device), self.widths, dim=1)
        present = torch.stack([~part[:, 0].isnan() for part in parts], dim=1)
        return [part.nan_to_num(0.0) for part in parts], present


def _anchors_of(views: Sequence[Matrix], maps: Sequence[Anchors], part: tuple[slice, Tensor]) -> Iterator[_Block]:
    """Anchors of the rows of a stretch, some at a time, and which row has which modality."""
    rows, of_stretch = part
    for block in blocks_of(rows):
        present = of_stretch[block.start - rows.start : block.stop - rows.start]
        read = [view[block] for view in views]
        for *pieces, there in zip(*(torch.split(x, ROWS_PASSED) for x in (*read, present)), strict=True):
            yield [anchor_scores(*each) for each in zip(maps, pieces, there.T, strict=True)], there


def _anchors_summed(
    features_of: _FeaturesOf | None,
    views: Sequence[Matrix],
    maps: Sequence[Anchors],
    part: tuple[slice, Tensor],
) -> Moments:
    return _summed_up(features_of, _anchors_of(views, maps, part))


def _summed_up(features_of: _FeaturesOf | None, blocks: Iterator[_Block]) -> Moments:
    moments: Moments | None = None
    for scores, present in blocks:
        found = scores if features_of is None else features_of(scores)
        features = [torch.where(have[:, None], x, 0.0) for have, x in zip(present.T, found, strict=True)]
        moments = moments or Moments([x.shape[1] for x in features])
        moments.add(features, present)
    assert moments is not None
    return moments


def _anchors_as_written(
    views: Sequence[Matrix], maps: Sequence[Anchors], part: tuple[slice, Tensor]
) -> NDArray[np.float32]:
    """Anchors side by side; NaN where a row lacks the modality."""
    rows, _ = part
    out = np.empty((rows.stop - rows.start, sum(len(anchors.affine.weight.T) for anchors in maps)), dtype=np.float32)
    done = 0
    for scores, present in _anchors_of(views, maps, part):
        there = [torch.where(have[:, None], x.float(), torch.nan) for have, x in zip(present.T, scores, strict=True)]
        out[done : done + len(present)] = torch.cat(there, dim=1).cpu().numpy()
        done += len(present)
    return out


def _check_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            errno.ENOSPC,
            f"The anchors of all items take {n_bytes / 1e9:.1f} GB on disk, but {folder} has {free / 1e9:.1f} GB left. Make "
            "room, or set TMPDIR or checkpoint= to a folder on a larger disk",
        )
