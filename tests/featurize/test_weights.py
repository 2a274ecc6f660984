"""Files that hold VGG19, and files that do not."""

import hashlib
import shutil
import urllib.error

import pytest
import torch
from torchvision.models import vgg16, vgg19_bn

from modalsplit.featurize import _weights
from modalsplit.featurize._image import _LAYERS
from modalsplit.featurize._weights import load_network, read_state_dict, torchvision_file


def load_vgg19(weights, layer):
    node, pooling, _ = _LAYERS[layer]
    return load_network("vgg19", weights, node, pooling)


def flat_state(network):
    """A state dict of the right names and shapes whose tensors all take four bytes on disk."""
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.fixture
def state(vgg19):
    return flat_state(vgg19)


def saved(content, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


def on_meta(constructor):
    with torch.device("meta"):
        return constructor(weights=None, init_weights=False)


@pytest.mark.parametrize("layer", _LAYERS)
def test_every_layer_loads_from_the_same_file_and_has_its_width(layer, state, tmp_path):
    network = load_vgg19(saved(state, tmp_path), layer)
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    with torch.device("meta"):
        assert network.to("meta")(torch.empty(1, 3, 224, 224)).shape == (1, _LAYERS[layer].width)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("classifier.6")},
        lambda state: state | {"classifier.6.weight": torch.zeros(7, 4096), "classifier.6.bias": torch.zeros(7)},
    ],
    ids=["DataParallel", "checkpoint", "no last layer", "other last layer"],
)
def test_usual_variants_of_a_state_dict_are_accepted(change, state, tmp_path):
    load_vgg19(saved(change(state), tmp_path), "fc7")


def test_pool5_needs_the_convolutions_only(state, tmp_path):
    path = saved({name: tensor for name, tensor in state.items() if name.startswith("features")}, tmp_path)
    load_vgg19(path, "pool5")
    with pytest.raises(ValueError, match=r"lacks 'classifier\.0\.weight' \(and 3 more\)"):
        load_vgg19(path, "fc7")


def test_half_precision_on_disk_is_computed_in_float32(state, tmp_path):
    path = saved({name: tensor.half() for name, tensor in state.items()}, tmp_path)
    assert {parameter.dtype for parameter in load_vgg19(path, "pool5").parameters()} == {torch.float32}


@pytest.mark.parametrize(("constructor", "complaint"), [(vgg16, "lacks"), (vgg19_bn, "unknown")])
def test_another_network_is_refused(constructor, complaint, tmp_path):
    path = saved(flat_state(on_meta(constructor)), tmp_path)
    with pytest.raises(ValueError, match=f"does not hold the weights of torchvision's vgg19: it .*{complaint}"):
        load_vgg19(path, "fc7")


def test_a_wrong_shape_is_named(state, tmp_path):
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    with pytest.raises(ValueError, match=r"'features.0.weight' of shape \(64, 1, 3, 3\), not \(64, 3, 3, 3\)"):
        load_vgg19(saved(state, tmp_path), "fc7")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\"DEFAULT\", or the path of a file.*gone\.pth"):
        load_vgg19(tmp_path / "gone.pth", "fc7")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>403</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x80\x02}q\x00.", "is cut off or corrupt"),
        (b"random bytes", "is cut off or corrupt"),
        (b"cos\nsystem\n(S'true'\ntR.", "is not a file of tensors only.*could run foreign code"),
    ],
)
def test_what_is_no_weights_file_is_described(content, complaint, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\.pth .*({complaint})"):
        read_state_dict(path)


def test_a_cut_off_file_is_described(state, tmp_path):
    path = saved(state, tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="is cut off or corrupt"):
        read_state_dict(path)


def test_a_pickled_model_is_not_unpickled(tmp_path):
    with pytest.raises(ValueError, match="could run foreign code"):
        read_state_dict(saved(torch.nn.Linear(2, 2), tmp_path))


def test_a_list_of_tensors_is_no_state_dict(tmp_path):
    with pytest.raises(ValueError, match="holds no state dict but a list"):
        read_state_dict(saved([torch.zeros(2)], tmp_path))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_another_file_in_torchs_cache_is_refused(hub):
    (hub / "vgg19-dcbb9e9d.pth").write_bytes(b"planted")
    with pytest.raises(ValueError, match="SHA-256 starts with 372eb377, not dcbb9e9d"):
        load_vgg19("DEFAULT", "fc7")


def test_the_cached_file_is_used_when_its_hash_is_right(hub, state, tmp_path, monkeypatch):
    path = saved(state, tmp_path)
    shutil.copy(path, hub / "vgg19-dcbb9e9d.pth")
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(_weights, "hash_prefix", lambda url: prefix)
    load_vgg19("DEFAULT", "fc7")


@pytest.mark.parametrize("error", [urllib.error.URLError("no network"), RuntimeError("invalid hash value")])
def test_a_failed_download_says_what_to_do(error, hub, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(OSError, match=r'could not be downloaded from https://.*pass weights="path/to/vgg19'):
        load_vgg19("DEFAULT", "fc7")
    assert capsys.readouterr() == ("", "")


def test_a_download_is_verified_and_says_nothing(hub, state, tmp_path, capsys):
    """By torch's own download, from a file: URL."""
    path = saved(state, tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    good = path.rename(path.with_name(f"vgg19-{digest}.pth"))
    assert torchvision_file(good.as_uri()).read_bytes() == good.read_bytes()
    bad = shutil.copy(good, path.with_name("vgg19-dcbb9e9d.pth"))
    with pytest.raises(OSError, match=r"could not be downloaded .*invalid hash value .*pass weights="):
        torchvision_file(bad.as_uri())
    with pytest.raises(OSError, match=r"could not be downloaded .*No such file.*pass weights="):
        torchvision_file((tmp_path / "gone-dcbb9e9d.pth").as_uri())
    assert [file.name for file in hub.iterdir()] == [good.name]
    assert capsys.readouterr() == ("", "")
