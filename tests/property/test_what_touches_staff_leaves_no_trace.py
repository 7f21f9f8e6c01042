"""A tip that touches staff changes nothing of what the jail's users can read: no record, count, time or order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.acls import Operation, Resource, acls_of_agency, acls_of_recipient
from schemas import topics
from schemas.events import ContrabandTipped, Event
from schemas.site import Site
from streams.records import LoggedRecord
from tests.county import DAY, JAIL, START, agency_of, demo_site, event
from tests.county_events import LAST_DAY
from tests.in_memory_bus import InMemoryBus
from tests.told_histories import LAST_TICK, histories

pytestmark = pytest.mark.usefixtures("little_suffices")


def of_staff(what: Event) -> bool:
    return isinstance(what, ContrabandTipped) and what.touches_staff


def readable_by_the_jail(site: Site) -> set[str]:
    """The topics that the jail's users may read, internal affairs aside."""
    users = [
        acls_of_agency(site, site.agency_by_id[JAIL]),
        *(acls_of_recipient(site, one) for one in site.recipients if one.agency == JAIL and not one.internal_affairs),
    ]
    rights = [acl for user in users for acl in user]
    return {acl.name for acl in rights if acl.operation == Operation.READ and acl.resource == Resource.TOPIC}


Times = list[tuple[int, int, int]]
"""Of a partition's person, facility and disclose stage."""


def told(history: Sequence[Event], ticks: Sequence[int], *, staff: bool) -> tuple[InMemoryBus, list[Times]]:
    """The history as it happens, with or without what touches staff; time passes in the same way.

    With it, after each event, how late it is for every stage: everybody reads that in the stages' reports.
    """
    bus = InMemoryBus(demo_site(partitions=2))
    reported: list[Times] = []
    for what, day in zip(history, cycle(ticks), strict=False):
        if staff or not of_staff(what):
            bus.publish(what, agency_of(what))
        bus.run()
        bus.tick(START + day * DAY)
        bus.run()
        stages = [running.partition for running in bus.running.values()]
        reported.append([(one.person.tick, one.facility.tick, one.disclose.tick) for one in stages])
    bus.tick(LAST_TICK)
    bus.run()
    return bus, reported


def read(bus: InMemoryBus, names: set[str]) -> dict[tuple[str, int], list[LoggedRecord]]:
    return {where: log for where, log in bus.logs.items() if where[0] in names and log}


A_TIP = event("ContrabandTipped", day=40, name="staff-tip-0", sid="SID-ada", ucn="UCN-ada", touches_staff=True)
DAYS = st.lists(st.integers(0, LAST_DAY), min_size=3, max_size=3).map(sorted)


@settings(max_examples=80)
@given(histories, st.integers(0, 30), DAYS)
def test_what_the_jail_can_read_is_the_same_with_and_without_it(
    others: list[Event], place: int, ticks: list[int]
) -> None:
    history = [*others[:place], A_TIP, *others[place:]]
    (with_it, reported), (without, reported_without) = (told(history, ticks, staff=staff) for staff in (True, False))
    names = readable_by_the_jail(with_it.site)
    assert topics.alerts_for("demo", "county-jail-watch", "contraband") in names
    assert topics.alerts_for("demo", "county-jail-affairs", "contraband") not in names
    assert read(with_it, names) == read(without, names)
    assert reported == reported_without
    affairs = topics.alerts_for("demo", "county-jail-affairs", "contraband")
    hypothesis_event(f"internal affairs are told more: {with_it.history(affairs) != without.history(affairs)}")
