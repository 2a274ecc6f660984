"""Whatever a picture comes as -> an upright RGB picture of 8 bits."""

from __future__ import annotations

import re
import threading
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import numpy as np

from modalsplit.featurize._base import BadItemError, absent
from modalsplit.featurize._cache import content_key

if TYPE_CHECKING:
    from PIL.Image import Image

DECODING = 1  # raise it when pictures come out differently: cached features of the old ones are not used then

_AGAIN = "Download or copy it again."
_NO_PICTURE = (
    (b"<svg", "it is an SVG drawing", "Render it to PNG."),
    (b"<!doctype", "it is a web page", "The download was refused: download the picture itself."),
    (b"<html", "it is a web page", "The download was refused: download the picture itself."),
    (b"version https://git-lfs", "it is a Git LFS pointer", "Fetch the picture with git lfs pull."),
    (b"%pdf", "it is a PDF", "Render its page to PNG."),
)
_URL = re.compile("([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_LOADING = threading.Lock()


def read_image(item: Any) -> Image:
    """Decode a picture.

    Parameters
    ----------
    item : str, Path, bytes, PIL image or uint8 ndarray of shape (height, width[, 1 | 3 | 4])
        A picture; a str is a path or a ``file:`` URL. The given object is not changed.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, turned as its EXIF data says. Transparent parts are white; 16-bit and float pictures
        are scaled to 8 bits; of an animation it is the first frame.

    Raises
    ------
    BadItemError
        If `item` is no readable picture; it says why and what can be done.
    """
    return decode(read_source(item))


def read_source(item: Any) -> Any:
    """Read what a picture is stored as, without decoding it.

    Parameters
    ----------
    item : str, Path, bytes, PIL image or ndarray
        As in `read_image`.

    Returns
    -------
    bytes, PIL image or ndarray
        The content of a file; other things as they are.

    Raises
    ------
    BadItemError
        If there is no such file, or it is empty; a blank path is a missing picture.
    """
    if isinstance(item, (str, PathLike)):
        item = _read_file(str(item))
    if isinstance(item, (bytearray, memoryview)):
        item = bytes(item)
    if isinstance(item, bytes) and not item:
        raise BadItemError("it is empty: 0 bytes", _AGAIN)
    return item


def picture_key(source: Any) -> bytes | None:
    """Name a stored picture by its content.

    Parameters
    ----------
    source : bytes, PIL image or ndarray
        What `read_source` returns.

    Returns
    -------
    bytes of length 16 or None
        Its `content_key`; None if only the decoded picture can be named, by `pixels_key`.
    """
    return content_key("file", source) if isinstance(source, bytes) else None


def pixels_key(image: Image) -> bytes:
    """Name a decoded picture by its content.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB.

    Returns
    -------
    bytes of length 16
        Its `content_key`.
    """
    return content_key("pixels", str(image.size), image.tobytes())


def decode(source: Any) -> Image:
    """Decode what `read_source` returns.

    Parameters
    ----------
    source : bytes, PIL image or ndarray
        A picture.

    Returns
    -------
    PIL.Image.Image
        As `read_image`.

    Raises
    ------
    BadItemError
        If it is no readable picture.
    """
    from PIL import Image

    try:
        if isinstance(source, Image.Image):
            with _LOADING:  # one picture can be in two rows, and Pillow reads it in place
                source.load()
            return _decoded(source)
        if isinstance(source, np.ndarray):
            return _decoded(_from_array(source))
        if not isinstance(source, bytes):
            raise BadItemError(
                f"it is no picture but of type {type(source).__name__}",
                "Give a path, bytes, a PIL image or a uint8 array.",
            )
        with Image.open(BytesIO(source)) as image:
            return _decoded(image)
    except (BadItemError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on corrupt data
        raise _explained(source, error) from error


def _read_file(path: str) -> bytes:
    if not path.strip():
        raise absent()
    url = _URL.match(path)
    if url and url[1].lower() != "file":
        raise BadItemError(f"{path!r:.80} is on the web", "Download it first and give the path of the file.")
    try:
        return (
            Path(unquote(urlparse(path).path) if path.lower().startswith("file:") else path).expanduser().read_bytes()
        )
    except FileNotFoundError as error:
        raise BadItemError(
            f"there is no file {path!r}", f"Correct the path; a relative one starts at {Path.cwd()}."
        ) from error
    except IsADirectoryError as error:
        raise BadItemError(f"{path!r} is a folder", "Give the path of a file in it.") from error
    except PermissionError as error:
        raise BadItemError(f"{path!r} may not be read", "Change its permissions.") from error
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, the home of a stranger
        raise BadItemError(f"{path!r:.80} cannot be read ({error})", "Check that it is the path of a file.") from error


def _explained(source: Any, error: Exception) -> BadItemError:
    """Say what is wrong with a picture that Pillow refused."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return BadItemError(
            f"it is a decompression bomb ({error})",
            "If you trust it, scale it down or raise PIL.Image.MAX_IMAGE_PIXELS.",
        )
    if isinstance(error, UnidentifiedImageError) and isinstance(source, bytes):
        start = source[:1000].lower()
        for mark, reason, mend in _NO_PICTURE:
            if mark in start:
                return BadItemError(reason, mend)
        if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
            return BadItemError("it is HEIC, which Pillow cannot read", "Convert it to JPEG or register pillow-heif.")
        return BadItemError(f"it is no picture: it begins with {source[:16]!r}", _AGAIN)
    mend = _AGAIN if isinstance(source, bytes) else "Open it again, or give the path of its file."
    return BadItemError(f"it is cut off, corrupt or closed ({type(error).__name__}: {error})", mend)


def _from_array(array: Any) -> Image:
    from PIL import Image

    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise BadItemError(
            f"an array of {array.dtype} and shape {array.shape} is no picture",
            "It must be uint8, 0 to 255, of shape (height, width) or (height, width, 1, 3 or 4).",
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
        raise BadItemError(
            f"cannot tell black from white in a picture of mode {image.mode} with values {low} to {high}",
            "Convert it to 8 bits.",
        )
    return Image.fromarray(np.rint(pixels * (255 / white)).astype(np.uint8))


def _on_white(image: Image) -> Image:
    """Composite on white: below full transparency there may be any colour."""
    from PIL import Image

    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
