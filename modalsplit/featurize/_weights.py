"""torchvision's networks up to one of their layers, with weights from torchvision or from the user's file."""

from __future__ import annotations

import difflib
import hashlib
import pickle
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "regions")


class Cut(nn.Module):
    """A network up to a layer, whose activations become a row a picture.

    Parameters
    ----------
    body : torch.nn.Module
        What `create_feature_extractor` makes, with the activations as "features".
    pooling : {"mean", "regions"}
        What becomes of maps of shape ``(B, channels, height, width)``: the mean of each channel, or all
        regions one after another, each with its channels. Rows stay as they are.
    """

    def __init__(self, body: nn.Module, pooling: str) -> None:
        super().__init__()
        self.body = body
        self.pooling = pooling

    def forward(self, batch: Tensor) -> Tensor:
        """Compute the activations.

        Parameters
        ----------
        batch : Tensor of shape (B, 3, height, width)
            Preprocessed pictures.

        Returns
        -------
        Tensor of shape (B, n_features)
            A row a picture.
        """
        features: Tensor = self.body(batch)["features"]
        if features.ndim <= 2:
            return features
        if features.ndim == 4:
            features = features.flatten(2).transpose(1, 2)  # regions before channels
        return features.mean(1) if self.pooling == "mean" else features.flatten(1)


def load_network(
    model: str, weights: str | PathLike[str], layer: str | None, pooling: str, *, progress: bool = False
) -> Cut:
    """Build a network of torchvision up to a layer.

    Parameters
    ----------
    model : str
        A classifier of ``torchvision.models``.
    weights : str or Path
        A name of torchvision's weights for it, downloaded once, or a file with a state dict.
    layer : str or None
        A node of the network; None is what its last linear layer reads.
    pooling : {"mean", "regions"}
        As in `Cut`.
    progress : bool, default=False
        Show the download.

    Returns
    -------
    Cut
        On the CPU, in float32, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    OSError
        If the download fails.
    ValueError
        If there is no such network or layer, or the file holds anything but the network's weights.
    """
    entry = weights_of(model, weights)
    path = Path(weights).expanduser() if entry is None else torchvision_file(entry.url, progress=progress)
    state = read_state_dict(path)
    whole = _skeleton(model)
    body = _cut(whole, model, layer)
    _check_entries(state, body.state_dict(), set(whole.state_dict()), path, model)
    body.load_state_dict({name: state[name] for name in body.state_dict()}, assign=True)
    return Cut(body, pooling).float().eval()


def weights_of(model: str, weights: str | PathLike[str]) -> Any:
    """Find torchvision's own weights.

    Parameters
    ----------
    model : str
        A classifier of ``torchvision.models``.
    weights : str or Path
        Their name, such as "DEFAULT" or "IMAGENET1K_V1", or the path of a file.

    Returns
    -------
    torchvision.models.WeightsEnum or None
        None if `weights` is a path.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if model not in names:
        near = difflib.get_close_matches(str(model), names)
        raise ValueError(
            f"model must name a classifier of torchvision.models, but it is {model!r}. "
            + (f"Did you mean {' or '.join(map(repr, near))}? " if near else "")
            + "torchvision.models.list_models(module=torchvision.models) lists all."
        )
    return torchvision.models.get_model_weights(model).__members__.get(str(weights))


def torchvision_file(url: str, *, progress: bool = False) -> Path:
    """Find torchvision's weights in torch's own cache, or download them there.

    Parameters
    ----------
    url : str
        Where they are; the file's name ends in the first digits of its SHA-256.
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
    prefix = hash_prefix(url)
    path: Path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=progress)
        except (OSError, RuntimeError) as error:  # no network, or an invalid hash
            raise OSError(
                f"The weights could not be downloaded from {url} ({error}). Download the file on "
                f'another machine and pass weights="path/to/{path.name}", or put it into {path.parent}.'
            ) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(prefix):
        raise ValueError(
            f"{path} is not torchvision's file: its SHA-256 starts with {digest[:8]}, not {prefix}. "
            "Delete it to download it again; if these are your own weights, pass their path as weights=."
        )
    return path


def hash_prefix(url: str) -> str:
    """Read the first digits of the SHA-256 from the name of one of torchvision's files.

    Parameters
    ----------
    url : str
        Ends in ``-dcbb9e9d.pth`` or the like.

    Returns
    -------
    str
        ``dcbb9e9d`` then.
    """
    return url.rsplit("-", 1)[1].partition(".")[0]


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
        raise FileNotFoundError(
            'weights must be the name of torchvision\'s weights, such as "DEFAULT", or the path of a file, '
            f"but there is no file {str(path)!r}."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no error class of its own
        raise ValueError(f"{path} {_what_is_wrong(path, error)}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} holds no state dict but a {type(state).__name__}. "
            'Save the weights with torch.save(model.state_dict(), "weights.pth").'
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
            'code. Save the weights with torch.save(model.state_dict(), "weights.pth").'
        )
    return f"is cut off or corrupt ({error}). Copy or download it again."


def _skeleton(model: str) -> nn.Module:
    """Make the whole network; without storage, where it can be made so."""
    from torchvision.models import get_model

    # With its own weights torchvision lets these two undo the usual normalisation, without them it does not.
    options = {"transform_input": True} if model in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of initialisations that are overwritten here
        try:
            with torch.device("meta"):
                whole: nn.Module = get_model(model, weights=None, **options)
            saved = whole.state_dict()
            if all(name in saved for name, _ in whole.named_buffers()):
                return whole.eval()
        except NotImplementedError:  # RegNet computes with tensors while it is made
            pass
        whole = get_model(model, weights=None, **options)
    return whole.eval()


def _cut(whole: nn.Module, model: str, layer: str | None) -> nn.Module:
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # training mode has more nodes; it is not used here
        nodes = get_graph_node_names(whole)[1]
        if layer is None:
            linear = [name for name, module in whole.named_modules() if isinstance(module, nn.Linear)]
            if not linear or linear[-1] not in nodes:
                raise ValueError(f"{model} does not end in a linear layer: choose layer= among {', '.join(nodes)}.")
            layer = nodes[nodes.index(linear[-1]) - 1]
        if layer not in nodes:
            near = difflib.get_close_matches(layer, nodes, n=5, cutoff=0.3) or nodes[-5:]
            raise ValueError(
                f"layer must be a node of {model}, such as {', '.join(map(repr, near))}, but it is {layer!r}. "
                f'torchvision.models.feature_extraction.get_graph_node_names(get_model("{model}"))[1] lists all.'
            )
        body: nn.Module = create_feature_extractor(whole, {layer: "features"})
    return body


def _check_entries(
    state: Mapping[str, Tensor], needed: Mapping[str, Any], known: set[str], path: Path, model: str
) -> None:
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
        f"{path} does not hold the weights of torchvision's {model}: it {complaint}. "
        "For another network use ImageFeaturizer(network)."
    )
