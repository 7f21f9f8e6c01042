"""Publishes the mix on schedule, whatever becomes of it: an open loop, in a process of its own.

It is told on stdin, one line of JSON each: {"events": N} makes N events of new people ready; {"rate": R, "at": T}
publishes them from T (seconds since 1970) on, so many a second, as their agencies do, through a `Publisher`. It answers
each with a line: how many, and how far behind its schedule the last was accepted.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Final

from producers.publisher import Publisher
from schemas.events import Event
from schemas.settings import Settings
from schemas.site import read_site
from tests.bench.mix import Published, county
from tests.county import DAY

LONG_AGO: Final = 200 * DAY
"""The people's lives begin before this: none of their events is to come."""
EVENTS_EACH: Final = 10
STEP_S: Final = 0.02
"""What falls due within so long is published together, as a jail's export hands on what has changed. By the millisecond
it kept half a core busy at 1,000 events a second, which in a county are other machines' cores."""


def publish_on_schedule(
    publishers: dict[str, Publisher], events: Sequence[Published], rate: float, begins: float
) -> float:
    """Publish each event when it is due; returns by how many seconds the last was accepted too late."""
    sent = 0
    time.sleep(max(0.0, begins - time.time()))
    while sent < len(events):
        due = min(len(events), int((time.time() - begins) * rate) + 1)
        by_agency: defaultdict[str, list[Event]] = defaultdict(list)
        for published in events[sent:due]:
            by_agency[published.agency].append(published.event)
        for agency, of_it in by_agency.items():
            publishers[agency].publish_many(of_it)
        sent = due
        time.sleep(STEP_S)
    return time.time() - STEP_S - begins - (len(events) - 1) / rate


def main() -> None:
    settings = Settings()
    assert settings.site_file is not None
    site = read_site(settings.site_file)
    known = 0
    publishers = {agency.id: Publisher(settings, site, agency.id) for agency in site.agencies}
    ready: list[Published] = []
    try:
        for line in sys.stdin:
            told = json.loads(line)
            if "events" in told:
                people = told["events"] // EVENTS_EACH + 1
                start = time.time_ns() // 1000 - LONG_AGO
                ready = list(islice(county(people, sys.maxsize, start=start, first=known), told["events"]))
                known += people
                print(json.dumps({"ready": len(ready)}), flush=True)
            else:
                behind = publish_on_schedule(publishers, ready, told["rate"], told["at"])
                print(json.dumps({"sent": len(ready), "behind_s": behind}), flush=True)
    finally:
        for publisher in publishers.values():
            publisher.close(0)


if __name__ == "__main__":
    main()
