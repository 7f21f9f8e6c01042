"""The clock of a site: the only way in which time enters the bus.

A live site's ticks come from the wall clock of the worker that owns partition 0 of the clock topic, a history site's
from its importer; either way each is put on every partition of every topic that the stages fold.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from schemas import topics
from schemas.codec import WriterSchema, decode
from schemas.site import Site
from streams.facts import TICK_KEY
from streams.records import Out, Record

CLOCK: Final = "clock"
"""The stage's name."""
TICK_EVERY_S: Final = 1.0
"""Seconds between a live site's ticks."""


def wall_clock() -> int:
    """Now, microseconds."""
    return time.time_ns() // 1000


def tick(site: Site, now: int) -> list[Out]:
    """The records that make it `now` (microseconds) everywhere on a site."""
    value: Mapping[str, Any] = {"time": now}
    return [
        *(
            Out(topic, partition, TICK_KEY, "Tick", value)
            for topic in (
                topics.person_facts(site.name),
                topics.facility_facts(site.name),
            )
            for partition in range(site.partitions)
        ),
        Out(topics.region_facts(site.name), 0, TICK_KEY, "Tick", value),
    ]


class Clock:
    """A site's one clock, which never goes back.

    The stages would take no notice of an earlier tick; but compaction keeps the last of a key, and whoever recovered
    from it would live in the past. So where the wall clock was set back, or an import begins again, there is no tick
    until time has gone on.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.last = 0
        """The last tick, microseconds; to be recalled before the clock runs."""

    def advance(self, time: int) -> list[Out]:
        """The records that make it so late, if it is not as late already."""
        if time <= self.last:
            return []
        self.last = time
        return tick(self._site, time)

    def copy(self, record: Record, schemas: Mapping[int, WriterSchema]) -> list[Out]:
        """What a record of the clock topic puts on the facts topics: a history site's tick; on a live site nothing.

        Raises DecodeError.
        """
        if self._site.clock == "live":
            return []
        _, value = decode(record.value or b"", schemas, "Tick")
        return self.advance(int(value["time"]))
