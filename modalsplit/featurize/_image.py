"""Featurizers for pictures: a network reads them in batches."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from torch import Tensor, nn

from modalsplit.featurize._base import (
    BadItemError,
    Column,
    ItemFeaturizer,
    Quarantine,
    absent,
    check_choice,
    is_missing,
    read_column,
)
from modalsplit.featurize._cache import FeatureCache
from modalsplit.featurize._decode import DECODING, decode, picture_key, pixels_key, read_source
from modalsplit.featurize._fingerprint import fingerprint
from modalsplit.featurize._network import Network, in_threads, preprocess_of
from modalsplit.featurize._weights import POOLINGS, load_network, weights_of

if TYPE_CHECKING:
    from PIL.Image import Image


class _Picture(NamedTuple):
    """A decoded picture: its content, and what the network reads; None if the cache has its row."""

    key: bytes | int
    tensor: Tensor | None


class _PictureFeaturizer(ItemFeaturizer):
    """The way from pictures to rows, for whatever network `_load` returns."""

    _noun = "picture"
    batch_size: int | None
    device: str | torch.device
    n_jobs: int | None
    cache_dir: str | PathLike[str] | None
    verbose: int

    def _load(self) -> Network:
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the network; nothing is learned from the pictures.

        Parameters
        ----------
        X : iterable of length n_items
            Pictures, as in ``transform``. They are not decoded.
        y : None
            Ignored.

        Returns
        -------
        self
            The featurizer, ready to transform.
        """
        self._check_parameters()
        read_column(X)
        self._forget()
        self._resource()
        return self

    def transform(self, X: Any) -> Any:
        """Compute the features of each picture.

        Parameters
        ----------
        X : iterable of length n_items, Series, or array or DataFrame of shape (n_items, 1)
            Pictures: paths, ``file:`` URLs, bytes, PIL images or uint8 arrays of shape (height, width, channels).
            None, NaN and blank paths stand for no picture.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            One row a picture; NaN where there is none and, with ``on_error="nan"``, where it could not
            be read.

        Raises
        ------
        ValueError
            If a picture is missing or cannot be read and ``on_error="raise"``, or if the network makes NaN of
            a picture that can: it would pass for a missing one.
        """
        from tqdm import tqdm

        self._check_parameters()
        column = read_column(X)
        network = self._resource()
        cache = self._cache(network)
        quarantine = Quarantine(column.labels, self._noun, self.on_error)
        batch = _Batch(
            network, cache, column.labels, np.full((len(column.items), self._n_features_out), np.nan, np.float32)
        )
        size = self.batch_size or (2 if network.device.type == "cpu" else 64)
        read = _reader(column, network, cache)
        pictures = in_threads(read, range(len(column.items)), effective_n_jobs(self.n_jobs), ahead=2 * size)
        name = type(self).__name__
        for row, picture in tqdm(
            pictures, desc=name, unit="picture", total=len(column.items), disable=self.verbose <= 0
        ):
            if isinstance(picture, BadItemError):
                quarantine.add(row, picture)
            elif batch.add(row, picture) == size:
                batch.flush()
        batch.flush()
        return self._finish(X, batch.features, quarantine)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.batch_size is not None:
            check_scalar(self.batch_size, "batch_size", (int, np.integer), min_val=1)

    def _cache(self, network: Network) -> FeatureCache | None:
        if self.cache_dir is None:
            return None
        return FeatureCache(self.cache_dir, type(self).__name__, network.fingerprint())

    @property
    def _n_features_out(self) -> int:
        width: int = self._resource().width
        return width

    def __sklearn_is_fitted__(self) -> bool:
        return True  # the network is given, not learned

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class _Batch:
    """Rows that wait for the network, by content: equal pictures wait as one."""

    def __init__(
        self, network: Network, cache: FeatureCache | None, labels: Sequence[Any], features: NDArray[np.float32]
    ) -> None:
        self.features = features
        self._network = network
        self._cache = cache
        self._labels = labels
        self._waiting: dict[bytes | int, tuple[Tensor, list[int]]] = {}

    def add(self, row: int, picture: _Picture) -> int:
        """Take a picture, and return how many wait."""
        cached = self._cache.get(picture.key) if self._cache is not None and isinstance(picture.key, bytes) else None
        if cached is not None:
            self.features[row] = cached
        elif picture.tensor is not None:
            self._waiting.setdefault(picture.key, (picture.tensor, []))[1].append(row)
        return len(self._waiting)

    def flush(self) -> None:
        """Compute what waits, keep it, and write it into the rows."""
        if not self._waiting:
            return
        tensors, rows = zip(*self._waiting.values(), strict=True)
        features = self._network.features(tensors)
        _check_finite(features, [self._labels[same[0]] for same in rows])
        if self._cache is not None:
            self._cache.append([key for key in self._waiting if isinstance(key, bytes)], features)
        for same, vector in zip(rows, features, strict=True):
            self.features[same] = vector
        self._waiting.clear()


def _reader(column: Column, network: Network, cache: FeatureCache | None) -> Callable[[int], _Picture | BadItemError]:
    """Return what the decoding threads do with a row."""

    def read(row: int) -> _Picture | BadItemError:
        item = column.items[row]
        if is_missing(item):
            return absent()
        try:
            source = read_source(item)
            key = None if cache is None else picture_key(source)
            if cache is not None and key is not None and key in cache:
                return _Picture(key, None)
            image = decode(source)
        except BadItemError as error:
            return copy.copy(error)  # without its traceback, which would keep the picture in memory
        if cache is None:
            return _Picture(row, network.preprocess.one(image))
        return _Picture(key or pixels_key(image), network.preprocess.one(image))

    return read


class TorchvisionFeaturizer(_PictureFeaturizer):
    """Pictures -> activations of any classifier of torchvision.

    The network is loaded in `fit` or at the first `transform` and never pickled.

    Parameters
    ----------
    model : str, default="resnet50"
        A name of ``torchvision.models.list_models(module=torchvision.models)``.
    weights : str or Path, default="DEFAULT"
        torchvision's weights for it by name, such as ``"IMAGENET1K_V1"`` (downloaded once into torch's cache, their
        SHA-256 verified at each load), or a file with a state dict. The file is read as plain tensors
        (``weights_only=True``); it may lack the layers that are not used.
    layer : str, default=None
        Which activations to return: a node of the network as
        ``torchvision.models.feature_extraction.get_graph_node_names`` names them in evaluation mode. None is
        what the last linear layer reads.
    pooling : {"mean", "regions"}, default="mean"
        What becomes of maps: the mean of each channel, or all regions one after another, row by row, each with
        all its channels (``X.reshape(n_items, n_regions, n_channels)`` brings them back).
    preprocess : callable, default=None
        From a PIL image in RGB to the tensor that the network expects, of shape ``(3, height, width)``; it runs in
        threads. By default what torchvision says for these weights, or for its own weights of this model.
    batch_size : int, default=None
        Pictures at a time. It changes memory and speed, not the features. None is 2 on a CPU, where the memory
        of larger batches costs more than it saves, else 64.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    n_jobs : int, default=None
        How many threads decode pictures while the network runs; None is one, -1 one a core.
    cache_dir : str or Path, default=None
        Where to keep features, by the content of the picture and the fingerprint of the network. What was
        computed before is not computed again, by any process.
    on_error : {"nan", "raise"}, default="nan"
        What to do with a picture that is missing or cannot be read: leave its row NaN, list it in `failed_` and
        warn once of those that cannot be read; or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id`` (index label, or row number without an index), ``reason``
        and ``mend``.

    See Also
    --------
    VGG19Featurizer : The network of the paper.
    ImageFeaturizer : A network of your own.

    Notes
    -----
    Stability: stable. Activations of four dimensions are taken as (picture, channel, height, width), of three as
    (picture, token, channel).

    Examples
    --------
    >>> from modalsplit.featurize import TorchvisionFeaturizer
    >>> featurizer = TorchvisionFeaturizer("resnet18", layer="layer3.1.relu_1")
    >>> featurizer.fit_transform(["front.jpg", "back.jpg"]).shape  # doctest: +SKIP
    (2, 256)
    """

    _loaded_from = ("model", "weights", "layer", "pooling", "preprocess", "device")

    def __init__(
        self,
        model: str = "resnet50",
        *,
        weights: str | PathLike[str] = "DEFAULT",
        layer: str | None = None,
        pooling: str = "mean",
        preprocess: Callable[[Image], Tensor] | None = None,
        batch_size: int | None = None,
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.on_error = on_error
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("pooling", self.pooling, POOLINGS)
        _check_weights(self.weights)
        _check_callable("preprocess", self.preprocess, optional=True)

    def _load(self) -> Network:
        return _torchvision_network(
            self.model, self.weights, self.layer, self.pooling, self.preprocess, self.device, self.verbose > 0
        )


class _Layer(NamedTuple):
    """A layer of VGG19: its node, its pooling and how many numbers come out."""

    node: str
    pooling: str
    width: int


_LAYERS = {
    "fc7": _Layer("classifier.4", "mean", 4096),
    "fc7_pre": _Layer("classifier.3", "mean", 4096),
    "fc6": _Layer("classifier.1", "mean", 4096),
    "pool1": _Layer("features.4", "mean", 64),
    "pool2": _Layer("features.9", "mean", 128),
    "pool3": _Layer("features.18", "mean", 256),
    "pool4": _Layer("features.27", "mean", 512),
    "pool5": _Layer("features.36", "mean", 512),
    "conv5_regions": _Layer("features.35", "regions", 14 * 14 * 512),
    "pool5_regions": _Layer("features.36", "regions", 7 * 7 * 512),
}


class VGG19Featurizer(_PictureFeaturizer):
    """Pictures -> activations of VGG19, trained on ImageNet: the visual features of PAMD.

    The network is loaded in `fit` or at the first `transform` and never pickled. On a CPU it reads two to
    four pictures a second: give `cache_dir`.

    Parameters
    ----------
    weights : str or Path, default="DEFAULT"
        The ImageNet weights of torchvision (548 MB; downloaded once into torch's cache, their SHA-256
        verified at each load), or a file with a state dict of torchvision's VGG19. The file is read as plain
        tensors (``weights_only=True``); it may lack the layers that are not used.
    layer : str, default="fc7"
        Which activations to return:

        * ``"fc7"`` and ``"fc6"`` after their ReLU (4096 numbers, none negative), ``"fc7_pre"`` before it;
        * ``"pool1"`` to ``"pool5"``: the average of each channel of a pooling layer (64, 128, 256, 512, 512);
        * ``"conv5_regions"``: the last convolution after its ReLU, 14 x 14 regions of 512 channels (100,352), and
          ``"pool5_regions"``, the same after pooling, 7 x 7 of 512 (25,088); the regions of VECF. Regions come row
          by row, each with all its channels: ``X.reshape(n_items, 196, 512)``.
    batch_size : int, default=None
        Pictures at a time. It changes memory and speed, not the features. None is 2 on a CPU, where the memory
        of larger batches costs more than it saves, else 64.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    n_jobs : int, default=None
        How many threads decode pictures while the network runs; None is one, -1 one a core.
    cache_dir : str or Path, default=None
        Where to keep features, by the content of the picture and the fingerprint of the network. What was
        computed before is not computed again, by any process.
    on_error : {"nan", "raise"}, default="nan"
        What to do with a picture that is missing or cannot be read: leave its row NaN, list it in `failed_` and
        warn once of those that cannot be read; or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id`` (index label, or row number without an index), ``reason``
        and ``mend``.

    See Also
    --------
    TorchvisionFeaturizer : Other networks of torchvision.
    ImageFeaturizer : A network of your own.
    GloveFeaturizer : The same for texts.

    Notes
    -----
    Stability: stable. Preprocessing is torchvision's: the shorter side to 256, the central 224 x 224,
    ImageNet's mean and standard deviation.

    References
    ----------
    Simonyan and Zisserman, ICLR 2015. Han et al., WWW 2022, Sec. 5.1. Chen et al., Personalized fashion
    recommendation with visual explanations based on multimodal attention network, SIGIR 2019 (VECF).

    Examples
    --------
    >>> from modalsplit.featurize import VGG19Featurizer
    >>> featurizer = VGG19Featurizer(weights="vgg19.pth")
    >>> featurizer.get_feature_names_out().shape
    (4096,)
    >>> featurizer.transform(["front.jpg", None])  # doctest: +SKIP
    array([[0.  , 1.27, ..., 0.  ],
           [ nan,  nan, ...,  nan]], dtype=float32)
    """

    _loaded_from = ("weights", "layer", "device")

    def __init__(
        self,
        weights: str | PathLike[str] = "DEFAULT",
        *,
        layer: str = "fc7",
        batch_size: int | None = None,
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.weights = weights
        self.layer = layer
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.on_error = on_error
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("layer", self.layer, _LAYERS)
        _check_weights(self.weights)

    def _load(self) -> Network:
        node, pooling, _ = _LAYERS[self.layer]
        return _torchvision_network("vgg19", self.weights, node, pooling, None, self.device, self.verbose > 0)

    @property
    def _n_features_out(self) -> int:
        check_choice("layer", self.layer, _LAYERS)
        return _LAYERS[self.layer].width


class ImageFeaturizer(_PictureFeaturizer):
    """Pictures -> whatever a network makes of them.

    Parameters
    ----------
    network : torch.nn.Module or callable
        From a float batch of shape ``(B, 3, 224, 224)`` to features of shape ``(B, n_features)``. A module is
        copied, so that evaluation mode and `device` do not change yours; any other callable is used as it
        is. It belongs to the featurizer's parameters: it is cloned and pickled with it.
    preprocess : callable, default=None
        From a PIL image in RGB to the tensor that the network expects, of shape ``(3, height, width)``; it runs in
        threads. By default the shorter side to 256, the central 224 x 224, ImageNet's mean and standard deviation.
    batch_size : int, default=None
        Pictures at a time. None is 2 on a CPU, where the memory of larger batches costs more than it saves,
        else 64.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    n_jobs : int, default=None
        How many threads decode pictures while the network runs; None is one, -1 one a core.
    cache_dir : str or Path, default=None
        Where to keep features, by the content of the picture and the fingerprint of the network and its
        preprocessing: their weights, and their code with what it refers to.
    on_error : {"nan", "raise"}, default="nan"
        What to do with a picture that is missing or cannot be read: leave its row NaN, list it in `failed_` and
        warn once of those that cannot be read; or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of Failure
        Why rows of the last `transform` are NaN: ``id`` (index label, or row number without an index), ``reason``
        and ``mend``.

    See Also
    --------
    VGG19Featurizer : The network of the paper.
    TorchvisionFeaturizer : Networks of torchvision.

    Notes
    -----
    Stability: stable. How many features there are is learned by showing the network one grey picture.

    Examples
    --------
    >>> import numpy as np
    >>> from modalsplit.featurize import ImageFeaturizer
    >>> def mean_colour(batch):
    ...     return batch.mean((2, 3))
    >>> red = np.zeros((300, 300, 3), dtype=np.uint8) + np.array([255, 0, 0], dtype=np.uint8)
    >>> ImageFeaturizer(mean_colour).fit_transform([red, None]).round(2)
    array([[ 2.25, -2.04, -1.8 ],
           [  nan,   nan,   nan]], dtype=float32)
    """

    _loaded_from = ("network", "preprocess", "device")

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        *,
        preprocess: Callable[[Image], Tensor] | None = None,
        batch_size: int | None = None,
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.cache_dir = cache_dir
        self.on_error = on_error
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _check_callable("network", self.network)
        _check_callable("preprocess", self.preprocess, optional=True)

    def _load(self) -> Network:
        device = _device(self.device)
        module = self.network
        if isinstance(module, nn.Module):
            module = copy.deepcopy(module).to(device).eval()
        transform = self.preprocess or _imagenet_transform("vgg19", "DEFAULT")
        # Not once for all: a callable that is no module is the user's, and can have changed since.
        name = functools.partial(fingerprint, DECODING, module, transform)
        network = Network(module, preprocess_of(transform), device, name)
        network.width  # noqa: B018 - fit is where a network of the wrong shape should be found out
        return network


def _torchvision_network(
    model: str,
    weights: str | PathLike[str],
    layer: str | None,
    pooling: str,
    preprocess: Callable[[Image], Tensor] | None,
    device: str | torch.device,
    progress: bool,
) -> Network:
    where = _device(device)
    module = load_network(model, weights, layer, pooling, progress=progress).to(where)
    transform = preprocess or _imagenet_transform(model, weights)
    # The graph of `module` is its code: which layers there are and in which order.
    weights_and_graph = functools.cache(functools.partial(fingerprint, module.state_dict(), module.body.code))
    return Network(
        module,
        preprocess_of(transform),
        where,
        lambda: fingerprint(DECODING, weights_and_graph(), pooling, transform),
    )


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _imagenet_transform(model: str, weights: str | PathLike[str]) -> Callable[[Image], Tensor]:
    entry = weights_of(model, weights) or weights_of(model, "DEFAULT")
    transform: Callable[[Image], Tensor] = entry.transforms()
    return transform


def _check_weights(weights: Any) -> None:
    if not isinstance(weights, (str, PathLike)):
        raise TypeError(f'weights must be "DEFAULT" or the path of a file, but it is {weights!r}.')


def _check_callable(name: str, value: Any, *, optional: bool = False) -> None:
    if not callable(value) and not (optional and value is None):
        raise TypeError(f"{name} must be a torch module or another callable, but it is {value!r}.")


def _check_finite(features: NDArray[np.float32], labels: Sequence[Any]) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The network made NaN or infinity of picture {labels[int(finite.argmin())]!r}, and NaN would "
            "pass for a missing picture. Check the network's weights and its preprocessing."
        )
