"""TorchvisionFeaturizer: any classifier, up to any of its layers, and decoding ahead of the network."""

import pickle
import re
import threading
import time

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torchvision import models

from modalsplit.featurize import TorchvisionFeaturizer
from modalsplit.featurize._network import in_threads, preprocess_of
from modalsplit.featurize._weights import hash_prefix


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return models.resnet18(weights=None).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def batch(photos):
    transform = models.ResNet18_Weights.DEFAULT.transforms()
    return torch.stack([transform(photo) for photo in photos])


def test_the_default_layer_is_what_the_classifier_reads(network, weights, photos, batch):
    features = TorchvisionFeaturizer("resnet18", weights=weights, device="cpu").fit_transform(photos)
    with torch.inference_mode():
        logits = network(batch).numpy()
    by_hand = features @ network.fc.weight.detach().numpy().T + network.fc.bias.detach().numpy()
    assert_allclose(by_hand, logits, rtol=1e-4, atol=1e-4)


def test_maps_are_averaged_or_regions_row_by_row(network, weights, photos, batch):
    with torch.inference_mode():
        maps = network.layer2(network.layer1(network.maxpool(network.relu(network.bn1(network.conv1(batch))))))
    options = {"weights": weights, "layer": "layer2.1.relu_1", "device": "cpu"}
    mean = TorchvisionFeaturizer("resnet18", **options).fit_transform(photos)
    assert_allclose(mean, maps.mean((2, 3)).numpy(), rtol=1e-4, atol=1e-5)
    regions = TorchvisionFeaturizer("resnet18", pooling="regions", **options).fit_transform(photos)
    regions = regions.reshape(len(photos), 28, 28, 128)
    assert_allclose(regions[1, 3, 5], maps[1, :, 3, 5].numpy(), rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_batches_or_threads(weights, photos):
    options = {"weights": weights, "device": "cpu"}
    features = TorchvisionFeaturizer("resnet18", **options).fit_transform(photos)
    for more in ({"batch_size": 1}, {"batch_size": 2, "n_jobs": 2}, {"n_jobs": -1}):
        again = TorchvisionFeaturizer("resnet18", **options, **more).fit_transform(photos)
        assert_allclose(again, features, rtol=1e-5, atol=1e-5)


def test_weights_stay_behind_when_pickled(weights, photos):
    featurizer = TorchvisionFeaturizer("resnet18", weights=weights, device="cpu")
    features = featurizer.fit_transform(photos[:1])
    data = pickle.dumps(featurizer)
    assert len(data) < 1000
    assert_array_equal(pickle.loads(data).transform(photos[:1]), features)


# One of each way to be built: plain, on the meta device impossible, transform_input, tokens, channels last.
@pytest.mark.parametrize(
    ("model", "width"),
    [("mobilenet_v3_small", 1024), ("regnet_y_400mf", 440), ("googlenet", 1024), ("vit_b_16", 768), ("swin_t", 768)],
)
@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_other_families_load_and_agree_with_the_whole_network(model, width, tmp_path, photos):
    torch.manual_seed(0)
    options = {"transform_input": True, "init_weights": False} if model == "googlenet" else {}
    whole = models.get_model(model, weights=None, **options).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    featurizer = TorchvisionFeaturizer(model, weights=tmp_path / "weights.pth", device="cpu")
    features = featurizer.fit_transform(photos[:1])
    assert features.shape == (1, width)
    last = [module for module in whole.modules() if isinstance(module, torch.nn.Linear)][-1]
    if model == "googlenet":
        last = whole.fc
    with torch.inference_mode():
        batch = models.get_model_weights(model).DEFAULT.transforms()(photos[0])[None]
        assert_allclose(last(torch.from_numpy(features)).numpy(), whole(batch).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"model": "resnet19"}, ValueError, "Did you mean 'resnet1.*list_models"),
        ({"model": "squeezenet1_0"}, ValueError, "does not end in a linear layer: choose layer="),
        ({"layer": "layer2.1.relu_7"}, ValueError, r"layer must be a node of resnet18, such as 'layer2\.1\.relu_1'"),
        ({"pooling": "max"}, ValueError, "pooling must be one of 'mean', 'regions'"),
        ({"preprocess": 224}, TypeError, "preprocess must be a torch module or another callable"),
        ({"weights": "IMAGENET1K_V9"}, FileNotFoundError, 'name of torchvision\'s weights, such as "DEFAULT"'),
    ],
)
def test_illegal_parameters_are_described(parameters, error, message, weights, tmp_path):
    if parameters.get("model") == "squeezenet1_0":
        torch.save(models.squeezenet1_0(weights=None).state_dict(), tmp_path / "w.pth")
        parameters = {**parameters, "weights": tmp_path / "w.pth"}
    with pytest.raises(error, match=message):
        TorchvisionFeaturizer(**{"model": "resnet18", "weights": weights, **parameters}).fit([])


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ValueError, match=re.escape("does not hold the weights of torchvision's resnet50")):
        TorchvisionFeaturizer("resnet50", weights=weights).fit([])


@pytest.mark.parametrize("model", ["vgg19", "vit_b_16", "efficientnet_b0"])
def test_split_preprocessing_is_torchvisions_to_the_bit(model, photos):
    transform = models.get_model_weights(model).DEFAULT.transforms()
    one, batch = preprocess_of(transform)
    together = batch(torch.stack([one(photo) for photo in photos]))
    assert_array_equal(together, torch.stack([transform(photo) for photo in photos]))


def test_threads_keep_the_order_and_a_bound():
    running, most = set(), []

    def work(item):
        running.add(item)
        most.append(len(running))
        time.sleep(0.001 * (item % 3))
        return threading.current_thread().name

    results = []
    for item, name in in_threads(work, range(60), n_jobs=3, ahead=7):
        assert name.startswith("modalsplit-decode")
        running.discard(item)
        results.append(item)
    assert results == list(range(60))
    assert max(most) <= 8


def test_an_error_in_a_thread_arrives_and_ends_the_others():
    def work(item):
        if item == 3:
            raise RuntimeError("broken preprocess")

    with pytest.raises(RuntimeError, match="broken preprocess"):
        list(in_threads(work, range(1000), n_jobs=2, ahead=4))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("modalsplit-decode")]


def test_a_few_hundred_pictures_take_no_more_memory_than_a_few(weights):
    """The pictures that wait are bounded, whatever the length of the column."""
    alive, most = set(), []

    def one(image):
        tensor = torch.zeros(3, 8, 8)
        alive.add(id(tensor))
        most.append(sum(1 for _ in alive))
        return tensor

    from modalsplit.featurize import ImageFeaturizer

    def network(batch):
        alive.clear()
        return batch.mean((2, 3))

    picture = np.zeros((4, 4, 3), np.uint8)
    ImageFeaturizer(network, preprocess=one, batch_size=4, device="cpu").fit_transform([picture] * 300)
    assert max(most) <= 4 + 2 * 4 + 2


def test_every_download_of_torchvision_names_its_hash():
    names = models.list_models(module=models)
    urls = [entry.url for name in names for entry in models.get_model_weights(name)]
    assert len(urls) > len(names)
    assert [url for url in urls if not re.fullmatch("[0-9a-f]{8,}", hash_prefix(url))] == []
