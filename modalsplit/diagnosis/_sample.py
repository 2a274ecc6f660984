"""The rows that a diagnosis looks at: parts and principal components of every modality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

FEWEST_ROWS = 20
MOST_COMPONENTS = 50
ROWS_A_COMPONENT = 8
# As in the encoder: plain whitening would make noise as large as signal.
RIDGE = 0.1
SMALLEST_VARIANCE = 1e-9


@dataclass(frozen=True)
class Sample:
    """Complete rows, split.

    Attributes
    ----------
    names : tuple of str
        The modalities.
    n_items : int
        Rows that were given.
    rows : ndarray of int of shape (n_rows,)
        Those that have all modalities.
    raw : tuple of ndarray of shape (n_rows, n_directions)
        Principal components of each modality's features, of unit mean variance.
    input_scale : tuple of float
        Standard deviation of the features along their largest direction.
    common, specific, primitive : tuple of ndarray of shape (n_rows, n_components)
        Parts of each modality, centred, and their sum.
    """

    names: tuple[str, ...]
    n_items: int
    rows: Rows
    raw: tuple[Floats, ...]
    input_scale: tuple[float, ...]
    common: tuple[Floats, ...]
    specific: tuple[Floats, ...]
    primitive: tuple[Floats, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every two modalities, once."""
        return list(combinations(range(len(self.names)), 2))

    @property
    def directions(self) -> list[tuple[int, int]]:
        """Every two modalities, both ways."""
        return list(permutations(range(len(self.names)), 2))

    def whitened(self, modality: int) -> Floats:
        """Principal components with the leading ones brought to about unit variance.

        Parameters
        ----------
        modality : int
            Which.

        Returns
        -------
        ndarray of shape (n_rows, n_directions)
            The scores.
        """
        scores = self.raw[modality]
        variances = scores.var(axis=0)
        whitened: Floats = scores / np.sqrt(variances + RIDGE * variances.mean())
        return whitened


def take_sample(encoder: Any, X: Any, y: Any, random_state: Any) -> Sample:
    """Split the items and keep those that have all modalities.

    Parameters
    ----------
    encoder : fitted encoder
        Has ``parts(X, y)``.
    X, y : array-like
        As for ``parts``.
    random_state : RandomState
        Of the principal components of wide modalities.

    Returns
    -------
    Sample
        What the measures are taken on.

    Raises
    ------
    ValueError
        If a modality is not given or does not vary, or too few items are complete.
    """
    # An encoder refuses ids that differ, which is a finding here.
    parts = encoder.parts(X, y.to_numpy() if X is not None and hasattr(y, "iloc") else y)
    absent = [name for name, view in zip(parts.names, parts.views, strict=True) if view is None]
    if absent:
        raise ValueError(
            f"The {absent[0]} modality is not given, and without it there is nothing to compare. Pass all "
            f"modalities of the same items: {', '.join(parts.names)}."
        )
    complete: NDArray[np.bool_] = ~np.any(parts.imputed, axis=1)
    rows = np.flatnonzero(complete)
    if len(rows) < FEWEST_ROWS:
        raise ValueError(
            f"{len(rows)} of {len(complete)} items have all modalities, but a diagnosis needs {FEWEST_ROWS} at "
            "least. Pass more complete items."
        )
    raw = [_principal(view[rows], name, random_state) for view, name in zip(parts.views, parts.names, strict=True)]
    split = [_centred(c[rows], s[rows]) for c, s in zip(parts.common, parts.specific, strict=True)]
    return Sample(
        names=tuple(parts.names),
        n_items=len(complete),
        rows=rows,
        raw=tuple(scores for scores, _ in raw),
        input_scale=tuple(scale for _, scale in raw),
        common=tuple(c for c, _ in split),
        specific=tuple(s for _, s in split),
        primitive=tuple(c + s for c, s in split),
    )


def _principal(view: Any, name: str, random_state: Any) -> tuple[Floats, float]:
    most = min(MOST_COMPONENTS, max(2, len(view) // ROWS_A_COMPONENT), *view.shape)
    if np.ptp(view, axis=0).max(initial=0) == 0:
        raise ValueError(f"The {name} modality is constant in these {len(view)} items. Check its featurizer.")
    pca = PCA(most, random_state=random_state).fit(view)
    scores = np.asarray(pca.transform(view), dtype=float)
    variances = scores.var(axis=0)
    scores = scores[:, variances > SMALLEST_VARIANCE * variances[0]]
    return scores / np.sqrt(scores.var(axis=0).mean()), float(np.sqrt(variances[0]))


def _centred(common: NDArray[Any], specific: NDArray[Any]) -> tuple[Floats, Floats]:
    """Centre the parts; one that is only what rounding left of a difference becomes zero."""
    eps = float(np.finfo(np.result_type(common, specific, np.float32)).eps)
    c, s = (np.asarray(part, dtype=float) - part.mean(axis=0, dtype=float) for part in (common, specific))
    least = 8 * eps * np.sqrt(np.mean((c + s) ** 2))
    for part in (c, s):
        if np.sqrt(np.mean(part**2)) <= least:
            part[:] = 0
    return c, s
