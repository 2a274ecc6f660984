"""Whatever a picture comes as -> an upright RGB picture of 8 bits."""

from __future__ import annotations

from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(item: Any) -> Image:
    """Decode a picture.

    Parameters
    ----------
    item : str, Path, bytes, PIL image or uint8 ndarray of shape (height, width[, 1 | 3 | 4])
        A picture. The given object is not changed.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, turned as its EXIF data says. Transparent parts are white; 16-bit and float pictures
        are scaled to 8 bits; of an animation it is the first frame.

    Raises
    ------
    ValueError
        If `item` is no readable picture; the message says why.
    """
    from PIL import Image

    try:
        if isinstance(item, Image.Image):
            return _decoded(item)
        if isinstance(item, np.ndarray):
            return _decoded(_from_array(item))
        with Image.open(_source(item)) as image:
            return _decoded(image)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on corrupt data
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _source(item: Any) -> Path | BytesIO:
    if isinstance(item, (str, PathLike)):
        return Path(item).expanduser()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return BytesIO(item)
    raise ValueError(f"{type(item).__name__} is no picture: give a path, bytes, a PIL image or a uint8 array")


def _from_array(array: Any) -> Image:
    from PIL import Image

    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"an array of {array.dtype} and shape {array.shape} is no picture: it must be uint8, 0 to 255, "
            "of shape (height, width) or (height, width, 1, 3 or 4)"
        )
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and channels == 1 else array)


def _decoded(image: Image) -> Image:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _scaled_to_8_bits(image: Image) -> Image:
    """Scale by the white that the mode implies; Pillow's own conversion would clip to white instead."""
    from PIL import Image

    pixels = np.asarray(image, dtype=np.float64)
    whites = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    low, high = pixels.min(), pixels.max()
    white = next((white for white in whites if high <= white), None)
    if white is None or not low >= 0:
        raise ValueError(
            f"cannot tell black from white in a picture of mode {image.mode} with values {low} to {high}: "
            "convert it to 8 bits"
        )
    return Image.fromarray(np.rint(pixels * (255 / white)).astype(np.uint8))


def _on_white(image: Image) -> Image:
    """Composite on white: below full transparency there may be any colour."""
    from PIL import Image

    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
