"""`sallyport restore`: a backup into an empty home."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console

from deploy.archive import ArchiveError, Head
from deploy.backup import check as check_archive
from deploy.backup import restore as restore_archive
from deploy.commands.backup import described
from deploy.commands.errors import fail, settings_given
from deploy.commands.interrupted import ended_as_by_ctrl_c
from deploy.commands.progress import bar
from deploy.embedded import BusError
from schemas.settings import Settings

DAMAGED = 1
"""Exit code: the archive was refused."""


def restore(
    file: Annotated[str, typer.Argument(help="A file that `sallyport backup` wrote; - reads it from standard input.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only read the file to its end and hold it to its manifest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Put a backup into SALLYPORT_HOME, which must be empty or new, on this machine or another.

    The whole file is verified before anything is in place, and a file that is refused leaves nothing. Then
    `sallyport up` goes on from where the backup was made. Exit codes: 0 done, 1 the file is refused, 2 can't.

    Example: sallyport restore /mnt/backup/sallyport-jail1-3f9ac214-20260301T021500Z.tar.gz
    """
    settings = settings_given()
    if not settings.embedded and not check:
        fail("SALLYPORT_EMBEDDED is false: a backup is of a bus that sallyport runs itself")
    ended_as_by_ctrl_c()
    console = Console(stderr=True)
    told = console if console.is_terminal and not as_json else Console(quiet=True)
    try:
        with _opened(file) as source, bar(told, "Reading the backup") as begun:
            head = check_archive(source, begun) if check else restore_archive(settings, source, begun)
    except ArchiveError as error:
        fail(f"{file} {error}", DAMAGED)
    except BusError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or settings.home}: {error.strerror or error}: nothing was restored")
    _tell(head, settings, check, as_json)


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source


def _tell(head: Head, settings: Settings, check: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**asdict(head), "restored": not check}, indent=2))
        return
    if check:
        typer.echo(f"Whole: {described(head)}")
        return
    typer.echo(f"Restored {described(head)}, into {settings.home}. `sallyport up` goes on from there.")
    kept = {name: settings.home / "sites" / name for name in head.sites}
    if any(path.exists() for path in kept.values()):
        given = " ".join(f"--site {path if path.exists() else name}" for name, path in kept.items())
        typer.echo(f"The files of your own sites are there, too: sallyport up {given}")
    if settings.secrets is not None:
        typer.echo(f"The passwords are in {settings.home / 'secrets'}: unset SALLYPORT_SECRETS, or copy them there.")
