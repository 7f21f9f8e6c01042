"""`sallyport worker`: the stream workers of one site."""

from __future__ import annotations

import logging
import os
import time
from typing import Annotated

import typer

from deploy.child_process import end_with
from deploy.commands.errors import fail, settings_given
from deploy.nobody_told import untold
from deploy.sites import load_site
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError

GIVE_WAY = 10
"""Niceness of what works on history: on a machine that is busy, what happens now comes first."""


def worker(
    site: Annotated[str | None, typer.Option(help="The site to work for; default: SALLYPORT_SITE.")] = None,
    while_lives: Annotated[
        int | None, typer.Option("--while-lives", hidden=True, help="End when this process, which started it, ends.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say more of what it does.")] = False,
) -> None:
    """Run a worker of a site: it identifies, folds, raises alerts and discloses them, until a signal ends it.

    Start as many as you like, on as many machines: the partitions are shared out among them. Exit codes: 0 ended by a
    signal, 2 can't start, 3 another worker writes for what is its own, 4 broken, 5 stood still; `sallyport up` starts
    it again.

    Example: sallyport worker --site demo
    """
    if while_lives is not None:
        # Nothing is lost: what was not committed is aborted, and read again by the next worker.
        end_with(while_lives)
    # Faust reads its environment when it is imported; other commands need not wait for it.
    from streams.app import WorkerError, run_worker  # noqa: PLC0415

    line = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level="INFO" if verbose else "WARNING", format=line)
    # Under load a commit takes longer than the time between two: the next does it all. That is no news.
    logging.getLogger("mode.timers").setLevel("ERROR")
    try:
        settings = settings_given(site)
        described = load_site(settings)
        if described.clock == "history":
            os.nice(GIVE_WAY)
        else:
            # A county that runs must not stand still for it.
            for one in untold(described, time.time_ns() // 1000):
                logging.getLogger(__name__).warning("%s: %s", described.name, one.line)
        code = run_worker(settings, described)
    except (WorkerError, SiteError, SecretUnreadableError) as error:
        fail(str(error))
    raise typer.Exit(code)
