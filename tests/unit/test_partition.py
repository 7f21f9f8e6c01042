"""The stages of one partition number together: who is told is decided with the alert, in one go."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from schemas import topics
from schemas.codec import encode
from schemas.events import Event
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.facts import TICK_KEY, partition_of, person_id
from streams.partition import FOLDING, Partition
from streams.records import LoggedRecord, Out
from streams.segments import CLOSING
from streams.stage import FACILITY, PERSON
from tests.county import DAY, JAIL, MAIN, START, agency_of, demo_site, event, members_in_one_unit
from tests.facility_facts import placed
from tests.in_memory_bus import InMemoryBus, processed

SITE = demo_site(partitions=1)
ALERTS, FACILITIES = topics.alerts_raised("demo"), topics.facility_facts("demo")
DESK = topics.alerts_for("demo", "county-jail-watch", "housing")


def to_review(person: str) -> list[Event]:
    """What makes a review of one person."""
    return [
        event("BookingReported", person),
        event("CustodyClassified", person, day=1),
        event("DisciplinaryRecorded", person, day=2),
    ]


HOUSED = members_in_one_unit()
FEUD = event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"], name="feud")


def happened(*events: Event, site: Site = SITE) -> InMemoryBus:
    """A bus on which all of it is processed."""
    return processed(site, events, START + 3 * DAY)


def refolded(bus: InMemoryBus, recalled: Iterable[tuple[str, int]] = (), stages: Iterable[str] = FOLDING) -> Partition:
    partition = Partition.of(bus.site, 0, SCHEMAS)
    for where in recalled:
        for record in bus.logs[where]:
            partition.recall(where[0], record)
    for stage in stages:
        for record in bus.input_of(stage, 0):
            partition.refold(stage, record)
    return partition


def positions(bus: InMemoryBus) -> dict[str, int]:
    return {stage: len(bus.input_of(stage, 0)) for stage in FOLDING}


def tick(day: float) -> LoggedRecord:
    return LoggedRecord(0, TICK_KEY, encode("Tick", {"time": START + int(day * DAY)}, SCHEMA_IDS["Tick"]))


def values(outs: Iterable[Out]) -> list[Mapping[str, Any]]:
    return [out.value for out in outs if isinstance(out.value, Mapping)]


def names(outs: Iterable[Out]) -> list[str | None]:
    """What is said; what only closes a quiet log says nothing."""
    return [out.name for out in outs if out.key != CLOSING]


def test_the_stages_are_of_their_partition_number_and_found_by_name() -> None:
    partition = Partition.of(demo_site(partitions=3), 2, SCHEMAS)
    assert (partition.site, partition.number) == (demo_site(partitions=3), 2)
    assert partition.stage(PERSON) is partition.person
    assert partition.stage(FACILITY) is partition.facility
    assert FOLDING == (PERSON, FACILITY)
    for stage in (partition.person, partition.facility, partition.disclose):
        assert stage._partition == 2


def test_what_the_stages_write_is_on_these_partitions() -> None:
    site = demo_site(partitions=5)
    told = [
        ("county-jail-watch", "housing"),
        ("county-jail-watch", "contraband"),
        ("county-jail-watch", "coordination"),
        ("county-jail-classification", "housing"),
        ("county-jail-classification", "coordination"),
        ("county-jail-affairs", "contraband"),
        ("county-jail-affairs", "coordination"),
        ("city-pd-intel", "investigation"),
        ("city-pd-intel", "contraband"),
        ("city-pd-intel", "coordination"),
    ]
    assert Partition.of(site, 3, SCHEMAS).outputs() == [
        (ALERTS, 3),
        (FACILITIES, partition_of(MAIN, 5)),
        *((topics.alerts_for("demo", recipient, kind), 3) for recipient, kind in told),
    ]


def test_what_an_older_bus_wrote_of_everybody_is_taken_back_once_and_changes_no_alert() -> None:
    cy = person_id(f"{JAIL}/LOCAL", "jms", "cy")
    in_the_way = [event("BookingReported", "cy"), event("HousingAssigned", "cy", day=1, unit="4-A")]
    bus = happened(*HOUSED, *in_the_way, FEUD)
    partition = refolded(bus, [where for where in Partition.of(SITE, 0, SCHEMAS).outputs() if where in bus.logs])
    of_cy = placed(cy, groups=())
    partition.recall(FACILITIES, of_cy)
    partition.refold(FACILITY, of_cy)
    outs = list(partition.reconcile(positions(bus)))
    (taken_back,) = outs
    assert taken_back.key == of_cy.key
    (said,) = values(outs)
    assert (said["in_custody"], said["unit"], said["revision"]) == (False, None, 2)
    value = encode("PersonInCustody", said, SCHEMA_IDS["PersonInCustody"])
    record = LoggedRecord(positions(bus)[FACILITY], taken_back.key, value, taken_back.headers)
    assert partition.process(FACILITY, record) == []
    assert list(partition.reconcile(positions(bus))) == []


def test_what_a_recovery_wants_written_is_made_as_it_is_asked_for() -> None:
    bus = happened(*(what for number in range(100) for what in to_review(f"person {number}")))
    partition = refolded(bus)
    made = len([one for one in gc.get_objects() if isinstance(one, Out)])
    alive = [
        len([one for one in gc.get_objects() if isinstance(one, Out)]) - made if number % 50 == 0 else 0
        for number, _ in enumerate(partition.reconcile(positions(bus)))
    ]
    assert len(alive) >= 300, "a hundred reviews, who is told of them, and that it was decided"
    assert max(alive) < 20
    assert list(partition.reconcile(positions(bus))) == []


# -- live --------------------------------------------------------------------------------------------------------------


def test_an_alert_and_who_is_told_of_it_come_from_one_record() -> None:
    bus = InMemoryBus(SITE)
    for what in to_review("ada"):
        bus.publish(what, agency_of(what))
    partition = Partition.of(SITE, 0, SCHEMAS)
    *_, outs = [partition.process(PERSON, record) for record in bus.input_of(PERSON, 0)]
    assert names(outs) == ["AlertRaised", *["AlertDisclosed", "DisclosureDecided"] * 2]


def test_it_is_as_late_as_both_stages_have_seen() -> None:
    partition = Partition.of(SITE, 0, SCHEMAS)
    partition.process(PERSON, tick(2))
    assert partition.tick == 0
    partition.process(FACILITY, tick(1))
    assert partition.tick == partition.disclose.tick == START + DAY
    partition.process(FACILITY, tick(3))
    assert partition.tick == partition.disclose.tick == START + 2 * DAY


def test_who_may_see_an_alert_from_a_moment_on_is_told_when_both_stages_have_seen_it() -> None:
    agreement = next(one for one in SITE.agreements if "housing" in one.kinds)
    later = agreement.model_copy(update={"valid_from": START + 4 * DAY})
    bus = happened(*HOUSED, FEUD, site=SITE.model_copy(update={"agreements": (later,)}))
    partition = bus.running[0].partition
    assert bus.open_alerts() != {}
    assert bus.shown_to("county-jail-watch") == {}
    assert partition.process(PERSON, tick(4)) == []
    assert names(partition.process(FACILITY, tick(4))) == ["AlertDisclosed", "DisclosureDecided"] * 2


def test_what_a_tick_ends_is_told_beside_what_begins_with_it() -> None:
    agreement = next(one for one in SITE.agreements if "housing" in one.kinds)
    later = agreement.model_copy(update={"valid_from": START + 4 * DAY})
    fine = event("DisciplinaryRecorded", "cy", day=2, purge_day=4)
    reviewed = [*to_review("cy")[:2], fine]
    bus = happened(*HOUSED, FEUD, *reviewed, site=SITE.model_copy(update={"agreements": (later,)}))
    partition = bus.running[0].partition
    partition.process(FACILITY, tick(4))
    outs = [out for out in partition.process(PERSON, tick(4)) if out.value is not None]
    both = ["AlertDisclosed", "DisclosureDecided"] * 2
    assert names(outs) == ["AlertRaised", *both, *both]


# -- recovery ----------------------------------------------------------------------------------------------------------


def test_what_is_recorded_and_told_is_not_written_again() -> None:
    bus = happened(*to_review("cy"), *HOUSED, FEUD, event("BookingReported", "dee", day=2.5))
    assert len(bus.open_alerts()) == 2
    partition = refolded(bus, Partition.of(SITE, 0, SCHEMAS).outputs())
    causes = [one["cause"] for topic in (ALERTS, FACILITIES) for one in bus.history(topic) if "cause" in one]
    last = {stage: max(one["offset"] for one in causes if one["stage"] == stage) for stage in FOLDING}
    assert {stage: partition.last_cause(stage) for stage in FOLDING} == last
    assert last[PERSON] != last[FACILITY]
    assert list(partition.reconcile(positions(bus))) == []
    assert partition.tick == START + 3 * DAY


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        (ALERTS, {"AlertRaised"}),
        (FACILITIES, {"PersonInCustody"}),
        (DESK, {"AlertDisclosed", "DisclosureDecided"}),
    ],
)
def test_what_is_lost_of_it_is_written(lost: str, found: set[str]) -> None:
    bus = happened(*to_review("cy"), *HOUSED, FEUD)
    outputs = Partition.of(SITE, 0, SCHEMAS).outputs()
    partition = refolded(bus, [where for where in outputs if where[0] != lost])
    assert set(names(partition.reconcile(positions(bus)))) >= found


def test_on_recovery_each_alert_stands_beside_who_is_told_of_it_and_says_what_each_stage_had_folded() -> None:
    bus = happened(*to_review("cy"), *HOUSED, FEUD)
    partition = refolded(bus)
    outs = [out for out in partition.reconcile({PERSON: 70, FACILITY: 30}) if out.name != "PersonInCustody"]
    one = ["AlertRaised", *["AlertDisclosed", "DisclosureDecided"] * 2]
    assert names(outs) == one * 2
    alerts = [value for out, value in zip(outs, values(outs), strict=True) if out.name == "AlertRaised"]
    assert [(alert["cause"]["stage"], alert["cause"]["offset"]) for alert in alerts] == [(PERSON, 69), (FACILITY, 29)]
    assert {value["at"] for value in values(outs)} == {START + 3 * DAY}


def test_who_stands_by_derives_a_part_of_each_stage_at_a_time() -> None:
    bus = happened(*to_review("cy"), *HOUSED, FEUD)
    for stages, recalled, times in (
        ((PERSON,), (), 3),
        # The unit, and two agencies that were heard of.
        ((FACILITY,), (), 3),
        ((), [(ALERTS, 0)], 2),
    ):
        partition = refolded(bus, recalled, stages)
        goes = next((go for go in range(1, 9) if not partition.derive_ahead(1)), None)
        assert goes == times
    warm, cold = refolded(bus), refolded(bus)
    assert not warm.derive_ahead(100)
    assert warm.disclose.tick == START + 3 * DAY
    assert list(warm.reconcile(positions(bus))) == list(cold.reconcile(positions(bus))) != []


def test_what_a_recovery_finds_is_grouped() -> None:
    bus = happened(*(what for person in ("ada", "bo") for what in to_review(person)))
    outs = list(refolded(bus, [(FACILITIES, 0)]).reconcile(positions(bus)))
    told = {value["group"] for out, value in zip(outs, values(outs), strict=True) if out.name == "AlertDisclosed"}
    assert told == {f"classification_review: found on recovery of person-0 at {START + 3 * DAY}"}
