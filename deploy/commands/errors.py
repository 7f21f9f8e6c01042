"""How an expected error reaches a person: one line on stderr, a non-zero exit code, no traceback."""

from __future__ import annotations

from typing import NoReturn

import typer
from pydantic import ValidationError

from deploy.sites import settings_for
from schemas.settings import Settings


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with one line."""
    typer.echo(f"sallyport: {message}", err=True)
    raise typer.Exit(code)


def settings_given(site: str | None = None) -> Settings:
    """The settings of the environment, with a command's `--site` in them; a wrong one ends the command."""
    try:
        return settings_for(Settings(), site)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fail(f"SALLYPORT_{str(first['loc'][0]).upper()}: {first['msg'][:1].lower()}{first['msg'][1:]}")
