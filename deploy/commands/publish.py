"""`sallyport publish`: events from JSON, validated, onto an agency's topics."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from deploy.commands.errors import fail
from deploy.sites import load_site, settings_for
from producers.event_json import Parsed, parse
from producers.publisher import Publisher, PublishError
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.events import type_name
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Agency

SHOWN = 20
"""Problems shown to a person; the rest is counted."""
CHUNK = 500
"""Events accepted with one write to disk."""


def publish(
    file: Annotated[Path, typer.Argument(help="JSON or JSON Lines; - reads standard input.")],
    as_agency: Annotated[str, typer.Option("--as", help="The agency that publishes.")],
    site: Annotated[str | None, typer.Option(help="The site; default: SALLYPORT_SITE.")] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Publish the good events; write the others to FILE.rejected.jsonl.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only validate.")] = False,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for the bus; what then waits stays in the spool.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Publish events of an agency. Each is {"type": "HousingAssigned", "head": {"time": ..., "persons": [...]}, ...}.

    Unless --keep-going, nothing is published if any event is wrong. Exit codes: 0 published, 1 something is wrong with
    an event, 2 can't publish, 3 accepted, but the bus is away: the events wait in the spool and are sent next time.

    Example: sallyport publish events.jsonl --as county-jail
    """
    settings = settings_for(Settings(), site)
    try:
        described = load_site(settings)
        agency = described.agency_by_id.get(as_agency)
        if agency is None:
            fail(f"no agency {as_agency!r} on site {described.name}; there are {', '.join(described.agency_by_id)}")
        parsed = _read(file, agency)
        bad = [one for one in parsed if one.problems]
        good = [one.event for one in parsed if one.event is not None]
        if bad and not keep_going:
            _show_problems(bad, as_json)
            raise typer.Exit(1)
        rejected = _reject(file, bad) if bad else None
        waiting = 0
        if not dry_run and good:
            with Publisher(settings, described, as_agency) as publisher:
                chunks = [good[start : start + CHUNK] for start in range(0, len(good), CHUNK)]
                quiet = as_json or len(chunks) < 2  # noqa: PLR2004
                for chunk in track(chunks, "Publishing", console=Console(stderr=True), disable=quiet):
                    publisher.publish_many(chunk)
                waiting = publisher.flush(wait)
    except (SiteError, PublishError, SpoolFullError, SecretUnreadableError, OSError) as error:
        fail(str(error))
    counts = Counter(type_name(event) for event in good)
    if as_json:
        out = {"published": dict(counts), "rejected": len(bad), "waiting": waiting, "dry_run": dry_run}
        typer.echo(json.dumps(out))
    else:
        done = "valid" if dry_run else "published"
        typer.echo(f"{len(good)} {done}: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    if waiting:
        typer.echo(f"sallyport: the bus is away: {waiting} events wait in the spool and are sent next time", err=True)
        raise typer.Exit(3)
    if rejected is not None:
        typer.echo(f"sallyport: {len(bad)} events are wrong: see {rejected}", err=True)
        raise typer.Exit(1)


def _read(file: Path, agency: Agency) -> list[Parsed]:
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{file}: not UTF-8 at byte {error.start}: save it as UTF-8", 1)
    return list(parse(text, agency))


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
    name = "stdin" if str(file) == "-" else str(file)
    rejected = Path(f"{name}.rejected.jsonl")
    rejected.touch(mode=0o600)
    with rejected.open("w", encoding="utf-8") as out:
        for one in bad:
            reasons = [str(problem) for problem in one.problems]
            out.write(json.dumps({"reasons": reasons, "event": one.text}) + "\n")
    return rejected
