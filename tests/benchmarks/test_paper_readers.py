"""The readers of the paper's data sets, on tiny files in the originals' formats."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.paper.readers import READERS, Catalogue, drop_incomplete, prepare
from benchmarks.paper.readers.allrecipes import read_allrecipes
from benchmarks.paper.readers.amazon import CLOTHING, read_amazon
from benchmarks.paper.readers.files import objects, rows
from benchmarks.paper.readers.yelp import read_yelp
from modalsplit import Interactions
from modalsplit.baselines import VECF

SHIRT, SHOES, SCARF, HAT = "B000SHIRT1", "B000SHOES2", "0000SCARF3", "B0000HAT04"


def as_json(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def pairs_of(catalogue):
    items, users = catalogue.interactions.nonzero()
    ids = catalogue.interactions
    return {(str(ids.user_ids[u]), str(ids.item_ids[i])) for i, u in zip(items, users, strict=True)}


# Amazon


def review(user, item, text="Fits well."):
    return {"reviewerID": user, "asin": item, "reviewText": text, "overall": 5.0, "unixReviewTime": 1404000000}


def record(asin, value):
    return asin.encode() + np.full(4096, value, dtype="<f4").tobytes()


REVIEWS = (review("A1", SHIRT, "Soft."), review("A2", SHIRT), review("A2", SHOES), review("A1", SHIRT, "Soft, again."))
PRODUCTS = (
    {"asin": SHOES, "title": "Kid's shoes", "description": 'Red "runners".', "price": 9.99},
    {"asin": HAT, "title": "Hat", "related": {"also_bought": [SHIRT]}},
    {"asin": SHIRT, "imUrl": "http://example.org/1.jpg", "categories": [["Clothing"]]},
)


@pytest.fixture
def amazon(tmp_path):
    write(tmp_path / f"reviews_{CLOTHING}_5.json.gz", as_json(*REVIEWS))
    write(tmp_path / f"meta_{CLOTHING}.json.gz", "".join(f"{product!r}\n" for product in PRODUCTS))
    features = record(HAT, 9) + record(SHIRT, 1.5)
    (tmp_path / f"image_features_{CLOTHING}.b").write_bytes(features)
    return tmp_path


def test_amazon_is_read_from_its_three_files(amazon):
    catalogue = READERS["clothing"](amazon)
    assert catalogue.items.index.tolist() == [SHIRT, SHOES]
    assert catalogue.items.loc[SHOES].to_dict() == {"title": "Kid's shoes", "text": 'Kid\'s shoes. Red "runners".'}
    assert pairs_of(catalogue) == {("A1", SHIRT), ("A2", SHIRT), ("A2", SHOES)}
    assert catalogue.interactions.max() == 1  # the repeated review counts once
    assert catalogue.images is None
    assert catalogue.reviews is None


def test_amazon_image_features_are_those_of_the_product_and_nan_without(amazon):
    catalogue = read_amazon(amazon)
    assert catalogue.image_features.shape == (2, 4096)
    assert catalogue.image_features.dtype == np.float32
    assert (catalogue.image_features[0] == 1.5).all()
    assert np.isnan(catalogue.image_features[1]).all()
    assert catalogue.has_image.tolist() == [True, False]
    assert catalogue.has_text.tolist() == [False, True]


def test_features_are_found_in_later_blocks(amazon, monkeypatch):
    monkeypatch.setattr("benchmarks.paper.readers.amazon.N_RECORDS", 1)
    assert (read_amazon(amazon).image_features[0] == 1.5).all()


def test_unpacked_files_are_read_too(amazon):
    packed = amazon / f"reviews_{CLOTHING}_5.json.gz"
    write(packed.with_suffix(""), gzip.decompress(packed.read_bytes()).decode())
    packed.unlink()
    assert len(pairs_of(read_amazon(amazon))) == 3


def test_reviews_are_kept_when_asked_for_and_vecf_reads_them(amazon):
    catalogue = read_amazon(amazon, keep_reviews=True)
    assert catalogue.reviews["text"].tolist() == ["Soft.", "Fits well.", "Fits well.", "Soft, again."]
    regions = np.ones((2, 3))
    model = VECF(2, max_epochs=1, random_state=0)
    X = pd.DataFrame(regions, index=catalogue.items.index)
    model.fit(X, catalogue.interactions, reviews=catalogue.reviews)
    assert set(model.vocabulary_) == {"soft", "again", "fits", "well"}


def test_metadata_are_data_and_never_run(amazon, tmp_path):
    write(
        amazon / f"meta_{CLOTHING}.json.gz",
        f"{PRODUCTS[0]!r}\n{{'asin': '{SHIRT}', 'title': open('{tmp_path}/run', 'w')}}\n",
    )
    with pytest.raises(ValueError, match=rf"meta_{CLOTHING}.json.gz, line 2: no object can be read"):
        read_amazon(amazon)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", [f"reviews_{CLOTHING}_5.json.gz", f"meta_{CLOTHING}.json.gz", f"image_features_{CLOTHING}.b"]
)
def test_a_missing_file_is_named_with_where_it_is_from(amazon, name):
    (amazon / name).unlink()
    expected = rf"{name.removesuffix('.gz')} is missing. Download 'Amazon product data' \(.*2014.*{CLOTHING}"
    with pytest.raises(FileNotFoundError, match=expected):
        read_amazon(amazon)


def test_a_review_that_is_no_json_is_located(amazon):
    write(amazon / f"reviews_{CLOTHING}_5.json.gz", as_json(*REVIEWS[:2]) + "\n{'reviewerID': 'A1'}\n")
    with pytest.raises(ValueError, match=r"_5\.json\.gz, line 4: no object can be read from it \(Expecting"):
        read_amazon(amazon)


@pytest.mark.parametrize("line", ['{"reviewerID": "A1"}', '["asin"]', "3"])
def test_a_review_without_a_key_is_located(amazon, line):
    write(amazon / f"reviews_{CLOTHING}_5.json.gz", as_json(REVIEWS[0]) + line)
    with pytest.raises(ValueError, match=r"line 2: there is no '(asin|reviewerID)'"):
        read_amazon(amazon)


def test_a_packed_file_that_is_cut_short_says_so(amazon):
    path = amazon / f"reviews_{CLOTHING}_5.json.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"_5\.json\.gz cannot be read beyond line \d+ .*Download it again"):
        read_amazon(amazon)


def test_a_file_that_is_not_packed_but_says_so_is_refused(amazon):
    (amazon / f"reviews_{CLOTHING}_5.json.gz").write_text(as_json(*REVIEWS))
    with pytest.raises(ValueError, match=r"cannot be read beyond line 0 .*gzip"):
        read_amazon(amazon)


@pytest.mark.parametrize(("cut", "n"), [(1, 2), (16394 + 5, 1), (2 * 16394, 1)])
def test_a_truncated_record_of_features_is_reported(amazon, cut, n):
    path = amazon / f"image_features_{CLOTHING}.b"
    path.write_bytes(path.read_bytes()[: 2 * 16394 - cut])
    with pytest.raises(ValueError, match=rf"image_features.*ends in the middle of record {n}: .*a record has 16394"):
        read_amazon(amazon)


def test_a_gap_inside_the_features_is_reported(amazon):
    path = amazon / f"image_features_{CLOTHING}.b"
    path.write_bytes(record(HAT, 1)[:-20] + record(SHIRT, 1) + b"B000FILLER" * 2)
    with pytest.raises(ValueError, match=r"record 2: .* is no ASIN"):
        read_amazon(amazon)


def test_items_without_metadata_are_reported_or_dropped(amazon):
    write(amazon / f"reviews_{CLOTHING}_5.json.gz", as_json(*REVIEWS, review("A3", SCARF)))
    with pytest.raises(ValueError, match=rf"1 of 3 items were taken but are not in .*meta.*, such as '{SCARF}'"):
        read_amazon(amazon)
    catalogue = read_amazon(amazon, missing_metadata="drop")
    assert len(pairs_of(catalogue)) == 3
    assert SCARF not in catalogue.items.index


def test_reviews_of_nothing_are_refused(amazon):
    write(amazon / f"reviews_{CLOTHING}_5.json.gz", "")
    with pytest.raises(ValueError, match="There are no interactions"):
        read_amazon(amazon)


# Yelp


def visit(user, business, date, text="Nice."):
    return {"review_id": "r", "user_id": user, "business_id": business, "stars": 4.0, "date": date, "text": text}


VISITS = (
    visit("u1", "cafe", "2019-12-31 23:59:59", "too early"),
    visit("u1", "cafe", "2020-01-01 00:00:00", "first"),
    visit("u2", "cafe", "2020-12-01 23:59:59", "last"),
    visit("u2", "bar", "2020-06-01 12:00:00", "inside"),
    visit("u3", "bar", "2020-12-02 00:00:00", "too late"),
)
BUSINESSES = (
    {"business_id": "cafe", "name": "Café Ö", "categories": "Coffee & Tea, Food"},
    {"business_id": "bar", "name": "Bar", "categories": None},
    {"business_id": "gym", "name": "Gym", "categories": "Gyms"},
)
PHOTOS = (
    {"photo_id": "lost", "business_id": "cafe", "caption": "", "label": "food"},
    {"photo_id": "p2", "business_id": "cafe", "caption": "", "label": "food"},
    {"photo_id": "p3", "business_id": "cafe", "caption": "", "label": "inside"},
)


@pytest.fixture
def yelp(tmp_path):
    write(tmp_path / "yelp_academic_dataset_business.json", as_json(*BUSINESSES))
    write(tmp_path / "yelp_academic_dataset_review.json", as_json(*VISITS))
    write(tmp_path / "photos.json", as_json(*PHOTOS))
    for name in ("p2.jpg", "p3.jpg"):
        write(tmp_path / "photos" / name, "")
    return tmp_path


def test_yelp_is_read_within_the_papers_window(yelp):
    catalogue = READERS["yelp"](yelp)
    assert pairs_of(catalogue) == {("u1", "cafe"), ("u2", "cafe"), ("u2", "bar")}
    assert catalogue.items["text"].to_dict() == {"bar": "Bar", "cafe": "Café Ö. Coffee & Tea, Food"}
    assert catalogue.interactions.user_ids.tolist() == ["u1", "u2"]


def test_the_first_photo_that_is_there_stands_for_a_business(yelp):
    assert read_yelp(yelp).images == [None, yelp / "photos" / "p2.jpg"]


def test_photos_may_lie_in_their_archives_folder(yelp):
    (yelp / "yelp_photos").mkdir()
    for name in ("photos.json", "photos"):
        (yelp / name).rename(yelp / "yelp_photos" / name)
    assert read_yelp(yelp).images == [None, yelp / "yelp_photos" / "photos" / "p2.jpg"]


def test_yelp_of_all_time_with_reviews(yelp):
    catalogue = read_yelp(yelp, window=None, keep_reviews=True)
    assert ("u3", "bar") in pairs_of(catalogue)
    assert catalogue.reviews.iloc[0].tolist() == ["u1", "cafe", "too early"]


def test_a_window_without_reviews_is_refused(yelp):
    with pytest.raises(ValueError, match=r"review\.json has no review in the window \('2001"):
        read_yelp(yelp, window=("2001-01-01", "2001-02-01"))


@pytest.mark.parametrize(
    "name",
    ["yelp_academic_dataset_business.json", "yelp_academic_dataset_review.json", "photos.json", "photos"],
)
def test_a_missing_part_of_yelp_is_named(yelp, name):
    (yelp / name).rename(yelp / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"{name} is missing. Download 'Yelp Open Dataset'"):
        read_yelp(yelp)


def test_a_review_of_an_unknown_business_is_reported(yelp):
    write(yelp / "yelp_academic_dataset_business.json", as_json(*BUSINESSES[:1]))
    with pytest.raises(ValueError, match=r"1 of 2 items were taken but are not in .*business\.json, such as 'bar'"):
        read_yelp(yelp)


def test_a_damaged_list_of_photos_is_located(yelp):
    write(yelp / "photos.json", as_json(PHOTOS[0]) + '{"photo_id": "p2", "busin')
    with pytest.raises(ValueError, match=r"photos\.json, line 2: no object"):
        read_yelp(yelp)


# Allrecipes

RATINGS = 'user_id,recipe_id,rating,dateLastModified\n7,240488,5,"2014-01-01T10:00:00\n"\n8,240488,4,"2015-02-03\n"\n'
RECIPES = (
    "recipe_id,recipe_name,aver_rate,image_url,review_nums,ingredients,cooking_directions,nutritions,reviews\n"
    "240488,\"Pork Loin, Apples\",4.5,https://x/1.jpg,29,sauerkraut drained^apples sliced,{'directions': u'Prep\\n15 m'},"
    "\"{u'niacin': {u'name': u'Niacin'}}\",\"{1: {'text': \"\"it's good\"\"}}\"\n"
    "99,Soup,4.0,https://x/2.jpg,3,water,{},{},{}\n"
)


@pytest.fixture
def allrecipes(tmp_path):
    write(tmp_path / "raw-data_interaction.csv", RATINGS)
    write(tmp_path / "raw-data_recipe.csv", RECIPES)
    write(tmp_path / "raw-data-images" / "240488.jpg", "")
    return tmp_path


def test_allrecipes_is_read_with_line_breaks_inside_cells(allrecipes):
    catalogue = READERS["allrecipes"](allrecipes)
    assert catalogue.items["text"].to_dict() == {"240488": "Pork Loin, Apples. sauerkraut drained, apples sliced"}
    assert pairs_of(catalogue) == {("7", "240488"), ("8", "240488")}
    assert catalogue.images == [allrecipes / "raw-data-images" / "240488.jpg"]


def test_pictures_may_be_nested_once_more(allrecipes):
    (allrecipes / "raw-data-images").rename(allrecipes / "inner")
    (allrecipes / "raw-data-images").mkdir()
    (allrecipes / "inner").rename(allrecipes / "raw-data-images" / "raw-data-images")
    assert read_allrecipes(allrecipes).images == [allrecipes / "raw-data-images" / "raw-data-images" / "240488.jpg"]


def test_cells_may_be_larger_than_the_csv_modules_limit(allrecipes):
    write(allrecipes / "raw-data_recipe.csv", RECIPES.replace("good", "good " * 60_000))
    assert len(read_allrecipes(allrecipes).items) == 1


@pytest.mark.parametrize("name", ["raw-data_interaction.csv", "raw-data_recipe.csv", "raw-data-images"])
def test_a_missing_part_of_allrecipes_is_named(allrecipes, name):
    (allrecipes / name).rename(allrecipes / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"is missing. Download 'FoodRecSys-V1' \(Kaggle"):
        read_allrecipes(allrecipes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RATINGS + "9,240488\n", r"interaction\.csv, line 6: 2 cells; the header has 4"),
        (RATINGS + '9,240488,5,"2014', r"interaction\.csv, line 6: unexpected end of data"),
        (
            RATINGS.replace("recipe_id", "item"),
            r"interaction\.csv has no column 'recipe_id'; it has \['user_id', 'item'",
        ),
        ("", r"interaction\.csv has no column 'user_id'"),
        (RATINGS + "9,77,3,2014\n", "1 of 2 items were taken but are not in .*raw-data_recipe.csv, such as '77'"),
    ],
)
def test_damaged_ratings_are_located(allrecipes, text, message):
    write(allrecipes / "raw-data_interaction.csv", text)
    with pytest.raises(ValueError, match=message):
        read_allrecipes(allrecipes)


def test_bytes_that_are_no_text_are_located(allrecipes):
    (allrecipes / "raw-data_recipe.csv").write_bytes(RECIPES.encode() + b"5,\xff\n")
    with pytest.raises(ValueError, match=r"recipe\.csv cannot be read beyond line \d+ .*utf-8"):
        read_allrecipes(allrecipes)


# MovieLens and wines


def test_movielens_is_read(tmp_path):
    write(
        tmp_path / "items.csv", '\ufeffitem_id,title,text,genres\n2,Jumanji (1995),"A game, found.",Fantasy\n1,Up,,X\n'
    )
    write(tmp_path / "interactions.csv", "user_id,item_id,rating,timestamp\n1,2,4.0,964982703\n\n1,1,3.5,964981247\n")
    write(tmp_path / "images" / "2.jpg", "")
    catalogue = READERS["ml-100k"](tmp_path)
    assert catalogue.name == "ml-100k"
    assert catalogue.items["text"].to_dict() == {"1": "Up", "2": "Jumanji (1995). A game, found."}
    assert catalogue.images == [None, tmp_path / "images" / "2.jpg"]
    assert pairs_of(catalogue) == {("1", "1"), ("1", "2")}


@pytest.mark.parametrize("name", ["items.csv", "interactions.csv", "images"])
def test_a_missing_part_of_movielens_is_named(tmp_path, name):
    for there in {"items.csv", "interactions.csv", "images"} - {name}:
        (tmp_path / there).touch()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing. Download 'ml-latest-small-mm'"):
        READERS["ml-latest-small"](tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "whole", "core"),
    [
        ("ml-latest-small", (5518, 610, 94038), (3550, 610, 89418)),
        ("ml-100k", (1661, 943, 99919), (1346, 943, 99243)),
    ],
)
def test_movielens_has_the_published_counts(shared_data, name, whole, core):
    catalogue = READERS[name](shared_data / f"{name}-mm")
    assert (*catalogue.interactions.shape, catalogue.interactions.nnz) == whole
    assert catalogue.has_image.all()
    assert catalogue.has_text.all()
    prepared = prepare(catalogue)
    assert (*prepared.interactions.shape, prepared.interactions.nnz) == core
    assert len(prepared.images) == core[0]


def test_wines_are_read_without_files_and_keep_items_without_pictures():
    catalogue = READERS["wines"](None)
    assert catalogue.interactions.nnz == 150_000
    prepared = prepare(catalogue)
    assert (*prepared.interactions.shape, prepared.interactions.nnz) == (926, 10252, 149349)


# The catalogue and its preprocessing


def made(taken, texts, images=None):
    ids = pd.Index([f"i{n}" for n in range(len(texts))], name="item_id")
    Y = Interactions(np.asarray(taken, dtype=np.float32), item_ids=ids, user_ids=list("abc"))
    return Catalogue("made", pd.DataFrame({"title": texts, "text": texts}, index=ids), Y, images=images)


def test_incomplete_items_go_before_the_core_is_taken(tmp_path):
    # With i2, which has no picture, all would be in the 2-core; without it user c has one item left, and so on.
    taken = [[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]]
    pictures = [tmp_path / "0", tmp_path / "1", None, tmp_path / "3"]
    catalogue = made(taken, ["a", "b", "c", "d"], pictures)
    assert drop_incomplete(catalogue).items.index.tolist() == ["i0", "i1", "i3"]
    prepared = prepare(catalogue, k=2)
    assert prepared.items.index.tolist() == ["i0", "i1"]
    assert prepared.images == pictures[:2]
    assert prepared.interactions.user_ids.tolist() == ["a", "b"]


def test_items_without_text_are_dropped():
    assert drop_incomplete(made(np.ones((3, 3)), ["a", "", "c"])).items.index.tolist() == ["i0", "i2"]


def test_features_follow_their_items():
    Y = Interactions(np.eye(3, dtype=np.float32), item_ids=["x", "y", "z"], user_ids=list("abc"))
    items = pd.DataFrame({"title": "t", "text": "t"}, index=["x", "y", "z"])
    catalogue = Catalogue("made", items, Y, image_features=np.array([[1.0], [np.nan], [3.0]], dtype=np.float32))
    complete = drop_incomplete(catalogue)
    assert complete.image_features.tolist() == [[1.0], [3.0]]
    assert catalogue.of(Y[[2, 0]]).image_features.tolist() == [[3.0], [1.0]]


def test_a_catalogue_whose_parts_do_not_fit_is_refused(tmp_path):
    catalogue = made(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="the rows of the interactions are not the items"):
        Catalogue("made", catalogue.items.iloc[::-1], catalogue.interactions)
    with pytest.raises(ValueError, match="images has 1 rows for 2 items"):
        Catalogue("made", catalogue.items, catalogue.interactions, images=[tmp_path])


def test_files_are_streamed(tmp_path):
    """The first object is there before a later, damaged line is looked at."""
    stream = objects(write(tmp_path / "a.json", '{"a": 1}\n{"a"'), ["a"])
    assert next(stream) == {"a": 1}
    lines = rows(write(tmp_path / "a.csv", "a,b\n1,2\n3\n"), {"b": int})
    assert next(lines) == [2]
