"""Backtest: what an event puts on the logs, and the alerts that the stages make of it, by both ways."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from schemas.site import Site
from streams.backtest import (
    SCHEMA_IDS,
    SCHEMAS,
    Alert,
    AsItWent,
    Backtest,
    InTheEnd,
    Published,
    Rules,
    facts_of,
    in_parts,
    on_one_partition,
    open_in_the_end,
    published,
)
from streams.facts import partition_of
from streams.identify import FUTURE_TOLERANCE, DeadLetter, Facts, Refusal, Source, identify
from streams.records import LoggedRecord, Out
from tests.county import DAY, SITE, agency_of, demo_site, event

ONE = on_one_partition(SITE)
RIVALS = [
    *(event("BookingReported", person) for person in ("ada", "bo")),
    *(event("HousingAssigned", person, day=1, unit="4-B") for person in ("ada", "bo")),
    event("AffiliationValidated", "ada", day=1, group="Eastside"),
    event("AffiliationValidated", "bo", day=1, group="Harbor"),
    event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"], name="it"),
]
APART = event("HousingAssigned", "bo", day=3, unit="5-A", name="apart")


def told(test: Backtest, events: Iterable[Event]) -> list[Alert]:
    alerts = []
    for what in events:
        facts = facts_of(published(what, ONE.agency_by_id[agency_of(what)]), ONE)
        assert not isinstance(facts, DeadLetter)
        alerts += test.tell(facts)
    return alerts


def summary(alerts: Iterable[Alert]) -> list[tuple[str, str, str | None]]:
    return [(alert["rule"], alert["state"], alert["unit"]) for alert in alerts]


def test_a_site_is_seen_on_one_partition_with_the_time_that_its_events_bring() -> None:
    site = demo_site(partitions=4, clock="live")
    assert on_one_partition(site) == demo_site(partitions=1, clock="history")
    assert on_one_partition(site, "live") == demo_site(partitions=1, clock="live")


@pytest.mark.parametrize("what", [*RIVALS, APART], ids=type_name)
@pytest.mark.parametrize("later", [None, 2 * DAY])
@pytest.mark.parametrize("site", [ONE, on_one_partition(SITE, "live")], ids=lambda site: site.clock)
def test_an_event_puts_on_the_logs_what_the_workers_make_of_its_record(
    site: Site, what: Event, later: int | None
) -> None:
    kind, agency = type_name(what), site.agency_by_id[agency_of(what)]
    came = None if later is None else what.head.time + later
    record = LoggedRecord(
        0, None, encode_event(what, SCHEMA_IDS[kind]), timestamp=(what.head.time + (later or 0)) // 1000
    )
    source = Source(topics.inbound(site.name, agency.id, kind), agency, kind)
    found = identify(record, source, site, SCHEMAS, what.head.time)
    assert isinstance(found, Facts)
    assert facts_of(published(what, agency), site, came) == found.records


def test_what_is_only_heard_is_not_encoded() -> None:
    call = event("CallCompleted", "ada")
    agency = ONE.agency_by_id[agency_of(call)]
    assert published(call, agency) == Published(call, agency, b"", 0)


def test_an_event_that_would_be_set_aside_is_told_why() -> None:
    what = event("HousingAssigned", "ada", unit="nowhere")
    found = facts_of(published(what, ONE.agency_by_id[agency_of(what)]), ONE)
    assert isinstance(found, DeadLetter)
    assert found.reason == Refusal.UNKNOWN_UNIT
    early = facts_of(published(APART, ONE.agency_by_id[agency_of(APART)]), ONE, APART.head.time - FUTURE_TOLERANCE - 1)
    assert isinstance(early, DeadLetter)
    assert early.reason == Refusal.FUTURE


def test_as_it_went_each_alert_names_the_record_of_its_cause() -> None:
    alerts = told(AsItWent(ONE), [*RIVALS, APART])
    assert summary(alerts) == [
        ("rivals_housed_together", "OPEN", "4-B"),
        ("rivals_housed_together", "WITHDRAWN", None),
    ]
    feud, moved = RIVALS[-1].head.event_id, APART.head.event_id
    cause = {"kind": "FACT", "stage": "facility", "partition": 0}
    assert [alert["cause"] for alert in alerts] == [
        {**cause, "offset": 5, "event_id": feud},
        {**cause, "offset": 8, "event_id": moved},
    ]


def fights_of(person: str, sid: str | None = None) -> list[Event]:
    """Of one who was classified, each by both of the numbers, if there are two: a review is due with the first."""
    return [
        event("BookingReported", person, sid=sid),
        event("CustodyClassified", person, day=1),
        *(event("DisciplinaryRecorded", person, day=2 + n) for n in range(3)),
    ]


def test_a_persons_alert_names_the_record_too_and_all_that_was_written_before_counts() -> None:
    cause = {"kind": "FACT", "stage": "person", "partition": 0}
    fights = [one.head.event_id for one in fights_of("ada")[2:]]
    known_by_one = [alert["cause"] for alert in told(AsItWent(ONE), fights_of("ada"))]
    assert known_by_one == [{**cause, "offset": 2 + n, "event_id": fight} for n, fight in enumerate(fights)]
    # The first event is two facts; of each other, its fact is followed by the one it is moved to, and by its tombstone.
    known_by_two = [alert["cause"] for alert in told(AsItWent(ONE), fights_of("ada", sid="S1"))]
    assert known_by_two == [{**cause, "offset": 6 + 3 * n, "event_id": fight} for n, fight in enumerate(fights)]
    test = InTheEnd(ONE)
    told(test, fights_of("ada", sid="S1"))
    (alert,) = test.end()
    # No record is its cause: in the end it does not matter which was the last.
    assert alert["cause"] == {**cause, "kind": "RECONCILED", "offset": -1, "event_id": None}


def test_in_the_end_nothing_is_told_before_all_has_been_taken_in() -> None:
    test = InTheEnd(ONE)
    assert told(test, RIVALS) == []
    (alert,) = test.end()
    assert alert["cause"] == {"kind": "RECONCILED", "stage": "facility", "partition": 0, "offset": -1, "event_id": None}
    moved = InTheEnd(ONE)
    assert told(moved, [*RIVALS, APART]) == []
    assert moved.end() == []


@pytest.mark.parametrize(
    "events", [fights_of("ada", sid="S1"), fights_of("ada", sid="S1")[::-1]], ids=["as it was", "backwards"]
)
def test_in_the_end_facts_go_to_whose_they_are_without_having_been_anothers(events: list[Event]) -> None:
    test, persons = InTheEnd(ONE), topics.person_facts(ONE.name)
    told(test, events)
    given = [out for out in test.settle() if out.topic == persons]
    # All but the booking, which is hers by both numbers; none is taken back from where it was.
    assert len(given) == len(events) - 1
    assert None not in [out.value for out in given]
    test.tell(given)
    assert summary([out.value for out in test.settle() if isinstance(out.value, dict)]) == [
        ("classification_review", "OPEN", None)
    ]


def test_in_the_end_all_rounds_count_until_nothing_more_follows() -> None:
    """Who is of which group is known of one person's other number, and reaches the unit a round later."""
    known_elsewhere = [
        event("BookingReported", "cy", sid="S1"),
        event("BookingReported", "dee"),
        *(event("HousingAssigned", person, day=1, unit="5-A") for person in ("cy", "dee")),
        event("AffiliationReported", day=1, sid="S1", group="Harbor", agency="city-pd"),
        event("AffiliationValidated", "dee", day=1, group="Eastside"),
    ]
    test = InTheEnd(ONE)
    told(test, [*known_elsewhere, *RIVALS])
    assert sorted(unit or "" for _, _, unit in summary(test.end())) == ["4-B", "5-A"]


def test_what_is_open_in_the_end_does_not_say_in_which_part_it_was_found() -> None:
    found = {"alert_id": "it", "state": "OPEN", "cause": {"stage": "facility", "partition": 3}, "group": "recovery"}
    said = {"alert_id": "it", "state": "OPEN", "cause": {"stage": "facility", "partition": 0}, "group": None}
    assert open_in_the_end([[found]]) == [said]


def test_a_site_is_in_as_many_parts_as_share_it() -> None:
    site = demo_site(partitions=4, clock="live")
    assert in_parts(site, 3) == demo_site(partitions=3, clock="history")


def test_who_holds_some_of_the_partitions_takes_in_what_is_on_these_alone() -> None:
    site, people = in_parts(SITE, 8), ("ada", "bo", "cy", "dee", "eve")
    told_of = [
        *(event("BookingReported", person) for person in people),
        *(event("HousingAssigned", person, day=1, unit="4-B") for person in people),
        *(event("AffiliationValidated", person, day=1, group="Eastside") for person in people),
    ]

    def placed(numbers: Iterable[int] | None) -> set[str]:
        """Of whom it is said where they are."""
        test, everything = InTheEnd(site, numbers=numbers), list[Out]()
        for one in told_of:
            facts = facts_of(published(one, site.agency_by_id[agency_of(one)]), site)
            assert not isinstance(facts, DeadLetter)
            everything += facts
        test.tell(everything)
        return {out.key.decode().rpartition("/")[2] for out in test.settle() if out.name == "PersonInCustody"}

    everybody = placed(None)
    assert len(everybody) == len(people)
    assert len({partition_of(person, 8) for person in everybody}) > 1
    for number in range(8):
        assert placed([number]) == {person for person in everybody if partition_of(person, 8) == number}


def test_as_it_went_is_told_on_one_partition_only() -> None:
    with pytest.raises(ValueError, match=r"^as it went is told on one partition$"):
        AsItWent(in_parts(SITE, 2))


def test_only_the_rules_that_are_given_are_looked_for() -> None:
    assert told(AsItWent(ONE, Rules(facility=())), RIVALS) == []
    assert {alert["rule"] for alert in told(AsItWent(ONE), fights_of("ada"))} == {"classification_review"}
    assert told(AsItWent(ONE, Rules(person=())), fights_of("ada")) == []
