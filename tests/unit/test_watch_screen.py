"""The screen, driven as its user would: the real app over a feed in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from consumers.alert_feed import now_us
from consumers.board import AlertSaid, CaughtUp, LinkLost, ReportSaid, Said
from consumers.board import Blind as Why
from consumers.watch import WatchApp
from tests.county import SITE

RECIPIENT = "county-jail-watch"


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

    def acknowledge(self, alert_id: str, revision: int, done: Callable[[bool], None]) -> None:
        self.acknowledged.append((alert_id, revision))
        done(True)

    def poll(self) -> None:
        """Nothing is on its way."""

    def close(self) -> None:
        """Nothing is open."""


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
            "subjects": [{"person_id": "p", "booking_number": "B-1", "name": "Adams, Ada", "linked_by": "number"}],
            "why": [{"text": "Violence between A and B", "agency": "city-pd", "event_time": now_us()}],
            "left_out": 2,
            "actions": ["Keep the two sides apart now"],
            "agreements": ["city-pd-to-county-jail-housing"],
            "until": None,
            "at": now_us(),
            "cause": {"kind": "FACT"},
            "group": None,
            **changes,
        }
    )


def reports() -> list[Said]:
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
            }
        )
        for stage in ("identify", "person", "facility", "disclose")
        for number in range(SITE.partitions)
    ]


def text_of(app: WatchApp) -> str:
    """All the text on the screen."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


async def until(pilot: Any, app: WatchApp, words: str) -> None:
    deadline = time.monotonic() + 10
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


async def test_a_desk_that_cannot_see_says_so_across_the_top() -> None:
    feed, desk = Feed(), Desk()
    app = WatchApp(SITE, RECIPIENT, feed, desk)
    async with app.run_test(size=(140, 40)) as pilot:
        feed.deliver([*reports(), CaughtUp()])
        await until(pilot, app, "Live: sees everything")
        app._board._started -= 60_000_000  # a minute ago: no longer starting
        feed.deliver([LinkLost(Why.UNREACHABLE, now_us())])
        await until(pilot, app, "BLIND since")
        assert "the bus does not answer" in text_of(app)
