"""What was said and is no longer so leaves the log on the real broker, also where nothing is said after it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from schemas import topics
from streams.fold import plain_consumer, read_back
from streams.segments import OLD_ENOUGH
from tests.compaction import compacted_in_moments
from tests.county import DAY, START, event, members_in_one_unit
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus

DESK = "county-jail-watch"
SEGMENT_MS = 2_000
"""More than a transaction takes: its marker alone is to close nothing."""
RIVALS = members_in_one_unit("4-B")
FEUD = event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"], name="the feud")
EXPUNGED = event("EventWithdrawn", day=3, agency="city-pd", target_event_id=FEUD.head.event_id)


def test_what_an_alert_said_is_gone_though_nothing_comes_after_its_withdrawal(
    a_site: Callable[..., WorkingSite],
) -> None:
    site = a_site("quiet", partitions=1, clock="history")
    desk, raised = topics.alerts_for("quiet", DESK, "housing"), topics.alerts_raised("quiet")

    def nothing_is_left_of_what_is_replaced() -> bool:
        """Each alert has one record on either log: its withdrawal."""
        consumer = plain_consumer(site.settings, site.site.user("bus"), topics.consumer_group("quiet"))
        try:
            there = [record for _, record in read_back(consumer, [(desk, 0), (raised, 0)])]
        finally:
            consumer.close()
        alerts = Counter(record.key for record in there if record.value is not None)
        return alerts.keys() == {*known_as} and set(alerts.values()) == {2}

    def until_their_segment_is_old_enough() -> None:
        written = time.monotonic()
        until(lambda: time.monotonic() - written > 1.5 * SEGMENT_MS / 1000, "time went by")

    with ExitStack() as compacted:
        for topic in (desk, raised):
            compacted.enter_context(compacted_in_moments(site.settings, topic, SEGMENT_MS))
        site.start_worker()
        site.publish([*RIVALS, FEUD])
        site.tick(START + 3 * DAY)
        until(lambda: site.shown_to(DESK), "the desk was told")
        known_as = [one.encode() for one in site.shown_to(DESK)]
        until_their_segment_is_old_enough()
        site.publish([EXPUNGED])
        until(lambda: not site.shown_to(DESK), "it was told that it is over")
        until_their_segment_is_old_enough()
        site.tick(START + 3 * DAY + OLD_ENOUGH)
        until(nothing_is_left_of_what_is_replaced, "only the withdrawal was left")
    assert site.open_alerts() == {}
