"""Identify: who an event is about, what it puts on which partition, and why it is set aside."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import topics
from schemas.codec import decode_parts, encode_event
from schemas.events import ONLY_HEARD, ContactClass, Event, PersonId, PersonRef, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.facts import Fact, FactKey, Joining, KeyKind, parse_key, partition_of, read_fact, variant_of
from streams.heard import HEARD, NOTES
from streams.identify import (
    FUTURE_TOLERANCE,
    DeadLetter,
    Facts,
    Source,
    group_key,
    identifier,
    identifiers,
    identify,
    on_to_person,
    refuse,
    to_person,
)
from streams.records import LoggedRecord, Out
from tests.county import DAY, JAIL, POLICE, SITE, START, agency_of, demo_site, event, event_id, ids


def source(agency: str, event_type: str) -> Source:
    return Source(topics.inbound("demo", agency, event_type), SITE.agency_by_id[agency], event_type)


def taken(
    what: Event, agency: str, now: int | None = None, raw: bytes | None = None, site: Site = SITE
) -> Facts | DeadLetter:
    value = raw if raw is not None else encode_event(what, SCHEMA_IDS[type_name(what)])
    where = source(agency, type_name(what))
    return identify(LoggedRecord(0, None, value), where, site, SCHEMAS, what.head.time if now is None else now)


def facts(what: Event, agency: str = JAIL) -> tuple[Out, ...]:
    """What identify makes of an event, but for the note that it came."""
    found = taken(what, agency)
    assert isinstance(found, Facts), found
    return tuple(out for out in found.records if not out.key.startswith(NOTES))


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
def test_two_numbers_verified_otherwise_join_nobody_either_where_there_is_no_other(verified: str) -> None:
    (out,) = facts(event("BookingReported", None, sid="S1", ucn="U1", verified=verified))
    assert parse_key(out.key).kind is KeyKind.PERSON
    one_by_fingerprint = event("BookingReported", None, sid="S1", verified=verified)
    numbers = [*ids("", "S1", verified=verified), *ids("", ucn="U1")]
    both = with_persons(one_by_fingerprint, ("SUBJECT", numbers))
    (out,) = facts(both)
    assert parse_key(out.key).person == identifier(both.head.persons[0].ids[1], JAIL).person


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


HERE: dict[str, Any] = {"facility": "county-jail-main"}
STATED: dict[str, Any] = {"sid": "S1", "verified": "STATED"}


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"courier_name": "Dana Cole", **HERE}, None),
        ({"recipient_name": "Cole, Dana", **HERE}, None),
        ({"sid": "S1"}, None),
        ({}, "NAMES_NOBODY"),
        ({"method": "VISIT", "expected_from": 1, "expected_until": 2, **HERE}, "NAMES_NOBODY"),
        ({"courier_name": "Dana", **HERE}, "NAMES_NOBODY"),
        ({"courier_name": "D. Cole", **HERE}, "NAMES_NOBODY"),
        # A name alone is shared: with one thing more it may alert.
        ({"courier_name": "Dana Cole"}, "NAMES_NOBODY"),
        ({"recipient_name": "Dana Cole"}, "NAMES_NOBODY"),
        ({"courier_name": "Dana Cole", "method": "VISIT"}, None),
        ({"courier_name": "Dana Cole", "expected_until": 1}, None),
        ({"courier_name": "Dana Cole", "courier_born": "1990-05-01"}, None),
        ({"courier_name": "Dana Cole", "recipient_name": "Ada Adams"}, None),
        # A number that joins nobody is no name.
        (STATED, "NAMES_NOBODY"),
        ({**STATED, "method": "VISIT", "expected_from": 1, **HERE}, "NAMES_NOBODY"),
        ({**STATED, "courier_name": "Dana Cole"}, "NAMES_NOBODY"),
        ({**STATED, "courier_name": "Dana Cole", **HERE}, None),
        # The agency's own may be joined to a jail's.
        ({"person": "ada"}, None),
        ({"person": "ada", **STATED}, None),
        ({"sid": "S1", "facility": "nowhere"}, "UNKNOWN_FACILITY"),
    ],
)
def test_a_tip_says_enough_to_alert_on_something(said: dict[str, Any], refused: str | None) -> None:
    found = taken(event("ContrabandTipped", **said), POLICE)
    assert (found.reason if isinstance(found, DeadLetter) else None) == refused


@pytest.mark.parametrize(("characters", "refused"), [(60, None), (61, "TOO_MANY_WORDS")])
def test_what_a_tip_says_is_to_come_holds_a_few_words_since_it_is_handed_on(
    characters: int, refused: str | None
) -> None:
    found = taken(event("ContrabandTipped", sid="S1", substance="x" * characters), POLICE)
    assert (found.reason if isinstance(found, DeadLetter) else None) == refused


@pytest.mark.parametrize("handling", ["CALL_FIRST", "UNKNOWN"])
@pytest.mark.parametrize(
    ("service", "reference", "refused"),
    [
        (None, None, "NOBODY_TO_CALL"),
        ("Center, 555", None, None),
        (None, "DC-77", None),
        ("Center, 555", "DC-77", None),
    ],
)
def test_whom_a_tip_asks_to_call_first_can_be_found_by_a_service_or_by_a_reference(
    handling: str, service: str | None, reference: str | None, refused: str | None
) -> None:
    said = event("ContrabandTipped", sid="S1", handling=handling, deconfliction_reference=reference)
    found = taken(said, POLICE, site=demo_site(deconfliction=service))
    assert (found.reason if isinstance(found, DeadLetter) else None) == refused


def test_a_tip_for_which_nobody_can_be_called_says_what_to_add() -> None:
    said = event("ContrabandTipped", sid="S1", handling="CALL_FIRST")
    assert taken(said, POLICE, site=demo_site(deconfliction=None)) == DeadLetter(
        "NOBODY_TO_CALL",
        "handling asks to be called first, and nobody could: add deconfliction_reference, "
        "or have deconfliction named in site.toml",
    )


@pytest.mark.parametrize("handling", ["ACT", "WATCH_ONLY"])
def test_a_tip_that_asks_nobody_to_call_needs_neither(handling: str) -> None:
    said = event("ContrabandTipped", sid="S1", handling=handling)
    assert not isinstance(taken(said, POLICE, site=demo_site(deconfliction=None)), DeadLetter)


def test_a_number_without_a_fingerprint_may_find_whom_the_agency_itself_has_in_custody() -> None:
    tip = event("ContrabandTipped", agency=JAIL, **STATED)
    jails = SITE.agency_by_id[JAIL].model_copy(
        update={"publishes": (*SITE.agency_by_id[JAIL].publishes, type_name(tip))}
    )
    of_jail = Source("demo.county-jail.contraband-tipped.v1", jails, type_name(tip))
    assert refuse(tip, of_jail, SITE, tip.head.time) is None
    nowhere = SITE.model_copy(update={"facilities": ()})
    assert refuse(tip, of_jail, nowhere, tip.head.time) is not None


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (
            {"courier_name": "Dana Cole"},
            (
                "whatever is delivered, 4 points at most speak for it, and it takes 5: a name alone is shared. "
                "Say more: facility, method, or the day (expected_from, expected_until)"
            ),
        ),
        (
            STATED,
            (
                "head.persons: a number that no fingerprint verifies finds nobody in custody, and neither recipient "
                "nor courier has a full name that could be met. Say more"
            ),
        ),
        (
            {"courier_name": "Dana Cole", "method": "COURT_RETURN", **HERE},
            "recipient_name: who comes back from court or from a work crew brings it himself. Say who that is",
        ),
    ],
)
def test_a_tip_that_can_alert_on_nothing_says_what_it_lacks(said: dict[str, Any], detail: str) -> None:
    assert taken(event("ContrabandTipped", **said), POLICE) == DeadLetter("NAMES_NOBODY", detail)


def test_a_tip_is_told_to_every_facility_and_to_the_person_whom_it_names() -> None:
    everyones = {(topics.facility_facts("demo"), number) for number in range(SITE.partitions)}
    nobody = facts(event("ContrabandTipped", courier_name="Dana Cole", **HERE), POLICE)
    assert {(out.topic, out.partition) for out in nobody} == everyones
    person = facts(event("ContrabandTipped", sid="S1"), POLICE)
    assert {(out.topic, out.partition) for out in person} - everyones == {
        (topics.person_facts("demo"), partition_of(identifier(sid_of("S1"), POLICE).person, SITE.partitions))
    }
    outcome = event("TipOutcome", "ada", sid="S1", target_event_id=nobody_id())
    assert {(out.topic, out.partition) for out in facts(outcome, POLICE)} == everyones, "whom it names joins nobody"


def test_a_tip_is_told_to_each_number_of_the_person_and_joins_none_of_them() -> None:
    tip = event("ContrabandTipped", sid="S1", ucn="U1")
    outs = [out for out in facts(tip, POLICE) if out.topic == topics.person_facts("demo")]
    keys = [parse_key(out.key) for out in outs]
    assert {(key.kind, key.role) for key in keys} == {(KeyKind.PERSON, "subject")}
    told = [as_fact(out) for out in outs]
    numbers = [identifier(number, POLICE) for number in tip.head.persons[0].ids]
    assert {(fact.person, fact.provenance.via) for fact in told} == {(n.person, n.label) for n in numbers}


def test_a_tip_is_told_to_everyone_whom_it_names() -> None:
    tip = event("ContrabandTipped", sid="S1", ucn="U1")
    both = with_persons(tip, ("SUBJECT", ids("", "S1", ucn="U1")), ("ASSOCIATE", ids("", "S2")))
    outs = [out for out in facts(both, POLICE) if out.topic == topics.person_facts("demo")]
    assert sorted(parse_key(out.key).role for out in outs) == ["associate", "subject", "subject"]


def as_record(out: Out) -> LoggedRecord:
    """A record that identify writes, as it is read."""
    assert isinstance(out.value, bytes)
    return LoggedRecord(0, out.key, out.value, out.headers)


def as_fact(out: Out) -> Fact:
    return read_fact(as_record(out))


def sid_of(value: str) -> PersonId:
    return PersonId.model_validate(ids("", value)[0])


def nobody_id() -> str:
    return event("ContrabandTipped", courier_name="Dana Cole", **HERE).head.event_id


@pytest.mark.parametrize("kind", ["VisitScheduled", "MailReceived", "DepositReceived"])
@pytest.mark.parametrize("contact", list(ContactClass))
def test_only_an_ordinary_contact_becomes_a_fact(kind: str, contact: ContactClass) -> None:
    when: dict[str, Any] = {"starts": 1} if kind == "VisitScheduled" else {}
    records = facts(event(kind, "ada", contact=contact, **when))
    assert bool(records) is (contact is ContactClass.ORDINARY)


def test_of_what_nothing_reads_it_is_noted_that_it_came_and_nothing_else() -> None:
    hearing = event("HearingScheduled", sid="S1", starts=9)
    told = (hearing, event("HearingCancelled", sid="S1"), event("CallCompleted", "ada"))
    assert {type_name(one) for one in told} == ONLY_HEARD
    for one in told:
        found = taken(one, agency_of(one))
        assert isinstance(found, Facts)
        assert [(out.key[: len(HEARD)], out.value) for out in found.records] == [(HEARD, b"")]


@pytest.mark.parametrize("contact", list(ContactClass))
def test_of_a_call_that_is_not_an_ordinary_one_not_even_that_is_noted(contact: ContactClass) -> None:
    found = taken(event("CallCompleted", "ada", contact=contact), JAIL)
    assert isinstance(found, Facts)
    assert bool(found.records) is (contact is ContactClass.ORDINARY)


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


ANNEX = SITE.facilities[0].model_copy(update={"id": "annex", "agency": POLICE})
YARD = SITE.facilities[0].model_copy(update={"id": "yard", "units": ()})
MORE = SITE.model_copy(update={"facilities": (*SITE.facilities, ANNEX, YARD)})
FEUD = event("StreetViolenceReported", groups=["Eastside", "EASTSIDE "])


def withdrawn(**changes: Any) -> Event:
    return event("EventWithdrawn", agency=JAIL, target_event_id=HOUSING.head.event_id, **changes)


@pytest.mark.parametrize(
    ("what", "agency", "later", "told"),
    [
        (
            event("HousingAssigned", "ada", agency=POLICE, unit="4-B"),
            JAIL,
            0,
            DeadLetter(
                "OTHER_AGENCY",
                "head.ori is not that of county-jail: an agency publishes and withdraws in its own name only",
            ),
        ),
        (
            HOUSING,
            JAIL,
            -FUTURE_TOLERANCE - 1,
            DeadLetter(
                "FUTURE",
                "head.time is in the future: check the publisher's clock and time zone, then publish again",
            ),
        ),
        (HOUSING, JAIL, -FUTURE_TOLERANCE, None),
        (
            event("HousingAssigned", "ada", unit="4-B", purge_day=1),
            JAIL,
            DAY,
            DeadLetter("EXPIRED", "head.handling.purge_by has passed"),
        ),
        (event("HousingAssigned", "ada", unit="4-B", purge_day=1), JAIL, DAY - 1, None),
        (withdrawn(purge_day=1), JAIL, DAY, None),
        (
            with_persons(HOUSING, ("SUBJECT", ids("ada", "S1")), ("VICTIM", ids("ada"))),
            JAIL,
            0,
            DeadLetter("ONE_NUMBER_TWICE", "head.persons: one number names two persons of the event"),
        ),
        (with_persons(HOUSING, ("SUBJECT", ids("ada", "S1")), ("VICTIM", ids("bo"))), JAIL, 0, None),
        (with_persons(withdrawn(), ("SUBJECT", ids("ada")), ("VICTIM", ids("ada"))), JAIL, 0, "ONE_NUMBER_TWICE"),
        (
            wrong(HOUSING, head=HOUSING.head.model_copy(update={"persons": ()})),
            JAIL,
            0,
            DeadLetter("NO_PERSON", "head.persons is empty"),
        ),
        (
            with_persons(HOUSING, ("SUBJECT", ids("ada")), ("SUBJECT", ids("bo"))),
            JAIL,
            0,
            DeadLetter("NOT_ONE_SUBJECT", "head.persons: one, and only one, must be the SUBJECT"),
        ),
        (
            wrong(HOUSING, facility="nowhere"),
            JAIL,
            0,
            DeadLetter("UNKNOWN_FACILITY", "facility is not one of this site"),
        ),
        (
            wrong(HOUSING, facility="annex"),
            JAIL,
            0,
            DeadLetter("FOREIGN_FACILITY", "facility annex is not run by county-jail"),
        ),
        (
            wrong(HOUSING, unit="9-Z"),
            JAIL,
            0,
            DeadLetter("UNKNOWN_UNIT", "unit is not one of county-jail-main; add it to site.toml"),
        ),
        (wrong(HOUSING, facility="yard", unit="9-Z"), JAIL, 0, None),
        (event("BookingReported", "ada", facility="nowhere"), JAIL, 0, "UNKNOWN_FACILITY"),
        (
            FEUD,
            POLICE,
            0,
            DeadLetter("NO_GROUPS", "neither two groups nor a person: nothing follows from it"),
        ),
        (with_persons(FEUD, ("VICTIM", ids("ada"))), POLICE, 0, None),
        (
            event("ContrabandTipped", sid="S1", facility="nowhere"),
            POLICE,
            0,
            DeadLetter("UNKNOWN_FACILITY", "facility is not one of this site"),
        ),
        (
            event("ContrabandTipped"),
            POLICE,
            0,
            DeadLetter(
                "NAMES_NOBODY",
                "neither recipient nor courier, by a number or by a full name: it could mean half a jail. Say more",
            ),
        ),
        (event("StreetViolenceReported", groups=["Eastside", "Harbor"]), POLICE, 0, None),
    ],
)
def test_what_is_set_aside_says_what_to_mend(
    what: Event, agency: str, later: int, told: DeadLetter | str | None
) -> None:
    found = refuse(what, source(agency, type_name(what)), MORE, what.head.time + later)
    assert (found.reason if found and isinstance(told, str) else found) == told


def test_an_import_of_the_past_takes_what_has_expired_since() -> None:
    history = SITE.model_copy(update={"clock": "history"})
    what = event("HousingAssigned", "ada", unit="4-B", purge_day=1)
    assert refuse(what, source(JAIL, "HousingAssigned"), history, START + 9 * DAY) is None


UNCHECKED = "not verified by fingerprint"


@pytest.mark.parametrize(
    ("numbers", "known_by"),
    [
        (ids("ada"), [(2, "county-jail number")]),
        (ids("", "S1"), [(1, "SID by fingerprint")]),
        (ids("", ucn="U1"), [(0, "UCN by fingerprint")]),
        (ids("ada", "S1", ucn="U1"), [(0, "UCN by fingerprint"), (1, "SID by fingerprint"), (2, "county-jail number")]),
        (ids("ada", "S1", verified="STATED"), [(2, "county-jail number")]),
        (ids("", "S1", verified="STATED"), [(2, f"county-jail SID {UNCHECKED}")]),
        (
            ids("", "S1", verified="DOCUMENT", ucn="U1"),
            [(2, f"county-jail SID {UNCHECKED}"), (2, f"county-jail UCN {UNCHECKED}")],
        ),
        ([*ids("", "S1"), *ids("", ucn="U1", verified="STATED")], [(1, "SID by fingerprint")]),
        ([*ids("ada"), *ids("ada")], [(2, "county-jail number")]),
    ],
)
def test_a_person_is_known_by_its_numbers_the_strongest_first(
    numbers: list[dict[str, str]], known_by: list[tuple[int, str]]
) -> None:
    found = identifiers(PersonRef.model_validate({"role": "SUBJECT", "ids": numbers}), JAIL)
    assert sorted((one.rank, one.label) for one in found) == known_by
    assert [one.rank for one in found] == [rank for rank, _ in known_by]
    assert len({one.person for one in found}) == len(found)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"agency": POLICE}, True),
        ({"value": "S2"}, False),
        ({"issuer": "NJ"}, False),
        ({"kind": "UCN"}, False),
        ({"verified": "STATED"}, False),
        ({"verified": "STATED", "agency": POLICE}, False),
    ],
)
def test_a_number_verified_by_fingerprint_is_one_person_whoever_says_it(changes: dict[str, str], same: bool) -> None:
    number = {"kind": "SID", "value": "S1", "issuer": "NY", "verified": "FINGERPRINT"}
    first = identifier(PersonId.model_validate(number), JAIL)
    agency = changes.pop("agency", JAIL)
    assert (identifier(PersonId.model_validate({**number, **changes}), agency).person == first.person) is same


def told_by(out: Out) -> dict[str, bytes]:
    return dict(out.headers)


def test_a_fact_tells_in_its_headers_what_folding_needs() -> None:
    what = event("BookingReported", "ada", sid="S1", purge_day=40, day=1)
    handling = what.head.handling.model_copy(update={"markings": ("JUVENILE",)})
    marked = wrong(what, head=what.head.model_copy(update={"handling": handling}))
    person, link = facts(marked)
    topic = "demo.county-jail.booking-reported.v1"
    _, body_at = decode_parts(person.value if isinstance(person.value, bytes) else b"", SCHEMAS, "BookingReported")
    fact = f"{START + DAY};{body_at};{START + 40 * DAY}"
    assert told_by(person) == {
        "sort": f"BookingReported;{topic};marked;SID by fingerprint".encode(),
        "fact": f"{fact};county-jail-main;B-ada".encode(),
    }
    assert told_by(link) == {
        "sort": f"BookingReported;{topic};marked;county-jail number".encode(),
        "fact": fact.encode(),
        "same-as": f"1/{parse_key(person.key).person}".encode(),
    }


def test_a_common_fact_says_no_more_than_it_must() -> None:
    (out,) = facts(event("AffiliationReported", None, sid="S1", group="Eastside"), POLICE)
    _, body_at = decode_parts(out.value if isinstance(out.value, bytes) else b"", SCHEMAS, "AffiliationReported")
    assert told_by(out) == {
        "sort": b"AffiliationReported;demo.city-pd.affiliation-reported.v1;;SID by fingerprint",
        "fact": f"{START};{body_at};".encode(),
    }
    assert out.name is None


def test_whom_violence_names_has_a_fact_of_it_beside_everyones() -> None:
    what = with_persons(FEUD, ("SUSPECT", ids("ada")), ("VICTIM", ids("bo", "S1")))
    outs = facts(what, POLICE)
    of_persons = [parse_key(out.key) for out in outs if parse_key(out.key).kind is not KeyKind.EVERYONE]
    assert [(key.kind, key.role) for key in of_persons] == [
        (KeyKind.PERSON, "suspect"), (KeyKind.PERSON, "victim"), (KeyKind.SAME_AS, "same-as"),
    ]  # fmt: skip
    everyone = [out for out in outs if parse_key(out.key).kind is KeyKind.EVERYONE]
    assert len(everyone) == 2 * SITE.partitions
    assert {told_by(out)["sort"] for out in everyone} == {
        b"StreetViolenceReported;demo.city-pd.street-violence-reported.v1;;"
    }
    raw = encode_event(what, SCHEMA_IDS[type_name(what)])
    assert {(out.value, out.name) for out in everyone} == {(raw, None)}
    key = FactKey(KeyKind.EVERYONE, "", POLICE, what.head.event_id, "", variant_of(raw))
    assert {parse_key(out.key) for out in everyone} == {key}


def test_a_withdrawal_is_the_event_and_nothing_beside() -> None:
    outs = facts(withdrawn())
    key = parse_key(outs[0].key)
    assert (key.agency, key.event_id) == (JAIL, HOUSING.head.event_id)
    raw = encode_event(withdrawn(), SCHEMA_IDS["EventWithdrawn"])
    assert {(out.key, out.name, out.value, out.headers) for out in outs} == {(outs[0].key, None, raw, ())}


def test_a_fact_goes_to_the_partition_of_whoever_is_its_person_now() -> None:
    (out,) = facts(event("HousingAssigned", "ada", unit="4-B"))
    fact = as_fact(out)
    assert to_person(fact, SITE) == out
    moved = fact.moved_to("somebody else", ())
    there = to_person(moved, SITE)
    assert (there.topic, there.partition) == (out.topic, partition_of("somebody else", SITE.partitions))
    assert parse_key(there.key).person == "somebody else"


@pytest.mark.parametrize("purge_day", [None, 7])
def test_a_fact_goes_on_from_one_to_the_next_with_the_whole_way(purge_day: int | None) -> None:
    (out,) = facts(event("HousingAssigned", "ada", unit="4-B", purge_day=purge_day))
    first, second = Joining("ada", JAIL, event_id("first"), 7), Joining("bo", JAIL, event_id("second"), None)
    once = on_to_person(as_record(out), "bo", first, SITE)
    assert once == to_person(as_fact(out).moved_to("bo", (first,)), SITE)
    twice = on_to_person(as_record(once), "cy", second, SITE)
    assert twice == to_person(as_fact(once).moved_to("cy", (first, second)), SITE)
    assert as_fact(twice).origin == as_fact(out).person


@pytest.mark.parametrize(("written", "compared"), [("Eastside", "eastside"), ("  EAST  side\t", "east side"), ("", "")])
def test_groups_are_compared_without_case_and_spacing(written: str, compared: str) -> None:
    assert group_key(written) == compared


def test_an_empty_record_is_set_aside() -> None:
    record = LoggedRecord(0, None, None)
    found = identify(record, source(JAIL, "HousingAssigned"), SITE, SCHEMAS, START)
    assert isinstance(found, DeadLetter)
    assert found.reason == "NOT_FRAMED"


def test_doing_a_record_again_writes_the_same_facts() -> None:
    what = event("BookingReported", "ada", sid="S1")
    assert facts(what) == facts(what)
