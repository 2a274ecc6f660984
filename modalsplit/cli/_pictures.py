"""Where the pictures of items are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modalsplit.cli._errors import say

if TYPE_CHECKING:
    import pandas as pd

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IMAGE = "image"


def with_paths(frame: pd.DataFrame, columns: list[str], folder: Path | None, beside: Path) -> pd.DataFrame:
    """Complete the paths of pictures: from a folder, or from where the table is.

    Parameters
    ----------
    frame : DataFrame
        Items; the index holds the ids.
    columns : list of str
        Columns of paths. If it is the one column "image" and the items have none, pictures are found by id.
    folder : Path or None
        Where paths start, or what holds pictures named by id.
    beside : Path
        Where paths start without a folder.

    Returns
    -------
    DataFrame
        A copy; None where there is no picture.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    import pandas as pd

    start = beside if folder is None else folder
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    frame = frame.copy()
    for name in columns:
        if name in frame.columns:
            paths = [None if pd.isna(path) else str(start / str(path)) for path in frame[name]]
        elif folder is not None and columns == [IMAGE]:
            files = {file.stem: str(file) for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES}
            paths = [files.get(item) for item in frame.index]
            say(f"{sum(path is not None for path in paths)} of {len(paths)} items have a picture in {folder}.")
        else:
            continue  # the message about missing columns comes later
        frame[name] = pd.Series(paths, index=frame.index, dtype=object)
    return frame
