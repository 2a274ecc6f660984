"""Real wines with structured profiles, and who rated them."""

from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import Bunch

from modalsplit.interactions import Interactions


class _Wines(Bunch):
    """A Bunch whose ``items`` are the wines; a plain one has ``dict.items`` there."""

    @property
    def items(self) -> pd.DataFrame:
        items: pd.DataFrame = self["items"]
        return items

    def __reduce__(self) -> Any:  # pickle and copy would call items()
        return _rebuilt, (dict(self),)


def _rebuilt(contents: dict[str, Any]) -> Bunch:
    return _Wines(**contents)


def load_wines() -> Bunch:
    """Load the slim version of X-Wines: 1,007 wines, their profiles, and 150,000 ratings.

    The files are part of the package; nothing is downloaded.

    Returns
    -------
    Bunch
        With these attributes:

        items : DataFrame of shape (1007, 12)
            One row a wine, indexed by ``item_id`` (str): title, text, type, elaborate, grapes, harmonize,
            abv (percent), body, acidity, country, region, winery. ``grapes`` and ``harmonize`` are lists
            joined by ``"|"``. ``text`` is a sentence made from the other columns.
        interactions : Interactions of shape (1007, 10561)
            Ones where a user rated a wine; rows in the order of ``items``. ``interactions.k_core(5)`` has
            shape (926, 10252) and 149,349 interactions.
        ratings : DataFrame of shape (150000, 4)
            user_id (str), item_id (str), rating (1 to 5 stars) and timestamp (Unix time, in seconds).
        DESCR : str
            What the columns mean, where the data come from, licence (CC0) and citation.

    References
    ----------
    R. X. de Azambuja, A. J. Morais and V. Filipe, "X-Wines: A Wine Dataset for Recommender Systems and
    Machine Learning", Big Data and Cognitive Computing 2023, 7(1), 20.

    Examples
    --------
    >>> from modalsplit.datasets import load_wines
    >>> wines = load_wines()
    >>> wines.items.loc["100002", ["title", "type", "grapes"]].tolist()
    ['Ancellotta', 'Red', 'Ancellotta']
    >>> wines.interactions.shape, wines.interactions.nnz
    ((1007, 10561), 150000)
    """
    folder = files("modalsplit.datasets") / "data"
    with (folder / "wines.csv.gz").open("rb") as file:
        items = pd.read_csv(file, compression="gzip", dtype={"item_id": str}, index_col="item_id")
    with (folder / "wines-ratings.npz").open("rb") as file, np.load(file) as packed:
        data = dict(packed)
    item_ids, user_ids = items.index.to_numpy(), data["user_ids"].astype(str)
    ones = np.ones(len(data["indices"]), dtype=np.float32)
    taken = sparse.csr_array(
        (ones, data["indices"].astype(np.int32), data["indptr"]), shape=(len(item_ids), len(user_ids))
    )
    ratings = pd.DataFrame(
        {
            "user_id": user_ids.astype(object)[data["indices"]],
            "item_id": np.repeat(item_ids, np.diff(data["indptr"])),
            "rating": data["half_stars"] / 2,
            "timestamp": data["timestamps"].astype(np.int64),
        }
    )
    return _Wines(
        items=items,
        interactions=Interactions(taken, item_ids=item_ids, user_ids=user_ids),
        ratings=ratings,
        DESCR=(folder / "wines.md").read_text(encoding="utf-8"),
    )
