"""The list of alerts on the screen: two lines for each, drawn only where they are seen, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from consumers import words
from consumers.board import SECOND, Entry, Notice, Standing

LINES: Final = 2
LEFT_ALONE: Final = 60 * SECOND
"""Without a key pressed or a mouse moved for so long the cursor goes to the gravest that nobody acknowledged, so that
it is shown in full."""
READING: Final = 2 * SECOND
"""How long what came under the cursor by itself, or changed there, is on the screen before a key means it."""
SEVERITY_STYLES: Final = {
    "UNKNOWN": "bold white on red3",
    "CRITICAL": "bold white on red3",
    "HIGH": "bold black on dark_orange",
    "MEDIUM": "black on yellow3",
    "LOW": "white on grey37",
}
MARKS: Final = {Standing.OPEN: "●", Standing.CHANGED: "◐", Standing.ACKNOWLEDGED: "✓", Standing.OVER: "×"}
CHANGED: Final = "changed since acknowledged"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in the list."""

    line: Entry | Notice
    inside: bool = False
    """It is of the opened notice above it."""
    opened: bool = False
    """A notice whose alerts that are over are shown below it."""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return self.line.key

    @property
    def revisions(self) -> frozenset[tuple[str, int]]:
        """What is to be read in it: which alerts, at which revisions."""
        return frozenset((entry.key, entry.alert.revision) for entry in entries_of(self.line))


def entries_of(line: Entry | Notice) -> tuple[Entry, ...]:
    """The alerts that a line is about."""
    return line.entries if isinstance(line, Notice) else (line,)


def to_acknowledge(line: Entry | Notice) -> list[Entry]:
    """What of it is open, and not acknowledged as it is now."""
    return [entry for entry in entries_of(line) if entry.standing in {Standing.OPEN, Standing.CHANGED}]


def is_acknowledged(line: Entry | Notice) -> bool:
    """Whether some of it is open, and all of that is acknowledged."""
    return not to_acknowledge(line) and any(entry.standing is Standing.ACKNOWLEDGED for entry in entries_of(line))


def first_to_read(rows: Sequence[Row]) -> Row:
    """What a desk that is left alone shows: the first open alert that nobody acknowledged, else the first that is open,
    else the first row. Not a notice where there is an alert: one key would acknowledge all that it is about."""
    alerts = [row for row in rows if isinstance(row.line, Entry) and not row.line.is_over]
    waiting = (row for row in alerts if to_acknowledge(row.line))
    return next(waiting, alerts[0] if alerts else rows[0])


def rows_of(lines: Sequence[Entry | Notice], opened: set[str]) -> list[Row]:
    """The rows: lines, and below an opened notice those of its alerts that are over."""
    rows = []
    for line in lines:
        is_opened = line.key in opened
        rows.append(Row(line, opened=is_opened))
        if is_opened and isinstance(line, Notice):
            rows += [Row(entry, inside=True) for entry in line.over]
    return rows


def badge(severity: str) -> Text:
    """A severity, of one width."""
    return Text(f" {words.severity(severity):<8} ", SEVERITY_STYLES[severity])


def row_text(row: Row, called: Mapping[str, str], now: int, width: int) -> tuple[Text, Text]:
    """The two lines of a row in so many columns. `called`: what facilities are called; ages are counted from `now`."""
    if isinstance(row.line, Notice):
        return _notice_text(row.line, row.opened)
    entry, indent = row.line, "  " if row.inside else ""
    below = f"{indent}    {_below(entry, called, now, width - len(indent) - 4)}"
    mark = f"{indent}{MARKS[entry.standing]} "
    if entry.standing is Standing.OVER:
        said = Text.assemble(f"{mark}over: ", (entry.alert.headline, "strike"))
        said.stylize("dim")
        return said, Text(below, "dim")
    quiet = entry.standing is Standing.ACKNOWLEDGED
    first = Text.assemble(mark, badge(entry.alert.severity), " ", (entry.alert.headline, "" if quiet else "bold"))
    return first, Text(below, "bold" if entry.standing is Standing.CHANGED else "dim")


def _below(entry: Entry, called: Mapping[str, str], now: int, width: int) -> str:
    """When, where, who and what of it, as much as there is room for: a name that is cut off is none. What is in the
    headline or the whole alert as well goes first."""
    alert = entry.alert
    where, everybody, some = words.short_place(alert, called), words.persons(alert), words.persons(alert, 1)
    limit = words.caution(alert.caution) if alert.caution else ""
    if entry.is_over:
        known = "was acknowledged" if entry.acknowledged else ""
        why, short = words.over_because(entry), words.over_in_short(entry)
        building = called.get(alert.facility or "", "")
        ways = [
            (limit, where, everybody, why, known),
            (limit, where, everybody, why),
            (limit, where, some, why),
            (limit, building, some, why),
            (limit, some, why),
            (limit, where, everybody, short),
            (limit, some, short),
            (limit, short),
        ]
    else:
        standing = {Standing.CHANGED: CHANGED, Standing.ACKNOWLEDGED: "acknowledged"}.get(entry.standing, "")
        soon = words.expected(alert, now)
        due, age = f"due {soon}" if soon else "", f"raised {words.age(max(0, now - alert.opened))} ago"
        changed = f"changed {words.age(max(0, now - alert.at))} ago" if alert.at != alert.opened else age
        ways = [
            (limit, standing, where, due, everybody, changed),
            (limit, standing, where, due, everybody),
            (limit, standing, where, due, some, changed),
            (limit, standing, where, due, some),
            (limit, "changed" if standing == CHANGED else "", where, due, some),
        ]
    said = [" · ".join(part for part in parts if part) for parts in ways]
    return next((one for one in said if cell_len(one) <= width), said[-1])


def _notice_text(notice: Notice, opened: bool) -> tuple[Text, Text]:
    still_open = "each is in the list" if not notice.over else "those open are in the list"
    enter = f"Enter {'hides' if opened else 'shows'} those withdrawn"
    parts = [
        still_open if len(notice.over) < len(notice.entries) else "",
        enter if notice.over else "",
    ]
    sign = "▾" if opened else "▸"
    return (
        Text.assemble(f"{sign} ", (words.notice(notice), "italic")),
        Text(f"    {' · '.join(part for part in parts if part)}", "dim"),
    )


class AlertList(ScrollView, can_focus=True):
    """The rows with a cursor.

    While somebody is at the keys it stays on its alert wherever that goes, and where that is gone it is on nothing
    until it is moved. While nobody is, it goes to what is to be read first. A key pressed at such a moment must not
    reach an alert that nobody has read: see `is_read`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Choose", key_display="↑ ↓"),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "edge(-1)", "First", show=False),
        Binding("end", "edge(1)", "Last", show=False),
        Binding("enter", "choose", "Read", key_display="Enter"),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    class Chosen(Message):
        """Enter, or a second click."""

    def __init__(self, called: Mapping[str, str], clock: Callable[[], int], **options: Any) -> None:
        """A list of alerts. `called` is what facilities are called in it, by id; `clock` says the desk's time in
        microseconds."""
        super().__init__(**options)
        self._called = called
        self._clock = clock
        self._pressed: int | None = None
        """When somebody was at the keys last."""
        self._came: int | None = None
        """When what is under the cursor came there by itself, or changed there."""
        self._shown: Row | None = None
        """What was under it when that was looked at last."""
        self._rows: list[Row] = []
        self._now = 0
        self._at = 0
        self._key: str | None = None
        """What the cursor is on."""
        self._done: str | None = None
        """What was on it when it was acknowledged here, until that is on the log."""
        self.nothing = ""
        """What is said where there are no rows."""

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, seen or not."""
        return self._rows

    @property
    def selected(self) -> Row | None:
        """The row under the cursor, as it is shown; None where there is none, or its alert is gone."""
        return self._rows[self._at] if self._rows and not self.is_astray else None

    @property
    def is_astray(self) -> bool:
        """What the cursor was on is gone, and it was not moved since."""
        return bool(self._rows) and self._rows[self._at].key != self._key

    @property
    def is_read(self) -> bool:
        """Whether what is under the cursor was there long enough to be what a key means."""
        return self._has_passed(READING, self._came)

    @property
    def is_left_alone(self) -> bool:
        """Whether nobody is at the keys."""
        return self._has_passed(LEFT_ALONE, self._pressed)

    def _has_passed(self, microseconds: int, since: int | None) -> bool:
        # A clock that was set back since says nothing: then it has.
        return since is None or not 0 <= self._clock() - since < microseconds

    def touch(self) -> None:
        """Somebody is at the keys."""
        self._pressed = self._clock()

    def appear(self) -> None:
        """The list, or what hid it is gone, can be seen from now on."""
        self._came = self._clock()

    def leave(self) -> None:
        """What the cursor is on is acknowledged: when that is on the log, and it sinks, the cursor is to stay where it
        is, on what comes next."""
        self._done = self._key

    def stay(self, key: str) -> None:
        """The bus did not take that this was acknowledged: the cursor stays on it."""
        if self._done == key:
            self._done = None

    def show(self, rows: list[Row], now: int, nothing: str) -> None:
        """Show these rows; ages are counted from `now`."""
        before, was = self._rows, self._at
        self._rows, self._now, self.nothing = rows, now, nothing
        places = {row.key: number for number, row in enumerate(rows)}
        self._at = places.get(self._key or "", min(self._at, max(0, len(rows) - 1)))
        self._look()
        self._go_on(before[was + 1 :], places)
        self._measure()
        if rows and (not before or self.is_left_alone):
            first = first_to_read(rows).key
            if self._key is None:
                self._at, self._key, self._shown = places[first], first, rows[places[first]]
            elif self._key != first:
                self._come_to(places[first])
            self._reveal()
        self.refresh()

    def _look(self) -> None:
        """Note what is under the cursor: where there is more in it to be read, no key meant that yet."""
        row, last = self.selected, self._shown
        if row is not None and (last is None or not row.revisions <= last.revisions):
            self._came, self._done = self._clock(), None
        self._shown = row

    def _go_on(self, followed: Sequence[Row], places: Mapping[str, int]) -> None:
        """Where what is under the cursor sank as it was acknowledged here, go to what followed it."""
        row = self.selected
        if row is None or row.key != self._done or not is_acknowledged(row.line):
            return
        self._done = None
        # Not by the number of its row: that also grows where something new stands above it.
        following = next((places[other.key] for other in followed if other.key in places), self._at)
        if following < self._at:
            self._come_to(following)

    def _come_to(self, number: int) -> None:
        """Go there, without a key."""
        self._at, self._key, self._shown = number, self._rows[number].key, self._rows[number]
        self._came, self._done = self._clock(), None

    def _measure(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, LINES * len(self._rows))

    def on_resize(self, _: Resize) -> None:
        """Lines are as wide as the widget."""
        self._measure()
        self._reveal()

    def render_line(self, y: int) -> Strip:
        """One line of the widget."""
        width = self.scrollable_content_region.width
        number, part = divmod(self.scroll_offset.y + y, LINES)
        if number < len(self._rows):
            text = row_text(self._rows[number], self._called, self._now, width - 1)[part]
        else:
            text = Text(f"  {self.nothing}" if not self._rows and y == 1 else "")
        text.no_wrap = True
        chosen = self.selected is not None and number == self._at
        # A bar besides the colour: it is seen without colours too.
        line = Text.assemble("▌" if chosen else " ", text)
        line.truncate(width, overflow="ellipsis", pad=True)
        background = Style(bgcolor="grey23") if chosen else Style()
        line.stylize_before(background)
        return Strip(line.render(self.app.console), width).apply_style(self.rich_style)

    # -- the cursor ------------------------------------------------------------------------------------------------

    def _go(self, number: int) -> None:
        if self._rows:
            self._at = max(0, min(number, len(self._rows) - 1))
            if self._key != self._rows[self._at].key:
                # Whoever stays, by a key that leads nowhere, has not chosen what came or changed there just now.
                self._came, self._done = None, None
            self._key, self._shown = self._rows[self._at].key, self._rows[self._at]
            self._reveal()
            self.refresh()
            self.post_message(self.Moved())

    def _reveal(self) -> None:
        self.scroll_to_region(Region(0, self._at * LINES, 1, LINES), animate=False)

    def action_move(self, by: int) -> None:
        """One row up or down; from nothing to what is there."""
        self._go(self._at if self.is_astray else self._at + by)

    def action_page(self, by: int) -> None:
        """As many rows as are seen."""
        self._go(self._at + by * max(1, self.size.height // LINES))

    def action_edge(self, side: int) -> None:
        """The first row or the last."""
        self._go(0 if side < 0 else len(self._rows))

    def action_choose(self) -> None:
        """Open what is under the cursor."""
        if self._rows:
            self.post_message(self.Chosen())

    def on_click(self, event: Click) -> None:
        """A click selects, on the selected row it opens."""
        number = (self.scroll_offset.y + event.y) // LINES
        if number == self._at and not self.is_astray:
            self.action_choose()
        elif number < len(self._rows):
            self._go(number)
