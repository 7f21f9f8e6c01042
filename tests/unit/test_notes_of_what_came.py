"""That something of an agency came is noted: when, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.facts import partition_of
from streams.heard import HOUR, NOTES, SLOT, Heard, Listed, Noted, heard, note_id, parse_note, read_note
from streams.identify import DeadLetter, Source, identify
from streams.records import LoggedRecord, Out
from tests.county import JAIL, POLICE, SITE, START, agency_of, demo_site, event

MINUTE = 60_000_000
HOUSED = event("HousingAssigned", "ada", unit="4-B")


def noted(what: Event, came: int = 0, now: int | None = None, clock: str = "live") -> list[Out]:
    """The notes that identify makes of an event that came so many microseconds after it happened; 0 for when it is not
    known."""
    kind, agency, site = type_name(what), agency_of(what), demo_site(clock=clock)
    source = Source(topics.inbound("demo", agency, kind), site.agency_by_id[agency], kind)
    stamp = (what.head.time + came) // 1000 if came else 0
    record = LoggedRecord(0, None, encode_event(what, SCHEMA_IDS[kind]), (), stamp)
    found = identify(record, source, site, SCHEMAS, what.head.time if now is None else now)
    return [out for out in found.records if out.key.startswith(NOTES)]


@pytest.mark.parametrize(
    ("came", "slots", "late"),
    [
        (0, 0, False),
        (30_000_000, 0, False),
        # START is in the fourth minute of its slot.
        (10 * MINUTE, 1, False),
        (20 * MINUTE, 2, True),
        (9 * HOUR, 54, True),
        (-MINUTE, 0, False),
    ],
)
def test_an_event_that_comes_more_than_a_slot_after_its_own_is_late(came: int, slots: int, late: bool) -> None:
    (out,) = noted(HOUSED, came)
    assert parse_note(out.key) == Heard(JAIL, "HousingAssigned", START // SLOT + slots, START // HOUR if late else None)


def test_a_note_holds_nothing_of_the_event_and_is_where_its_agencys_others_are() -> None:
    (out,) = noted(HOUSED)
    assert (out.topic, out.partition) == (topics.facility_facts("demo"), partition_of(JAIL, SITE.partitions))
    assert (out.value, out.headers) == (b"", (("topic", b"demo.county-jail.housing-assigned.v1"),))
    assert read_note(LoggedRecord(0, out.key, b"", out.headers)).topic == "demo.county-jail.housing-assigned.v1"
    assert read_note(LoggedRecord(0, out.key, b"", ())).topic == "", "where nobody says"
    assert out.key == f"~heard/county-jail/HousingAssigned/{START // SLOT}".encode()


def test_what_is_imported_came_when_it_happened() -> None:
    (out,) = noted(HOUSED, came=400 * 24 * HOUR, now=START + 400 * 24 * HOUR, clock="history")
    assert parse_note(out.key) == Heard(JAIL, "HousingAssigned", START // SLOT, None)


def visit(contact: str) -> Event:
    return event("VisitScheduled", "ada", visitor_name="Cole, Dana", starts=1, contact=contact)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(event("ContrabandTipped", facility="county-jail-main", courier_name="Dana Cole"), id="a tip"),
        pytest.param(event("TipOutcome", target_event_id=HOUSED.head.event_id), id="what became of one"),
        pytest.param(event("CareObserved", "ada"), id="a health event"),
        pytest.param(visit("ATTORNEY"), id="an attorney's visit"),
        pytest.param(event("EventWithdrawn", agency=POLICE, target_event_id=HOUSED.head.event_id), id="a withdrawal"),
    ],
)
def test_by_whose_rhythm_something_could_be_told_is_never_noted(what: Event) -> None:
    assert noted(what) == []


def test_an_ordinary_visit_is_noted() -> None:
    assert len(noted(visit("ORDINARY"))) == 1


@pytest.mark.parametrize(
    ("changes", "now", "notes"),
    [
        pytest.param({"purge_day": 1}, START + 25 * HOUR, 1, id="past its purge date: its agency was heard of"),
        pytest.param({}, START - HOUR, 0, id="from the future"),
        pytest.param({"agency": POLICE}, START, 0, id="in another's name"),
    ],
)
def test_of_what_is_set_aside_only_what_came_too_late_is_noted(changes: dict[str, Any], now: int, notes: int) -> None:
    what = event("HousingAssigned", "ada", unit="4-B", **changes)
    kind = type_name(what)
    source = Source(topics.inbound("demo", JAIL, kind), SITE.agency_by_id[JAIL], kind)
    found = identify(LoggedRecord(0, None, encode_event(what, SCHEMA_IDS[kind])), source, SITE, SCHEMAS, now)
    assert isinstance(found, DeadLetter)
    assert len(found.records) == notes


def test_of_a_list_it_is_noted_besides_how_much_had_changed() -> None:
    what = event("ListTaken", changed=7, content="ab" * 32)
    came, taken = noted(what, came=9 * HOUR)
    assert parse_note(came.key) == Heard(JAIL, "ListTaken", START // SLOT + 54, START // HOUR)
    assert parse_note(taken.key) == Listed(JAIL, "county-jail-main", START // SLOT, 7, "ab" * 8)
    assert (taken.value, taken.headers) == (b"", (("topic", b"demo.county-jail.list-taken.v1"),))
    for note in (came, taken):
        assert read_note(LoggedRecord(0, note.key, b"", note.headers)).topic == "demo.county-jail.list-taken.v1"
    assert taken.partition == came.partition == partition_of(JAIL, SITE.partitions)
    assert parse_note(taken.key).id == note_id(JAIL, "county-jail-main", START // SLOT)


@pytest.mark.parametrize("facility", ["nowhere", "annex"])
def test_a_list_of_a_facility_that_is_not_its_agencys_is_set_aside(facility: str) -> None:
    what = event("ListTaken", facility=facility)
    annex = SITE.facilities[0].model_copy(update={"id": "annex", "agency": POLICE})
    site = SITE.model_copy(update={"facilities": (*SITE.facilities, annex)})
    source = Source(topics.inbound("demo", JAIL, "ListTaken"), SITE.agency_by_id[JAIL], "ListTaken")
    found = identify(LoggedRecord(0, None, encode_event(what, SCHEMA_IDS["ListTaken"])), source, site, SCHEMAS, START)
    assert isinstance(found, DeadLetter)
    assert found.reason in ("UNKNOWN_FACILITY", "FOREIGN_FACILITY")


@pytest.mark.parametrize(
    "key",
    [
        b"~listed/a/b/1/2",
        b"~listed/a/b/x/2/c",
        b"~heard/a/B",
        b"~heard/a/B/x",
        b"~heard/a/B/1/2/3",
        b"~tick",
        b"~heard/a/B/1/x",
    ],
)
def test_a_key_that_no_stage_writes_is_no_note(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"^a key that no stage writes|literal"):
        parse_note(key)


def test_a_note_is_written_once_by_whoever_remembers_it_and_other_records_always() -> None:
    note, fact = heard(JAIL, "HousingAssigned", "t", START, START, SITE), Out("t", 0, b"other", None, b"")
    assert note is not None
    already = Noted()
    assert [already.is_news(out) for out in (note, note, fact, fact)] == [True, False, True, True]
    already.MOST = 3  # type: ignore[misc]
    for number in range(3):
        assert already.is_news(note._replace(key=f"~heard/{number}".encode()))
    assert already.is_news(note), "it was forgotten: it is written again, which says nothing new"


def test_what_evidence_names_a_note_by_is_the_same_whatever_came_late_in_it() -> None:
    assert Heard(JAIL, "X", 7, 3).id == Heard(JAIL, "X", 7, None).id == note_id(JAIL, "X", 7)
    assert note_id(JAIL, "X", 7) != note_id(JAIL, "X", 8)
