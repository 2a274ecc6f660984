"""The commands, put together. Each lives in a file of its own, and imports what is heavy when it runs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from modalsplit.cli._doctor import doctor
from modalsplit.cli._errors import wants_traceback
from modalsplit.cli._featurize import featurize
from modalsplit.cli._fit import fit
from modalsplit.cli._recommend import recommend
from modalsplit.cli._report import report
from modalsplit.cli._transform import transform

app = typer.Typer(
    name="modalsplit",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # examples stay as they are written
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (doctor, featurize, fit, transform, recommend, report):
    app.command(no_args_is_help=command is not doctor)(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modalsplit {version('modalsplit')}")
        raise typer.Exit


@app.callback(epilog="Exit codes: 0 done, 1 something is wrong with data or files, 2 wrong usage.")
def modalsplit(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Split what the modalities of items share from what is specific to each, and recommend from both.

    \b
    modalsplit doctor items.csv
    modalsplit featurize items.csv --text title --image photo -o features.parquet
    modalsplit fit features.parquet --interactions taken.csv -o model.safetensors
    modalsplit transform model.safetensors features.parquet -o embeddings.parquet
    modalsplit recommend model.safetensors --user ann -k 5
    modalsplit report model.safetensors items.csv features.parquet -o catalogue.html
    """
    wants_traceback.set(traceback)
