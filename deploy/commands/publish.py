"""`sallyport publish`: events from JSON, validated, onto an agency's topics."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import track

from deploy.commands.errors import fail, settings_given
from deploy.sites import load_site
from producers.event_json import Parsed, Problem, parse
from producers.publisher import Publisher, PublishError, why_too_large
from producers.spool import SpoolFullError
from schemas import topics
from schemas.agreements import SiteError
from schemas.codec import event_body
from schemas.events import EVENT_TYPES, Event, type_name
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Agency, Site
from streams.identify import Source, refuse

SHOWN: Final = 20
"""Problems shown to a person; the rest is counted."""
CHUNK: Final = 500
"""Events accepted with one write to disk."""
LOOK_S: Final = 0.2
"""Seconds after which a wait for the bus looks whether it is still wanted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the events that were published."""

    accepted: int
    waiting: int
    """Events of this agency that wait in its spool, earlier ones included."""
    interrupted: bool


def publish(
    file: Annotated[Path, typer.Argument(help="JSON or JSON Lines; - reads standard input.")],
    as_agency: Annotated[str, typer.Option("--as", help="The agency that publishes.")],
    site: Annotated[
        str | None, typer.Option(help="The site, or the directory of one; default: SALLYPORT_SITE.")
    ] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="The type of events that do not say it.")] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Publish the good events; write the others to FILE.rejected.jsonl.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the bus; what then waits stays in the spool.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Publish events of an agency. Each is {"type": "HousingAssigned", "head": {"time": ..., "persons": [...]}, ...}.

    Unless --keep-going, nothing is published if any event is wrong. Exit codes: 0 published, 1 something is wrong with
    an event, 2 can't publish, 3 accepted, but the bus is away: the events wait in the spool and are sent next time.

    Example: sallyport publish events.jsonl --as county-jail
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        agency = described.agency_by_id.get(as_agency)
        if agency is None:
            fail(f"no agency {as_agency!r} on site {described.name}; there are {', '.join(described.agency_by_id)}")
        if event_type is not None and event_type not in EVENT_TYPES:
            fail(f"--type: no event type {event_type!r}; there are {', '.join(sorted(EVENT_TYPES))}")
        parsed = list(_fitting(parse(_read(file), agency, event_type), agency, described))
        bad = [one for one in parsed if one.problems]
        good = [one.event for one in parsed if one.event is not None]
        if bad and not keep_going:
            _show_problems(bad, as_json)
            raise typer.Exit(1)
        rejected = _reject(file, bad) if bad and not dry_run else None
        outcome = (
            Outcome(len(good), 0, False) if dry_run else _publish(good, settings, described, agency, wait, as_json)
        )
    except (SiteError, PublishError, SpoolFullError, SecretUnreadableError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror or error}")
    _tell(good[: outcome.accepted], outcome, len(bad), dry_run, as_json)
    if bad:
        where = f": see {rejected}" if rejected else ""
        typer.echo(f"sallyport: {len(bad)} {_events(len(bad))} wrong{where}", err=True)
    if outcome.waiting:
        typer.echo(f"sallyport: the bus is away: {_count(outcome.waiting)} in the spool, sent the next time", err=True)
    if outcome.interrupted:
        typer.echo(f"sallyport: interrupted: not accepted: {len(good) - outcome.accepted}", err=True)
        raise typer.Exit(130)
    raise typer.Exit(1 if bad else 3 if outcome.waiting else 0)


def _count(waiting: int) -> str:
    return "1 event waits" if waiting == 1 else f"{waiting} events wait"


def _events(count: int) -> str:
    return "event is" if count == 1 else "events are"


def _read(file: Path) -> str:
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{file}: not UTF-8 at byte {error.start}: save it as UTF-8", 1)


def _fitting(parsed: Iterator[Parsed], agency: Agency, site: Site) -> Iterator[Parsed]:
    """Events that the workers would set aside are said to be wrong here, where somebody sees it."""
    now = time.time_ns() // 1000
    for one in parsed:
        why = None if one.event is None else _unfit(one.event, agency, site, now)
        yield one if why is None else replace(one, event=None, problems=(Problem(one.line, "", why),))


def _unfit(event: Event, agency: Agency, site: Site, now: int) -> str | None:
    refused = refuse(event, _source(event, agency, site), site, now)
    return refused.detail if refused is not None else why_too_large(event_body(event))


def _source(event: Event, agency: Agency, site: Site) -> Source:
    return Source(topics.inbound(site.name, agency.id, type_name(event)), agency, type_name(event))


def _publish(
    events: Sequence[Event], settings: Settings, site: Site, agency: Agency, wait: float, quiet: bool
) -> Outcome:
    """Publish, and wait for the bus; with no events only what waits in the spool is sent."""
    accepted = 0
    with _interruptible() as interrupted, Publisher(settings, site, agency.id) as publisher:
        chunks = [events[start : start + CHUNK] for start in range(0, len(events), CHUNK)]
        hidden = quiet or len(chunks) < 2  # noqa: PLR2004
        for chunk in track(chunks, "Publishing", console=Console(stderr=True), disable=hidden):
            if interrupted.is_set():
                break
            publisher.publish_many(chunk)
            accepted += len(chunk)
        until = time.monotonic() + wait
        while not interrupted.is_set() and publisher.flush(min(LOOK_S, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                break
        return Outcome(accepted, publisher.close(0), interrupted.is_set())


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C only sets this. As an exception it could come in the middle of anything, a destructor that swallows it
    included; and between what the spool has accepted and what was counted."""
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(events: Sequence[Event], outcome: Outcome, rejected: int, dry_run: bool, as_json: bool) -> None:
    counts = dict(sorted(Counter(type_name(event) for event in events).items()))
    if as_json:
        told = {"published": counts, "rejected": rejected, "waiting": outcome.waiting, "dry_run": dry_run}
        typer.echo(json.dumps(told))
    else:
        done = "valid" if dry_run else "accepted" if outcome.waiting else "published"
        of = ": " + ", ".join(f"{count} {name}" for name, count in counts.items()) if counts else ""
        typer.echo(f"{len(events)} {done}{of}")


def _show_problems(bad: list[Parsed], as_json: bool) -> None:
    problems = [problem for one in bad for problem in one.problems]
    if as_json:
        out = [{"line": p.line, "field": p.field, "why": p.why} for p in problems]
        typer.echo(json.dumps({"published": {}, "problems": out}))
    for problem in problems[:SHOWN]:
        typer.echo(f"sallyport: {problem}", err=True)
    if len(problems) > SHOWN:
        typer.echo(f"sallyport: and {len(problems) - SHOWN} more", err=True)
    typer.echo("sallyport: nothing was published", err=True)


def _reject(file: Path, bad: list[Parsed]) -> Path:
    """Write the wrong events, each with its reasons, where only the owner reads them: they hold personal data."""
    name = f"{'stdin' if str(file) == '-' else file}.rejected"
    for number in count(1):
        rejected = Path(f"{name}{f'-{number}' if number > 1 else ''}.jsonl")
        try:
            # Never over an earlier one: what was rejected from standard input may exist nowhere else.
            descriptor = os.open(rejected, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            break
        except FileExistsError:
            continue
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        for one in bad:
            reasons = [f"{problem.field}: {problem.why}".removeprefix(": ") for problem in one.problems]
            out.write(json.dumps({"line": one.line, "reasons": reasons, "event": one.written}) + "\n")
    return rejected
