"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Id = Annotated[str, typer.Option("--id", help="Column that holds the ids of the items.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
