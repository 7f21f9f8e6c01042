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
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers import words
from consumers.alert_feed import AlertFeed, CannotWatchError, now_us
from consumers.board import Blind, Board, Entry, LogReplaced, Notice, Said, Sight
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
BLIND: Final = 3
"""Exit code with --once where alerts may be missing from what was shown."""


def watch(
    recipient: Annotated[str, typer.Option("--as", help="The recipient whose desk this is.")],
    site: Annotated[str | None, typer.Option(help="The site; default: SALLYPORT_SITE.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show what is open now, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each change; with --once one array.")
    ] = False,
) -> None:
    """Watch the open alerts of a recipient: what, who, where, why, what to do; acknowledge with `a`, leave with `q`.

    The top line turns red when the desk can't see everything, and says since when. Exit codes: 0 ended, 2 can't watch,
    3 with --once: shown, but this desk is blind, so alerts may be missing (why is on standard error).

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
    _show(board.open_entries(now_us()), site, recipient, as_json)
    blind = board.sight(now_us()).blind
    if blind:
        # An empty list from a bus whose workers are away must look like a quiet night to nobody, nor to a script.
        typer.echo(words.blind_line(blind, now_us(), words.zone_of(site, recipient, None)), err=True)
        raise typer.Exit(BLIND)


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
        table.add_column(column, overflow="fold")
    for entry in entries:
        alert = entry.alert
        zone = words.zone_of(site, recipient, alert.facility)
        since = words.when(alert.opened, now_us(), zone)
        who = "\n".join(words.person(person) for person in alert.persons)
        what = f"{words.caution(alert.caution)}: {alert.headline}" if alert.caution else alert.headline
        # As text: what an agency wrote, such as a name with [aka] in it, is no markup.
        table.add_row(*map(Text, (words.severity(alert.severity), what, words.place(alert, site), who, since)))
    Console().print(table if entries else f"No open alerts of {recipient}.")


def _as_json(entry: Entry) -> dict[str, Any]:
    return {"standing": entry.standing.value, **asdict(entry.alert)}


def _stream(settings: Settings, site: Site, recipient: str) -> None:
    """A line for each change, until a signal ends it; the alerts that are open at the start come first."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    board = Board(site, recipient, now_us())
    told: frozenset[Blind] | None = None
    begun = False
    noticed: dict[str, int] = {}
    quiet_since = time.monotonic()
    with _reading(settings, site, recipient) as said:
        while not ended.is_set():
            begun = begun or _begin(board)
            told = _tell_sight(board.sight(now_us()), told)
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
            for one in batch:
                # Of another log, what is open is told anew, as soon as all of it is read.
                begun = begun and not isinstance(one, LogReplaced)
                change = board.fold(one, now_us())
                if change is not None and begun:
                    _line({"change": change.what.value, **_as_json(change.entry)})


def _begin(board: Board) -> bool:
    """Say what is open as soon as all of that is read; where one topic can't be read, the rest after a while."""
    if not board.is_shown(now_us()):
        return False
    for entry in board.open_entries(now_us()):
        _line({"change": "open", **_as_json(entry)})
    return True


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


def _tell_sight(sight: Sight, told: frozenset[Blind] | None) -> frozenset[Blind] | None:
    """Say whether the desk sees, and why not, once that is known and when it becomes another; what is told by now.

    `told`: what was told last, no causes where it sees; None: nothing yet.
    """
    if sight.blind and not sight.is_blind:
        # It has just begun, and may just not have heard yet.
        return told
    causes = frozenset(one.why for one in sight.blind)
    if causes and causes != told:
        said = [{"why": one.why.value, "since": one.since, "words": words.blindness(one)} for one in sight.blind]
        _line({"change": "blind", "causes": said})
    elif causes != told:
        _line({"change": "sighted", "tick": sight.tick})
    return causes


def _line(what: dict[str, Any]) -> None:
    typer.echo(json.dumps(what))  # click flushes
