"""`sallyport backup`: everything that the bus on this machine is, in one file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.archive import ArchiveError, Head
from deploy.backup import BackedUp, back_up
from deploy.commands.errors import fail, settings_given
from deploy.commands.interrupted import ended_as_by_ctrl_c
from deploy.commands.progress import bar
from deploy.embedded import BusError

NOT_BACK = 3
"""Exit code: the backup is whole, the bus that was paused for it does not run."""


def backup(
    target: Annotated[
        str, typer.Argument(help="A directory, in which the file is named by machine, bus and time; a new file; or -.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Back up the bus of SALLYPORT_HOME into one file: log, schemas, passwords, certificates, spools.

    A running `sallyport up` is paused for it, as long as a stop and a start take: workers and broker end cleanly, a
    snapshot is taken, and all goes on while the file is written. Publishers and desks wait meanwhile. The file holds
    everything, personal data and passwords: keep it as you keep the bus. Exit codes: 0 done, 2 not backed up, 3 backed
    up, but the bus did not come back.

    Example: sallyport backup /mnt/backup
    """
    settings = settings_given()
    if not settings.embedded:
        fail("SALLYPORT_EMBEDDED is false: Kafka and registry are backed up by whoever runs them")
    to_stream = target == "-"
    if to_stream and (as_json or sys.stdout.isatty()):
        fail("standard output takes the archive: give it a file or a pipe, and no --json")
    ended_as_by_ctrl_c()
    console = Console(stderr=True)
    told = console if console.is_terminal and not as_json else Console(quiet=True)
    try:
        with bar(told, "Writing the backup") as begun:
            where = sys.stdout.buffer if to_stream else Path(target)
            done = back_up(settings, where, lambda text: told.print(text, highlight=False), begun)
    except ArchiveError as error:
        fail(f"the backup {error}")
    except BusError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or target}: {error.strerror or error}: nothing was backed up")
    _tell(done, as_json)
    if not done.runs:
        typer.echo(
            "sallyport: the backup is whole, but the bus was not started again: look at `sallyport up`", err=True
        )
        raise typer.Exit(NOT_BACK)


def _tell(done: BackedUp, as_json: bool) -> None:
    if done.file is None:
        return
    size = done.file.stat().st_size
    if as_json:
        told = {"file": str(done.file), "archive_size": size, "paused": done.paused, "runs": done.runs}
        typer.echo(json.dumps({**asdict(done.head), **told}, indent=2))
    else:
        typer.echo(f"Backed up {described(done.head)}, to {done.file} ({size / 1e6:.1f} MB)")


def described(head: Head) -> str:
    """What is in an archive, in a few words."""
    sites = ", ".join(head.sites) or "no site"
    return f"{sites} as of {head.made}: {head.files:,} files, {head.size / 1e6:.1f} MB"
