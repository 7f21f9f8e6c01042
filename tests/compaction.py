"""Compaction on a real broker, in moments instead of hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.kafka_config import ADMIN
from schemas.settings import Settings

BROKER = ResourceType.BROKER, "1"


@contextmanager
def compacted_in_moments(settings: Settings, topic: str, segment_ms: int = 50) -> Iterator[None]:
    """Let the broker compact a topic as soon as it can. It cleans no segment that it still writes: of a partition to
    which nothing is written any more the last one stays as it is. `segment_ms`: how old the first record of a segment
    is when the next one begins another."""
    # By its greatest lag a segment is closed as well, if that is less.
    lag = {"max.compaction.lag.ms": str(segment_ms)}
    soon = {"segment.ms": str(segment_ms), "min.cleanable.dirty.ratio": "0.0001", **lag}
    _alter(settings, (ResourceType.TOPIC, topic), soon)
    _alter(settings, BROKER, {"log.cleaner.backoff.ms": "100"})
    try:
        yield
    finally:
        _alter(settings, BROKER, {"log.cleaner.backoff.ms": None})


def _alter(settings: Settings, of: tuple[ResourceType, str], values: Mapping[str, str | None]) -> None:
    """Set, or with None reset, what a topic or the broker is configured to."""
    entries = [
        ConfigEntry(
            name, value or "", incremental_operation=AlterConfigOpType.SET if value else AlterConfigOpType.DELETE
        )
        for name, value in values.items()
    ]
    admin = AdminClient(settings.kafka(ADMIN))  # what is asked ends with it
    for future in admin.incremental_alter_configs([ConfigResource(*of, incremental_configs=entries)]).values():
        future.result(60)
