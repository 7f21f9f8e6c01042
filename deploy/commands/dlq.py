"""`sallyport dlq`: an agency's dead letters: look, mend, publish again, or dismiss with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.printable import printable
from deploy.commands.errors import fail, settings_given
from deploy.dead_letters import (
    Became,
    DeadLetterError,
    DeadLetters,
    Letter,
    dead_letters,
    event_of,
    of_a_newer_version,
    record_of,
    why_not_dismissed,
)
from deploy.private_files import write_new
from deploy.publishing import Outcome, Written, opened, publish_events, tell_problems, why_not_all
from deploy.sites import agency_called, load_site
from producers.event_json import UnreadableError
from producers.publisher import PublishError
from producers.spool import SpoolFullError
from schemas.agreements import SiteError
from schemas.events import Event
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site
from schemas.topics import BUS

dlq_app = typer.Typer(
    help="Look at an agency's dead letters, mend them, publish them again, or dismiss them.", no_args_is_help=True
)
CONFLICT: Final = "CONFLICT"
"""Why what has another event's id was set aside: under that id it can't be mended."""
NOTHING: Final = "there is nothing that could be mended: see `sallyport dlq list`"
NAMED: Final = 10
"""Letters that one line names; the others are counted."""

As = Annotated[str, typer.Option("--as", help="The agency whose events they were.")]
AsOrBus = Annotated[str, typer.Option("--as", help="The agency whose events they were; bus: those of the bus itself.")]
OfSite = Annotated[
    str | None, typer.Option("--site", help="The site, or the directory of one; default: SALLYPORT_SITE.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write it as JSON.")]
OfReason = Annotated[str | None, typer.Option("--reason", help="Only those set aside for this reason.")]


@dlq_app.command("list")
def list_(
    as_agency: AsOrBus,
    site: OfSite = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are settled, too, and what became of them.")] = False,
    reason: OfReason = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters: number, when, why. No value of an event is shown.

    Example: sallyport dlq list --as county-jail
    """
    with _opened(as_agency, site) as (_, _, box):
        found = [one for one in _of_reason(box.read(), reason) if every or one.settled is None]
    if as_json:
        typer.echo(json.dumps([_told(one) for one in found], indent=2))
    elif found:
        _show(found, every)
    else:
        typer.echo(f"No dead letters of {as_agency}{'' if every else ' that are not settled'}.")


@dlq_app.command("show")
def show(
    number: Annotated[str, typer.Argument(help="The letter's number.")], as_agency: AsOrBus, site: OfSite = None
) -> None:
    """Show one event whole, as JSON, with why it was set aside: personal data. What is no event is shown in hex.

    So is, beside what can be read of it, an event of a newer version that says more than this one knows. Of the bus
    itself: a record of any type.

    Example: sallyport dlq show 4 --as county-jail
    """
    with _opened(as_agency, site) as (_, _, box):
        (letter,) = _numbered(box.read(), [number])
        event = (record_of if as_agency == BUS else event_of)(letter, box.schemas)
        whole = event is not None and not of_a_newer_version(letter, box.schemas)
    typer.echo(json.dumps({**_told(letter), "event": event, "bytes": None if whole else letter.value.hex()}, indent=2))


@dlq_app.command("take")
def take(
    as_agency: As,
    out: Annotated[Path, typer.Option(help="The file to write, which must not be there yet.")],
    site: OfSite = None,
    reason: OfReason = None,
    as_json: AsJson = False,
) -> None:
    """Write the events that are not settled into a file, to be mended there and published by `sallyport dlq publish`.

    One JSON object a line, each with its event id: published again it stays one event. Only you can read the file. What
    a newer version wrote and this one does not know all of is left, for that version. Exit codes: 0 done, 1 there is
    nothing that could be mended, 2 can't take them.

    Example: sallyport dlq take --as county-jail --reason UNKNOWN_UNIT --out mend.jsonl
    """
    with _opened(_mendable(as_agency), site) as (_, _, box):
        unsettled = [one for one in _of_reason(box.read(), reason) if one.settled is None]
        mendable = [one for one in unsettled if one.reason != CONFLICT]
        known, newer = _by_version(mendable, box)
        events = {one.number: event for one in known if (event := event_of(one, box.schemas)) is not None}
        if not events:
            why = f"nothing was taken: {_of_newer(newer)}" if newer else NOTHING
            fail(why, 1)
        write_new(out, (json.dumps(event, ensure_ascii=False) + "\n" for event in events.values()))
    conflicts, unreadable = len(unsettled) - len(mendable), len(known) - len(events)
    if as_json:
        left = {"conflicts": conflicts, "unreadable": unreadable, "newer": newer}
        typer.echo(json.dumps({"file": str(out), "taken": [*events], **left}))
    else:
        typer.echo(f"{_events(len(events))} in {out}")
    if newer:
        typer.echo(f"sallyport: not taken: {_of_newer(newer)}", err=True)
    if conflicts:
        typer.echo(f"sallyport: {conflicts} of {CONFLICT} need new event ids: not taken", err=True)
    if unreadable:
        typer.echo(f"sallyport: {unreadable} can't be read as events: see `sallyport dlq show`", err=True)


@dlq_app.command("publish")
def publish(
    file: Annotated[Path, typer.Argument(help="Mended events as JSON Lines; - reads standard input.")],
    as_agency: As,
    site: OfSite = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the bus.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Publish mended events; the letters that have their event ids are settled once the broker has them.

    Unless all are right, nothing is published. What is refused again becomes a letter again. A letter that says more
    than this version knows is not settled. Exit codes: 0 done, 1 something is wrong with an event, 2 can't publish, or
    not all of it: nothing is settled, 3 the bus is away: published later, settled by doing it again.

    Example: sallyport dlq publish mend.jsonl --as county-jail
    """
    with _opened(_mendable(as_agency), site) as (settings, described, box):
        agency = described.agency_by_id[as_agency]
        letters = [one for one in box.read() if one.settled is None and one.reason != CONFLICT]
        ids: set[str] = set()
        with _input(file) as given:
            written = Written(given, agency, described)
            judged = written.judged()
            if judged.bad:
                tell_problems(judged, as_json)
                raise typer.Exit(1)
            total = sum(judged.good.values())
            chunks = _noting(ids, written.chunks())
            outcome = publish_events(chunks, total, settings, described, agency, wait, quiet=as_json)
        why = why_not_all(outcome)
        if why is not None or outcome.waiting or outcome.interrupted:
            if as_json:
                _tell_published(outcome, [])
            if outcome.interrupted:
                stopped = "" if why is None else f"{why}; "
                became = f"not accepted: {outcome.not_accepted}, in the spool: {outcome.waiting}"
                fail(f"{stopped}interrupted: {became}; no letter is settled: do it again", 130)
            if why is not None:
                fail(f"{why}; no letter is settled")
            fail("the bus is away: what was accepted waits in the spool. Do it again to settle", 3)
        mended, newer = _by_version([one for one in letters if _event_id(one, box) in ids], box)
        box.settle(mended, Became.PUBLISHED, "")
    if as_json:
        _tell_published(outcome, mended)
    else:
        typer.echo(f"{_events(outcome.count)} published, {_letters(len(mended))} settled")
    if newer:
        typer.echo(f"sallyport: not settled: {_of_newer(newer)}", err=True)


@contextmanager
def _input(file: Path) -> Iterator[BinaryIO]:
    """What is to be published; what can't be read as events ends the command."""
    try:
        with opened(file) as given:
            yield given
    except UnreadableError as error:
        fail(f"{file}: {error}", 1)


def _noting(ids: set[str], chunks: Iterable[Sequence[Event]]) -> Iterator[Sequence[Event]]:
    """The events as they are, once their ids are noted."""
    for chunk in chunks:
        ids.update(event.head.event_id for event in chunk)
        yield chunk


def _tell_published(outcome: Outcome, settled: Sequence[Letter]) -> None:
    told = {
        "published": outcome.accepted,
        "waiting": outcome.waiting,
        "not_accepted": outcome.not_accepted,
        "stopped": outcome.stopped,
        "settled": [one.number for one in settled],
    }
    typer.echo(json.dumps(told))


@dlq_app.command("dismiss")
def dismiss(
    numbers: Annotated[list[str], typer.Argument(help="The letters' numbers.")],
    as_agency: AsOrBus,
    why: Annotated[str, typer.Option(help="Why nothing is to be done about them: whoever looks reads it.")],
    site: OfSite = None,
    as_json: AsJson = False,
) -> None:
    """Settle letters without publishing anything, and say why.

    Unless all are there and none is settled yet, nothing is dismissed. Exit codes: 0 done, 1 one of them is settled
    already, 2 can't dismiss them.

    Example: sallyport dlq dismiss 4 7 --as county-jail --why "test records of the new system"
    """
    if not why.strip():
        fail("--why: say why nothing is to be done about them")
    with _opened(as_agency, site) as (_, _, box):
        chosen = _numbered(box.read(), numbers)
        if (refusal := why_not_dismissed(chosen)) is not None:
            # What was published must not read as if nobody had mended it.
            fail(refusal, 1)
        box.settle(chosen, Became.DISMISSED, why)
    if as_json:
        typer.echo(json.dumps({"settled": [one.number for one in chosen]}))
    else:
        typer.echo(f"{_letters(len(chosen))} dismissed")


# -- what they have in common ----------------------------------------------------------------------------------------


@contextmanager
def _opened(owner: str, site: str | None) -> Iterator[tuple[Settings, Site, DeadLetters]]:
    """The letters of an agency, or of the bus itself; what goes wrong with them ends the command."""
    try:
        settings = settings_given(site)
        described = load_site(settings)
        if owner != BUS:
            agency_called(described, owner)
        with dead_letters(settings, described, owner) as box:
            yield settings, described, box
    except (SiteError, DeadLetterError, PublishError, SpoolFullError, SecretUnreadableError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'the bus'}: {error.strerror or error}")


def _mendable(owner: str) -> str:
    """Whose letters can be mended; those of the bus itself end the command."""
    if owner == BUS:
        fail("what the bus set aside of its own is a defect of ours: report it; look at it by `sallyport dlq show`", 1)
    return owner


def _of_reason(letters: Sequence[Letter], reason: str | None) -> list[Letter]:
    return [one for one in letters if reason is None or one.reason == reason]


def _numbered(letters: Sequence[Letter], numbers: Sequence[str]) -> list[Letter]:
    by_number = {letter.number: letter for letter in letters}
    missing = next((number for number in numbers if number not in by_number), None)
    if missing is not None:
        fail(f"no dead letter {missing}: `sallyport dlq list --all` shows those that are kept")
    return [by_number[number] for number in dict.fromkeys(numbers)]


def _by_version(letters: Sequence[Letter], box: DeadLetters) -> tuple[list[Letter], list[str]]:
    """The letters of which this version knows all that they say, and the numbers of the others."""
    newer = {one.number: None for one in letters if of_a_newer_version(one, box.schemas)}
    return [one for one in letters if one.number not in newer], [*newer]


def _of_newer(numbers: Sequence[str]) -> str:
    """Which letters say more than this version knows, and what is to be done about them."""
    more = f" and {len(numbers) - NAMED:,} more" if len(numbers) > NAMED else ""
    which = f"{', '.join(numbers[:NAMED])}{more}"
    return f"{which}: a newer version wrote that and says more than this one knows: install it, then take them"


def _event_id(letter: Letter, box: DeadLetters) -> str | None:
    event = event_of(letter, box.schemas)
    return None if event is None else event["head"]["event_id"]


def _told(letter: Letter) -> dict[str, Any]:
    settled = letter.settled
    return {
        "number": letter.number,
        "at": _time(letter.at),
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "became": settled.became.value if settled else None,
        "why": settled.why if settled else None,
        "settled_at": _time(settled.at) if settled else None,
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _show(found: Sequence[Letter], every: bool) -> None:
    table = Table(title="Dead letters", title_justify="left")
    for column in ("number", "set aside (UTC)", "topic", "reason", "detail", *(("became", "why") if every else ())):
        table.add_column(column, justify="right" if column == "number" else "left", overflow="fold")
    for one in found:
        became = (one.settled.became.lower(), one.settled.why) if one.settled else ("", "")
        told = one.number, _time(one.at)[:19].replace("T", " "), one.topic, one.reason, one.detail
        table.add_row(*(Text(printable(cell)) for cell in (*told, *(became if every else ()))))
    Console().print(table)


def _events(count: int) -> str:
    return f"{count:,} {'event' if count == 1 else 'events'}"


def _letters(count: int) -> str:
    return f"{count:,} {'letter' if count == 1 else 'letters'}"
