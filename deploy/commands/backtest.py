"""`sallyport backtest`: events from a file to the alerts that they lead to, by the workers' own code, without a bus."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.candidate import CandidateError, blamed, rules_of
from deploy.child_process import children, until_ctrl_c
from deploy.commands.errors import fail, settings_given
from deploy.event_lines import Lines, Read, in_goes, read_events
from deploy.private_files import text_out
from deploy.shared_backtest import SharedBacktest
from deploy.sites import load_site
from producers.event_json import Problem
from schemas.agreements import SiteError
from schemas.site import Site
from streams.backtest import Alert, AsItWent, on_one_partition

AHEAD: Final = 2
"""Goes that may wait for the one that processes them, besides one at each core."""
SHOWN: Final = 20
"""Problems that are shown; the rest is counted."""
UNITS: Final[Mapping[str, timedelta]] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
LONGEST: Final = timedelta(days=365)
"""The longest time between two ticks, in whole days."""
DIGITS: Final = len(str(LONGEST // timedelta(seconds=1)))
"""Of the longest number that may be given, one of seconds."""
MOST_TICKS: Final = 100_000
"""Ticks between two events; beyond, time makes a step."""


def backtest(
    file: Annotated[
        Path,
        typer.Argument(
            help="Events as JSON Lines, each with head.ori; a line may be an array; - reads standard input."
        ),
    ],
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    tick: Annotated[str, typer.Option(help="How often time is told: 1h, 30m, 1d.")] = "1h",
    final: Annotated[bool, typer.Option("--final", help="Only what is open at the end; much faster.")] = False,
    rule: Annotated[
        Path | None, typer.Option(help="A file of Python that declares CORRELATION: it alone is evaluated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where alerts are written as JSON Lines; - is standard output.")] = Path(
        "-"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Write the counts as JSON, to standard error.")] = False,
) -> None:
    """Tell what alerts a file of events would have led to: each record as it is raised, changed and withdrawn.

    No bus is needed, and none is touched. Events may come in any order; an event comes when it happens, and time goes
    on with the latest. Alerts hold personal data: a file of them is written so that only you read it. Exit codes: 0
    done, 1 some lines are no events of the site (each is told, the others count), 2 can't begin, or broke
    off: what was written till then is not all.

    Example: sallyport backtest events.jsonl --site demo --tick 1h --final
    """
    try:
        described = load_site(settings_given(site))
        rules = rules_of(rule)
    except (SiteError, CandidateError) as error:
        fail(str(error))
    step = _step(tick)
    counts = _Counts()
    try:
        with ExitStack() as opened:
            lines = sys.stdin.buffer if str(file) == "-" else opened.enter_context(file.open("rb"))
            told = opened.enter_context(text_out(out))
            goes = in_goes(lines)
            if final:
                shared = opened.enter_context(SharedBacktest(described, rules, rule))
                found = _in_the_end(shared, goes, step, counts)
            else:
                described = on_one_partition(described)
                found = _as_it_went(AsItWent(described, rules), _read(goes, described, opened), step, counts)
            with blamed(rule):
                for alert in found:
                    told.write(json.dumps(alert, ensure_ascii=False) + "\n")
                    counts.alerts[alert["state"]] += 1
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror or error}")
    except CandidateError as error:
        fail(str(error))
    except BrokenProcessPool:
        fail("one of its processes was ended from outside, mostly for want of memory: give it a part of the file")
    _tell(counts, as_json)
    raise typer.Exit(1 if counts.wrong else 0)


@dataclass(slots=True)
class _Counts:
    """What was read and found."""

    events: int = 0
    wrong: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    """By state."""
    problems: list[Problem] = field(default_factory=list)
    """The first of what was wrong, by line."""

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Note what was wrong in some lines."""
        self.wrong += len(problems)
        if problems:
            self.problems = sorted([*self.problems, *problems], key=lambda one: one.line)[:SHOWN]


def _step(tick: str) -> int:
    """A duration in microseconds."""
    number, unit = tick[:-1].lstrip("0"), tick[-1:]
    if not (number.isascii() and number.isdecimal()) or unit not in UNITS:
        fail(f"--tick: {tick!r} is no duration such as 30m, 1h or 1d")
    # By its digits first: neither a duration nor Python's reader of numbers takes any number of them.
    if len(number) > DIGITS or int(number) * UNITS[unit] > LONGEST:
        fail(f"--tick: time is told once in {LONGEST.days} days at least, as with {LONGEST.days}d")
    return int(number) * UNITS[unit] // timedelta(microseconds=1)


# -- as it went ------------------------------------------------------------------------------------------------------


def _read(goes: Iterator[Lines], site: Site, opened: ExitStack) -> Iterator[list[Read]]:
    """The events, read by other processes, in their order."""
    cores = os.cpu_count() or 1
    pool = opened.enter_context(children(cores))
    under_way = [pool.submit(until_ctrl_c, _events, site, lines) for lines in islice(goes, cores + AHEAD)]
    while under_way:
        done = under_way.pop(0).result()
        under_way += [pool.submit(until_ctrl_c, _events, site, lines) for lines in islice(goes, 1)]
        yield done


def _events(site: Site, lines: Lines) -> list[Read]:
    return [*read_events(site, lines)]


def _as_it_went(test: AsItWent, chunks: Iterable[list[Read]], step: int, counts: _Counts) -> Iterator[Alert]:
    """The alerts that events and time lead to. The clock is the latest event's."""
    now = 0
    with _progress() as progress:
        task = progress.add_task("Events", total=None)
        for chunk in chunks:
            counts.refuse([read.problem for read in chunk if read.problem is not None])
            for read in chunk:
                if read.problem is not None:
                    continue
                counts.events += 1
                for time in _ticks(now, read.time, step):
                    now = time
                    yield from test.advance(time)
                yield from test.tell(read.facts)
            progress.advance(task, len(chunk))
        # The end of the step in which the last of them happened.
        yield from test.advance(now + step)


def _ticks(now: int, time: int, step: int) -> Iterable[int]:
    """The ticks between the last one and an event: at every whole step, the last of them before it."""
    last = time - time % step
    if now == 0 or last - now > MOST_TICKS * step:
        return (last,) if last > now else ()
    return range(now + step, last + 1, step)


# -- in the end ------------------------------------------------------------------------------------------------------


def _in_the_end(shared: SharedBacktest, goes: Iterator[Lines], step: int, counts: _Counts) -> Iterator[Alert]:
    """The alerts that are open at the end of the step in which the latest event happened."""
    latest = 0
    with _progress() as progress:
        task = progress.add_task("Lines", total=None)
        for share in shared.read(goes):
            counts.refuse(share.problems)
            counts.events += share.events
            latest = max(latest, share.latest)
            progress.advance(task, share.lines)
        progress.add_task("Evaluating", total=None)
        yield from shared.end(latest - latest % step + step)


# -- telling ---------------------------------------------------------------------------------------------------------


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _tell(counts: _Counts, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"events": counts.events, "wrong": counts.wrong, "alerts": dict(counts.alerts)}
        typer.echo(json.dumps({**told, "problems": [str(one) for one in counts.problems]}), err=True)
        return
    for problem in counts.problems:
        typer.echo(f"sallyport: {problem}", err=True)
    if counts.wrong > len(counts.problems):
        typer.echo(f"sallyport: and {counts.wrong - len(counts.problems)} more", err=True)
    records = ", ".join(f"{number:,} {state.lower()}" for state, number in sorted(counts.alerts.items())) or "no alert"
    typer.echo(f"sallyport: {counts.events:,} events: {records}", err=True)
