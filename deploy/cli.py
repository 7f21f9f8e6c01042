"""The command `sallyport`: its parts, and how errors reach a person."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

from streams.garbage import collect_seldom

PARTS: Final = (
    "up",
    "provision",
    "worker",
    "publish",
    "watch",
    "topics",
    "doctor",
    "metrics",
    "trace",
    "shadow",
    "backtest",
    "simulate",
    "backup",
    "restore",
    "explain",
    "replay",
    "import",
    "dlq",
)
"""What a person types. Each is what its module in `deploy.commands` calls so: a function, or an app of its own."""


class _Parts(Mapping[str, Any]):
    """The commands by their names, each imported when it is asked for: all of them together take a second to import,
    and one is run."""

    def __getitem__(self, name: str) -> Any:
        if name not in PARTS:
            raise KeyError(name)
        written = f"{name}_" if name == "import" else name
        module = import_module(f"deploy.commands.{written}")
        part = getattr(module, f"{name}_app", None)
        if part is None:
            part = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
            part.command()(getattr(module, written))
        command = typer.main.get_command(part)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(PARTS)

    def __len__(self) -> int:
        return len(PARTS)


class _Root(TyperGroup):
    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.commands = _Parts()  # type: ignore[assignment]  # nothing is added to it


app = typer.Typer(
    name="sallyport",
    help="An event-streaming intelligence bus between law enforcement and corrections.",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _root() -> None:
    """There is nothing to be done for all commands."""


def main() -> None:
    """Entry point: people get one line for an error, never a traceback."""
    # Importing makes many objects, and none of them is garbage.
    collect_seldom()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
