"""The command ``modalsplit``: files in, files out."""

from __future__ import annotations


def main() -> None:
    """Run the command line.

    Raises
    ------
    SystemExit
        With 0 if all went well, 1 if data or files are wrong, 2 for wrong usage.
    """
    try:
        import typer  # noqa: F401
    except ImportError:
        raise SystemExit("The command line needs typer: pip install 'modalsplit[cli]'") from None
    from modalsplit.cli._app import app

    app()
