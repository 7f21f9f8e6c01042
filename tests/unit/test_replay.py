"""Replays, case by case: what a record stood on, what became of it, and what is then said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from schemas import topics
from schemas.events import Event, PersonRef, type_name
from streams import replay as module
from streams.alerts import WITHDRAWN_DIGEST
from streams.facts import TICK_KEY, Joining, Rarity, fact_headers, person_id, sort_of
from streams.records import LoggedRecord
from streams.replay import (
    Basis,
    Difference,
    Lack,
    Lacking,
    Names,
    Place,
    Replay,
    Verdict,
    with_purge_dates,
    with_those_whose_facts_they_are,
)
from tests.county import DAY, JAIL, START, agency_of, demo_site, event, event_id, ids
from tests.in_memory_bus import InMemoryBus
from tests.replayed import outlined, replayed

ADA, BO, CY = (person_id(f"{JAIL}/LOCAL", "jms", who) for who in ("ada", "bo", "cy"))
ADA_BY_STATE = person_id("SID", "NY", "SID-ada")
PERSON_FACTS, FACILITY_FACTS = topics.person_facts("demo"), topics.facility_facts("demo")
BOOKED = event("BookingReported", "ada", name="booked").model_copy(update={"name": "Ada Marsh"})
CLASSIFIED = event("CustodyClassified", "ada", day=1, name="classified")
BOOKED_AS_IT_WAS_CLASSIFIED = event("BookingReported", "ada", day=1, name="booked", booked_as="Ada Marsh")
INFRACTION = event("DisciplinaryRecorded", "ada", day=2, name="infraction", purge_day=30)
REVIEWED = event("CustodyClassified", "ada", day=4, name="reviewed", level="MAXIMUM", initial=False)
RELEASED = event("CustodyEnded", "ada", day=5, name="released")
NUMBER_KNOWN = event("HousingAssigned", "ada", day=6, name="number known", unit="4-A", sid="SID-ada")
RIVALS = [
    *(event("BookingReported", who, name=f"booked-{who}") for who in ("bo", "cy")),
    *(event("HousingAssigned", who, day=1, name=f"housed-{who}", unit="4-B") for who in ("bo", "cy")),
    event("AffiliationValidated", "bo", day=1, name="stg-bo", group="Eastside"),
    event("AffiliationValidated", "cy", day=1, name="stg-cy", group="Harbor"),
    event("StreetViolenceReported", day=2, name="feud", groups=["Eastside", "Harbor"]),
]
CY_IS_KNOWN_FIRST = event("CustodyClassified", "cy", day=1.5, name="known-first", sid="SID-cy")
CY_IS_KNOWN = event("HousingAssigned", "cy", day=6, name="known-cy", unit="4-B", sid="SID-cy")
CY_IS_MOVED = event("HousingAssigned", "cy", day=5, name="moved-cy", unit="5-A")


LISTS = [
    event("ListTaken", day=day, name=f"list-{day}", content=f"{min(day, 12):016x}", changed=0 if day > 12 else 4)
    for day in range(18)
]


def published(events: Iterable[Event], partitions: int = 1) -> InMemoryBus:
    """A bus on which events came one after the other, each with its time."""
    bus = InMemoryBus(demo_site(partitions=partitions))
    for what in events:
        bus.publish(what, agency_of(what))
        bus.tick(what.head.time)
        bus.run()
    assert bus.dead_letters == []
    return bus


def records(bus: InMemoryBus, state: str = "OPEN") -> list[dict[str, Any]]:
    return [one for one in bus.history(topics.alerts_raised("demo")) if one["state"] == state]


def with_another(what: Event, person: str) -> Event:
    """The event with another person in it, whom it is not about."""
    other = PersonRef.model_validate({"role": "OTHER_PARTY", "ids": ids(person)})
    return what.model_copy(update={"head": what.head.model_copy(update={"persons": (*what.head.persons, other)})})


def compacted(bus: InMemoryBus) -> InMemoryBus:
    for topic in (PERSON_FACTS, FACILITY_FACTS):
        bus.compact(topic)
    return bus


def without(bus: InMemoryBus, name: str) -> InMemoryBus:
    """The bus after a purge: the records of an event are gone from the facts."""
    for where, log in bus.logs.items():
        if where[0] in (PERSON_FACTS, FACILITY_FACTS):
            bus.logs[where] = [one for one in log if event_id(name).encode() not in (one.key or b"")]
    return bus


def place(bus: InMemoryBus, topic: str, *parts: str, of: int | None = None) -> Place:
    """Where the last record is whose key has all these parts, on any partition or on one. From whom a fact was
    forwarded is not asked."""
    return [
        Place(topic, number, one.offset)
        for number in (range(bus.site.partitions) if of is None else (of,))
        for one in bus.logs[topic, number]
        if all(part.encode() in (one.key or b"").split(b"/")[:5] for part in parts)
    ][-1]


def lack(why: Lack, what: Event, person: str = "", where: Place | None = None) -> Lacking:
    return Lacking(why, agency_of(what), type_name(what), what.head.event_id, person, where)


def identical_with(*lacking: Lacking) -> Replay:
    return Replay(Verdict.IDENTICAL, Basis.LATER_COPIES, lacking=lacking)


def cannot(alert: dict[str, Any], *lacking: Lacking, basis: Basis = Basis.LATER_COPIES) -> Replay:
    """What is lacking, and that the log was compacted since the alert's cause."""
    cause = alert["cause"]
    topic = PERSON_FACTS if cause["stage"] == "person" else FACILITY_FACTS
    since = Lacking(Lack.COMPACTED, place=Place(topic, cause["partition"], cause["offset"]))
    return Replay(Verdict.CANNOT, basis, lacking=(*lacking, since))


# -- identical -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([BOOKED, CLASSIFIED, INFRACTION], "OPEN"),
        ([BOOKED, CLASSIFIED, INFRACTION, REVIEWED], "WITHDRAWN"),
        ([BOOKED, CLASSIFIED, INFRACTION, RELEASED], "WITHDRAWN"),
        (RIVALS, "OPEN"),
        ([*RIVALS, CY_IS_MOVED], "WITHDRAWN"),
        ([*RIVALS, event("EventWithdrawn", agency="city-pd", day=4, target_event_id=event_id("feud"))], "WITHDRAWN"),
        (LISTS, "OPEN"),
    ],
    ids=["a review", "reviewed", "released", "rivals", "apart", "the feud was taken back", "a list stands still"],
)
def test_what_is_recorded_follows_from_the_whole_log(events: list[Event], state: str) -> None:
    bus = published(events)
    alert = records(bus, state)[-1]
    assert replayed(bus, alert) == Replay(Verdict.IDENTICAL, Basis.WHOLE)


@pytest.mark.parametrize(
    ("events", "compacted_too"),
    [(RIVALS, Replay(Verdict.IDENTICAL, Basis.AS_LEFT)), ([BOOKED, CLASSIFIED, INFRACTION], None)],
    ids=["a window", "a purge date"],
)
def test_what_ended_by_time_is_not_derived_at_the_recorded_time(
    events: list[Event], compacted_too: Replay | None
) -> None:
    bus = published(events)
    bus.tick(START + 40 * DAY)
    bus.run()
    (over,) = records(bus, "WITHDRAWN")
    assert over["cause"]["kind"] == "TICK"
    assert replayed(bus, over) == Replay(Verdict.IDENTICAL, Basis.WHOLE)
    # Without the time that passed it would still hold, as long as what it stood on is there.
    found = replayed(compacted(bus), over)
    assert found == compacted_too if compacted_too else found.verdict is Verdict.CANNOT


def test_what_is_withdrawn_later_counted_then() -> None:
    taken_back = event("EventWithdrawn", day=9, target_event_id=event_id("infraction"))
    bus = published([BOOKED, CLASSIFIED, INFRACTION, taken_back])
    (alert,) = records(bus)
    assert replayed(bus, alert) == Replay(Verdict.IDENTICAL, Basis.WHOLE)


@pytest.mark.parametrize("events", [[BOOKED, CLASSIFIED, INFRACTION], RIVALS], ids=["a review", "rivals"])
def test_a_compacted_log_bears_out_what_it_has_all_of(events: list[Event]) -> None:
    bus = published(events)
    assert replayed(compacted(bus), records(bus)[-1]) == Replay(Verdict.IDENTICAL, Basis.AS_LEFT)


@pytest.mark.parametrize(
    "again",
    # The booking is no evidence, but the person's name is from it; and it was at the very time of the record.
    [CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED],
    ids=["that the record names", "that had happened by then"],
)
def test_a_fact_that_was_written_again_is_counted_from_where_it_is_and_named(again: Event) -> None:
    bus = published([CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED, INFRACTION, again])
    (alert,) = records(bus)
    where = place(bus, PERSON_FACTS, again.head.event_id)
    assert replayed(compacted(bus), alert) == identical_with(lack(Lack.WRITTEN_LATER, again, ADA, where))


def test_of_what_was_written_again_the_first_record_that_is_there_is_named() -> None:
    bus = compacted(published([BOOKED, CLASSIFIED, INFRACTION]))
    (alert,) = records(bus)
    log = bus.input_of("person", 0)
    (fact,) = [one for one in log if event_id("classified").encode() in (one.key or b"")]
    end = log[-1].offset
    # It was compacted away by what came first after it: a tombstone.
    log.remove(fact)
    log += [fact._replace(offset=end + 1, value=None, headers=())]
    log += [fact._replace(offset=end + 2), fact._replace(offset=end + 3)]
    named = lack(Lack.WRITTEN_LATER, CLASSIFIED, ADA, Place(PERSON_FACTS, 0, end + 2))
    assert replayed(bus, alert) == identical_with(named)


@pytest.mark.parametrize(
    "late",
    [
        event("BookingReported", "ada", day=0.5, name="told late").model_copy(update={"name": "Eve Marsh"}),
        event("HousingAssigned", "ada", day=0.5, name="told late", unit="4-A", sid="SID-ada"),
    ],
    ids=["another name", "another number"],
)
@pytest.mark.parametrize("partitions", [1, 3])
def test_what_became_known_later_only_does_not_count(late: Event, partitions: int) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, late, CLASSIFIED], partitions)
    found = replayed(compacted(bus), records(bus)[0])
    assert found.verdict is Verdict.IDENTICAL
    assert CLASSIFIED.head.event_id in {one.event_id for one in found.lacking}
    assert late.head.event_id not in {one.event_id for one in found.lacking}


@pytest.mark.parametrize("partitions", range(1, 9))
def test_facts_that_moved_to_a_stronger_number_are_counted_from_there(partitions: int) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, NUMBER_KNOWN], partitions)
    (alert,) = [one for one in records(bus) if one["key"][0] == ADA]
    compacted(bus)
    assert replayed(bus, alert) == identical_with(
        *(
            lack(Lack.MOVED, what, ADA, place(bus, PERSON_FACTS, ADA_BY_STATE, what.head.event_id))
            for what in (BOOKED, CLASSIFIED, INFRACTION)
        )
    )


def test_what_a_join_had_brought_comes_back_with_that_it_did_where_another_join_took_it_on() -> None:
    joined = event("HousingAssigned", "ada", day=1.5, name="state number known", unit="4-A", sid="SID-ada")
    again = event(
        "AffiliationReported", day=6, name="federal number known", group="Northend", sid="SID-ada", ucn="UCN-ada"
    )
    bus = published([BOOKED, CLASSIFIED, joined, INFRACTION, again])
    alert = records(bus)[0]
    assert [item["joined"] for item in alert["evidence"] if item["event_type"] == "CustodyClassified"] == [True]
    found = replayed(compacted(bus), alert)
    assert (found.verdict, {one.why for one in found.lacking}) == (Verdict.IDENTICAL, {Lack.MOVED})
    assert {one.person for one in found.lacking} == {ADA_BY_STATE}


def test_where_a_person_was_then_is_made_again_from_the_person_s_facts() -> None:
    # Of Cy, too, a review was due: that is another alert, and where he was is told but once.
    reviewed = [
        event("CustodyClassified", "cy", day=0.5, name="classified-cy"),
        event("DisciplinaryRecorded", "cy", day=0.6, name="infraction-cy"),
    ]
    # His name is in the alert, from an event that it does not rest on, and that was at its very time.
    named = event("BookingReported", "cy", day=1, name="booked-cy", booked_as="Cy Reed")
    told = [named if one.head.event_id == event_id("booked-cy") else one for one in RIVALS]
    bus = published([*reviewed, *told, CY_IS_MOVED], partitions=4)
    (alert,) = [one for one in records(bus) if one["rule"] == "rivals_housed_together"]
    assert "Cy Reed" in {one["name"] for one in alert["subjects"]}
    assert replayed(compacted(bus), alert) == identical_with(Lacking(Lack.REPLACED, person=CY))


def test_a_person_s_later_record_counts_where_it_says_the_same_of_what_matters() -> None:
    bus = published([*RIVALS, event("AffiliationValidated", "cy", day=6, group="Northend")])
    alert = records(bus)[0]
    outline = outlined(bus, alert)
    assert outline is not None
    without(compacted(bus), "booked-cy")
    replaced = Lacking(Lack.REPLACED, person=CY, place=place(bus, FACILITY_FACTS, "~custody", CY))
    assert replayed(bus, alert) == identical_with(replaced)
    assert replayed(bus, outline) == identical_with(replaced)


def test_what_happened_on_the_street_is_found_where_it_was_written_again() -> None:
    bus = published([*RIVALS, RIVALS[-1]])
    alert = records(bus)[0]
    where = place(bus, FACILITY_FACTS, event_id("feud"))
    assert replayed(compacted(bus), alert) == identical_with(lack(Lack.WRITTEN_LATER, RIVALS[-1], "", where))


def test_where_a_person_was_then_leaves_out_what_had_been_withdrawn_by_then() -> None:
    wrong = event("HousingAssigned", "cy", day=1.5, name="wrong", unit="5-B")
    taken_back = event("EventWithdrawn", day=1.6, target_event_id=event_id("wrong"))
    bus = published([*RIVALS[:-1], wrong, taken_back, RIVALS[-1], CY_IS_MOVED])
    assert replayed(compacted(bus), records(bus)[0]).verdict is Verdict.IDENTICAL


def test_where_a_person_was_then_counts_what_the_alert_names_though_the_log_s_time_came_later() -> None:
    ahead = event("HousingAssigned", "cy", day=3, name="ahead of the tick", unit="4-B")
    bus = published(one for one in RIVALS if one.head.event_id != event_id("housed-cy"))
    for what in (ahead, CY_IS_MOVED):
        bus.publish(what, agency_of(what))
        bus.run()
    (alert,) = records(bus)
    assert alert["at"] < ahead.head.time
    assert replayed(compacted(bus), alert).verdict is Verdict.IDENTICAL


# -- different -------------------------------------------------------------------------------------------------------


def different(field: str, recorded: object, derived: object) -> Replay:
    return Replay(Verdict.DIFFERENT, Basis.WHOLE, (Difference(field, recorded, derived),))


@pytest.mark.parametrize(
    ("field", "value"),
    [("severity", "LOW"), ("unit", "9-Z"), ("actions", []), ("until", 1), ("digest", "0" * 64)],
)
def test_a_field_that_the_facts_do_not_bear_out_is_named(field: str, value: object) -> None:
    bus = published(RIVALS)
    alert = records(bus)[-1]
    assert replayed(bus, {**alert, field: value}) == different(field, value, alert[field])


def test_a_withdrawal_with_another_digest_was_changed() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    found = replayed(bus, {**records(bus, "WITHDRAWN")[0], "digest": "0" * 64})
    assert found == different("digest", "0" * 64, WITHDRAWN_DIGEST)


def test_an_alert_that_nothing_bears_out_is_different() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    opened, over = records(bus)[0], records(bus, "WITHDRAWN")[0]
    assert replayed(bus, {**opened, "cause": over["cause"]}) == different("state", "OPEN", "WITHDRAWN")
    assert replayed(bus, {**over, "cause": opened["cause"]}) == different("state", "WITHDRAWN", "OPEN")


def changed_after_one_tick(bus: InMemoryBus) -> dict[str, Any]:
    """A record that says something else, on a log on which no key is twice."""
    for what in (BOOKED, CLASSIFIED, INFRACTION):
        bus.publish(what, agency_of(what))
    bus.run()
    return {**records(bus)[-1], "headline": "changed"}


def test_a_log_without_a_gap_is_whole() -> None:
    bus = InMemoryBus(demo_site(partitions=1))
    assert replayed(bus, changed_after_one_tick(bus)).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("ticks", "verdict"),
    [(1, Verdict.CANNOT), (2, Verdict.DIFFERENT)],
    ids=["no key is twice", "a tick is there twice"],
)
def test_a_log_with_gaps_is_whole_where_a_key_is_there_twice_before_the_cause(ticks: int, verdict: Verdict) -> None:
    bus = InMemoryBus(demo_site(partitions=1))
    for number in range(ticks):
        bus.tick(START + number)
    alert = changed_after_one_tick(bus)
    # As transactions number them: every second offset is a marker.
    for where, log in bus.logs.items():
        bus.logs[where] = [one._replace(offset=2 * one.offset) for one in log]
    alert["cause"] = {**alert["cause"], "offset": 2 * alert["cause"]["offset"]}
    assert replayed(bus, alert).verdict is verdict


def test_nothing_is_called_different_where_the_log_may_lack_something() -> None:
    bus = compacted(published([BOOKED, CLASSIFIED, INFRACTION]))
    changed = {**records(bus)[-1], "headline": "changed"}
    # All that it names is there: what else the rule had read can't be told.
    assert replayed(bus, changed) == cannot(changed)


def test_the_cause_itself_may_be_the_second_record_of_its_key() -> None:
    bus = published([*RIVALS, CY_IS_MOVED])
    (alert,) = records(bus)
    log = bus.input_of("facility", 0)
    # A tick is there before the cause, and one is the cause: from there on nothing is compacted.
    first, second, *_ = [one.offset for one in log if one.key == TICK_KEY and one.offset > alert["cause"]["offset"]]
    bus.logs[FACILITY_FACTS, 0] = [one for one in log if one.key != TICK_KEY or one.offset in (first, second)][1:]
    at_first, at_second = (
        {**alert, "headline": "changed", "cause": {**alert["cause"], "offset": offset}} for offset in (first, second)
    )
    assert replayed(bus, at_first) == cannot(at_first)
    assert replayed(bus, at_second).verdict is Verdict.DIFFERENT


# -- cannot ----------------------------------------------------------------------------------------------------------


def test_another_version_of_the_rule_is_named() -> None:
    bus = published(RIVALS)
    lacking = Lacking(Lack.OTHER_VERSION, recorded_version=7, shipped_version=1)
    found = replayed(bus, {**records(bus)[-1], "rule_version": 7})
    assert found == Replay(Verdict.CANNOT, Basis.NOTHING, lacking=(lacking,))


def test_a_rule_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = published(RIVALS)
    monkeypatch.setattr(module, "FACILITY_CORRELATIONS", ())
    lacking = Lacking(Lack.RULE_GONE, recorded_version=1)
    assert replayed(bus, records(bus)[-1]) == Replay(Verdict.CANNOT, Basis.NOTHING, lacking=(lacking,))


def withdrawn(bus: InMemoryBus) -> None:
    taken_back = event("EventWithdrawn", day=9, name="taken back", target_event_id=event_id("infraction"))
    bus.publish(taken_back, agency_of(taken_back))
    bus.run()


def purged(bus: InMemoryBus) -> None:
    bus.tick(START + 30 * DAY)
    bus.run()


def with_tombstones(bus: InMemoryBus) -> InMemoryBus:
    """The bus as the cleaner leaves it as long as tombstones are kept."""
    for where, log in bus.logs.items():
        last = {one.key: one.offset for one in log}
        bus.logs[where] = [one for one in log if last[one.key] == one.offset]
    return bus


@pytest.mark.parametrize(
    ("remove", "clean", "why", "told_by"),
    [
        (withdrawn, with_tombstones, Lack.WITHDRAWN, "~withdrawn"),
        (withdrawn, compacted, Lack.WITHDRAWN, "~withdrawn"),
        (purged, with_tombstones, Lack.TOMBSTONED, ADA),
        (purged, compacted, Lack.GONE, None),
    ],
)
def test_an_event_that_is_not_on_the_log_any_more_is_named_with_why(
    remove: Callable[[InMemoryBus], None],
    clean: Callable[[InMemoryBus], InMemoryBus],
    why: Lack,
    told_by: str | None,
) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION])
    (alert,) = records(bus)
    remove(bus)
    bus.tick(START + 31 * DAY)
    clean(bus)
    where = None if told_by is None else place(bus, PERSON_FACTS, told_by, event_id("infraction"))
    assert replayed(bus, alert) == cannot(alert, lack(why, INFRACTION, ADA, where))


def test_beside_what_a_record_names_is_told_what_may_have_counted_and_is_found_later() -> None:
    bus = published([CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED, INFRACTION, CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED])
    (alert,) = records(bus)
    compacted(bus)
    # Both once more, what is later than the record, and what is about nobody.
    feud = event("StreetViolenceReported", day=0.5, name="another feud", groups=["Eastside", "Harbor"])
    for what in (CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED, NUMBER_KNOWN, feud):
        bus.publish(what, agency_of(what))
    without(bus, "infraction")
    log = bus.input_of("person", 0)
    classified, booked = (
        Place(PERSON_FACTS, 0, next(one.offset for one in log if what.head.event_id.encode() in (one.key or b"")))
        for what in (CLASSIFIED, BOOKED_AS_IT_WAS_CLASSIFIED)
    )
    assert replayed(bus, alert) == cannot(
        alert,
        lack(Lack.WRITTEN_LATER, CLASSIFIED, ADA, classified),
        lack(Lack.GONE, INFRACTION, ADA),
        lack(Lack.WRITTEN_LATER, BOOKED_AS_IT_WAS_CLASSIFIED, ADA, booked),
    )


def test_what_is_there_as_it_was_is_not_told_to_be_lacking_where_it_was_written_again() -> None:
    bus = compacted(published([BOOKED, CLASSIFIED, INFRACTION]))
    (alert,) = records(bus)
    for what in (BOOKED, CLASSIFIED):
        bus.publish(what, agency_of(what))
    without(bus, "infraction")
    assert replayed(bus, alert) == cannot(alert, lack(Lack.GONE, INFRACTION, ADA))


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_fact_that_a_person_got_back_is_told_to_have_moved(partitions: int) -> None:
    joined = event("HousingAssigned", "ada", day=1.5, name="number known", unit="4-A", sid="SID-ada")
    apart = event("EventWithdrawn", day=6, name="apart", target_event_id=event_id("number known"))
    # That another person in it has it, too, is no sign of where it is.
    classified = with_another(CLASSIFIED, "bo")
    bus = published([BOOKED, classified, joined, INFRACTION, apart], partitions)
    (alert,) = [one for one in records(bus) if one["key"][0] == ADA_BY_STATE]
    compacted(bus)
    assert replayed(bus, alert) == cannot(
        alert,
        *(
            lack(Lack.MOVED, what, ADA_BY_STATE, place(bus, PERSON_FACTS, ADA, what.head.event_id))
            for what in (classified, INFRACTION)
        ),
    )


@pytest.mark.parametrize(("days", "why"), [(29, Lack.TOMBSTONED), (30, Lack.PURGED)])
def test_what_is_gone_was_purged_where_its_purge_date_has_come(days: int, why: Lack) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, CLASSIFIED])
    (alert,) = records(bus)
    purged(bus)
    without(compacted(bus), "classified")
    found = replayed(bus, alert)
    dates = {(JAIL, event_id("infraction")): START + 30 * DAY}
    assert with_purge_dates(found, dates, START + days * DAY) == cannot(
        alert,
        lack(Lack.GONE, CLASSIFIED, ADA),
        lack(why, INFRACTION, ADA, place(bus, PERSON_FACTS, event_id("infraction"))),
    )


# -- what a facility's alert lacks -----------------------------------------------------------------------------------

FEUD, CY_S_GROUP, CY_S_UNIT = RIVALS[-1], RIVALS[-2], RIVALS[3]


def withdrawn_from(what: Event) -> Event:
    return event("EventWithdrawn", agency=agency_of(what), day=9, name="taken back", target_event_id=what.head.event_id)


def as_facility(bus: InMemoryBus) -> tuple[dict[str, Any], Replay]:
    """The alert on rivals, and what its replay finds once the log is compacted."""
    alert = next(one for one in records(bus) if one["rule"] == "rivals_housed_together")
    return alert, replayed(compacted(bus), alert)


@pytest.mark.parametrize("since", [CY_IS_MOVED, CY_IS_KNOWN], ids=["moved", "joined"])
def test_a_facility_s_alert_lacks_what_happened_on_the_street_and_where_its_persons_were(since: Event) -> None:
    bus = published([*RIVALS, since, withdrawn_from(FEUD)], partitions=4)
    alert, found = as_facility(bus)
    # Persons' facts are not what it stands on: they are where they are, or moved, and nothing is told of them.
    assert found == cannot(
        alert,
        lack(Lack.WITHDRAWN, FEUD, "", place(bus, FACILITY_FACTS, "~withdrawn", event_id("feud"), of=0)),
        Lacking(Lack.REPLACED, person=CY, place=place(bus, FACILITY_FACTS, "~custody", CY)),
    )


def test_of_a_person_whose_record_was_replaced_is_told_what_it_had_stood_on_and_is_gone() -> None:
    bus = published([*RIVALS, CY_IS_MOVED, withdrawn_from(CY_S_GROUP)], partitions=4)
    without(bus, "housed-cy")
    alert, found = as_facility(bus)
    assert found == cannot(
        alert,
        lack(Lack.WITHDRAWN, CY_S_GROUP, CY, place(bus, FACILITY_FACTS, "~withdrawn", event_id("stg-cy"), of=0)),
        lack(Lack.GONE, CY_S_UNIT, CY),
        Lacking(Lack.REPLACED, person=CY, place=place(bus, FACILITY_FACTS, "~custody", CY)),
    )


def test_a_person_s_record_may_be_gone_without_a_later_one() -> None:
    bus = published([*RIVALS, CY_IS_MOVED])
    alert, _ = as_facility(without(bus, "feud"))
    log = bus.input_of("facility", 0)
    bus.logs[FACILITY_FACTS, 0] = [one for one in log if CY.encode() not in (one.key or b"")]
    assert replayed(bus, alert) == cannot(alert, lack(Lack.GONE, FEUD), Lacking(Lack.REPLACED, person=CY))


def test_of_a_person_whose_record_is_there_nothing_is_lacking_whatever_became_of_the_facts() -> None:
    bus = published([*RIVALS, withdrawn_from(FEUD)])
    for gone in ("stg-bo", "stg-cy", "housed-bo"):
        without(bus, gone)
    alert, found = as_facility(bus)
    assert found == cannot(alert, lack(Lack.WITHDRAWN, FEUD, "", place(bus, FACILITY_FACTS, "~withdrawn")))


def test_what_the_facility_knew_to_be_withdrawn_before_the_persons_were_looked_at_again_is_told_so() -> None:
    bus = published(RIVALS[:-1])
    for what in (withdrawn_from(CY_S_GROUP), FEUD):
        bus.publish(what, agency_of(what))
    bus.step(("facility", 0), 100)
    bus.run()
    alert, found = as_facility(bus)
    where = place(bus, FACILITY_FACTS, "~withdrawn", event_id("stg-cy"))
    assert where.offset < alert["cause"]["offset"]
    assert found == cannot(
        alert,
        lack(Lack.WITHDRAWN, CY_S_GROUP, CY, where),
        Lacking(Lack.REPLACED, person=CY, place=place(bus, FACILITY_FACTS, "~custody", CY)),
    )


def test_a_note_is_there_or_it_is_lacking() -> None:
    housed = [event("HousingAssigned", "ada", day=day, name=f"housed-{day}", unit="4-A") for day in range(20)]
    bus = published(housed)
    bus.tick(START + 26 * DAY)
    bus.run()
    alert = {**records(bus)[-1], "headline": "changed"}
    assert alert["rule"] == "feed_silent"
    assert replayed(compacted(bus), alert) == cannot(alert)
    (note,) = {item["event_id"] for item in alert["evidence"]}
    bus.logs[FACILITY_FACTS, 0] = [one for one in bus.input_of("facility", 0) if b"~heard" not in (one.key or b"")]
    assert replayed(bus, alert) == cannot(alert, Lacking(Lack.GONE, JAIL, "HousingAssigned", note))


# -- what an agency was expected to send -----------------------------------------------------------------------------


def all_silent(*types: str) -> InMemoryBus:
    """A bus on which each of these types came from the jail every day, and then none did."""
    daily = [
        event(one, "ada", day=day, name=f"{one}-{day}", unit="4-A")
        if one == "HousingAssigned"
        else event(one, "ada", day=day, name=f"{one}-{day}")
        for day in range(20)
        for one in types
    ]
    bus = published(daily)
    bus.tick(START + 26 * DAY)
    bus.run()
    return bus


def no_longer_published(bus: InMemoryBus, *types: str) -> InMemoryBus:
    """The bus after an operator took types of events out of what the jail publishes, and restarted the workers."""
    agencies = tuple(
        one.model_copy(update={"publishes": tuple(kind for kind in one.publishes if kind not in types)})
        if one.id == JAIL
        else one
        for one in bus.site.agencies
    )
    bus.site = bus.site.model_copy(update={"agencies": agencies})
    bus.restart_all()
    bus.tick(bus.running[0].partition.tick + 60_000_000)
    bus.run()
    return bus


def of_feeds(bus: InMemoryBus) -> list[dict[str, Any]]:
    return [one for one in bus.history(topics.alerts_raised("demo")) if one["rule"] == "feed_silent"]


def test_a_feed_that_an_operator_took_out_since_was_silent_and_its_alert_was_rightly_withdrawn() -> None:
    bus = all_silent("HousingAssigned")
    (silent,) = of_feeds(bus)
    assert replayed(bus, silent) == Replay(Verdict.IDENTICAL, Basis.WHOLE)
    no_longer_published(bus, "HousingAssigned")
    silent, over = of_feeds(bus)
    assert (over["state"], over["cause"]["kind"]) == ("WITHDRAWN", "RECONCILED")
    assert [replayed(bus, one) for one in (silent, over)] == [Replay(Verdict.IDENTICAL, Basis.WHOLE)] * 2


def test_a_feed_that_was_taken_out_since_was_silent_by_what_compaction_had_left() -> None:
    bus = no_longer_published(compacted(all_silent("HousingAssigned")), "HousingAssigned")
    silent, _ = of_feeds(bus)
    assert replayed(bus, silent) == Replay(Verdict.IDENTICAL, Basis.AS_LEFT)


def two_taken_out_one_after_the_other() -> InMemoryBus:
    bus = all_silent("CustodyClassified", "DisciplinaryRecorded", "HousingAssigned")
    for taken_out in ("CustodyClassified", "DisciplinaryRecorded"):
        no_longer_published(bus, taken_out)
    return bus


def test_what_was_expected_between_two_changes_of_the_sites_files_cannot_be_told() -> None:
    bus = two_taken_out_one_after_the_other()
    first, between, last = of_feeds(bus)
    assert [replayed(bus, one) for one in (first, last)] == [Replay(Verdict.IDENTICAL, Basis.WHOLE)] * 2
    files_changed = Lacking(Lack.SITE_CHANGED, JAIL)
    assert replayed(bus, between) == Replay(Verdict.CANNOT, Basis.WHOLE, lacking=(files_changed,))
    outline = outlined(bus, between)
    assert outline is not None
    assert replayed(bus, outline) == Replay(Verdict.CANNOT, Basis.WHOLE, lacking=(files_changed,))


def test_an_alert_on_a_feed_that_says_other_than_its_digest_was_changed_whatever_the_sites_files_said() -> None:
    bus = two_taken_out_one_after_the_other()
    _, between, _ = of_feeds(bus)
    found = replayed(bus, {**between, "headline": "Nothing is wrong"})
    assert (found.verdict, found.basis) == (Verdict.DIFFERENT, Basis.WHOLE)


# -- what a withdrawal lacks -----------------------------------------------------------------------------------------


def test_that_nothing_is_left_does_not_show_that_a_withdrawal_was_right() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    (over,) = records(bus, "WITHDRAWN")
    # What ended it is there, and without it it would still hold: that shows it, compacted or not.
    assert replayed(compacted(bus), over) == Replay(Verdict.IDENTICAL, Basis.AS_LEFT)
    assert replayed(without(bus, "infraction"), over) == cannot(over, basis=Basis.AS_LEFT)


def ended_by(what: Event, where: Place) -> Lacking:
    """The event by its key alone: what ended an alert may be a withdrawal, which says no more."""
    return Lacking(Lack.WRITTEN_LATER, agency_of(what), event_id=what.head.event_id, place=where)


def test_what_ended_it_may_be_found_later() -> None:
    # Another person in it, of whom the alert was not.
    reviewed = with_another(REVIEWED, "dee")
    bus = published([BOOKED, CLASSIFIED, INFRACTION, reviewed, reviewed, RELEASED])
    (over,) = records(bus, "WITHDRAWN")
    later = ended_by(reviewed, place(compacted(bus), PERSON_FACTS, ADA, event_id("reviewed")))
    assert replayed(bus, over) == identical_with(later)
    found = replayed(without(bus, "infraction"), over)
    assert found == Replay(Verdict.CANNOT, Basis.AS_LEFT, lacking=(later, *cannot(over).lacking))


def test_what_ended_it_is_not_looked_for_later_where_it_is_there() -> None:
    bus = compacted(published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED]))
    (over,) = records(bus, "WITHDRAWN")
    bus.publish(REVIEWED, JAIL)
    assert replayed(without(bus, "infraction"), over) == cannot(over, basis=Basis.AS_LEFT)


# -- by what the audit keeps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([BOOKED, CLASSIFIED, INFRACTION], "OPEN"),
        ([BOOKED, CLASSIFIED, INFRACTION, REVIEWED], "WITHDRAWN"),
        (RIVALS, "OPEN"),
        ([*RIVALS, CY_IS_MOVED], "WITHDRAWN"),
    ],
    ids=["a review", "reviewed", "rivals", "apart"],
)
def test_what_is_gone_is_replayed_by_the_digest_that_the_audit_keeps(events: list[Event], state: str) -> None:
    bus = published(events)
    alert = records(bus, state)[-1]
    outline = outlined(bus, alert)
    assert outline is not None
    assert replayed(bus, outline) == Replay(Verdict.IDENTICAL, Basis.WHOLE)
    assert replayed(bus, {**outline, "digest": "0" * 64}) == different("digest", "0" * 64, alert["digest"])


def test_by_an_outline_nothing_is_called_different_where_the_log_may_lack_something() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION])
    outline = outlined(bus, records(bus)[-1])
    assert outline is not None
    assert replayed(compacted(bus), {**outline, "digest": "0" * 64}).verdict is Verdict.CANNOT


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([BOOKED, CLASSIFIED, INFRACTION, NUMBER_KNOWN], Lack.MOVED),
        ([*RIVALS, CY_IS_MOVED], Lack.REPLACED),
        ([*RIVALS, CY_IS_KNOWN], Lack.REPLACED),
        ([*RIVALS[:-1], CY_IS_KNOWN_FIRST, RIVALS[-1], CY_IS_MOVED], Lack.REPLACED),
    ],
    ids=[
        "facts moved to a stronger number",
        "where a person was was replaced",
        "a person was joined to another since",
        "a person had been joined to another before",
    ],
)
def test_whom_an_outline_does_not_name_is_found_by_whose_facts_its_events_are(events: list[Event], why: Lack) -> None:
    bus = published(events, partitions=4)
    outline = outlined(bus, records(bus)[0])
    assert outline is not None
    assert {one["person_id"] for one in outline["evidence"]} == {None}
    found = replayed(compacted(bus), outline)
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert why in {one.why for one in found.lacking}


@pytest.mark.parametrize(("remove", "why"), [(withdrawn, Lack.WITHDRAWN), (purged, Lack.TOMBSTONED)])
def test_what_an_outline_rested_on_and_is_gone_is_named_with_why(
    remove: Callable[[InMemoryBus], None], why: Lack
) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION])
    outline = outlined(bus, records(bus)[0])
    remove(bus)
    assert outline is not None
    found = replayed(compacted(bus), outline)
    # The tombstone that is left says whose the fact was.
    told_by = place(bus, PERSON_FACTS, "~withdrawn" if why is Lack.WITHDRAWN else ADA, event_id("infraction"))
    assert found == cannot(outline, lack(why, INFRACTION, ADA, told_by))


def test_by_an_outline_facts_that_moved_are_counted_from_where_they_are_now_or_named() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, NUMBER_KNOWN], partitions=3)
    (alert,) = [one for one in records(bus) if one["key"][0] == ADA]
    outline = outlined(bus, alert)
    assert outline is not None
    compacted(bus)
    moved = [
        lack(Lack.MOVED, what, ADA, place(bus, PERSON_FACTS, ADA_BY_STATE, what.head.event_id))
        for what in (BOOKED, CLASSIFIED, INFRACTION)
    ]
    # The booking is not among what it rests on: that it is the person's is not known.
    assert replayed(bus, outline) == identical_with(*moved)
    without(bus, "infraction")
    assert replayed(bus, outline) == cannot(outline, moved[1], lack(Lack.GONE, INFRACTION), moved[0])


def test_of_an_event_only_its_subject_is_a_person_whom_an_outline_may_name() -> None:
    # Dee is another party in what made Cy a member, in custody too, and moved since as well.
    dee = [
        event("HousingAssigned", "dee", day=1, name="housed-dee", unit="5-A"),
        event("AffiliationValidated", "dee", day=1, name="stg-dee", group="Northend"),
    ]
    both = [with_another(one, "dee") if one == CY_S_GROUP else one for one in RIVALS]
    dee_is_moved = event("HousingAssigned", "dee", day=6, name="moved-dee", unit="4-A")
    bus = published([*dee, *both, CY_IS_MOVED, dee_is_moved], partitions=4)
    outline = outlined(bus, records(bus)[0])
    assert outline is not None
    assert replayed(compacted(bus), outline) == identical_with(Lacking(Lack.REPLACED, person=CY))


def test_an_outline_by_another_version_of_the_rule_says_so() -> None:
    bus = published(RIVALS)
    outline = outlined(bus, records(bus)[-1])
    assert outline is not None
    assert [one.why for one in replayed(bus, {**outline, "rule_version": 7}).lacking] == [Lack.OTHER_VERSION]


# -- whom and what a record names ------------------------------------------------------------------------------------


NAMES = Names(frozenset({ADA}), frozenset({(JAIL, event_id("infraction"))}))


def fact(
    person: str, what: str = "classified", *, role: str = "subject", came_from: tuple[str, ...] = (), there: bool = True
) -> LoggedRecord:
    joined_by = tuple(Joining(one, JAIL, event_id("number known"), None) for one in came_from)
    rare = Rarity(joined_by=joined_by, origin=came_from[0] if came_from else None)
    sort = sort_of("CustodyClassified", "t", False, "")
    key = f"{person}/{JAIL}/{event_id(what)}/{role}/variant".encode()
    headers = fact_headers(sort, START, 0, None, rare) if there else ()
    return LoggedRecord(0, key, b"raw" if there else None, headers)


@pytest.mark.parametrize(
    ("record", "bears"),
    [
        (fact(ADA), True),
        (fact(ADA, role="same-as"), True),
        (fact(ADA, there=False), True),
        (fact(BO, "infraction"), True),
        (fact(BO, came_from=(ADA,)), True),
        (fact(BO, came_from=(CY, ADA)), True),
        (fact(BO), False),
        (fact(BO, there=False), False),
        (fact(BO, came_from=(CY,)), False),
        (fact(BO, came_from=(ADA,))._replace(headers=(("joined-by", b""),)), False),
        (fact(ADA)._replace(key=f"~withdrawn/{JAIL}/{event_id('infraction')}".encode()), False),
        (fact(ADA)._replace(key=f"~joined/{ADA}".encode()), False),
        (fact(ADA)._replace(key=b"what no stage writes"), False),
        (fact(ADA)._replace(key=None), False),
    ],
)
def test_a_fact_bears_on_a_record_by_its_person_by_its_event_or_by_whom_it_came_from(
    record: LoggedRecord, bears: bool
) -> None:
    assert NAMES.borne_on_by(record) is bears


def test_the_persons_of_an_outline_s_events_are_those_who_have_the_facts_and_those_who_had_them() -> None:
    infraction = {"agency": JAIL, "event_id": event_id("infraction"), "person_id": None}
    gone = {"agency": JAIL, "event_id": event_id("gone"), "person_id": None}
    outline = {"key": [], "subjects": [], "evidence": [infraction, gone]}
    records_left = [
        fact(CY, "another's"),
        fact(CY, "infraction", role="victim"),
        fact(ADA)._replace(key=b"what no stage writes"),
        fact(ADA)._replace(key=None),
        fact(ADA, "infraction", there=False),
        fact(BO, "infraction", came_from=(ADA,)),
        fact(BO, "infraction")._replace(headers=()),
        fact(CY, "gone", there=False),
        fact(BO, "gone", there=False),
    ]
    both = sorted((BO, CY))
    now, at_first = with_those_whose_facts_they_are(outline, records_left)
    left = [{**gone, "person_id": person} for person in both]
    assert now["evidence"] == [{**infraction, "person_id": BO}, *left]
    assert at_first["evidence"] == [{**infraction, "person_id": ADA}, *left]
