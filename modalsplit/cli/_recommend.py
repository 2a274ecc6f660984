"""``modalsplit recommend``: a model -> items for users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modalsplit.cli._errors import reported, say


@reported
def recommend(
    model: Annotated[Path, typer.Argument(help="What modalsplit fit wrote, with --interactions.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where the list goes: .parquet, .csv or .npz. By default it is shown."),
    ] = None,
    user: Annotated[list[str] | None, typer.Option(help="A user; may be repeated. By default all.")] = None,
    users: Annotated[Path | None, typer.Option(help="File with one user a line.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    include_seen: Annotated[bool, typer.Option(help="Recommend also what the user took already.")] = False,
) -> None:
    """Recommend items to users: a table with user_id, rank, item_id and score, best first.

    \b
    modalsplit recommend model.safetensors --user ann --user bob -k 5
    modalsplit recommend model.safetensors --users testers.txt -o lists.parquet
    modalsplit recommend model.safetensors > lists.csv
    """
    from modalsplit.cli._tables import check_output, write_table
    from modalsplit.persistence import load

    if output is not None:
        check_output(output)
    recommender = _recommender_of(load(model), model)
    wanted = [*(user or []), *(_lines(users) if users is not None else [])]
    table = _lists(recommender, wanted or None, k, exclude_seen=not include_seen)
    if output is None:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        write_table(table, output)
        say(f"{table['user_id'].nunique()} users, {len(table)} rows -> {output}")


def _recommender_of(model: Any, path: Path) -> Any:
    from sklearn.pipeline import Pipeline

    recommender = model[-1] if isinstance(model, Pipeline) else model
    if not hasattr(recommender, "recommend"):
        raise ValueError(
            f"{path} holds a {type(recommender).__name__} and no recommender. Fit one: modalsplit fit ... --interactions."
        )
    return recommender


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return [line for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if line]


def _lists(recommender: Any, users: list[str] | None, k: int, *, exclude_seen: bool) -> Any:
    import numpy as np
    import pandas as pd

    who = recommender.user_ids_
    if users is not None:  # texts here, whatever the ids were in fit
        known = {str(user): user for user in who}
        who = np.array([known.get(user, user) for user in users])
    ids, scores = recommender.recommend(who, k, exclude_seen=exclude_seen)
    table = pd.DataFrame(
        {
            "user_id": np.repeat(who, ids.shape[1]),
            "rank": np.tile(np.arange(1, ids.shape[1] + 1), len(ids)),
            "item_id": ids.ravel(),
            "score": scores.ravel(),
        }
    )
    return table[np.isfinite(table["score"])]  # a user who took nearly all has fewer than k left
