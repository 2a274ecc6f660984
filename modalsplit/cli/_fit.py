"""``modalsplit fit``: features, and who took what -> a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modalsplit.cli._errors import reported, say
from modalsplit.cli._options import Id, Quiet


@reported
def fit(
    features: Annotated[
        list[Path], typer.Argument(help="Features of the items: one file with named blocks, or one file a modality.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the model goes, such as model.safetensors.")],
    interactions: Annotated[
        Path | None, typer.Option(help="Table with one row an interaction; with it, a recommender is fitted too.")
    ] = None,
    item: Annotated[str, typer.Option(help="Column of the interactions that holds the item's id.")] = "item_id",
    user: Annotated[str, typer.Option(help="Column of the interactions that holds the user's id.")] = "user_id",
    drop_unknown: Annotated[
        bool, typer.Option(help="Leave out interactions with items that have no features.")
    ] = False,
    components: Annotated[
        str, typer.Option(help='Columns of each part: a number or "auto"; "most" for up to 150.')
    ] = "most",
    objective: Annotated[
        Literal["stable", "cca"], typer.Option(help="stable learns features where that helps; cca is linear and fast.")
    ] = "stable",
    missing: Annotated[
        Literal["error", "translate", "nan"], typer.Option(help="What to do with an item that lacks a modality.")
    ] = "translate",
    seed: Annotated[int, typer.Option(help="Makes results repeatable.")] = 0,
    id_column: Id = "item_id",
    quiet: Quiet = False,
) -> None:
    """Split the modalities of items into what they share and what is specific to each; learn to recommend from both.

    \b
    modalsplit fit features.parquet -o encoder.safetensors
    modalsplit fit image.parquet text.parquet --components 64 -o encoder.safetensors
    modalsplit fit image.npy text.npy --objective cca -o encoder.safetensors
    modalsplit fit features.parquet --interactions taken.csv -o model.safetensors
    """
    from sklearn.pipeline import Pipeline

    from modalsplit.cli._tables import check_output, read_features, read_interactions
    from modalsplit.encoder import DisentangledModalityEncoder
    from modalsplit.persistence import save

    check_output(output, ())
    X = read_features(features, id_column)
    encoder = DisentangledModalityEncoder(
        _components(components), objective=objective, missing=missing, random_state=seed, verbose=not quiet
    )
    steps: list[tuple[str, Any]] = [("disentangle", encoder)]
    y = None
    if interactions is not None:
        from modalsplit.recommend import AttentiveBPR

        y, n_dropped = read_interactions(interactions, item, user, X.index, drop_unknown=drop_unknown)
        say(f"{y.nnz} interactions of {y.shape[1]} users" + (f"; {n_dropped} left out" if n_dropped else ""))
        steps.append(("recommend", AttentiveBPR(random_state=seed, verbose=not quiet)))
    model = Pipeline(steps).set_output(transform="pandas").fit(X, y)
    save(model, output)
    say(
        f"{' and '.join(encoder.modality_names_)} of {len(X)} items share {encoder.common_rank_} directions; residual share "
        f"{encoder.residual_share_:.3f} (covariance that the specific parts still carry: 0 is best)"
    )
    say(f"Model -> {output}")


def _components(text: str) -> int | Literal["auto"] | None:
    if text == "most":
        return None
    if text == "auto":
        return "auto"
    if not text.isdigit() or not int(text):
        raise typer.BadParameter(
            f'{text!r} is neither a positive number nor "auto" nor "most".', param_hint="--components"
        )
    return int(text)
