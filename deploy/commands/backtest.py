"""`sallyport backtest`: events from a file to the alerts that they lead to, by the workers' own code, without a bus."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.candidate import CandidateError, load_candidate
from deploy.commands.errors import fail, settings_given
from deploy.private_files import text_out
from deploy.sites import load_site
from producers.event_json import Parsed, parse_of_several
from schemas.agreements import SiteError
from schemas.site import Agency, Site
from streams.backtest import Alert, AsItWent, Backtest, InTheEnd, Rules, facts_of, on_one_partition
from streams.identify import DeadLetter
from streams.records import Out
from streams.stage import PERSON

LINES: Final = 2_000
"""Lines that are read and identified in one go, by a process of their own."""
AHEAD: Final = 2
"""Goes that may wait for the one that folds them, besides one at each core."""
SHOWN: Final = 20
"""Problems that are shown; the rest is counted."""
UNITS: Final[Mapping[str, timedelta]] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
MOST_TICKS: Final = 100_000
"""Ticks between two events; beyond, time makes a step."""


class Read(NamedTuple):
    """One event: when it happened and what it puts on the logs, or what is wrong with it."""

    time: int
    facts: Sequence[Out]
    problem: str


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
    done, 1 some lines are no events of the site (each is told, the others count), 2 can't begin.

    Example: sallyport backtest events.jsonl --site demo --tick 1h --final
    """
    try:
        described = on_one_partition(load_site(settings_given(site)))
        rules = _rules(rule)
    except (SiteError, CandidateError) as error:
        fail(str(error))
    step = _step(tick)
    counts = _Counts()
    try:
        with ExitStack() as opened:
            lines = sys.stdin if str(file) == "-" else opened.enter_context(file.open(encoding="utf-8"))
            told = opened.enter_context(text_out(out))
            test: Backtest = InTheEnd(described, rules) if final else AsItWent(described, rules)
            for alert in _alerts(test, _read(lines, described, opened), step, counts):
                told.write(json.dumps(alert, ensure_ascii=False) + "\n")
                counts.alerts[alert["state"]] += 1
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror or error}")
    except UnicodeDecodeError as error:
        fail(f"{file}: not UTF-8 at byte {error.start}: save it as UTF-8")
    _tell(counts, as_json)
    raise typer.Exit(1 if counts.wrong else 0)


@dataclass(slots=True)
class _Counts:
    """What was read and found."""

    events: int = 0
    wrong: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    """By state."""
    problems: list[str] = field(default_factory=list)
    """The first of what was wrong."""


def _rules(rule: Path | None) -> Rules:
    if rule is None:
        return Rules()
    candidate = load_candidate(rule)
    return Rules((candidate.correlation,), ()) if candidate.stage == PERSON else Rules((), (candidate.correlation,))


def _step(tick: str) -> int:
    """A duration in microseconds."""
    number, unit = tick[:-1], tick[-1:]
    if not number.isdecimal() or int(number) == 0 or unit not in UNITS:
        fail(f"--tick: {tick!r} is no duration such as 30m, 1h or 1d")
    return int(number) * (UNITS[unit] // timedelta(microseconds=1))


# -- reading ---------------------------------------------------------------------------------------------------------


def _read(lines: Iterable[str], site: Site, opened: ExitStack) -> Iterator[list[Read]]:
    """The lines, identified by other processes, in their order."""
    numbered = enumerate(lines, start=1)
    work = iter(lambda: list(islice(numbered, LINES)), [])
    # One for each core: with --final a line takes longer to read than to fold, so that who folds mostly waits.
    cores = os.cpu_count() or 1
    pool = opened.enter_context(ProcessPoolExecutor(cores))
    opened.callback(pool.shutdown, wait=False, cancel_futures=True)
    under_way = [pool.submit(_identified, site, some) for some in islice(work, cores + AHEAD)]
    while under_way:
        done = under_way.pop(0).result()
        under_way += [pool.submit(_identified, site, some) for some in islice(work, 1)]
        yield done


def _identified(site: Site, lines: Sequence[tuple[int, str]]) -> list[Read]:
    """In a process of its own: what each event puts on the logs; a line is one event, or an array of them."""
    by_ori = {agency.ori: agency for agency in site.agencies}
    return [_one(number, parsed, site, by_ori) for number, line in lines for parsed in parse_of_several(line, by_ori)]


def _one(number: int, parsed: Parsed, site: Site, by_ori: Mapping[str, Agency]) -> Read:
    if parsed.event is None:
        return Read(0, (), f"{replace(parsed.problems[0], line=number)}")
    facts = facts_of(parsed.event, by_ori[parsed.event.head.ori], site)
    if isinstance(facts, DeadLetter):
        return Read(0, (), f"line {number}: {facts.detail}")
    return Read(parsed.event.head.time, facts, "")


# -- telling ---------------------------------------------------------------------------------------------------------


def _alerts(test: Backtest, chunks: Iterable[list[Read]], step: int, counts: _Counts) -> Iterator[Alert]:
    """The alerts that events and time lead to. The clock is the latest event's."""
    now = 0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Events", total=None)
        for chunk in chunks:
            for read in chunk:
                if read.problem:
                    counts.wrong += 1
                    counts.problems += [read.problem] if len(counts.problems) < SHOWN else []
                    continue
                counts.events += 1
                for time in _ticks(now, read.time, step):
                    now = time
                    yield from test.advance(time)
                yield from test.tell(read.facts)
            progress.advance(task, len(chunk))
        # The end of the step in which the last of them happened.
        yield from test.advance(now + step)
        yield from test.end()


def _ticks(now: int, time: int, step: int) -> Iterable[int]:
    """The ticks between the last one and an event: at every whole step, the last of them before it."""
    last = time - time % step
    if now == 0 or last - now > MOST_TICKS * step:
        return (last,) if last > now else ()
    return range(now + step, last + 1, step)


def _tell(counts: _Counts, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"events": counts.events, "wrong": counts.wrong, "alerts": dict(counts.alerts)}
        typer.echo(json.dumps({**told, "problems": counts.problems}), err=True)
        return
    for problem in counts.problems:
        typer.echo(f"sallyport: {problem}", err=True)
    if counts.wrong > len(counts.problems):
        typer.echo(f"sallyport: and {counts.wrong - len(counts.problems)} more", err=True)
    records = ", ".join(f"{number:,} {state.lower()}" for state, number in sorted(counts.alerts.items())) or "no alert"
    typer.echo(f"sallyport: {counts.events:,} events: {records}", err=True)
