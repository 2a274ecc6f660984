"""PartsMapDisplay: the items in the plane, near each other where a part is alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from modalsplit.featurize._base import BadItemError
from modalsplit.featurize._decode import read_image
from modalsplit.plotting._axes import MARKERS, NEUTRAL, PALETTE, axes_for, shortened

THUMBNAIL = 32  # pixels
MOST_KINDS = len(PALETTE) - 1  # the last colour is for the rest


class PartsMapDisplay:
    """Items as points, as pictures, or coloured by kind.

    Parameters
    ----------
    coordinates : array-like of shape (n_items, 2)
        Where the items are. Items with NaN, which lack the part, are left out.
    axis_names : tuple of two str, default=("", "")
        What the axes are.
    part : str, default=""
        Of what this is the map; the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.
    n_pictures_ : int
        After `plot`: how many items are shown as pictures. One whose picture would cover another is a point.

    Raises
    ------
    ValueError
        If `coordinates` has another shape, or no item has the part.

    Examples
    --------
    >>> from modalsplit.plotting import PartsMapDisplay
    >>> display = PartsMapDisplay([[0.0, 1.0], [1.0, 0.0]], part="image_common")
    >>> display.plot(labels=["red", "white"]).figure_.savefig("map.png")  # doctest: +SKIP
    """

    def __init__(self, coordinates: ArrayLike, axis_names: tuple[str, str] = ("", ""), part: str = "") -> None:
        self.coordinates = np.asarray(coordinates, dtype=float)
        self.axis_names = axis_names
        self.part = part
        if self.coordinates.ndim != 2 or self.coordinates.shape[1] != 2:
            raise ValueError(f"coordinates has the shape {self.coordinates.shape}, and must have (n_items, 2).")
        self._present = np.isfinite(self.coordinates).all(axis=1)
        if not self._present.any():
            raise ValueError(f"No item has {part or 'coordinates'}: there is nothing to draw.")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        part: str = "common",
        method: Literal["pca", "umap"] = "pca",
        images: Sequence[Any] | None = None,
        labels: ArrayLike | None = None,
        random_state: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Split items with a fitted encoder, and draw the map of one part.

        Parameters
        ----------
        estimator : DisentangledModalityEncoder
            Fitted.
        X : array-like of shape (n_items, n_columns)
            As for its ``transform``.
        y : array-like of shape (n_items, n_columns_second), optional
            As for its ``transform``.
        part : str, default="common"
            ``"common"``: the common parts of all modalities side by side; or one part of one modality, such as
            ``"image_specific"``.
        method : {"pca", "umap"}, default="pca"
            ``"pca"`` keeps distances as far as two axes can, ``"umap"`` keeps neighbours; it needs umap-learn.
        images : sequence of length n_items, optional
            As in `plot`.
        labels : array-like of shape (n_items,), optional
            As in `plot`.
        random_state : int or None, default=None
            Makes UMAP repeatable.
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.

        Returns
        -------
        PartsMapDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib, or what `method` needs, is not installed.
        ValueError
            If there is no such part, or fewer than three items have it.
        """
        vectors = _part(estimator.parts(X, y), part)
        return cls.from_vectors(
            vectors, part=part, method=method, images=images, labels=labels, random_state=random_state, ax=ax
        )

    @classmethod
    def from_vectors(
        cls,
        vectors: ArrayLike,
        *,
        part: str = "",
        method: Literal["pca", "umap"] = "pca",
        images: Sequence[Any] | None = None,
        labels: ArrayLike | None = None,
        random_state: int | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the map of any vectors of items.

        Parameters
        ----------
        vectors : array-like of shape (n_items, n_columns)
            Items with NaN are left out.
        part : str, default=""
            What they are; the title.
        method, images, labels, random_state, ax
            As in `from_estimator`.

        Returns
        -------
        PartsMapDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib, or what `method` needs, is not installed.
        ValueError
            If fewer than three items have vectors, or `method` is not known.
        """
        vectors = np.asarray(vectors, dtype=float)
        present = np.isfinite(vectors).all(axis=1)
        if present.sum() < 3:
            raise ValueError(f"A map needs three items or more, but {present.sum()} have {part or 'vectors'}.")
        coordinates = np.full((len(vectors), 2), np.nan)
        coordinates[present], names = _flattened(vectors[present], method, random_state)
        return cls(coordinates, names, part).plot(ax, images=images, labels=labels)

    def plot(self, ax: Any = None, *, images: Sequence[Any] | None = None, labels: ArrayLike | None = None) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure if None.
        images : sequence of length n_items, optional
            Pictures as featurizers take them: paths, bytes, PIL images or arrays. Those that cannot be read, or
            would cover another one, are points.
        labels : array-like of shape (n_items,), optional
            Kinds, told by colour and marker, or by the colour of a picture's frame; the six most frequent, and the rest together.

        Returns
        -------
        PartsMapDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `images` or `labels` are not one an item.
        """
        for name, values in (("images", images), ("labels", labels)):
            n = len(self.coordinates) if values is None else len(values)  # type: ignore[arg-type]
            if n != len(self.coordinates):
                raise ValueError(f"{name} holds {n} values for {len(self.coordinates)} items: give one an item.")
        self.ax_ = axes_for(ax, (7.2, 5.4))
        self.figure_ = self.ax_.figure
        # Many points shrink and become transparent, so that crowds show.
        n = int(self._present.sum())
        style = {"s": float(np.clip(4000 / n, 4, 36)), "alpha": 0.85 if n < 500 else 0.5, "linewidths": 0}
        colours = self._draw_points(labels, style)
        self.ax_.set(xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        self.ax_.set_title(f"{self.part.replace('_', ' ')}, {n:,} items".lstrip(", "), fontsize="medium")
        self.ax_.margins(0.06)
        self.n_pictures_ = 0 if images is None else self._draw_pictures(images, colours)
        return self

    def _draw_points(self, labels: ArrayLike | None, style: dict[str, Any]) -> list[str]:
        """Draw all items, and return the colour of each."""
        colours = [NEUTRAL] * len(self.coordinates)
        if labels is None:
            self.ax_.scatter(*self.coordinates[self._present].T, color=NEUTRAL, **style)
            return colours
        kinds = pd.Series(labels).reset_index(drop=True).astype(object)
        kinds = kinds.where(kinds.notna(), "none").astype(str)[self._present]
        frequent = kinds.value_counts().index
        # A rest of one kind has a colour of its own.
        shown = list(frequent[: MOST_KINDS if len(frequent) > len(PALETTE) else len(PALETTE)])
        kinds = kinds.where(kinds.isin(shown), "others")
        for i, kind in enumerate([*shown, "others"] if len(shown) < len(frequent) else shown):
            rows = kinds.index[kinds == kind].tolist()
            for row in rows:
                colours[row] = PALETTE[i]
            label = f"{shortened(kind, 24)} ({len(rows):,})"
            self.ax_.scatter(*self.coordinates[rows].T, color=PALETTE[i], marker=MARKERS[i], label=label, **style)
        legend = self.ax_.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        for handle in legend.legend_handles:
            handle.set(alpha=1, sizes=[30])
        return colours

    def _draw_pictures(self, images: Sequence[Any], colours: Sequence[str]) -> int:
        """Draw pictures that do not cover each other, framed by kind; readable ones, in the order of the items."""
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        self.figure_.draw_without_rendering()  # the layout decides how far apart points are
        places = self.ax_.transData.transform(self.coordinates) * 72 / self.figure_.dpi  # in points, as zoom is
        taken: list[NDArray[np.float64]] = []
        for item in np.flatnonzero(self._present).tolist():
            if taken and (np.abs(np.array(taken) - places[item]).max(axis=1) < THUMBNAIL + 2).any():
                continue
            try:
                picture = read_image(images[item])
            except BadItemError:
                continue
            picture.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))  # sharp when the figure is saved at 144 dpi
            box = OffsetImage(np.asarray(picture), zoom=THUMBNAIL / max(picture.size))
            frame = {"edgecolor": colours[item], "linewidth": 1.5}
            self.ax_.add_artist(AnnotationBbox(box, self.coordinates[item], pad=0.1, bboxprops=frame))
            taken.append(places[item])
        return len(taken)


def _part(parts: Any, part: str) -> NDArray[Any]:
    """Choose from `ModalityParts`; NaN where a part is not measured."""
    named: dict[str, NDArray[Any]] = {"common": np.hstack(parts.common)}
    named |= {f"{name}_common": matrix for name, matrix in zip(parts.names, parts.common, strict=True)}
    for m, name in enumerate(parts.names):
        named[f"{name}_specific"] = np.where(parts.imputed[:, [m]], np.nan, parts.specific[m])
    if part not in named:
        raise ValueError(f"There is no part {part!r}; there are {list(named)}.")
    return named[part]


def _flattened(vectors: NDArray[np.float64], method: str, random_state: int | None) -> tuple[Any, tuple[str, str]]:
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2)), ("all items are alike here", "")
    if method == "pca":
        if vectors.shape[1] < 2:
            return np.column_stack([vectors, np.zeros(len(vectors))]), ("the only column", "")
        pca = PCA(2).fit(vectors)
        first, second = (f"principal component ({share:.0%} of variance)" for share in pca.explained_variance_ratio_)
        return pca.transform(vectors), (f"first {first}", f"second {second}")
    if method != "umap":
        raise ValueError(f'method must be "pca" or "umap", and is {method!r}.')
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError("method=\"umap\" needs umap-learn. Install it: pip install 'modalsplit[umap]'") from error
    umap = UMAP(n_neighbors=min(15, len(vectors) - 1), random_state=random_state)
    return umap.fit_transform(vectors), ("UMAP 1 (no unit)", "UMAP 2 (no unit)")
