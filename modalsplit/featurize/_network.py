"""From stored pictures to rows: decoding threads run ahead of the network, and both beside a cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Result = TypeVar("Result")


class Preprocess(NamedTuple):
    """How a picture becomes what the network reads.

    Attributes
    ----------
    one : callable
        From a PIL image to a tensor of shape (3, height, width); runs in the decoding threads.
    batch : callable
        From stacked tensors to a batch; runs before the network, because torch's own threads and many
        small tensors get in each other's way.
    """

    one: Callable[[Image], Tensor]
    batch: Callable[[Tensor], Tensor]


def preprocess_of(transform: Callable[[Image], Tensor]) -> Preprocess:
    """Split a preprocessing into its steps; what they do stays the same.

    Parameters
    ----------
    transform : callable
        From a PIL image to a tensor of shape (3, height, width). torchvision's ImageClassification, which its
        own classifiers use, is taken apart; any other stays whole.

    Returns
    -------
    Preprocess
        The two steps.
    """
    from torchvision.models import VGG19_Weights
    from torchvision.transforms import functional

    if type(transform) is not type(VGG19_Weights.DEFAULT.transforms()):
        return Preprocess(transform, lambda batch: batch)
    preset: Any = transform

    def one(image: Image) -> Tensor:
        resized = functional.resize(
            image, preset.resize_size, interpolation=preset.interpolation, antialias=preset.antialias
        )
        pixels: Tensor = functional.pil_to_tensor(functional.center_crop(resized, preset.crop_size))
        return pixels.contiguous()  # channel by channel, as the network reads them; PIL interleaves

    mean, std = (torch.tensor(list(values)).view(-1, 1, 1) for values in (preset.mean, preset.std))

    def batch(pixels: Tensor) -> Tensor:
        # What convert_image_dtype and normalize do, to the bit, without their copies.
        where = pixels.device
        return pixels.to(torch.float).div_(255).sub_(mean.to(where)).div_(std.to(where))

    return Preprocess(one, batch)


@dataclass(frozen=True)
class Network:
    """What turns pictures into numbers: `preprocess` for one of them, then `module` for a batch.

    Attributes
    ----------
    module : callable
        From a batch to features of shape (B, n_features).
    preprocess : Preprocess
        What comes before it.
    device : torch.device
        Where it runs.
    fingerprint : callable
        Names all that decides what it makes of a picture, for the cache; only called if there is one.
    """

    module: Callable[[Tensor], Any]
    preprocess: Preprocess
    device: torch.device
    fingerprint: Callable[[], str]

    def __post_init__(self) -> None:
        # glibc asks the kernel for every block above a limit, and that takes longer than to fill it. The limit follows
        # the largest block freed so far, 32 MiB at most: with this one, activations of a batch stay below it.
        torch.empty(33_000_000, dtype=torch.uint8)

    @cached_property
    def width(self) -> int:
        """How many features a picture has; learned from a grey one."""
        from PIL import Image

        grey = self.preprocess.one(Image.new("RGB", (256, 256), "grey"))
        return int(self.features([grey]).shape[1])

    def features(self, tensors: Sequence[Tensor]) -> NDArray[np.float32]:
        """Compute the rows of a batch.

        Parameters
        ----------
        tensors : sequence of Tensor of shape (3, height, width)
            What ``preprocess.one`` made of each picture.

        Returns
        -------
        ndarray of shape (n_pictures, n_features), float32
            A row a picture.

        Raises
        ------
        ValueError
            If the network or the preprocessing makes anything else.
        """
        with torch.inference_mode():
            made = self.module(self.preprocess.batch(_stacked(tensors).to(self.device)))
        shape = tuple(getattr(made, "shape", ()))
        if len(shape) != 2 or shape[0] != len(tensors):
            raise ValueError(
                f"The network made {f'shape {shape}' if shape else f'a {type(made).__name__}'} of {len(tensors)} "
                f"pictures; it must make a row of features of each, an array of shape ({len(tensors)}, n_features). "
                "Choose, pool and flatten inside the network."
            )
        return torch.as_tensor(made).to("cpu", torch.float32).numpy()


def _stacked(tensors: Sequence[Any]) -> Tensor:
    made = {f"shape {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__ for each in tensors}
    if len(made) > 1 or not isinstance(tensors[0], Tensor):
        raise ValueError(
            "preprocess must make a tensor of one and the same shape of every picture, but it made "
            f"{' and '.join(sorted(made))}. Resize and crop to one size, then convert to a tensor."
        )
    return torch.stack(list(tensors))


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], n_jobs: int, ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Map in threads, in order, and never far ahead of who takes the results.

    Parameters
    ----------
    function : callable
        What to do with an item.
    items : iterable
        The items.
    n_jobs : int
        How many threads.
    ahead : int
        How many results may wait at most: this bounds the memory.

    Yields
    ------
    tuple of item and result
        In the order of the items.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(n_jobs, thread_name_prefix="modalsplit-decode") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > ahead:
                    item, future = waiting.popleft()
                    yield item, future.result()
            while waiting:
                item, future = waiting.popleft()
                yield item, future.result()
        finally:
            pool.shutdown(cancel_futures=True)
