"""On the real bus: of a tip that touches staff the jail's users find nothing, however they look."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas import topics
from schemas.site import Recipient
from tests.county import DAY, JAIL, START, event
from tests.working_site import WAIT_S, WorkingSite, until

pytestmark = pytest.mark.bus

AFFAIRS = "county-jail-affairs"
VISIT = [
    event("BookingReported", "ada", sid="S1", booked_as="Adams, Ada"),
    event("VisitScheduled", "ada", day=2, visitor_name="Cole, Dana", starts=5.5),
]
NARRATIVE = "An officer of the evening shift lets it through"
OF_STAFF = event("ContrabandTipped", day=3, sid="S1", touches_staff=True, narrative=NARRATIVE)


def readable(site: WorkingSite, recipient: Recipient) -> dict[str, int]:
    """The topics that a user of the jail sees of the site, and how long each is, as that user is told it."""
    user = site.site.user(recipient.id)
    seen = AdminClient(site.settings.kafka(user)).list_topics(timeout=WAIT_S).topics
    return {name: len(site.read(name, recipient.id)) for name in seen if name.startswith(f"{site.site.name}.alerts.")}


def test_internal_affairs_is_told_and_the_jails_other_users_see_the_topics_as_before(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("staff", clock="history")
    worker = site.start_worker()
    site.publish(VISIT)
    site.tick(START + 3 * DAY)
    site.until_settled(START + 3 * DAY)
    others = [one for one in site.site.recipients if one.agency == JAIL and not one.internal_affairs]
    before = {one.id: readable(site, one) for one in others}

    site.publish([OF_STAFF])
    site.tick(START + 4 * DAY)
    site.until_settled(START + 4 * DAY)
    until(lambda: site.shown_to(AFFAIRS, "contraband"), "internal affairs was told")
    assert {one.id: readable(site, one) for one in others} == before
    assert all(set(lengths.values()) == {0} for lengths in before.values())

    of_affairs = topics.alerts_for(site.site.name, AFFAIRS, "contraband")
    for one in others:
        with pytest.raises((KafkaException, AssertionError, KeyError)):
            site.read(of_affairs, one.id)
    said = site.said(worker)
    for secret in (NARRATIVE, "Adams", "Cole", "S1", OF_STAFF.head.event_id):
        assert secret not in said
