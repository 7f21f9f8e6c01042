"""The screen, driven as its user would: the real app over a feed in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.text import Text
from textual.color import Color

from consumers import alert_list, watch
from consumers.alert_feed import now_us
from consumers.alert_list import AlertList, first_to_read, rows_of
from consumers.board import SECOND, ActionSaid, AlertSaid, Board, CaughtUp, LinkLost, ReportSaid, Said
from consumers.board import Blind as Why
from consumers.watch import WatchApp, seconds_ahead
from schemas.settings import Settings
from tests.county import SITE, demo_site

APART = "they no longer share the unit, keep them apart"
RECIPIENT = "county-jail-watch"
LATER = now_us() + 24 * 3_600 * SECOND
MAIN = SITE.facilities[0]
ANNEX = MAIN.model_copy(update={"id": "county-jail-annex", "name": "County Jail, annex"})
BOTH = SITE.recipient_by_id[RECIPIENT].model_copy(update={"facilities": (MAIN.id, ANNEX.id)})
TWO_BUILDINGS = demo_site(facilities=(MAIN, ANNEX), recipients=(BOTH,))
"""The same desk for two buildings of one jail."""


class Feed:
    """What the app needs of a feed; the test says what comes."""

    def __init__(self) -> None:
        self.deliver: Callable[[Sequence[Said]], object] = lambda _: None

    def start(self, deliver: Callable[[Sequence[Said]], object]) -> None:
        self.deliver = deliver

    def stop(self) -> None:
        """Nothing runs."""


class Desk:
    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, int]] = []
        self.takes = True

    def acknowledge(self, alert_id: str, revision: int, done: Callable[[bool], None]) -> None:
        self.acknowledged.append((alert_id, revision))
        done(self.takes)

    def poll(self) -> None:
        """Nothing is on its way."""

    def close(self) -> None:
        """Nothing is open."""


class SlowDesk(Desk):
    """What becomes of an acknowledgement is heard when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.on_its_way: list[Callable[[bool], None]] = []

    def acknowledge(self, alert_id: str, revision: int, done: Callable[[bool], None]) -> None:
        self.acknowledged.append((alert_id, revision))
        self.on_its_way.append(done)


class Clock:
    """The desk's clock, as the test sets it."""

    def __init__(self) -> None:
        self._start = now_us()
        self.ahead = 0

    def __call__(self) -> int:
        return self._start + self.ahead


class ScreenWithBell(WatchApp):
    """Counts the bell."""

    rung = 0

    def bell(self) -> None:
        self.rung += 1


def alert(name: str, **changes: Any) -> AlertSaid:
    return AlertSaid(
        {
            "alert_id": name,
            "revision": 1,
            "state": "OPEN",
            "recipient": RECIPIENT,
            "kind": "housing",
            "rule": "rivals_housed_together",
            "severity": "HIGH",
            "confidence": "HIGH",
            "facility": "county-jail-main",
            "unit": "4-B",
            "headline": f"Headline of {name}",
            "subjects": [{"booking_number": "B-1", "name": "Adams, Ada", "linked_by": "number"}],
            "why": [{"text": "Violence between A and B", "agency": "city-pd", "event_time": now_us()}],
            "left_out": 2,
            "actions": ["Keep the two sides apart now"],
            "caution": None,
            "agreements": ["city-pd-to-county-jail-housing"],
            "due": None,
            "until": None,
            "opened": None,
            "at": now_us(),
            "cause": {"kind": "FACT"},
            "group": None,
            **changes,
        }
    )


def acknowledged(name: str, revision: int) -> ActionSaid:
    return ActionSaid(
        {
            "action_id": "1",
            "alert_id": name,
            "revision": revision,
            "recipient": RECIPIENT,
            "action": "ACKNOWLEDGE",
            "by": "sgt.reyes",
            "at": now_us(),
        }
    )


def reports(**changes: Any) -> list[Said]:
    return [
        ReportSaid(
            {
                "stage": stage,
                "partition": number,
                "state": "LIVE",
                "tick": now_us(),
                "lag": 0,
                "done": 0,
                "total": 0,
                "at": now_us(),
                **changes,
            }
        )
        for stage in ("identify", "person", "facility", "disclose")
        for number in range(SITE.partitions)
    ]


def text_of(app: WatchApp) -> str:
    """All the text on the screen."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def cursor(app: WatchApp) -> str | None:
    """What the cursor is on."""
    row = app.query_one(AlertList).selected
    return row.key if row else None


def heading(app: WatchApp) -> str:
    """The second line."""
    return text_of(app).splitlines()[1]


async def until(pilot: Any, app: WatchApp, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in text_of(app):
        assert time.monotonic() < deadline, text_of(app)
        await pilot.pause(0.02)


async def test_an_alert_shows_with_who_why_and_what_to_do_and_goes_when_it_is_over() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("one"), CaughtUp()])
        await until(pilot, app, "Headline of one")
        shown = text_of(app)
        for words in ("HIGH", "Adams, Ada", "B-1", "Violence between A and B", "Keep the two sides apart now"):
            assert words in shown
        assert "2 pieces of evidence" in shown
        assert "segregate" not in shown.lower()
        feed.deliver([alert("one", revision=2, state="WITHDRAWN")])
        await until(pilot, app, "over: Headline of one")


async def test_the_top_says_up_to_which_date_and_time_and_in_which_zone() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        tick = now_us()
        feed.deliver([*reports(tick=tick), alert("one", at=tick), CaughtUp()])
        shown = datetime.fromtimestamp(tick / SECOND, ZoneInfo("America/New_York"))
        date = f"{shown:%a} {shown.day} {shown:%b %Y %H:%M:%S %Z}"
        await until(pilot, app, f"Live: every alert for this desk is here, up to {date}.")
        await until(pilot, app, f"raised {shown:%H:%M %Z} today")


STILL_SO = "an agreement ended: it may still be so"
TOO_MANY = "too many meant now (it may still come)"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ({}, "moved, released, report changed or too long ago by now"),
        (
            {"rule": "contraband_delivery_expected"},
            (
                "done, called off, put off (it may still come), seized, recipient released or moved, "
                f"somebody else meant, tip withdrawn or closed, {TOO_MANY} or too long ago by now"
            ),
        ),
        ({"rule": "of_a_later_version"}, "no longer so"),
        ({"until": LATER, "ended": LATER - 1}, "moved, released or report changed"),
        ({"until": LATER, "ended": LATER}, "too long ago by now"),
        ({"cause": "TICK"}, STILL_SO),
        (
            {"cause": "RECONCILED"},
            "no longer so or no longer told here, found when the bus started again: it may still be so",
        ),
        ({"cause": "OF_A_LATER_VERSION"}, "no longer so or no longer told here: it may still be so"),
        ({"cause": "RULE_CHANGED"}, "the rule that raised it was changed"),
    ],
)
async def test_what_is_over_still_says_who_it_was_about_and_why_it_is_over(end: dict[str, Any], why: str) -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    opened = {name: end[name] for name in ("rule", "until") if name in end}
    withdrawal = {
        "headline": None,
        "subjects": [],
        "why": [],
        "rule": None,
        "at": end.get("ended", now_us()),
        "cause": {"kind": end.get("cause", "FACT")},
    }
    async with app.run_test(size=(100, 40)) as pilot:
        feed.deliver([*reports(), alert("one", **opened), CaughtUp()])
        await until(pilot, app, "Headline of one")
        feed.deliver([alert("one", revision=2, state="WITHDRAWN", **withdrawal)])
        await until(pilot, app, "over: Headline of one")
        rivals = "rule" not in opened
        then = (
            f"Until your own records show that {APART}"
            if rivals
            else "Until your own records show what came of it, be ready for it"
        )
        below = app.query_one(AlertList).render_line(1).text
        # All the ways of a delivery don't fit in a line: neither its person nor the worst of them is cut off.
        listed = (
            "done or off, or it may still come"
            if "done" in why
            else why.replace(", found when the bus started again", "")
        )
        assert below.rstrip().endswith(f"· Adams, Ada · {listed}")
        await until(pilot, app, "Over since")
        told = f"today{', one of these' if ' or ' in why else ''}: {why}."
        told += f" {then}." if " or " in why or why == STILL_SO else ""
        assert told in " ".join(text_of(app).split())
        assert "Adams, Ada (booking B-1)" in text_of(app)


MANY = ["Fitzwarren, Reginald", "Delacroix, Sylvester", "Abernathy, Sylvester"]


@pytest.mark.parametrize(
    ("width", "changed", "below"),
    [
        (120, False, "annex, unit 4-B · Fitzwarren, Reginald and 2 more"),
        (100, False, "annex, unit 4-B · Fitzwarren, Reginald; Delacroix, Sylvester; Abernathy, Sylvester"),
        (80, False, "annex, unit 4-B · Fitzwarren, Reginald and 2 more · raised under 1 min ago"),
        (80, True, "changed · annex, unit 4-B · due in 5 h · Fitzwarren, Reginald and 2 more"),
    ],
)
async def test_neither_a_building_nor_a_name_is_cut_off_in_the_list(width: int, changed: bool, below: str) -> None:
    feed = Feed()
    app = WatchApp(TWO_BUILDINGS, RECIPIENT, feed, Desk())
    persons = [{"booking_number": None, "name": name, "linked_by": None} for name in MANY]
    due = now_us() + (5 * 3_600 + 60) * SECOND if changed else None
    one = alert("one", revision=2, facility="county-jail-annex", subjects=persons, due=due)
    async with app.run_test(size=(width, 30)) as pilot:
        feed.deliver([*reports(), one, *([acknowledged("one", 1)] if changed else []), CaughtUp()])
        await until(pilot, app, "Headline of one")
        line = app.query_one(AlertList).render_line(1).text
        assert line.removeprefix("▌").strip() == below


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("Fennimore, Sol", "Fennimore, Sol · moved, released, report changed or too long ago by now"),
        ("Fitzwarren-Delacroix, Reginald", "moved, released, report changed or too long ago by now"),
    ],
)
async def test_why_something_is_over_is_not_cut_off_either(name: str, below: str) -> None:
    feed = Feed()
    app = WatchApp(TWO_BUILDINGS, RECIPIENT, feed, Desk())
    persons = [{"booking_number": None, "name": name, "linked_by": None}]
    gone: dict[str, Any] = {"subjects": [], "why": [], "rule": None, "at": now_us(), "cause": {"kind": "FACT"}}
    async with app.run_test(size=(80, 30)) as pilot:
        feed.deliver([*reports(), alert("one", facility="county-jail-annex", subjects=persons), CaughtUp()])
        await until(pilot, app, "Headline of one")
        feed.deliver([alert("one", revision=2, state="WITHDRAWN", **gone)])
        await until(pilot, app, "over: Headline of one")
        line = app.query_one(AlertList).render_line(1).text
        assert line.removeprefix("▌").strip() == below


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        ("MODERATE", "confidence in this alert: moderate"),
        ("UNKNOWN", "confidence in this alert: not told, as it rests on"),
    ],
)
async def test_of_what_the_confidence_is_said(confidence: str, said: str) -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(100, 30)) as pilot:
        feed.deliver([*reports(), alert("one", confidence=confidence), CaughtUp()])
        await until(pilot, app, "Headline of one")
        assert said in " ".join(text_of(app).split())


async def test_a_person_without_a_name_is_said_to_be_so() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(140, 40)) as pilot:
        nameless = {"booking_number": "B-7", "name": None, "linked_by": None}
        feed.deliver([*reports(), alert("one", subjects=[nameless]), CaughtUp()])
        await until(pilot, app, "unit 4-B · booking B-7 (name not shown)")


async def test_the_graver_alert_stands_first_at_80_by_24() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW"), alert("graver", severity="CRITICAL"), CaughtUp()])
        await until(pilot, app, "Headline of lesser")
        shown = text_of(app)
        assert shown.index("Headline of graver") < shown.index("Headline of lesser")


async def test_a_acknowledges_the_chosen_alert_at_the_revision_on_the_screen() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("one", revision=3), CaughtUp()])
        await until(pilot, app, "Headline of one")
        await pilot.press("a")
        await pilot.pause()
        assert desk.acknowledged == [("one", 3)]


async def test_a_desk_that_cannot_see_says_so_in_red_across_the_top_and_what_to_do() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        await until(pilot, app, "Live: every alert for this desk is here")
        clock.ahead = 60 * SECOND
        feed.deliver([LinkLost(Why.UNREACHABLE, clock())])
        await until(pilot, app, "BLIND since")
        top = app.query_one("#banner")
        assert top.styles.background == Color.parse("red")
        assert top.region.y == 0
        assert top.region.width == 80
        shown = " ".join(text_of(app).split())
        assert "alerts may be missing; phone the floor" in shown
        assert "sallyport topics" in shown
        assert "No open alert is known, but this desk is BLIND" in shown


async def test_a_desk_that_has_just_begun_is_starting_and_after_ten_seconds_of_silence_blind() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([CaughtUp()])
        await until(pilot, app, "Starting:")
        assert "BLIND" not in text_of(app)
        clock.ahead = 11 * SECOND
        await until(pilot, app, "BLIND since")
        assert "No word from the workers" in text_of(app)
        clock.ahead = 0
        feed.deliver(reports())
        await until(pilot, app, "Live: every alert for this desk is here")


async def test_a_history_site_tells_the_time_on_its_log() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(demo_site(clock="history"), RECIPIENT, feed, Desk(), clock)
    clock.ahead = 60 * SECOND
    long_ago = 1_600_000_000 * SECOND
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(tick=long_ago, at=clock()), CaughtUp()])
        await until(pilot, app, "its log stands at Sun 13 Sep 2020 08:26:40 EDT")
        assert "BLIND" not in text_of(app)


async def test_what_was_acknowledged_and_then_changed_says_so_in_the_list() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("one"), acknowledged("one", 1), CaughtUp()])
        await until(pilot, app, "by sgt.reyes")
        feed.deliver([alert("one", revision=2)])
        await until(pilot, app, "changed since acknowledged")


async def test_a_mass_change_is_one_line_and_enter_shows_what_it_withdrew() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    group = "classification_review: version 2"
    names = [str(number) for number in range(37)]
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), *(alert(name) for name in names), CaughtUp()])
        await until(pilot, app, "37 open alerts")
        feed.deliver([alert(name, revision=2, state="WITHDRAWN", group=group) for name in names])
        await until(pilot, app, "classification review: 37 alerts withdrawn")
        listed = app.query_one(AlertList)
        assert len(listed.rows) == 1
        await pilot.press("down", "enter")
        assert len(listed.rows) == 38
        await pilot.press("enter")
        assert len(listed.rows) == 1


async def test_a_key_pressed_when_the_alert_is_gone_reaches_no_other_alert() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("first", severity="CRITICAL"), alert("second"), CaughtUp()])
        await until(pilot, app, "Headline of first")
        await pilot.press("home")
        feed.deliver([alert("first", revision=2, state="WITHDRAWN")])
        await until(pilot, app, "over: Headline of first")
        clock.ahead = 110 * SECOND
        await pilot.press("down")
        clock.ahead = 160 * SECOND
        await until(pilot, app, "What was shown here is over and gone")
        await pilot.press("a")
        await pilot.pause()
        assert desk.acknowledged == []
        await pilot.press("down")
        await until(pilot, app, "Keep the two sides apart now")
        await pilot.press("a")
        await pilot.pause()
        assert desk.acknowledged == [("second", 1)]


async def test_a_desk_left_alone_shows_the_gravest_in_full_and_a_key_means_it_once_it_could_be_read() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW", actions=["Advice of lesser"]), CaughtUp()])
        await until(pilot, app, "Advice of lesser")
        feed.deliver([alert("graver", severity="HIGH", actions=["Advice of graver"])])
        await until(pilot, app, "Advice of graver")
        await pilot.press("a")
        await until(pilot, app, "It came or changed just now")
        assert desk.acknowledged == []
        clock.ahead = 2 * SECOND
        await pilot.press("a")
        assert desk.acknowledged == [("graver", 1)]


async def test_a_desk_left_alone_on_an_alert_that_is_gone_shows_the_first() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("first", actions=["Advice of first"]), alert("second", severity="LOW")])
        feed.deliver([CaughtUp()])
        await until(pilot, app, "Advice of first")
        await pilot.press("down")
        feed.deliver([alert("second", revision=2, state="WITHDRAWN")])
        await until(pilot, app, "over: Headline of second")
        clock.ahead = 130 * SECOND
        await until(pilot, app, "1 open alert")
        await until(pilot, app, "Advice of first")


@pytest.mark.parametrize("came", [30, 61])
async def test_the_cursor_goes_to_what_came_to_the_top_when_no_key_was_pressed_for_a_minute(came: int) -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("first", actions=["Advice of first"]), CaughtUp()])
        await until(pilot, app, "Advice of first")
        await pilot.press("up")
        clock.ahead = came * SECOND
        feed.deliver([alert("graver", severity="CRITICAL", actions=["Advice of graver"])])
        await until(pilot, app, "Headline of graver")
        assert ("Advice of first" in text_of(app)) is (came < 60)
        clock.ahead = 61 * SECOND
        await until(pilot, app, "Advice of graver")


async def test_the_cursor_goes_by_itself_to_an_alert_and_to_no_notice() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW"), CaughtUp()])
        await until(pilot, app, "Headline of lesser")
        feed.deliver([alert(n, group="rule: version 2", actions=[f"Advice of {n}"]) for n in ("one", "two")])
        await until(pilot, app, "the rule is now version 2")
        await until(pilot, app, "Advice of one")


async def test_the_cursor_stays_on_its_alert_when_a_graver_one_comes() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("first", at=1), alert("second", at=2), CaughtUp()])
        await until(pilot, app, "2 open alerts")
        await pilot.press("down")
        feed.deliver([alert("graver", severity="CRITICAL")])
        await until(pilot, app, "Headline of graver")
        await pilot.press("a")
        await pilot.press("up", "up")
        await pilot.press("a")
        assert desk.acknowledged == [("second", 1), ("graver", 1)]


async def test_the_bell_rings_for_a_new_grave_alert_only_and_can_be_muted() -> None:
    feed = Feed()
    app = ScreenWithBell(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("known", severity="CRITICAL"), CaughtUp()])
        await until(pilot, app, "Headline of known")
        assert app.rung == 0
        feed.deliver([alert("mild", severity="MEDIUM")])
        await until(pilot, app, "2 open alerts")
        assert app.rung == 0
        feed.deliver([alert("new", severity="HIGH"), alert("newer", severity="CRITICAL")])
        await until(pilot, app, "4 open alerts")
        assert app.rung == 1
        assert "bell on" in heading(app)
        await pilot.press("m")
        await until(pilot, app, "bell off")
        assert "bell on" not in heading(app)
        feed.deliver([alert("newest", severity="CRITICAL")])
        await until(pilot, app, "5 open alerts")
        assert app.rung == 1


class ScreenThatHearsToTheLast(WatchApp):
    """The feed and the second's timer go on between the removal of the widgets and the end of the loop."""

    heard_while_ending = 0

    async def _close_messages(self, wait: bool = True) -> None:
        self.on_watch_app_heard(self.Heard([alert("late", severity="CRITICAL")]))
        self._show()
        self.heard_while_ending += 1
        await super()._close_messages(wait)


async def test_what_is_heard_while_the_screen_ends_does_no_harm() -> None:
    feed = Feed()
    app = ScreenThatHearsToTheLast(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one"), CaughtUp()])
        await until(pilot, app, "Headline of one")
    assert app.heard_while_ending == 1


async def test_the_detail_is_below_at_80_columns_and_beside_at_140() -> None:
    for size, beside in (((80, 24), False), ((140, 40), True)):
        feed = Feed()
        app = WatchApp(SITE, RECIPIENT, feed, Desk())
        async with app.run_test(size=size) as pilot:
            feed.deliver([*reports(), alert("one"), CaughtUp()])
            await until(pilot, app, "What could be done")
            listed, whole = app.query_one(AlertList).region, app.query_one("#detail").region
            assert (whole.x >= listed.right) is beside
            assert (whole.y >= listed.bottom) is not beside


async def test_enter_shows_the_whole_alert_and_enter_again_the_list() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one"), CaughtUp()])
        await until(pilot, app, "What could be done")
        assert "city-pd-to-county-jail-housing" not in text_of(app)
        await pilot.press("enter")
        await until(pilot, app, "city-pd-to-county-jail-housing")
        assert not app.query_one(AlertList).display
        await pilot.press("enter")
        assert app.query_one(AlertList).display


async def test_when_it_is_expected_and_that_no_source_is_shown_is_said() -> None:
    torn = {"text": "Contraband is said to be coming", "agency": "", "event_time": None}
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        due = now_us() + (5 * 3_600 + 60) * SECOND
        feed.deliver([*reports(), alert("one", why=[torn], due=due), CaughtUp()])
        await until(pilot, app, "unit 4-B · due in 5 h · Adams, Ada")
        await until(pilot, app, "its source is kept from this desk")
        assert "Expected " in text_of(app)
        assert ", in 5 h" in text_of(app)


async def test_help_fits_on_the_small_screen_and_any_key_goes_back() -> None:
    app = WatchApp(SITE, RECIPIENT, Feed(), Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        await until(pilot, app, "Any key goes back.")
        for words in ("every alert for this desk is here", "BLIND", "acknowledge", "quit"):
            assert words in text_of(app)
        await pilot.press("x")
        await until(pilot, app, "Shift commander's desk")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_a_key_ends_the_screen(key: str) -> None:
    app = WatchApp(SITE, RECIPIENT, Feed(), Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
    assert app.return_value == 0


async def test_without_colours_the_words_and_marks_still_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one", severity="CRITICAL"), CaughtUp()])
        await until(pilot, app, "Headline of one")
        assert "CRITICAL" in text_of(app)
        assert "▌●" in text_of(app)
        assert app.no_color


async def test_an_acknowledgement_that_the_bus_does_not_take_is_said() -> None:
    feed, desk = Feed(), Desk()
    desk.takes = False
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), alert("one"), CaughtUp()])
        await until(pilot, app, "Headline of one")
        await pilot.press("a")
        await until(pilot, app, "Not acknowledged: the bus did not")
        assert "Not acknowledged: press a" in text_of(app)


async def test_only_the_alerts_that_are_seen_are_drawn_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[str] = set()

    def drawing(row: alert_list.Row, *others: Any) -> tuple[Text, Text]:
        drawn.add(row.key)
        return row_text(row, *others)

    row_text = alert_list.row_text
    monkeypatch.setattr(alert_list, "row_text", drawing)
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), *(alert(f"a{number}", severity="LOW") for number in range(5_000)), CaughtUp()])
        await until(pilot, app, "5,000 open alerts")
        feed.deliver([alert("grave", severity="CRITICAL")])
        await until(pilot, app, "Headline of grave")
        await pilot.press("end")
        await until(pilot, app, "Headline of a4999")
    at_once = 40 // alert_list.LINES
    assert len(drawn) <= 2 * at_once + 2, "a screenful at the top and one at the end"


@pytest.mark.parametrize(
    ("kind", "short", "then"),
    [
        ("WATCH_ONLY", "WATCH ONLY", "What could be done within that, the mildest first; you decide"),
        ("CALL_FIRST", "CALL FIRST", "What could be done once that is done, the mildest first; you decide"),
        ("UNKNOWN", "READ FIRST", "What could be done within that, the mildest first; you decide"),
    ],
)
async def test_what_is_asked_before_anything_stands_in_the_list_and_above_what_could_be_done(
    kind: str, short: str, then: str
) -> None:
    feed = Feed()
    site = demo_site(deconfliction="Watch center, 555-0100")
    app = WatchApp(site, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        feed.deliver([*reports(), alert("one", caution={"kind": kind, "limit": "Ask first"}), CaughtUp()])
        await until(pilot, app, f"{short} · unit 4-B")
        said = text_of(app)
        told = [f"{short}: whoever gave the information asks this of you", "Ask first.", then, "Keep the two"]
        assert [said.find(words) for words in told] == sorted(said.find(words) for words in told)
        assert all(words in said for words in told)
        assert "The deconfliction service: Watch center, 555-0100." in said
        assert ("A reference, if any" in said) is (kind == "CALL_FIRST")


async def test_where_a_site_names_no_service_the_desk_is_told_to_go_by_the_reference() -> None:
    feed = Feed()
    app = WatchApp(demo_site(deconfliction=None), RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        feed.deliver([*reports(), alert("one", caution={"kind": "CALL_FIRST", "limit": "Call"}), CaughtUp()])
        await until(pilot, app, "Nobody to call is named to this desk: do what is done with everybody")
        known = [{"text": "Deconfliction reference DC-77", "agency": "", "event_time": None}]
        feed.deliver([alert("one", revision=2, caution={"kind": "CALL_FIRST", "limit": "Call"}, why=known)])
        await until(pilot, app, "This site names no deconfliction service: go by the reference")


async def test_without_a_caution_nothing_is_asked() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        feed.deliver([*reports(), alert("one"), CaughtUp()])
        await until(pilot, app, "What could be done, the mildest first; you decide")
        assert "asks this of you" not in text_of(app)


async def test_of_what_is_over_its_building_is_said_and_that_it_was_acknowledged_and_that_this_ended_nothing() -> None:
    feed = Feed()
    app = WatchApp(TWO_BUILDINGS, RECIPIENT, feed, Desk())
    async with app.run_test(size=(120, 40)) as pilot:
        annex = {"facility": "county-jail-annex", "unit": None}
        feed.deliver([*reports(), alert("one", **annex), acknowledged("one", 1), CaughtUp()])
        await until(pilot, app, "Headline of one")
        feed.deliver([alert("one", revision=2, state="WITHDRAWN", cause={"kind": "TICK"})])
        await until(pilot, app, "over: Headline of one")
        below = app.query_one(AlertList).render_line(1).text
        assert below.strip(" ▌").startswith("annex · Adams, Ada · an agreement ended")
        await pilot.press("enter")
        await until(pilot, app, "by sgt.reyes; that")
        assert "It was acknowledged" in " ".join(text_of(app).split())


@pytest.mark.parametrize(
    ("minutes", "due"), [(-12, "due 12 min ago"), (0, "due now"), (20, "due in 20 min"), (300, "due in 5 h")]
)
async def test_when_it_is_due_is_said_of_what_is_past_too(minutes: int, due: str) -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        at = clock() + minutes * 60 * SECOND
        feed.deliver([*reports(), alert("one", due=at), CaughtUp()])
        await until(pilot, app, f"unit 4-B · {due}")


async def test_an_alert_that_changed_says_since_when() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), alert("one", at=clock() - 300 * SECOND), CaughtUp()])
        await until(pilot, app, "raised 5 min ago")
        feed.deliver([alert("one", revision=2, at=clock() - 120 * SECOND)])
        await until(pilot, app, "changed 2 min ago")


async def test_what_is_acknowledged_sinks_and_the_cursor_stays_where_it_is_on_what_comes_next() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), *(alert(name, at=at) for at, name in enumerate(("one", "two", "three"))), CaughtUp()])
        await until(pilot, app, "3 open alerts")
        await pilot.press("a")
        feed.deliver([acknowledged("one", 1)])
        await until(pilot, app, "2 not acknowledged")
        await pilot.press("a")
        assert desk.acknowledged == [("one", 1)], "the next one came under the cursor just now"
        clock.ahead += 3 * SECOND
        await pilot.press("a")
        assert desk.acknowledged == [("one", 1), ("two", 1)]


async def test_what_is_read_whole_stays_there_when_it_is_acknowledged() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one", at=1), alert("two", at=2), CaughtUp()])
        await until(pilot, app, "2 open alerts")
        await pilot.press("enter", "a")
        feed.deliver([acknowledged("one", 1)])
        await until(pilot, app, "by sgt.reyes")
        assert "Headline of one" in text_of(app)


async def test_of_one_to_be_called_about_an_acknowledgement_tells_nothing_of_the_call() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        limit = {"kind": "CALL_FIRST", "limit": "Call"}
        feed.deliver([*reports(), alert("one", caution=limit), acknowledged("one", 1), CaughtUp()])
        await until(pilot, app, "Headline of one")
        await pilot.press("enter")
        await until(pilot, app, "by sgt.reyes. Whether the call was made, nobody says here")


async def test_what_was_asked_still_holds_when_it_is_over_and_rivals_stay_apart_until_it_is_known() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        feed.deliver([*reports(), alert("one", caution={"kind": "WATCH_ONLY", "limit": "Watch"}), CaughtUp()])
        await until(pilot, app, "Headline of one")
        feed.deliver([alert("one", revision=2, state="WITHDRAWN")])
        await until(pilot, app, "over: Headline of one")
        await pilot.press("enter")
        said = " ".join(text_of(app).split())
        assert "WATCH ONLY still holds, whatever is done because of it." in said
        assert f"Until your own records show that {APART}." in said


async def test_agreements_of_one_title_are_one_line() -> None:
    (agreement,) = [one for one in SITE.agreements if one.id == "city-pd-to-county-jail-housing"]
    site = demo_site(agreements=(agreement, agreement.model_copy(update={"id": "another"})))
    feed = Feed()
    app = WatchApp(site, RECIPIENT, feed, Desk())
    async with app.run_test(size=(180, 40)) as pilot:
        feed.deliver([*reports(), alert("one", agreements=[agreement.id, "another"]), CaughtUp()])
        await until(pilot, app, f"{agreement.id}, another)")


def hour_passes(feed: Feed, clock: Clock) -> None:
    """Nobody touches key or mouse for an hour; the workers report all the while."""
    clock.ahead += 3_600 * SECOND
    feed.deliver(reports(tick=clock(), at=clock()))


@pytest.mark.parametrize(
    ("alerts", "first"),
    [
        ([], None),
        ([alert("low", severity="LOW"), alert("grave", severity="CRITICAL")], "grave"),
        ([alert("grave", severity="CRITICAL"), acknowledged("grave", 1), alert("high")], "high"),
        ([alert("grave", severity="CRITICAL"), acknowledged("grave", 1)], "grave"),
        ([alert("grave", revision=2, severity="CRITICAL"), acknowledged("grave", 1), alert("high")], "grave"),
        ([alert("one"), alert("two"), alert("one", revision=2, state="WITHDRAWN")], "two"),
        ([alert("one"), alert("one", revision=2, state="WITHDRAWN")], "one"),
        ([alert("one", group="rule: version 2"), alert("two", group="rule: version 2")], "one"),
    ],
    ids=["none", "gravest", "acknowledged", "all acknowledged", "changed since", "over", "all over", "together"],
)
def test_what_is_to_be_read_first_is_the_gravest_that_nobody_acknowledged(
    alerts: list[Said], first: str | None
) -> None:
    now = now_us()
    board = Board(SITE, RECIPIENT, now)
    for said in [CaughtUp(), *alerts]:
        board.fold(said, now)
    rows = rows_of(board.lines(now), set())
    assert (first_to_read(rows).key if rows else None) == first


async def test_what_came_to_the_top_unseen_while_somebody_was_at_the_keys_is_shown_when_they_are_gone() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        known = [alert(f"a{number:02}", at=number, severity="MEDIUM") for number in range(30)]
        feed.deliver([*reports(), *known, CaughtUp()])
        await until(pilot, app, "30 open alerts")
        await pilot.press("end")
        feed.deliver([alert("graver", severity="CRITICAL", actions=["Advice of graver"])])
        await until(pilot, app, "31 open alerts")
        await pilot.press("up")
        assert "Headline of graver" not in text_of(app)
        hour_passes(feed, clock)
        await until(pilot, app, "Advice of graver")
        assert "▌●  CRITICAL  Headline of graver" in text_of(app)


async def test_a_new_alert_below_graver_ones_that_are_acknowledged_is_shown_on_a_desk_left_alone() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        names = [f"c{number}" for number in range(6)]
        known = [said for name in names for said in (alert(name, severity="CRITICAL"), acknowledged(name, 1))]
        feed.deliver([*reports(), *known, CaughtUp()])
        await until(pilot, app, "6 open alerts, 0 not acknowledged · bell on")
        await pilot.press("home")
        feed.deliver([alert("new", actions=["Advice of new"])])
        await until(pilot, app, "7 open alerts, 1 not acknowledged: HIGH")
        assert "Headline of new" not in text_of(app)
        hour_passes(feed, clock)
        await until(pilot, app, "Advice of new")
        assert "Headline of new" in text_of(app)


async def test_who_reads_one_alert_whole_is_told_how_grave_another_is_and_left_alone_the_desk_shows_that() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW", actions=["Advice of lesser"]), CaughtUp()])
        await until(pilot, app, "Advice of lesser")
        await pilot.press("enter")
        feed.deliver([alert("graver", severity="CRITICAL", actions=["Advice of graver"])])
        await until(pilot, app, "2 open alerts, 2 not acknowledged, gravest: CRITICAL")
        await pilot.press("down")
        assert "Advice of lesser" in text_of(app)
        hour_passes(feed, clock)
        await until(pilot, app, "Advice of graver")


async def test_the_second_line_says_of_which_site_the_alerts_are() -> None:
    feed = Feed()
    app = WatchApp(SITE.model_copy(update={"title": "Simulated county"}), RECIPIENT, feed, Desk())
    async with app.run_test(size=(120, 24)) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        await until(pilot, app, "no open alert")
        assert f"bell on · Simulated county · {SITE.recipient_by_id[RECIPIENT].name}" in heading(app)


async def test_of_the_second_line_only_whose_desk_it_is_is_cut_off() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), *(alert(f"a{number}", severity="CRITICAL") for number in range(1_200)), CaughtUp()])
        await until(pilot, app, "1,200 open alerts")
        assert "1,200 not acknowledged, gravest: CRITICAL · bell on" in heading(app)
        assert heading(app).rstrip().endswith("…")


async def test_the_cursor_is_brought_back_to_sight_where_the_list_was_scrolled_and_left() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), *(alert(f"a{number:02}", at=number) for number in range(30)), CaughtUp()])
        await until(pilot, app, "30 open alerts")
        await pilot.press("home")
        app.query_one(AlertList).scroll_end(animate=False)
        await until(pilot, app, "Headline of a29")
        hour_passes(feed, clock)
        await until(pilot, app, "▌●  HIGH      Headline of a00")


async def test_what_the_bus_did_not_take_keeps_the_cursor_and_is_named_where_something_came_above_it_meanwhile() -> (
    None
):
    feed, desk, clock = Feed(), SlowDesk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), *(alert(name, at=at) for at, name in enumerate(("one", "two", "three"))), CaughtUp()])
        await until(pilot, app, "3 open alerts")
        await pilot.press("down", "down", "a")
        feed.deliver([alert("new", severity="CRITICAL")])
        await until(pilot, app, "4 open alerts")
        assert cursor(app) == "three"
        clock.ahead = 10 * SECOND
        desk.on_its_way.pop()(False)
        await until(pilot, app, "Not acknowledged: the bus did not")
        assert "of three" in text_of(app)
        await pilot.press("a")
        assert desk.acknowledged == [("three", 1), ("three", 1)]


async def test_an_acknowledged_alert_sinks_from_under_the_cursor_though_something_came_above_it_at_once() -> None:
    feed, desk = Feed(), SlowDesk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), *(alert(name, at=at) for at, name in enumerate(("one", "two", "three"))), CaughtUp()])
        await until(pilot, app, "3 open alerts")
        await pilot.press("down", "a")
        feed.deliver([alert("new", severity="CRITICAL"), acknowledged("two", 1)])
        await until(pilot, app, "4 open alerts, 3 not acknowledged")
        assert cursor(app) == "three"


async def test_what_was_acknowledged_before_keeps_the_cursor_when_its_user_presses_a() -> None:
    feed = Feed()
    app = WatchApp(SITE, RECIPIENT, feed, Desk())
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one", at=1), alert("two", at=2), acknowledged("two", 1), CaughtUp()])
        await until(pilot, app, "2 open alerts")
        await pilot.press("down", "a")
        feed.deliver([alert("graver", severity="CRITICAL")])
        await until(pilot, app, "3 open alerts")
        assert cursor(app) == "two"


async def test_an_alert_that_changed_again_before_its_acknowledgement_came_back_keeps_the_cursor() -> None:
    feed, desk = Feed(), SlowDesk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("one", at=1), alert("two", at=2), CaughtUp()])
        await until(pilot, app, "2 open alerts")
        await pilot.press("home", "a")
        feed.deliver([alert("one", revision=2, at=1)])
        await pilot.pause()
        feed.deliver([acknowledged("one", 1)])
        await until(pilot, app, "◐")
        feed.deliver([acknowledged("one", 2)])
        await until(pilot, app, "1 not acknowledged")
        assert cursor(app) == "one", "another desk acknowledged the change, which is being read here"


async def test_many_acknowledgements_that_the_bus_does_not_take_are_one_message() -> None:
    feed, desk = Feed(), SlowDesk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        feed.deliver([alert(f"a{number}") for number in range(40)])
        await until(pilot, app, "40 open alerts")
        await pilot.press("home", "a")
        assert len(desk.on_its_way) == 40
        for done in desk.on_its_way[:30]:
            done(False)
        await until(pilot, app, "of 30 alerts")
        for done in desk.on_its_way[30:]:
            done(False)
        await until(pilot, app, "of 40 alerts")
        assert len(app._notifications) == 1


async def test_a_headline_with_brackets_is_told_as_it_is_when_it_was_not_acknowledged() -> None:
    feed, desk = Feed(), Desk()
    desk.takes = False
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), alert("one", headline="Of [b]Harbor [/]"), CaughtUp()])
        await until(pilot, app, "Of [b]Harbor [/]")
        await pilot.press("a")
        await until(pilot, app, "Press a again")
        assert text_of(app).count("[b]Harbor [/]") == 3, "list, alert and message"


async def test_a_change_under_the_cursor_is_to_be_read_before_a_key_means_it() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), alert("one", severity="LOW"), CaughtUp()])
        await until(pilot, app, "Headline of one")
        await pilot.press("down")
        feed.deliver([alert("one", revision=2, severity="CRITICAL", headline="Much worse")])
        await until(pilot, app, "Much worse")
        await pilot.press("up", "a")
        await until(pilot, app, "It came or changed just now")
        assert desk.acknowledged == []
        clock.ahead = 2 * SECOND
        await pilot.press("a")
        assert desk.acknowledged == [("one", 2)]


async def test_what_came_to_a_notice_under_the_cursor_is_to_be_read_too() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        feed.deliver([alert(name, group="rule: version 2") for name in ("one", "two")])
        await until(pilot, app, "2 alerts new or changed")
        await pilot.press("home")
        feed.deliver([alert("three", group="rule: version 2")])
        await until(pilot, app, "3 alerts new or changed")
        await pilot.press("a")
        await until(pilot, app, "It came or changed just now")
        assert desk.acknowledged == []
        clock.ahead = 2 * SECOND
        await pilot.press("a")
        assert {name for name, _ in desk.acknowledged} == {"one", "two", "three"}


async def help_shown(pilot: Any, app: WatchApp) -> None:
    await pilot.press("question_mark")
    await until(pilot, app, "Any key goes back.")


async def test_help_gives_way_to_a_grave_alert_and_the_key_that_was_to_close_it_acknowledges_nothing() -> None:
    feed, desk, clock = Feed(), Desk(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, desk, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW"), CaughtUp()])
        await until(pilot, app, "Headline of lesser")
        await help_shown(pilot, app)
        feed.deliver([alert("mild", severity="MEDIUM")])
        await pilot.pause(0.1)
        assert "Any key goes back." in text_of(app)
        feed.deliver([alert("graver", severity="CRITICAL")])
        await until(pilot, app, "Headline of graver")
        await pilot.press("a")
        assert desk.acknowledged == []


async def test_help_gives_way_when_the_desk_turns_blind() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        await until(pilot, app, "Live: every alert for this desk is here")
        await help_shown(pilot, app)
        feed.deliver([LinkLost(Why.UNREACHABLE, clock())])
        await until(pilot, app, "This desk is BLIND since")


async def test_help_goes_by_itself_from_a_desk_left_alone() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("lesser", severity="LOW"), CaughtUp()])
        await until(pilot, app, "Headline of lesser")
        await help_shown(pilot, app)
        await pilot.pause(1.2)
        assert "Any key goes back." in text_of(app), "it was opened just now"
        hour_passes(feed, clock)
        await until(pilot, app, "Headline of lesser")


async def test_the_bell_rings_for_a_new_grave_alert_though_one_topic_can_not_be_read() -> None:
    feed, clock = Feed(), Clock()
    app = ScreenWithBell(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), alert("known", severity="CRITICAL"), LinkLost(Why.REFUSED, clock())])
        await until(pilot, app, "This desk is BLIND since")
        clock.ahead = 11 * SECOND
        feed.deliver(reports(tick=clock(), at=clock()))
        await until(pilot, app, "Headline of known")
        assert app.rung == 1, "for being blind"
        feed.deliver([alert("new", severity="CRITICAL")])
        await until(pilot, app, "2 open alerts")
        assert app.rung == 2


@pytest.mark.parametrize(
    ("reported", "ahead"),
    [
        ({}, 0),
        ({("person", 0): (100, 99)}, 0),
        ({("person", 0): (100, 90)}, 0),
        ({("person", 0): (100, 85), ("facility", 0): (99, 83)}, 15),
        ({("person", 0): (100, 85), ("facility", 0): (99, 98)}, 0),
        ({("person", 0): (80, 60)}, 0),
        ({("person", 0): (100, 130)}, 0),
    ],
    ids=["none", "in time", "in time just so", "all too old", "one is not", "silent since", "behind"],
)
def test_a_clock_is_ahead_where_all_that_is_reported_comes_from_long_ago(
    reported: dict[tuple[str, int], tuple[int, int]], ahead: int
) -> None:
    told = {place: (heard * SECOND, at * SECOND) for place, (heard, at) in reported.items()}
    assert seconds_ahead(told, 101 * SECOND) == ahead


async def test_a_desk_whose_clock_is_ahead_is_told_to_look_at_that() -> None:
    feed, clock = Feed(), Clock()
    app = WatchApp(SITE, RECIPIENT, feed, Desk(), clock)
    async with app.run_test(size=(80, 24)) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        await until(pilot, app, "Live: every alert for this desk is here")
        clock.ahead = 15 * SECOND
        late = clock() - 15 * SECOND
        feed.deliver(reports(tick=late, at=late))
        await until(pilot, app, "This desk is BLIND since")
        assert "but 15 s ago by this desk's clock: check it first." in " ".join(text_of(app).split())


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ([True, True], ""),
        ([False, True], "the bus did not confirm that 1 alert was acknowledged"),
        ([], "the bus did not confirm that 2 alerts were acknowledged"),
    ],
    ids=["all", "one failed", "not heard of"],
)
def test_what_was_acknowledged_last_and_did_not_arrive_is_said_at_the_end(
    taken: list[bool], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class EndingDesk(SlowDesk):
        def close(self) -> None:
            for done, is_taken in zip(self.on_its_way, taken, strict=False):
                done(is_taken)

    class HurriedUser(WatchApp):
        def run(self, *_: Any, **__: Any) -> int | None:
            return asyncio.run(self.used())

        async def used(self) -> int | None:
            async with self.run_test(size=(80, 24)) as pilot:
                feed.deliver([*reports(), CaughtUp()])
                feed.deliver([alert(name, group="rule: version 2") for name in ("one", "two")])
                await until(pilot, self, "2 open alerts")
                await pilot.press("home", "a", "q")
            return self.return_value

    feed = Feed()
    monkeypatch.setattr(watch, "AlertFeed", lambda *_: feed)
    monkeypatch.setattr(watch, "Desk", lambda *_: EndingDesk())
    monkeypatch.setattr(watch, "WatchApp", HurriedUser)
    assert watch.run_watch(Settings(), SITE, RECIPIENT) == 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == (1 if said else 0)
