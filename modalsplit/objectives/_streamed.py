"""The closed form of rows that pass by once: exact moments of all, and a fair sample that judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modalsplit.nn import Anchors, Moments, anchors_of_covariance
from modalsplit.objectives._closed_form import Anchored, best_width, divided_rows, split_anchors
from modalsplit.objectives._fitted import Fitted, Settings
from modalsplit.objectives._stored import CELLS_AT_HAND, anchor_scores, presence

# What is known of the rows so far; made of what a file can hold.
Seen = dict[str, Any]


def nothing_seen(widths: Sequence[int], seed: int) -> Seen:
    """Begin a stream.

    Parameters
    ----------
    widths : sequence of int
        Columns of each modality.
    seed : int
        Of all random choices.

    Returns
    -------
    dict
        For `see`.
    """
    return {"widths": list(widths), "seed": seed, "n_rows": 0, "origin": None, "groups": {}, "rows": None, "keys": None}


def see(seen: Seen, views: Sequence[Tensor]) -> Seen:
    """Count more rows.

    Parameters
    ----------
    seen : dict
        What is known so far; it is not changed.
    views : sequence of Tensor of shape (n_rows, n_columns)
        A matrix a modality; NaN in rows that lack it.

    Returns
    -------
    dict
        With sums and products of all rows, and of as many rows as 2²⁴ numbers, drawn with equal chances, the values.
    """
    present = torch.stack([~view.isnan().any(1) for view in views], dim=1)
    rows = [view.double() for view in views]
    # Near the mean, so that nothing cancels when the mean is taken out.
    origin = seen["origin"] or [x.nanmean(0).nan_to_num(0.0) for x in rows]
    moments = Moments(seen["widths"])
    for pattern, (n, total, products) in seen["groups"].items():
        moments.put(pattern, n, total.clone(), products.clone())
    moments.add([(x - middle).nan_to_num(0.0) for x, middle in zip(rows, origin, strict=True)], present)
    generator = torch.Generator().manual_seed(seen["seed"] + seen["n_rows"] + 1)
    keys = torch.rand(len(present), generator=generator, dtype=torch.float64)
    kept = [view.cpu() for view in views]
    if seen["rows"] is not None:
        keys = torch.cat([seen["keys"], keys])
        kept = [torch.cat([old, new]) for old, new in zip(seen["rows"], kept, strict=True)]
    most = max(CELLS_AT_HAND // sum(seen["widths"]), 1)
    if len(keys) > most:
        chosen = keys.topk(most, largest=False).indices.sort().values
        keys, kept = keys[chosen], [x[chosen] for x in kept]
    groups = {pattern: list(group) for pattern, group in moments.groups.items()}
    n_rows = seen["n_rows"] + len(present)
    return {**seen, "n_rows": n_rows, "origin": origin, "groups": groups, "rows": kept, "keys": keys}


def moments_of(seen: Seen) -> Moments:
    """Read the moments of the rows so far, less their origin.

    Parameters
    ----------
    seen : dict
        From `see`.

    Returns
    -------
    Moments
        Of all columns of all modalities.
    """
    moments = Moments(seen["widths"])
    for pattern, (n, total, products) in seen["groups"].items():
        moments.put(pattern, n, total, products)
    return moments


def fit_seen(seen: Seen, settings: Settings) -> Fitted:
    """Split what was seen by the closed form.

    Parameters
    ----------
    seen : dict
        From `see`.
    settings : Settings
        See there.

    Returns
    -------
    Fitted
        As `fit_closed_form` of all rows, where as many rows as were kept judge.
    """
    views, moments = seen["rows"], moments_of(seen)
    present = presence(views)
    folds = divided_rows(present, settings)
    maps, shifts = [], moments.means()
    squares = zip(moments.own(), shifts, seen["origin"], moments.counts(), strict=True)
    for products, shift, origin, n_rows in squares:
        covariance = products - torch.outer(shift, shift)
        affine = anchors_of_covariance(
            origin + shift, covariance, n_rows, 2 * settings.n_components, settings.ridge, settings.generator
        )
        maps.append(Anchors(None, affine))
    scores = [anchor_scores(anchors, x, have) for anchors, x, have in zip(maps, views, present.T, strict=True)]
    known = moments.mapped([anchors.affine.weight for anchors in maps], shifts)
    anchored = Anchored(maps, scores, present, folds, settings, views, None, present, known)
    width, verdict = best_width(anchored)
    record = {"translation_error": verdict.translation_error}
    return split_anchors(anchored, width, verdict, history=[record])
