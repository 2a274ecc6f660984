"""VGG19 up to one of its layers, with weights from torchvision or from the user's file."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SHA256_PREFIX = "dcbb9e9d"  # of torchvision's vgg19-dcbb9e9d.pth


class Layer(NamedTuple):
    """Where to cut VGG19.

    Attributes
    ----------
    width : int
        How many numbers come out for a picture.
    depth : int
        How many modules of the classifier are kept; ReLU counts as one.
    """

    width: int
    depth: int


LAYERS = {
    "fc7": Layer(4096, 5),
    "fc7_pre": Layer(4096, 4),
    "fc6": Layer(4096, 2),
    "pool5": Layer(512, 0),
}


def load_vgg19(weights: str | PathLike[str], layer: str, *, progress: bool = False) -> nn.Module:
    """Build VGG19 up to `layer`.

    Parameters
    ----------
    weights : "DEFAULT" or path
        torchvision's ImageNet weights, downloaded once, or a file with a state dict.
    layer : {"fc7", "fc7_pre", "fc6", "pool5"}
        Where to cut.
    progress : bool, default=False
        Show the download.

    Returns
    -------
    torch.nn.Module
        From ``(B, 3, 224, 224)`` to ``(B, LAYERS[layer].width)``; on the CPU, in float32.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    OSError
        If the download fails.
    ValueError
        If the file holds anything but VGG19's weights.
    """
    path = torchvision_file(progress=progress) if weights == "DEFAULT" else Path(weights).expanduser()
    state = read_state_dict(path)
    network, known_entries = _vgg19(layer)
    _check_entries(state, network.state_dict(), known_entries, path)
    network.load_state_dict({name: state[name] for name in network.state_dict()}, assign=True)
    return network.float()


def torchvision_file(*, progress: bool = False) -> Path:
    """Find torchvision's weights in torch's own cache, or download them there.

    Parameters
    ----------
    progress : bool, default=False
        Show the download.

    Returns
    -------
    Path
        A file whose SHA-256 was verified just now: torch itself does not look at a file it has already.

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If the file in the cache is another one.
    """
    from torchvision.models import VGG19_Weights

    url = VGG19_Weights.DEFAULT.url
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=SHA256_PREFIX, progress=progress)
        except (OSError, RuntimeError) as error:  # no network, or an invalid hash
            raise OSError(
                f"VGG19's weights could not be downloaded from {url} ({error}). Download the file on "
                f'another machine and pass weights="path/to/{path.name}", or put it into {path.parent}.'
            ) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(SHA256_PREFIX):
        raise ValueError(
            f"{path} is not torchvision's file: its SHA-256 starts with {digest[:8]}, not {SHA256_PREFIX}. "
            "Delete it to download it again; if these are your own weights, pass their path as weights=."
        )
    return path


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a file, and nothing that could run code.

    Parameters
    ----------
    path : Path
        What ``torch.save`` wrote: a state dict, or a dict that has one under ``"state_dict"``.

    Returns
    -------
    dict of str to Tensor
        The tensors, without the ``module.`` that ``DataParallel`` puts before their names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f'weights must be "DEFAULT" or the path of a file, but there is no file {str(path)!r}.')
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error class of its own
        raise ValueError(f"{path} {_what_is_wrong(path, error)}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} holds no state dict but a {type(state).__name__}. "
            'Save the weights with torch.save(model.state_dict(), "vgg19.pth").'
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _what_is_wrong(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if not start:
        return "is empty. Copy or download it again."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not weights: the download was refused. Download it again."
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights themselves. Fetch them with git lfs pull."
    if isinstance(error, pickle.UnpicklingError):
        return (
            "is not a file of tensors only, such as a whole pickled model, and reading it could run foreign "
            'code. Save the weights with torch.save(model.state_dict(), "vgg19.pth").'
        )
    return f"is cut off or corrupt ({error}). Copy or download it again."


def _vgg19(layer: str) -> tuple[nn.Module, set[str]]:
    """Return the network up to `layer`, without storage, and the entries of the whole VGG19."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        whole = vgg19(weights=None, init_weights=False)
    depth = LAYERS[layer].depth
    parts: dict[str, nn.Module] = {
        "features": whole.features,
        "avgpool": whole.avgpool if depth else nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": whole.classifier[:depth],
    }
    return nn.Sequential(OrderedDict(parts)), set(whole.state_dict())


def _check_entries(state: Mapping[str, Tensor], needed: Mapping[str, Any], known: set[str], path: Path) -> None:
    missing = [name for name in needed if name not in state]
    unknown = [name for name in state if name not in known]
    misfit = [name for name in needed if name in state and state[name].shape != needed[name].shape]
    if missing or unknown:
        complaint = " and ".join(
            f"{verb} {names[0]!r}" + (f" (and {len(names) - 1} more)" if names[1:] else "")
            for verb, names in (("lacks", missing), ("has an unknown", unknown))
            if names
        )
    elif misfit:
        name = misfit[0]
        complaint = f"has {name!r} of shape {tuple(state[name].shape)}, not {tuple(needed[name].shape)}"
    else:
        return
    raise ValueError(
        f"{path} does not hold the weights of torchvision's VGG19: it {complaint}. "
        "For another network use ImageFeaturizer(network)."
    )
