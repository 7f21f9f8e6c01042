"""How an expected error reaches a person: one line on stderr, a non-zero exit code, no traceback."""

from __future__ import annotations

import difflib
import os
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
    known = {f"SALLYPORT_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(name for name in os.environ if name.startswith("SALLYPORT_") and name not in known):
        # A misspelt one would be the default without a word, and some of them are about who may get in.
        like = difflib.get_close_matches(name, known, 1)
        fail(f"{name} is no setting{f': did you mean {like[0]}?' if like else ''}")
    try:
        return settings_for(Settings(), site)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fail(f"SALLYPORT_{str(first['loc'][0]).upper()}: {first['msg'][:1].lower()}{first['msg'][1:]}")
