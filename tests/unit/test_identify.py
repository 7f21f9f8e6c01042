"""Identify: who an event is about, what it puts on which partition, and why it is set aside."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, PersonRef, type_name
from streams.facts import KeyKind, parse_key, partition_of
from streams.identify import FUTURE_TOLERANCE, DeadLetter, Facts, Source, identifiers, identify
from streams.records import LoggedRecord, Out
from tests.county import DAY, JAIL, POLICE, SITE, START, event, ids
from tests.in_memory_bus import SCHEMA_IDS, SCHEMAS


def source(agency: str, event_type: str) -> Source:
    return Source(topics.inbound("demo", agency, event_type), SITE.agency_by_id[agency], event_type)


def taken(what: Event, agency: str, now: int | None = None, raw: bytes | None = None) -> Facts | DeadLetter:
    value = raw if raw is not None else encode_event(what, SCHEMA_IDS[type_name(what)])
    where = source(agency, type_name(what))
    return identify(LoggedRecord(0, None, value), where, SITE, SCHEMAS, what.head.time if now is None else now)


def facts(what: Event, agency: str = JAIL) -> tuple[Out, ...]:
    found = taken(what, agency)
    assert isinstance(found, Facts), found
    return found.records


def test_an_events_bytes_go_untouched_to_its_persons_partition() -> None:
    what = event("HousingAssigned", "ada", unit="4-B")
    (out,) = facts(what)
    key = parse_key(out.key)
    assert (key.kind, key.agency, key.event_id, key.role) == (KeyKind.PERSON, JAIL, what.head.event_id, "subject")
    assert out.partition == partition_of(key.person, SITE.partitions)
    assert out.value == encode_event(what, SCHEMA_IDS["HousingAssigned"])


def test_a_number_verified_by_fingerprint_names_the_person_and_the_agencys_own_is_joined_to_it() -> None:
    by_number = parse_key(facts(event("HousingAssigned", "ada", unit="4-B"))[0].key).person
    person, link = facts(event("BookingReported", "ada", sid="S1"))
    by_sid = parse_key(facts(event("AffiliationReported", None, sid="S1", group="Eastside"), POLICE)[0].key).person
    assert parse_key(person.key).person == by_sid != by_number
    assert (parse_key(link.key).kind, parse_key(link.key).person) == (KeyKind.SAME_AS, by_number)
    assert dict(link.headers)["same-as"].decode() == f"1/{by_sid}"


@pytest.mark.parametrize("verified", ["STATED", "DOCUMENT", "SYSTEM", "UNKNOWN"])
def test_a_number_verified_otherwise_joins_nobody(verified: str) -> None:
    (out,) = facts(event("BookingReported", "ada", sid="S1", verified=verified))
    assert parse_key(out.key).person == parse_key(facts(event("HousingAssigned", "ada", unit="4-B"))[0].key).person


def test_the_same_own_number_at_two_agencies_is_two_persons() -> None:
    jail = identifiers(PersonRef.model_validate({"role": "SUBJECT", "ids": ids("1")}), JAIL)
    police = identifiers(PersonRef.model_validate({"role": "SUBJECT", "ids": ids("1")}), POLICE)
    assert jail[0].person != police[0].person


def test_a_withdrawal_and_street_violence_go_to_every_partition_of_persons_and_facilities() -> None:
    for what, agency, kind in (
        (
            event("EventWithdrawn", agency=JAIL, target_event_id=event("BookingReported", "x").head.event_id),
            JAIL,
            KeyKind.WITHDRAWN,
        ),
        (event("StreetViolenceReported", groups=["A", "B"]), POLICE, KeyKind.EVERYONE),
    ):
        outs = facts(what, agency)
        assert {parse_key(out.key).kind for out in outs} == {kind}
        everywhere = {
            (topic, number)
            for topic in (topics.person_facts("demo"), topics.facility_facts("demo"))
            for number in range(SITE.partitions)
        }
        assert {(out.topic, out.partition) for out in outs} == everywhere


def test_a_health_event_goes_nowhere_but_its_care_topic() -> None:
    assert facts(event("CareObserved", "ada")) == ()


def wrong(what: Event, **changes: Any) -> Event:
    return what.model_copy(update=changes)


HOUSING = event("HousingAssigned", "ada", unit="4-B")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (event("HousingAssigned", "ada", agency=POLICE, unit="4-B"), "OTHER_AGENCY"),
        (wrong(HOUSING, facility="county-jail-annex"), "UNKNOWN_FACILITY"),
        (wrong(HOUSING, unit="9-Z"), "UNKNOWN_UNIT"),
        (wrong(HOUSING, head=HOUSING.head.model_copy(update={"persons": ()})), "NO_PERSON"),
        (event("HousingAssigned", "ada", unit="4-B", purge_day=-1), "EXPIRED"),
    ],
)
def test_an_event_that_does_not_fit_the_site_is_set_aside_with_the_reason(what: Event, reason: str) -> None:
    found = taken(what, JAIL)
    assert isinstance(found, DeadLetter)
    assert found.reason == reason


def with_persons(what: Event, *persons: tuple[str, list[dict[str, str]]]) -> Event:
    refs = tuple(PersonRef.model_validate({"role": role, "ids": numbers}) for role, numbers in persons)
    return wrong(what, head=what.head.model_copy(update={"persons": refs}))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (with_persons(HOUSING, ("VICTIM", ids("ada"))), "NOT_ONE_SUBJECT"),
        (with_persons(HOUSING, ("SUBJECT", ids("ada")), ("SUBJECT", ids("bo"))), "NOT_ONE_SUBJECT"),
        (
            with_persons(HOUSING, ("SUBJECT", ids("ada", "S1")), ("OTHER_PARTY", ids("ada", "S2"))),
            "ONE_NUMBER_TWICE",
        ),
    ],
    ids=["nobody is the subject", "two are", "one number is two persons"],
)
def test_an_event_says_whom_it_is_about_and_gives_nobody_anothers_number(what: Event, reason: str) -> None:
    found = taken(what, JAIL)
    assert isinstance(found, DeadLetter)
    assert found.reason == reason


def test_a_withdrawal_counts_after_its_own_purge_date_too() -> None:
    withdrawal = event("EventWithdrawn", agency=JAIL, day=1, purge_day=2, target_event_id=HOUSING.head.event_id)
    assert isinstance(taken(withdrawal, JAIL, now=START + 3 * DAY), Facts)


def test_violence_with_neither_two_groups_nor_a_person_leads_to_nothing() -> None:
    found = taken(event("StreetViolenceReported", groups=["Eastside", "EASTSIDE "]), POLICE)
    assert isinstance(found, DeadLetter)
    assert found.reason == "NO_GROUPS"


def test_an_event_is_from_the_future_from_five_minutes_ahead_on() -> None:
    assert isinstance(taken(HOUSING, JAIL, now=HOUSING.head.time - FUTURE_TOLERANCE), Facts)
    found = taken(HOUSING, JAIL, now=HOUSING.head.time - FUTURE_TOLERANCE - 1)
    assert isinstance(found, DeadLetter)
    assert found.reason == "FUTURE"


def test_a_facility_of_another_agency_is_refused() -> None:
    annex = SITE.facilities[0].model_copy(update={"id": "annex", "agency": POLICE})
    site = SITE.model_copy(update={"facilities": (*SITE.facilities, annex)})
    what = wrong(HOUSING, facility="annex")
    record = LoggedRecord(0, None, encode_event(what, SCHEMA_IDS["HousingAssigned"]))
    found = identify(record, source(JAIL, "HousingAssigned"), site, SCHEMAS, START)
    assert isinstance(found, DeadLetter)
    assert found.reason == "FOREIGN_FACILITY"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "NOT_FRAMED"),
        (b"\xff" * 30, "NOT_FRAMED"),
        (b"\x00\x00\x01\x86\x9f" + bytes(30), "UNKNOWN_SCHEMA"),
        (encode_event(HOUSING, SCHEMA_IDS["HousingAssigned"])[:-3], "BROKEN_AVRO"),
        (encode_event(HOUSING, SCHEMA_IDS["HousingAssigned"]) + b"\x00", "BROKEN_AVRO"),
        (encode_event(event("BookingReported", "ada"), SCHEMA_IDS["BookingReported"]), "WRONG_TYPE"),
        (encode_event(HOUSING, SCHEMA_IDS["HousingAssigned"]).replace(b"NY099013C", b"NY-99013C"), "SENSELESS_VALUE"),
    ],
)
def test_bytes_that_are_no_such_event_are_set_aside_without_showing_a_value(raw: bytes, reason: str) -> None:
    found = taken(HOUSING, JAIL, raw=raw)
    assert isinstance(found, DeadLetter)
    assert found.reason == reason
    assert "NY-99013C" not in found.detail


def test_doing_a_record_again_writes_the_same_facts() -> None:
    what = event("BookingReported", "ada", sid="S1")
    assert facts(what) == facts(what)
