"""A bar for work that is measured in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from deploy.archive import Advance


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int], Advance]]:
    """Gives what begins the bar, once the number of bytes is known; that gives what moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def begin(total: int) -> Advance:
            task = progress.add_task(what, total=total)
            return lambda more: progress.advance(task, more)

        yield begin
