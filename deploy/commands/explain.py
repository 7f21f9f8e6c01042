"""`sallyport explain`: everything the logs tell of one alert."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from deploy.commands.errors import fail, settings_given
from deploy.explanation import Explanation, Trace, Wanted, explanation_of, outlines_of, trace, with_their_persons
from deploy.explanation_words import WIDTH, in_words
from deploy.log_reader import Found, LogError, LogReader, Tell, log_reader
from deploy.purged import LastTick, purge_dates
from deploy.sites import load_site
from schemas import topics
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError
from streams.replay import Place

ALERT_ID = Annotated[str, typer.Argument(metavar="ALERT_ID", help="The alert's id, or the beginning of it.")]
SITE = Annotated[str | None, typer.Option("--site", help="The site, or the directory of one; default: SALLYPORT_SITE.")]


@contextmanager
def progress() -> Iterator[Tell]:
    """A line on a terminal's standard error that says what is being read, gone when it is done."""
    console = Console(stderr=True)
    with console.status("Reading") as status:
        yield status.update


def explain(
    alert_id: ALERT_ID,
    site: SITE = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write all of it as JSON.")] = False,
) -> None:
    """Explain an alert: every fact that led to it, what raised, changed and withdrew it, who was told under what.

    Of a revision whose record is gone, what the audit keeps of it: its words are gone, what it rested on is not.
    It shows all of it, whoever may see what: personal data, on standard output only. It reads as the bus's own user,
    so it is for who runs the bus and who audits it. Exit codes: 0 explained, 2 can't be.

    Example: sallyport explain 4f1f --site demo
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        with progress() as tell, log_reader(settings, described, tell) as reader:
            explanation = _explained(reader, alert_id)
    except (SiteError, LogError, SecretUnreadableError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(explanation), indent=2, default=lambda agreement: agreement.model_dump()))
        return
    width = min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH
    for line in in_words(explanation, width):
        typer.echo(line)


def _explained(reader: LogReader, alert_id: str) -> Explanation:
    alerts = reader.alert(alert_id)
    decisions = reader.decisions(alerts[-1].value["alert_id"], alerts[-1].place.partition)
    kept = outlines_of(alerts, decisions, reader.site)
    clock = LastTick(reader.schemas)
    wanted = Wanted.of([*(one.value for one in alerts), *kept.values()], reader.site)
    # The persons' first: an outline names events, and those whose they are.
    persons = topics.person_facts(reader.site.name)
    facts = list(_facts(reader, wanted, [(persons, number) for number in reader.partitions(persons)], clock))
    kept = with_their_persons(kept, facts)
    records = [*(one.value for one in alerts), *kept.values()]
    wanted = Wanted.of(records, reader.site)
    others = {(place.topic, place.partition) for place in wanted.places if place.topic != persons}
    facts += _facts(reader, wanted, sorted(others), clock)
    ids = {item["event_id"] for record in records for item in record["evidence"]} | {one.event_id for one in facts}
    came_on = {item["topic"] for record in records for item in record["evidence"]} | {one.inbound for one in facts}
    inbound = [found for topic in sorted(came_on - {""}) for found in reader.events(topic, ids - {""})]
    purged = {named for named, date in purge_dates(inbound, reader.schemas).items() if date <= clock.last}
    return explanation_of(alerts, kept, decisions, facts, inbound, purged, reader.site)


def _facts(
    reader: LogReader, wanted: Wanted, partitions: Iterable[tuple[str, int]], clock: LastTick
) -> Iterator[Trace]:
    """What the events of an alert left on the facts topics, and the records that were its causes."""
    for topic, partition in partitions:
        for record in clock.passing(reader.records(topic, partition)):
            found = trace(Found(Place(topic, partition, record.offset), record))
            if wanted.has(found):
                yield found
