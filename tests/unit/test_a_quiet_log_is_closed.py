"""What is replaced on a quiet log goes: something closes the segment in which it stands."""

from __future__ import annotations

import pytest

from schemas import topics
from streams.records import Out
from streams.segments import CLOSING, OLD_ENOUGH, OpenSegments
from tests.county import DAY, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus, processed

SITE = demo_site(partitions=1)
RAISED = topics.alerts_raised("demo")
DESK = topics.alerts_for("demo", "county-jail-classification", "housing")
ALERT = Out(RAISED, 3, b"one", "AlertRaised", {})
LATER = START + OLD_ENOUGH


def closed(segments: OpenSegments, now: int) -> list[tuple[str, int, bytes]]:
    """What is appended: topic, partition and key."""
    outs = segments.closing(now)
    assert all(out.name is None and out.value is None for out in outs), "a tombstone says nothing"
    return [(out.topic, out.partition, out.key) for out in outs]


def test_the_last_record_of_a_partition_is_followed_by_a_tombstone_once_its_segment_is_old_enough() -> None:
    segments = OpenSegments({RAISED})
    segments.note([ALERT, Out("facts", 0, b"two", None, b"")], START)
    assert closed(segments, LATER - 1) == []
    assert closed(segments, LATER) == [(RAISED, 3, CLOSING)]


def test_it_is_followed_by_one_alone() -> None:
    segments = OpenSegments({RAISED})
    segments.note([ALERT], START)
    segments.note(segments.closing(LATER), LATER)
    assert closed(segments, LATER + 10 * OLD_ENOUGH) == []


def test_where_more_comes_it_waits_for_the_last() -> None:
    segments = OpenSegments({RAISED})
    segments.note([ALERT], START)
    segments.note([ALERT._replace(key=b"two")], LATER - 1)
    assert closed(segments, LATER) == []
    assert closed(segments, LATER - 1 + OLD_ENOUGH) == [(RAISED, 3, CLOSING)]


def test_of_what_was_written_before_there_was_a_time_it_counts_from_the_first() -> None:
    segments = OpenSegments({RAISED})
    segments.note([ALERT], 0)
    assert closed(segments, START) == []
    assert closed(segments, LATER) == [(RAISED, 3, CLOSING)]


@pytest.mark.parametrize(
    ("recalled", "expected"),
    [
        ([], []),
        ([b"one"], [(RAISED, 3, CLOSING)]),
        ([b"one", CLOSING], []),
        ([CLOSING, b"one"], [(RAISED, 3, CLOSING)]),
    ],
)
def test_who_takes_over_closes_what_the_one_before_had_not(
    recalled: list[bytes], expected: list[tuple[str, int, bytes]]
) -> None:
    segments = OpenSegments({RAISED})
    for key in recalled:
        segments.recall(RAISED, 3, key)
        segments.recall("facts", 3, key)
    assert closed(segments, START) == [], "since when it stands there nobody knows"
    assert closed(segments, LATER) == expected


# -- by the stages of a partition ------------------------------------------------------------------------------------


REVIEW = [
    event("BookingReported", "ada"),
    event("CustodyClassified", "ada", day=1),
    event("DisciplinaryRecorded", "ada", day=2),
]


def reviewed() -> InMemoryBus:
    """A bus on which somebody is to be reviewed, and time has stood still since."""
    return processed(SITE, REVIEW, START + 3 * DAY)


def at(bus: InMemoryBus, time: int) -> InMemoryBus:
    """The same bus, when it is so late."""
    bus.tick(time)
    bus.run()
    return bus


def ends(bus: InMemoryBus) -> dict[tuple[str, int], bytes | None]:
    """The key of the last record on the logs of alerts that have any."""
    return {part: log[-1].key for part, log in bus.logs.items() if log and ".alerts" in part[0]}


def lengths(bus: InMemoryBus) -> dict[tuple[str, int], int]:
    """How many records there are on the logs of alerts."""
    return {part: len(log) for part, log in bus.logs.items() if ".alerts" in part[0]}


def test_what_a_recipient_was_told_is_closed_as_the_alert_itself_is() -> None:
    bus = reviewed()
    assert {(RAISED, 0), (DESK, 0)} <= ends(bus).keys()
    assert CLOSING not in ends(bus).values()
    at(bus, START + 3 * DAY + OLD_ENOUGH)
    assert set(ends(bus).values()) == {CLOSING}
    before = lengths(bus)
    at(bus, START + 9 * DAY)
    assert lengths(bus) == before, "once is enough"


def test_it_counts_from_the_tick_at_which_an_alert_was_written() -> None:
    bus = at(processed(SITE, []), START)
    for what in REVIEW:
        bus.publish(what, agency_of(what))
    bus.run()
    assert (RAISED, 0) in ends(bus)
    at(bus, START + OLD_ENOUGH - 1)
    assert CLOSING not in ends(bus).values()
    at(bus, START + OLD_ENOUGH)
    assert set(ends(bus).values()) == {CLOSING}


def test_what_was_written_by_one_who_died_is_closed_by_the_next() -> None:
    bus = reviewed()
    bus.restart_all()
    at(bus, START + 3 * DAY + 1)
    assert CLOSING not in ends(bus).values()
    at(bus, START + 3 * DAY + 1 + OLD_ENOUGH)
    assert set(ends(bus).values()) == {CLOSING}
    assert len(bus.open_alerts()) == 1, "nothing is said by it"
    before = lengths(bus)
    bus.restart_all()
    at(bus, START + 9 * DAY)
    at(bus, START + 10 * DAY)
    assert len(bus.open_alerts()) == 1
    assert lengths(bus) == before, "it is closed already"
