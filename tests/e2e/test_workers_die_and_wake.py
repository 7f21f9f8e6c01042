"""On the real broker: workers that are stopped, replaced or upgraded leave the same open alerts behind.

Those that are killed in the middle of much else are in tests/chaos/test_the_bus_lives_through_chaos.py.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas import topics
from schemas.events import Event
from streams.facts import KeyKind, parse_key
from tests.county import DAY, POLICE, START, event
from tests.in_memory_bus import digests, from_scratch
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus
PEOPLE = [f"p{number}" for number in range(24)]
UNITS = ["4-A", "4-B", "4-C", "5-A"]
GROUPS = ["Eastside", "Harbor", "Mill Street"]
LAST_TICK = START + 40 * DAY


def a_month(seed: int) -> list[Event]:
    """A month of a jail with feuds outside: some 300 events, of which several situations are open at its end."""
    choose = random.Random(seed)
    events: list[Event] = []
    for number, person in enumerate(PEOPLE):
        sid = f"S{number}" if number % 2 else None
        group = GROUPS[number % len(GROUPS)]
        events.append(event("BookingReported", person, day=0, sid=sid, name=f"book-{person}"))
        events.append(event("CustodyClassified", person, day=1, level=choose.choice(["MINIMUM", "MEDIUM", "MAXIMUM"])))
        if sid and number % 3:
            events.append(event("AffiliationReported", day=2, sid=sid, group=group, name=f"report-{person}"))
        else:
            events.append(event("AffiliationValidated", person, day=2 + number % 5, group=group))
        events += [
            event("HousingAssigned", person, day=choose.uniform(2, 30), unit=choose.choice(UNITS)) for _ in range(6)
        ]
        if choose.random() < 0.4:
            events.append(event("DisciplinaryRecorded", person, day=choose.uniform(3, 30)))
        if choose.random() < 0.2:
            events.append(event("CustodyEnded", person, day=choose.uniform(20, 35)))
    for number in range(12):
        sides = choose.sample(GROUPS, 2)
        day = choose.uniform(5, 35)
        events.append(event("StreetViolenceReported", day=day, groups=sides, name=f"violence-{number}"))
    events.append(event("EventWithdrawn", agency=POLICE, day=36, target_event_id=events[-1].head.event_id))
    choose.shuffle(events)
    return events


def test_a_worker_stopped_past_its_session_and_woken_writes_nothing_that_stands(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("stopped", clock="history")
    events = a_month(seed=3)
    sleeper = site.start_worker()
    site.publish(events[:100])
    site.tick(START + 5 * DAY)
    site.until_settled(START + 5 * DAY)
    sleeper.send_signal(signal.SIGSTOP)
    site.publish(events[100:])
    successor = site.start_worker()
    site.tick(LAST_TICK)
    site.until_settled(LAST_TICK)
    expected = from_scratch(site.site.name, events, LAST_TICK)
    assert len(expected) > 5
    assert digests(site) == expected
    shown = {known_as for kind in ("housing", "coordination") for known_as in site.shown_to("county-jail-watch", kind)}
    assert shown == expected.keys()
    assert successor.poll() is None, "it took over, and lives"

    sleeper.send_signal(signal.SIGCONT)
    # Whatever it still believes: something to write for every partition.
    site.tick(LAST_TICK + 1)
    site.publish([event("HousingAssigned", p, day=39, unit="5-B", name=f"late-{p}") for p in PEOPLE])
    site.tick(LAST_TICK + DAY)
    site.until_settled(LAST_TICK + DAY)
    moved = [*events, *(event("HousingAssigned", p, day=39, unit="5-B", name=f"late-{p}") for p in PEOPLE)]
    assert digests(site) == from_scratch(site.site.name, moved, LAST_TICK + DAY)
    said: dict[tuple[str, int], str] = {}
    for alert in site.records(topics.alerts_raised(site.site.name)):
        assert said.setdefault((alert["alert_id"], alert["revision"]), alert["digest"]) == alert["digest"]
    assert successor.poll() is None, "it goes on"
    assert sleeper.poll() is None, "to be overtaken is no failure"


def test_a_fact_that_went_while_no_worker_ran_takes_its_alert_with_it(a_site: Callable[..., WorkingSite]) -> None:
    site = a_site("went", clock="history")
    worker = site.start_worker()
    site.publish(
        [
            event("BookingReported", "ada", day=0),
            event("CustodyClassified", "ada", day=1),
            event("DisciplinaryRecorded", "ada", day=2, name="the infraction"),
        ]
    )
    site.tick(START + 3 * DAY)
    until(site.open_alerts, "the review was raised")
    site.until_settled(START + 3 * DAY)
    worker.terminate()
    assert worker.wait(60) == 0

    facts = topics.person_facts(site.site.name)
    (infraction,) = [
        message
        for message in site.read(facts)
        if parse_key(message.key()).kind is KeyKind.PERSON
        and parse_key(message.key()).event_id
        == event("DisciplinaryRecorded", "ada", name="the infraction").head.event_id
    ]
    # What purging and compaction leave: the fact is gone, only its tombstone is there.
    producer = Producer(site.settings.kafka(site.site.user("bus")))
    producer.produce(facts, None, infraction.key(), infraction.partition())
    assert producer.flush(60) == 0

    site.start_worker()
    until(lambda: not site.open_alerts(), "the alert was withdrawn at the next start")
    *_, last = site.records(topics.alerts_raised(site.site.name))
    assert (last["state"], last["revision"]) == ("WITHDRAWN", 2)
    until(lambda: not site.shown_to("county-jail-watch"), "the recipient was told")


NEW_VERSION = """
import dataclasses
import streams.correlations as correlations
from streams.correlations import classification_review

# Version 2 of the rule: an infraction alone is no reason any more.
rule = classification_review.CORRELATION
def situations(picture, person, now):
    return {s for s in rule.situations(picture, person, now) if any("Validated" in e.text for e in s.evidence)}
correlations.PERSON_CORRELATIONS = (dataclasses.replace(rule, version=2, situations=situations),)

from deploy.cli import main
main()
"""


def test_a_new_rule_version_withdraws_what_it_no_longer_derives_as_one_notice(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("upgraded", clock="history")
    worker = site.start_worker()
    few = PEOPLE[:8]
    site.publish(
        [
            *(event("BookingReported", p, day=0) for p in few),
            *(event("CustodyClassified", p, day=1) for p in few),
            *(event("DisciplinaryRecorded", p, day=2) for p in few),
            event("AffiliationValidated", few[0], day=2),
        ]
    )
    site.tick(START + 3 * DAY)
    until(lambda: len(site.open_alerts()) == len(few), "every review was raised")
    worker.terminate()
    worker.wait(60)

    upgraded = tmp_path / "upgraded.py"
    upgraded.write_text(textwrap.dedent(NEW_VERSION))
    site.start_worker([str(upgraded), "worker"])
    until(lambda: len(site.open_alerts()) == 1, "the new version withdrew what it does not derive")
    withdrawn = [a for a in site.records(topics.alerts_raised(site.site.name)) if a["state"] == "WITHDRAWN"]
    assert len(withdrawn) == len(few) - 1
    assert {alert["cause"]["kind"] for alert in withdrawn} == {"RULE_CHANGED"}
    assert {alert["group"] for alert in withdrawn} == {"classification_review: version 2"}


def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_dies(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("shared", partitions=4, clock="history")
    events = a_month(seed=11)
    first, second = site.start_worker(VERBOSE), site.start_worker(VERBOSE)
    site.publish(events[:150])
    site.tick(START + 10 * DAY)
    site.until_settled(START + 10 * DAY)
    # Who comes second follows first, and is given its share when it is ready.
    until(lambda: {len(owned(site, worker)) for worker in (first, second)} == {2}, "each has its share")
    until(lambda: f"stands by for {owned(site, first)}" in site.said(second), "the second stands by for the first's")
    site.until_settled(START + 10 * DAY)
    taken = owned(site, first)
    before = len(site.said(second))
    first.kill()
    site.publish(events[150:])
    site.tick(LAST_TICK)
    site.until_settled(LAST_TICK)
    assert second.poll() is None
    assert digests(site) == from_scratch(site.site.name, events, LAST_TICK)
    for number in taken:
        assert f"partition {number} is read back from {{'person': " in site.said(second)[before:]


VERBOSE = ("-m", "deploy", "worker", "--verbose")


def owned(site: WorkingSite, worker: subprocess.Popen[bytes]) -> list[int]:
    """What a worker said last that it owns."""
    found = re.findall(r"owns \[([\d, ]*)\]", site.said(worker))
    return [int(number) for number in found[-1].split(",") if number.strip()] if found else []


def test_a_live_site_has_one_clock(a_site: Callable[..., WorkingSite]) -> None:
    site = a_site("ticking")
    site.start_worker()
    site.start_worker()
    facts = topics.person_facts(site.site.name)
    until(lambda: len(site.read(facts)) >= 2 * 6, "the clock ticked six times on both partitions")
    for partition in range(2):
        ticks = [m for m in site.read(facts) if m.partition() == partition]
        apart = [b.timestamp()[1] - a.timestamp()[1] for a, b in pairwise(ticks)]
        assert sum(gap < 500 for gap in apart) <= 1, "ticks come once a second, but for the moment of a rebalance"
