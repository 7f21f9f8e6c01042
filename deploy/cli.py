"""The command `sallyport`: its parts, and how errors reach a person."""

from __future__ import annotations

import sys

import typer

from deploy.commands.backtest import backtest
from deploy.commands.backup import backup
from deploy.commands.dlq import dlq_app
from deploy.commands.doctor import doctor
from deploy.commands.explain import explain
from deploy.commands.import_ import import_app
from deploy.commands.metrics import metrics
from deploy.commands.provision import provision
from deploy.commands.publish import publish
from deploy.commands.replay import replay
from deploy.commands.restore import restore
from deploy.commands.shadow import shadow
from deploy.commands.simulate import simulate
from deploy.commands.topics import topics
from deploy.commands.trace import trace
from deploy.commands.up import up
from deploy.commands.watch import watch
from deploy.commands.worker import worker

app = typer.Typer(
    name="sallyport",
    help="An event-streaming intelligence bus between law enforcement and corrections.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _root() -> None:
    """Keeps Typer from folding a single command into the root."""


for command in (
    up,
    provision,
    worker,
    publish,
    watch,
    topics,
    doctor,
    metrics,
    trace,
    shadow,
    backtest,
    simulate,
    backup,
    restore,
    explain,
    replay,
):
    app.command()(command)


app.add_typer(import_app, name="import")
app.add_typer(dlq_app, name="dlq")


def main() -> None:
    """Entry point: people get one line for an error, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
