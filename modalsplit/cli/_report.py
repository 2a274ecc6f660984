"""``modalsplit report``: a model and the items -> a page to browse the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modalsplit.cli._errors import reported, say
from modalsplit.cli._options import Id
from modalsplit.cli._pictures import IMAGE, with_paths

if TYPE_CHECKING:
    import pandas as pd


@reported
def report(
    model: Annotated[Path, typer.Argument(help="What modalsplit fit wrote; users' lists need --interactions there.")],
    items: Annotated[Path, typer.Argument(help="Table with one row an item: what to show of it.")],
    features: Annotated[list[Path], typer.Argument(help="Features of the items, as for fit.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the page goes: .html.")],
    title: Annotated[str | None, typer.Option(help='Column with names; by default "title" if there is one.')] = None,
    text: Annotated[
        list[str] | None, typer.Option(help='Column of texts; may be repeated; by default "text" if there is one.')
    ] = None,
    image: Annotated[
        str | None, typer.Option(help='Column with paths of pictures; by default "image" if there is one.')
    ] = None,
    image_folder: Annotated[
        Path | None,
        typer.Option(help="Where paths of pictures start. Without such a column, it holds pictures named by id."),
    ] = None,
    heading: Annotated[str, typer.Option(help="Title of the page.")] = "Catalogue",
    max_items: Annotated[int, typer.Option(min=1, help="If there are more, the most popular are shown.")] = 500,
    users: Annotated[int, typer.Option(min=0, help="How many users' lists to show.")] = 50,
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page if it is there.")] = False,
    id_column: Id = "item_id",
) -> None:
    """Write one HTML file to browse the catalogue: items, what is alike in which part, and users' lists.

    \b
    modalsplit report model.safetensors items.csv features.parquet -o catalogue.html
    modalsplit report model.safetensors items.csv features.parquet --text title --image-folder photos -o catalogue.html
    modalsplit report model.safetensors items.csv image.parquet text.parquet --overwrite -o catalogue.html

    The page needs nothing beside it, and asks no server for anything.
    """
    from modalsplit.cli._tables import check_output, read_features, read_items, with_all_blocks
    from modalsplit.persistence import load
    from modalsplit.reporting import report as write

    check_output(output, (".html", ".htm"))
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} is there already. Name another file, or add --overwrite.")
    fitted = load(model)
    X = with_all_blocks(read_features(features, id_column), fitted)
    frame = _shown(read_items(items, id_column), X, items)
    frame = with_paths(frame, [image or IMAGE], image_folder, items.parent)
    write(
        fitted,
        frame,
        None,
        output,
        features=X,
        title_column=title,
        text_columns=text or None,
        image_column=image,
        heading=heading,
        max_items=max_items,
        users=users,
        k=k,
        overwrite=overwrite,
    )
    say(f"{min(len(frame), max_items)} of {len(frame)} items, {output.stat().st_size / 1e6:.1f} MB -> {output}")


def _shown(frame: pd.DataFrame, features: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Bring the items into the order of their features."""
    unknown = ~features.index.isin(frame.index)
    if unknown.any():
        raise ValueError(
            f"{path} lacks {unknown.sum()} of the {len(features)} items that have features, such as "
            f"{features.index[unknown][0]!r}; its ids look like {frame.index[0]!r}."
        )
    return frame.loc[features.index]
