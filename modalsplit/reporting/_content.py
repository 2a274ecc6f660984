"""What the page shows, as plain lists and dicts that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches

from modalsplit.recommend._inputs import positions, read_interactions
from modalsplit.reporting._pictures import data_uri

TITLE_LENGTH, TEXT_LENGTH, TAKEN_SHOWN = 100, 500, 12
ITEMS_AT_ONCE = 4096


class Columns(NamedTuple):
    """Which columns of the items are shown as what.

    Attributes
    ----------
    title : str or None
        Names.
    texts : list of str
        Texts.
    image : str or None
        Pictures.
    """

    title: str | None
    texts: list[str]
    image: str | None

    @classmethod
    def found(
        cls, items: pd.DataFrame, title: str | None, texts: str | Sequence[str] | None, image: str | None
    ) -> Self:
        """Check the names given, and look for the usual ones.

        Parameters
        ----------
        items : DataFrame
            The items.
        title, image : str or None
            A column; None for the usual one if it is there.
        texts : str, sequence of str or None
            Columns; None for the usual one if it is there.

        Returns
        -------
        Columns
            All of them are in `items`.

        Raises
        ------
        ValueError
            If a given one is not.
        """
        if not hasattr(items, "columns"):
            raise ValueError(f"items must be a DataFrame whose index holds the ids, and is a {type(items).__name__}.")
        given = [texts] if isinstance(texts, str) else list(texts or [])
        for name in [title, *given, image]:
            if name is not None and name not in items.columns:
                raise ValueError(f"items has no column {name!r}; it has {[str(column) for column in items.columns]}.")

        def usual(name: str) -> str | None:
            return name if name in items.columns else None

        texts = given if texts is not None else [name for name in [usual("text")] if name]
        return cls(title or usual("title"), texts, image or usual("image"))


class Source(NamedTuple):
    """The fitted steps and the data, with rows that fit together.

    Attributes
    ----------
    items : DataFrame of shape (n_items, n_columns)
        The index holds the ids.
    features : array-like of shape (n_items, n_features)
        What the first step reads.
    before : Pipeline or None
        What comes before the encoder.
    encoder : DisentangledModalityEncoder
        Fitted.
    recommender : Recommender or None
        Fitted.
    taken : csr_array of shape (n_items, n_users)
        Ones where a user took an item; no column if nobody is known.
    user_ids : ndarray of shape (n_users,)
        Their ids.
    """

    items: pd.DataFrame
    features: Any
    before: Any
    encoder: Any
    recommender: Any
    taken: sparse.csr_array
    user_ids: NDArray[Any]

    @classmethod
    def of(cls, pipeline: Any, items: pd.DataFrame, interactions: Any, features: Any) -> Self:
        """Take a pipeline apart, and align the rows of everything with the items.

        Parameters
        ----------
        pipeline, items, interactions, features
            As in `report`.

        Returns
        -------
        Source
            Aligned.

        Raises
        ------
        ValueError
            If there is no encoder, or ids or rows do not fit together.
        """
        if items.index.has_duplicates:
            twice = items.index[items.index.duplicated()]
            raise ValueError(f"The ids of items must be unique, but {twice[0]!r} occurs more than once.")
        if items.empty:
            raise ValueError("items has no rows: there is nothing to show.")
        steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
        at = next((i for i, step in enumerate(steps) if callable(getattr(step, "parts", None))), None)
        if at is None:
            raise ValueError(
                f"The pipeline holds {[type(step).__name__ for step in steps]} and no DisentangledModalityEncoder, "
                "whose parts the page compares."
            )
        recommender = steps[-1] if hasattr(steps[-1], "recommend") else None
        rows = items if features is None else features
        _check_rows(rows, items)
        taken, user_ids = _taken(interactions, recommender, items)
        return cls(items, rows, pipeline[:at] if at else None, steps[at], recommender, taken, user_ids)


def content_of(
    source: Source, columns: Columns, max_items: int, n_neighbours: int, users: int | ArrayLike, k: int
) -> dict[str, Any]:
    """Collect what the page shows.

    Parameters
    ----------
    source : Source
        Steps and data.
    columns : Columns
        What to show of an item.
    max_items, n_neighbours, users, k
        As in `report`.

    Returns
    -------
    dict
        ``items``, ``parts``, ``users``, and numbers of what there is.

    Raises
    ------
    ValueError
        If a user is unknown.
    """
    popularity = np.asarray(source.taken.sum(axis=1)).ravel().astype(int)
    n_shown = min(max_items, len(source.items))
    # The most popular ones; equals, and all of a catalogue that fits, stay in the order of the items.
    shown = np.argsort(-popularity, kind="stable")[:n_shown]
    if n_shown == len(source.items):
        shown = np.arange(n_shown)
    parts = _near(source, shown, n_neighbours)
    return {
        "items": [
            _item(source.items, columns, row) | {"taken": int(popularity[row]), "near": [part[i] for _, part in parts]}
            for i, row in enumerate(shown)
        ],
        "parts": [name for name, _ in parts],
        "users": _users(source, columns, shown, users, k),
        "n_items": len(source.items),
        "n_users": len(source.user_ids),
    }


def _check_rows(features: Any, items: pd.DataFrame) -> None:
    n_rows = features.shape[0] if hasattr(features, "shape") else len(features)
    if n_rows != len(items):
        raise ValueError(f"features has {n_rows} rows, but there are {len(items)} items. Give one row an item.")
    if hasattr(features, "index") and not features.index.equals(items.index):
        raise ValueError("features and items have different ids, or the same in another order. Reorder one of them.")


def _taken(interactions: Any, recommender: Any, items: pd.DataFrame) -> tuple[sparse.csr_array, NDArray[Any]]:
    """Bring who took what into the order of the items; nobody took an item that it does not know."""
    if interactions is not None:
        positives, item_ids, user_ids = read_interactions(interactions)
    elif recommender is not None:
        positives, item_ids, user_ids = (
            recommender.interactions_,
            _catalogue(recommender, items),
            recommender.user_ids_,
        )
    else:
        return sparse.csr_array((len(items), 0)), np.empty(0)
    user_ids = np.arange(positives.shape[1]) if user_ids is None else user_ids
    if item_ids is None:
        if positives.shape[0] != len(items):
            raise ValueError(
                f"interactions has {positives.shape[0]} rows, but there are {len(items)} items. Give one row an item, "
                "or Interactions that know the ids."
            )
        return positives, user_ids
    rows = pd.Index(item_ids).get_indexer(items.index)
    if (rows < 0).all():
        raise ValueError(
            f"No item has interactions: ids of items look like {items.index[0]!r}, those of interactions like "
            f"{item_ids[0]!r}."
        )
    known = np.flatnonzero(rows >= 0)
    pick = sparse.csr_array((np.ones(len(known)), (known, rows[known])), shape=(len(rows), positives.shape[0]))
    return sparse.csr_array(pick @ positives), user_ids


def _catalogue(recommender: Any, items: pd.DataFrame) -> NDArray[Any]:
    """Return the ids of the fitted items as `items` has them: a recommender that knows none counts rows."""
    ids: NDArray[Any] = recommender.item_ids_
    if items.index.isin(ids).any():
        return ids
    if len(ids) == len(items) and np.array_equal(ids, np.arange(len(ids))):
        return np.asarray(items.index)
    raise ValueError(
        f"No item is known to the {type(recommender).__name__}: ids of items look like {items.index[0]!r}, those of fit "
        f"like {ids[0]!r}."
    )


# Items --------------------------------------------------------------------------------------------------


def _item(items: pd.DataFrame, columns: Columns, row: int) -> dict[str, Any]:
    values = items.iloc[row]
    texts = {name: _text(values[name], TEXT_LENGTH) for name in columns.texts}
    left = TEXT_LENGTH
    for n_left, name in zip(range(len(texts), 0, -1), sorted(texts, key=lambda one: len(texts[one])), strict=True):
        texts[name] = _text(texts[name], left // n_left)  # what short texts leave is for the long ones
        left -= len(texts[name])
    return {
        "id": _text(items.index[row], TITLE_LENGTH),
        "title": _title(items, columns, row),
        "texts": [[name, text] for name, text in texts.items() if text],
        "picture": None if columns.image is None else data_uri(values[columns.image]),
    }


def _title(items: pd.DataFrame, columns: Columns, row: int) -> str:
    title = "" if columns.title is None else _text(items[columns.title].iloc[row], TITLE_LENGTH)
    return title or _text(items.index[row], TITLE_LENGTH)


def _text(value: Any, length: int) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _near(source: Source, shown: NDArray[np.intp], n: int) -> list[tuple[str, list[list[list[float]]]]]:
    """Find alike items by the common part and by each specific part: (position on the page, cosine) of each."""
    features = source.features.iloc[shown] if hasattr(source.features, "iloc") else source.features[shown]
    if source.before is not None:
        features = source.before.transform(features)
    parts = source.encoder.parts(features)
    named = {"common": _mean(parts.common)}
    for name, specific, imputed in zip(parts.names, parts.specific, parts.imputed.T, strict=True):
        named[f"{name} specific"] = np.where(imputed[:, None], np.nan, specific)
    return [(name, _nearest(vectors, n)) for name, vectors in named.items()]


def _mean(common: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Average over the modalities that an item has; they lie in one space."""
    stacked = np.stack(common)
    has = ~np.isnan(stacked)
    count = has.sum(axis=0)
    total = np.where(has, stacked, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _nearest(vectors: NDArray[Any], n: int) -> list[list[list[float]]]:
    """Items that lack the part, or in which it is zero, are near nothing."""
    near: list[list[list[float]]] = [[] for _ in vectors]
    lengths = np.linalg.norm(np.nan_to_num(vectors), axis=1)
    measured = np.flatnonzero(np.isfinite(vectors).all(axis=1) & (lengths > 1e-6 * max(lengths.max(), 1e-30)))
    if len(measured) < 2 or lengths.max() < 1e-12:
        return near
    unit = vectors[measured] / lengths[measured, None]
    search = NearestNeighbors(n_neighbors=min(n, len(measured) - 1), metric="cosine").fit(unit)
    distances, found = search.kneighbors()  # without X, an item is not its own neighbour
    for item, its_distances, its_found in zip(measured, distances, found, strict=True):
        near[item] = [[int(measured[j]), round(1 - float(d), 3)] for j, d in zip(its_found, its_distances, strict=True)]
    return near


# Users --------------------------------------------------------------------------------------------------


def _users(
    source: Source, columns: Columns, shown: NDArray[np.intp], users: int | ArrayLike, k: int
) -> list[dict[str, Any]]:
    recommender = source.recommender
    if recommender is None:
        return []
    place = {int(row): i for i, row in enumerate(shown)}
    rows = source.items.index.get_indexer(pd.Index(_catalogue(recommender, source.items)))
    row_of = {item: int(row) for item, row in zip(recommender.item_ids_, rows, strict=True) if row >= 0}
    chosen = _chosen(source, users)
    if not len(chosen):
        return []
    ids, scores = recommender.recommend(chosen, min(k, recommender.n_items_))
    columns_of = {user: column for column, user in enumerate(source.user_ids)}
    by_user = source.taken.tocsc()

    def reference(row: int | None, item: Any) -> dict[str, Any]:
        """Point to an item on the page, or name one that is not."""
        if row in place:
            return {"item": place[row]}
        return {"title": _text(item, TITLE_LENGTH) if row is None else _title(source.items, columns, row)}

    found = []
    for user, listed, of_user in zip(chosen, ids, scores, strict=True):
        column = columns_of.get(user)
        usual = _usual(recommender, user)
        took: Any = [] if column is None else by_user.indices[by_user.indptr[column] : by_user.indptr[column + 1]]
        found.append(
            {
                "id": _text(user, TITLE_LENGTH),
                "n_taken": len(took),
                "taken": [reference(int(row), None) for row in took[:TAKEN_SHOWN]],
                "list": [
                    reference(row_of.get(item), item) | _explained(recommender, user, item, float(score), usual)
                    for item, score in zip(listed, of_user, strict=True)
                    if np.isfinite(score)  # a user who took nearly all has fewer than k left
                ],
            }
        )
    return found


def _chosen(source: Source, users: int | ArrayLike) -> NDArray[Any]:
    """Take users as given, or from the most to the least active in even steps."""
    known: NDArray[Any] = source.recommender.user_ids_
    if np.ndim(users) == 0 and isinstance(users, int | np.integer):
        activity = np.asarray(source.recommender.interactions_.sum(axis=0)).ravel()
        order = np.argsort(-activity, kind="stable")
        n = min(max(int(users), 0), len(known))
        chosen: NDArray[Any] = known[order[np.linspace(0, len(known) - 1, n).astype(int)]]
        return chosen
    wanted = np.atleast_1d(np.asarray(users))
    return known[positions(wanted, known, "user")] if len(wanted) else wanted


def _usual(recommender: Any, user: Any) -> pd.Series[float] | None:
    """Average over the catalogue what adds up to a user's scores; None for other recommenders than `AttentiveBPR`."""
    if not hasattr(recommender, "explain"):
        return None
    blocks = gen_batches(recommender.n_items_, ITEMS_AT_ONCE)
    sums = [recommender.explain(user, recommender.item_ids_[block]).sum() for block in blocks]
    usual: pd.Series[float] = pd.concat(sums, axis=1).sum(axis=1) / recommender.n_items_
    return usual


def _explained(recommender: Any, user: Any, item: Any, score: float, usual: pd.Series[float] | None) -> dict[str, Any]:
    """Say what adds up to a score, and which part raises it most above the user's average item.

    What a part adds to all items alike ranks none of them.
    """
    if usual is None:
        return {"score": round(score, 4), "shares": [], "driver": None}
    shares, usual = recommender.explain(user, item).round(4), usual.round(4)  # as shown: less than that drives nothing
    above = (shares - usual)[list(recommender.part_names_)]
    driver = str(above.idxmax()) if len(above) and above.max() > 0 else None
    return {
        "score": round(score, 4),
        "shares": [[str(name), float(shares[name]), float(usual[name])] for name in shares.index],
        "driver": driver,
    }
