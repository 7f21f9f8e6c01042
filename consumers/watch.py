"""The screen of `sallyport watch`: a recipient's open alerts, and whether the desk sees.

A thin shell: the feed says what it reads, the board folds it, `words` and `alert_detail` say it, the desk writes what
the user does.
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.events import Event, InputEvent, Key
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from consumers import words
from consumers.alert_detail import detail
from consumers.alert_feed import AlertFeed, CannotWatchError, now_us
from consumers.alert_list import SEVERITY_STYLES, AlertList, Row, entries_of, rows_of, to_acknowledge
from consumers.board import PATIENCE, SECOND, Blind, Board, Entry, Notice, ReportSaid, Said, Sight, Standing
from consumers.desk import Desk
from consumers.ended_by_signal import ended_by_signal
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site

WIDE: int = 120
"""Columns from which list and detail stand side by side."""
HELP = """\
The line on top says up to when every alert for this desk is here. While it
is red and says [reverse] BLIND [/reverse], alerts may be missing: an empty list means nothing.
Open alerts: the gravest first, then what nobody acknowledged; of these what
comes within the hour, then the oldest, then what comes later. An alert
advises; you decide. WATCH ONLY, CALL FIRST: that is asked before anything.
After a minute without key or mouse the first not acknowledged is shown.

 ● nobody has acknowledged it      ✓ acknowledged at one of your desks
 ◐ changed since acknowledged      × over, and how; goes in two minutes
 ▸ many alerts changed together: Enter shows those that are withdrawn

Confidence: how well what is known fits, not whether a report is true.
How one ended is told as far as no source shows: often as several ways.
[b]Keys[/b]
 up, down     another alert        Enter   the whole alert, and back
 PgUp, PgDn   a page               Home, End   the first, the last
 a            acknowledge: all desks that have it see it; it ends nothing
 m            bell off or on, here; it rings for new critical and high
              alerts, and when this desk turns blind
 ?            this page            q       quit

Any key goes back."""
FAILED_S: Final = 15.0
"""Seconds for which it is shown that the bus did not take an acknowledgement."""


class Feed(Protocol):
    """Says what it reads."""

    def start(self, deliver: Callable[[Sequence[Said]], object]) -> None:
        """Begin; `deliver` may be called from any thread."""

    def stop(self) -> None:
        """End."""


class Acknowledges(Protocol):
    """Writes what the user does."""

    def acknowledge(self, alert_id: str, revision: int, done: Callable[[bool], None]) -> None:
        """Say that a revision was seen; `done` hears later whether that is on the log."""

    def poll(self) -> None:
        """Hear what became of it."""

    def close(self) -> None:
        """End."""


class Help(ModalScreen[None]):
    """What the screen means and what the keys do."""

    def compose(self) -> ComposeResult:
        """One page."""
        yield VerticalScroll(Static(HELP))

    def on_key(self, event: Key) -> None:
        """Any key goes back, but those that scroll."""
        if event.key not in {"up", "down", "pageup", "pagedown"}:
            event.stop()
            self.dismiss()


class Detail(VerticalScroll):
    """One alert in full."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "app.to_list", "Back to the list")]


class WatchApp(App[int]):
    """The screen of one recipient's desk."""

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012  # as Textual declares it
    CSS = """
    Screen { layout: vertical; background: black; color: white; }
    #banner { height: auto; padding: 0 1; background: darkgreen; color: white; }
    #banner.starting { background: grey; color: white; }
    #banner.blind { background: red; color: white; text-style: bold; }
    #banner.blind:nocolor { text-style: bold reverse; }
    #heading {
        height: 1; padding: 0 1; text-style: bold; background: $surface; text-wrap: nowrap; text-overflow: ellipsis;
    }
    #body { height: 1fr; layout: vertical; }
    AlertList { height: 1fr; background: black; }
    #detail { height: 1fr; padding: 0 1; background: black; border-top: solid grey; }
    #detail:focus { border-top: solid white; }
    .-wide #body { layout: horizontal; }
    .-wide AlertList { width: 11fr; height: 100%; }
    .-wide #detail { width: 9fr; height: 100%; border-top: none; border-left: solid grey; }
    .-wide #detail:focus { border-left: solid white; }
    #body.whole AlertList { display: none; }
    #body.whole #detail { border: none; }
    Help { align: center middle; }
    Help VerticalScroll {
        width: 98; max-width: 100%; height: auto; max-height: 100%;
        border: solid white; padding: 0 1; background: black;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "acknowledge", "Acknowledge"),
        Binding("m", "mute", "Bell on/off"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("escape", "to_list", "Back", show=False),
    ]

    class Heard(Message):
        """The feed said something."""

        def __init__(self, said: Sequence[Said]) -> None:
            super().__init__()
            self.said = said

    def __init__(
        self,
        site: Site,
        recipient: str,
        feed: Feed,
        desk: Acknowledges,
        clock: Callable[[], int] = now_us,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._trouble = trouble
        self._site = site
        self._recipient = recipient
        self._feed = feed
        self._desk = desk
        self._clock = clock
        self._zone = words.zone_of(site, recipient, None)
        self._board = Board(site, recipient, clock())
        self._opened: set[str] = set()
        self._unheard: set[tuple[str, int]] = set()
        """Alerts and revisions that its user acknowledged, and of which the bus did not say yet that it took that."""
        self._refused: list[tuple[str, str]] = []
        """Rows and alerts in them of which the bus did not take it, not told yet."""
        self._untaken: set[str] = set()
        """Such alerts that were told, and not acknowledged again since."""
        self._reported: dict[tuple[str, int], tuple[int, int]] = {}
        """By stage and partition: when its last report was heard, and from when that is."""
        self._muted = False
        self._was_blind = False
        self._detail_key: str | None = None
        self._runs_in: asyncio.AbstractEventLoop | None = None

    def compose(self) -> ComposeResult:
        """Banner, heading, list and detail, keys."""
        yield Static(id="banner")
        yield Static(id="heading")
        with Container(id="body"):
            yield AlertList(words.buildings(self._site, self._recipient), self._clock)
            with Detail(id="detail"):
                yield Static(id="text")
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        """Begin to read and to count time."""
        self._runs_in = asyncio.get_running_loop()
        self.query_one(AlertList).focus()
        self._show()
        self._feed.start(lambda said: self.post_message(self.Heard(said)))
        self.set_interval(1.0, self._show)
        self.set_interval(1.0, self._end_in_trouble)
        self.set_interval(0.1, self._hear_desk)

    async def on_event(self, event: Event) -> None:
        """Whoever presses a key or moves the mouse is at the desk."""
        if isinstance(event, InputEvent):
            for alerts in self.query(AlertList):
                alerts.touch()
        await super().on_event(event)

    def _end_in_trouble(self) -> None:
        """A screen over a bus that is gone for good must not stay."""
        if self._trouble() is not None:
            self.exit(2)

    def end_soon(self) -> None:
        """End as soon as the loop gets to it; for a handler of signals."""
        if self._runs_in is not None and not self._runs_in.is_closed():
            self._runs_in.call_soon_threadsafe(self.exit, 0)

    async def action_quit(self) -> None:
        """End."""
        self.exit(0)

    # -- what is heard and shown -----------------------------------------------------------------------------------

    def on_watch_app_heard(self, message: Heard) -> None:
        """Fold, and show the outcome at once."""
        was_shown = self._board.is_shown(self._clock())
        changes = [self._board.fold(said, self._clock()) for said in message.said]
        self._note_reports(message.said)
        if was_shown and any(change is not None and change.is_urgent for change in changes):
            self._ring()
            self._close_help()
        self._show()

    def _note_reports(self, said: Iterable[Said]) -> None:
        for one in said:
            if isinstance(one, ReportSaid):
                place = one.record["stage"], one.record["partition"]
                self._reported[place] = self._clock(), one.record["at"]

    def _ring(self) -> None:
        if not self._muted:
            self.bell()

    def _show(self) -> None:
        if not self.is_running:
            # It ends: what was heard last is folded, but the widgets to show it on may be gone already.
            return
        now = self._clock()
        sight = self._board.sight(now)
        self._show_banner(sight, now)
        self._show_heading()
        rows = rows_of(self._board.lines(now), self._opened) if self._board.is_shown(now) else []
        if self._list.is_left_alone:
            self._close_help()
        self._list.show(rows, self._board.time(now), self._nothing(sight))
        self._show_detail()

    @property
    def _list(self) -> AlertList:
        return self.query_one(AlertList)

    def _show_banner(self, sight: Sight, now: int) -> None:
        banner = self.query_one("#banner", Static)
        blind = sight.is_blind
        banner.set_class(blind, "blind")
        banner.set_class(not blind and bool(sight.blind), "starting")
        banner.update(Text(banner_line(self._site, sight, now, self._zone, seconds_ahead(self._reported, now))))
        if blind and not self._was_blind:
            self._ring()
            self._close_help()
        self._was_blind = blind

    def _show_heading(self) -> None:
        entries = self._board.open_entries(self._clock())
        whose = f"{self._site.title} · {self._site.recipient_by_id[self._recipient].name}"
        self.query_one("#heading", Static).update(heading(whose, entries, self._muted))

    def _nothing(self, sight: Sight) -> str:
        if not self._board.caught_up:
            return "Reading the alerts ..."
        if sight.is_blind:
            return "No open alert is known, but this desk is BLIND: see above."
        return "No open alert, as far as is known by now: see above." if sight.blind else "No open alert."

    def _show_detail(self) -> None:
        row = self._list.selected
        now = self._clock()
        text = self.query_one("#text", Static)
        if row is None:
            text.update(
                "What was shown here is over and gone. Up or down chooses another." if self._list.is_astray else ""
            )
            self._detail_key = None
            return
        zone = self._zone
        if isinstance(row.line, Entry):
            zone = words.zone_of(self._site, self._recipient, row.line.alert.facility)
        text.update(detail(row.line, self._site, self._board.time(now), zone, now))
        if row.key != self._detail_key:
            self.query_one(Detail).scroll_home(animate=False)
        self._detail_key = row.key

    # -- what the user does ----------------------------------------------------------------------------------------

    def on_alert_list_moved(self, _: AlertList.Moved) -> None:
        """Show what the cursor is on."""
        self._show_detail()

    def on_alert_list_chosen(self, _: AlertList.Chosen) -> None:
        """Open an alert in full; open or close a notice."""
        row = self._list.selected
        if row is None:
            return
        if isinstance(row.line, Notice):
            self._opened ^= {row.key}
            self._show()
            return
        self._whole(True)

    def _whole(self, whole: bool) -> None:
        self.query_one("#body").set_class(whole, "whole")
        (self.query_one(Detail) if whole else self._list).focus()

    def action_to_list(self) -> None:
        """Back to the list."""
        self._whole(False)

    def action_mute(self) -> None:
        """The bell off, or on."""
        self._muted = not self._muted
        self._show()

    def action_help(self) -> None:
        """What all this means."""
        self.push_screen(Help(), lambda _: self._list.appear())

    def _close_help(self) -> None:
        """It may hide what has to be seen."""
        if self.is_running and isinstance(self.screen, Help):
            self.screen.dismiss()

    def action_acknowledge(self) -> None:
        """Acknowledge what is on the screen: the alert, or all alerts of the notice."""
        row: Row | None = self._list.selected
        if row is None:
            return
        if not self._list.is_read:
            self.notify("It came or changed just now: read it, then press a again.")
            return
        wanted = to_acknowledge(row.line)
        if not wanted:
            over = all(entry.standing is Standing.OVER for entry in entries_of(row.line))
            self.notify("It is over: nothing to acknowledge." if over else "Already acknowledged.")
            return
        if not self.query_one("#body").has_class("whole"):
            self._list.leave()
        for entry in wanted:
            what = entry.key, entry.alert.revision
            self._unheard.add(what)
            self._untaken.discard(entry.key)
            self._desk.acknowledge(*what, partial(self._acknowledged, row.key, what))

    def _acknowledged(self, row: str, what: tuple[str, int], taken: bool) -> None:
        # What was taken shows by itself: it is read back from the log. It may be heard of when the screen has ended.
        if taken:
            self._unheard.discard(what)
        else:
            self._refused.append((row, what[0]))

    def _hear_desk(self) -> None:
        """Say what the bus did not take: all of it in one place, however much it is."""
        self._desk.poll()
        if not self._refused or not self.is_running:
            return
        for row, alert_id in self._refused:
            self._list.stay(row)
            self._untaken.add(alert_id)
        self._refused.clear()
        entries = self._still_to_acknowledge(self._untaken)
        if entries:
            self.clear_notifications()
            self.notify(not_taken(entries), severity="error", timeout=FAILED_S, markup=False)

    def _still_to_acknowledge(self, alert_ids: Iterable[str]) -> list[Entry]:
        known = (self._board.entry(alert_id) for alert_id in alert_ids)
        return [entry for entry in known if entry is not None and to_acknowledge(entry)]

    @property
    def not_arrived(self) -> int:
        """How many alerts that its user acknowledged are open and not acknowledged all the same, as far as it knows."""
        return len(self._still_to_acknowledge({alert_id for alert_id, _ in self._unheard}))


def heading(whose: str, entries: Sequence[Entry], muted: bool) -> Text:
    """The line below the banner: what is open, in order, and how grave what nobody acknowledged is, since the list may
    be hidden. What it begins with is not cut off."""
    waiting = [entry for entry in entries if to_acknowledge(entry)]
    parts: list[str | tuple[str, str]] = [words.count(len(entries), "open alert") if entries else "no open alert"]
    if entries:
        parts.append(f", {len(waiting):,} not acknowledged")
    if waiting:
        gravest = waiting[0].alert.severity
        parts += [": " if len(waiting) == 1 else ", gravest: ", (words.severity(gravest), SEVERITY_STYLES[gravest])]
    parts.append(f" · bell {'off' if muted else 'on'} · {whose}")
    return Text.assemble(*parts)


def not_taken(entries: Sequence[Entry]) -> str:
    """That the bus did not take that these were acknowledged: which it was, or how many. One or more."""
    if len(entries) == 1:
        headline = textwrap.shorten(entries[0].alert.headline, 100, placeholder=" ...")
        return f"Not acknowledged: the bus did not take it. Press a again on: {headline}"
    return f"Not acknowledged: the bus did not take it of {len(entries):,} alerts. Press a again on each."


def seconds_ahead(reported: Mapping[tuple[str, int], tuple[int, int]], now: int) -> int:
    """By how many seconds, at least, this desk's clock seems to be ahead of the workers'; 0 where nothing says so.

    `reported`: when each report was heard, and from when it is. If they all come, and all are too old to count, it is
    not the workers that are silent. (A clock that is behind does no harm: the board reckons with it.)
    """
    ages = [heard - at for heard, at in reported.values() if 0 <= now - heard <= PATIENCE]
    least = min(ages, default=0)
    return least // SECOND if least > PATIENCE else 0


def banner_line(site: Site, sight: Sight, now: int, zone: Any, ahead: int = 0) -> str:
    """The line on top. `ahead`: seconds by which this desk's clock seems to be."""
    if sight.is_blind:
        line = words.blind_line(sight.blind, now, zone)
        if ahead and any(one.why is Blind.NO_REPORT for one in sight.blind):
            line += f" They do report, but {ahead:,} s ago by this desk's clock: check it first."
        return line
    if sight.blind:
        return f"Starting: {words.blindness(sight.blind[0])}."
    if site.clock == "history":
        known = f"its log stands at {words.date_and_time(sight.tick, zone)}" if sight.tick else "no time on its log yet"
        return f"History: {known}."
    return f"Live: every alert for this desk is here, up to {words.date_and_time(sight.tick, zone)}."


def run_watch(settings: Settings, site: Site, recipient: str, trouble: Callable[[], str | None] = lambda: None) -> int:
    """Show a recipient's alerts in this terminal until its user ends it, or until there is `trouble`.

    Returns an exit code. What keeps it from starting is said in one line on stderr; the code is 2 then, as in trouble.
    """
    try:
        feed = AlertFeed(settings, site, recipient)
        try:
            desk = Desk(settings, site, recipient)
        except (CannotWatchError, SecretUnreadableError):
            feed.stop()
            raise
    except (CannotWatchError, SecretUnreadableError) as error:
        sys.stderr.write(f"sallyport: {error}\n")
        return 2
    app = WatchApp(site, recipient, feed, desk, trouble=trouble)
    try:
        with ended_by_signal(app.end_soon):
            code = app.run()
    finally:
        feed.stop()
        desk.close()
    if app.not_arrived:
        what = words.count(app.not_arrived, "alert")
        sys.stderr.write(
            f"sallyport: the bus did not confirm that {what} {'was' if app.not_arrived == 1 else 'were'} acknowledged: "
            "start the screen again, and press a on what still is not\n"
        )
    return code if code is not None else app.return_code or 0
