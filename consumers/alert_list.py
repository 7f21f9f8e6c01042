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
"""Without a key pressed or a mouse moved for so long the cursor goes to what has come to the top since, so that the
gravest is shown in full."""
READING: Final = 2 * SECOND
"""How long an alert that the cursor went to by itself is on the screen before a key is taken to mean it."""
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
    until it is moved. While nobody is, it goes to what comes first. A key pressed at such a moment must not reach an
    alert that nobody has read: see `is_read`.
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
        self._seen_first: str | None = None
        """What came first then, or when the cursor went there by itself."""
        self._followed: int | None = None
        """When the cursor went to the alert that it is on by itself."""
        self._rows: list[Row] = []
        self._now = 0
        self._at = 0
        self._key: str | None = None
        """What the cursor is on."""
        self._done: str | None = None
        """What was on it when it was acknowledged here."""
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
        return self._has_passed(READING, self._followed)

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
        self._seen_first = self._first.key if self._rows else None

    def leave(self) -> None:
        """What the cursor is on is done with: when it goes, the cursor is to stay where it is, on what comes next."""
        self._done = self._key

    def show(self, rows: list[Row], now: int, nothing: str) -> None:
        """Show these rows; ages are counted from `now`."""
        begins = not self._rows
        self._rows, self._now, self.nothing = rows, now, nothing
        places = {row.key: number for number, row in enumerate(rows)}
        was = self._at
        self._at = places.get(self._key or "", min(self._at, max(0, len(rows) - 1)))
        if self._done == self._key and self._at > was:
            self._at, self._key, self._done, self._followed = was, rows[was].key, None, self._clock()
        self._measure()
        if rows and (begins or (self.is_left_alone and (self.is_astray or self._first.key != self._seen_first))):
            first = self._first.key
            if self._key not in {None, first}:
                self._followed = self._clock()
            self._at, self._key, self._seen_first = places[first], first, first
            self._reveal()
        self.refresh()

    @property
    def _first(self) -> Row:
        """The first alert that is open, if any is: of a notice, one key would acknowledge all of its alerts."""
        alerts = (row for row in self._rows if isinstance(row.line, Entry) and not row.line.is_over)
        return next(alerts, self._rows[0])

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
        self._followed = None
        if self._rows:
            self._at = max(0, min(number, len(self._rows) - 1))
            self._key = self._rows[self._at].key
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
