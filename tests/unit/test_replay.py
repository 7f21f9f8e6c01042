"""Replays, case by case: what a record stood on, what became of it, and what is then said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from schemas import topics
from schemas.events import Event
from streams import replay as module
from streams.replay import Basis, Lack, Replay, Verdict, with_purge_dates
from tests.county import DAY, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus
from tests.replayed import outlined, replayed

PERSON_FACTS, FACILITY_FACTS = topics.person_facts("demo"), topics.facility_facts("demo")
BOOKED = event("BookingReported", "ada", name="booked").model_copy(update={"name": "Ada Marsh"})
CLASSIFIED = event("CustodyClassified", "ada", day=1, name="classified")
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


def lacks(found: Replay) -> set[tuple[Lack, str]]:
    return {(one.why, one.event_id) for one in found.lacking}


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
    ],
    ids=["a review", "reviewed", "released", "rivals", "apart", "the feud was taken back"],
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


def test_a_fact_that_was_written_again_is_counted_from_where_it_is_and_named() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, CLASSIFIED])
    (alert,) = records(bus)
    found = replayed(compacted(bus), alert)
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert lacks(found) == {(Lack.WRITTEN_LATER, event_id("classified"))}


def test_a_fact_that_the_record_does_not_name_is_found_again_where_it_had_happened_by_then() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, BOOKED])
    (alert,) = records(bus)
    found = replayed(compacted(bus), alert)
    # The booking is no evidence, but the person's name is from it.
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert lacks(found) == {(Lack.WRITTEN_LATER, event_id("booked"))}


def test_what_became_known_later_only_does_not_count() -> None:
    late = event("BookingReported", "ada", day=0.5, name="told late").model_copy(update={"name": "Eve Marsh"})
    bus = published([BOOKED, CLASSIFIED, INFRACTION, late, CLASSIFIED])
    found = replayed(compacted(bus), records(bus)[0])
    assert (found.verdict, lacks(found)) == (Verdict.IDENTICAL, {(Lack.WRITTEN_LATER, event_id("classified"))})


@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_facts_that_moved_to_a_stronger_number_are_counted_from_there(partitions: int) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, NUMBER_KNOWN], partitions)
    alert = records(bus)[0]
    found = replayed(compacted(bus), alert)
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert {(Lack.MOVED, event_id("classified")), (Lack.MOVED, event_id("infraction"))} <= lacks(found)


def test_where_a_person_was_then_is_made_again_from_the_person_s_facts() -> None:
    bus = published([*RIVALS, CY_IS_MOVED], partitions=4)
    (alert,) = records(bus)
    found = replayed(compacted(bus), alert)
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert {one.why for one in found.lacking} == {Lack.REPLACED}


def test_a_person_s_later_record_counts_where_it_says_the_same_of_what_matters() -> None:
    bus = published([*RIVALS, event("AffiliationValidated", "cy", day=6, group="Northend")])
    alert = records(bus)[0]
    found = replayed(without(compacted(bus), "booked-cy"), alert)
    assert found.verdict is Verdict.IDENTICAL
    assert [(one.why, one.place is not None) for one in found.lacking] == [(Lack.REPLACED, True)]


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("severity", "LOW"), ("unit", "9-Z"), ("actions", []), ("until", 1), ("digest", "0" * 64)],
)
def test_a_field_that_the_facts_do_not_bear_out_is_named(field: str, value: object) -> None:
    bus = published(RIVALS)
    found = replayed(bus, {**records(bus)[-1], field: value})
    assert (found.verdict, [one.field for one in found.differences]) == (Verdict.DIFFERENT, [field])
    assert found.differences[0].recorded == value


def test_a_withdrawal_with_another_digest_was_changed() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    found = replayed(bus, {**records(bus, "WITHDRAWN")[0], "digest": "0" * 64})
    assert (found.verdict, [one.field for one in found.differences]) == (Verdict.DIFFERENT, ["digest"])


def test_an_alert_that_nothing_bears_out_is_different() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    opened, over = records(bus)[0], records(bus, "WITHDRAWN")[0]
    assert replayed(bus, {**opened, "cause": over["cause"]}).differences[0].field == "state"
    assert replayed(bus, {**over, "cause": opened["cause"]}).differences[0].field == "state"


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
    assert replayed(bus, {**records(bus)[-1], "headline": "changed"}).verdict is Verdict.CANNOT


# -- cannot ----------------------------------------------------------------------------------------------------------


def test_another_version_of_the_rule_is_named() -> None:
    bus = published(RIVALS)
    found = replayed(bus, {**records(bus)[-1], "rule_version": 7})
    (lacking,) = found.lacking
    assert (found.verdict, lacking.why) == (Verdict.CANNOT, Lack.OTHER_VERSION)
    assert (lacking.recorded_version, lacking.shipped_version) == (7, 1)


def test_a_rule_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = published(RIVALS)
    monkeypatch.setattr(module, "FACILITY_CORRELATIONS", ())
    assert [one.why for one in replayed(bus, records(bus)[-1]).lacking] == [Lack.RULE_GONE]


def withdrawn(bus: InMemoryBus) -> None:
    taken_back = event("EventWithdrawn", day=9, name="taken back", target_event_id=event_id("infraction"))
    bus.publish(taken_back, agency_of(taken_back))
    bus.run()


def purged(bus: InMemoryBus) -> None:
    bus.tick(START + 30 * DAY)
    bus.run()


@pytest.mark.parametrize(
    ("remove", "tombstones", "why"),
    [
        (withdrawn, True, Lack.WITHDRAWN),
        (withdrawn, False, Lack.WITHDRAWN),
        (purged, True, Lack.TOMBSTONED),
        (purged, False, Lack.GONE),
    ],
)
def test_an_event_that_is_not_on_the_log_any_more_is_named_with_why(
    remove: Callable[[InMemoryBus], None], tombstones: bool, why: Lack
) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION])
    (alert,) = records(bus)
    remove(bus)
    for where, log in bus.logs.items():
        last = {one.key: one.offset for one in log}
        bus.logs[where] = [one for one in log if last[one.key] == one.offset and (one.value is not None or tombstones)]
    found = replayed(bus, alert)
    assert found.verdict is Verdict.CANNOT
    assert (why, event_id("infraction")) in lacks(found)
    assert event_id("booked") not in {one.event_id for one in found.lacking}


@pytest.mark.parametrize(("days", "why"), [(29, Lack.TOMBSTONED), (30, Lack.PURGED)])
def test_what_is_gone_was_purged_where_its_purge_date_has_come(days: int, why: Lack) -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION])
    (alert,) = records(bus)
    purged(bus)
    found = replayed(compacted(bus), alert)
    dates = {("county-jail", event_id("infraction")): START + 30 * DAY}
    assert (why, event_id("infraction")) in lacks(with_purge_dates(found, dates, START + days * DAY))


def test_that_nothing_is_left_does_not_show_that_a_withdrawal_was_right() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED])
    (over,) = records(bus, "WITHDRAWN")
    # What ended it is there, and without it it would still hold: that shows it, compacted or not.
    assert replayed(compacted(bus), over) == Replay(Verdict.IDENTICAL, Basis.AS_LEFT)
    found = replayed(without(bus, "infraction"), over)
    assert (found.verdict, [one.why for one in found.lacking]) == (Verdict.CANNOT, [Lack.COMPACTED])


def test_what_ended_it_may_be_found_later() -> None:
    bus = published([BOOKED, CLASSIFIED, INFRACTION, REVIEWED, REVIEWED])
    (over,) = records(bus, "WITHDRAWN")
    found = replayed(compacted(bus), over)
    assert (found.verdict, found.basis) == (Verdict.IDENTICAL, Basis.LATER_COPIES)
    assert lacks(found) == {(Lack.WRITTEN_LATER, event_id("reviewed"))}
    assert replayed(without(bus, "infraction"), over).verdict is Verdict.CANNOT


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
    other = replayed(bus, {**outline, "digest": "0" * 64})
    assert (other.verdict, [one.field for one in other.differences]) == (Verdict.DIFFERENT, ["digest"])


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
    assert found.verdict is Verdict.CANNOT
    assert (why, event_id("infraction")) in lacks(found)


def test_an_outline_by_another_version_of_the_rule_says_so() -> None:
    bus = published(RIVALS)
    outline = outlined(bus, records(bus)[-1])
    assert outline is not None
    assert [one.why for one in replayed(bus, {**outline, "rule_version": 7}).lacking] == [Lack.OTHER_VERSION]
