"""The page without a browser: what it holds, that no text is markup, its size, and what is refused."""

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import modalsplit
from modalsplit.baselines import Popularity


class Reader(HTMLParser):
    """Collect the elements, and what is in the scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script":
            self.scripts[-1] += data


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


def content(path):
    return json.loads(read(path).scripts[0])


def test_no_text_is_markup(page, shop):
    found = read(page)
    assert found.tags.count("script") == 2
    assert not {"img", "svg"} & set(found.tags)
    assert "<" not in found.scripts[0]
    titles = [item["title"] for item in json.loads(found.scripts[0])["items"]]
    assert titles == [" ".join(title.split()) for title in shop.items["title"]]
    assert "Wines &lt;/title&gt;&lt;script&gt;" in page.read_text(encoding="utf-8")


def test_nothing_is_fetched(page):
    text = page.read_text(encoding="utf-8")
    assert all(address.startswith("#") for address in read(page).addresses)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "default-src 'none'" in text


def test_neighbours_are_the_nearest_by_cosine(page, shop):
    shown = content(page)
    assert shown["parts"] == ["common", "image specific", "text specific"]
    parts = shop.pipeline[0].parts(shop.features)
    vectors = {0: (parts.common[0] + parts.common[1]) / 2, 2: parts.specific[1]}
    for part, matrix in vectors.items():
        unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)
        for item in (0, 50):
            near = shown["items"][item]["near"][part]
            assert [place for place, _ in near] == np.argsort(-cosines[item])[:6].tolist()
            np.testing.assert_allclose([cosine for _, cosine in near], np.sort(cosines[item])[:-7:-1], atol=1e-3)


def test_an_item_without_a_modality_is_alike_in_the_others_only(page):
    near = [item["near"] for item in content(page)["items"]]
    assert [len(part) for part in near[20]] == [6, 0, 6]
    assert all(place != 20 for of_item in near for place, _ in of_item[1])


def test_lists_are_those_of_the_recommender(page, shop):
    recommender = shop.pipeline[-1]
    shown = content(page)
    ids = list(shop.items.index)
    assert len(shown["users"]) == 9
    for user in shown["users"]:
        name = next(name for name in recommender.user_ids_ if " ".join(name.split()) == user["id"])
        ranking = recommender.recommend(name, 10)
        assert [ids[entry["item"]] for entry in user["list"]] == ranking.ids.tolist()
        first = user["list"][0]
        shares = recommender.explain(name, ranking.ids[0])
        np.testing.assert_allclose([share for _, share, _ in first["shares"]], shares, atol=1e-4)
        of_all = [recommender.explain(name, item) for item in recommender.item_ids_]
        np.testing.assert_allclose([usual for *_, usual in first["shares"]], np.mean(of_all, axis=0), atol=1e-4)
        above = {part: share - usual for part, share, usual in first["shares"] if part in recommender.part_names_}
        assert first["driver"] == (max(above, key=above.get) if max(above.values()) > 0 else None)
        assert user["n_taken"] == int(shop.taken[:, [list(shop.taken.user_ids).index(name)]].sum())


def test_the_most_popular_are_shown_and_the_page_says_so(shop, tmp_path):
    path = shop.report(tmp_path / "some.html", max_items=20, users=["u12"])
    shown = content(path)
    counts = shop.taken.sum(axis=1)
    assert sorted((item["taken"] for item in shown["items"]), reverse=True) == np.sort(counts)[:-21:-1].tolist()
    assert "20 of 90 items are on this page: the most popular ones." in path.read_text(encoding="utf-8")
    (user,) = shown["users"]
    assert user["id"] == "u12"
    ids = [item["id"] for item in shown["items"]]
    expected = shop.pipeline[-1].recommend("u12", 10).ids
    for entry, item in zip(user["list"], expected, strict=True):
        if "item" in entry:
            assert ids[entry["item"]] == item
        else:
            assert entry["title"] == shop.items.title[item]


def test_noisy_pictures_and_long_texts_take_10_kb_an_item_at_most(shop, tmp_path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)) for _ in range(10)]
    items = pd.DataFrame(
        {"title": ["t" * 300] * 100, "text": ["\N{CJK UNIFIED IDEOGRAPH-4E00}" * 2000] * 100, "image": noise * 10},
        index=[f"{row:0150d}" for row in range(100)],
    )
    features = pd.DataFrame(rng.normal(size=(100, 22)), index=items.index, columns=shop.features.columns)
    path = modalsplit.report(shop.pipeline[:1], items, None, tmp_path / "large.html", features=features)
    assert path.stat().st_size < 1_000_000
    assert all(item["picture"] for item in content(path)["items"])


def test_half_a_character_is_replaced(shop, tmp_path):
    broken = shop.items.assign(text=pd.Series(["half \ud83d"] * 90, index=shop.items.index, dtype=object))
    path = modalsplit.report(shop.pipeline[:1], broken, None, tmp_path / "half.html", features=shop.features)
    assert content(path)["items"][0]["texts"] == [["text", "half ?"]]


def test_long_texts_get_what_short_ones_leave(shop, tmp_path):
    items = shop.items.assign(long="l" * 900, longer="m" * 900)
    path = modalsplit.report(
        shop.pipeline[:1],
        items,
        None,
        tmp_path / "texts.html",
        features=shop.features,
        text_columns=["text", "long", "longer"],
    )
    texts = [dict(item["texts"]) for item in content(path)["items"]]
    for of_item in texts:
        assert 497 <= sum(map(len, of_item.values())) <= 500
        assert not of_item["text"].endswith("…")


def test_pictures_are_small_and_broken_ones_missing(page):
    pictures = [item["picture"] for item in content(page)["items"]]
    assert pictures[5] is None
    assert all(uri.startswith("data:image/webp;base64,") and len(uri) < 6800 for uri in pictures if uri)
    assert sum(uri is None for uri in pictures) == 1


def test_an_encoder_alone_shows_items(shop, tmp_path):
    path = modalsplit.report(shop.pipeline[0], shop.items, None, tmp_path / "items.html", features=shop.features)
    shown = content(path)
    assert shown["users"] == []
    assert "#/users" not in read(path).addresses
    assert [item["taken"] for item in shown["items"]] == [0] * len(shop.items)


def test_a_recommender_that_does_not_explain_gives_scores(shop, tmp_path):
    pipeline = modalsplit.make_pamd_pipeline().set_params(
        features="passthrough", disentangle=shop.pipeline[0], recommend=Popularity()
    )
    pipeline.fit(shop.features, shop.taken)
    path = modalsplit.report(pipeline, shop.items, shop.taken, tmp_path / "p.html", features=shop.features, users=2)
    for user in content(path)["users"]:
        assert all(entry["driver"] is None and entry["shares"] == [] for entry in user["list"])


def test_rows_without_ids_are_counted(shop, tmp_path):
    items, features = shop.items.reset_index(drop=True), shop.features.to_numpy()
    pipeline = modalsplit.make_pamd_pipeline().set_params(
        features="passthrough",
        disentangle=modalsplit.DisentangledModalityEncoder(6, split=12, objective="cca", missing="translate"),
        recommend=modalsplit.AttentiveBPR(6, max_epochs=1, random_state=0),
    )
    pipeline.set_output(transform="default").fit(features, np.asarray(shop.taken.todense()))
    path = modalsplit.report(pipeline, items, None, tmp_path / "rows.html", features=features, users=[3])
    (user,) = content(path)["users"]
    assert user["id"] == "3"
    assert [entry["item"] for entry in user["list"]] == pipeline[-1].recommend(3, 10).ids.tolist()


def test_a_file_is_there_whole_or_not_at_all(shop, tmp_path):
    path = tmp_path / "there.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        shop.report(path)
    with pytest.raises(ValueError, match="no column 'name'"):
        shop.report(path, title_column="name", overwrite=True)
    assert path.read_text() == "mine"
    shop.report(path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        shop.report(tmp_path / "nowhere" / "x.html")


def test_what_does_not_fit_together_is_refused(shop, tmp_path):
    path = tmp_path / "x.html"
    with pytest.raises(ValueError, match="no DisentangledModalityEncoder"):
        modalsplit.report(shop.pipeline[-1], shop.items, shop.taken, path)
    with pytest.raises(ValueError, match="features has 89 rows, but there are 90 items"):
        shop.report(path, features=shop.features[1:])
    with pytest.raises(ValueError, match="in another order"):
        shop.report(path, features=shop.features[::-1])
    with pytest.raises(ValueError, match="must be unique"):
        modalsplit.report(shop.pipeline, shop.items.iloc[[0, 0]], None, path, features=shop.features[:2])
    assert content(shop.report(tmp_path / "none.html", users=0))["users"] == []
    with pytest.raises(ValueError, match="must be 1 or more"):
        shop.report(path, k=0)
    with pytest.raises(ValueError, match="nobody"):
        shop.report(path, users=["nobody"])
    with pytest.raises(ValueError, match="No item has interactions"):
        modalsplit.report(
            shop.pipeline,
            shop.items.set_axis([f"s{row}" for row in range(90)]),
            shop.taken,
            path,
            features=shop.features.to_numpy(),
        )
    with pytest.raises(ValueError, match="must be a DataFrame"):
        modalsplit.report(shop.pipeline, [1, 2], None, path)
    assert not path.exists()


def test_without_jinja_the_way_out_is_named(shop, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'modalsplit\[report\]'"):
        shop.report(tmp_path / "x.html")
