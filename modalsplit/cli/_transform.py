"""``modalsplit transform``: features -> common and specific parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modalsplit.cli._errors import reported, say
from modalsplit.cli._options import Id


@reported
def transform(
    model: Annotated[Path, typer.Argument(help="What modalsplit fit, or modalsplit.save in Python, wrote.")],
    features: Annotated[list[Path], typer.Argument(help="Features of the items, as for fit; they may be new items.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the parts go: .parquet, .csv or .npz.")],
    parts: Annotated[Literal["all", "common", "specific"], typer.Option(help="Which parts to write.")] = "all",
    id_column: Id = "item_id",
) -> None:
    """Compute the common and the specific part of each modality, for any downstream model.

    \b
    modalsplit transform model.safetensors features.parquet -o embeddings.parquet
    modalsplit transform model.safetensors new.parquet --parts common -o common.npz
    modalsplit transform model.safetensors image.parquet -o embeddings.parquet

    A modality that the files do not have is missing for all items, as fit --missing says.
    The columns are image_common__0, ..., text_specific__0, ...; in .npz there is an array a block, and ids.
    """
    from modalsplit.cli._tables import check_output, read_features, with_all_blocks, write_items
    from modalsplit.persistence import load

    check_output(output)
    X = read_features(features, id_column)
    encoder = _encoder_of(load(model), model)
    Z = encoder.set_output(transform="pandas").transform(with_all_blocks(X, encoder))
    if parts != "all":
        Z = Z[[name for name in Z if f"_{parts}__" in name]]
    write_items(Z, output)
    say(f"{len(Z)} items, {Z.shape[1]} columns -> {output}")


def _encoder_of(model: Any, path: Path) -> Any:
    """Leave out the recommender at the end, if there is one."""
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline) and not hasattr(model[-1], "transform") and len(model) > 1:
        model = model[:-1]
    if not hasattr(model, "transform"):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, which makes no parts. Give what modalsplit fit wrote."
        )
    return model
