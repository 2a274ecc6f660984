import copy
import pickle
import runpy
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from modalsplit import Interactions
from modalsplit.datasets import load_wines

PACKED = ("wines.csv.gz", "wines-ratings.npz")


@pytest.fixture(scope="module")
def wines():
    return load_wines()


def test_items_are_known_by_string_ids_and_have_the_documented_columns(wines):
    assert wines.items.index.name == "item_id"
    assert wines.items.index.is_unique
    assert all(isinstance(item_id, str) for item_id in wines.items.index)
    assert wines.items.columns.tolist() == [
        "title",
        "text",
        "type",
        "elaborate",
        "grapes",
        "harmonize",
        "abv",
        "body",
        "acidity",
        "country",
        "region",
        "winery",
    ]
    assert not wines.items.isna().any(axis=None)
    assert wines.items["abv"].between(0, 100).all()


def test_interactions_have_the_published_size_and_know_the_items(wines):
    assert isinstance(wines.interactions, Interactions)
    assert wines.interactions.shape == (1007, 10561)
    assert wines.interactions.nnz == 150_000
    assert wines.interactions.item_ids.tolist() == wines.items.index.tolist()


def test_the_five_core_has_the_published_size(wines):
    core = wines.interactions.k_core(5)
    assert (*core.shape, core.nnz) == (926, 10_252, 149_349)
    assert set(core.item_ids) <= set(wines.items.index)


def test_ratings_say_the_same_as_the_interactions(wines):
    rebuilt = Interactions.from_frame(wines.ratings, item_ids=wines.items.index)
    assert rebuilt.user_ids.tolist() == wines.interactions.user_ids.tolist()
    assert (rebuilt != wines.interactions).nnz == 0
    assert set(wines.ratings["rating"].unique()) <= set(np.arange(1, 5.5, 0.5))
    days = pd.to_datetime(wines.ratings["timestamp"], unit="s")
    assert [str(day.date()) for day in (days.min(), days.max())] == ["2012-04-19", "2021-12-31"]


def test_grapes_can_be_split(wines):
    vectorizer = CountVectorizer(token_pattern=r"[^|]+", lowercase=False).fit(wines.items["grapes"])
    assert {"Muscat/Moscato", "Ancellotta"} <= set(vectorizer.get_feature_names_out())


@pytest.mark.parametrize("said", ["CC0", "de Azambuja", "7(1), 20", "no\n               free text"])
def test_the_description_names_licence_citation_and_the_made_text(wines, said):
    assert said in wines.DESCR


def pickled(wines):
    return pickle.loads(pickle.dumps(wines))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_the_bunch_can_be_copied_although_items_are_the_wines(wines, duplicate):
    other = duplicate(wines)
    pd.testing.assert_frame_equal(other.items, wines["items"])
    assert other.keys() == wines.keys()


def test_every_column_is_described(wines):
    described = {line.split()[0] for line in wines.DESCR.splitlines() if line.startswith("    ")}
    assert {*wines.items.columns, *wines.ratings.columns} <= described


def test_loading_takes_less_than_a_second(wines):
    start = time.process_time()
    load_wines()
    assert time.process_time() - start < 1


def test_the_files_take_at_most_a_megabyte_and_a_half():
    folder = files("modalsplit.datasets") / "data"
    assert sum(len((folder / name).read_bytes()) for name in PACKED) < 1.5e6


@pytest.mark.shared
def test_the_packaged_files_are_what_the_tool_makes(shared_data, tmp_path):
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "make_wines.py"))
    tool["pack"](shared_data / "x-wines-slim", tmp_path)
    for name in PACKED:
        assert (tmp_path / name).read_bytes() == (files("modalsplit.datasets") / "data" / name).read_bytes()


@pytest.mark.shared
def test_loading_gives_back_the_source(wines, shared_data):
    folder, ids = shared_data / "x-wines-slim", {"item_id": str, "user_id": str}
    items = pd.read_csv(folder / "items.csv", dtype=ids).set_index("item_id")
    ratings = pd.read_csv(folder / "interactions.csv", dtype=ids)
    assert wines.items["text"].to_dict() == items["text"].to_dict()
    assert wines.items["winery"].to_dict() == items["WineryName"].to_dict()
    keys = ["item_id", "user_id"]
    pd.testing.assert_frame_equal(
        wines.ratings.set_index(keys).sort_index(),
        ratings.set_index(keys).sort_index(),
        check_index_type=False,
    )
