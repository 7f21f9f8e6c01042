"""`sallyport watch`: a recipient's open alerts, on the screen, in a table, or as a stream of JSON lines."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from consumers import words
from consumers.alert_feed import AlertFeed, CannotWatchError, now_us
from consumers.board import Board, Entry, Notice, Said
from deploy.commands.errors import fail, settings_given
from deploy.sites import load_site
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

LOOK_EVERY_S = 0.25
"""Seconds between looks at whether the desk sees everything."""
NOTICE_S = 5.0
"""Seconds after which notices are told even if something is always being said."""
CATCH_UP_S = 60.0
"""Seconds that reading to the end may take with --once."""


def watch(
    recipient: Annotated[str, typer.Option("--as", help="The recipient whose desk this is.")],
    site: Annotated[str | None, typer.Option(help="The site; default: SALLYPORT_SITE.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show what is open now, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each change; with --once one array.")
    ] = False,
) -> None:
    """Watch the open alerts of a recipient: what, who, where, why, what to do; acknowledge with `a`, leave with `q`.

    The top line turns red when the desk can't see everything, and says since when. Exit codes: 0 ended, 2 can't watch.

    Example: sallyport watch --as county-jail-watch
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        if recipient not in described.recipient_by_id:
            known = ", ".join(described.recipient_by_id)
            fail(f"no recipient {recipient!r} on site {described.name}; there are {known}")
        if once:
            _once(settings, described, recipient, as_json)
        elif as_json:
            _stream(settings, described, recipient)
        else:
            # Textual is only loaded where there is a screen to show.
            from consumers.watch import run_watch  # noqa: PLC0415

            raise typer.Exit(run_watch(settings, described, recipient))
    except (SiteError, CannotWatchError, SecretUnreadableError) as error:
        fail(str(error))


@contextmanager
def _reading(settings: Settings, site: Site, recipient: str) -> Iterator[queue.Queue[Sequence[Said]]]:
    said: queue.Queue[Sequence[Said]] = queue.Queue()
    feed = AlertFeed(settings, site, recipient)
    feed.start(said.put)
    try:
        yield said
    finally:
        feed.stop()


def _once(settings: Settings, site: Site, recipient: str, as_json: bool) -> None:
    board = _read_to_the_end(settings, site, recipient)
    blind = board.sight(now_us()).blind
    if blind:
        # An empty list from a bus whose workers are away must not look like a quiet night.
        typer.echo(words.blind_line(blind, now_us(), words.zone_of(site, recipient, None)), err=True)
    _show(board.open_entries(now_us()), site, recipient, as_json)


def _read_to_the_end(settings: Settings, site: Site, recipient: str) -> Board:
    board = Board(site, recipient, now_us())
    deadline = time.monotonic() + CATCH_UP_S
    with _reading(settings, site, recipient) as said:
        while not board.caught_up:
            try:
                for one in said.get(timeout=max(0.0, deadline - time.monotonic())):
                    board.fold(one, now_us())
            except queue.Empty:
                raise CannotWatchError(f"the bus at {settings.bootstrap_servers} did not answer in a minute") from None
    return board


def _show(entries: list[Entry], site: Site, recipient: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_as_json(entry) for entry in entries]))
        return
    table = Table(title=f"Open alerts of {recipient}", title_justify="left")
    for column in ("severity", "what", "where", "who", "since"):
        table.add_column(column)
    for entry in entries:
        alert = entry.alert
        zone = words.zone_of(site, recipient, alert.facility)
        since = words.when(alert.opened, now_us(), zone)
        who = "\n".join(words.person(person) for person in alert.persons)
        what = f"{words.caution(alert.caution)}: {alert.headline}" if alert.caution else alert.headline
        table.add_row(words.severity(alert.severity), what, words.place(alert, site), who, since)
    Console().print(table if entries else f"No open alerts of {recipient}.")


def _as_json(entry: Entry) -> dict[str, Any]:
    return {"standing": entry.standing.value, **asdict(entry.alert)}


def _stream(settings: Settings, site: Site, recipient: str) -> None:
    """A line for each change, until a signal ends it; the alerts that are open at the start come first."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    board = Board(site, recipient, now_us())
    blind = False
    noticed: dict[str, int] = {}
    quiet_since = time.monotonic()
    with _reading(settings, site, recipient) as said:
        while not ended.is_set():
            blind = _tell_sight(board, blind)
            try:
                batch = said.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                noticed = _tell_notices(board, noticed)
                quiet_since = time.monotonic()
                continue
            # A mass change is told when all of it has come; but the stages' reports alone keep it from being quiet.
            if time.monotonic() - quiet_since > NOTICE_S:
                noticed = _tell_notices(board, noticed)
                quiet_since = time.monotonic()
            was_caught_up = board.caught_up
            for one in batch:
                change = board.fold(one, now_us())
                if change is not None and was_caught_up:
                    _line({"change": change.what.value, **_as_json(change.entry)})
            if board.caught_up and not was_caught_up:
                for entry in board.open_entries(now_us()):
                    _line({"change": "open", **_as_json(entry)})


def _tell_notices(board: Board, told: dict[str, int]) -> dict[str, int]:
    """Say which mass changes there were, once each where nothing is added to them; how many alerts each has by now."""
    notices = [line for line in board.lines(now_us()) if isinstance(line, Notice)]
    for notice in notices:
        if told.get(notice.group, 0) < len(notice.entries):
            _line(
                {
                    "change": "notice",
                    "group": notice.group,
                    "alerts": [entry.key for entry in notice.entries],
                    "withdrawn": len(notice.over),
                    "words": words.notice(notice),
                }
            )
    return {notice.group: max(told.get(notice.group, 0), len(notice.entries)) for notice in notices}


def _tell_sight(board: Board, blind: bool) -> bool:
    """Say when the desk becomes blind, or sees again; whether it is blind."""
    sight = board.sight(now_us())
    if sight.is_blind and not blind:
        causes = [{"why": one.why.value, "since": one.since, "words": words.blindness(one)} for one in sight.blind]
        _line({"change": "blind", "causes": causes})
    elif blind and not sight.is_blind:
        _line({"change": "sighted", "tick": sight.tick})
    return sight.is_blind


def _line(what: dict[str, Any]) -> None:
    typer.echo(json.dumps(what))  # click flushes
