"""On the real bus: of a tip that touches staff the jail's users find nothing, however they look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from deploy.acls import Operation, Resource, acls
from schemas import topics
from schemas.events import Event
from tests.county import DAY, JAIL, START, event
from tests.working_site import WAIT_S, WorkingSite, until

pytestmark = pytest.mark.bus

AFFAIRS, WATCH = "county-jail-affairs", "county-jail-watch"
NARRATIVE = "An officer of the evening shift lets it through"
OF_STAFF = event("ContrabandTipped", day=3, sid="S1", touches_staff=True, narrative=NARRATIVE)
IT_ENDED = event("TipOutcome", day=3.6, target_event_id=OF_STAFF.head.event_id)
LIFE: Sequence[Event] = (
    event("BookingReported", "ada", sid="S1", booked_as="Adams, Ada"),
    event("CustodyClassified", "ada", day=1, level="MINIMUM"),
    event("VisitScheduled", "ada", day=2, visitor_name="Cole, Dana", starts=5.5),
    OF_STAFF,
    # Beside it there is what the jail is told of: a review, and the same visit by a tip that touches nobody of it.
    event("DisciplinaryRecorded", "ada", day=3.2, severity="MAJOR", violent=True),
    event("ContrabandTipped", day=3.4, sid="S1", name="an ordinary one"),
    IT_ENDED,
)


@dataclass(frozen=True)
class Seen:
    """What a user finds on a bus: of each topic that it hears of the end that it is told, and what it may read."""

    ends: dict[tuple[str, int], int]
    read: dict[str, list[Any]]


def lived(site: WorkingSite, *, staff: bool) -> dict[str, Seen]:
    """What each user of the jail, internal affairs aside, finds in the end: each event is worked on before the next."""
    worker = site.start_worker()
    for what in LIFE:
        if staff or what not in (OF_STAFF, IT_ENDED):
            site.publish([what])
            site.until_settled()
        site.tick(what.head.time)
        site.until_settled(what.head.time)
    said = site.said(worker)
    for secret in (NARRATIVE, "Adams", "Cole", "S1", OF_STAFF.head.event_id):
        assert secret not in said
    return {who: seen(site, who) for who in users_of_the_jail(site)}


def users_of_the_jail(site: WorkingSite) -> list[str]:
    desks = [one.id for one in site.site.recipients if one.agency == JAIL and not one.internal_affairs]
    return [JAIL, *desks]


def seen(site: WorkingSite, who: str) -> Seen:
    user = site.site.user(who)
    admin = AdminClient(site.settings.kafka(user))
    reports = topics.stage_reports(site.site.name)
    parts = [
        TopicPartition(name, number)
        for name, found in admin.list_topics(timeout=WAIT_S).topics.items()
        if name.startswith(f"{site.site.name}.") and name != reports
        for number in found.partitions
    ]
    with_right = {
        acl.name
        for acl in acls(site.site)
        if (acl.user, acl.operation, acl.resource) == (user, Operation.READ, Resource.TOPIC)
    }
    read = {name: last_reports(site, who) if name == reports else content(site, who, name) for name in with_right}
    latest = admin.list_offsets({part: OffsetSpec.latest() for part in parts})  # type: ignore[no-untyped-call]
    ends = {(part.topic, part.partition): end.result(WAIT_S).offset for part, end in latest.items()}
    return Seen(ends, read)


def content(site: WorkingSite, who: str, topic: str) -> list[Any]:
    """Each record, byte for byte, its headers too; the bus's clock aside, by which the broker notes when it came."""
    return [(one.partition(), one.key(), one.value(), one.headers()) for one in site.read(topic, who)]


def last_reports(site: WorkingSite, who: str) -> list[Any]:
    """What a stage said of itself last. When it said so is the wall clock's, and how often; all else is compared."""
    last = {(one["stage"], one["partition"]): one for one in site.records(topics.stage_reports(site.site.name), who)}
    return [(key, {name: value for name, value in last[key].items() if name != "at"}) for key in sorted(last)]


def answer(site: WorkingSite, who: str, topic: str) -> int | None:
    """The broker's error where a user asks for a topic; a client that is not told where it is can fetch nothing."""
    found = AdminClient(site.settings.kafka(site.site.user(who))).list_topics(topic, timeout=WAIT_S).topics[topic]
    return found.error.code() if found.error is not None else None


def test_what_the_jails_other_users_can_read_is_the_same_as_on_a_bus_where_nobody_said_so(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("staff", clock="history")
    without = lived(site, staff=False)
    site = site.renewed()
    with_it = lived(site, staff=True)
    site.end()

    name = site.site.name
    of_affairs = topics.alerts_for(name, AFFAIRS, "contraband")
    told = site.records(of_affairs, AFFAIRS)
    assert [one["state"] for one in told] == ["OPEN", "OPEN", "WITHDRAWN"], "of the one for staff, and of the ordinary"
    assert with_it == without
    # That two are the same says something where they are not empty.
    read = with_it[WATCH].read
    for kind in ("contraband", "housing"):
        assert len([value for _, _, value, _ in read[topics.alerts_for(name, WATCH, kind)] if value is not None]) == 1
    assert read[topics.stage_reports(name)]


def test_what_internal_affairs_is_told_is_refused_to_the_jails_other_users_by_their_rights(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("denied", clock="history")
    site.start_worker()
    site.publish([LIFE[0], LIFE[2], OF_STAFF])
    site.tick(START + 4 * DAY)
    site.until_settled(START + 4 * DAY)
    of_affairs = topics.alerts_for(site.site.name, AFFAIRS, "contraband")
    until(lambda: site.shown_to(AFFAIRS, "contraband"), "internal affairs was told")
    for topic in (
        of_affairs,
        topics.alerts_raised(site.site.name),
        topics.disclosures(site.site.name),
        topics.person_facts(site.site.name),
        topics.facility_facts(site.site.name),
        topics.inbound(site.site.name, "city-pd", "ContrabandTipped"),
    ):
        for who in users_of_the_jail(site):
            assert answer(site, who, topic) == KafkaError.TOPIC_AUTHORIZATION_FAILED, (who, topic)
