"""Pictures, small enough to stand in the page."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from modalsplit.featurize._base import BadItemError
from modalsplit.featurize._decode import read_image

# Tried in turn until a picture fits; the last is taken as it is.
SIZES_AND_QUALITIES = ((160, 70), (160, 50), (128, 40), (96, 30), (64, 20))
MOST_BYTES = 5000


def data_uri(picture: Any) -> str | None:
    """Make a thumbnail.

    Parameters
    ----------
    picture : str, Path, bytes, PIL image or ndarray
        As featurizers take it.

    Returns
    -------
    str or None
        ``data:image/webp;base64,...`` of 160 pixels and 5,000 bytes at most; None if it cannot be read.
    """
    try:
        image = read_image(picture)
    except BadItemError:
        return None
    encoded = b""
    for size, quality in SIZES_AND_QUALITIES:
        image.thumbnail((size, size))
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=quality)
        encoded = buffer.getvalue()
        if len(encoded) <= MOST_BYTES:
            break
    return "data:image/webp;base64," + base64.b64encode(encoded).decode()
