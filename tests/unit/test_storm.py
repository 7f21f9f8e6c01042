"""What changes for many at once is one notice at a desk, on however many partitions it is; each alert stands for itself
besides, and who is told of a few learns nothing of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from consumers import words
from consumers.board import MANY, SECOND, TOGETHER, AlertSaid, Board, CaughtUp, Entry, Notice
from schemas import topics
from schemas.events import Event
from schemas.site import Unit
from tests.county import DAY, MAIN, START, agency_of, demo_site, event
from tests.disclosed_alert import disclosed
from tests.in_memory_bus import InMemoryBus, digests

WATCH = "county-jail-watch"
FEUD = event("StreetViolenceReported", day=3, groups=["Eastside", "Harbor"], name="the feud")
NOW = START + 4 * DAY
PARTITIONS = 16


def members(count: int) -> list[Event]:
    """So many validated members in custody, each classified after that was known: nothing is wrong with any."""
    people = [f"p{number}" for number in range(count)]
    return [
        *(event("BookingReported", p) for p in people),
        *(event("AffiliationValidated", p, day=0.5, group="Eastside") for p in people),
        *(event("CustodyClassified", p, day=1) for p in people),
    ]


def after(events: list[Event], *more: Event, **changes: Any) -> InMemoryBus:
    bus = InMemoryBus(demo_site(**{"partitions": PARTITIONS, **changes}))
    bus.tick(NOW)
    for part in (events, more):
        happens(bus, *part)
    return bus


def happens(bus: InMemoryBus, *events: Event) -> None:
    for what in events:
        bus.publish(what, agency_of(what))
    bus.run()


class Desk:
    """The watch's desk, which reads on when it looks."""

    def __init__(self, bus: InMemoryBus, kind: str = "housing") -> None:
        self._bus = bus
        self._topic = topics.alerts_for(bus.site.name, WATCH, kind)
        self._heard = [0] * bus.site.partitions
        self._board = Board(bus.site, WATCH, started=NOW)
        self.lines()
        self._board.fold(CaughtUp(), NOW)

    def lines(self) -> list[Entry | Notice]:
        self.changes = [self._board.fold(AlertSaid(record), NOW) for record in self.new_records()]
        return self._board.lines(NOW)

    def new_records(self) -> list[dict[str, Any]]:
        """What is told and was not read, partition by partition."""
        every_log = (self._bus.logs[self._topic, number] for number in range(self._bus.site.partitions))
        logs = [[record for record in log if record.value is not None] for log in every_log]
        every = iter(self._bus.history(self._topic))
        told = [[next(every) for _ in log] for log in logs]
        new = [record for log, read in zip(told, self._heard, strict=True) for record in log[read:]]
        self._heard = [len(log) for log in logs]
        return new


def said(line: Entry | Notice) -> str:
    assert isinstance(line, Notice)
    return words.notice(line)


@pytest.mark.parametrize("partitions", [1, 4, PARTITIONS])
def test_a_feud_that_concerns_many_is_one_notice_and_each_alert_is_in_the_list(partitions: int) -> None:
    bus = after(members(MANY + 1), partitions=partitions)
    desk = Desk(bus)
    happens(bus, FEUD)
    first, *others = desk.lines()
    assert said(first) == "classification review: 21 alerts new or changed; all within moments"
    assert isinstance(first, Notice)
    assert {entry.key for entry in first.entries} == bus.open_alerts().keys()
    assert all(isinstance(one, Entry) for one in others)
    assert len(others) == MANY + 1


def test_a_feud_that_concerns_hundreds_is_one_notice_though_no_partition_has_more_than_a_handful() -> None:
    bus = after(members(300))
    desk = Desk(bus)
    happens(bus, FEUD)
    assert len(desk.lines()) == 1 + 300
    assert said(desk.lines()[0]) == "classification review: 300 alerts new or changed; all within moments"


def test_what_concerns_no_more_than_a_handful_is_no_notice() -> None:
    bus = after(members(MANY))
    desk = Desk(bus)
    happens(bus, FEUD)
    assert len(desk.lines()) == MANY
    assert not any(isinstance(line, Notice) for line in desk.lines())


def test_the_feuds_end_is_one_notice_too() -> None:
    bus = after(members(MANY + 1), FEUD)
    desk = Desk(bus)
    happens(bus, event("EventWithdrawn", agency="city-pd", day=3.5, target_event_id=FEUD.head.event_id))
    assert bus.open_alerts() == {}
    (only,) = desk.lines()
    assert said(only) == "classification review: 21 alerts withdrawn; all within moments"


def test_the_time_that_ends_a_feud_is_one_notice_too() -> None:
    bus = after(members(MANY + 1), FEUD)
    desk = Desk(bus)
    bus.tick(START + 30 * DAY)
    bus.run()
    (only,) = desk.lines()
    assert said(only) == "classification review: 21 alerts withdrawn; all within moments"


def test_an_agreement_that_ends_takes_many_alerts_with_it_as_one_notice() -> None:
    ending = tuple(a.model_copy(update={"valid_until": START + 5 * DAY}) for a in demo_site().agreements)
    bus = after(members(MANY + 1), FEUD, agreements=ending)
    desk = Desk(bus)
    assert len(desk.lines()) == MANY + 1
    bus.tick(START + 6 * DAY)
    bus.run()
    (only,) = desk.lines()
    assert said(only) == "classification review: 21 alerts withdrawn; all within moments"
    assert len(bus.open_alerts()) == MANY + 1, "the alerts themselves stand"


def test_a_feud_in_every_unit_of_a_jail_is_one_notice() -> None:
    jail = demo_site().facility_by_id[MAIN]
    units = tuple(Unit(id=f"U-{number}") for number in range(MANY + 1))
    housed = [
        what
        for unit in units
        for group in ("Eastside", "Harbor")
        for who in [f"{group}-{unit.id}"]
        for what in (
            event("BookingReported", who),
            event("HousingAssigned", who, day=1, unit=unit.id),
            event("AffiliationValidated", who, day=1, group=group),
        )
    ]
    bus = after(housed, facilities=(jail.model_copy(update={"units": units}),))
    desk = Desk(bus)
    happens(bus, FEUD)
    assert said(desk.lines()[0]) == "rivals housed together: 21 alerts new or changed; all within moments"


def told(board: Board, number: int, at: int, **changes: Any) -> None:
    """The desk is told of an alert of its own for each number."""
    said = {"alert_id": f"a{number}", "recipient": WATCH, "severity": "LOW", "at": at, **changes}
    board.fold(disclosed(**said), at)


def a_board() -> Board:
    board = Board(demo_site(), WATCH, started=NOW)
    board.fold(CaughtUp(), NOW)
    return board


def notices(board: Board, now: int = NOW) -> list[Notice]:
    return [line for line in board.lines(now) if isinstance(line, Notice)]


def test_what_comes_within_moments_of_each_other_is_one_notice_under_one_name() -> None:
    board = a_board()
    for number in range(MANY + 1):
        told(board, number, NOW + number * TOGETHER)
    (before,) = notices(board, NOW + MANY * TOGETHER)
    told(board, 90, NOW + (MANY + 1) * TOGETHER)
    (notice,) = notices(board, NOW + (MANY + 1) * TOGETHER)
    assert (notice.key, len(notice.entries)) == (before.key, MANY + 2)


def test_a_busy_hour_is_no_storm() -> None:
    board = a_board()
    for number in range(3 * MANY):
        told(board, number, NOW + number * (TOGETHER + 1))
    assert notices(board, NOW + 3 * MANY * (TOGETHER + 1)) == []


def test_a_clock_that_is_set_back_begins_another() -> None:
    board = a_board()
    for number in range(MANY):
        told(board, number, NOW)
    told(board, 90, NOW - SECOND)
    assert notices(board) == []


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("another rule's alert is of another crowd", {"rule": "classification_review"}),
        ("what the bus found on recovery is of that", {"group": "rivals: found on recovery of person-0 at 7"}),
        ("another recipient's is none of this desk's", {"recipient": "city-pd-intel"}),
    ],
)
def test_beside_a_crowd(case: str, changes: dict[str, Any]) -> None:
    board = a_board()
    for number in range(MANY):
        told(board, number, NOW)
    told(board, 90, NOW, **changes)
    assert notices(board) == [], case
    told(board, 91, NOW)
    (notice,) = notices(board)
    assert len(notice.entries) == MANY + 1, case


def test_that_many_changed_is_part_of_no_record_and_a_restart_finds_nothing_to_do() -> None:
    many = after(members(MANY + 1), FEUD)
    one_by_one = after([FEUD, *members(MANY + 1)])
    assert digests(many) == digests(one_by_one)
    records = many.history(topics.alerts_raised("demo"))
    assert {record["group"] for record in [*records, *Desk(many).new_records()]} <= {None}
    many.restart_all()
    assert len(many.history(topics.alerts_raised("demo"))) == len(records)


# -- merges ------------------------------------------------------------------------------------------------------------


def test_a_merge_of_identities_is_at_the_desk_one_alert_in_place_of_another_and_rings_once() -> None:
    infractions = [
        event("DisciplinaryRecorded", "ada", day=2 + n / 100, name=f"i{n}", violent=True) for n in range(2 * MANY)
    ]
    bus = after([event("BookingReported", "ada"), event("CustodyClassified", "ada", day=1), *infractions])
    desk = Desk(bus)
    (before,) = desk.lines()
    happens(bus, event("HousingAssigned", "ada", day=3, sid="SID-ada", unit="4-A"))
    lines = desk.lines()
    # Each fact that moves is a record, and changes the alert.
    assert len(desk.changes) > MANY
    (line,) = [line for line in lines if isinstance(line, Entry) and not line.is_over]
    assert line.key != before.key
    assert [change.entry.key for change in desk.changes if change is not None and change.is_urgent] == [line.key]


def test_a_merge_of_one_who_expects_much_is_one_notice() -> None:
    """Each fact that moves is a record of its own: so is what is told of each delivery."""
    mail = [event("MailReceived", "ada", day=3 + n / 1000, item_number=f"M-{n}") for n in range(2 * MANY)]
    tip = event("ContrabandTipped", day=3, recipient_name="Ada Quist", method="MAIL")
    bus = after([event("BookingReported", "ada", booked_as="Ada Quist"), *mail, tip])
    desk = Desk(bus, "contraband")
    assert len(desk.lines()) == 2 * MANY
    happens(bus, event("HousingAssigned", "ada", day=3.5, sid="SID-ada", unit="4-A"))
    first, *others = desk.lines()
    assert said(first) == ("contraband delivery expected: 40 alerts withdrawn, 40 new or changed; all within moments")
    assert len(others) == 2 * MANY, "each delivery's alert once"


def test_a_list_of_numbers_that_joins_many_people_is_one_notice() -> None:
    people = [f"p{number}" for number in range(MANY + 1)]
    reviewed = [
        what
        for one in people
        for what in (
            event("BookingReported", one),
            event("CustodyClassified", one, day=1),
            event("DisciplinaryRecorded", one, day=2),
        )
    ]
    bus = after(reviewed)
    desk = Desk(bus)
    assert len(desk.lines()) == len(people)
    happens(bus, *(event("HousingAssigned", one, day=3, sid=f"SID-{one}", unit="4-A") for one in people))
    first, *others = desk.lines()
    assert said(first) == "classification review: 21 alerts withdrawn, 21 new or changed; all within moments"
    assert len(others) == len(people)
