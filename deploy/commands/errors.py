"""How an expected error reaches a person: one line on stderr, a non-zero exit code, no traceback."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with one line."""
    typer.echo(f"sallyport: {message}", err=True)
    raise typer.Exit(code)
