"""``modalsplit featurize``: texts and pictures of items -> numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modalsplit.cli._errors import reported, say
from modalsplit.cli._options import Id, Quiet
from modalsplit.cli._pictures import IMAGE, with_paths

if TYPE_CHECKING:
    import pandas as pd

SHOWN_FAILURES = 5


@reported
def featurize(
    items: Annotated[Path, typer.Argument(help="Table with one row an item: .csv, .tsv or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the features go: .parquet, .csv or .npz.")],
    text: Annotated[list[str] | None, typer.Option(help="Column of texts; may be given more than once.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Column with paths of pictures; may be repeated.")] = None,
    image_folder: Annotated[
        Path | None,
        typer.Option(help="Where paths of pictures start. Without --image, it holds pictures named by the items' ids."),
    ] = None,
    text_model: Annotated[
        str, typer.Option(help='"tfidf", "sentence" (all-MiniLM-L6-v2), or a file of GloVe vectors.')
    ] = "tfidf",
    text_columns: Annotated[int, typer.Option(min=1, help="Columns that TF-IDF is reduced to.")] = 100,
    image_model: Annotated[str, typer.Option(help="A classifier of torchvision, by name.")] = "vgg19",
    image_weights: Annotated[
        str, typer.Option(help="File with its weights; DEFAULT downloads torchvision's once.")
    ] = "DEFAULT",
    featurizers: Annotated[
        Path | None, typer.Option(help="Featurizers from an earlier run, for new items; replaces the options above.")
    ] = None,
    save_featurizers: Annotated[Path | None, typer.Option(help="Where to keep them for new items.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps what the network has read.")] = None,
    id_column: Id = "item_id",
    quiet: Quiet = False,
) -> None:
    """Make numbers of the texts and pictures of items: one block of columns for each column of ITEMS.

    \b
    modalsplit featurize items.csv --text title --image photo -o features.parquet
    modalsplit featurize items.csv --text title --image-folder photos --cache .cache -o features.parquet
    modalsplit featurize items.csv --text title --save-featurizers texts.safetensors -o features.parquet
    modalsplit featurize new.csv --featurizers texts.safetensors -o new-features.parquet

    A missing text, or a picture that cannot be read, becomes a row of NaN in that block.
    """
    from modalsplit.cli._tables import check_output, read_items, write_items
    from modalsplit.persistence import load, save

    check_output(output)
    if save_featurizers is not None:
        check_output(save_featurizers, ())
    frame = read_items(items, id_column)
    if featurizers is not None:
        transformer = load(featurizers)
        frame = with_paths(frame, _picture_columns(transformer), image_folder, items.parent)
        features = transformer.transform(frame)
    else:
        pictures = image or ([IMAGE] if image_folder is not None else [])
        frame = with_paths(frame, pictures, image_folder, items.parent)
        made = {
            **{name: _text_featurizer(text_model, text_columns, cache, quiet) for name in text or []},
            **{name: _image_featurizer(image_model, image_weights, cache, quiet) for name in pictures},
        }
        transformer = _column_transformer(made, frame)
        features = transformer.fit_transform(frame)
    if save_featurizers is not None:
        save(transformer, save_featurizers)
    write_items(features, output)
    _summarise(transformer, features, output)


def _column_transformer(featurizers: dict[str, Any], frame: pd.DataFrame) -> Any:
    from sklearn.compose import ColumnTransformer

    if not featurizers:
        raise ValueError("Nothing to do: name a column with --text or --image, or give --image-folder.")
    missing = [name for name in featurizers if name not in frame.columns]
    if missing:
        raise ValueError(f"The items have no column {missing[0]!r}; they have {', '.join(map(str, frame.columns))}.")
    named = [name for name in featurizers if "__" in name]
    if named:
        raise ValueError(f"A column that becomes a block must not have __ in its name: rename {named[0]!r}.")
    transformer = ColumnTransformer([(name, one, name) for name, one in featurizers.items()], sparse_threshold=0)
    return transformer.set_output(transform="pandas")


def _text_featurizer(model: str, n_columns: int, cache: Path | None, quiet: bool) -> Any:
    from modalsplit.featurize import GloveFeaturizer, SentenceTransformerFeaturizer, TfidfFeaturizer

    if model == "tfidf":
        return TfidfFeaturizer(n_columns)
    if model == "sentence":
        return SentenceTransformerFeaturizer(cache_dir=cache, verbose=not quiet)
    if not Path(model).is_file():
        raise ValueError(
            f'--text-model must be "tfidf", "sentence" or a file of word vectors, but there is no {model}.'
        )
    return GloveFeaturizer(model, pooling="sif", cache_dir=cache)


def _image_featurizer(model: str, weights: str, cache: Path | None, quiet: bool) -> Any:
    from modalsplit.featurize import TorchvisionFeaturizer, VGG19Featurizer

    options: dict[str, Any] = {"weights": weights, "cache_dir": cache, "verbose": not quiet}
    return VGG19Featurizer(**options) if model == "vgg19" else TorchvisionFeaturizer(model, **options)


def _picture_columns(transformer: Any) -> list[str]:
    from sklearn.compose import ColumnTransformer

    if not isinstance(transformer, ColumnTransformer):
        raise ValueError(f"--featurizers holds a {type(transformer).__name__}, not what --save-featurizers wrote.")
    return [column for _, one, column in transformer.transformers_ if getattr(one, "_noun", "") == "picture"]


def _summarise(transformer: Any, features: pd.DataFrame, output: Path) -> None:
    from modalsplit.blocks import block_columns

    for name, columns in block_columns(list(features.columns)).items():
        block = features.iloc[:, columns]
        n_missing = int(block.isna().any(axis=1).sum())
        say(f"{name}: {block.shape[1]} columns" + (f", {n_missing} items without" if n_missing else ""))
        failures = getattr(transformer.named_transformers_[name], "failed_", [])
        for failure in failures[:SHOWN_FAILURES]:
            say(f"  {failure.id}: {failure.reason}. {failure.mend}")
        if len(failures) > SHOWN_FAILURES:
            say(f"  ... and {len(failures) - SHOWN_FAILURES} more")
    say(f"{len(features)} items -> {output}")
