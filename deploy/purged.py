"""Purged: which events have reached their purge date, by their agencies' own records and by the log's time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deploy.log_reader import Found
from schemas import topics
from schemas.codec import DecodeError, WriterSchema, decode, decode_event
from streams.facts import TICK_KEY
from streams.outline import Named
from streams.records import LoggedRecord


def purge_dates(inbound: Iterable[Found], schemas: Mapping[int, WriterSchema]) -> dict[Named, int]:
    """Purge dates of events, microseconds, from records of inbound topics; of those that have one."""
    return dict(_purge_dates(inbound, schemas))


def _purge_dates(inbound: Iterable[Found], schemas: Mapping[int, WriterSchema]) -> Iterator[tuple[Named, int]]:
    for found in inbound:
        _, agency, _ = topics.parse_inbound(found.place.topic)
        try:
            head = decode_event(found.record.value or b"", schemas).head
        except DecodeError:
            continue
        if head.handling.purge_by is not None:
            yield (agency, head.event_id), head.handling.purge_by


class LastTick:
    """How late it is by the last tick that passed, microseconds."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._schemas = schemas
        self.last = 0

    def passing(self, records: Iterable[LoggedRecord]) -> Iterator[LoggedRecord]:
        """The records as they are."""
        for record in records:
            if record.key == TICK_KEY and record.value is not None:
                self.last = max(self.last, int(decode(record.value, self._schemas, "Tick")[1]["time"]))
            yield record
