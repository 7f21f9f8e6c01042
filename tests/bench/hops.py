"""Where the time of a probe goes: its way put together from the logs, and from the worker's own marks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.kafka_config import ADMIN
from schemas import topics
from schemas.codec import decode
from schemas.registry_client import SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site
from streams.agents import sources
from streams.fold import plain_consumer, read_back
from streams.identify import IDENTIFY
from streams.records import LoggedRecord
from streams.stage import FACILITY, PERSON
from tests.bench.probes import Probe, Way
from tests.bench.watched_worker import Mark

STAGES_OF: Final = {Way.REPORT: (IDENTIFY, FACILITY), Way.MOVE: (IDENTIFY, PERSON, FACILITY)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is, and when the broker took it, milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    at: int


def places(settings: Settings, site: Site, wanted: set[str]) -> dict[tuple[str, str], Place]:
    """By event id and stage: the record of a stage's input that led to the alert."""
    cache = SchemaCache(registry_client(settings))
    consumer = plain_consumer(settings, ADMIN, "bench-hops")
    found: dict[tuple[str, str], Place] = {}

    def every(topic: str) -> Iterable[tuple[int, LoggedRecord]]:
        for number in range(site.partitions):
            for _, record in read_back(consumer, [(topic, number)]):
                if record.value is not None:
                    yield number, record

    try:
        alerts = set()
        for number, record in every(topics.alerts_raised(site.name)):
            cause = _decoded(record, cache)["cause"]
            if cause["event_id"] in wanted and cause["stage"] == FACILITY:
                alerts.add((cause["event_id"], number, cause["offset"]))
        of_facility = {(number, offset): name for name, number, offset in alerts}
        for number, record in every(topics.facility_facts(site.name)):
            name = of_facility.get((number, record.offset))
            if name is not None:
                found[name, FACILITY] = Place(topics.facility_facts(site.name), number, record.offset, record.timestamp)
        for number, record in every(topics.person_facts(site.name)):
            parts = (record.key or b"").decode().split("/")
            if len(parts) > 2 and parts[2] in wanted:
                found[parts[2], PERSON] = Place(topics.person_facts(site.name), number, record.offset, record.timestamp)
        for topic in sources(site):
            for number, record in every(topic):
                name = dict(record.headers).get("ce_id", b"").decode()
                if name in wanted:
                    found[name, IDENTIFY] = Place(topic, number, record.offset, record.timestamp)
    finally:
        consumer.close()
    return found


def _decoded(record: LoggedRecord, cache: SchemaCache) -> dict[str, Any]:
    assert record.value is not None
    cache.ensure([record.value])
    value: dict[str, Any] = decode(record.value, cache)[1]
    return value


def read_marks(path: Path) -> dict[tuple[str, int], list[Mark]]:
    """The worker's marks, by topic and partition, in order of offsets."""
    marks: defaultdict[tuple[str, int], list[Mark]] = defaultdict(list)
    for line in path.read_text().splitlines():
        mark = Mark(*json.loads(line))
        marks[mark.topic, mark.partition].append(mark)
    return marks


def steps(
    probe: Probe, found: Mapping[tuple[str, str], Place], marks: Mapping[tuple[str, int], Sequence[Mark]]
) -> dict[str, float] | None:
    """Milliseconds of each step of a probe's way; None where a part of it is not found."""
    took: dict[str, float] = {"on the publisher's disk": (probe.accepted - probe.due) / 1e6}
    before = probe.accepted
    for stage in STAGES_OF[probe.way]:
        place = found.get((probe.event_id, stage))
        if place is None:
            return None
        of_it = marks.get((place.topic, place.partition), ())
        mark = next((m for m in of_it if m.first <= place.offset <= m.last), None)
        if mark is None:
            return None
        if stage == IDENTIFY:
            took["on the inbound log"] = place.at - before / 1e6
            before = place.at * 1_000_000
        took[f"{stage}: fetched"] = (mark.handed_over - before) / 1e6
        took[f"{stage}: waits for the transaction before"] = (mark.taken - mark.handed_over) / 1e6
        took[f"{stage}: decided, with what came along"] = (mark.decided - mark.taken) / 1e6
        took[f"{stage}: committed"] = (mark.committed - mark.decided) / 1e6
        before = mark.committed
    took["read by the desk"] = (probe.heard - before) / 1e6
    return took
