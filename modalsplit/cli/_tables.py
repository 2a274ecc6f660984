"""Tables of items, features and interactions: from files and into files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modalsplit.blocks import block_columns, block_names
from modalsplit.files import check_place, whole_file
from modalsplit.interactions import Interactions

READS = (".parquet", ".csv", ".csv.gz", ".tsv", ".npz", ".npy")
WRITES = (".parquet", ".csv", ".npz")


def read_items(path: Path, id_column: str) -> pd.DataFrame:
    """Read a table with one row an item.

    Parameters
    ----------
    path : Path
        Parquet, CSV, or an archive of NumPy as `write_items` writes it.
    id_column : str
        Which column holds the ids.

    Returns
    -------
    DataFrame
        The other columns; the index holds the ids, as text.

    Raises
    ------
    ValueError
        If there is no such column or no row, or ids are missing or not unique.
    """
    frame = _read(path, [id_column])
    if id_column not in frame.columns:
        raise ValueError(
            f"{path} has no column {id_column!r}; it has {_listed(frame.columns)}. Say with --id which holds the ids."
        )
    if frame.empty:
        raise ValueError(f"{path} has no rows.")
    missing = int(frame[id_column].isna().sum())
    if missing:
        raise ValueError(f"{path}: {missing} of {len(frame)} rows have no {id_column}. Fill or drop them.")
    ids = pd.Index(frame[id_column].astype(str).to_numpy(dtype=object), name=id_column)
    if ids.has_duplicates:
        twice = ids[ids.duplicated()]
        raise ValueError(
            f"{path}: {id_column} must be unique, but {twice[0]!r} occurs more than once ({len(twice)} rows too many)."
        )
    return frame.drop(columns=id_column).set_axis(ids, axis=0)


def read_features(paths: Sequence[Path], id_column: str) -> pd.DataFrame:
    """Read the features of items from one or several files, and put them side by side by id.

    Parameters
    ----------
    paths : sequence of Path
        Of several files, each may be one block: its columns are then named by the file.
    id_column : str
        Which column holds the ids.

    Returns
    -------
    DataFrame
        Columns in named blocks. An item that a file lacks has NaN there.

    Raises
    ------
    ValueError
        If ids or blocks are missing or not unique, or columns are no numbers.
    """
    return joined(read_tables(paths, id_column), paths, id_column)


def read_tables(paths: Sequence[Path], id_column: str) -> list[pd.DataFrame]:
    """Read tables with one row an item each.

    Parameters
    ----------
    paths : sequence of Path
        Files; rows of a .npy are numbered.
    id_column : str
        Which column holds the ids.

    Returns
    -------
    list of DataFrame
        See `read_items`.

    Raises
    ------
    ValueError
        As `read_items`; or if matrices whose rows are numbered have different numbers of rows.
    """
    frames = [read_items(path, id_column) for path in paths]
    n_rows = {len(frame) for frame, path in zip(frames, paths, strict=True) if path.suffix == ".npy"}
    if len(n_rows) > 1:
        raise ValueError(f"The matrices have {sorted(n_rows)} rows, but row i of each must be the same item.")
    return frames


def joined(frames: Sequence[pd.DataFrame], paths: Sequence[Path], id_column: str) -> pd.DataFrame:
    """Put tables side by side by id.

    Parameters
    ----------
    frames : sequence of DataFrame
        From `read_tables`.
    paths : sequence of Path
        Their files.
    id_column : str
        What to call the index.

    Returns
    -------
    DataFrame
        Columns in named blocks. An item that a file lacks has NaN there.

    Raises
    ------
    ValueError
        If columns are no numbers, not in blocks, or not unique, or no item is in the first file and another.
    """
    blocks = [_as_blocks(frame, path, len(paths) == 1) for frame, path in zip(frames, paths, strict=True)]
    for block, path in zip(blocks[1:], paths[1:], strict=True):
        if not block.index.isin(blocks[0].index).any():
            raise ValueError(
                f"{paths[0]} and {path} have no item in common: ids of the one look like {blocks[0].index[0]!r}, of the "
                f"other like {block.index[0]!r}. They must be spelt alike."
            )
    whole = blocks[0] if len(blocks) == 1 else pd.concat(blocks, axis=1, sort=False)
    if whole.columns.has_duplicates:
        raise ValueError(
            f"Two of the files have the column {whole.columns[whole.columns.duplicated()][0]!r}. Rename the block in one."
        )
    return whole.rename_axis(index=id_column)


def with_all_blocks(X: pd.DataFrame, model: Any) -> pd.DataFrame:
    """Add columns of NaN for modalities that the model knows and no item has.

    Parameters
    ----------
    X : DataFrame
        From `read_features`.
    model : estimator
        Fitted; what is not an encoder, or begins with one, is left to check its columns itself.

    Returns
    -------
    DataFrame
        With the columns of `fit`.

    Raises
    ------
    ValueError
        If single columns are missing, or whole modalities from an encoder that takes complete items only.
    """
    encoder = model[0] if hasattr(model, "steps") else model
    known = np.asarray(getattr(encoder, "feature_names_in_", ()), dtype=object)
    missing = getattr(encoder, "missing", None)
    blocks = {name: known[columns].tolist() for name, columns in block_columns(known.tolist()).items()}
    absent = {name: [one for one in names if one not in X.columns] for name, names in blocks.items()}
    absent = {name: lacking for name, lacking in absent.items() if lacking}
    if missing is None or not absent:
        return X
    partly = [name for name, lacking in absent.items() if len(lacking) < len(blocks[name])]
    if partly or missing == "error" or len(absent) == len(blocks):
        name = (partly or list(absent))[0]
        raise ValueError(
            f"The features lack {len(absent[name])} of the {len(blocks[name])} columns of the {name} modality that the "
            f"model was fitted on, such as {absent[name][0]}; they have {_listed(X.columns)}."
        )
    return X.reindex(columns=known)


def read_interactions(
    path: Path, item: str, user: str, item_ids: Any = None, *, drop_unknown: bool = False
) -> tuple[Interactions, int]:
    """Read who took what.

    Parameters
    ----------
    path : Path
        A table with one row an interaction.
    item, user : str
        Columns that hold the ids.
    item_ids : array-like, optional
        The catalogue.
    drop_unknown : bool, default=False
        Whether to leave out interactions with other items.

    Returns
    -------
    interactions : Interactions
        Items x users.
    n_dropped : int
        How many rows were left out.

    Raises
    ------
    ValueError
        If a column is missing or empty, or items are unknown.
    """
    frame = _read(path, [item, user])
    for column in (item, user):
        if column not in frame.columns:
            raise ValueError(
                f"{path} has no column {column!r}; it has {_listed(frame.columns)}. Say with --item and --user which "
                "columns hold the ids."
            )
    frame = frame[[item, user]].dropna().astype(str)
    n_dropped = 0
    if item_ids is not None:
        unknown = ~frame[item].isin(item_ids)
        n_dropped = int(unknown.sum())
        if n_dropped and not drop_unknown:
            raise ValueError(
                f"{path}: {n_dropped} of {len(frame)} interactions are with items that have no features, such as "
                f"{frame[item][unknown].iloc[0]!r}; ids with features look like {str(item_ids[0])!r}. If that is right, "
                "leave them out with --drop-unknown."
            )
        frame = frame[~unknown]
    return Interactions.from_frame(frame, item=item, user=user, item_ids=item_ids), n_dropped


def write_items(frame: pd.DataFrame, path: Path) -> None:
    """Write a table with one row an item; the file is there whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        The index holds the ids.
    path : Path
        Ends in .parquet or .csv; or in .npz for an array ``ids`` and one array a block.
    """
    with whole_file(path) as unfinished:
        if path.suffix == ".npz":
            blocks = {
                name: frame.iloc[:, columns].to_numpy() for name, columns in block_columns(list(frame.columns)).items()
            }
            np.savez(unfinished, **blocks, ids=frame.index.to_numpy(dtype=str))  # type: ignore[arg-type]
        else:
            _write(frame.reset_index(), unfinished)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write any table; the file is there whole or not at all.

    Parameters
    ----------
    frame : DataFrame
        Its index is left out.
    path : Path
        Ends in .parquet, .csv or .npz.
    """
    with whole_file(path) as unfinished:
        if path.suffix == ".npz":
            columns = {name: frame[name].to_numpy() for name in frame}
            texts = {name: values.astype(str) for name, values in columns.items() if values.dtype.kind not in "biuf"}
            np.savez(unfinished, **{**columns, **texts})  # type: ignore[arg-type]
        else:
            _write(frame, unfinished)


def check_output(path: Path, endings: Sequence[str] = WRITES) -> None:
    """Refuse an output that cannot be written before anything is computed.

    Parameters
    ----------
    path : Path
        Where to.
    endings : sequence of str, default=(".parquet", ".csv", ".npz")
        What the name may end in; empty for anything.

    Raises
    ------
    ValueError
        If it ends otherwise.
    OSError
        If there is no such folder, or the path is a folder.
    """
    if endings and path.suffix not in endings:
        raise ValueError(f"{path} must end in {' or '.join(endings)}, which says the format.")
    check_place(path)


def _read(path: Path, ids: Sequence[str]) -> pd.DataFrame:
    """Read a table; columns of ids are text where the format does not say."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if not path.name.endswith(READS):
        raise ValueError(f"{path} must end in {', '.join(READS)}: modalsplit reads no other formats.")
    try:
        if path.suffix in {".npy", ".npz"}:
            return _read_numpy(path, ids[0])
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=dict.fromkeys(ids, str))
    except Exception as error:  # readers raise nearly anything at a damaged file
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_numpy(path: Path, id_column: str) -> pd.DataFrame:
    """Read blocks of an archive with their ids, or one matrix, whose rows are numbered."""
    with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        arrays = dict(found) if path.suffix == ".npz" else {path.stem: found}
    ids = arrays.pop("ids", None)
    if any(array.ndim != 2 for array in arrays.values()) or not arrays:
        raise ValueError(f"it holds arrays of the shapes {[a.shape for a in arrays.values()]}, not one matrix a block")
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError(
            f"its blocks have {[len(a) for a in arrays.values()]} rows, and must have one row an item each"
        )
    blocks = [pd.DataFrame(array, columns=block_names(name, array.shape[1])) for name, array in arrays.items()]
    frame = pd.concat(blocks, axis=1)
    frame.insert(0, id_column, np.arange(len(frame)) if ids is None else ids)
    return frame


def _as_blocks(frame: pd.DataFrame, path: Path, is_alone: bool) -> pd.DataFrame:
    """Check that the columns are numbers in named blocks; a file beside others is a block of its own."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    if texts:
        raise ValueError(
            f"{path}: column {texts[0]!r} holds no numbers. modalsplit featurize makes numbers of texts and pictures."
        )
    if block_columns(list(frame.columns)):
        return frame
    if is_alone:
        raise ValueError(
            f"{path}: the columns have no block names such as image__0; they are {_listed(frame.columns)}. Name them "
            "so, or give one file a modality."
        )
    return frame.set_axis(block_names(path.name.partition(".")[0], frame.shape[1]), axis=1)


def _write(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def _listed(columns: Any) -> str:
    names = [str(name) for name in columns]
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
