"""What one change does to many alerts is one notice at a desk; each alert stands for itself besides."""

from __future__ import annotations

from typing import Any

import pytest

from consumers import words
from consumers.board import AlertSaid, Board, CaughtUp, Entry, Notice
from schemas import topics
from schemas.events import Event
from streams.records import Out
from streams.storm import MANY, grouped
from tests.county import DAY, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus, digests

WATCH = "county-jail-watch"
CLASSIFICATION = "county-jail-classification"
FEUD = event("StreetViolenceReported", day=3, groups=["Eastside", "Harbor"], name="the feud")


def members(count: int) -> list[Event]:
    """So many validated members in custody, each classified after that was known: nothing is wrong with any."""
    people = [f"p{number}" for number in range(count)]
    return [
        *(event("BookingReported", p) for p in people),
        *(event("AffiliationValidated", p, day=0.5, group="Eastside") for p in people),
        *(event("CustodyClassified", p, day=1) for p in people),
    ]


def after(events: list[Event], *more: Event, **changes: Any) -> InMemoryBus:
    bus = InMemoryBus(demo_site(partitions=1, **changes))
    bus.tick(START + 4 * DAY)
    for part in (events, more):
        for what in part:
            bus.publish(what, agency_of(what))
        bus.run()
    return bus


def groups(bus: InMemoryBus, topic: str | None = None) -> list[str | None]:
    return [alert["group"] for alert in bus.history(topic or topics.alerts_raised("demo"))]


def told(bus: InMemoryBus, recipient: str = WATCH) -> str:
    return topics.alerts_for(bus.site.name, recipient, "housing")


def a_desk(bus: InMemoryBus, since: int = 0) -> Board:
    """The watch's board: it hears what is told from the record `since` on while it looks."""
    now = START + 4 * DAY
    board = Board(bus.site, WATCH, started=now)
    for number, record in enumerate(bus.history(told(bus))):
        if number == since:
            board.fold(CaughtUp(), now)
        board.fold(AlertSaid(record), now)
    return board


def test_a_feud_that_concerns_many_is_one_notice_and_each_alert_is_in_the_list() -> None:
    bus = after(members(MANY + 1), FEUD)
    name = f"classification_review: at once, {START + 4 * DAY}"
    assert groups(bus) == [name] * (MANY + 1)
    assert groups(bus, told(bus)) == [name] * (MANY + 1)
    first, *others = a_desk(bus).lines(START + 4 * DAY)
    assert isinstance(first, Notice)
    assert words.notice(first) == "classification review: 21 alerts new or changed; by one change"
    assert len(others) == MANY + 1
    assert all(isinstance(one, Entry) for one in others)
    assert {entry.key for entry in first.entries} == bus.open_alerts().keys()


def test_what_concerns_no_more_than_a_handful_has_no_group() -> None:
    bus = after(members(MANY), FEUD)
    assert groups(bus) == [None] * MANY
    assert set(groups(bus, told(bus))) == {None}


def test_the_feuds_end_is_one_notice_too() -> None:
    withdrawn = event("EventWithdrawn", agency="city-pd", day=3.5, target_event_id=FEUD.head.event_id)
    bus = after([*members(MANY + 1), FEUD], withdrawn)
    assert bus.open_alerts() == {}
    over = [record for record in bus.history(told(bus)) if record["state"] == "WITHDRAWN"]
    assert {record["group"] for record in over} == {f"classification_review: at once, {START + 4 * DAY}"}
    (only,) = a_desk(bus, since=MANY + 1).lines(START + 4 * DAY)
    assert isinstance(only, Notice)
    assert words.notice(only) == "classification review: 21 alerts withdrawn; by one change"


def test_an_agreement_that_ends_takes_many_alerts_with_it_as_one_notice() -> None:
    site = demo_site()
    ending = tuple(a.model_copy(update={"valid_until": START + 5 * DAY}) for a in site.agreements)
    bus = after(members(MANY + 1), FEUD, agreements=ending)
    assert len(bus.shown_to(WATCH)) == MANY + 1
    bus.tick(START + 6 * DAY)
    bus.run()
    assert bus.shown_to(WATCH) == {}
    over = [record["group"] for record in bus.history(told(bus)) if record["state"] == "WITHDRAWN"]
    assert over == [f"classification_review: at once, {START + 6 * DAY}"] * (MANY + 1)
    assert len(bus.open_alerts()) == MANY + 1, "the alerts themselves stand"


def test_an_alert_told_alone_later_does_not_carry_the_group_in_which_it_was_raised() -> None:
    site = demo_site()
    coming = tuple(a.model_copy(update={"valid_from": START + 5 * DAY}) for a in site.agreements)
    bus = after(members(MANY + 1), FEUD, agreements=coming)
    assert bus.shown_to(WATCH) == {}
    bus.restart_all()
    bus.tick(START + 6 * DAY)
    bus.run()
    assert set(groups(bus, told(bus))) == {f"classification_review: at once, {START + 6 * DAY}"}
    bus.restart_all()
    assert len(groups(bus, told(bus))) == MANY + 1, "a restart tells nobody anything"


def told_of(recipient: str, number: int, rule: str | None = "rivals", group: str | None = None) -> Out:
    value = {"alert_id": f"a{number}", "recipient": recipient, "rule": rule, "group": group, "state": "OPEN"}
    return Out(f"alerts.{recipient}", 0, b"", "AlertDisclosed", value)


NAMED = "rivals: at once, 7"
TO_THE_JAIL = [told_of("jail", number) for number in range(MANY + 1)]
A_FACT = Out("facts", 0, b"", None, b"as it came")


@pytest.mark.parametrize(
    ("case", "beside", "said"),
    [
        ("who is told of one does not learn that there are more", [told_of("court", 0)], [None]),
        ("who is told of a handful does not either", [told_of("court", n) for n in range(MANY)], [None] * MANY),
        ("what has a group keeps it", [told_of("jail", 90, group="found on recovery")], ["found on recovery"]),
        ("a withdrawal of which nobody says the rule has none", [told_of("jail", 91, rule=None)], [None]),
        ("another rule's alert is of another crowd", [told_of("jail", 92, rule="review")], [None]),
    ],
)
def test_beside_a_crowd(case: str, beside: list[Out], said: list[str | None]) -> None:
    groups = [out.value["group"] for out in grouped([*TO_THE_JAIL, *beside], 7) if isinstance(out.value, dict)]
    assert groups == [NAMED] * len(TO_THE_JAIL) + said, case


def test_many_records_of_which_none_is_an_alert_go_as_they_are() -> None:
    assert grouped([A_FACT] * (MANY + 1), 7) == [A_FACT] * (MANY + 1)
    assert grouped([*TO_THE_JAIL, A_FACT], 7)[-1] == A_FACT


def test_a_group_says_nothing_else_than_before_and_a_restart_finds_nothing_to_do() -> None:
    many = after(members(MANY + 1), FEUD)
    one_by_one = after([FEUD, *members(MANY + 1)])
    assert digests(many) == digests(one_by_one)
    before = len(groups(many))
    many.restart_all()
    assert len(groups(many)) == before


def test_a_merge_of_identities_is_at_the_desk_one_alert_in_place_of_another_and_rings_once() -> None:
    infractions = [
        event("DisciplinaryRecorded", "ada", day=2 + n / 100, name=f"i{n}", violent=True) for n in range(2 * MANY)
    ]
    bus = after([event("BookingReported", "ada"), event("CustodyClassified", "ada", day=1), *infractions])
    (before,) = {alert["alert_id"] for alert in bus.history(told(bus))}
    heard = len(bus.history(told(bus)))
    bus.publish(event("HousingAssigned", "ada", day=3, sid="SID-ada", unit="4-A"), "county-jail")
    bus.run()

    desk, now = a_desk(bus, since=len(bus.history(told(bus)))), START + 4 * DAY
    (line,) = [line for line in desk.lines(now) if isinstance(line, Entry) and not line.is_over]
    assert line.alert.alert_id != before
    # Each fact that moves is a record, and changes the alert.
    looking = a_desk(InMemoryBus(bus.site))
    changes = [looking.fold(AlertSaid(record), now) for record in bus.history(told(bus))[heard:]]
    assert len(changes) > MANY
    assert [change.entry.key for change in changes if change is not None and change.is_urgent] == [line.key]
