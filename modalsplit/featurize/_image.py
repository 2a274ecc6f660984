"""Featurizers for pictures: a network reads them in batches."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from torch import Tensor, nn

from modalsplit.featurize._base import ItemFeaturizer, check_choice, is_missing, read_column
from modalsplit.featurize._decode import read_image
from modalsplit.featurize._weights import LAYERS, load_vgg19

if TYPE_CHECKING:
    from PIL.Image import Image


class _Network(NamedTuple):
    """What turns pictures into numbers: `preprocess` for one of them, then `module` for a batch."""

    module: Callable[[Tensor], Any]
    preprocess: Callable[[Image], Tensor]
    device: torch.device
    width: int

    def features(self, tensors: Sequence[Tensor]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features = torch.as_tensor(self.module(torch.stack(list(tensors)).to(self.device)))
        if features.ndim != 2 or len(features) != len(tensors):
            raise ValueError(
                f"The network made shape {tuple(features.shape)} of {len(tensors)} pictures; it must make a "
                f"row of features of each, ({len(tensors)}, n_features). Pool and flatten inside the network."
            )
        return features.to("cpu", torch.float32).numpy()


class _PictureFeaturizer(ItemFeaturizer):
    """The way from pictures to rows, for whatever network `_load` returns."""

    batch_size: int
    device: str | torch.device
    on_error: str
    verbose: int

    def _load(self) -> _Network:
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
            Pictures: paths, bytes, PIL images or uint8 arrays of shape (height, width, channels).
            None and NaN stand for no picture.

        Returns
        -------
        ndarray or DataFrame of shape (n_items, n_features), float32
            One row a picture; NaN where there is none and, with ``on_error="nan"``, where it could not
            be read.

        Raises
        ------
        ValueError
            If a picture cannot be read and ``on_error="raise"``, or if the network makes NaN of a picture
            that can: it would pass for a missing one.
        """
        self._check_parameters()
        items, labels = read_column(X)
        network = self._resource()
        features = np.full((len(items), network.width), np.nan, dtype=np.float32)
        self.failed_: list[tuple[Any, str]] = []
        for rows in self._batches(items):
            tensors = {row: network.preprocess(image) for row, image in self._read(rows, items, labels)}
            if tensors:
                known = list(tensors)
                features[known] = network.features(list(tensors.values()))
                _check_finite(features[known], [labels[row] for row in known])
        if self.failed_:
            label, reason = self.failed_[0]
            warnings.warn(
                f"{len(self.failed_)} of {len(items)} pictures could not be read; their rows are NaN, like "
                f"missing ones. The first is {label!r}: {reason}. failed_ lists them all.",
                stacklevel=3,
            )
        return self._rows_of(X, features)

    def _check_parameters(self) -> None:
        check_scalar(self.batch_size, "batch_size", (int, np.integer), min_val=1)
        check_choice("on_error", self.on_error, ("nan", "raise"))

    def _batches(self, items: Sequence[Any]) -> Iterator[list[int]]:
        """Cut the rows that have an item into batches; a bar follows them."""
        from tqdm import tqdm

        rows = [row for row, item in enumerate(items) if not is_missing(item)]
        with tqdm(total=len(rows), desc=type(self).__name__, unit="picture", disable=self.verbose <= 0) as bar:
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                yield batch
                bar.update(len(batch))

    def _read(self, rows: Sequence[int], items: Sequence[Any], labels: Sequence[Any]) -> Iterator[tuple[int, Image]]:
        """Decode one picture after the other; those that cannot be read are noted and left out."""
        for row in rows:
            try:
                yield row, read_image(items[row])
            except ValueError as error:
                if self.on_error == "raise":
                    raise ValueError(
                        f"Picture {labels[row]!r} could not be read: {error}. "
                        'With on_error="nan" it becomes a row of NaN.'
                    ) from error
                self.failed_.append((labels[row], str(error)))

    def __sklearn_is_fitted__(self) -> bool:
        return True  # the network is given, not learned

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class VGG19Featurizer(_PictureFeaturizer):
    """Pictures -> activations of VGG19, trained on ImageNet: the visual features of PAMD.

    The network is loaded in `fit` or at the first `transform` and never pickled. On a CPU it reads two to
    four pictures a second.

    Parameters
    ----------
    weights : "DEFAULT", str or Path, default="DEFAULT"
        The ImageNet weights of torchvision (548 MB; downloaded once into torch's cache, their SHA-256
        verified at each load), or a file with a state dict of torchvision's VGG19. The file is read as plain
        tensors (``weights_only=True``); it may lack the layers that are not used.
    layer : {"fc7", "fc7_pre", "fc6", "pool5"}, default="fc7"
        Which activations to return: ``"fc7"`` and ``"fc6"`` after their ReLU (4096 numbers, none negative),
        ``"fc7_pre"`` before it (4096), or the average of each channel of the last pooling layer (512).
    batch_size : int, default=32
        Pictures at a time. It changes memory and speed, not the features.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    on_error : {"nan", "raise"}, default="nan"
        What to do with a picture that cannot be read: leave its row NaN and warn once, or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of (label, reason)
        Pictures that the last `transform` could not read, by index label (row number without an index).

    See Also
    --------
    ImageFeaturizer : For any other network.
    GloveFeaturizer : The same for texts.

    Notes
    -----
    Stability: stable. Preprocessing is torchvision's: the shorter side to 256, the central 224 x 224,
    ImageNet's mean and standard deviation.

    References
    ----------
    Simonyan and Zisserman, ICLR 2015. Han et al., WWW 2022, Sec. 5.1.

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
        batch_size: int = 32,
        device: str | torch.device = "auto",
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.weights = weights
        self.layer = layer
        self.batch_size = batch_size
        self.device = device
        self.on_error = on_error
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("layer", self.layer, LAYERS)
        if not isinstance(self.weights, (str, PathLike)):
            raise TypeError(f'weights must be "DEFAULT" or the path of a file, but it is {self.weights!r}.')

    def _load(self) -> _Network:
        device = _device(self.device)
        network = load_vgg19(self.weights, self.layer, progress=self.verbose > 0)
        return _Network(network.to(device).eval(), _imagenet_transform(), device, LAYERS[self.layer].width)

    @property
    def _n_features_out(self) -> int:
        check_choice("layer", self.layer, LAYERS)
        return LAYERS[self.layer].width


class ImageFeaturizer(_PictureFeaturizer):
    """Pictures -> whatever a network makes of them.

    Parameters
    ----------
    network : torch.nn.Module or callable
        From a float batch of shape ``(B, 3, 224, 224)`` to features of shape ``(B, n_features)``. A module is
        copied, so that evaluation mode and `device` do not change yours; any other callable is used as it
        is. It belongs to the featurizer's parameters: it is cloned and pickled with it.
    preprocess : callable, default=None
        From a PIL image in RGB to the tensor that the network expects, of shape ``(3, height, width)``. By
        default the shorter side to 256, the central 224 x 224, ImageNet's mean and standard deviation.
    batch_size : int, default=32
        Pictures at a time.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` is CUDA if there is a device for it, else the CPU.
    on_error : {"nan", "raise"}, default="nan"
        What to do with a picture that cannot be read: leave its row NaN and warn once, or raise.
    verbose : int, default=0
        If positive, show a progress bar.

    Attributes
    ----------
    failed_ : list of (label, reason)
        Pictures that the last `transform` could not read, by index label (row number without an index).

    See Also
    --------
    VGG19Featurizer : The network of the paper.

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
        batch_size: int = 32,
        device: str | torch.device = "auto",
        on_error: str = "nan",
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self.on_error = on_error
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name, value in (("network", self.network), ("preprocess", self.preprocess)):
            if not callable(value) and not (name == "preprocess" and value is None):
                raise TypeError(f"{name} must be a torch module or another callable, but it is {value!r}.")

    def _load(self) -> _Network:
        from PIL import Image

        device = _device(self.device)
        module = self.network
        if isinstance(module, nn.Module):
            module = copy.deepcopy(module).to(device).eval()
        network = _Network(module, self.preprocess or _imagenet_transform(), device, width=0)
        grey = network.preprocess(Image.new("RGB", (256, 256), "grey"))
        return network._replace(width=network.features([grey]).shape[1])

    @property
    def _n_features_out(self) -> int:
        width: int = self._resource().width
        return width


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _imagenet_transform() -> Callable[[Image], Tensor]:
    from torchvision.models import VGG19_Weights

    transform: Callable[[Image], Tensor] = VGG19_Weights.DEFAULT.transforms()
    return transform


def _check_finite(features: NDArray[np.float32], labels: Sequence[Any]) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"The network made NaN or infinity of picture {labels[int(finite.argmin())]!r}, and NaN would "
            "pass for a missing picture. Check the network's weights and its preprocessing."
        )
