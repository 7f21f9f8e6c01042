"""`sallyport publish`: events from JSON, validated, onto an agency's topics."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.errors import fail, settings_given
from deploy.publishing import Outcome, Written, opened, publish_events, tell_problems, why_not_all
from deploy.sites import agency_called, load_site
from producers.event_json import Parsed, UnreadableError
from producers.publisher import PublishError
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.events import EVENT_TYPES
from schemas.settings import SecretUnreadableError


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
    an event, 2 can't publish, or not all of it, 3 accepted, but the bus is away: the events wait in the spool and are
    sent next time.

    Example: sallyport publish events.jsonl --as county-jail
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        agency = agency_called(described, as_agency)
        if event_type is not None and event_type not in EVENT_TYPES:
            fail(f"--type: no event type {event_type!r}; there are {', '.join(sorted(EVENT_TYPES))}")
        with opened(file) as given:
            written = Written(given, agency, described, event_type)
            judged = written.judged()
            if judged.bad and not keep_going:
                tell_problems(judged, as_json)
                raise typer.Exit(1)
            total = sum(judged.good.values())
            rejected = _reject(file, written.parsed()) if judged.bad and not dry_run else None
            outcome = (
                Outcome(judged.good, 0, 0, False, None)
                if dry_run
                else publish_events(written.chunks(), total, settings, described, agency, wait, as_json)
            )
    except UnreadableError as error:
        fail(f"{file}: {error}", 1)
    except (SiteError, PublishError, SpoolFullError, SecretUnreadableError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or file}: {error.strerror or error}")
    _tell(outcome, judged.bad, dry_run, as_json)
    if judged.bad:
        where = f": see {rejected}" if rejected else ""
        typer.echo(f"sallyport: {judged.bad} {_events(judged.bad)} wrong{where}", err=True)
    if (why := why_not_all(outcome)) is not None:
        typer.echo(f"sallyport: {why}", err=True)
    elif outcome.waiting:
        typer.echo(f"sallyport: the bus is away: {_count(outcome.waiting)} in the spool, sent the next time", err=True)
    if outcome.interrupted:
        typer.echo(f"sallyport: interrupted: not accepted: {outcome.not_accepted}", err=True)
        raise typer.Exit(130)
    raise typer.Exit(2 if outcome.stopped else 1 if judged.bad else 3 if outcome.waiting else 0)


def _count(waiting: int) -> str:
    return "1 event waits" if waiting == 1 else f"{waiting} events wait"


def _events(count: int) -> str:
    return "event is" if count == 1 else "events are"


def _tell(outcome: Outcome, rejected: int, dry_run: bool, as_json: bool) -> None:
    if as_json:
        told = {
            "published": outcome.accepted,
            "rejected": rejected,
            "waiting": outcome.waiting,
            "not_accepted": outcome.not_accepted,
            "stopped": outcome.stopped,
            "dry_run": dry_run,
        }
        typer.echo(json.dumps(told))
    else:
        done = "valid" if dry_run else "accepted" if outcome.waiting else "published"
        of = ", ".join(f"{count} {name}" for name, count in outcome.accepted.items())
        typer.echo(f"{outcome.count} {done}{f': {of}' if of else ''}")


def _reject(file: Path, parsed: Iterable[Parsed]) -> Path:
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
        for one in parsed:
            if one.event is not None:
                continue
            reasons = [f"{problem.field}: {problem.why}".removeprefix(": ") for problem in one.problems]
            out.write(json.dumps({"line": one.line, "reasons": reasons, "event": one.written}) + "\n")
    return rejected
